"""Pairs of points that lie near each other in space are found in linear time, by a grid of cubic cells.

A cell is at least as wide as the radius, so the partners of a point lie in its own cell and the cells around
it. Points are sorted by the number of their cell; cells that differ in the last coordinate only have
successive numbers, so in d dimensions 3^(d−1) ranges of the sorted points hold all partners:

    ┌───┬───┬───┐
    │   ╎   ╎   │  ← one range of numbers        A path along a surface is never shorter than the straight
    ├───┼───┼───┤                                line, so all pairs that are near along the surface are
    │   ╎ p ╎   │  ← another                     among these.
    ├───┼───┼───┤
    │   ╎   ╎   │  ← the third of d = 2
    └───┴───┴───┘
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.geometry.core.results import Log, Placed

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Surface

Pairs = tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]

MOST_CANDIDATES = 2_000_000
"""So many pairs are looked at together, in about 200 MB."""


def near_pairs(base: Float64[Tensor, "k d"], points: Float64[Tensor, "n d"], radius: float) -> Pairs:
    """Return (base, point), places in the two lists, of all pairs no farther apart than the radius.

    The pairs are sorted by base, then by point. Time and memory grow with the number of bases, points and
    pairs.

    >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    >>> [ids.tolist() for ids in near_pairs(x[:2], x, 2.0)]
    [[0, 0, 1, 1, 1], [0, 1, 0, 1, 2]]
    """
    none = torch.zeros(0, dtype=torch.int64, device=base.device)
    if len(base) == 0 or len(points) == 0:
        return none, none
    parts = []
    for of, point in _candidates(base, points, radius):
        near = (base[of] - points[point]).square().sum(-1) <= radius**2
        # both ids in one number, so that one sort orders the pairs
        key = (of[near] * len(points) + point[near]).sort().values
        parts.append((key // len(points), key % len(points)))
    of, point = (torch.cat(ids) for ids in zip((none, none), *parts, strict=True))
    return of, point


def _candidates(
    base: Float64[Tensor, "k d"], points: Float64[Tensor, "n d"], radius: float
) -> Iterator[Pairs]:
    """Yield the pairs of each base with the points of the cells around it, in blocks of bases."""
    d = points.shape[1]
    low = points.amin(0)
    extent = float((points.amax(0) - low).max())
    # numbers of cells fit into 60 bits
    width = max(radius * (1 + 1e-9), extent / 2 ** (60 // d - 1), 1e-300)
    cells = int(extent / width) + 1
    # two empty cells on each side: for bases outside the box of the points, and for their neighbours
    step = torch.tensor([(cells + 4) ** k for k in range(d - 1, -1, -1)], device=points.device)
    number = (((points - low) / width).long().clamp(max=cells - 1) + 2) @ step
    number, order = number.sort(stable=True)
    around = torch.cartesian_prod(*[torch.arange(-1, 2, device=points.device)] * (d - 1)).view(-1, d - 1)
    shift = around @ step[:-1]
    for start in range(0, len(base), 1 << 16):
        place = ((base[start : start + (1 << 16)] - low) / width).floor().clamp(-1, cells).long()
        middle = ((place + 2) @ step)[:, None] + shift
        first = torch.searchsorted(number, middle - 1)
        counts = torch.searchsorted(number, middle + 1, right=True) - first
        yield from _expanded(first, counts, order, start)


def _expanded(
    first: Int64[Tensor, "k ranges"],
    counts: Int64[Tensor, "k ranges"],
    order: Int64[Tensor, " n"],
    start: int,
) -> Iterator[Pairs]:
    """Yield (base, point) for ranges of the sorted points, a bounded number of pairs at once."""
    block = (counts.sum(1).cumsum(0) - 1).div(MOST_CANDIDATES, rounding_mode="floor")
    sizes = torch.unique_consecutive(block, return_counts=True)[1].tolist()
    for f, c in zip(first.split(sizes), counts.split(sizes), strict=True):
        of = torch.repeat_interleave(c.sum(1)) + start
        start += len(f)
        f, c = f.flatten(), c.flatten()
        # the k-th pair of all lies k minus the pairs before its range into the range
        before = torch.repeat_interleave(f - (c.cumsum(0) - c), c)
        yield of, order[before + torch.arange(len(of), device=of.device)]


def logs_of(surface: Surface, base: Placed, target: Pairs) -> Log:
    """Return the surface's log of many pairs (place in `base`, point id), computed by blocks of a million."""
    here = surface.placed
    parts = [
        surface._log(base.take(of), here.take(point))
        for of, point in zip(*(ids.split(1_000_000) for ids in target), strict=True)
    ]
    return Log(*(None if t[0] is None else torch.cat(t) for t in zip(*parts, strict=True)))  # type: ignore[arg-type]
