"""The transform in longitude: one Fourier transform for all rings of the same length.

F[m, 0] holds the northern rings down to the equator and F[m, 1] their mirror images; for real functions,
their sum and their difference (`latitude`). The equator is its own image: its samples count half in each.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.harmonics.grid import RingGrid


class Run(NamedTuple):
    """Consecutive northern rings of n_phi samples."""

    n_phi: int
    rings: slice
    samples: slice


class Layout(NamedTuple):
    """Where the samples of the northern rings and of their mirror images lie."""

    runs: tuple[Run, ...]
    north: Tensor
    """[S] flat positions, ring after ring."""
    south: Tensor
    """[S] flat positions of the mirror images; on the equator the same."""
    equator: int
    """Samples of the equator, the last ones; 0 where no ring lies there."""
    phase: Tensor | None
    """complex128 [orders, 1, pairs, 1], e^{-i m phi0}; None where all are 1."""


def to_fourier(grid: RingGrid, order: range, values: Tensor) -> Tensor:
    """sum_k f(phi_k) e^{-i m phi_k} on every ring: [B, n_points] -> complex [orders, 2, pairs, B].

    Real values: sum and difference of the pair of rings, for orders that start at 0.
    """
    layout = _layout(grid, order, values.device)
    pair = _split(grid, layout, values)
    if not values.is_complex():
        pair = torch.stack([pair[0] + pair[1], pair[0] - pair[1]], 1)
    else:
        pair = torch.stack(pair, 1)
    rings = layout.runs[-1].rings.stop
    dtype = values.dtype if values.is_complex() else (values[:0] + 0j).dtype
    fourier = torch.empty(len(order), 2, rings, len(values), dtype=dtype, device=values.device)
    for n_phi, where, samples in layout.runs:
        ring = pair[..., samples].unflatten(-1, (-1, n_phi))
        target = fourier[:, :, where].permute(3, 1, 2, 0)
        if not values.is_complex() and order[-1] <= n_phi // 2:
            target.copy_(torch.fft.rfft(ring)[..., : len(order)])
        else:
            _copy_orders(target, torch.fft.fft(ring), order)
    return fourier if layout.phase is None else fourier.mul_(layout.phase.to(dtype))


def from_fourier(grid: RingGrid, order: range, fourier: Tensor, real: bool) -> Tensor:
    """The adjoint of `to_fourier`: complex [orders, 2, pairs, B] -> [B, n_points]; fourier is overwritten.

    Real values: Re F_0 + 2 Re sum_{m > 0} F_m e^{i m phi}, that is the adjoint applied to F_0, 2 F_1, 2 F_2.
    """
    layout = _layout(grid, order, fourier.device)
    if layout.phase is not None:
        fourier.mul_(layout.phase.conj().to(fourier.dtype))
    parts = []
    for n_phi, where, _ in layout.runs:
        ring = fourier[:, :, where].permute(3, 1, 2, 0)
        if real and 2 * order[-1] < n_phi:
            spectrum = ring.new_zeros(*ring.shape[:-1], n_phi // 2 + 1)
            spectrum[..., : len(order)] = ring
            part = torch.fft.irfft(spectrum, n_phi, norm="forward")
        elif real:
            doubled = torch.cat([ring[..., :1], 2 * ring[..., 1:]], -1)
            part = torch.fft.ifft(_folded(doubled, order, n_phi), norm="forward").real
        else:
            part = torch.fft.ifft(_folded(ring, order, n_phi), norm="forward")
        parts.append(part.flatten(-2))
    pair = (parts[0] if len(parts) == 1 else torch.cat(parts, -1)).unbind(1)
    return _merge(grid, layout, *((pair[0] + pair[1], pair[0] - pair[1]) if real else pair))


def _split(grid: RingGrid, layout: Layout, values: Tensor) -> tuple[Tensor, Tensor]:
    """The northern samples and their mirror images [B, S] of flat values; the equator halved between them."""
    if grid.is_product:
        rings = values.unflatten(-1, grid.shape)
        pairs = (grid.shape[0] + 1) // 2
        north, south = rings[:, :pairs].flatten(1), rings[:, -pairs:].flip(1).flatten(1)
    else:
        north, south = values[:, layout.north], values[:, layout.south]
    if layout.equator:
        scale = torch.ones_like(north[0])
        scale[-layout.equator :] = 0.5
        north, south = north * scale, south * scale
    return north, south


def _merge(grid: RingGrid, layout: Layout, north: Tensor, south: Tensor) -> Tensor:
    """The adjoint of `_split`: on the equator the mean of both."""
    if layout.equator:
        mean = 0.5 * (north[:, -layout.equator :] + south[:, -layout.equator :])
        north[:, -layout.equator :] = mean
        south[:, -layout.equator :] = mean
    values = north.new_empty(len(north), grid.n_points)
    if grid.is_product:
        rings = values.unflatten(-1, grid.shape)
        pairs = (grid.shape[0] + 1) // 2
        rings[:, -pairs:] = south.unflatten(-1, (-1, grid.shape[1])).flip(1)
        rings[:, :pairs] = north.unflatten(-1, (-1, grid.shape[1]))
    else:
        values[:, layout.south] = south
        values[:, layout.north] = north
    return values


def _copy_orders(target: Tensor, spectrum: Tensor, order: range) -> None:
    """The bins of the orders, which repeat with the number of samples."""
    n_phi = spectrum.shape[-1]
    if len(order) <= n_phi:
        before = max(0, min(-order.start, len(order)))
        target[..., :before] = spectrum[..., n_phi - before :]
        target[..., before:] = spectrum[..., : len(order) - before]
    else:
        target.copy_(spectrum[..., torch.tensor(order, device=spectrum.device) % n_phi])


def _folded(ring: Tensor, order: range, n_phi: int) -> Tensor:
    """Sum the orders that n_phi equidistant samples cannot tell apart: [..., m] -> [..., m mod n_phi]."""
    before = order.start % n_phi
    if len(order) <= n_phi and order.start <= 0 < order.stop:
        folded = ring.new_zeros(*ring.shape[:-1], n_phi)
        folded[..., : order.stop] = ring[..., -order.start :]
        folded[..., n_phi + order.start :] = ring[..., : -order.start]
        return folded
    after = -(len(order) + before) % n_phi
    return torch.nn.functional.pad(ring, (before, after)).unflatten(-1, (-1, n_phi)).sum(-2)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _layout(grid: RingGrid, order: range, device: torch.device) -> Layout:
    pairs = (len(grid.n_phi) + 1) // 2
    count = torch.tensor(grid.n_phi[:pairs])
    first = count.cumsum(0) - count
    changes = [0, *(j for j in range(1, pairs) if grid.n_phi[j] != grid.n_phi[j - 1]), pairs]
    ends = [*first.tolist(), int(count.sum())]
    runs = tuple(Run(grid.n_phi[a], slice(a, b), slice(ends[a], ends[b])) for a, b in pairwise(changes))
    north = torch.arange(ends[-1])
    mirror = grid.start.flip(0)[:pairs]
    south = north + (mirror - first).repeat_interleave(count)
    if grid.pixel is not None:
        north, south = grid.pixel[north], grid.pixel[south]
    phase = None
    if bool(grid.phi0.any()):
        angle = torch.tensor(order)[:, None] * grid.phi0[:pairs]
        phase = torch.polar(torch.ones_like(angle), -angle)[:, None, :, None].to(device)
    equator = int(count[-1]) if len(grid.n_phi) % 2 else 0
    return Layout(runs, north.to(device), south.to(device), equator, phase)
