"""Geomview .off files, text or binary, may have colours, normals and uv of vertices and colours of faces."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from geocnn.errors import GeometryError
from geocnn.geometry.io.elements import FileElement, binary_rows
from geocnn.geometry.io.obj import np_text
from geocnn.geometry.io.raw import Polygons, RawMesh, damaged
from geocnn.geometry.io.text import Words, lists, refuse_broken_ids, table, within, without_comments
from geocnn.wording import counted

KEYWORD = re.compile(rb"\s*(?:((?:ST)?C?N?|N?C?(?:ST)?)OFF(?![A-Za-z_])[ \t]*(BINARY[^\n]*\n)?|(?=\d))")
"""The keyword may be missing. Its prefix says what follows the coordinates of vertices."""

COUNTS = re.compile(
    rb"\s*(\d{1,18})(?:[ \t]+(\d{1,18})(?:[ \t]+\d+)?[ \t]*\n|[ \t]*\n\s*(\d{1,18})\s+\d+[ \t]*\n)"
)
"""The counts of vertices, faces and, rarely omitted, edges stand on one line, or on one line each."""

WIDTHS = {"normal": 3, "colour": 4, "uv": 2}
"""A vertex has so many numbers for each; a colour may have three where each vertex has its own line."""


def read_off(content: bytes) -> Polygons:
    """Read the counts, x y z of each vertex, and `k i j …` of each face with its colour up to the line's end.

    Numbers may be split over lines in any way, as in Geomview, as long as the first face begins a line.
    """
    head = KEYWORD.match(content)
    if head is not None and head[2]:
        return _read_binary(content[head.end() :], _parts(head[1]))
    text = without_comments(content)
    head = KEYWORD.match(text)
    counts = COUNTS.match(text, head.end()) if head else None
    if head is None or counts is None:
        raise damaged("it must begin with OFF and the numbers of its vertices and faces", 1)
    parts = _parts(head[1] or b"")
    n, m = int(counts[1]), int(counts[2] or counts[3])
    words = Words(text[counts.end() :], 1 + text.count(b"\n", 0, counts.end()))
    try:
        layout = _by_lines(words, n, m)
    except GeometryError as fault:
        layout = _by_numbers(words, n, m, parts)
        if layout is None:
            raise fault
    refuse_broken_ids(words, layout.corners, layout.lengths)
    polygons = Polygons(layout.points[:, :3], layout.lengths, words.values[layout.corners])
    _place(polygons, layout.points, parts)
    if layout.uneven:
        polygons.left_out.append("what some vertices have after the numbers that all have")
    colours = layout.stop - layout.after
    _place_colours(polygons, words.values[within(layout.after, colours)], colours)
    return polygons


def off_text(raw: RawMesh) -> tuple[bytes, list[str]]:
    """Return the file, and the attributes it cannot hold."""
    v, f = raw.vertices.numpy(), raw.faces.numpy()
    text = f"OFF\n{len(v)} {len(f)} 0\n".encode()
    text += np_text("%.17g %.17g %.17g", v) + np_text("3 %d %d %d", f)
    return text, [*raw.vertex_attributes, *raw.face_attributes, *raw.corner_attributes]


class _Layout(NamedTuple):
    """The meaning of the numbers: points, and the places of the corners and the colour of each face."""

    points: Float64[np.ndarray, "n k"]
    lengths: Int64[np.ndarray, " m"]
    corners: Int64[np.ndarray, " corners"]
    after: Int64[np.ndarray, " m"]
    stop: Int64[np.ndarray, " m"]
    uneven: bool = False


def _by_lines(words: Words, n: int, m: int) -> _Layout:
    """Read one line per vertex, then one line per face."""
    lines = words.widths.nonzero()[0]
    if len(lines) != n + m:
        raise damaged(
            f"{counted(n, 'vertex')} and {counted(m, 'face')} need a line each, it has {len(lines)}"
        )
    ends = words.widths.cumsum()[lines]
    starts = ends - words.widths[lines]
    lengths, corners, after = lists(words, starts[n:], ends[n:])
    points = table(words, lines[:n], 3, "vertices with fewer than three coordinates")
    uneven = bool((words.widths[lines[:n]] > points.shape[1]).any())
    return _Layout(points, lengths, corners, after, ends[n:], uneven)


def _by_numbers(words: Words, n: int, m: int, parts: list[str]) -> _Layout | None:
    """Read numbers on any lines; return None where their number does not fit, or ids are of no vertex."""
    alone = words.widths[words.widths > 0][:n]
    by_line = len(alone) == n and n > 0 and alone.min() >= 3 and (alone == alone[0]).all()
    width = int(alone[0]) if by_line else 3 + sum(WIDTHS[name] for name in parts)
    first, ends = n * width, words.widths.cumsum()
    if first > len(words.row) or (0 < first < len(words.row) and words.row[first - 1] == words.row[first]):
        return None
    for line_ends in (ends[words.row].tolist(), None):
        faces = _walk(words.values.tolist(), first, m, line_ends)
        if faces is not None:
            starts, lengths, stop = faces
            corners = within(starts + 1, lengths)
            known = (words.values[corners] >= 0) & (words.values[corners] < n)
            points = words.values[:first].reshape(n, width)
            return _Layout(points, lengths, corners, starts + 1 + lengths, stop) if known.all() else None
    return None


def _walk(
    values: list[float], at: int, m: int, line_end: list[int] | None
) -> tuple[Int64[np.ndarray, " {m}"], Int64[np.ndarray, " {m}"], Int64[np.ndarray, " {m}"]] | None:
    """Return where each face begins, its number of corners, and where its colour ends: with the line of its
    last corner.

    Each face begins where the one before it ends, so they are read one by one.
    """
    starts, lengths, stops = [], [], []
    for _ in range(m):
        if at >= len(values) or not (1 <= values[at] < len(values) - at) or values[at] % 1:
            return None
        starts.append(at)
        lengths.append(int(values[at]))
        at += 1 + lengths[-1]
        at = at if line_end is None else line_end[at - 1]
        stops.append(at)
    if at < len(values):
        return None
    return np.array(starts, int), np.array(lengths, int), np.array(stops, int)


def _parts(prefix: bytes) -> list[str]:
    """Return what follows a vertex's coordinates. MeshLab writes NC for CN and puts the colour first."""
    order = (("colour", b"C"), ("normal", b"N"), ("uv", b"ST"))
    order = order if prefix.startswith(b"NC") else (order[1], order[0], order[2])
    return [name for name, letter in order if letter in prefix]


