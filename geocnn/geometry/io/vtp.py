"""VTK PolyData in XML, .vtp, has arrays as text, in base64 or appended, which may be deflated."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Int64, Real

from geocnn.errors import GeometryError
from geocnn.geometry.io.pieces import cut_strips, joined
from geocnn.geometry.io.raw import Attributes, Polygons, damaged, listed
from geocnn.geometry.io.text import Words, lines
from geocnn.geometry.io.xml import COMPRESSORS, array, decoded, inflated, parsed, whole

VTK_TYPES = {f"{name}{bits}": f"{name[0].lower()}{bits // 8}" for name in ("Int", "UInt", "Float")
             for bits in (8, 16, 32, 64) if (name, bits) not in (("Float", 8), ("Float", 16))}  # fmt: skip
"""numpy's names for the number types of the format."""


class Coding(NamedTuple):
    """A way to write bytes: the number of characters that k bytes take, and the decoder."""

    chars: Callable[[int], int]
    decode: Callable[[bytes], bytes]

    def first(self, text: bytes, k: int) -> bytes:
        """Decode the first k bytes of a text."""
        content = self.decode(text[: self.chars(k)])[:k]
        if len(content) < k:
            raise damaged(f"an array of {k} bytes is cut off after {len(content)}")
        return content


BASE64 = Coding(lambda k: 4 * -(-k // 3), decoded)
RAW = Coding(lambda k: k, bytes)


def read_vtp(content: bytes) -> Polygons:
    """Read polygons and strips of all pieces, with PointData and CellData; lines and points are not read."""
    if not content.rstrip().endswith(b"</VTKFile>"):
        raise damaged("it does not end with </VTKFile>")
    # appended numbers may be raw bytes, which are not XML
    appended = re.search(rb'<AppendedData\s+encoding\s*=\s*"(raw|base64)"\s*>\s*_', content)
    text = content[: appended.start()] + b"</VTKFile>" if appended else content
    root = parsed(text, "VTKFile")
    if root.get("type") != "PolyData":
        raise damaged(f"it must hold PolyData, it holds {root.get('type')}")
    tail = content[appended.end() :] if appended else b""
    coding = RAW if appended and appended[1] == b"raw" else BASE64
    arrays = _Arrays(root, tail, coding)
    pieces = [p for p in root.iterfind("PolyData/Piece") if whole(p, "NumberOfPoints", "0")]
    polygons = joined([_piece(piece, arrays) for piece in pieces])
    polygons.left_out += [*dict.fromkeys(arrays.left_out)]
    for element in root.iterfind("PolyData/FieldData/*"):
        polygons.left_out.append(f"array {element.get('Name')} of the whole data set")
    return polygons


def _piece(piece: Element, arrays: _Arrays) -> Polygons:
    n = whole(piece, "NumberOfPoints")
    points = arrays.of(piece, "Points", n)
    vertices = next(iter(points.values()), np.empty((0, 3)))
    if vertices.shape != (n, 3) or vertices.dtype.kind not in "iuf":
        raise damaged(f"{n} points are declared, it has {list(vertices.shape)}")
    counts, corners = _cells(piece, arrays, "Polys")
    lengths, ids = _cells(piece, arrays, "Strips")
    triangles, strip, left_out = cut_strips(lengths, ids)
    polygons = Polygons(
        vertices.astype(np.float64),
        np.concatenate([counts, np.full(len(triangles), 3)]),
        np.concatenate([corners, triangles.ravel()]),
    )
    polygons.vertex = arrays.of(piece, "PointData", n)
    # cells are numbered points first, then lines, then polygons, then strips
    before = whole(piece, "NumberOfVerts", "0") + whole(piece, "NumberOfLines", "0")
    cells = np.concatenate([before + np.arange(len(counts)), before + len(counts) + strip])
    attributes = arrays.of(piece, "CellData", before + len(counts) + len(lengths))
    polygons.face = {name: values[cells] for name, values in attributes.items()}
    polygons.left_out = left_out + ([f"{before} cells that are points or lines"] if before else [])
    return polygons


def _cells(
    piece: Element, arrays: _Arrays, name: str
) -> tuple[Int64[np.ndarray, " cells"], Real[np.ndarray, " corners"]]:
    """Return the number of corners of each polygon or strip, and all corners."""
    m = whole(piece, f"NumberOf{name}", "0")
    cells = arrays.of(piece, name, None)
    ends, ids = cells.get("offsets", np.empty(0, int)), cells.get("connectivity", np.empty(0, int))
    if len(ends) != m or ends.ndim != 1 or ids.ndim != 1:
        raise damaged(f"{m} {name} are declared, it has {len(ends)}")
    if (broken := ends != np.floor(ends)).any():
        raise damaged(f"{name} end at places that are no whole numbers: {listed(broken)}")
    counts = np.diff(ends.astype(np.int64), prepend=0)
    if (counts < 0).any() or counts.sum() != len(ids):
        raise damaged(f"{name} end at {listed(counts < 0) or len(ids)}, where their corners do not")
    return counts, ids


class _Arrays:
    """The DataArray elements of a file, decoded."""

    def __init__(self, root: Element, appended: bytes, coding: Coding) -> None:
        self.order = {"LittleEndian": "<", "BigEndian": ">"}.get(root.get("byte_order", "LittleEndian"), "")
        self.head = {"UInt32": 4, "UInt64": 8}.get(root.get("header_type", "UInt32"), 0)
        self.compressor = root.get("compressor")
        self.appended, self.coding = appended, coding
        self.left_out: list[str] = []
        if not self.order or not self.head or self.compressor not in COMPRESSORS:
            raise GeometryError(
                f"its numbers are {root.get('byte_order')}, {root.get('header_type')}, {self.compressor}; "
                "write it again with zlib or lzma, or without compression"
            )

    def of(self, piece: Element, name: str, n: int | None) -> Attributes:
        """Return the arrays of an element by name, each with n rows."""
        arrays: Attributes = {}
        for k, element in enumerate(piece.iterfind(f"{name}/*")):
            title = element.get("Name") or f"{name}_{k}"
            kind = VTK_TYPES.get(element.get("type", ""))
            if kind is None or element.tag != "DataArray":
                self.left_out.append(f"array {title} of {element.get('type')}")
                continue
            values = self._values(element, np.dtype(self.order + kind))
            width = whole(element, "NumberOfComponents", "1") or 1
            if len(values) % width or n not in (None, len(values) // width):
                raise damaged(f"array {title} has {len(values)} numbers, {n} rows of {width} are declared")
            arrays[title] = values.reshape(-1, width) if width > 1 else values
        return arrays

    def _values(self, element: Element, dtype: np.dtype) -> np.ndarray:
        text, way = (element.text or "").encode(), element.get("format")
        if way == "ascii":
            words = Words(lines(text))
            return words.typed(np.arange(len(words.values)), dtype.str[1:])
        if way == "binary":
            return array(self._data(b"".join(text.split()), BASE64), dtype)
        if way != "appended":
            raise damaged(f"an array's format is '{way}'")
        return array(self._data(self.appended[whole(element, "offset") :], self.coding), dtype)

    def _data(self, text: bytes, coding: Coding) -> bytes:
        """Decode data after a header of integers, which gives their length; deflated data come in blocks."""
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
        return b"".join(
            inflated(deflated[a:b], k, self.compressor)
            for (a, b), k in zip(pairwise(ends), sizes, strict=True)
        )

    def _integers(self, content: bytes) -> list[int]:
        return np.frombuffer(content, f"{self.order}u{self.head}").tolist()
