"""Curvature: the angle defects of a mesh, the curvature at points of a surface, and its integral."""

from __future__ import annotations

import math

from jaxtyping import Float64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.meshes.build import check_mesh
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.spheres.projective import ProjectivePlane
from geocnn.geometry.spheres.surfaces import Sphere
from geocnn.lasting import one_thread


@one_thread()
def angle_defects(mesh: Mesh | OneSidedMesh) -> Float64[Tensor, " v"]:
    """Return 2π minus the corner angles at each vertex, on the boundary π minus them, in radians.

    At an interior vertex this is the curvature that sits in the vertex; at a boundary vertex, the angle by
    which the boundary turns; at a vertex without faces, 0. Raises GeometryError for a surface that is no
    mesh.

    >>> from geocnn.geometry import mesh
    >>> s = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> round(float(angle_defects(s)[0] / math.pi), 12)
    0.5
    """
    check_mesh(mesh, "angle defects")
    return mesh.triangulation.defect[: mesh.n_vertices]


@one_thread()
def gaussian_curvature(surface: Surface) -> Float64[Tensor, " n"]:
    """Return the Gaussian curvature at a surface's points, in 1/length².

    It is 1 on spheres, and 0 on flat surfaces and on cones, whose apex is no point. On a mesh it is the angle
    defect divided by the area, and 0 on the boundary. Its integral is exact; its values converge on regular
    meshes only (Xu 2006). The points of a coarser level share the defects of the vertices around them, as
    they share the areas. Raises GeometryError for a surface whose curvature is not known.

    >>> from geocnn.geometry import healpix
    >>> gaussian_curvature(healpix(1))[:2]
    tensor([1., 1.], dtype=torch.float64)
    """
    return surface._curvature()


def euler_characteristic(t: Triangulation) -> int:
    """Return the number of vertices minus edges plus faces; vertices without faces do not count."""
    edges = len(t.tail) - int((t.twin >= 0).sum()) // 2
    return int((t.fan_ptr.diff() > 0).sum()) - edges + len(t.faces)


@one_thread()
def gauss_bonnet(surface: Mesh | OneSidedMesh | Sphere | ProjectivePlane) -> float:
    """Return the residual ∫ K + ∮ κ − 2πχ of the Gauss–Bonnet theorem, in radians.

    It is rounding error on every mesh, and on a sphere or projective plane the error of its areas. On a mesh
    ∫ K is the sum of 2π − Θ over interior vertices, and ∮ κ the sum of π − Θ over boundary vertices, Θ being
    the sum of the corner angles at a vertex. Raises GeometryError for other surfaces, whose boundary is not
    known.

    >>> from geocnn.geometry import icosphere
    >>> abs(gauss_bonnet(icosphere(1))) < 1e-12
    True
    """
    if isinstance(surface, Mesh):
        t = surface.triangulation
        return float(t.defect.sum()) - 2 * math.pi * euler_characteristic(t)
    if isinstance(surface, OneSidedMesh | ProjectivePlane):
        return gauss_bonnet(surface.cover) / 2
    if not isinstance(surface, Sphere):
        raise GeometryError(
            f"gauss_bonnet takes a mesh, a sphere or a projective plane, got a {type(surface).__name__}"
        )
    return float((gaussian_curvature(surface) * surface.areas).sum()) - 4 * math.pi
