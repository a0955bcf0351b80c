"""Wavefront .obj files give one mesh of all groups, with colours of vertices, uv and normals of corners."""

from __future__ import annotations

import re
from collections import Counter
from itertools import compress

import numpy as np
from jaxtyping import Float64, Int64, Real

from geocnn.geometry.io.raw import Polygons, RawMesh, damaged, listed
from geocnn.geometry.io.text import Words, refuse_broken_ids, shown, table, without_comments

COLOURS = ("red", "green", "blue")

KNOWN = frozenset(
    b"usemtl mtllib maplib usemap g o s mg l p vp deg bmat step cstype curv curv2 surf parm trim hole scrv "
    b"sp end con bevel c_interp d_interp lod shadow_obj trace_obj ctech stech call csh bzp bsp res".split()
)
"""Statements of the format that do not describe polygons."""

MOST_NAMED = 8
"""Warnings name at most so many words that the format does not have."""


def read_obj(content: bytes) -> Polygons:
    """Read `v x y z`, where r g b may follow, and `f i j k`, where i may be i/uv, i//normal or i/uv/normal.

    Ids count from 1; negative ones count back from the last line of their kind above. Lines of other kinds
    are named in `left_out` or `unknown`.
    """
    statements = _Statements(content)
    if not {b"v", b"vt", b"vn", b"f"} & statements.kinds.keys():
        raise damaged("it has no line that starts with v")
    vertex = statements.words(b"v")
    vertices = table(vertex, np.arange(len(vertex.widths)), 3, "vertices with fewer than three coordinates")
    faces = statements.text(b"f")
    ids = statements.words(b"f", re.sub(rb"/\S*", b"", faces))
    refuse_broken_ids(ids, np.arange(len(ids.values)), ids.widths)
    polygons = Polygons(vertices[:, :3], ids.widths, _from_zero(ids, statements.above(b"v")))
    if len(vertices) and (vertex.widths == 6).all():
        polygons.vertex = dict(zip(COLOURS, vertices[:, 3:].T.copy(), strict=True))
    elif (vertex.widths > 3).any():
        polygons.left_out.append("what some vertices have after x y z")
    for name, kind in (("uv", b"vt"), ("normal", b"vn")):
        if kind in statements.kinds:
            values = _corner_values(statements, ids, _references(faces, kind), kind)
            if values is None:
                polygons.left_out.append(f"{kind.decode()} lines, to which not every corner refers")
            else:
                polygons.corner[name] = values
    others = [kind for kind in statements.kinds if kind not in (b"", b"v", b"vt", b"vn", b"f")]
    polygons.left_out += [statements.named(kind) for kind in others if kind in KNOWN]
    unknown = [kind for kind in others if kind not in KNOWN]
    polygons.unknown = [statements.named(kind) for kind in unknown[:MOST_NAMED]]
    if len(unknown) > MOST_NAMED:
        polygons.unknown.append(f"lines that begin with {len(unknown) - MOST_NAMED} other words")
    return polygons


def obj_text(raw: RawMesh) -> tuple[bytes, list[str]]:
    """Return the file, and the attributes it cannot hold."""
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
    colours = COLOURS if _colours(raw) else ()
    left_out = [name for name in raw.vertex_attributes if name not in colours] + [*raw.face_attributes]
    return text, left_out + [name for name in raw.corner_attributes if name not in corner]


def np_text(line: str, values: Real[np.ndarray, "rows columns"]) -> bytes:
    """Write one line per row, in the given format."""
    return ((line + "\n") * len(values) % tuple(values.ravel().tolist())).encode("ascii")


def _colours(raw: RawMesh) -> list[np.ndarray]:
    known = [raw.vertex_attributes.get(name) for name in COLOURS]
    # the format's colours are fractions of 1, and whole numbers would be read as such
    return [c for c in known if c is not None and c.dtype.kind == "f" and c.ndim == 1] * all(
        c is not None and c.dtype.kind == "f" and c.ndim == 1 for c in known
    )


class _Statements:
    """The lines of a file by their first word, with the rest of each line and its number."""

    def __init__(self, content: bytes) -> None:
        # continued lines are joined by a form feed, which counts as a space and keeps line numbers right
        text = without_comments(content).replace(b"\\\n", b"\f")
        # an array stores every word at the length of the longest, so words are cut
        statements = re.findall(rb"^[ \t\f\v]*(\S{0,40})(.*)\n", text, re.MULTILINE)
        first, self._rest = zip(*statements, strict=True)
        self._kind = np.array(first)
        self._line = 1 + np.arange(len(first))
        if b"\f" in text:
            self._line += np.cumsum([0, *(rest.count(b"\f") for rest in self._rest[:-1])])
        self.kinds = Counter(first)

    def named(self, kind: bytes) -> str:
        """Say where the first line of a kind is, and how many follow."""
        first, count = self.lines(kind)[0], self.kinds[kind]
        return f"line {first}, '{shown(kind)} …'" + (f", and {count - 1} more like it" if count > 1 else "")

    def lines(self, kind: bytes) -> Int64[np.ndarray, " lines"]:
        """Return the numbers of the lines of a kind."""
        return self._line[self._kind == kind]

    def text(self, kind: bytes) -> bytes:
        """Return the rest of each line of a kind, one per row."""
        return b"\n".join([*compress(self._rest, self._kind == kind), b""])

    def words(self, kind: bytes, text: bytes | None = None) -> Words:
        return Words(self.text(kind) if text is None else text, numbers=self.lines(kind))

    def above(self, kind: bytes) -> Int64[np.ndarray, " faces"]:
        """Return the number of lines of a kind above each face."""
        return (self._kind == kind).cumsum()[self._kind == b"f"]


def _from_zero(ids: Words, above: Int64[np.ndarray, " rows"]) -> Float64[np.ndarray, " ids"]:
    """Convert ids to ids from 0; `above` is the number of lines of their kind above each row."""
    return np.where(ids.values < 0, above[ids.row] + ids.values, ids.values - 1)


def _references(faces: bytes, kind: bytes) -> list[bytes]:
    """Return the text after the first (vt) or second slash (vn) of each corner that has one."""
    pairs = re.findall(rb"(?:^|\s)[^\s/]+/([^\s/]*)(?:/([^\s/]*))?(?=\s)", faces)
    return [pair[kind == b"vn"] for pair in pairs]


def _corner_values(
    statements: _Statements, ids: Words, chosen: list[bytes], kind: bytes
) -> Float64[np.ndarray, "corners k"] | None:
    """Return the row that each corner refers to; None where one refers to none, or a row is a number."""
    words = statements.words(kind)
    if len(chosen) != len(ids.values) or not all(chosen) or (words.widths < 2).any():
        return None
    rows = table(words, np.arange(len(words.widths)), 2, kind.decode())
    references = Words(b"\n".join([*chosen, b""]), numbers=statements.lines(b"f")[ids.row])
    at = _from_zero(references, np.repeat(statements.above(kind), ids.widths))
    lost = ~((at >= 0) & (at < len(rows)) & (at == np.floor(at)))
    if lost.any():
        line = references.line(int(lost.argmax()))
        raise damaged(f"corners (counted from 0) that refer to no vt or vn line: {listed(lost)}", line)
    return rows[at.astype(np.int64)]
