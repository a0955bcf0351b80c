"""`geocnn inspect` and `geocnn cache` from the command line: what they print, write, and end with."""

import json
import re

import pytest
import torch

from geocnn.cli import main
from geocnn.data.meshes import mesh_file
from geocnn.doctor import _describe
from geocnn.geometry import holonomy_group, load, mobius_strip, read_mesh, write_mesh
from geocnn.geometry.doctor.repairs import REPAIRS
from geocnn.geometry.io import raw_mesh
from geocnn.nn import GaugeConv, cost
from tests.geometry import broken
from tests.shapes import cube, twisted


def run(*arguments):
    """Exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.fixture
def bad(tmp_path):
    """A cube with two faces flipped, one twice, and a fin."""
    v, f = cube()
    f[[2, 5]] = f[[2, 5]].flip(1)
    f = torch.cat([f, f[:1], torch.tensor([[0, 1, 8]])])
    v = torch.cat([v, torch.tensor([[2.0, 2, 2]])])
    write_mesh(tmp_path / "bad.obj", raw_mesh(v, f))
    return tmp_path / "bad.obj"


def test_a_sound_mesh_is_described(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert run("inspect", mesh_file("skull")) == 0
    said = capsys.readouterr().out
    assert "genus 2" in said and "0 loops" in said and "no defects" in said and "suggested" in said


def test_a_layer_s_memory_is_told_where_there_is_a_surface(tmp_path, capsys, monkeypatch):
    """It is the cost of that layer on the mesh, as resident memory; one side needs O(2)."""
    monkeypatch.setenv("COLUMNS", "160")
    assert run("inspect", mesh_file("skull"), "--json") == 0
    layer = json.loads(capsys.readouterr().out)["diagnosis"]["layer"]
    skull = load(mesh_file("skull"))
    conv = GaugeConv(layer["type"], layer["type"])
    needed = cost(conv, skull.stencil(2.5 * skull.spacing, kind="log")).resident
    assert 0.9 < layer["first_step"] / needed.first_step < 1.1 and layer["step"] > 0
    v, f = twisted(5, 40)
    write_mesh(tmp_path / "strip.npz", raw_mesh(v, f))
    assert run("inspect", tmp_path / "strip.npz") == 0
    assert "O2: 16x0e + 8x1 to itself" in capsys.readouterr().out
    write_mesh(tmp_path / "no.npz", raw_mesh(torch.rand(3, 3), [[0, 0, 1]]))
    assert run("inspect", tmp_path / "no.npz", "--json") == 1
    assert json.loads(capsys.readouterr().out)["diagnosis"]["layer"] is None


def test_numbers_are_without_the_noise_of_rounding(capsys, monkeypatch):
    """The curvature of a torus sums to 0, and a band may be mirrored at an edge of its first face."""
    monkeypatch.setenv("COLUMNS", "160")
    assert run("inspect", mesh_file("torus")) == 0
    assert re.search(r"│ 0 in all, 2π·0 to within \de-\d\d \(", capsys.readouterr().out)
    band = holonomy_group(mobius_strip((5, 7)))._replace(angle=torch.tensor([-3e-16], dtype=torch.float64))
    assert _describe(band) == "reflection: a frame around one loop is mirrored at 0°"


@pytest.mark.parametrize("faces", [[], [[0, 0, 1], [0, 1, 9]]], ids=["none", "none sound"])
def test_nothing_is_said_of_faces_that_are_not_there(faces, tmp_path, capsys):
    write_mesh(tmp_path / "a.npz", raw_mesh(torch.rand(3, 3), faces))
    assert run("inspect", tmp_path / "a.npz") == 1
    said = capsys.readouterr().out
    assert "3 vertices, 0 edges" in said
    for what in ("components", "boundary", "topology", "orientation", "curvature"):
        assert what not in said
    assert run("inspect", tmp_path / "a.npz", "--json") == 1
    diagnosis = json.loads(capsys.readouterr().out)["diagnosis"]
    unknown = ("orientable", "consistently_wound", "manifold", "total_curvature")
    assert [diagnosis[name] for name in unknown] == [None] * 4 and not diagnosis["watertight"]


def test_triangles_that_share_no_edge_are_told(tmp_path, capsys, monkeypatch):
    """Where vertices coincide, merging is the remedy, and where they nearly do, they have to first."""
    monkeypatch.setenv("COLUMNS", "160")
    v, f = cube()
    corners, loose = v[f].reshape(-1, 3), torch.arange(36).view(-1, 3)
    write_mesh(tmp_path / "soup.npz", raw_mesh(corners, loose))
    assert run("inspect", tmp_path / "soup.npz") == 1
    said = capsys.readouterr().out
    assert "repair 'merge'" in said and "--fix merge" in said and "apart" not in said
    noise = 1e-7 * torch.rand(36, 3, generator=torch.Generator().manual_seed(0))
    write_mesh(tmp_path / "near.npz", raw_mesh(corners + noise, loose))
    assert run("inspect", tmp_path / "near.npz") == 0
    said = capsys.readouterr().out
    assert "apart" in said and "no defects" not in said and "equal coordinates" in said


def test_defects_are_named_with_the_command_that_mends_them(bad, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert run("inspect", bad) == 1
    said = capsys.readouterr().out
    assert "2 faces: the same three corners as another face (0, 12)" in said
    advice = said.strip().splitlines()[-1]
    assert advice.startswith(f"to mend it: geocnn inspect {bad} --repair")
    assert run(*advice.partition("geocnn ")[2].split()) == 0
    assert load(bad.with_name("bad.mended.ply")).n_points == 11


def test_json_is_one_object(bad, tmp_path, capsys):
    new = tmp_path / "new.npz"
    assert run("inspect", bad, "--json", "--repair", new, "--fix", "orient", "--fix", "duplicates") == 1
    said = json.loads(capsys.readouterr().out)
    kinds = {defect["kind"]: defect["ids"] for defect in said["diagnosis"]["defects"]}
    assert kinds == {"duplicate_face": [0, 12], "nonmanifold_edge": [[0, 1]], "winding": [2, 5]}
    assert [change["repair"] for change in said["repair"]["changes"]] == ["duplicates", "orient"]
    left = [defect["kind"] for defect in said["repair"]["diagnosis"]["defects"]]
    assert left == ["nonmanifold_edge"] and not said["repair"]["diagnosis"]["usable"]
    maps = json.loads(new.with_suffix(".repair.json").read_text())
    assert maps["face_map"] == [*range(12), -1, 12] and maps["vertex_map"] == list(range(9))
    assert len(read_mesh(new).faces) == 13


def test_another_s_file_is_not_replaced_by_the_maps(bad, tmp_path, capsys):
    mine = tmp_path / "new.repair.json"
    mine.write_text('{"mine": 1}')
    assert run("inspect", bad, "--repair", tmp_path / "new.ply", "--fix", "orient") == 2
    assert "new.repair.json, where the maps would go; name another" in capsys.readouterr().err
    assert mine.read_text() == '{"mine": 1}' and not (tmp_path / "new.ply").exists()
    # what a repair wrote itself it writes again
    mine.unlink()
    for _ in range(2):
        assert run("inspect", bad, "--repair", tmp_path / "new.ply", "--fix", "orient") == 1
    assert "vertex_map" in mine.read_text()


def test_a_repair_without_fixes_only_cuts_polygons(tmp_path, capsys):
    (tmp_path / "a.off").write_text("OFF 5 1\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n7 7 7\n4 0 1 2 3\n")
    assert run("inspect", tmp_path / "a.off", "--repair", tmp_path / "b.off") == 0
    assert "5 vertices" in capsys.readouterr().out
    assert load(tmp_path / "b.off").n_points == 5


def test_every_random_mesh_ends_well(tmp_path, capsys):
    fixes = [word for name in REPAIRS for word in ("--fix", name)]
    for seed in range(12):
        write_mesh(tmp_path / "a.npz", raw_mesh(*broken.broken(seed)))
        code = run("inspect", tmp_path / "a.npz", "--json", "--repair", tmp_path / "b.ply", *fixes)
        said = json.loads(capsys.readouterr().out)
        assert code == (0 if said["repair"]["diagnosis"]["usable"] else 1)


@pytest.mark.parametrize("sound", [True, False])
def test_the_picture_is_drawn(bad, tmp_path, sound, capsys):
    pytest.importorskip("matplotlib")
    file = mesh_file("hand") if sound else bad
    assert run("inspect", file, "--picture", tmp_path / "a.png") == (0 if sound else 1)
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_pictures_of_what_can_hardly_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from geocnn.geometry import diagnose
    from geocnn.viz.inspection import inspection

    meshes = [raw_mesh(*broken.broken(seed)) for seed in range(25)]
    meshes += [raw_mesh(torch.zeros(0, 3), []), raw_mesh(torch.rand(3, 3), [[0, 1, 9]])]
    for raw in meshes:
        inspection(raw, diagnose(raw)).savefig(tmp_path / "a.png", dpi=20)


def test_wishes_that_cannot_be_met_are_one_line(bad, tmp_path, capsys):
    def refused(*arguments):
        assert run("inspect", *arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("Error: ") and said.count("\n") == 1
        return said

    assert "no file" in refused(tmp_path / "none.ply")
    assert "no repair 'weld'; --fix takes one of triangulate, range, nan" in refused(
        bad, "--repair", "b.ply", "--fix", "weld"
    )
    assert "--fix needs --repair" in refused(bad, "--fix", "merge")
    assert "overwrite" in refused(bad, "--repair", bad)
    assert "ends in .png" in refused(bad, "--picture", tmp_path / "a.gif")
    assert ".ply, .obj, .off, .vtp, .gii, .npz" in refused(bad, "--repair", tmp_path / "a.stl")
    bad.write_bytes(b"v 1 2\n")
    assert "bad.obj: line 1: vertices with fewer than three" in refused(bad)


def test_the_cache_is_listed_and_cleared(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    assert run("cache") == 0
    assert "it is empty" in capsys.readouterr().out
    half = tmp_path / "aa" / f"{'a' * 64}-{'0' * 16}.1.safetensors"
    half.parent.mkdir()
    half.write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    assert run("cache") == 0
    said = capsys.readouterr().out
    assert f"stale: {half}" in said and f"foreign: {tmp_path / 'notes.txt'}" in said
    assert run("cache", "--clear") == 0
    assert "removed 1 file, 4 B" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
