"""Triangles from files and back, lossless: no vertex or face is reordered, merged, dropped or made up.

The readers are our own because a label must still belong to its vertex afterwards. Without a word trimesh 5.2
(`process=False, maintain_order=True`) drops isolated vertices of .obj files with normals or uv, misplaces
negative ids, repeats vertices by material, merges them by uv in .ply, splits quads and accepts truncated
files; meshio 5.3 refuses .obj files with normals or uv, and ends the process at a file it does not know.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import compress
from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError

PLY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
"""The number types of the PLY format (Turk 1994) and their later names, as numpy calls them."""

Polygons = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What a reader finds: vertices [N, 3] float64, the number of corners of each face [F], all corners [sum]."""

Element = tuple[str, int, list[tuple[str, str, str | None]]]
"""A PLY element: name, rows, and properties (name, type, type of the length where it is a list)."""

Columns = dict[str, np.ndarray]
"""The values of a PLY element by property; of a list all its values in a row, and under #name the lengths."""

ONLY_TRIANGLES = "only triangles are read: triangulate the mesh where it was made, and save it again"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def load_triangles(path: str | Path) -> tuple[Tensor, Tensor]:
    """The vertices and triangles of a file as they stand there; colours, normals and the like are not read.

    Reads `.ply` (text and binary), `.obj` (all groups as one mesh), `.off`, and `.npz` with `vertices` and
    `faces` (or `v` and `f`). Whether they form a surface is for `check_triangles` to say.

    Returns:
        vertices [N, 3] float64 and faces [F, 3] int64.

    Raises:
        GeometryError: no such file, an unknown format (`.stl` too, whose triangles share no vertices), a
            damaged or truncated file, faces that are no triangles or name vertices that do not exist.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_ply(f"{folder}/a.ply", torch.eye(3), torch.tensor([[0, 1, 2]]))
    ...     load_triangles(f"{folder}/a.ply")[1]
    tensor([[0, 1, 2]])
    """
    path = Path(path)
    known = f"known formats are {', '.join(READERS)}"
    if not path.is_file():
        raise GeometryError(f"there is no file {path}; give a triangle mesh, {known}")
    extension = path.suffix.lower()
    if extension == ".stl":
        raise GeometryError(
            f"{path}: an .stl file lists loose triangles that share no vertices; weld them once, e.g. with "
            f"trimesh.load('{path.name}').export('{path.stem}.ply'), and give the result"
        )
    if extension not in READERS:
        raise GeometryError(f"{path} is in no known format; save it as one of them, {known}")
    try:
        vertices, counts, corners = READERS[extension](path)
        faces = _triangles(len(vertices), counts, corners)
    except GeometryError as fault:
        raise GeometryError(f"{path}: {fault}") from fault
    return torch.from_numpy(vertices), torch.from_numpy(faces)


def save_ply(
    path: str | Path,
    vertices: ArrayLike | Tensor,
    faces: ArrayLike | Tensor,
    **attributes: ArrayLike | Tensor,
) -> None:
    """A binary .ply file with numbers on its vertices, written whole or not at all.

    Args:
        path: ends in `.ply`; its folder exists.
        vertices: [N, 3]; stored as float where they are float32, else as double.
        faces: [F, 3] vertex ids.
        attributes: each [N], integers, booleans or floats; viewers show `red`, `green`, `blue` of uint8 as
            colours. The format has no 64-bit integers: such values are stored in 32 bits.

    Raises:
        GeometryError: another extension, a missing folder, shapes that do not fit, ids of no vertex, or
            numbers that the format cannot hold.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_ply(f"{folder}/a.ply", torch.eye(3), [[0, 1, 2]], label=torch.tensor([3, 1, 2]).byte())
    ...     Path(f"{folder}/a.ply").read_bytes().splitlines()[6]
    b'property uchar label'
    """
    path = Path(path)
    if path.suffix.lower() != ".ply" or not path.parent.is_dir():
        raise GeometryError(f"cannot write {path}: give a name that ends in .ply, in a folder that exists")
    v, f = _array("vertices", vertices), _array("faces", faces)
    if v.ndim != 2 or v.shape[1] != 3 or f.ndim != 2 or f.shape[1] != 3:
        raise GeometryError(f"vertices are [N, 3] and faces [F, 3], got {list(v.shape)} and {list(f.shape)}")
    coordinates = v.astype("f4" if v.dtype == np.float32 else "f8")
    columns = dict(zip("xyz", coordinates.T, strict=True))
    for name, values in attributes.items():
        column = _ply_column(name, _array(name, values))
        if column.shape != (len(v),) or name in columns or not re.fullmatch(r"[!-~]+", name):
            raise GeometryError(
                f"attribute '{name}' has shape {list(column.shape)}: give one number a vertex, [{len(v)}], "
                "and a plain name other than x, y, z"
            )
        columns[name] = column
    points = np.empty(len(v), [(name, column.dtype.newbyteorder("<")) for name, column in columns.items()])
    for name, column in columns.items():
        points[name] = column
    triangles = np.empty(len(f), [("length", "u1"), ("corners", "<i4", 3)])
    triangles["length"], triangles["corners"] = 3, _triangles(len(v), np.full(len(f), 3), f.ravel())
    spelt = {code: name for name, code in reversed(PLY_TYPES.items())}
    header = [
        *("ply", "format binary_little_endian 1.0", f"element vertex {len(v)}"),
        *(f"property {spelt[column.dtype.str[1:]]} {name}" for name, column in columns.items()),
        *(f"element face {len(f)}", "property list uchar int vertex_indices", "end_header\n"),
    ]
    _write_whole(path, "\n".join(header).encode("ascii") + points.tobytes() + triangles.tobytes())


