"""Stereolithography files, .stl, text or binary, list triangles that share no vertices."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Float, Float64

from geocnn.geometry.io.raw import Polygons, damaged
from geocnn.geometry.io.text import Words, lines, rows, shown, split_words

FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])

NUMBERS = [b""] * 3
LAYOUT = np.array(
    [b"facet", b"normal", *NUMBERS, b"outer", b"loop"] + [b"vertex", *NUMBERS] * 3 + [b"endloop", b"endfacet"]
)
"""The words of a facet; empty in place of numbers."""


def read_stl(content: bytes) -> Polygons:
    """Read three vertices per triangle, in the file's order, and its normal, unchecked, as an attribute.

    A binary file may begin with the word solid too; its length, 84 bytes and 50 per triangle, identifies it.
    Bytes that are too few for a further triangle are left out.
    """
    size = 84 + 50 * int.from_bytes(content[80:84], "little")
    if len(content) >= 84 and size <= len(content) < size + 50:
        facets = np.frombuffer(content[:size], FACET, offset=84)
        polygons = _soup(facets["corners"].astype(np.float64), facets["normal"])
        if facets["attribute"].any():
            polygons.face["attribute"] = facets["attribute"]
        if len(content) > size:
            polygons.left_out.append(f"{len(content) - size} bytes after the last triangle")
        return polygons
    if re.match(rb"\s*solid\b", content, re.IGNORECASE):
        return _read_text(lines(content).lower())
    raise damaged("it is neither text that begins with solid nor as long as its number of triangles says")


def _read_text(text: bytes) -> Polygons:
    marks = re.findall(rb"^[ \t]*(solid|endsolid)(?![^\s])", text, re.MULTILINE)
    last = text.rstrip().rpartition(b"\n")[2].split()[:1]
    if marks[0::2] != [b"solid"] * (len(marks) // 2) or marks[1::2] != [b"endsolid"] * (len(marks) // 2):
        raise damaged("its lines solid and endsolid do not alternate")
    if len(marks) % 2 or last != [b"endsolid"]:
        raise damaged("it does not end with a line endsolid", text.rstrip().count(b"\n") + 1)
    text = re.sub(rb"^[ \t]*(?:solid|endsolid)(?![^\s])[^\n]*\n", b"\n", text, flags=re.MULTILINE)
    words, (row, _) = split_words(text), rows(text)
    k = len(LAYOUT)
    expected = np.resize(LAYOUT, -(-len(words) // k) * k)[: len(words)]
    wrong = (expected != b"") & (words != expected)
    if wrong.any():
        at = int(wrong.argmax())
        what = f"facet {at // k} is not written as the format asks: '{shown(words[at])}' stands where "
        raise damaged(f"{what}'{shown(expected[at])}' must", int(row[at]) + 1)
    if len(words) % k:
        raise damaged(f"its words make no whole facets of {k}: the last one is cut off")
    numbers = words[expected == b""]
    values = Words(b"\n".join([*numbers.tolist(), b""]), numbers=1 + row[expected == b""]).values
    facets = values.reshape(-1, 4, 3)
    return _soup(facets[:, 1:], facets[:, 0])


def _soup(corners: Float64[np.ndarray, "f 3 3"], normal: Float[np.ndarray, "f 3"]) -> Polygons:
    m = len(corners)
    return Polygons(corners.reshape(-1, 3), np.full(m, 3), np.arange(3 * m), face={"normal": normal})
