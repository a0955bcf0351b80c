"""PLY files (Turk 1994), text or binary, declare elements and properties in a header; their rows follow."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, Shaped
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.io.elements import FileElement, binary_rows, text_rows
from geocnn.geometry.io.opening import write_whole
from geocnn.geometry.io.pieces import cut_strips, joined
from geocnn.geometry.io.raw import Attributes, Polygons, RawMesh, as_array, damaged, triangle_faces
from geocnn.geometry.io.text import Words, lines, shown

PLY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
    **{"int64": "i8", "uint64": "u8", "float16": "f2"},
}
"""numpy's names for the number types: those of the format, their later names, and what others add."""

VIEWED = {("normal", "f"): ["nx", "ny", "nz"], ("colour", "u"): ["red", "green", "blue", "alpha"]}
"""Columns that viewers show as normals and as colours from 0 to 255, by attribute and kind of number."""

CORNERS = ("vertex_indices", "vertex_index")
USED = ("vertex", "face", "tristrips")


def read_ply(content: bytes) -> Polygons:
    """Read every number of a vertex or face as an attribute, and lists as attributes of corners.

    A list is an attribute if it has equally many numbers per corner on every face. Strips of triangles, as in
    Stanford's files, are cut into triangles.
    """
    begin = re.match(rb"ply[ \t]*(\r?\n|\r)", content)
    # the first line says how lines end, for after a header that ends with \r a byte may look like \n
    line_end = rb"\r" if begin and begin[1] == b"\r" else rb"\r?\n"
    end = re.search(rb"[\r\n]end_header[ \t]*" + line_end, content)
    if begin is None or end is None:
        raise damaged("it must begin with ply and have a line end_header", 1)
    layout, elements = _header(lines(content[: end.start()]).decode("latin-1"))
    if layout == "ascii":
        first = lines(content[: end.end()]).count(b"\n") + 1
        words = Words(lines(content[end.end() :]), first)
        attributes = text_rows(words, elements, CORNERS)
    else:
        order = "<" if layout == "binary_little_endian" else ">"
        attributes = binary_rows(content, end.end(), elements, order)
    points = attributes.get("vertex", {})
    if not {"x", "y", "z"} <= points.keys() or {"#x", "#y", "#z"} & points.keys():
        raise damaged(f"it needs x, y, z of vertex, it has {', '.join(attributes)}")
    vertices = np.stack([points.pop(name).astype(np.float64) for name in "xyz"], axis=1)
    polygons = _faces(vertices, attributes)
    rows = {name: count for name, count, _ in elements}
    polygons.left_out += [f"element {name}" for name in attributes if name not in USED and rows[name]]
    polygons.left_out += [f"lists {name[1:]} of vertex" for name in points if name.startswith("#")]
    polygons.vertex = {k: a for k, a in points.items() if k[0] != "#" and f"#{k}" not in points}
    return polygons


def _faces(vertices: Float64[np.ndarray, "n 3"], attributes: dict[str, Attributes]) -> Polygons:
    """Read the polygons and then the triangles of strips, with the attributes of both."""
    none = np.empty((0, 3))
    pieces: list[Polygons] = []
    for element in ("face", "tristrips"):
        columns = attributes.get(element, {})
        corners = next((name for name in CORNERS if f"#{name}" in columns), None)
        if corners is None:
            continue
        counts, ids = columns.pop(f"#{corners}").astype(np.int64), columns.pop(corners)
        polygons = Polygons(none, counts, ids)
        _attributes(polygons, columns, element)
        pieces.append(_cut(polygons) if element == "tristrips" else polygons)
    if not pieces:
        raise damaged(f"it needs vertex_indices of face, it has {', '.join(attributes)}")
    polygons = joined([p for p in pieces if len(p.counts)] or pieces[:1])
    polygons.vertices = vertices
    return polygons


