"""Join neighbouring windows on an edge into one, where far from a base many windows say nearly the same.

     S₁ ·      · S₂         Behind each vertex that a source sees a window splits, and the faces on both sides
         ╲ S' ╱             are unfolded separately. Where the surface is curved, both parts see slightly
          ╲  ╱              different images S₁, S₂ of the source. At a distance of k rings each edge is
           ╲╱               crossed by about k such windows, so a disc would take k³ of them.
           ╱╲
   ───────╱──╲──────        A joined window lies between the rays on the outside. They meet in S', its source,
      x₀ ╱    ╲ x₁          which is so far from the base that distances at x₀ and x₁ are right on average.
        ╱      ╲            Directions at the base are interpolated between these two rays.

The outermost rays stay, so joined windows border on their neighbours without gaps. Where the surface is flat,
S' is the source's image itself. This is the approximation of Surazhsky et al. 2005 (section 4), but with rays
that continue; so curvature of the wave front is kept, and errors are of third order in the edges.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.meshes.windows import (
    JOINED,
    Sources,
    Windows,
    concatenated,
    cross,
    directions,
    selected,
    take,
)
from geocnn.groups.planar import wrapped

BAND = 6.0
"""Edges that windows cross, along a path, before they are joined again."""

ERROR = 1e-3
"""Distances at the ends of the windows that are joined change by at most this share of the edge."""

ASIDE = 0.1
"""Windows are neighbours if they leave at most this share of the edge between them, and if their rays there
differ by at most this angle in radians. A path that bends in between is as good as straight.
"""

NEAR, FAR = 0.2, 20.0
"""A joined source is so many times as far from the edge as the base. Beyond, rays are nearly parallel or
converge, as half-way to the antipode on a sphere; their windows are not joined.
"""


AT_VERTEX = 1e-9
"""A ray that crosses an edge within this share of its end goes through the vertex there."""


class _Crossing:
    """Where rays of windows cross their edges, along which x runs from the tail, and y = x / length.

    ray: unit vectors, the edge being the real axis. r: distance from the source.
    """

    def __init__(self, w: Windows, ray: Complex128[Tensor, " w"]) -> None:
        edge = w.left - w.right
        length = edge.abs()
        along = edge.conj() / length
        self.r = cross(w.right, w.left) / cross(ray, edge)
        self.x = ((self.r * ray - w.right) * along).real
        self.y = self.x / length
        self.ray = ray * along


def next_limit(
    sources: Sources, w: Windows, before: Float64[Tensor, " b"] | None, n: int
) -> Float64[Tensor, " n"]:
    """Return the distance from each of n bases up to which windows propagate before they are joined again.

    The first limit is the distance of the farthest window. Then it grows by some edges, as long as those
    that the base's windows cross.
    """
    base = take(sources.base, w.source)
    edge = (w.left - w.right).abs()
    if before is None:
        distance = nearer_end(w) + take(sources.distance, w.source)
        return edge.new_zeros(n).scatter_reduce_(0, base, distance, "amax")
    total = edge.new_zeros(n).index_add_(0, base, edge)
    return before + BAND * total / torch.bincount(base, minlength=n).clamp_min(1)


def nearer_end(w: Windows) -> Float64[Tensor, " w"]:
    """Return the distance from the source to the nearer end of each window's edge."""
    square = [x.real.square() + x.imag.square() for x in (w.right, w.left)]
    return torch.minimum(*square).sqrt()