def _damaged(what: str) -> GeometryError:
    return GeometryError(f"{what}; it is truncated, damaged or in another format: write the file again")


def _read_npz(path: Path) -> Polygons:
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, TypeError, NotImplementedError, BadZipFile, ZlibError) as broken:
        raise _damaged(f"not an archive of plain arrays ({broken})") from broken
    v, f = held.get("vertices", held.get("v")), held.get("faces", held.get("f"))
    if v is None or f is None:
        raise _damaged(f"it needs arrays vertices and faces (or v and f), it has {', '.join(held) or 'none'}")
    if v.ndim != 2 or v.shape[1] != 3 or f.ndim != 2 or {v.dtype.kind, f.dtype.kind} - set("iuf"):
        raise _damaged(f"vertices are numbers [N, 3] and faces [F, 3], got {list(v.shape)}, {list(f.shape)}")
    return v.astype(np.float64), np.full(len(f), f.shape[1]), f.ravel()


def _read_obj(path: Path) -> Polygons:
    """`v x y z …` and `f i j k`, where i may be i/uv, i//normal or i/uv/normal.

    Ids count from 1; negative ones count back from the last vertex above the line.
    """
    text = _text(path).replace(b"\\\n", b" ")
    found = re.findall(rb"^[ \t]*([vf])(?=\s)(.*)\n", text, re.MULTILINE)
    if not found:
        raise _damaged("it has no line that starts with v")
    kinds, lines = zip(*found, strict=True)
    is_vertex = np.array(kinds) == b"v"
    vertices = _first_three(*_rows(b"\n".join([*compress(lines, is_vertex), b""])))
    corners, counts = _rows(re.sub(rb"/\S*", b"", b"\n".join([*compress(lines, ~is_vertex), b""])))
    above = np.repeat(is_vertex.cumsum()[~is_vertex], counts)
    return vertices, counts, np.where(corners < 0, above + corners, corners - 1)


def _read_off(path: Path) -> Polygons:
    """OFF (Geomview): a line with the counts, then one a vertex, then one `k i j …` a face."""
    text = re.sub(rb"\n\s+", b"\n", _text(path).lstrip())
    head = re.match(rb"(?:ST)?C?N?OFF\s*(\d+)[ \t]+(\d+)(?:[ \t]+\d+)?[ \t]*\n", text)
    if head is None:
        raise _damaged("it must begin with OFF and the numbers of its vertices and faces, as text")
    n, m = int(head[1]), int(head[2])
    numbers, widths = _rows(text[head.end() :])
    if len(widths) != n + m:
        raise _damaged(f"{n} vertices and {m} faces need a line each, it has {len(widths)}")
    ends = widths.cumsum()
    counts, corners, _ = _lists(numbers, (ends - widths)[n:], ends[n:])
    return _first_three(numbers, widths[:n]), counts, corners


