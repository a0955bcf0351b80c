"""What commands print where it is hard: names that look like markup or are no text, terminals without π, full
discs.
"""

import io
import sys

import pytest
from rich.console import Console

import geocnn
from geocnn.cli import main
from geocnn.console import legible, make_console
from geocnn.equivariance import report
from geocnn.geometry import torus, write_mesh
from geocnn.geometry.io import raw_mesh
from geocnn.nn import GaugeConv
from tests.shapes import tetrahedron

# a folder and a file in it; the second path has what closes markup, the last ones have bytes that are no text
PATHS = [
    ("scans", "[bold]a[red].ply"), ("scans[", "bold][1].ply"), ("scans", ":bone: $x^$.ply"),
    ("scans", "π [ç].ply"), ("caf\udce9", "caf\udce9.ply"),
]  # fmt: skip


def run(*arguments):
    """Exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def scan(folder, name="scan.ply"):
    """A small mesh of that name in a folder."""
    folder.mkdir(exist_ok=True)
    write_mesh(folder / name, raw_mesh(*tetrahedron()))
    return folder / name


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard output one of an encoding; what was printed there."""

    def use(encoding):
        stream = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
        monkeypatch.setattr(sys, "stdout", stream)
        return lambda: stream.buffer.getvalue().decode(encoding)

    return use


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("folder, name", PATHS)
def test_names_of_files_are_printed_as_they_are(folder, name, encoding, tmp_path, terminal, monkeypatch):
    file = scan(tmp_path / folder, name)
    new = file.with_name(f"new {name}")
    monkeypatch.setenv("COLUMNS", "300")
    said = terminal(encoding)
    assert run("inspect", file, "--repair", new) == 0
    for path in (file.name, f"wrote {new};"):
        assert legible(str(path), encoding) in said()
    rows = [line for line in said().splitlines() if line[0] in "│|"]
    # a table stays a table where letters are spelt
    assert len({len(line) for line in rows}) == 1


def test_a_picture_has_the_name_of_its_file_for_a_title(tmp_path):
    for name in (":bone: $x^$.ply", "caf\udce9.ply"):
        assert run("inspect", scan(tmp_path, name), "--picture", tmp_path / "p.png") == 0
        assert (tmp_path / "p.png").stat().st_size > 10_000


@pytest.mark.parametrize("console", [Console(width=200), make_console()])
def test_a_report_prints_names_on_any_console(console):
    class Layer(GaugeConv):
        pass

    Layer.__name__ = "Layer[/x]"
    found = report(
        Layer("1x0", "2x0"), torus((6, 6)), lambda s: s.stencil(2.0), symmetries=["gauge"], refinements=0
    )
    with console.capture() as printed:
        found.show(console)
    assert "Layer[/x] on" in printed.get()


def test_what_a_terminal_lacks_is_spelt():
    assert legible("2π·2 … 34.7°", "ascii") == "2pi*2 ... 34.7 deg"
    assert legible("2π·2 … 34.7°") == "2π·2 … 34.7°"
    assert legible("猫\udce9", "latin-1") == r"\u732b\udce9"


@pytest.mark.parametrize("arguments", [("recipes",), ("--help",), ("inspect", "--json")])
def test_a_full_disc_ends_in_one_line(arguments, tmp_path, monkeypatch, capsys):
    file = [scan(tmp_path)] if "inspect" in arguments else []
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(*arguments, *file) == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and said.count("\n") == 1 and "No space left" in said


def test_a_disc_that_fills_up_while_a_file_is_written_names_the_file(tmp_path, monkeypatch, capsys):
    def fill(*_):
        raise OSError(28, "No space left on device")

    file = scan(tmp_path)
    monkeypatch.setattr("geocnn.geometry.io.write_whole", fill)
    assert run("inspect", file, "--repair", tmp_path / "new.ply") == 2
    assert "new.ply" in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"geocnn {geocnn.__version__}\n"


def test_a_folder_is_no_file(tmp_path, capsys):
    assert run("inspect", tmp_path) == 2
    assert f"{tmp_path} is a folder" in capsys.readouterr().err
    (tmp_path / "b.ply").touch()
    (tmp_path / "a.txt").touch()
    assert run("inspect", tmp_path) == 2
    assert f"such as {tmp_path / 'b.ply'}" in capsys.readouterr().err
