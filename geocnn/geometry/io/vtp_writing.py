"""Write VTK PolyData in XML, .vtp: surfaces with their attributes, and lines; ParaView shows all of it."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Real
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.io.opening import write_whole
from geocnn.geometry.io.raw import Attributes, RawMesh, as_array, owned
from geocnn.geometry.io.vtp import VTK_TYPES
from geocnn.geometry.io.xml import ZLIB

BLOCK = 2**15
"""Bytes that are deflated at once, as many as VTK takes."""

NAMES = {code: name for name, code in VTK_TYPES.items()}
"""The format's names for number types."""

OPEN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<VTKFile type="PolyData" version="1.0" '
    f'byte_order="LittleEndian" header_type="UInt64" compressor="{ZLIB}">\n<PolyData>\n'
)
CLOSE = "</Piece>\n</PolyData>\n</VTKFile>\n"


def vtp_bytes(raw: RawMesh) -> tuple[bytes, list[str]]:
    """Return the file, and the attributes it cannot hold: those of corners, and those without numbers.

    An attribute of k numbers is an array of k components; booleans become bytes.
    """
    left_out = [*raw.corner_attributes]
    vertex, face = _held(raw.vertex_attributes, left_out), _held(raw.face_attributes, left_out)
    faces = raw.faces.numpy()
    ends = np.arange(3, 3 * len(faces) + 1, 3)
    piece = f'<Piece NumberOfPoints="{len(raw.vertices)}" NumberOfPolys="{len(faces)}">\n'
    cells = _cells("Polys", faces.ravel(), ends)
    parts = [_data("PointData", vertex), _data("CellData", face), _points(raw.vertices.numpy()), cells]
    return "".join([OPEN, piece, *parts, CLOSE]).encode(), left_out


def write_polylines(
    path: str | Path,
    lines: Sequence[ArrayLike | Tensor] | Tensor,
    values: Mapping[str, Sequence[ArrayLike | Tensor] | Tensor] | None = None,
) -> None:
    """Write lines through points, such as geodesics, as a .vtp file, whole or not at all.

    Args:
        path: It ends in `.vtp`; its folder exists.
        lines: each [k, 3], k ≥ 2 points in their order; lines may have different numbers of points.
        values: by name, for each line the numbers of its points, [k] or [k, c].

    Raises:
        GeometryError: The path has another extension or its folder does not exist, a line has another shape,
            or values do not fit the lines.

    >>> import tempfile, torch, geocnn.geometry as geometry
    >>> s = geometry.icosphere(3)
    >>> ends = [s.exp([0], torch.tensor([[t, 0.0]])).points[0] for t in torch.linspace(0, 1, 5)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_polylines(f"{folder}/path.vtp", [torch.stack(ends)], {"length": [torch.linspace(0, 1, 5)]})
    """
    path = Path(path)
    if path.suffix.lower() != ".vtp" or not path.parent.is_dir():
        raise GeometryError(f"cannot write {path}: give a name that ends in .vtp, in a folder that exists")
    points = [_line(k, line) for k, line in enumerate(lines)]
    lengths = [len(line) for line in points]
    columns = {name: _along(name, parts, lengths) for name, parts in (values or {}).items()}
    left_out: list[str] = []
    held = _held(columns, left_out)
    if left_out:
        raise GeometryError(
            f"values {', '.join(left_out)} cannot be written; give real numbers and plain names"
        )
    every = np.concatenate([np.empty((0, 3)), *points])
    piece = f'<Piece NumberOfPoints="{len(every)}" NumberOfLines="{len(points)}">\n'
    cells = _cells("Lines", np.arange(len(every)), np.cumsum(lengths, dtype=np.int64))
    parts = [_data("PointData", held), _points(every), cells]
    write_whole(path, "".join([OPEN, piece, *parts, CLOSE]).encode())


def _line(k: int, line: ArrayLike | Tensor) -> Real[np.ndarray, "points 3"]:
    points = as_array(f"line {k}", line).astype(np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2:
        raise GeometryError(
            f"a line is [k, 3], at least two points in space, line {k} is {list(points.shape)}"
        )
    return points


def _along(
    name: str, parts: Sequence[ArrayLike | Tensor] | Tensor, lengths: list[int]
) -> Real[np.ndarray, "points ..."]:
    """Return the values of all lines' points in one array."""
    arrays = [as_array(f"values '{name}' of line {k}", part) for k, part in enumerate(parts)]
    given = [len(array) if array.ndim else 0 for array in arrays]
    if given != lengths or len({array.shape[1:] for array in arrays}) > 1:
        odd = next((k for k, (a, b) in enumerate(zip(given, lengths, strict=False)) if a != b), None)
        where = "" if odd is None else f", line {odd} has {given[odd]} values and {lengths[odd]} points"
        raise GeometryError(
            f"values '{name}' are one row per point of each line, alike on all: {len(lengths)} lines, "
            f"{len(given)} with values{where}"
        )
    return np.concatenate(arrays) if arrays else np.empty(0)


def _held(attributes: Attributes, left_out: list[str]) -> Attributes:
    """Convert attributes to types of the format, [rows] or [rows, k]; note the names of others."""
    held: Attributes = {}
    for name, values in attributes.items():
        kind = {"b1": "u1", "f2": "f4"}.get(values.dtype.str[1:], values.dtype.str[1:])
        width = math.prod(values.shape[1:])
        if values.dtype.kind not in "biuf" or not width or not name.isprintable() or not name:
            left_out.append(name)
            continue
        column = owned(values.astype("f8" if values.dtype.itemsize > 8 else kind))
        held[name] = column.reshape(len(column), width) if width > 1 else column.reshape(-1)
    return held


def _data(place: str, arrays: Attributes) -> str:
    """Return the arrays of an element; programs first show the ones it names as scalars and vectors."""
    scalars = [name for name, values in arrays.items() if values.ndim == 1]
    vectors = [n for n, a in arrays.items() if a.ndim == 2 and a.shape[1] == 3 and a.dtype.kind == "f"]
    shown = {"Scalars": scalars[:1], "Vectors": vectors[:1]}
    words = "".join(f" {key}={quoteattr(names[0])}" for key, names in shown.items() if names)
    return "".join([f"<{place}{words}>\n", *(_array(*item) for item in arrays.items()), f"</{place}>\n"])


def _points(points: Real[np.ndarray, "n 3"]) -> str:
    return f"<Points>\n{_array('Points', points)}</Points>\n"


def _cells(name: str, corners: np.ndarray, ends: np.ndarray) -> str:
    arrays = {"connectivity": corners.astype(np.int64), "offsets": ends.astype(np.int64)}
    return "".join([f"<{name}>\n", *(_array(*item) for item in arrays.items()), f"</{name}>\n"])


def _array(name: str, values: np.ndarray) -> str:
    kind, width = NAMES[values.dtype.str[1:]], values.shape[1] if values.ndim == 2 else 1
    words = f'type="{kind}" Name={quoteattr(name)} NumberOfComponents="{width}" format="binary"'
    return f"<DataArray {words}>\n{_packed(values)}\n</DataArray>\n"


def _packed(values: np.ndarray) -> str:
    """Deflate numbers block by block: their number, size and last size, their deflated sizes, the blocks."""
    content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    blocks = [zlib.compress(content[at : at + BLOCK], 1) for at in range(0, len(content), BLOCK)]
    head = np.array([len(blocks), BLOCK, len(content) % BLOCK, *map(len, blocks)], "<u8").tobytes()
    return (base64.b64encode(head) + base64.b64encode(b"".join(blocks))).decode("ascii")
