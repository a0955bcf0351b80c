"""VTK PolyData in XML, .vtp: arrays as text, in base64 or appended, as they are or deflated."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from geocnn.errors import GeometryError
from geocnn.geometry.io.raw import Attributes, Polygons, damaged, listed
from geocnn.geometry.io.text import numbers, typed
from geocnn.geometry.io.xml import array, decoded, inflated, parsed, whole

VTK_TYPES = {f"{name}{bits}": f"{name[0].lower()}{bits // 8}" for name in ("Int", "UInt", "Float")
             for bits in (8, 16, 32, 64) if (name, bits) not in (("Float", 8), ("Float", 16))}  # fmt: skip
"""The number types of the format, as numpy calls them."""


class Coding(NamedTuple):
    """How bytes are written: how many characters k of them take, and the way back."""

    chars: Callable[[int], int]
    decode: Callable[[bytes], bytes]

    def first(self, text: bytes, k: int) -> bytes:
        """The first k bytes that a text stands for."""
        found = self.decode(text[: self.chars(k)])[:k]
        if len(found) < k:
            raise damaged(f"an array of {k} bytes is cut off after {len(found)}")
        return found


BASE64 = Coding(lambda k: 4 * -(-k // 3), decoded)
RAW = Coding(lambda k: k, bytes)


def read_vtp(content: bytes) -> Polygons:
    """The polygons of the one piece; PointData and CellData are attributes, lines and points are not read."""
    if not content.rstrip().endswith(b"</VTKFile>"):
        raise damaged("it does not end with </VTKFile>")
    # appended numbers may be raw bytes, which are no XML
    appended = re.search(rb'<AppendedData\s+encoding\s*=\s*"(raw|base64)"\s*>\s*_', content)
    text = content[: appended.start()] + b"</VTKFile>" if appended else content
    root = parsed(text, "VTKFile")
    if root.get("type") != "PolyData":
        raise damaged(f"it must hold PolyData, it holds {root.get('type')}")
    pieces = [p for p in root.iterfind("PolyData/Piece") if whole(p, "NumberOfPoints", "0")]
    if len(pieces) > 1:
        raise GeometryError(f"it has {len(pieces)} pieces: append them to one where it was made")
    tail = content[appended.end() :] if appended else b""
    coding = RAW if appended and appended[1] == b"raw" else BASE64
    if not pieces:
        return Polygons(np.empty((0, 3)), np.empty(0, int), np.empty(0, int))
    return _piece(pieces[0], _Arrays(root, tail, coding))


def _piece(piece: Element, arrays: _Arrays) -> Polygons:
    n, m = whole(piece, "NumberOfPoints"), whole(piece, "NumberOfPolys", "0")
    before = whole(piece, "NumberOfVerts", "0") + whole(piece, "NumberOfLines", "0")
    if whole(piece, "NumberOfStrips", "0"):
        raise GeometryError("it has triangle strips; write it again with its strips cut (vtkTriangleFilter)")
    points = arrays.of(piece, "Points", n)
    corners = arrays.of(piece, "Polys", None)
    vertices = next(iter(points.values()), np.empty((0, 3)))
    ends, ids = corners.get("offsets", np.empty(0, int)), corners.get("connectivity", np.empty(0, int))
    if vertices.shape != (n, 3) or vertices.dtype.kind not in "iuf" or len(ends) != m or ids.ndim != 1:
        raise damaged(f"{n} points and {m} polygons are declared, it has {list(vertices.shape)}, {len(ends)}")
    if (ends != np.floor(ends)).any():
        raise damaged(f"polygons end at places that are no whole numbers: {listed(ends != np.floor(ends))}")
    counts = np.diff(ends.astype(np.int64), prepend=0)
    if (counts < 0).any() or counts.sum() != len(ids):
        raise damaged(f"polygons end at {listed(counts < 0) or len(ids)}, where their corners do not")
    polygons = Polygons(vertices.astype(np.float64), counts, ids)
    polygons.vertex = arrays.of(piece, "PointData", n)
    cells = arrays.of(piece, "CellData", before + m)
    # cells are numbered points first, then lines, then polygons
    polygons.face = {name: values[before:] for name, values in cells.items()}
    polygons.left_out = [*arrays.left_out, *([f"{before} cells that are points or lines"] if before else [])]
    return polygons


class _Arrays:
    """The DataArray elements of a file, decoded."""

    def __init__(self, root: Element, appended: bytes, coding: Coding) -> None:
        self.order = {"LittleEndian": "<", "BigEndian": ">"}.get(root.get("byte_order", "LittleEndian"), "")
        self.head = {"UInt32": 4, "UInt64": 8}.get(root.get("header_type", "UInt32"), 0)
        self.compressor = root.get("compressor")
        self.appended, self.coding = appended, coding
        self.left_out: list[str] = []
        if not self.order or not self.head or self.compressor not in (None, "vtkZLibDataCompressor"):
            raise GeometryError(
                f"its numbers are {root.get('byte_order')}, {root.get('header_type')}, {self.compressor}; "
                "write it again with zlib or without compression"
            )

    def of(self, piece: Element, name: str, n: int | None) -> Attributes:
        """The arrays of an element by name, of n rows each."""
        found: Attributes = {}
        for k, element in enumerate(piece.iterfind(f"{name}/DataArray")):
            title = element.get("Name") or f"{name}_{k}"
            kind = VTK_TYPES.get(element.get("type", ""))
            if kind is None:
                self.left_out.append(f"array {title} of {element.get('type')}")
                continue
            values = self._values(element, np.dtype(self.order + kind))
            width = whole(element, "NumberOfComponents", "1") or 1
            if len(values) % width or n not in (None, len(values) // width):
                raise damaged(f"array {title} has {len(values)} numbers, {n} rows of {width} are declared")
            found[title] = values.reshape(-1, width) if width > 1 else values
        return found

    def _values(self, element: Element, dtype: np.dtype) -> np.ndarray:
        text, way = (element.text or "").encode(), element.get("format")
        if way == "ascii":
            return typed(numbers(text), dtype.newbyteorder("=").str[1:])
        if way == "binary":
            return array(self._data(b"".join(text.split()), BASE64), dtype)
        if way != "appended":
            raise damaged(f"an array's format is '{way}'")
        return array(self._data(self.appended[whole(element, "offset") :], self.coding), dtype)

    def _data(self, text: bytes, coding: Coding) -> bytes:
        """A header of integers says how long the data are; deflated ones come in blocks."""
        head = self.head
        if self.compressor is None:
            size = self._integers(coding.first(text, head))[0]
            alone = coding is BASE64 and b"=" in text[: coding.chars(head)]
            data = (
                coding.first(text[coding.chars(head) :], size) if alone else coding.first(text, head + size)
            )
            return data if alone else data[head:]
        blocks = self._integers(coding.first(text, head))[0]
        if blocks == 0:
            return b""
        header = head * (3 + blocks)
        _, size, last, *lengths = self._integers(coding.first(text, header))
        deflated = coding.first(text[coding.chars(header) :], sum(lengths))
        ends = list(accumulate(lengths, initial=0))
        sizes = [size] * (blocks - 1) + [last or size]
        return b"".join(inflated(deflated[a:b], k) for (a, b), k in zip(pairwise(ends), sizes, strict=True))

    def _integers(self, content: bytes) -> list[int]:
        return np.frombuffer(content, f"{self.order}u{self.head}").tolist()
