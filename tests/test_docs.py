"""Each block of Python on the pages runs by itself, in a folder that holds the data sets and the named files;
what pages show and link exists.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geocnn.cli import main
from geocnn.geometry import raw_mesh, write_mesh
from geocnn.geometry.spheres.icosahedron import Icosahedron
from tests.shapes import tetrahedron

ROOT = Path(__file__).resolve().parents[1]
PAGES, README = sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"
HOW_TO = [page for page in PAGES if page.parent.name == "how-to"]


def blocks_of(page: Path) -> list[str]:
    """The page's Python blocks, each behind as many empty lines as a traceback needs to name its place."""
    text = page.read_text(encoding="utf-8")
    blocks = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return ["\n" * text.count("\n", 0, block.start(1)) + block[1] for block in blocks]


def stl(vertices: Tensor, faces: Tensor) -> str:
    """A soup: every face has its own corners."""
    lines = ["solid part"]
    for corners in vertices[faces].tolist():
        places = [f"vertex {x} {y} {z}" for x, y, z in corners]
        lines += ["facet normal 0 0 0", "outer loop", *places, "endloop", "endfacet"]
    return "\n".join([*lines, "endsolid part", ""])


BLOCKS = [
    pytest.param(page, number, id=f"{page.stem}-{number}")
    for page in [*PAGES, README]
    for number in range(len(blocks_of(page)))
]


@pytest.mark.parametrize(("page", "number"), BLOCKS)
def test_each_block_of_code_runs_by_itself(page, number, tmp_path, monkeypatch):
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    (tmp_path / "part.stl").write_text(stl(*tetrahedron()))
    ball = Icosahedron(3)
    body = raw_mesh(ball.points * torch.tensor([0.1, 0.11, 0.13]), ball.faces[-1])
    write_mesh(tmp_path / "scan.ply", body)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    exec(compile(blocks_of(page)[number], page, "exec"), {})


@pytest.mark.parametrize("page", HOW_TO, ids=lambda p: p.stem)
def test_the_commands_of_a_how_to_page_run(page, tmp_path, monkeypatch):
    """On the folder that the page's first block of Python writes; the answers that it names are there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))
    exec(compile(blocks_of(page)[0], page, "exec"), {})
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines
    for line in lines:
        first, *arguments = shlex.split(line)
        assert first == "geocnn"
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code in (0, None), line
    named = re.findall(r"`(answers/[\w./-]+)`", text)
    assert named and [name for name in named if not (tmp_path / name).is_file()] == []


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda p: p.stem)
def test_what_a_page_shows_and_links_exists(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda p: p.stem)
def test_the_files_that_a_page_names_exist(page):
    """Paths in backticks, which a file that moves leaves behind."""
    named = re.findall(
        r"`((?:benchmarks|datasets|docs|examples|geocnn|tests)/[\w./-]+\.\w+)`", page.read_text()
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