def _attributes(polygons: Polygons, columns: Attributes, element: str) -> None:
    counts = polygons.counts
    for name, values in columns.items():
        if name.startswith("#"):
            continue
        lengths = columns.get(f"#{name}")
        if lengths is None:
            polygons.face[name] = values
        elif len(counts) and (width := lengths[0] // max(counts[0], 1)) and (lengths == width * counts).all():
            polygons.corner[name] = values.reshape(-1, int(width))
        else:
            polygons.left_out.append(f"lists {name} of {element}")


def _cut(strips: Polygons) -> Polygons:
    """Cut strips into triangles, which inherit the attributes of the strip."""
    faces, strip, left_out = cut_strips(strips.counts, strips.corners)
    face = {name: values[strip] for name, values in strips.face.items()}
    left_out += [*strips.left_out, *(f"lists {name} of tristrips" for name in strips.corner)]
    return Polygons(strips.vertices, np.full(len(faces), 3), faces.ravel(), face=face, left_out=left_out)


def ply_bytes(raw: RawMesh) -> tuple[bytes, list[str]]:
    """Return the file, and the attributes it cannot hold.

    k numbers become columns name_0 … name_k−1; `normal` becomes nx, ny, nz, and a `colour` of bytes red,
    green, blue, alpha, which viewers show.
    """
    left_out: list[str] = []
    vertex = _columns(raw.vertex_attributes, {*"xyz"}, left_out)
    face = _columns(raw.face_attributes, {*CORNERS}, left_out)
    flat = {
        name: values.reshape(len(values), math.prod(values.shape[1:]))
        for name, values in raw.corner_attributes.items()
    }
    corner = _columns(flat, {*CORNERS, *face}, left_out, whole=True)
    coordinates = dict(zip("xyz", raw.vertices.numpy().T, strict=True))
    return _content(coordinates | vertex, raw.faces.numpy(), face, corner), left_out


def save_ply(
    path: str | Path,
    vertices: ArrayLike | Tensor,
    faces: ArrayLike | Tensor,
    **attributes: ArrayLike | Tensor,
) -> None:
    """Write a binary .ply file with numbers on its vertices, whole or not at all.

    Args:
        path: It ends in `.ply`; its folder exists.
        vertices: [N, 3]; stored as float where they are float32, else as double.
        faces: [F, 3] vertex ids.
        attributes: each [N], integers, booleans or floats; viewers show `red`, `green`, `blue` of uint8 as
            colours. The format has no 64-bit integers: such values are stored in 32 bits.

    Raises:
        GeometryError: The path has another extension or its folder does not exist, shapes do not fit, ids
            name no vertex, or the format cannot hold the numbers.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_ply(f"{folder}/a.ply", torch.eye(3), [[0, 1, 2]], label=torch.tensor([3, 1, 2]).byte())
    ...     Path(f"{folder}/a.ply").read_bytes().splitlines()[6]
    b'property uchar label'
    """
    path = Path(path)
    if path.suffix.lower() != ".ply" or not path.parent.is_dir():
        raise GeometryError(f"cannot write {path}: give a name that ends in .ply, in a folder that exists")
    v, f = as_array("vertices", vertices), as_array("faces", faces)
    if v.ndim != 2 or v.shape[1] != 3 or f.ndim != 2 or f.shape[1] != 3:
        raise GeometryError(f"vertices are [N, 3] and faces [F, 3], got {list(v.shape)} and {list(f.shape)}")
    coordinates = v.astype("f4" if v.dtype == np.float32 else "f8")
    columns = dict(zip("xyz", coordinates.T, strict=True))
    for name, values in attributes.items():
        column = _column(name, as_array(name, values))
        if column.shape != (len(v),) or name in columns or not _is_plain(name):
            raise GeometryError(
                f"attribute '{name}' has shape {list(column.shape)}: give one number per vertex, [{len(v)}], "
                "and a plain name other than x, y, z"
            )
        columns[name] = column
    write_whole(path, _content(columns, triangle_faces(len(v), np.full(len(f), 3), f.ravel()), {}, {}))


# ------------------------------------------------------------------------------------------------- reading


def _header(header: str) -> tuple[str, list[FileElement]]:
    """Return the layout (ascii or binary_…) and the declared elements."""
    layout, elements = "", []
    for number, line in enumerate(header.split("\n"), 1):
        match line.split():
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as layout, _]:
                pass
            case ["element", name, count] if re.fullmatch("[0-9]{1,18}", count):
                elements.append((name, int(count), []))
            case ["property", "list", length, kind, name] if elements and {length, kind} <= PLY_TYPES.keys():
                elements[-1][2].append((name, PLY_TYPES[kind], PLY_TYPES[length]))
            case ["property", kind, name] if elements and kind in PLY_TYPES:
                elements[-1][2].append((name, PLY_TYPES[kind], None))
            case ["ply"] | [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise damaged(f"its header has the line '{shown(line.encode('latin-1'))}'", number)
    if not layout:
        raise damaged("its header has no line that says its format")
    if len({name for name, *_ in elements}) < len(elements):
        raise damaged("its header declares an element twice")
    odd = [name for name, _, p in elements if any(length and length[0] == "f" for *_, length in p)]
    if odd:
        raise damaged(f"the lists of {odd[0]} have lengths that are no whole numbers")
    names = [name for _, _, properties in elements for name in {name for name, *_ in properties}]
    if len(names) < sum(len(properties) for *_, properties in elements):
        raise damaged("its header declares a property of an element twice")
    return layout, elements


# ------------------------------------------------------------------------------------------------- writing


def _content(
    vertex: Attributes, faces: Int64[np.ndarray, "f 3"], face: Attributes, corner: Attributes
) -> bytes:
    """Write columns of vertices, corner ids, columns of faces and lists of faces [F, k] as bytes."""
    points = np.empty(len(vertex["x"]), _row_type(vertex))
    for name, column in vertex.items():
        points[name] = column
    triangle = _row_type({"vertex_indices": faces.astype("i4"), **face, **corner})
    polygons = np.empty(len(faces), triangle)
    for name, column in {"vertex_indices": faces, **face, **corner}.items():
        polygons[name] = column
        if column.ndim == 2:
            polygons[f"#{name}"] = column.shape[1]
    spelt = {code: name for name, code in reversed(PLY_TYPES.items())}
    kinds = {name: spelt[column.dtype.str[1:]] for name, column in {**vertex, **face, **corner}.items()}
    header = [
        *("ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"),
        *(f"property {spelt[column.dtype.str[1:]]} {name}" for name, column in vertex.items()),
        *(f"element face {len(faces)}", "property list uchar int vertex_indices"),
        *(f"property {spelt[column.dtype.str[1:]]} {name}" for name, column in face.items()),
        *(f"property list uchar {kinds[name]} {name}" for name in corner),
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + points.tobytes() + polygons.tobytes()


def _row_type(columns: Attributes) -> np.dtype:
    """Return the type of little-endian rows; a column [rows, k] is a list, after its length under #name."""
    fields: list[tuple] = []
    for name, column in columns.items():
        if column.ndim == 2:
            fields.append((f"#{name}", "u1"))
        fields.append((name, column.dtype.newbyteorder("<"), column.shape[1:]))
    return np.dtype(fields)


def _columns(attributes: Attributes, taken: set[str], left_out: list[str], whole: bool = False) -> Attributes:
    """Convert attributes to types of the format, column by column or `whole`; note the names of others."""
    columns: Attributes = {}
    for name, values in attributes.items():
        try:
            column = _column(name, values)
        except GeometryError:
            left_out.append(name)
            continue
        if whole or column.ndim == 1:
            parts = {name: column}
        else:
            table = column.reshape(len(column), math.prod(column.shape[1:]))
            parts = dict(zip(_spelt(name, table, {*taken, *columns}), table.T, strict=True))
        named = all(_is_plain(part) and part not in {*taken, *columns} for part in parts)
        if named and parts and (not whole or column.shape[1] < 256):
            columns |= parts
        else:
            left_out.append(name)
    return columns


def _spelt(name: str, table: Shaped[np.ndarray, "rows k"], taken: set[str]) -> list[str]:
    """Return names of columns: those that viewers look for where the table is normals or colours."""
    k = table.shape[1]
    known = VIEWED.get((name, table.dtype.kind), [])[:k]
    fits = len(known) == k >= 3 and taken.isdisjoint(known)
    return known if fits else [f"{name}_{place}" for place in range(k)]


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[!-~]+", name) is not None


def _column(name: str, values: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Convert values to a type of the format; it lacks booleans, 64-bit integers and half precision."""
    code = values.dtype.str[1:]
    column = values.astype({"b1": "u1", "i8": "i4", "u8": "u4", "f2": "f4"}.get(code, code))
    exact = values.dtype.kind == "f" or bool((column == values).all())
    if column.dtype.str[1:] not in PLY_TYPES.values() or not exact:
        raise GeometryError(
            f"attribute '{name}' of {values.dtype}: a .ply file holds integers of up to 32 bits and floats "
            "of 32 or 64; convert or scale it"
        )
    return column