def join(t: Triangulation, sources: Sources, w: Windows) -> tuple[Sources, Windows]:
    """Join windows where that changes distances by at most ERROR; return all sources and the windows."""
    if not len(w.source):
        return sources, w
    key = take(sources.base, w.source) * len(t.tail) + w.edge
    order = _Crossing(w, w.low).x.argsort()
    order = order[key[order].argsort(stable=True)]
    w, key = selected(w, order), take(key, order)
    low, high = _Crossing(w, w.low), _Crossing(w, w.high)
    length, before = (w.left - w.right).abs(), take(sources.distance, w.source)
    edge_of = torch.cat([key.new_zeros(1), (key.diff() != 0).long().cumsum(0)])
    follows = (edge_of.diff() == 0) & _continues(low, high, edge_of, length, before)

    # a run of windows, each of which follows the one before, becomes one window from x₀ to x₁
    outer = torch.ones(1, dtype=torch.bool, device=key.device)
    run = torch.cat([outer, ~follows]).long().cumsum(0) - 1
    first, last = _outermost(low.y, before + low.r, run), _outermost(1 - high.y, before + high.r, run)
    ray0, ray1, x0 = take(low.ray, first), take(high.ray, last), take(low.x, first)
    opening = (take(high.x, last) - x0) / cross(ray0, ray1)
    back0, back1 = -opening * ray1.imag, -opening * ray0.imag
    place, d0, d1 = x0 - back0 * ray0, take(before + low.r, first), take(before + high.r, last)
    distance = 0.5 * (d0 - back0 + d1 - back1)
    fits = (torch.bincount(run) > 1) & (opening > 0) & (back0 > NEAR * d0) & (back0 < FAR * d0)
    wrong = torch.zeros_like(low.x)
    for end in (low, high):
        there = (end.x - take(place, run)).abs() + take(distance, run)
        wrong = torch.maximum(wrong, (there - before - end.r).abs())
    amiss = torch.zeros_like(distance).index_add_(0, run, (~(wrong <= ERROR * length)).to(distance))
    fits &= amiss == 0

    k = fits.nonzero()[:, 0]
    first, last, ray0, ray1, place = (take(x, k) for x in (first, last, ray0, ray1, place))
    leaving, turn = directions(sources, take(w.source, first), take(w.low, first))
    leaving1, turn1 = directions(sources, take(w.source, last), take(w.high, last))
    angle, back = torch.angle(ray1 * ray0.conj()), ray0.conj()
    new = Sources(
        base=take(sources.base, take(w.source, first)),
        kind=torch.full_like(first, JOINED),
        distance=take(distance, k),
        leaving=leaving,
        leaving_slope=wrapped(leaving1 - leaving) / angle,
        turn=turn,
        first=torch.zeros_like(turn),
        first_slope=-wrapped(turn1 - turn) / angle,
    )
    joined = Windows(
        source=torch.arange(len(k), device=k.device) + len(sources.base),
        edge=take(w.edge, first),
        right=-place * back,
        left=(take(length, first) - place) * back,
        low=torch.ones_like(back),
        high=ray1 * back,
    )
    kept = (~take(fits, run)).nonzero()[:, 0]
    return concatenated(sources, new), concatenated(selected(w, kept), joined)


def _continues(
    low: _Crossing,
    high: _Crossing,
    edge_of: Int64[Tensor, " w"],
    length: Float64[Tensor, " w"],
    before: Float64[Tensor, " w"],
) -> Bool[Tensor, " w-1"]:
    """Check whether windows begin where the windows before them on the edge reach, with the same distance and
    direction.
    """
    # how far the windows before reach on the same edge; rounding may take y beyond 0 and 1
    reached = (high.y + 4 * edge_of).cummax(0).values - 4 * edge_of
    # as the source of the window before sees the point where this one begins
    seen = low.x[1:] - (low.x - low.r * low.ray)[:-1]
    r = seen.abs()
    return (
        (low.y[1:] <= reached[:-1] + ASIDE)
        & ((r + before[:-1] - (before + low.r)[1:]).abs() <= ERROR * length[1:])
        & ((low.ray[1:] - seen / r).abs() <= ASIDE)
    )


def _outermost(
    y: Float64[Tensor, " w"], distance: Float64[Tensor, " w"], run: Int64[Tensor, " w"]
) -> Int64[Tensor, " r"]:
    """Return the window of the least y in each run. At a vertex, where y is 0, it is the one of the least
    distance; so windows on both sides of the vertex take the same ray.
    """
    n, place = int(run[-1]) + 1, torch.arange(len(y), device=y.device)
    y = torch.where(y < AT_VERTEX, torch.zeros_like(y), y)
    for value in (y, distance):
        least = value.new_full((n,), torch.inf).scatter_reduce_(
            0, take(run, place), take(value, place), "amin"
        )
        place = place[take(value, place) == take(least, take(run, place))]
    return place.new_full((n,), len(y)).scatter_reduce_(0, take(run, place), place, "amin")
