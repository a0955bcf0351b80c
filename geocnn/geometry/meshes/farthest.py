"""Farthest-point sampling: each point chosen is the farthest from those chosen before it (Gonzalez 1985).

The points are chosen in rounds, many at once, and are those that a search one by one would choose:

    ┌───┬───┬───┐   A choice changes distances only nearer to it than its own distance d. So if no point
    │   ╎   ╎   │   nearer to p than d(p) has a greater distance than p, none of the points chosen before p
    ├───┼───┼───┤   lies there: p will be chosen, and at this distance. All such points are chosen in one
    │   ╎ p ╎   │   round. Cells of a width of at least d(p) show it: p has the greatest distance in its own
    ├───┼───┼───┤   cell and in those around it. Of equal distances, the one of the lower position counts as
    │   ╎   ╎   │   greater. The distances at which points were chosen give the order of the search.
    └───┴───┴───┘

A round looks at the points that are still far. Time grows with the points and the logarithm of the extent.
On meshes of few points, whose discs are all known, rounds take longer than a search one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.geometry.core.near import near_pairs
from geocnn.geometry.core.rows import entries_of

Near = tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"], Float64[Tensor, " pairs"]]

Discs = Callable[[Int64[Tensor, " k"], float], Near]
"""Takes positions of points and a radius. Returns the pairs (place in the list, position of a point) no
farther apart than the radius along the surface, and their geodesic distances.
"""

ONE_BY_ONE = 5_000
"""Up to so many points a search one by one is quicker: by a factor of 20 at 250 points."""

ROUNDING = 1e-9
"""A geodesic may be shorter than the straight line by rounding, which is less than this share."""

SHORTER = 1e-3
"""Far geodesics may be shorter by this share, which is more than those of joined windows err by."""

STEP = 0.8
"""Geodesic distances are reduced to this share in one scale: the last scale may choose too many points."""


class KnownDiscs(NamedTuple):
    """The discs of all points up to a radius, as `Discs`: those of point k are the pairs from ptr[k] to
    ptr[k + 1].
    """

    ptr: Int64[Tensor, " n+1"]
    other: Int64[Tensor, " p"]
    r: Float64[Tensor, " p"]

    def __call__(self, k: Int64[Tensor, " k"], radius: float) -> Near:
        at, each = entries_of(self.ptr, k)
        row, within = torch.repeat_interleave(each), (self.r[at] <= radius).nonzero()[:, 0]
        return row[within], self.other[at][within], self.r[at][within]


class _Choice(NamedTuple):
    """Points in no order, and how far they were when they were chosen."""

    point: Int64[Tensor, " m"]
    apart: Float64[Tensor, " m"]


def farthest_points(
    points: Float64[Tensor, "n 3"], discs: Discs, reach: float, n: int
) -> Int64[Tensor, " m"]:
    """Choose n points, each the farthest from those chosen before it; return their positions, sorted.

    Distances are geodesic up to `reach`. Points that are farther than that from all chosen ones come first;
    among these, distance through space decides. The first is the farthest from the centroid, so the choice
    does not depend on the order of points.
    """
    # points without a known geodesic count as farther than all others
    beyond = 10 * float((points.amax(0) - points.amin(0)).norm())
    first = ((points - points.mean(0)).norm(dim=-1) + beyond).argmax()[None]
    if isinstance(discs, KnownDiscs) and len(points) <= ONE_BY_ONE:
        return _one_by_one(points, discs, reach, beyond, int(first), n)
    through_space = (points - points[first]).norm(dim=-1)
    chosen = [_Choice(first, through_space.new_full((1,), math.inf))]
    distance = torch.full_like(through_space, math.inf)
    _spread_in_space(points, through_space, reach * (1 + ROUNDING), beyond, n, chosen)
    _cover(points, through_space, distance, discs, reach, beyond, chosen)
    _spread_along_surface(points, distance, discs, reach, n, chosen)
    point, apart = (torch.cat(x) for x in zip(*chosen, strict=True))
    point, order = point.sort()
    order = apart[order].argsort(descending=True, stable=True)
    return point[order[:n]].sort().values


def _one_by_one(
    points: Float64[Tensor, "n 3"], discs: KnownDiscs, reach: float, beyond: float, first: int, n: int
) -> Int64[Tensor, " m"]:
    """Choose n points by looking at all of them n times, in NumPy, whose calls take least."""
    import numpy as np

    place = points.cpu().numpy()
    ptr, other, r = (t.cpu().numpy() for t in discs)
    along, through_space = np.full((2, len(place)), np.inf)
    chosen = [first]
    while len(chosen) < n:
        k = chosen[-1]
        # discs that are known for a wider stencil lead beyond the reach
        near = ptr[k] + (r[ptr[k] : ptr[k + 1]] <= reach).nonzero()[0]
        # on a cover a disc may hold a point twice
        np.minimum.at(along, other[near], r[near])
        unknown = np.isinf(along)
        if unknown.any():
            straight = np.sqrt(np.square(place - place[k]).sum(1))
            through_space = np.minimum(through_space, straight)
            chosen.append(int(np.where(unknown, through_space + beyond, along).argmax()))
        else:
            chosen.append(int(along.argmax()))
    return torch.tensor(sorted(chosen), device=points.device)


def _spread_in_space(
    points: Float64[Tensor, "n 3"],
    distance: Float64[Tensor, " n"],
    floor: float,
    beyond: float,
    n: int,
    chosen: list[_Choice],
) -> None:
    """Choose points by distance through space until none is farther than `floor`, or n are chosen."""
    width, every = float(distance.max()), torch.arange(len(points), device=points.device)
    while width > floor and _number(chosen) < n:
        least, start = max(width / 2, floor), len(chosen)
        far = _Far(points, distance > least, width)

        def shorten(new: Int64[Tensor, " k"], own: Float64[Tensor, " k"], far: _Far = far) -> None:
            _approach(points, distance, new, own, far.point)

        _choose(far, distance, least, beyond, chosen, shorten)
        # the points that were not far come last, all at once
        new = torch.cat([c.point for c in chosen[start:]])
        _approach(points, distance, new, distance.new_full((len(new),), least), every)
        width = float(distance.max())


def _approach(
    points: Float64[Tensor, "n 3"],
    distance: Float64[Tensor, " n"],
    new: Int64[Tensor, " k"],
    radius: Float64[Tensor, " k"],
    others: Int64[Tensor, " m"],
) -> None:
    """Shorten the distances of others through space, where they lie within the radius of a new point."""
    base, other = near_pairs(points[new], points[others], float(radius.max()))
    other = others[other]
    apart = (points[other] - points[new[base]]).norm(dim=-1)
    near = apart < radius[base]
    distance.scatter_reduce_(0, other[near], apart[near], "amin")


def _cover(
    points: Float64[Tensor, "n 3"],
    through_space: Float64[Tensor, " n"],
    distance: Float64[Tensor, " n"],
    discs: Discs,
    reach: float,
    beyond: float,
    chosen: list[_Choice],
) -> None:
    """Choose points until all have a geodesic distance; then these of all points are known, in `distance`."""
    new = torch.cat([c.point for c in chosen])
    far = _Far(points, distance.isinf(), reach)
    while True:
        _, other, r = discs(new, reach)
        distance.scatter_reduce_(0, other, r, "amin")
        far.keep(distance[far.point].isinf())
        if not len(far.point):
            return
        new = far.certain(through_space + beyond)
        chosen.append(_Choice(new, through_space[new] + beyond))
        _approach(points, through_space, new, through_space[new], far.point)


def _spread_along_surface(
    points: Float64[Tensor, "n 3"],
    distance: Float64[Tensor, " n"],
    discs: Discs,
    reach: float,
    n: int,
    chosen: list[_Choice],
) -> None:
    """Choose points by geodesic distance until n are chosen, or all.

    The radius of the discs is halved when distances are. Rounding depends on the radius, and decides between
    equal distances.
    """

    def shorten(new: Int64[Tensor, " k"], own: Float64[Tensor, " k"]) -> None:
        radius = reach
        while radius / 2 >= own.max():
            radius = radius / 2
        base, other, r = discs(new, radius)
        near = r < own[base]
        distance.scatter_reduce_(0, other[near], r[near], "amin")

    width = float(distance.max())
    while width > 0 and _number(chosen) < n:
        far = _Far(points, distance > STEP * width, width)
        _choose(far, distance, STEP * width, 0.0, chosen, shorten)
        width = float(distance.max())


def _choose(
    far: _Far,
    distance: Float64[Tensor, " n"],
    least: float,
    beyond: float,
    chosen: list[_Choice],
    shorten: Callable[[Tensor, Tensor], None],
) -> None:
    """Choose points, many at once, until none is farther than `least`.

    `shorten` takes new points and how far they were, and shortens the distances of the points near them.
    """
    while len(far.point):
        new = far.certain(distance)
        own = distance[new]
        chosen.append(_Choice(new, own + beyond))
        shorten(new, own)
        far.keep(distance[far.point] > least)


def _number(chosen: list[_Choice]) -> int:
    return sum(len(c.point) for c in chosen)


class _Far:
    """The points that are still far, sorted by the number of their cell.

    point: their positions. cell: numbers of cubic cells; cells that differ by one in the last coordinate have
    successive numbers.
    """

    def __init__(self, points: Float64[Tensor, "n 3"], far: Tensor, width: float) -> None:
        low = points.amin(0)
        # numbers of cells fit into 60 bits
        width = max(width * (1 + SHORTER), float((points - low).max()) / 2**18)
        place = ((points[far] - low) / width).long() + 1
        side = int(place.max()) + 2 if len(place) else 1
        step = torch.tensor([side * side, side, 1], device=points.device)
        self.cell, order = (place @ step).sort(stable=True)
        self.point = far.nonzero()[:, 0][order]
        shift = torch.arange(-1, 2, device=points.device)
        self.around = torch.cartesian_prod(shift, shift) @ step[:2]

    def keep(self, far: Tensor) -> None:
        """Keep some of the points."""
        self.point, self.cell = self.point[far], self.cell[far]

    def certain(self, apart: Float64[Tensor, " n"]) -> Int64[Tensor, " k"]:
        """Return the points that are farther than all others in their cell and the cells around it."""
        cell, row = torch.unique_consecutive(self.cell, return_inverse=True)
        mine = apart[self.point]
        most = mine.new_zeros(len(cell)).scatter_reduce_(0, row, mine, "amax")
        best = torch.where(mine == most[row], self.point, len(apart))
        best = best.new_full((len(cell),), len(apart)).scatter_reduce_(0, row, best, "amin")
        first = torch.searchsorted(cell, cell[:, None] + self.around - 1)
        highest = torch.ones_like(cell, dtype=torch.bool)
        # three cells in a row have successive numbers, as far as they hold points
        for k in range(3):
            at = (first + k).clamp_max(len(cell) - 1)
            near = (cell[at] - cell[:, None] - self.around).abs() <= 1
            greater = (most[at] > most[:, None]) | ((most[at] == most[:, None]) & (best[at] < best[:, None]))
            highest &= ~(near & greater).any(1)
        return best[highest]
