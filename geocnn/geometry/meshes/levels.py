"""Coarser levels of a mesh: which vertices become their points, and how a field on them is read elsewhere."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Complex128, Float64, Int64
from torch import Tensor

from geocnn.errors import ResolutionError
from geocnn.geometry.meshes.discs import FEW, Known, effort
from geocnn.geometry.meshes.farthest import Discs, KnownDiscs, Near, farthest_points
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.meshes.unfold import unfold
from geocnn.wording import counted


class Reading(NamedTuple):
    """How a field on the points of a level is read at all vertices: Σ_s weight · rho(angle) x[source].

    Angles are between axes. Rows with fewer than S sources are filled with weight 0; a vertex that no point
    reaches has only such entries.
    """

    source: Int64[Tensor, "v s"]
    weight: Float64[Tensor, "v s"]
    angle: Float64[Tensor, "v s"]


def thinned(
    t: Triangulation,
    vertex: Int64[Tensor, " n"],
    part: Int64[Tensor, " v"],
    reach: float,
    copies: int = 1,
    known: Known | None = None,
) -> Int64[Tensor, " m"]:
    """Choose a quarter of the vertices by `farthest_points`, and at least one per component; `part` names the
    component of each vertex.

    On even meshes a quarter of the points leaves no point farther than `reach` from all of them. Raises
    ResolutionError for fewer than four vertices.
    """
    if len(vertex) < 4:
        raise ResolutionError(
            f"a level of {counted(len(vertex), 'point')} cannot be thinned to a quarter; ask for fewer levels"
        )
    # a component without a point could not be read
    n = max(len(vertex) // 4, len(torch.unique(part[vertex])))
    discs = discs_between(t, vertex, reach, copies) if known is None else discs_of(known)
    return vertex[farthest_points(t.vertices[vertex], discs, reach, n)]


def discs_between(t: Triangulation, vertex: Int64[Tensor, " n"], reach: float, copies: int = 1) -> Discs:
    """Return the geodesic discs between the points `vertex`, for `farthest_points`.

    They are unfolded where they are asked for; all at once, up to `reach`, if that takes little time. If the
    triangulation is a cover of several copies, the points are in the first, and distances lead to any copy.
    """
    below = len(t.vertices) // copies
    place = torch.full((below,), -1, dtype=torch.int64, device=vertex.device)
    place[vertex] = torch.arange(len(vertex), device=vertex.device)

    def unfolded(k: Int64[Tensor, " k"], radius: float) -> Near:
        paths = unfold(t, vertex[k], radius, exact=False)
        other = place[paths.vertex % below]
        known = other >= 0
        return paths.base[known], other[known], paths.vector[known].abs()

    if effort(t, vertex, reach) > FEW:
        return unfolded
    base, other, r = unfolded(torch.arange(len(vertex), device=vertex.device), reach)
    return _discs_in(torch.bincount(base, minlength=len(vertex)), other, r)


def discs_of(known: Known) -> Discs:
    """Return the discs of all points of a mesh, for `farthest_points`."""
    return _discs_in(known.discs.counts, known.discs.point, known.discs.vector.abs())


def _discs_in(
    counts: Int64[Tensor, " n"], other: Int64[Tensor, " p"], r: Float64[Tensor, " p"]
) -> KnownDiscs:
    """Return the discs that pairs make, sorted by base."""
    return KnownDiscs(torch.cat([counts[:1] * 0, counts.cumsum(0)]), other, r)


def read_from(t: Triangulation, vertex: Int64[Tensor, " n"], radius: float) -> Reading:
    """Return how every vertex reads a field on the points `vertex` within the radius, by moving least squares
    of degree 1.

    Weights (1 − (r/R)²)² are corrected so that linear functions of the log coordinates are reproduced, as far
    as the points around determine them. For a vertex without a point within the radius R is doubled until it
    has one.
    """
    n = len(t.vertices)
    paths = unfold(t, vertex, radius, exact=False)
    # seen from the vertex, the point lies in the direction from which the path arrives
    back = torch.polar(paths.vector.abs(), paths.arrival + math.pi)
    own = vertex[paths.base] == paths.vertex
    angle = torch.where(own, torch.zeros_like(paths.arrival), paths.arrival - torch.angle(paths.vector))
    parts = [(paths.vertex, paths.base, back / radius, angle)]
    waiting = (torch.bincount(paths.vertex, minlength=n) == 0) & (t.fan_ptr.diff() > 0)
    waiting = waiting.nonzero()[:, 0]
    while len(waiting) and radius < float(t.farthest[waiting].amax()):
        radius = 2 * radius
        parts.append(_points_around(t, waiting, vertex, radius))
        waiting = waiting[~torch.isin(waiting, parts[-1][0])]
    v, point, back, angle = (torch.cat(x) for x in zip(*parts, strict=True))
    order = torch.argsort(v, stable=True)
    v, point, back, angle = (x[order] for x in (v, point, back, angle))
    weight = _linear_weights(back, v, n)
    counts = torch.bincount(v, minlength=n)
    rank = torch.arange(len(v), device=v.device) - (counts.cumsum(0) - counts)[v]
    shape = (n, max(1, int(counts.max())))
    source, weights, angles = vertex.new_zeros(shape), t.length.new_zeros(shape), t.length.new_zeros(shape)
    source[v, rank], weights[v, rank], angles[v, rank] = point, weight, angle
    return Reading(source, weights, angles)


def _points_around(
    t: Triangulation, start: Int64[Tensor, " k"], vertex: Int64[Tensor, " n"], radius: float
) -> tuple[Int64[Tensor, " p"], Int64[Tensor, " p"], Complex128[Tensor, " p"], Float64[Tensor, " p"]]:
    """Return the pairs (vertex of `start`, point) no farther apart than the radius; where the point lies,
    seen from the vertex, in radii; and the angle that takes components in the point's axes to the vertex's.
    """
    place = torch.full((len(t.vertices),), -1, dtype=torch.int64, device=vertex.device)
    place[vertex] = torch.arange(len(vertex), device=vertex.device)
    paths = unfold(t, start, radius, exact=False)
    k = (place[paths.vertex] >= 0).nonzero()[:, 0]
    vector = paths.vector[k]
    angle = torch.angle(vector) - paths.arrival[k]
    return start[paths.base[k]], place[paths.vertex[k]], vector / radius, angle


def _linear_weights(x: Complex128[Tensor, " p"], row: Int64[Tensor, " p"], n: int) -> Float64[Tensor, " p"]:
    """Return weights of points at x, |x| ≤ 1, that read a value at 0: in each of the n rows they sum to 1,
    and Σ w x is 0 or nearly 0.
    """
    phi = (1 - x.abs().square()).clamp_min(1e-6).square()
    basis = torch.stack([torch.ones_like(phi), x.real, x.imag], -1)
    moment = phi.new_zeros(n, 3, 3).index_add_(
        0, row, phi[:, None, None] * basis[:, :, None] * basis[:, None]
    )
    total = moment[:, 0, 0].clamp_min(1e-300)
    # 1e-3: a single point, or points on a line, do not determine linear functions across the line
    damp = torch.diag(phi.new_tensor([0.0, 1e-3, 1e-3]))
    system = moment / total[:, None, None] + damp
    empty = moment[:, 0, 0] == 0
    system[empty] = torch.eye(3, dtype=phi.dtype, device=phi.device)
    coefficient = torch.linalg.solve(system, phi.new_tensor([1.0, 0.0, 0.0]).expand(n, 3)) / total[:, None]
    weight = (phi * (basis * coefficient[row]).sum(-1)).clamp_min(0)
    summed = phi.new_zeros(n).index_add_(0, row, weight)
    return weight / summed[row].clamp_min(1e-300)
