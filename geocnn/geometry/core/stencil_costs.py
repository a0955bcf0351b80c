"""What a stencil costs, measured on some of its points: discs of a mesh hold more where vertices crowd."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from geocnn.errors import GeometryError, RadiusWarning
from geocnn.geometry.core.defaults import SPACINGS, Kind
from geocnn.geometry.core.radius import BROAD, check_samples, doubt
from geocnn.geometry.core.sampling import discs_at_once
from geocnn.geometry.core.shifts import shifts_of
from geocnn.geometry.core.stencil import Stencil
from geocnn.lasting import one_thread
from geocnn.wording import sized

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Surface

FEW, MANY = 64, 3072
"""Points whose discs of 2.5 spacings are made: first some, for a first call takes longer, then those that are
timed. Of larger discs there are fewer, for else the estimate would take as long as the stencil.
"""

WINDOWS, WINDOWS_PER_POINT = 90_000_000, 17_000
"""Bytes that unfolding takes at most beside what it returns, and per point where all fit into one block."""

LOGS, LOG = 400_000_000, 400
"""Bytes that closed-form logs take at most beside what they return, and per entry of a block of discs."""

DISC_ENTRY = 120
"""Bytes per entry of a block of discs, before they become entries of a stencil."""

SAMPLES, SAMPLE_SOURCE = 34_000_000, 200
"""Bytes that tracing and interpolation take at most beside what they return, and per source of a sample."""

BESIDE, ORBIT_POINT = 1.25, 60
"""The most memory over the bytes of an `exp` stencil, without SAMPLES, and bytes per point for its orbits."""


class Cost(NamedTuple):
    """The cost of a stencil: its entries and their bytes, the most memory while it is made, and seconds.

    Seconds are those of one core of this machine; they were measured on some of the points.
    """

    kind: str
    entries: int
    bytes: int
    peak: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"about {self.entries:.2g} entries, {sized(self.bytes)} ({sized(self.peak)} to make it), "
            f"{max(self.seconds, 0.1):.1f} s on a core"
        )


@one_thread()
def stencil_cost(surface: Surface, radius: float, kind: Kind, samples: tuple[int, int] | None = None) -> Cost:
    """Estimate what the stencil of all points costs, from discs around up to 3,072 of them.

    These are taken evenly from all points, sorted by area, because small areas lie where vertices crowd. On
    larger surfaces entries and bytes err by a per cent or so, and seconds by what the machine varies.

    >>> from geocnn.geometry import icosphere
    >>> stencil_cost(icosphere(2), 0.5, "exp").entries == icosphere(2).stencil(0.5).n_entries
    True
    """
    n = surface.n_points
    smaller = min(1.0, (SPACINGS * surface.spacing / radius) ** 2)
    first, timed = (min(n, max(1, round(count * smaller))) for count in (FEW, MANY))
    _made(surface, radius, kind, samples, _spread(surface, first))
    targets = _spread(surface, timed)
    seconds, stencil = _made(surface, radius, kind, samples, targets)
    unlike = _unlike(surface, kind)
    share = unlike / timed
    entries, size = stencil.n_entries * n / timed, sum(t.nbytes for t in stencil.tensors().values()) * share
    if kind == "exp":
        peak = exp_peak(stencil.n_entries * share, size, n if unlike < n else 0)
    elif surface.placed.vertex is not None:
        peak = unfolded_peak(n, entries, size)
    else:
        block = targets // discs_at_once(n)
        counts = stencil.row_ptr.diff().double()
        most = counts.new_zeros(len(block)).index_add_(0, block, counts).max()
        peak = _closed_peak(n, float(most) * n / timed, size)
    return Cost(kind, round(entries), round(size), peak, seconds * share)


def check_unit(
    surface: Surface,
    radius: float,
    kind: Kind,
    samples: tuple[int, int] | None,
    everywhere: bool = True,
    stacklevel: int = 3,
) -> None:
    """Refuse a radius in a wrong unit, before it builds a network that sees nothing, or everything.

    Raises GeometryError below a tenth of the point spacing and beyond the surface's extent. Warns
    (RadiusWarning) as `doubt` does: below one spacing and, where every point gets a disc (`everywhere`), of
    wide discs. If they take long, the warning tells what the stencil costs.
    """
    held, spacings = None, radius / surface.spacing
    if kind == "exp" and spacings > BROAD:
        # by default 2π s samples, s the spacings, on each of about π s / 2 rings
        each = (math.pi * spacings) ** 2 if samples is None else math.prod(check_samples(samples))
        held = _unlike(surface, kind) * each
    reason = doubt(surface, radius, everywhere, held)
    if reason is None:
        return
    if reason.hopeless:
        raise GeometryError(reason.message)
    takes = f". The stencil takes {stencil_cost(surface, radius, kind, samples)}" if reason.long else ""
    warnings.warn(reason.message + takes, RadiusWarning, stacklevel)


def exp_peak(sources: float, size: float, in_orbits: int = 0) -> int:
    """Return about the most memory that an `exp` stencil takes, beside the surface, while it is made.

    It reads so many sources itself; `in_orbits` is the number of points where shifts join them to orbits.
    """
    return round(min(SAMPLES, SAMPLE_SOURCE * sources) + BESIDE * size + ORBIT_POINT * in_orbits)


def unfolded_peak(n: int, entries: float, size: float) -> int:
    """Return the same of a `log` stencil of a mesh's n vertices."""
    block = min(1.0, discs_at_once(n) / n)
    return round(min(WINDOWS, WINDOWS_PER_POINT * n) + DISC_ENTRY * entries * block + _joined(n, size))


def _closed_peak(n: int, most: float, size: float) -> int:
    """Return the same on a surface with a closed-form log, where one block of discs has `most` entries."""
    return round(min(LOGS, LOG * most) + DISC_ENTRY * most + _joined(n, size))


def _joined(n: int, size: float) -> float:
    """Return the bytes of columns while they are joined: the allocator keeps those of several blocks."""
    return size * (2 - min(1.0, discs_at_once(n) / n))


def _unlike(surface: Surface, kind: Kind) -> int:
    """Return the number of discs that are made: points that shifts lead to each other share samples."""
    shifts = shifts_of(surface, None) if kind == "exp" else None
    return surface.n_points if shifts is None else len(shifts.target)


def _spread(surface: Surface, count: int) -> Int64[Tensor, " {count}"]:
    """Return some points, evenly from all points sorted by their area."""
    order = surface.areas.argsort(stable=True)
    place = (torch.arange(count, device=order.device) + 0.5) * (len(order) / count)
    return order[place.long()].sort().values


def _made(
    surface: Surface, radius: float, kind: Kind, samples: tuple[int, int] | None, targets: Tensor
) -> tuple[float, Stencil]:
    start = time.process_time()
    stencil = surface._stencil(radius, kind, samples, targets, "zero")
    return time.process_time() - start, stencil
