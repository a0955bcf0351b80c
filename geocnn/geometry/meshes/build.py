"""Make triangle meshes, of one side or two, from arrays and files."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import wound_alike
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.doctor.verdict import check_surface, check_triangles
from geocnn.geometry.io import RawMesh, read_whole_mesh
from geocnn.geometry.io.objects import MeshObject, vertices_and_faces
from geocnn.geometry.meshes.double_cover import double_cover
from geocnn.geometry.meshes.one_sided import OneSidedMesh, one_sided
from geocnn.geometry.meshes.surface import Mesh, two_sided
from geocnn.lasting import one_thread


@one_thread()
def mesh(
    vertices: ArrayLike | Tensor | MeshObject, faces: ArrayLike | Tensor | None = None
) -> Mesh | OneSidedMesh:
    """Make a triangle mesh from vertices [N, 3] in any unit of length and faces [F, 3], or from one object
    that has both: a `RawMesh`, a mesh of trimesh, a PolyData of pyvista, a Data of PyG with `pos` and `face`,
    or one with `v` and `f`. Faces are vertex ids, counter-clockwise seen from outside.

    Vertices and faces keep their order. Boundaries, several components and isolated vertices are allowed. If
    a component has only one side, like a Möbius band, the result is a OneSidedMesh, whose features are of
    group O(2). Geometry is not differentiated: vertices are detached, and no gradient flows back to them from
    end points, transporters or stencils.

    Raises GeometryError for faces that form no 2-manifold, and for faces that could be oriented alike and are
    not; these are the meshes that `diagnose` calls not usable. It names the elements and the repairs.

    >>> s = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> s.n_points, round(float(s.areas.sum()), 3)
    (4, 2.366)
    """
    if isinstance(vertices, RawMesh) and faces is None:
        check_surface(vertices)
        return unchecked_mesh(vertices.vertices.clone(), vertices.faces.clone())
    return unchecked_mesh(*check_triangles(*vertices_and_faces(vertices, faces)))


def unchecked_mesh(v: Float64[Tensor, "v 3"], f: Int64[Tensor, "f 3"]) -> Mesh | OneSidedMesh:
    """Make a mesh from vertices and faces without a fatal defect."""
    if wound_alike(f, len(v)):
        return two_sided(v, f)
    return one_sided(two_sided(v.repeat(2, 1), double_cover(f, len(v))))


def load(path: str | Path) -> Mesh | OneSidedMesh:
    """Load a mesh from a file that `read_mesh` reads; its vertices keep their order.

    Raises GeometryError for a file that `read_mesh` cannot read, and for a mesh that is no surface: polygons;
    a soup of loose triangles, as in nearly every .stl file; and what `mesh` refuses. It names the repairs and
    the command that makes them. `geocnn inspect` reports the same defects.

    >>> load("scan.ply")  # doctest: +SKIP
    """
    raw = read_whole_mesh(path)
    check_surface(raw, f'read_mesh("{path}")', path)
    return unchecked_mesh(raw.vertices, raw.faces)


def check_mesh(surface: Surface, subject: str) -> None:
    """Raise GeometryError unless the surface is a triangle mesh, of one side or two; the message begins with
    `subject`, a plural.
    """
    if not isinstance(surface, Mesh | OneSidedMesh):
        raise GeometryError(f"{subject} take a triangle mesh, got a {type(surface).__name__}")
