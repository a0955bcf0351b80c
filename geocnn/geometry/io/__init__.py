"""Triangles from files and back, lossless: no vertex or face is reordered, merged, dropped or made up.

The readers are our own because a label must still belong to its vertex afterwards. Without a word trimesh 5.2
(`process=False, maintain_order=True`) drops isolated vertices of .obj files with normals or uv, misplaces
negative ids, repeats vertices by material, merges them by uv in .ply, splits quads and accepts truncated
files; meshio 5.3 refuses .obj files with normals or uv, and ends the process at a file it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.io.gifti import read_gifti
from geocnn.geometry.io.npz import npz_bytes, read_npz
from geocnn.geometry.io.obj import obj_text, read_obj
from geocnn.geometry.io.off import off_text, read_off
from geocnn.geometry.io.ply import ply_bytes, read_ply, save_ply, write_whole
from geocnn.geometry.io.raw import Polygons, RawMesh, raw_mesh, triangles, triangulated
from geocnn.geometry.io.stl import read_stl
from geocnn.geometry.io.vtp import read_vtp

__all__ = [
    "READERS",
    "WRITERS",
    "RawMesh",
    "load_triangles",
    "raw_mesh",
    "read_mesh",
    "save_ply",
    "write_mesh",
]

READERS: dict[str, Callable[[bytes], Polygons]] = {
    ".ply": read_ply,
    ".obj": read_obj,
    ".off": read_off,
    ".stl": read_stl,
    ".vtp": read_vtp,
    ".gii": read_gifti,
    ".npz": read_npz,
}

WRITERS: dict[str, Callable[[RawMesh], tuple[bytes, list[str]]]] = {
    ".ply": ply_bytes,
    ".obj": obj_text,
    ".off": off_text,
    ".npz": lambda raw: (npz_bytes(raw), []),
}
"""The content of a file, and the names of the attributes it cannot hold."""


def read_mesh(path: str | Path) -> RawMesh:
    """What a file holds, defects and all: vertices, triangles, and what is attached to them.

    Reads `.ply` (text and binary), `.obj` (all groups as one mesh), `.off`, `.stl` (three vertices a
    triangle), `.vtp` (VTK PolyData in XML), `.gii` (GIFTI surfaces) and `.npz` with `vertices` and `faces`
    (or `v` and `f`). Polygons are cut into triangles; `face_map` tells which came from where.

    Raises:
        GeometryError: no such file, an unknown format, a damaged or truncated file. An .obj file that was cut
            off between two lines cannot be told from a whole one: it declares no counts.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/a.off").write_text("OFF 4 1\\n0 0 0\\n1 0 0\\n1 1 0\\n0 1 0\\n4 0 1 2 3\\n")
    ...     raw = read_mesh(f"{folder}/a.off")
    >>> raw.faces.tolist(), raw.face_map.tolist()
    ([[0, 1, 2], [0, 2, 3]], [0, 0])
    """
    path = Path(path)
    polygons = _polygons(path)
    with _naming(path):
        return triangulated(polygons)


def load_triangles(path: str | Path) -> tuple[Tensor, Tensor]:
    """The vertices and triangles of a file as they stand there; colours, normals and the like are not read.

    Reads what `read_mesh` reads except .stl. Whether they form a surface is for `check_triangles` to say.

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
    if path.is_file() and path.suffix.lower() == ".stl":
        raise GeometryError(
            f"{path}: an .stl file lists loose triangles that share no vertices; weld them once with "
            f"geocnn inspect {path.name} --repair {path.stem}.ply --fix merge, and give the result"
        )
    polygons = _polygons(path)
    with _naming(path):
        faces = triangles(len(polygons.vertices), polygons.counts, polygons.corners)
    return torch.from_numpy(polygons.vertices), torch.from_numpy(faces)


def write_mesh(path: str | Path, raw: RawMesh) -> list[str]:
    """Writes .ply, .obj, .off or .npz, whole or not at all; returns the attributes the format cannot hold.

    A .npz file holds all; a .ply file numbers of up to 32 bits and doubles, attributes of k numbers as
    columns name_0 … ; an .obj file red, green, blue of vertices and uv and normal of corners; an .off file
    none. Raises GeometryError for another extension or a missing folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_mesh(f"{folder}/a.obj", raw_mesh(torch.eye(3), [[0, 1, 2]]))
    ...     print(Path(f"{folder}/a.obj").read_text().splitlines()[-1])
    []
    f 1 2 3
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS or not path.parent.is_dir():
        raise GeometryError(
            f"cannot write {path}: give a name that ends in one of {', '.join(WRITERS)}, in a folder "
            "that exists"
        )
    with _naming(path):
        content, left_out = WRITERS[path.suffix.lower()](raw)
        write_whole(path, content)
    return left_out


def _polygons(path: Path) -> Polygons:
    known = f"known formats are {', '.join(READERS)}"
    if path.is_dir():
        held = sorted(file for file in path.iterdir() if file.suffix.lower() in READERS)
        example = f", such as {held[0]}" if held else f"; there is none in it, {known}"
        raise GeometryError(f"{path} is a folder; give one mesh file{example}")
    if not path.is_file():
        raise GeometryError(f"there is no file {path}; give a triangle mesh, {known}")
    if path.suffix.lower() not in READERS:
        raise GeometryError(f"{path} is in no known format; save it as one of them, {known}")
    with _naming(path):
        return READERS[path.suffix.lower()](path.read_bytes())


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors say which file they are about."""
    try:
        yield
    except GeometryError as fault:
        raise GeometryError(f"{path}: {fault}") from fault
    except OSError as fault:
        raise GeometryError(f"{path} cannot be read or written ({fault.strerror})") from fault