def _place(polygons: Polygons, points: Float64[np.ndarray, "n k"], parts: list[str]) -> None:
    """Store the numbers after x y z as attributes; a colour gets those that the others leave."""
    others = sum(WIDTHS[name] for name in parts if name != "colour")
    at = 3
    for name in parts:
        width = points.shape[1] - 3 - others if name == "colour" else WIDTHS[name]
        if width > 0 and at + width <= points.shape[1]:
            polygons.vertex[name] = points[:, at : at + width].copy()
            at += width
    if points.shape[1] > at:
        polygons.left_out.append("further numbers of vertices")


def _read_binary(content: bytes, parts: list[str]) -> Polygons:
    """Read big-endian numbers: three counts, floats of vertices, and per face lists of ids and of colours."""
    if len(content) < 12:
        raise damaged("it ends before its numbers of vertices and faces")
    n, m, _ = np.frombuffer(content, ">u4", 3).tolist()
    names = [*"xyz", *(f"{name}{k}" for name in parts for k in range(WIDTHS[name]))]
    elements: list[FileElement] = [
        ("vertex", n, [(name, "f4", None) for name in names]),
        ("face", m, [("corners", "i4", "i4"), ("colour", "f4", "i4")]),
    ]
    rows = binary_rows(content, 12, elements, ">")
    points = np.stack([rows["vertex"][name] for name in names], 1).astype(np.float64)
    faces = rows["face"]
    polygons = Polygons(points[:, :3], faces["#corners"].astype(np.int64), faces["corners"])
    _place(polygons, points, parts)
    _place_colours(polygons, faces["colour"], faces["#colour"].astype(np.int64))
    return polygons


def _place_colours(
    polygons: Polygons, numbers: Float[np.ndarray, " numbers"], lengths: Int64[np.ndarray, " m"]
) -> None:
    """Store the colours of faces, where all have equally many numbers."""
    if len(lengths) and lengths[0] > 0 and (lengths == lengths[0]).all():
        polygons.face["colour"] = numbers.reshape(len(lengths), -1)
    elif lengths.any():
        polygons.left_out.append("colours of some faces")
