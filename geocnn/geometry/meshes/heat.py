"""The vector heat method (Sharp, Soliman & Crane 2019) by potpourri3d: its gauge, and logs over any distance.

potpourri3d counts directions at an interior vertex from one of its half-edges, in angles rescaled to 2π as
ours. At a boundary vertex it counts from the first boundary edge, in angles rescaled to π; ours are not
rescaled there, up to 2π. It solves for one source at a time, on the intrinsic Delaunay triangulation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

from geocnn.geometry.core.extras import extra
from geocnn.geometry.core.half_edges import components
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.groups.planar import wrapped
from geocnn.lasting import lasting

if TYPE_CHECKING:
    from potpourri3d import MeshVectorHeatSolver


class Component(NamedTuple):
    """A connected component of a triangulation with its factorised solver.

    vertices: ascending ids. axis: the polar direction of potpourri3d's axis at each. stretch: our angles
    divided by its angles.
    """

    solver: MeshVectorHeatSolver
    vertices: Int64[Tensor, " n"]
    axis: Float64[Tensor, " n"]
    stretch: Float64[Tensor, " n"]


_FACTORISED: WeakKeyDictionary[Triangulation, dict[int, Component]] = WeakKeyDictionary()
"""The solvers of each triangulation in use, by the lowest vertex of their component."""


def heat_solver(vertices: Float64[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> MeshVectorHeatSolver:
    """Factorise the solver of a mesh. Raises GeometryError if potpourri3d is not installed."""
    library = extra("potpourri3d", "the vector heat method")
    return library.MeshVectorHeatSolver(vertices.cpu().numpy(), faces.cpu().numpy())


def parts(t: Triangulation) -> Int64[Tensor, " v"]:
    """Return the lowest vertex of each vertex's component."""
    return components(len(t.vertices), t.tail, t.faces.roll(-1, 1).reshape(-1))


def log_by_heat(
    t: Triangulation, start: Int64[Tensor, " k"], goal: Int64[Tensor, " k"]
) -> tuple[Complex128[Tensor, " k"], Float64[Tensor, " k"], Bool[Tensor, " k"]]:
    """Return (vector, arrival, reached) of pairs of vertices, the first two as in `Unfolded`.

    The vector is from the affine heat log map (AffineLocal), the direction of arrival from vector heat
    transport. This takes one factorisation per component, stored as long as the triangulation lives, and two
    solves per distinct start.
    """
    part = parts(t)
    reached = part[start] == part[goal]
    vector, arrival = t.place.new_zeros(len(start)), t.length.new_zeros(len(start))
    pairs = (reached & (start != goal)).nonzero()[:, 0]
    pairs = pairs[start[pairs].argsort(stable=True)]
    bases, counts = start[pairs].unique_consecutive(return_counts=True)
    # potpourri3d takes one source at a time
    for base, pair in zip(bases.tolist(), pairs.split(counts.tolist()), strict=True):
        c = _component(t, part, base)
        source, target = torch.searchsorted(c.vertices, base), torch.searchsorted(c.vertices, goal[pair])
        log = _complex(c.solver.compute_log_map(int(source), "AffineLocal"), t)[target]
        axis = _complex(c.solver.transport_tangent_vector(int(source), [1.0, 0.0]), t)[target]
        vector[pair] = torch.polar(log.abs(), c.axis[source] + c.stretch[source] * torch.angle(log))
        # The way back lies in the surface: at a boundary vertex its angle is nearest the middle of the half
        # circle.
        back = torch.angle(log) + torch.angle(axis) + math.pi
        middle = torch.where(t.boundary[goal[pair]], math.pi / 2, 0.0)
        back = wrapped(back - middle) + middle
        arrival[pair] = c.axis[target] + c.stretch[target] * back - math.pi
    return vector, arrival, reached


def _complex(vectors: object, t: Triangulation) -> Complex128[Tensor, " v"]:
    return torch.complex(*torch.tensor(vectors, dtype=torch.float64).unbind(1)).to(t.place)


@lasting()
def _component(t: Triangulation, part: Tensor, vertex: int) -> Component:
    solvers = _FACTORISED.setdefault(t, {})
    lowest = int(part[vertex])
    if lowest not in solvers:
        used = (part == lowest).nonzero()[:, 0]
        faces = torch.searchsorted(used, t.faces[part[t.faces[:, 0]] == lowest])
        solver = heat_solver(t.vertices[used], faces)
        first = torch.as_tensor(solver.get_tangent_frames()[0]).to(t.vertices)
        rim = t.boundary[used]
        axis = torch.where(rim, 0.0, drawn_axes(t, used, first))
        solvers[lowest] = Component(solver, used, axis, torch.where(rim, t.total[used] / math.pi, 1.0))
    return solvers[lowest]


def drawn_axes(
    t: Triangulation, vertex: Int64[Tensor, " k"], first: Float64[Tensor, "k 3"]
) -> Float64[Tensor, " k"]:
    """Return the polar directions of potpourri3d's first axes, given as vectors in space.

    At an interior vertex the axis lies along a half-edge, and its vector to within a few degrees of it. At a
    boundary vertex the two conventions differ; there the direction of the vector counts.
    """
    drawn = torch.zeros_like(t.scale)
    e1, e2 = t.frames()[vertex].unbind(1)
    drawn[vertex] = torch.atan2((first * e2).sum(-1), (first * e1).sum(-1))
    off = wrapped(t.polar - drawn[t.tail]).abs()
    least = torch.full_like(drawn, math.inf).scatter_reduce_(0, t.tail, off, "amin")
    nearest = (off == least[t.tail]) & ~t.boundary[t.tail]
    drawn[t.tail[nearest]] = t.polar[nearest]
    return drawn[vertex]
