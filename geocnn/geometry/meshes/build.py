"""Triangle meshes of one side or two, from arrays and files."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import wound_alike
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.doctor.verdict import check_surface, check_triangles
from geocnn.geometry.io import RawMesh, read_whole_mesh
from geocnn.geometry.io.raw import HasTriangles, vertices_and_faces
from geocnn.geometry.meshes.double_cover import double_cover
from geocnn.geometry.meshes.one_sided import OneSidedMesh, one_sided
from geocnn.geometry.meshes.surface import Mesh, two_sided


def mesh(
    vertices: ArrayLike | Tensor | HasTriangles, faces: ArrayLike | Tensor | None = None
) -> Mesh | OneSidedMesh:
    """A triangle mesh: vertices [N, 3] in any unit of length, faces [F, 3] vertex ids, counter-clockwise
    from outside; or one object that has both, like a `RawMesh` or a mesh of trimesh.

    Vertices and faces keep their order; boundaries, several components and isolated vertices are kept as they
    are. Where a component has only one side, like a Möbius band, it is a OneSidedMesh, whose features are of
    group O(2). Geometry is not differentiated: vertices are detached, and no gradient of an end point, a
    transporter or a stencil flows back to them.

    Raises GeometryError for what is no 2-manifold, or not wound alike where it could be: for just what
    `diagnose` calls not usable. It names the elements and the repairs.

    >>> s = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> s.n_points, round(float(s.areas.sum()), 3)
    (4, 2.366)
    """
    if isinstance(vertices, RawMesh) and faces is None:
        check_surface(vertices)
        return unchecked_mesh(vertices.vertices.clone(), vertices.faces.clone())
    return unchecked_mesh(*check_triangles(*vertices_and_faces(vertices, faces)))


def unchecked_mesh(v: Tensor, f: Tensor) -> Mesh | OneSidedMesh:
    """The mesh of vertices [N, 3] float64 and faces [F, 3] int64 without a fatal defect."""
    if wound_alike(f, len(v)):
        return two_sided(v, f)
    return one_sided(two_sided(v.repeat(2, 1), double_cover(f, len(v))))


def load(path: str | Path) -> Mesh | OneSidedMesh:
    """The mesh in a file that `read_mesh` reads, vertex for vertex.

    Raises GeometryError for a file that cannot be read, as `read_mesh` does, and for just what
    `geocnn inspect` finds to be no surface: polygons; a soup of loose triangles, as nearly every .stl file
    is; and what `mesh` refuses. It names the repairs, and the command that makes them.
    """
    raw = read_whole_mesh(path)
    check_surface(raw, f'read_mesh("{path}")', path)
    return unchecked_mesh(raw.vertices, raw.faces)


def check_mesh(surface: Surface, wanted: str) -> None:
    """Raises GeometryError unless the surface is a triangle mesh, of one side or two."""
    if not isinstance(surface, Mesh | OneSidedMesh):
        raise GeometryError(f"{wanted} take a triangle mesh, got a {type(surface).__name__}")
