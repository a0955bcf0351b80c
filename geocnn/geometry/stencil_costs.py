"""What a stencil of a mesh costs, measured on some of its points: discs hold more where vertices crowd."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from geocnn.geometry.core.defaults import Kind
from geocnn.geometry.core.sampling import discs_at_once
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface

FEW, MANY = 64, 3072
"""Points whose discs are made: first some, for a first call takes longer, then those that are timed."""

WINDOWS, SAMPLES = 90_000_000, 34_000_000
"""Bytes that unfolding and tracing take at most beside what they return."""

WINDOWS_PER_POINT = 17_000
"""Bytes that unfolding takes per point where all points fit into one block."""

DISC_ENTRY = 120
"""Bytes per entry of a block of discs, before they become entries of a stencil."""

BESIDE = 1.25
"""The most memory over the bytes of an `exp` stencil, without SAMPLES."""


class Cost(NamedTuple):
    """The cost of a stencil: its entries and their bytes, the most memory while it is made, and seconds.

    Seconds are those of one core of this machine; they were measured on some of the points.
    """

    kind: str
    entries: int
    bytes: int
    peak: int
    seconds: float


def stencil_cost(surface: Surface, radius: float, kind: Kind) -> Cost:
    """Estimate what the stencil of all points costs, from discs around up to 3,072 of them.

    These are taken evenly from all points, sorted by area, because small areas lie where vertices crowd. On
    larger surfaces entries and bytes err by a per cent or so, and seconds by what the machine varies.

    >>> from geocnn.geometry import icosphere
    >>> stencil_cost(icosphere(2), 0.5, "exp").entries == icosphere(2).stencil(0.5).n_entries
    True
    """
    n = surface.n_points
    _made(surface, radius, kind, _spread(surface, min(n, FEW)))
    seconds, stencil = _made(surface, radius, kind, _spread(surface, min(n, MANY)))
    share = n / stencil.n_target
    entries, size = stencil.n_entries * share, sum(t.nbytes for t in stencil.tensors().values()) * share
    peak = peak_bytes(kind, n, entries, size)
    return Cost(kind, round(entries), round(size), peak, seconds * share)


def peak_bytes(kind: Kind, n: int, entries: float, size: float) -> int:
    """Return about the most memory that a stencil of n points takes, beside the surface, while it is made."""
    if kind == "exp":
        return round(SAMPLES + BESIDE * size)
    windows, block = min(WINDOWS, WINDOWS_PER_POINT * n), min(1.0, discs_at_once(n) / n)
    # the allocator keeps the columns of several blocks while they are joined
    return round(windows + DISC_ENTRY * entries * block + size * (2 - block))


def _spread(surface: Surface, count: int) -> Int64[Tensor, " {count}"]:
    """Return some points, evenly from all points sorted by their area."""
    order = surface.areas.argsort(stable=True)
    place = (torch.arange(count, device=order.device) + 0.5) * (len(order) / count)
    return order[place.long()].sort().values


def _made(surface: Surface, radius: float, kind: Kind, targets: Tensor) -> tuple[float, Stencil]:
    start = time.process_time()
    stencil = surface._stencil(radius, kind, None, targets, "zero")
    return time.process_time() - start, stencil
