"""nibabel reads FreeSurfer's binary surfaces (lh.pial, …) and values of vertices (lh.thickness, .annot)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geocnn.errors import GeometryError
from geocnn.geometry.io.libraries import library, reading_with
from geocnn.geometry.io.raw import Attributes, Polygons, damaged
from geocnn.wording import counted

SURFACE, VALUES = b"\xff\xff\xfe", b"\xff\xff\xff"
"""Surfaces and values begin with these three bytes; their names may have any suffix."""


def is_freesurfer(content: bytes) -> bool:
    return content[:3] in (SURFACE, VALUES)


def read_freesurfer(content: bytes, path: Path) -> Polygons:
    """Read a triangle file in its own coordinates (surface RAS, in millimetres)."""
    if content[:3] == VALUES:
        raise GeometryError(
            "it holds values of vertices, not a surface: geocnn.geometry.read_vertex_values reads them"
        )
    head = content.find(b"\n", content.find(b"\n") + 1) + 1
    n, m = _counts(content, head, 2) if head else (-1, -1)
    if n < 0 or m < 0 or head + 8 + 12 * (n + m) > len(content):
        size = f"{counted(n, 'vertex')} and {counted(m, 'face')}"
        raise damaged(f"it declares {size}, which its {len(content)} bytes do not hold")
    freesurfer = library("nibabel.freesurfer")
    with reading_with("nibabel"):
        vertices, faces, volume = freesurfer.read_geometry(str(path), read_metadata=True)
    rest = len(content) - (head + 8 + 12 * (n + m))
    if rest and not volume:
        raise damaged(f"{rest} bytes follow its last face")
    polygons = Polygons(vertices, np.full(m, 3), faces.ravel())
    polygons.left_out = ["where it lies in a volume (cras, voxel size)"] if volume else []
    return polygons


def freesurfer_values(content: bytes, path: Path) -> tuple[Attributes, dict[int, str]]:
    """Read values such as lh.thickness, named by the suffix of the file's name.

    An .annot file gives the region of each vertex, −1 where it has none, and the regions' names.
    """
    name = path.name.rpartition(".")[2]
    if name == "annot":
        return _annotation(content, path)
    if content[:3] == SURFACE:
        raise GeometryError("it holds a surface: geocnn.geometry.read_mesh reads it")
    count = _counts(content, 3, 1)[0] if content[:3] == VALUES else -1
    if 15 + 4 * count != len(content):
        raise damaged("it is no whole file of FreeSurfer's values, a number per vertex")
    with reading_with("nibabel"):
        return {name: library("nibabel.freesurfer").read_morph_data(str(path))}, {}


def _annotation(content: bytes, path: Path) -> tuple[Attributes, dict[int, str]]:
    count = _counts(content, 0, 1)[0]
    if not 0 <= 8 * count < len(content):
        raise damaged(f"it declares {counted(count, 'vertex')}, which its {len(content)} bytes do not hold")
    if (np.frombuffer(content, ">i4", 2 * count, 4)[::2] != np.arange(count)).any():
        raise damaged("its vertices are not numbered in a row")
    with reading_with("nibabel"):
        marks, table, names = library("nibabel.freesurfer").read_annot(str(path), orig_ids=True)
        known = table[:, 4]
        order = np.argsort(known, kind="stable")
        at = order[np.searchsorted(known[order], marks).clip(max=len(known) - 1)]
        named = known[at] == marks
        spelt = {k: name.decode("utf-8", "replace") for k, name in enumerate(names)}
    if (lost := ~named & (marks != 0)).any():
        raise damaged(f"{counted(lost.sum(), 'vertex')} of regions that its table does not have")
    return {"annot": np.where(named, at, -1)}, spelt


def _counts(content: bytes, at: int, number: int) -> list[int]:
    if len(content) < at + 4 * number:
        raise damaged(f"it ends after {len(content)} bytes")
    return np.frombuffer(content, ">i4", number, at).tolist()
