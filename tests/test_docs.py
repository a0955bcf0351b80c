"""Every page's Python runs, from top to bottom, in a folder that holds the data sets and the files it names;
what pages show and link exists.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torch import Tensor

from tests.shapes import tetrahedron

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def code_of(page: Path) -> str:
    """The page's Python blocks, each on its own lines, so that a traceback names them."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = line == "```python" and not inside
            line = ""
        lines.append(line if inside else "")
    return "\n".join(lines)


def stl(vertices: Tensor, faces: Tensor) -> str:
    """A soup: every face has its own corners."""
    lines = ["solid part"]
    for corners in vertices[faces].tolist():
        places = [f"vertex {x} {y} {z}" for x, y, z in corners]
        lines += ["facet normal 0 0 0", "outer loop", *places, "endloop", "endfacet"]
    return "\n".join([*lines, "endsolid part", ""])


@pytest.mark.parametrize("page", [p for p in PAGES if code_of(p).strip()], ids=lambda p: p.stem)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    (tmp_path / "part.stl").write_text(stl(*tetrahedron()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))
    exec(compile(code_of(page), page, "exec"), {})


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda p: p.stem)
def test_what_a_page_shows_and_links_exists(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing
