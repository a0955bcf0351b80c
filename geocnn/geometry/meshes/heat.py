"""The vector heat method (Sharp, Soliman & Crane 2019) by potpourri3d: its gauge, and logs over any distance.

potpourri3d counts directions at an inner vertex from one of its half-edges, rescaled to 2π as here; at a
boundary vertex from the first boundary edge, rescaled to π; here they stay as they are there, up to 2π. It
solves for one source at a time, on the intrinsic Delaunay triangulation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import components
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.groups.planar import wrapped
from geocnn.lasting import lasting

if TYPE_CHECKING:
    from potpourri3d import MeshVectorHeatSolver


class Component(NamedTuple):
    """One connected part of a triangulation, factorised: its vertices [n], ascending; axis [n], the polar
    directions there of potpourri3d's; stretch [n], our angles over its.
    """

    solver: MeshVectorHeatSolver
    vertices: Tensor
    axis: Tensor
    stretch: Tensor


_FACTORISED: WeakKeyDictionary[Triangulation, dict[int, Component]] = WeakKeyDictionary()
"""The solvers of each triangulation in use, by the lowest vertex of their component."""


def heat_solver(vertices: Tensor, faces: Tensor) -> MeshVectorHeatSolver:
    """A factorisation of those triangles. Raises GeometryError where potpourri3d is not installed."""
    try:
        from potpourri3d import MeshVectorHeatSolver
    except ImportError as missing:
        raise GeometryError(
            "the vector heat method needs potpourri3d: pip install 'geocnn[mesh]'"
        ) from missing
    return MeshVectorHeatSolver(vertices.cpu().numpy(), faces.cpu().numpy())


def parts(t: Triangulation) -> Tensor:
    """The lowest vertex of each vertex's component [V]."""
    return components(len(t.vertices), t.tail, t.faces.roll(-1, 1).reshape(-1))


def log_by_heat(t: Triangulation, start: Tensor, goal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(vector, arrival, reached) [K] of pairs of vertices, as `Unfolded` has them: the affine heat log map
    (AffineLocal), and the direction of arrival by vector heat transport.

    One factorisation a component, kept as long as the triangulation; two solves for each distinct start.
    """
    part = parts(t)
    reached = part[start] == part[goal]
    vector, arrival = t.place.new_zeros(len(start)), t.length.new_zeros(len(start))
    ways = (reached & (start != goal)).nonzero()[:, 0]
    ways = ways[start[ways].argsort(stable=True)]
    bases, counts = start[ways].unique_consecutive(return_counts=True)
    # potpourri3d takes one source at a time
    for base, pair in zip(bases.tolist(), ways.split(counts.tolist()), strict=True):
        c = _component(t, part, base)
        place, there = torch.searchsorted(c.vertices, base), torch.searchsorted(c.vertices, goal[pair])
        log = _complex(c.solver.compute_log_map(int(place), "AffineLocal"), t)[there]
        carried = _complex(c.solver.transport_tangent_vector(int(place), [1.0, 0.0]), t)[there]
        vector[pair] = torch.polar(log.abs(), c.axis[place] + c.stretch[place] * torch.angle(log))
        # the way back, which lies in the surface: around the middle of a boundary vertex's half circle
        back = torch.angle(log) + torch.angle(carried) + math.pi
        middle = torch.where(t.boundary[goal[pair]], math.pi / 2, 0.0)
        back = wrapped(back - middle) + middle
        arrival[pair] = c.axis[there] + c.stretch[there] * back - math.pi
    return vector, arrival, reached


def _complex(vectors: object, t: Triangulation) -> Tensor:
    return torch.complex(*torch.tensor(vectors, dtype=torch.float64).unbind(1)).to(t.place)


@lasting()
def _component(t: Triangulation, part: Tensor, vertex: int) -> Component:
    known = _FACTORISED.setdefault(t, {})
    name = int(part[vertex])
    if name not in known:
        used = (part == name).nonzero()[:, 0]
        faces = torch.searchsorted(used, t.faces[part[t.faces[:, 0]] == name])
        solver = heat_solver(t.vertices[used], faces)
        first = torch.as_tensor(solver.get_tangent_frames()[0]).to(t.vertices)
        rim = t.boundary[used]
        axis = torch.where(rim, 0.0, drawn_axes(t, used, first))
        known[name] = Component(solver, used, axis, torch.where(rim, t.total[used] / math.pi, 1.0))
    return known[name]


def drawn_axes(t: Triangulation, vertex: Tensor, first: Tensor) -> Tensor:
    """The polar directions [K] at vertices of potpourri3d's first axes [K, 3].

    Inside they lie along a half-edge, and are drawn to within a few degrees of it; on the boundary, where
    potpourri3d rescales angles to π, unlike us, the drawn direction is what the two have in common.
    """
    drawn = torch.zeros_like(t.scale)
    e1, e2 = t.frames()[vertex].unbind(1)
    drawn[vertex] = torch.atan2((first * e2).sum(-1), (first * e1).sum(-1))
    off = wrapped(t.polar - drawn[t.tail]).abs()
    least = torch.full_like(drawn, math.inf).scatter_reduce_(0, t.tail, off, "amin")
    nearest = (off == least[t.tail]) & ~t.boundary[t.tail]
    drawn[t.tail[nearest]] = t.polar[nearest]
    return drawn[vertex]
