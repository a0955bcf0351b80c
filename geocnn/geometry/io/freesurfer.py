"""nibabel reads FreeSurfer's binary surfaces (lh.pial, …) and values of vertices (lh.thickness, .annot)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Int64

from geocnn.errors import GeometryError
from geocnn.geometry.io.libraries import library, reading_with
from geocnn.geometry.io.raw import Polygons, damaged
from geocnn.geometry.io.tables import as_columns
from geocnn.geometry.io.values import VertexValues, with_every_label
from geocnn.wording import counted

OVERLAYS = (".curv", ".thickness", ".sulc", ".area", ".volume")
"""Ends of names of FreeSurfer's values that need no lh. or rh. before them."""

MOST_REGIONS, MOST_ROWS = 2**16, 2**20
"""Regions that are written; a table of more rows than the second number is refused as an attack on memory."""

SHIFTS = np.array([1, 2**8, 2**16])
"""The number of a colour is the sum of red, green and blue, each times one of these."""

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


def freesurfer_values(content: bytes, path: Path) -> VertexValues:
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
        return VertexValues({name: library("nibabel.freesurfer").read_morph_data(str(path))})


def _annotation(content: bytes, path: Path) -> VertexValues:
    count = _counts(content, 0, 1)[0]
    if not 0 <= 8 * count < len(content):
        raise damaged(f"it declares {counted(count, 'vertex')}, which its {len(content)} bytes do not hold")
    if (np.frombuffer(content, ">i4", 2 * count, 4)[::2] != np.arange(count)).any():
        raise damaged("its vertices are not numbered in a row")
    # nibabel allocates as many rows as the table declares; a table of an older form begins with their number
    rows, further = _counts(content, 8 + 8 * count, 2)
    if (further if rows < 0 else rows) > MOST_ROWS:
        raise damaged(f"its table declares {max(rows, further)} regions")
    with reading_with("nibabel"):
        marks, table, names = library("nibabel.freesurfer").read_annot(str(path), orig_ids=True)
        known = table[:, 4]
        order = np.argsort(known, kind="stable")
        at = order[np.searchsorted(known[order], marks).clip(max=len(known) - 1)]
        named = known[at] == marks
        spelt = {k: name.decode("utf-8", "replace") for k, name in enumerate(names)}
        # the fourth number is transparency
        shades = np.concatenate([table[:, :3], 255 - table[:, 3:4]], 1) / 255
        colours = {k: tuple(shade) for k, shade in enumerate(shades.tolist())}
    if (lost := ~named & (marks != 0)).any():
        raise damaged(f"{counted(lost.sum(), 'vertex')} of regions that its table does not have")
    return VertexValues({"annot": np.where(named, at, -1)}, spelt, colours)


def is_overlay(path: Path) -> bool:
    """Return whether FreeSurfer's values have such a name."""
    return path.suffix.lower() in OVERLAYS or path.name.lower().startswith(("lh.", "rh."))


def overlay_bytes(values: VertexValues) -> bytes:
    """Return a file of a number per vertex, as float32. Raises GeometryError for several."""
    column = _only(values, "a file of FreeSurfer's values")
    if column.dtype.kind not in "biuf":
        raise GeometryError(f"FreeSurfer's values are real numbers, got {column.dtype}")
    stream = BytesIO()
    library("nibabel.freesurfer").write_morph_data(stream, column)
    return stream.getvalue()


def annot_bytes(values: VertexValues) -> bytes:
    """Return a file of regions and their names and colours; the table has each number up to the greatest.

    Raises GeometryError for several columns, numbers that are no regions, and regions of one colour, by which
    the format tells them apart.
    """
    column = _only(values, "an .annot file")
    regions = column.astype(np.int64)
    names, colours = with_every_label(values, regions)
    if not np.array_equal(regions, column) or min(names) < -1 or max(names) > MOST_REGIONS:
        raise GeometryError(f"regions are whole numbers from 0 to {MOST_REGIONS}, and -1 for none")
    every = range(max(names) + 1)
    names, colours = with_every_label(VertexValues({}, names, colours), np.array(every))
    table = np.array([[round(255 * part) for part in colours[k]] for k in every], np.int64).reshape(-1, 4)
    table[:, 3] = 255 - table[:, 3]
    marks = table[:, :3] @ SHIFTS
    _make_unlike(marks, [k for k in every if k not in values.colours])
    table[:, :3] = marks[:, None] // SHIFTS % 2**8
    first = np.unique(marks, return_index=True)[1]
    if len(first) < len(marks) or (0 in marks and (regions == -1).any()):
        odd = sorted({*every} - {*first.tolist()}) or [int((marks == 0).argmax())]
        raise GeometryError(
            f"regions {odd[:8]} have the colour of another or, black, of none; an .annot file tells regions "
            "apart by their colours: give each its own"
        )
    # nibabel writes to a named file only
    with TemporaryDirectory() as folder:
        path = Path(folder) / "regions.annot"
        library("nibabel.freesurfer").write_annot(str(path), regions, table, [names[k] for k in every])
        return path.read_bytes()


def _make_unlike(marks: Int64[np.ndarray, " regions"], chosen: list[int]) -> None:
    """Change the colours that nobody gave where another region has the same."""
    used = {0, *np.delete(marks, chosen).tolist()}
    for k in chosen:
        while marks[k] in used:
            marks[k] = (marks[k] + 1) % 2**24
        used.add(int(marks[k]))


def _only(values: VertexValues, what: str) -> np.ndarray:
    columns = as_columns(values.values)
    if len(columns) != 1:
        raise GeometryError(
            f"{what} holds one number per vertex, not {', '.join(columns)}; write one file for each"
        )
    return next(iter(columns.values()))


def _counts(content: bytes, at: int, number: int) -> list[int]:
    if len(content) < at + 4 * number:
        raise damaged(f"it ends after {len(content)} bytes")
    return np.frombuffer(content, ">i4", number, at).tolist()
