"""Shifts that map a surface to itself, its points to points and their frames to their frames.

A torus has those along both sides, a ring grid those along its rings, HEALPix quarter turns about its axis.
What holds at one point of an orbit holds at all others, so `ops.tiles` needs only one of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int64
from torch import Tensor

from geocnn.geometry.core.placement import Movable
from geocnn.lasting import keep_normal

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Surface

ORBITS = 8
"""Neighbouring targets share sources, so at least this many of them should be told apart, if possible."""


@dataclass(frozen=True, eq=False)
class Shifts(Movable):
    """The orbits of a stencil's targets [D, *sizes] and sources [E, *sizes] under shifts that change nothing.

    A shift adds the same to the indices behind the first, modulo sizes, of targets and of sources.

    >>> s = common_shifts(torch.arange(24).view(8, 3), torch.arange(48).view(8, 6))
    >>> s.target.shape, s.source.shape, s.moved(torch.tensor([0, 47])).tolist()
    (torch.Size([8, 3]), torch.Size([16, 3]), [[0, 2, 4], [47, 43, 45]])
    """

    target: Int64[Tensor, "d ..."]
    source: Int64[Tensor, "e ..."]

    def __post_init__(self) -> None:
        keep_normal(self)

    @property
    def copies(self) -> int:
        """Return the number of shifts, which is the size of each orbit."""
        return math.prod(self.target.shape[1:])

    def moved(self, source: Int64[Tensor, "*k"]) -> Int64[Tensor, "*k copies"]:
        """Return what each shift makes of some sources; the shifts are in the order of a target's orbit."""
        sizes = self.source.shape[1:]
        place = torch.empty(self.source.numel(), dtype=torch.int64, device=source.device)
        place[self.source.flatten()] = torch.arange(len(place), device=source.device)
        at, step, moved = place[source][..., None], 1, 0
        for axis, size in reversed(list(enumerate(sizes))):
            shift = torch.arange(size, device=source.device)
            shift = shift.view(-1, *[1] * (len(sizes) - 1 - axis)).expand(sizes).flatten()
            moved = moved + (at // step + shift).remainder(size) * step
            step *= size
        return self.source.flatten()[at // step * step + moved]


def shifts_of(surface: Surface, targets: object) -> Shifts | None:
    """Return the shifts of a surface that leave its targets as they are; None stands for all points."""
    ends = surface if targets is None else targets
    if not hasattr(ends, "_orbits"):
        return None
    own, others = _own_orbits(ends), _own_orbits(surface)
    return None if own is None or others is None else common_shifts(own, others)


def _own_orbits(surface: Any) -> Int64[Tensor, "d ..."] | None:
    """Return the orbits where all frames are turned alike from the surface's own."""
    alike = surface.flipped is None and bool((surface.anchor == surface.anchor[:1]).all())
    return surface._orbits() if alike else None


def common_shifts(target: Int64[Tensor, "d ..."], source: Int64[Tensor, "e ..."]) -> Shifts | None:
    """Return the shifts that both point sets have, or None where that is no shift but the identity."""
    sizes = [math.gcd(a, b) for a, b in zip(target.shape[1:], source.shape[1:], strict=True)]
    orbits = target.numel() // math.prod(sizes)
    while sizes and orbits < ORBITS and sizes[-1] % 2 == 0:
        sizes[-1] //= 2
        orbits *= 2
    return Shifts(_orbits(target, sizes), _orbits(source, sizes)) if math.prod(sizes) > 1 else None


def _orbits(points: Int64[Tensor, "d ..."], sizes: list[int]) -> Int64[Tensor, "e ..."]:
    """Return the orbits under every so many-th shift, of these sizes; their first points come row by row."""
    parts = points
    for axis, size in enumerate(sizes):
        # an index is size · steps of the subgroup, then what lies between them
        parts = parts.unflatten(1 + 2 * axis, (size, -1))
    between = [2 + 2 * axis for axis in range(len(sizes))]
    along = [1 + 2 * axis for axis in range(len(sizes))]
    return parts.permute(0, *between, *along).reshape(-1, *sizes)
