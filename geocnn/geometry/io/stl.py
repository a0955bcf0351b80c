"""Stereolithography .stl, text and binary: triangles that share no vertices, which are left unshared."""

from __future__ import annotations

import re

import numpy as np

from geocnn.geometry.io.raw import Polygons, damaged
from geocnn.geometry.io.text import lines, numbers, words

FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(content: bytes) -> Polygons:
    """Three vertices a triangle, in the file's order, and its normal as an attribute.

    A binary file may begin with the word solid too; its length, 84 bytes and 50 a triangle, tells.
    """
    if len(content) >= 84 and len(content) == 84 + 50 * int.from_bytes(content[80:84], "little"):
        facets = np.frombuffer(content, FACET, offset=84)
        polygons = _soup(facets["corners"].astype(np.float64), facets["normal"])
        if facets["attribute"].any():
            polygons.face["attribute"] = facets["attribute"].copy()
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
        raise damaged("it does not end with a line endsolid")
    found = words(re.sub(rb"^[ \t]*(?:solid|endsolid)(?![^\s])[^\n]*\n", b"\n", text, flags=re.MULTILINE))
    three = [b""] * 3
    pattern = [
        b"facet",
        b"normal",
        *three,
        b"outer",
        b"loop",
        *([b"vertex", *three] * 3),
        b"endloop",
        b"endfacet",
    ]
    pattern = np.array(pattern)
    k = len(pattern)
    if len(found) % k:
        raise damaged(f"its words make no whole facets of {k}: the last one is cut off")
    facets = found.reshape(-1, k)
    fixed = pattern != b""
    wrong = (facets[:, fixed] != pattern[fixed]).any(1)
    if wrong.any():
        raise damaged(f"facet {wrong.argmax()} is not written as the format asks")
    values = numbers(b" ".join(facets[:, ~fixed].ravel().tolist())).reshape(-1, 4, 3)
    return _soup(values[:, 1:], values[:, 0])


def _soup(corners: np.ndarray, normal: np.ndarray) -> Polygons:
    m = len(corners)
    return Polygons(
        corners.reshape(-1, 3), np.full(m, 3), np.arange(3 * m), face={"normal": np.ascontiguousarray(normal)}
    )
