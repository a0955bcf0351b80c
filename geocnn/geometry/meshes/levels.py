"""Some of a triangulation's vertices as the points of a coarser level: which, and how to read between."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.meshes.unfold import Unfolded, unfold


class Reading(NamedTuple):
    """A field on some points, read at all V vertices: Σ_s weight · rho(angle) x[source], all [V, S], axes to
    axes.

    Rows of fewer than S sources are filled with weight 0; a vertex that no point speaks for has only such.
    """

    source: Tensor
    weight: Tensor
    angle: Tensor


def farthest_points(points: Tensor, near: Unfolded, vertex: Tensor, n: int) -> Tensor:
    """The places [n] of n of the points [N, 3], each the farthest from those before it (Gonzalez 1985).

    Distances are geodesic where `near` (unfolded from all points, whose vertices are `vertex`) knows them;
    what no chosen point is near to comes first, the farthest through space of those. The first is the
    farthest from the centroid, so the choice does not hang on the points' order. Each choice needs the one
    before: n steps of N.
    """
    place = torch.full((int(near.vertex.max()) + 1,), -1, dtype=torch.int64, device=points.device)
    place[vertex] = torch.arange(len(vertex), device=points.device)
    known = place[near.vertex] >= 0
    base, other, r = near.base[known], place[near.vertex[known]], near.vector[known].abs()
    ptr = torch.cat([base.new_zeros(1), torch.bincount(base, minlength=len(points)).cumsum(0)]).tolist()
    size = float((points.amax(0) - points.amin(0)).norm())
    # no geodesic known: farther than any that is
    distance = torch.full((len(points),), math.inf, dtype=points.dtype, device=points.device)
    through_space = (points - points.mean(0)).norm(dim=-1)
    apart = through_space + 10 * size
    chosen: list[int] = []
    for _ in range(min(n, len(points))):
        k = int(apart.argmax())
        chosen.append(k)
        here = (points - points[k]).norm(dim=-1)
        through_space = here if len(chosen) == 1 else torch.minimum(through_space, here)
        row = slice(ptr[k], ptr[k + 1])
        distance.scatter_reduce_(0, other[row], r[row], "amin")
        apart = torch.where(distance.isinf(), through_space + 10 * size, distance)
    return torch.tensor(sorted(chosen), dtype=torch.int64, device=points.device)


def read_from(t: Triangulation, vertex: Tensor, radius: float) -> Reading:
    """How every vertex reads a field on the points `vertex` [N] within the radius: moving least squares of
    degree 1.

    Weights (1 − (r/R)²)² are corrected to reproduce linear functions of the log coordinates, as far as the
    points around determine them; a vertex with no point within the radius takes the nearest through doubled
    radii.
    """
    n = len(t.vertices)
    while True:
        found = unfold(t, vertex, radius)
        covered = torch.bincount(found.vertex, minlength=n) > 0
        if bool((covered | (t.fan_ptr.diff() == 0)).all()) or radius > 64 * float(t.length.sum()):
            break
        radius = 2 * radius
    vector, arrival, own = found.vector, found.arrival, vertex[found.base] == found.vertex
    # the geodesic seen from the vertex: back the way it arrived
    back = torch.polar(vector.abs(), arrival + math.pi)
    angle = torch.where(own, torch.zeros_like(arrival), arrival - torch.angle(vector))
    order = torch.argsort(found.vertex, stable=True)
    v, point, back, angle = (x[order] for x in (found.vertex, found.base, back, angle))
    weight = _linear_weights(back / radius, v, n)
    counts = torch.bincount(v, minlength=n)
    rank = torch.arange(len(v), device=v.device) - (counts.cumsum(0) - counts)[v]
    shape = (n, max(1, int(counts.max())))
    source, weights, angles = vertex.new_zeros(shape), t.length.new_zeros(shape), t.length.new_zeros(shape)
    source[v, rank], weights[v, rank], angles[v, rank] = point, weight, angle
    return Reading(source, weights, angles)


def _linear_weights(x: Tensor, row: Tensor, n: int) -> Tensor:
    """Weights [P] of points at x [P] (complex, |x| ≤ 1) around 0, by row: they sum to 1, and Σ w x is 0 or
    nearly.
    """
    phi = (1 - x.abs().square()).clamp_min(1e-6).square()
    basis = torch.stack([torch.ones_like(phi), x.real, x.imag], -1)
    moment = phi.new_zeros(n, 3, 3).index_add_(
        0, row, phi[:, None, None] * basis[:, :, None] * basis[:, None]
    )
    total = moment[:, 0, 0].clamp_min(1e-300)
    # 1e-3: where the points lie on a line, or one alone, linear functions are not asked for across it
    damp = torch.diag(phi.new_tensor([0.0, 1e-3, 1e-3]))
    system = moment / total[:, None, None] + damp
    empty = moment[:, 0, 0] == 0
    system[empty] = torch.eye(3, dtype=phi.dtype, device=phi.device)
    coefficient = torch.linalg.solve(system, phi.new_tensor([1.0, 0.0, 0.0]).expand(n, 3)) / total[:, None]
    weight = (phi * (basis * coefficient[row]).sum(-1)).clamp_min(0)
    summed = phi.new_zeros(n).index_add_(0, row, weight)
    return weight / summed[row].clamp_min(1e-300)
