"""Finer grids of one surface, and other triangulations of one mesh: on these, discretisation errors show."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.flat.rectangles import Flat
from geocnn.geometry.meshes.build import mesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.geometry.spheres.rings import KINDS, Rings, ring_grid
from geocnn.geometry.spheres.surfaces import HealpixGrid, Sphere, healpix
from geocnn.harmonics import RingGrid, equiangular, gauss_legendre, healpix_grid

Where = Stencil | Hierarchy | RingGrid | Sequence[RingGrid]
"""The geometry that a model takes beside a field."""


def finer(surface: Surface) -> Surface:
    """Return the same surface with four times the points.

    HEALPix doubles nside, an icosphere takes its next level, a ring grid has twice the rings, and plane cells
    and mesh triangles are cut in four.

    Raises GeometryError where a surface has no finer grid.

    >>> from geocnn.geometry import healpix
    >>> finer(healpix(2)).n_points
    192
    """
    if isinstance(surface, Flat | Sphere):
        return surface.finer()
    if isinstance(surface, Mesh) and surface.reading is None:
        return _two_sided(*refined_faces(surface))
    raise GeometryError(f"a {type(surface).__name__} has no finer grid; give a finer surface itself")


def refined_faces(surface: Mesh) -> tuple[Float64[Tensor, "v 3"], Int64[Tensor, "f 3"]]:
    """Return vertices and faces where each edge's midpoint is a new vertex and each face is cut in four.

    Old vertices keep their numbers. Of face f, face 4f + k lies at corner k and begins with the first half of
    half-edge 3f + k; face 4f + 3 is the middle.

              2
             ╱ ╲
           m2───m1
           ╱ ╲ ╱ ╲
          0───m0──1
    """
    t, n = surface.triangulation, len(surface.points)
    h = torch.arange(len(t.twin))
    _, middle = torch.unique(torch.where(t.twin < 0, h, torch.minimum(h, t.twin)), return_inverse=True)
    head = t.faces.roll(-1, 1).reshape(-1)
    midpoints = t.vertices.new_zeros(int(middle.max()) + 1, 3)
    midpoints[middle] = (t.vertices[t.tail] + t.vertices[head]) / 2
    m = n + middle.view(-1, 3)
    corners = torch.stack([t.faces, m, m.roll(1, 1)], -1)
    faces = torch.cat([corners, m[:, None]], 1).reshape(-1, 3)
    return torch.cat([t.vertices, midpoints]), faces


def remeshed(surface: Mesh, seed: int) -> tuple[Mesh, Mesh]:
    """Return the mesh subdivided, and subdivided with one inner edge per old face flipped at random.

    A corner triangle and the middle one form a parallelogram, so only the triangulation changes.
    """
    vertices, faces = refined_faces(surface)
    four = faces.view(-1, 4, 3).clone()
    f, k = torch.arange(len(four)), torch.randint(3, (len(four),), generator=_seeded(seed))
    corner, m = four[f, k, 0], four[:, 3]
    one, two, three = (m[f, (k + j) % 3] for j in range(3))
    four[f, k] = torch.stack([corner, one, two], -1)
    four[:, 3] = torch.stack([corner, two, three], -1)
    return _two_sided(vertices, faces), _two_sided(vertices, four.reshape(-1, 3))


def turn_between(a: Mesh, b: Mesh) -> Float64[Tensor, " n"]:
    """Return the angle per vertex of a from components in its frames to those in b's frames.

    Both triangulate one surface, and a's n vertices are the first of b. Where b is a subdivision, half-edge h
    of a lies along the half that `refined_faces` names; elsewhere the edges that both have give the angle.
    """
    s, t = a.triangulation, b.triangulation
    if len(t.faces) == 4 * len(s.faces):
        h = torch.arange(len(s.twin))
        other = 3 * (4 * (h // 3) + h % 3)
    else:
        n = len(t.vertices)
        b_keys, order = (t.tail * n + t.faces.roll(-1, 1).reshape(-1)).sort()
        keys = s.tail * n + s.faces.roll(-1, 1).reshape(-1)
        at = torch.searchsorted(b_keys, keys).clamp_max(len(b_keys) - 1)
        h = (b_keys[at] == keys).nonzero()[:, 0]
        other = order[at[h]]
    angle = torch.zeros(a.n_points, dtype=torch.float64)
    angle[s.tail[h]] = t.polar[other] - s.polar[h]
    return angle + b.anchor[: a.n_points] - a.anchor


def transform_grid(surface: Surface) -> RingGrid | None:
    """Return the grid of the harmonic transforms with the sphere's points and frames, or None.

    >>> from geocnn.geometry import ring_grid
    >>> transform_grid(ring_grid(8))
    gauss_legendre(8, 16): 8 rings, 128 points, lmax 7
    """
    if not isinstance(surface, Sphere) or surface.flipped is not None or bool(surface.anchor.any()):
        return None
    match surface.grid:
        case HealpixGrid(nside, nested):
            return healpix_grid(nside, nested)
        case Rings(theta, n_lon, kind):
            return {"gauss_legendre": gauss_legendre, "equiangular": equiangular}[kind](len(theta), n_lon)
    return None


def sphere_on(grid: RingGrid) -> Sphere:
    """Return the sphere whose `transform_grid` is this one. Raises GeometryError where there is none."""
    if not grid.is_product:
        return healpix((len(grid.n_phi) + 1) // 4, nested=grid.pixel is not None)
    for kind in KINDS:
        sphere = ring_grid(*grid.shape, kind)
        own = transform_grid(sphere)
        if own is not None and torch.equal(own.theta, grid.theta):
            return sphere
    raise GeometryError(
        f"no sphere here has the points of {grid!r}; measure on gauss_legendre, healpix_grid, or equiangular "
        "without poles"
    )


def levels(surface: Surface, where: Where | None) -> list[Surface]:
    """Return the surface and the coarser ones that `where` has stencils or grids for, finest first."""
    if where is None:
        return [surface]
    if not isinstance(where, Stencil | Hierarchy):
        return [surface, *map(sphere_on, [where] if isinstance(where, RingGrid) else where)]
    counts, surfaces = sizes(where), [surface]
    while min(counts) < surfaces[-1].n_points:
        surfaces.append(surfaces[-1].coarser())
    return surfaces


def sizes(where: Stencil | Hierarchy) -> set[int]:
    """Return the numbers of points of all point sets that stencils of `where` lead from or to."""
    return {n for s in stencils(where) for n in (s.n_source, s.n_target)}


def stencils(where: Stencil | Hierarchy) -> list[Stencil]:
    """Return all stencils of a hierarchy, or the stencil itself."""
    if isinstance(where, Stencil):
        return [where]
    return [*where.stencils, *where.down, *where.up, *(r for r in where.readings if r is not None)]


def _two_sided(vertices: Tensor, faces: Tensor) -> Mesh:
    surface = mesh(vertices, faces)
    assert isinstance(surface, Mesh)
    return surface


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
