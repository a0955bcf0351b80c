"""Read and write triangles without loss: no vertex or face is reordered, merged, dropped or invented.

The readers of .ply .obj .off .stl .vtp are our own because a label must still belong to its vertex
afterwards. Silently, trimesh 5.2 (`process=False, maintain_order=True`) drops isolated vertices of .obj files
with normals or uv, misplaces negative ids, repeats vertices by material, merges them by uv in .ply, splits
quads and accepts truncated files; meshio 5.3 refuses .obj files with normals or uv, and ends the process at a
file that it does not know. nibabel reads GIFTI and FreeSurfer's files, trimesh and pycollada read scenes;
they are imported only where needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.io.dae import read_dae
from geocnn.geometry.io.freesurfer import is_freesurfer, read_freesurfer
from geocnn.geometry.io.gifti import gifti_bytes, read_gifti
from geocnn.geometry.io.npz import npz_bytes, read_npz
from geocnn.geometry.io.obj import obj_text, read_obj
from geocnn.geometry.io.objects import MeshObject, raw_mesh
from geocnn.geometry.io.off import off_text, read_off
from geocnn.geometry.io.opening import content_of, naming, unpacked_name, write_whole
from geocnn.geometry.io.ply import ply_bytes, read_ply, save_ply
from geocnn.geometry.io.raw import (
    LARGEST_ID,
    Polygons,
    RawMesh,
    listed,
    owned,
    triangle_faces,
    triangulated,
)
from geocnn.geometry.io.scenes import SCENES, read_scene
from geocnn.geometry.io.stl import read_stl
from geocnn.geometry.io.value_files import read_vertex_values, write_vertex_values
from geocnn.geometry.io.values import VertexValues
from geocnn.geometry.io.vtp import read_vtp
from geocnn.geometry.io.vtp_writing import vtp_bytes, write_polylines

__all__ = [
    "READERS",
    "WRITERS",
    "MeshObject",
    "RawMesh",
    "VertexValues",
    "load_triangles",
    "raw_mesh",
    "read_mesh",
    "read_vertex_values",
    "save_ply",
    "write_mesh",
    "write_polylines",
    "write_vertex_values",
]

READERS: dict[str, Callable[[bytes, Path], Polygons]] = {
    ".ply": lambda content, _: read_ply(content),
    ".obj": lambda content, _: read_obj(content),
    ".off": lambda content, _: read_off(content),
    ".stl": lambda content, _: read_stl(content),
    ".vtp": lambda content, _: read_vtp(content),
    ".gii": read_gifti,
    ".npz": lambda content, _: read_npz(content),
    **dict.fromkeys(SCENES, read_scene),
    ".dae": read_dae,
}
"""A reader takes the content of a file; the path is for libraries that read further files beside it."""

WRITERS: dict[str, Callable[[RawMesh], tuple[bytes, list[str]]]] = {
    ".ply": ply_bytes,
    ".obj": obj_text,
    ".off": off_text,
    ".vtp": vtp_bytes,
    ".gii": gifti_bytes,
    ".npz": lambda raw: (npz_bytes(raw), []),
}
"""A writer returns the content of a file, and the names of the attributes that it cannot hold."""

PACKED = (".ply.gz", ".obj.gz", ".off.gz", ".stl.gz", ".vtp.gz", ".gii.gz", ".npz.gz")

KNOWN = f"known formats are {', '.join(READERS)} (with .gz too, except scenes) and FreeSurfer's surfaces"
IDS: dict[str, tuple[int, int]] = {
    ".ply": (-(2**31), 2**31 - 1),
    ".obj": (0, int(LARGEST_ID) - 2),
    ".off": (1 - int(LARGEST_ID), int(LARGEST_ID) - 1),
    ".gii": (-(2**31), 2**31 - 1),
    ".vtp": (1 - int(LARGEST_ID), int(LARGEST_ID) - 1),
    ".npz": (-(2**63), 2**63 - 1),
}
"""The smallest and the largest vertex id that a file preserves; .obj files count from 1, negative ids count
back from the end.
"""


def read_mesh(path: str | Path) -> RawMesh:
    """Read the vertices, triangles and attributes of a file, with all its defects.

    It reads `.ply` and `.off` (text and binary), `.obj` (all groups as one mesh), `.stl` (three vertices per
    triangle), `.vtp` (VTK PolyData in XML) and `.npz` with `vertices` and `faces` (or `v` and `f`); with
    nibabel `.gii` (GIFTI surfaces) and FreeSurfer's surfaces (`lh.pial`, …, recognised by their content);
    with trimesh or pycollada the scenes `.glb .gltf .3mf .dae`, whose parts are named. Our own formats and
    `.gii` may be packed (`.ply.gz`). Polygons and strips are cut into triangles; `face_map` says which face
    of the file each came from. `left_out` names what is in the file and not in the result.

    Raises:
        GeometryError: The file does not exist, its format is unknown, a library is missing, or the file is
            damaged or truncated; the message names the line of a text file. An .obj file cut off between two
            lines looks like a whole one, for it declares no counts.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/a.off").write_text("OFF 4 1\\n0 0 0\\n1 0 0\\n1 1 0\\n0 1 0\\n4 0 1 2 3\\n")
    ...     raw = read_mesh(f"{folder}/a.off")
    >>> raw.faces.tolist(), raw.face_map.tolist()
    ([[0, 1, 2], [0, 2, 3]], [0, 0])
    """
    path = Path(path)
    polygons = _polygons(path)
    with naming(path):
        return triangulated(polygons)


def read_whole_mesh(path: str | Path) -> RawMesh:
    """Read a mesh like `read_mesh`; warn of lines unknown to the format, which may have been faces."""
    path = Path(path)
    polygons = _polygons(path)
    _warn_of_unknown(path, polygons)
    with naming(path):
        return triangulated(polygons)


def load_triangles(path: str | Path) -> tuple[Float64[Tensor, "n 3"], Int64[Tensor, "f 3"]]:
    """Return the vertices and triangles of a file unchanged; colours, normals and the like are not read.

    It reads what `read_mesh` reads except .stl, and warns of lines that the format does not have, which may
    have been faces. `load` and `mesh` check whether the triangles form a surface.

    Raises:
        GeometryError: The file does not exist, its format is unknown (or is `.stl`, whose triangles share no
            vertices), the file is damaged or truncated, or its faces are not triangles or name vertices that
            do not exist.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_ply(f"{folder}/a.ply", torch.eye(3), torch.tensor([[0, 1, 2]]))
    ...     load_triangles(f"{folder}/a.ply")[1]
    tensor([[0, 1, 2]])
    """
    path = Path(path)
    if path.is_file() and path.name.lower().endswith((".stl", ".stl.gz")):
        raise GeometryError(
            f"{path}: an .stl file lists loose triangles that share no vertices; merge them once with "
            f"geocnn inspect {path.name} --repair {path.stem}.ply --fix merge, and give the result"
        )
    polygons = _polygons(path)
    with naming(path):
        faces = triangle_faces(len(polygons.vertices), polygons.counts, polygons.corners)
    _warn_of_unknown(path, polygons)
    return torch.from_numpy(owned(polygons.vertices)), torch.from_numpy(faces)


def write_mesh(path: str | Path, raw: MeshObject) -> list[str]:
    """Write .ply, .obj, .off, .vtp, .gii or .npz, whole or not at all; return the attributes left out.

    With .gz after its name the file is packed. A .npz file holds all attributes, a .vtp file (for ParaView)
    all of vertices and faces. A .ply file holds numbers of up to 32 bits and doubles, with attributes of k
    numbers as columns name_0 … (`normal` and bytes of a `colour` as viewers expect them); an .obj file holds
    red, green, blue of vertices and uv and normal of corners; a .gii file holds attributes of vertices; an
    .off file holds none. `raw` may be any object that `raw_mesh` takes, such as a `Mesh`;
    `RawMesh.with_attributes` adds values to write.

    Raises GeometryError for another extension, a missing folder, or ids of no vertex that the format would
    change: negative ones in .obj files, those of more than 32 bits in .ply and .gii files.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_mesh(f"{folder}/a.obj", raw_mesh(torch.eye(3), [[0, 1, 2]]))
    ...     print(Path(f"{folder}/a.obj").read_text().splitlines()[-1])
    []
    f 1 2 3
    """
    path, raw = Path(path), raw_mesh(raw)
    suffix = unpacked_name(path).suffix.lower()
    if suffix not in WRITERS or not path.parent.is_dir():
        raise GeometryError(
            f"cannot write {path}: give a name that ends in one of {', '.join(WRITERS)}, in a folder "
            "that exists"
        )
    with naming(path):
        _check_ids(raw.faces, suffix)
        content, left_out = WRITERS[suffix](raw)
        write_whole(path, content)
    return left_out


def _warn_of_unknown(path: Path, polygons: Polygons) -> None:
    if polygons.unknown:
        warnings.warn(f"{path}: not read: {', '.join(polygons.unknown)}", stacklevel=4)


def _check_ids(faces: Int64[Tensor, "f 3"], extension: str) -> None:
    """Raise GeometryError for ids of no vertex that a file would change."""
    low, high = IDS[extension]
    lost = ((faces < low) | (faces > high)).any(1)
    if lost.any():
        raise GeometryError(
            f"faces with vertex ids that {extension} files cannot hold: {listed(lost.numpy())}; repair "
            "'range' drops them, and .npz files hold them"
        )


def _polygons(path: Path) -> Polygons:
    content, suffix = content_of(path, PACKED, f"a triangle mesh, {KNOWN}", READERS)
    with naming(path):
        if suffix in READERS:
            return READERS[suffix](content, path)
        if is_freesurfer(content):
            return read_freesurfer(content, path)
    raise GeometryError(f"{path} is in no known format; save it as one of them, {KNOWN}")
