"""Geodesic discs between the points of a mesh: stencils are made of them, and levels chosen by them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

from geocnn.geometry.core.rows import entries_of
from geocnn.geometry.core.sampling import discs_at_once
from geocnn.geometry.meshes.jacobian import exp_jacobian
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.meshes.unfold import unfold
from geocnn.geometry.meshes.windows import concatenated, take

MOST_PAIRS = 4_000_000
"""Pairs that are kept for all points of a level at once, in about 200 MB."""

FEW = 200_000
"""Up to this sum of k³, over discs of k rings, it is quicker to unfold all of them at once."""

PER_RING = 3.6
"""A disc of k rings of equilateral triangles holds about so many times k² vertices."""


class PointDiscs(NamedTuple):
    """Discs around some bases, and their pairs, sorted by base; `counts` says how many each base has.

    point: position of the pair's second point among the mesh's points. The other fields are those of
    `unfold.Unfolded`; jacobian: how much exp stretches areas there.
    """

    counts: Int64[Tensor, " b"]
    point: Int64[Tensor, " p"]
    vector: Complex128[Tensor, " p"]
    arrival: Float64[Tensor, " p"]
    met: Bool[Tensor, " p"]
    jacobian: Float64[Tensor, " p"]

    @property
    def base(self) -> Int64[Tensor, " p"]:
        return torch.arange(len(self.counts), device=self.counts.device).repeat_interleave(self.counts)

    def around(self, which: Int64[Tensor, " k"], radius: float) -> PointDiscs:
        """Return the discs of some of the bases, with the pairs within a radius."""
        entry, counts = entries_of(torch.cat([self.counts[:1] * 0, self.counts.cumsum(0)]), which)
        discs = PointDiscs(counts, *(x[entry] for x in self[1:]))
        near = (discs.vector.abs() <= radius).nonzero()[:, 0]
        counts = torch.bincount(take(discs.base, near), minlength=len(which))
        return PointDiscs(counts, *(take(x, near) for x in discs[1:]))


class Known(NamedTuple):
    """The discs of all points of a mesh up to a radius."""

    radius: float
    vertex: Int64[Tensor, " n"]
    discs: PointDiscs

    def scaled(self, factor: float) -> Known:
        """Return the discs with all lengths times a factor."""
        discs = self.discs._replace(vector=self.discs.vector * factor)
        return Known(self.radius * factor, self.vertex, discs)

    def around(self, start: Int64[Tensor, " b"], radius: float) -> PointDiscs | None:
        """Return the discs around vertices; None for a greater radius, or if some are no points."""
        place = torch.searchsorted(self.vertex, start).clamp_max(len(self.vertex) - 1)
        if radius > self.radius or not torch.equal(self.vertex[place], start):
            return None
        return self.discs.around(place, radius)


def point_discs(
    t: Triangulation, vertex: Int64[Tensor, " n"], start: Int64[Tensor, " b"], radius: float
) -> PointDiscs:
    """Return the discs around the vertices `start`, between the points `vertex`."""
    paths = unfold(t, start, radius, exact=False)
    jacobian = exp_jacobian(t, paths)
    point = torch.full((len(t.vertices),), -1, dtype=torch.int64, device=start.device)
    # a vertex without faces is not part of the surface
    on_surface = t.fan_ptr.diff()[vertex] > 0
    point[vertex[on_surface]] = on_surface.nonzero()[:, 0]
    source = point[paths.vertex]
    use = source >= 0
    counts = torch.bincount(paths.base[use], minlength=len(start))
    return PointDiscs(counts, *(x[use] for x in (source, *paths[2:], jacobian)))


def all_discs(t: Triangulation, vertex: Int64[Tensor, " n"], radius: float) -> Known:
    """Return the discs of all points."""
    blocks = vertex.split(discs_at_once(len(vertex)))
    return Known(radius, vertex, concatenated(*(point_discs(t, vertex, block, radius) for block in blocks)))


def crowd(t: Triangulation, vertex: Int64[Tensor, " n"], radius: float) -> Float64[Tensor, " n"]:
    """Estimate how many vertices lie in the disc around each of the given ones: as many as its area holds
    where vertices are as dense as here, and at most those of the component. Meshes may be uneven.
    """
    size = torch.bincount(t.component, minlength=len(t.vertices))[t.component[vertex]]
    dense = math.pi * radius**2 / t.vertex_areas[vertex]
    return torch.minimum(dense, size.to(dense)).clamp_min(1)


def effort(t: Triangulation, vertex: Int64[Tensor, " n"], radius: float) -> float:
    """Estimate the windows of all discs around the vertices, by the sum of k³ over discs of k rings."""
    return float((crowd(t, vertex, radius) / PER_RING).pow(1.5).sum())
