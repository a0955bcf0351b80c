"""Triangle meshes of one side or two, from arrays and files."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.double_cover import double_cover
from geocnn.geometry.io import load_triangles
from geocnn.geometry.io.raw import HasTriangles, vertices_and_faces
from geocnn.geometry.manifold import check_triangles, wound_alike
from geocnn.geometry.mesh import Mesh, two_sided
from geocnn.geometry.one_sided import OneSidedMesh, one_sided
from geocnn.geometry.surface import Surface


def mesh(
    vertices: ArrayLike | Tensor | HasTriangles, faces: ArrayLike | Tensor | None = None
) -> Mesh | OneSidedMesh:
    """A triangle mesh: vertices [N, 3] in any unit of length, faces [F, 3] vertex ids, counter-clockwise
    from outside; or one object that has both, like a `RawMesh` or a mesh of trimesh.

    Vertices and faces keep their order; boundaries, several components and isolated vertices are kept as they
    are. Where a component has only one side, like a Möbius band, it is a OneSidedMesh, whose features are of
    group O(2). Geometry is not differentiated: vertices are detached, and no gradient of an end point, a
    transporter or a stencil flows back to them.

    Raises GeometryError, naming the elements, for what is no 2-manifold, or not wound alike where it could be
    (see `check_triangles`).

    >>> s = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> s.n_points, round(float(s.areas.sum()), 3)
    (4, 2.366)
    """
    v, f = check_triangles(*vertices_and_faces(vertices, faces))
    if wound_alike(f, len(v)):
        return two_sided(v, f)
    return one_sided(two_sided(v.repeat(2, 1), double_cover(f, len(v))))


def load(path: str | Path) -> Mesh | OneSidedMesh:
    """The mesh in a file that `read_mesh` reads, vertex for vertex; of an .stl file it says how to weld it.

    Raises GeometryError as `load_triangles` and `mesh` do.
    """
    return mesh(*load_triangles(path))


def check_mesh(surface: Surface, wanted: str) -> None:
    """Raises GeometryError unless the surface is a triangle mesh, of one side or two."""
    if not isinstance(surface, Mesh | OneSidedMesh):
        raise GeometryError(f"{wanted} take a triangle mesh, got a {type(surface).__name__}")
