"""The skin of a surface: triangles in space, each corner of which shows the value of a point.

A mesh shows its own faces. HEALPix pixels, cells of a ring grid, and points of other surfaces are small
polygons whose corners all show one point's value. Flat surfaces lie in the plane z = 0, with +y downwards, as
images do.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn.functional import pad

from geocnn.errors import GeometryError
from geocnn.geometry import Mesh, OneSidedMesh, RawMesh, Surface
from geocnn.geometry.core.half_edges import edges_of
from geocnn.geometry.doctor.defects import Examined
from geocnn.geometry.spheres.healpix_cells import pixel_to_cell, ring_layout, ring_theta, unit_vector
from geocnn.geometry.spheres.projective import ProjectivePlane
from geocnn.geometry.spheres.rings import Rings
from geocnn.geometry.spheres.surfaces import HealpixGrid, IcosphereGrid, Sphere
from geocnn.wording import counted


class Skin(NamedTuple):
    """Triangles that show values.

    `shows` holds, for each corner, the row of the values that it shows. `centres` are the places of the rows,
    `frames` the tangent frames there, None where the values belong to faces or the mesh has no frames.
    """

    vertices: Float64[Tensor, "v 3"]
    faces: Int64[Tensor, "f 3"]
    shows: Int64[Tensor, "f 3"]
    centres: Float64[Tensor, "n 3"]
    frames: Float64[Tensor, "n 2 3"] | None
    flat: bool = False
    closed: bool = False


def skin(surface: Surface | RawMesh, rows: int | None = None) -> Skin:
    """Return the triangles of a surface that show `rows` values: one per point or, on meshes, one per face.

    Without `rows`, they show one per point. A RawMesh may have any defect: faces with ids of no vertex, with
    one vertex twice, or with coordinates that are not finite are left out.

    Raises:
        GeometryError: there is no such number of points or faces, no face can be drawn, or the surface lies
            in more than three dimensions.

    >>> from geocnn.geometry import healpix, torus
    >>> skin(healpix(2)).faces.shape, skin(healpix(2)).vertices.shape
    (torch.Size([96, 3]), torch.Size([50, 3]))
    >>> skin(torus((2, 3))).shows[:, 0].tolist()
    [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    """
    if isinstance(surface, RawMesh):
        ids = Examined(surface).measured
        return _of_triangles(surface.vertices, surface.faces, ids, None, rows)
    if isinstance(surface, Mesh | OneSidedMesh):
        return _of_mesh(surface, rows)
    n = surface.n_points
    if rows is not None and rows != n:
        raise GeometryError(f"there are {rows} values, but the surface has {counted(n, 'point')}")
    if isinstance(surface, ProjectivePlane):
        whole = _of_sphere(surface.cover)
        return whole._replace(shows=surface.point[whole.shows], centres=surface.points, frames=surface.frames)
    return _of_sphere(surface) if isinstance(surface, Sphere) else _of_cells(surface)


def in_memory(surface: Surface | RawMesh) -> Surface | RawMesh:
    """Return a surface in the memory of the CPU, where pictures are made."""
    return surface if isinstance(surface, RawMesh) else surface.to("cpu")


def _of_mesh(surface: Mesh | OneSidedMesh, rows: int | None) -> Skin:
    n, faces = surface.n_points, surface.faces
    ids = torch.arange(len(faces))
    if rows in (None, n) and n < surface.n_vertices:
        # a coarser level: each vertex shows the point that counts most for it
        cover = surface.cover if isinstance(surface, OneSidedMesh) else surface
        assert cover.reading is not None
        source, weight = cover.reading.source, cover.reading.weight
        shown = source.gather(1, weight.argmax(1, keepdim=True))[:, 0] % n
        fine = _of_triangles(surface.vertices, faces, ids, None, None)
        return fine._replace(shows=shown[faces], centres=surface.points, frames=surface.frames)
    return _of_triangles(surface.vertices, faces, ids, surface.frames, rows)


def _of_triangles(
    vertices: Float64[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    ids: Int64[Tensor, " k"],
    frames: Float64[Tensor, "v 2 3"] | None,
    rows: int | None,
) -> Skin:
    """Return the skin of the faces `ids` of a mesh."""
    n, shown = len(vertices), faces[ids]
    if not len(shown):
        raise GeometryError(
            "the mesh has no face that can be drawn: three different ids of vertices with finite places"
        )
    if rows not in (None, n, len(faces)):
        raise GeometryError(
            f"there are {rows} values, but the mesh has {counted(n, 'vertex')} and "
            f"{counted(len(faces), 'face')}; give one value per vertex or per face"
        )
    edges = edges_of(shown, n)
    closed = bool((edges.count == 2).all())
    if rows in (None, n):
        return Skin(vertices, shown, shown, vertices, frames, closed=closed)
    centres = torch.full((len(faces), 3), math.nan, dtype=torch.float64)
    centres[ids] = vertices[shown].mean(1)
    return Skin(vertices, shown, ids[:, None].expand(-1, 3), centres, None, closed=closed)


def _of_sphere(sphere: Sphere) -> Skin:
    grid = sphere.grid
    if isinstance(grid, IcosphereGrid):
        faces = grid.solid.faces[-1]
        return Skin(sphere.points, faces, faces, sphere.points, sphere.frames, closed=True)
    if isinstance(grid, HealpixGrid):
        corners, cells = _healpix_cells(grid.nside, grid.nested)
    elif isinstance(grid, Rings):
        corners, cells = _ring_cells(grid)
    else:
        return _of_cells(sphere)
    return _of_quads(corners * sphere.radius, cells, sphere)


def _of_cells(surface: Surface) -> Skin:
    """Return a square of each point's area, in its tangent plane."""
    d = surface.points.shape[1]
    if d > 3:
        raise GeometryError(
            f"a {type(surface).__name__} in {d} dimensions has no picture; draw its parts one by one"
        )
    side = surface.areas.sqrt()[:, None, None] / 2
    e1, e2 = (side * surface.axes).unbind(1)
    square = torch.stack([-e1 - e2, e1 - e2, e1 + e2, e2 - e1], 1)
    corners = surface.points[:, None] + square
    return _of_quads(corners.flatten(0, 1), torch.arange(4 * surface.n_points).view(-1, 4), surface)


def _of_quads(corners: Float64[Tensor, "v d"], quads: Int64[Tensor, "n 4"], surface: Surface) -> Skin:
    """Return the skin of quadrangles, one per point, counter-clockwise from outside."""
    faces = torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    shows = torch.arange(len(quads)).repeat(2)[:, None].expand(-1, 3)
    flat = surface.points.shape[1] == 2
    down = [(t if not flat else pad(t, (0, 1)) * t.new_tensor([1.0, -1.0, 0.0]))
            for t in (corners, surface.points, surface.frames)]  # fmt: skip
    return Skin(down[0], faces, shows, down[1], down[2], flat, isinstance(surface, Sphere))


def _healpix_cells(nside: int, nested: bool) -> tuple[Float64[Tensor, "v 3"], Int64[Tensor, "npix 4"]]:
    """Return the corners of all pixels as unit vectors, each once, and each pixel's, from its southern one.

    A pixel is the cell from (x, y) to (x + 1, y + 1) of its base face (see `healpix_cells`), so the ring of a
    corner (x, y) is F1 nside - x - y.
    """
    face, x, y = pixel_to_cell(nside, torch.arange(12 * nside**2), nested)
    x = x[:, None] + torch.tensor([0, 1, 1, 0])
    y = y[:, None] + torch.tensor([0, 0, 1, 1])
    row = (face // 4)[:, None]
    ring = (row + 2) * nside - x - y
    quarter = ring_layout(nside, ring)[0]
    column2 = (2 * (face % 4)[:, None] + 1 - row % 2) * quarter + x - y
    around = 8 * quarter.clamp_min(1)
    key = ring * (8 * nside) + torch.where(quarter == 0, 0, column2 % around)
    unique, place = key.unique(return_inverse=True)
    ring, column2 = unique // (8 * nside), unique % (8 * nside)
    phi = column2.double() * (2 * math.pi) / (8 * ring_layout(nside, ring)[0].clamp_min(1))
    return unit_vector(ring_theta(nside, ring), phi), place


def _ring_cells(grid: Rings) -> tuple[Float64[Tensor, "v 3"], Int64[Tensor, "n 4"]]:
    """Return corners halfway between rings and between their points; the outermost cells end at the poles."""
    n = grid.n_lon
    theta = grid.theta.new_tensor([0.0, *((grid.theta[1:] + grid.theta[:-1]) / 2).tolist(), math.pi])
    phi = (torch.arange(n, dtype=torch.float64) - 0.5) * (2 * math.pi / n)
    corners = unit_vector(theta.repeat_interleave(n), phi.repeat(len(theta)))
    row, west = torch.meshgrid(torch.arange(len(theta) - 1), torch.arange(n), indexing="ij")
    east = (west + 1) % n
    cells = torch.stack([(row + 1) * n + west, (row + 1) * n + east, row * n + east, row * n + west], -1)
    return corners, cells.flatten(0, 1)
