"""Wavefront .obj: all groups as one mesh; colours of vertices, uv and normals of corners."""

from __future__ import annotations

import re
from itertools import compress

import numpy as np

from geocnn.geometry.io.raw import Polygons, RawMesh, damaged, listed
from geocnn.geometry.io.text import numbers, rows, table, without_comments

COLOURS = ("red", "green", "blue")


def read_obj(content: bytes) -> Polygons:
    """`v x y z`, where r g b may follow, and `f i j k`, where i may be i/uv, i//normal or i/uv/normal.

    Ids count from 1; negative ones count back from the last line of their kind above.
    """
    text = without_comments(content).replace(b"\\\n", b" ")
    found = re.findall(rb"^[ \t]*(v[nt]?|f)(?=\s)(.*)\n", text, re.MULTILINE)
    if not found:
        raise damaged("it has no line that starts with v")
    kinds, said = zip(*found, strict=True)
    kind = np.array(kinds)
    values, widths = rows(_joined(said, kind == b"v"))
    vertices = table(values, widths, 3, "vertices with fewer than three coordinates")
    faces = _joined(said, kind == b"f")
    corners, counts = rows(re.sub(rb"/\S*", b"", faces))
    polygons = Polygons(vertices[:, :3], counts, _from_zero(corners, _above(kind, b"v", counts)))
    if len(widths) and (widths == 6).all():
        polygons.vertex = dict(zip(COLOURS, vertices[:, 3:].T.copy(), strict=True))
    elif (widths > 3).any():
        polygons.left_out.append("what some vertices have after x y z")
    for name, line, place in (("uv", b"vt", 1), ("normal", b"vn", 2)):
        values, widths = rows(_joined(said, kind == line))
        if len(widths) and (widths >= 2).all():
            listing = table(values, widths, 2, name)
            known = _corner_values(faces, place, listing, _above(kind, line, counts))
            if known is not None:
                polygons.corner[name] = known
                continue
        if len(widths):
            polygons.left_out.append(f"{line.decode()} lines, to which not every corner refers")
    others = sorted(set(re.findall(rb"^[ \t]*(usemtl|g|o|s|l|p|vp)\s", text, re.MULTILINE)))
    polygons.left_out += [f"{word.decode()} lines" for word in others]
    return polygons


def obj_text(raw: RawMesh) -> tuple[bytes, list[str]]:
    """The file, and which attributes it cannot hold."""
    v = raw.vertices.numpy()
    corner = {
        name: a for name, a in raw.corner_attributes.items() if name in ("uv", "normal") and a.ndim == 3
    }
    tables = [np.column_stack([v, *_colours(raw)])]
    marks = ["v"]
    ids = np.arange(3 * len(raw.faces)).reshape(-1, 3) + 1
    columns = [raw.faces.numpy() + 1]
    for name, mark in (("uv", "vt"), ("normal", "vn")):
        if name in corner:
            tables.append(corner[name].reshape(-1, corner[name].shape[-1]))
            marks.append(mark)
            columns.append(ids)
    text = b"".join(
        np_text(mark + " %.17g" * t.shape[1], t) for mark, t in zip(marks, tables, strict=True) if len(t)
    )
    way = {1: "%d", 3: "%d/%d/%d"}.get(len(columns), "%d/%d" if "uv" in corner else "%d//%d")
    text += np_text("f" + f" {way}" * 3, np.stack(columns, -1).reshape(-1, 3 * len(columns)))
    held = COLOURS if _colours(raw) else ()
    left_out = [name for name in raw.vertex_attributes if name not in held] + [*raw.face_attributes]
    return text, left_out + [name for name in raw.corner_attributes if name not in corner]


def np_text(line: str, values: np.ndarray) -> bytes:
    """A line a row, in the given format."""
    return ((line + "\n") * len(values) % tuple(values.ravel().tolist())).encode("ascii")


def _colours(raw: RawMesh) -> list[np.ndarray]:
    known = [raw.vertex_attributes.get(name) for name in COLOURS]
    # the format's colours are shares of 1, and whole numbers would be read as such
    return [c for c in known if c is not None and c.dtype.kind == "f" and c.ndim == 1] * all(
        c is not None and c.dtype.kind == "f" and c.ndim == 1 for c in known
    )


def _joined(said: tuple[bytes, ...], chosen: np.ndarray) -> bytes:
    return b"\n".join([*compress(said, chosen), b""])


def _above(kind: np.ndarray, mark: bytes, counts: np.ndarray) -> np.ndarray:
    """How many lines of a kind stand above the face of each corner."""
    return np.repeat((kind == mark).cumsum()[kind == b"f"], counts)


def _from_zero(ids: np.ndarray, above: np.ndarray) -> np.ndarray:
    return np.where(ids < 0, above + ids, ids - 1)


def _corner_values(faces: bytes, place: int, values: np.ndarray, above: np.ndarray) -> np.ndarray | None:
    """The value [k] that each corner refers to after its first or second slash; None where one has none."""
    ids = re.findall(rb"(?:^|\s)[^\s/]+/([^\s/]*)(?:/([^\s/]*))?(?=\s)", faces)
    chosen = [pair[place - 1] for pair in ids]
    if len(chosen) != len(above) or not all(chosen):
        return None
    at = _from_zero(numbers(b" ".join(chosen)), above)
    lost = ~((at >= 0) & (at < len(values)) & (at == np.floor(at)))
    if lost.any():
        raise damaged(f"corners (counted from 0) that refer to no vt or vn line: {listed(lost)}")
    return values[at.astype(np.int64)]
