"""Geomview .off as text, with colours, normals and texture coordinates of vertices and colours of faces."""

from __future__ import annotations

import re

from geocnn.geometry.io.obj import np_text
from geocnn.geometry.io.raw import Polygons, RawMesh, damaged
from geocnn.geometry.io.text import lists, rows, table, within, without_comments


def read_off(content: bytes) -> Polygons:
    """A line with the counts, then one a vertex, then one `k i j …` a face."""
    text = re.sub(rb"\n\s+", b"\n", without_comments(content).lstrip())
    head = re.match(rb"(ST)?(C)?(N)?OFF\s*(\d{1,18})[ \t]+(\d{1,18})(?:[ \t]+\d+)?[ \t]*\n", text)
    if head is None:
        raise damaged("it must begin with OFF and the numbers of its vertices and faces, as text")
    n, m = int(head[4]), int(head[5])
    found, widths = rows(text[head.end() :])
    if len(widths) != n + m:
        raise damaged(f"{n} vertices and {m} faces need a line each, it has {len(widths)}")
    ends = widths.cumsum()
    counts, corners, after = lists(found, (ends - widths)[n:], ends[n:])
    points = table(found, widths[:n], 3, "vertices with fewer than three coordinates")
    polygons = Polygons(points[:, :3], counts, corners)
    at = 3
    colours = points.shape[1] - 3 - 3 * bool(head[3]) - 2 * bool(head[1])
    parts = (("normal", head[3], 3), ("colour", head[2], colours), ("uv", head[1], 2))
    for name, present, width in parts:
        if present and width > 0 and at + width <= points.shape[1]:
            polygons.vertex[name] = points[:, at : at + width].copy()
            at += width
    if points.shape[1] > at or (widths[:n] > points.shape[1]).any():
        polygons.left_out.append("further numbers of vertices")
    rest = ends[n:] - after
    if len(rest) and rest[0] > 0 and (rest == rest[0]).all():
        polygons.face["colour"] = found[within(after, rest)].reshape(m, -1)
    elif rest.any():
        polygons.left_out.append("colours of some faces")
    return polygons


def off_text(raw: RawMesh) -> tuple[bytes, list[str]]:
    """The file, and which attributes it cannot hold."""
    v, f = raw.vertices.numpy(), raw.faces.numpy()
    text = f"OFF\n{len(v)} {len(f)} 0\n".encode()
    text += np_text("%.17g %.17g %.17g", v) + np_text("3 %d %d %d", f)
    return text, [*raw.vertex_attributes, *raw.face_attributes, *raw.corner_attributes]
