"""Meshes that other libraries hold in memory: trimesh, pyvista, PyTorch Geometric, or plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.io.raw import Attributes, Polygons, RawMesh, as_array, listed, triangulated
from geocnn.geometry.io.scenes import trimesh_polygons
from geocnn.wording import counted


@runtime_checkable
class HasTriangles(Protocol):
    """An object with vertices [N, 3] and faces [F, 3], like the meshes of trimesh, a RawMesh and a Mesh."""

    @property
    def vertices(self) -> Any: ...

    @property
    def faces(self) -> Any: ...


@runtime_checkable
class HasPackedFaces(Protocol):
    """An object like pyvista's PolyData: points [N, 3], and faces as one list 3, a, b, c, 4, d, e, f, g, …"""

    @property
    def points(self) -> Any: ...

    @property
    def faces(self) -> Any: ...


@runtime_checkable
class HasGraph(Protocol):
    """An object like PyG's Data: pos [N, 3] and face [3, F]."""

    @property
    def pos(self) -> Any: ...

    @property
    def face(self) -> Any: ...


@runtime_checkable
class HasLetters(Protocol):
    """An object with v [N, 3] and f [F, 3]."""

    @property
    def v(self) -> Any: ...

    @property
    def f(self) -> Any: ...


MeshObject = HasTriangles | HasPackedFaces | HasGraph | HasLetters


def raw_mesh(
    vertices: ArrayLike | Tensor | MeshObject,
    faces: ArrayLike | Tensor | Sequence[Sequence[int]] | None = None,
) -> RawMesh:
    """Make a RawMesh of vertices [N, 3] and faces, [F, k] or a list of lists of vertex ids.

    One object may hold both, and attributes: a mesh of trimesh, a PolyData of pyvista, a Data of PyG with
    `pos` and `face`, or an object with `vertices` and `faces` or with `v` and `f`. Attributes of points and
    of faces are kept by name; `left_out` names what is not. Polygons become triangles. Raises GeometryError
    for vertices that are not coordinates and faces that are not whole numbers.

    >>> raw_mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2, 3]]).faces.tolist()
    [[0, 1, 2], [0, 2, 3]]
    """
    if isinstance(vertices, RawMesh) and faces is None:
        return vertices
    if faces is None and _is_trimesh(vertices):
        return triangulated(trimesh_polygons(vertices))
    if faces is None and _is_packed(vertices):
        return triangulated(_pyvista_polygons(vertices))
    polygons = _polygons_of(*vertices_and_faces(vertices, faces))
    if faces is None and hasattr(vertices, "is_node_attr"):
        _add_tensors(polygons, vertices)
    return triangulated(polygons)


def vertices_and_faces(vertices: Any, faces: Any) -> tuple[Any, Any]:
    """Return both as given, or those that one object holds; raise GeometryError without faces."""
    if faces is not None:
        return vertices, faces
    if isinstance(vertices, HasTriangles):
        return vertices.vertices, vertices.faces
    if _is_packed(vertices):
        counts, corners = _unpacked(vertices)
        if (counts != 3).any():
            raise GeometryError(
                f"faces that have not three corners: {listed(counts != 3)}; give .triangulate() of the "
                "PolyData, or raw_mesh of it"
            )
        return np.asarray(vertices.points), corners.reshape(-1, 3)
    if isinstance(vertices, HasGraph):
        if vertices.pos is None or vertices.face is None:
            raise GeometryError(
                "faces are missing: this Data has no pos [N, 3] and face [3, F]; points alone are no surface"
            )
        return vertices.pos, vertices.face.T
    if isinstance(vertices, HasLetters):
        return vertices.v, vertices.f
    raise GeometryError(
        f"faces are missing: give vertices and faces, or one object that has both, as those of trimesh, "
        f"pyvista.PolyData and PyG's Data do; a {type(vertices).__name__} has not (for a scene give "
        "scene.to_mesh(), for a grid of pyvista grid.extract_surface(), for a file load(path))"
    )


def _is_trimesh(value: Any) -> bool:
    return isinstance(value, HasTriangles) and hasattr(value, "visual") and hasattr(value, "face_attributes")


def _is_packed(value: Any) -> bool:
    return isinstance(value, HasPackedFaces) and hasattr(value, "point_data")


def _polygons_of(points: Any, faces: Any) -> Polygons:
    v = as_array("vertices", points)
    if v.ndim != 2 or v.shape[1] != 3:
        raise GeometryError(f"vertices are [N, 3] coordinates, got {list(v.shape)}")
    try:
        rows = [as_array("faces", faces)]
    except GeometryError:  # of different lengths
        if not isinstance(faces, Sequence):
            raise
        rows = [as_array("a face", face).reshape(1, -1) for face in faces]
    if any(row.ndim != 2 for row in rows if row.size):
        raise GeometryError(f"faces are [F, k] vertex ids or a list of lists, got {list(rows[0].shape)}")
    counts = [np.full(len(row), row.shape[1]) for row in rows if row.ndim == 2]
    corners = np.concatenate([row.ravel() for row in rows])
    return Polygons(v.astype(np.float64), np.concatenate([*counts, np.zeros(0, int)]), corners)


def _unpacked(mesh: Any) -> tuple[Int64[np.ndarray, " f"], Int64[np.ndarray, " corners"]]:
    """Return the numbers of corners, and all corners, of the faces of a PolyData."""
    if mesh.n_strips:
        raise GeometryError(
            f"it has {counted(mesh.n_strips, 'strip')} of triangles; give .triangulate() of the PolyData"
        )
    packed = np.asarray(mesh.faces, np.int64).ravel()
    if len(packed) % 4 == 0 and (packed[::4] == 3).all():
        rows = packed.reshape(-1, 4)
        return rows[:, 0], rows[:, 1:].ravel()
    counts: list[int] = []
    places: list[int] = []
    at = 0
    while at < len(packed):
        counts.append(int(packed[at]))
        places.append(at)
        at += counts[-1] + 1
        if counts[-1] < 0 or at > len(packed):
            raise GeometryError(f"faces are a list 3, a, b, c, 4, d, …; face {len(counts) - 1} is cut off")
    return np.array(counts, np.int64), np.delete(packed, places)


def _pyvista_polygons(mesh: Any) -> Polygons:
    counts, corners = _unpacked(mesh)
    points = as_array("points", np.asarray(mesh.points))
    polygons = Polygons(points.astype(np.float64), counts, corners)
    # data of cells begin with those of points, then of lines
    before = mesh.n_verts + mesh.n_lines
    polygons.vertex = _numbers(mesh.point_data, polygons.left_out)
    cells = _numbers(mesh.cell_data, polygons.left_out)
    polygons.face = {name: values[before : before + len(counts)] for name, values in cells.items()}
    polygons.left_out += [f"{before} cells that are points or lines"] if before else []
    return polygons


def _add_tensors(polygons: Polygons, data: Any) -> None:
    """Keep further tensors of a PyG Data that have one row per node."""
    held = {key: value for key, value in data.to_dict().items() if key not in ("pos", "face")}
    nodes = {key: value for key, value in held.items() if data.is_node_attr(key)}
    polygons.vertex = _numbers(nodes, polygons.left_out)
    polygons.left_out += [f"{key}, no row per node" for key in held if key not in nodes]


def _numbers(arrays: Mapping[str, Any], left_out: list[str]) -> Attributes:
    numbers: Attributes = {}
    for name, values in arrays.items():
        try:
            array = as_array(name, values if isinstance(values, Tensor) else np.asarray(values))
            numbers[name] = array.copy()
        except GeometryError:
            left_out.append(f"{name}, no numbers")
    return numbers
