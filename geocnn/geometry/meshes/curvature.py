"""Curvature: where it sits on a mesh, how much there is at a point, and what it sums to."""

from __future__ import annotations

import math

from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.meshes.build import check_mesh
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.spheres.projective import ProjectivePlane
from geocnn.geometry.spheres.surfaces import Sphere


def angle_defects(mesh: Mesh | OneSidedMesh) -> Tensor:
    """2π less the corner angles at each vertex, on the boundary π less them: [V] radians, 0 without faces.

    Inside it is the curvature that sits in the vertex, on the boundary the angle by which the boundary turns.
    """
    check_mesh(mesh, "angle defects")
    return mesh.triangulation.defect[: mesh.n_vertices]


def gaussian_curvature(surface: Surface) -> Tensor:
    """The Gaussian curvature at a surface's points, [N] in 1/length²: 1 on spheres, 0 on flat surfaces and on
    cones, whose apex is no point.

    On a mesh the angle defects over the areas, 0 on the boundary: the integral is exact, values converge on
    regular meshes only (Xu 2006). A point of a coarser level speaks for the defects as for the areas around
    it. Raises GeometryError for a surface whose curvature is not known.

    >>> from geocnn.geometry import healpix
    >>> gaussian_curvature(healpix(1))[:2]
    tensor([1., 1.], dtype=torch.float64)
    """
    return surface._curvature()


def euler_characteristic(t: Triangulation) -> int:
    """Vertices less edges plus faces; vertices without faces do not count."""
    edges = len(t.tail) - int((t.twin >= 0).sum()) // 2
    return int((t.fan_ptr.diff() > 0).sum()) - edges + len(t.faces)


def gauss_bonnet(surface: Mesh | OneSidedMesh | Sphere | ProjectivePlane) -> float:
    """∫ K + ∮ κ − 2πχ in radians: rounding, on every mesh, and on a sphere or projective plane the error of
    its areas.

    On a mesh Σ (2π − Θ) inside and Σ (π − Θ) on the boundary, Θ the corner angles at a vertex. Raises
    GeometryError for other surfaces, whose boundary is not known.

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
            f"gauss_bonnet knows meshes, spheres and projective planes, not a {type(surface).__name__}"
        )
    return float((gaussian_curvature(surface) * surface.areas).sum()) - 4 * math.pi