def _read_ply(path: Path) -> Polygons:
    """PLY (Turk 1994): a header that declares elements and their properties, then their rows."""
    content = path.read_bytes()
    end = re.search(rb"^end_header[ \t]*\r?\n", content, re.MULTILINE)
    if not re.match(rb"ply\s", content) or end is None:
        raise _damaged("it must begin with ply and have a line end_header")
    layout, elements = _ply_header(content[: end.start()].decode("latin-1"))
    if layout == "ascii":
        rows = _ply_text(_lines(content[end.end() :]), elements)
    else:
        rows = _ply_binary(content, end.end(), elements, "<" if layout == "binary_little_endian" else ">")
    points, faces = rows.get("vertex", {}), rows.get("face", {})
    corners = next((name for name in ("vertex_indices", "vertex_index") if f"#{name}" in faces), None)
    if not {"x", "y", "z"} <= points.keys() or corners is None:
        raise _damaged(f"it needs x, y, z of vertex and vertex_indices of face, it has {', '.join(rows)}")
    vertices = np.stack([points[name].astype(np.float64) for name in "xyz"], axis=1)
    return vertices, faces[f"#{corners}"].astype(np.int64), faces[corners]


def _ply_header(header: str) -> tuple[str, list[Element]]:
    """The layout (ascii or binary_…) and the declared elements."""
    layout, elements = "", []
    for line in header.splitlines():
        match line.split():
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as layout, _]:
                pass
            case ["element", name, count] if count.isdecimal():
                elements.append((name, int(count), []))
            case ["property", "list", length, kind, name] if elements and {length, kind} <= PLY_TYPES.keys():
                elements[-1][2].append((name, PLY_TYPES[kind], PLY_TYPES[length]))
            case ["property", kind, name] if elements and kind in PLY_TYPES:
                elements[-1][2].append((name, PLY_TYPES[kind], None))
            case ["ply"] | [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise _damaged(f"its header has the line '{line}'")
    if not layout:
        raise _damaged("its header has no line that says its format")
    return layout, elements


def _ply_text(body: bytes, elements: list[Element]) -> dict[str, Columns]:
    numbers, widths = _rows(re.sub(rb"\n\s+", b"\n", body.lstrip()))
    if len(widths) < sum(count for _, count, _ in elements):
        raise _damaged(f"it ends after {len(widths)} lines of its elements")
    ends, first, rows = widths.cumsum(), 0, {}
    for element, count, properties in elements:
        stop = ends[first : first + count]
        at = stop - widths[first : first + count]
        columns = rows[element] = {}
        for name, _, length in properties:
            if length is None:
                if (at >= stop).any():
                    raise _damaged(f"{element} {_listed(at >= stop)}: a number is missing")
                columns[name], at = numbers[at], at + 1
            else:
                columns[f"#{name}"], columns[name], at = _lists(numbers, at, stop)
        if (at != stop).any():
            raise _damaged(
                f"{element} {_listed(at != stop)}: there are more numbers than the header declares"
            )
        first += count
    return rows


def _ply_binary(content: bytes, at: int, elements: list[Element], order: str) -> dict[str, Columns]:
    rows = {}
    for element, count, properties in elements:
        if count == 0 or not properties:
            rows[element] = {key: np.empty(0) for name, *_ in properties for key in (name, f"#{name}")}
            continue
        row = _row_type(content, at, element, properties, order)
        table = np.frombuffer(content, row, min(count, (len(content) - at) // row.itemsize), at)
        names = row.names or ()
        lists = [name for name in names if name.startswith("#")]
        odd = np.array([table[name] != table[name][:1] for name in lists])
        if odd.any():
            k = odd.any(0).argmax()
            name = lists[odd[:, k].argmax()]
            raise GeometryError(
                f"{element} {k} lists {table[name][k]} {name[1:]}, {element} 0 lists {table[name][0]}; rows "
                "of a binary .ply must be alike: triangulate the mesh, or save it as text"
            )
        if len(table) < count:
            raise _damaged(f"it ends after {len(table)} of {count} rows of {element}")
        rows[element] = {name: table[name].ravel() for name in names}
        at += table.nbytes
    return rows


def _row_type(
    content: bytes, at: int, element: str, properties: list[tuple[str, str, str | None]], order: str
) -> np.dtype:
    """The layout of an element's first row, at `at`; that of all rows if their lists are of one length."""
    fields: list[tuple] = []
    try:
        for name, kind, length in properties:
            size = ()
            if length is not None:
                fields.append((f"#{name}", order + length))
                size = (int(np.frombuffer(content, np.dtype(fields), 1, at)[f"#{name}"][0]),)
            fields.append((name, order + kind, size))
        return np.dtype(fields)
    except ValueError as short:
        raise _damaged(f"it ends in its first row of {element}") from short


def _text(path: Path) -> bytes:
    """A text file without comments, every line ended by a line feed."""
    return re.sub(rb"#[^\n]*", b"", _lines(path.read_bytes()))


def _lines(text: bytes) -> bytes:
    text = text.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text if text.endswith(b"\n") else text + b"\n"


def _rows(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a text, float64, and how many of them are on each line."""
    try:
        numbers = np.array(text.split(), dtype=bytes).astype(np.float64)
    except ValueError as word:
        raise _damaged(f"there is something that is no number ({word})") from word
    character = np.frombuffer(text, np.uint8)
    solid = character > ord(" ")
    begins = solid & ~np.concatenate([[False], solid[:-1]])
    line = np.cumsum(character == ord("\n"))
    return numbers, np.bincount(line[begins], minlength=text.count(b"\n"))


def _first_three(numbers: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The first three numbers of each line: a vertex."""
    if (widths < 3).any():
        raise _damaged(f"vertices with fewer than three coordinates: {_listed(widths < 3)}")
    return numbers[(widths.cumsum() - widths)[:, None] + np.arange(3)]


def _lists(
    numbers: np.ndarray, at: np.ndarray, stop: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lists, a length and as many numbers, that begin at `at` and end before `stop`.

    Returns their lengths, their numbers in a row, and where each ends.
    """
    if (at >= stop).any():
        raise _damaged(f"rows without a list: {_listed(at >= stop)}")
    whole = (numbers[at] >= 0) & (at + 1 + numbers[at] <= stop) & (numbers[at] == np.floor(numbers[at]))
    if not whole.all():
        raise _damaged(f"rows whose list is cut off: {_listed(~whole)}")
    lengths = numbers[at].astype(np.int64)
    within = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    return lengths, numbers[np.repeat(at + 1, lengths) + within], at + 1 + lengths


def _triangles(n: int, counts: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Faces [F, 3] int64 from corners in a row; faces are counted from 0, as vertices are."""
    if (counts != 3).any():
        raise GeometryError(f"faces that have not three corners: {_listed(counts != 3)}; {ONLY_TRIANGLES}")
    faces = corners.reshape(-1, 3)
    lost = ~((faces >= 0) & (faces < n) & (faces == np.floor(faces))).all(1)
    if lost.any():
        raise GeometryError(
            f"faces (counted from 0) with ids of none of the {n} vertices: {_listed(lost)}; correct the file"
        )
    return faces.astype(np.int64)


def _listed(where: np.ndarray) -> str:
    """The first eight places that are marked."""
    ids = where.nonzero()[0]
    return ", ".join(map(str, ids[:8])) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")


def _array(name: str, values: ArrayLike | Tensor) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        array = np.asarray(values)
    except ValueError as ragged:
        raise GeometryError(f"{name} has rows of different lengths; give an array of numbers") from ragged
    if array.dtype.kind not in "iufb":
        raise GeometryError(f"{name} must be numbers, got {array.dtype}")
    return array


def _ply_column(name: str, values: np.ndarray) -> np.ndarray:
    """The values in a type the format has; it lacks booleans, 64-bit integers and half precision."""
    code = values.dtype.str[1:]
    column = values.astype({"b1": "u1", "i8": "i4", "u8": "u4", "f2": "f4"}.get(code, code))
    exact = values.dtype.kind == "f" or bool((column == values).all())
    if column.dtype.str[1:] not in PLY_TYPES.values() or not exact:
        raise GeometryError(
            f"attribute '{name}' of {values.dtype}: a .ply file holds integers of up to 32 bits and floats "
            "of 32 or 64; convert or scale it"
        )
    return column


def _write_whole(path: Path, content: bytes) -> None:
    # in the same folder, where replacing is atomic; by process, so that two writers do not share it
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


READERS: dict[str, Callable[[Path], Polygons]] = {
    ".ply": _read_ply,
    ".obj": _read_obj,
    ".off": _read_off,
    ".npz": _read_npz,
}
