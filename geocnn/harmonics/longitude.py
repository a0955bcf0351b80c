"""The transform in longitude: one Fourier transform for all rings of the same length.

F[m, 0] holds the northern rings down to the equator and F[m, 1] their mirror images; for real functions,
their sum and their difference (`latitude`). The equator is its own image: its samples count half in each.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Complex, Complex128, Inexact, Int64
from torch import Tensor

from geocnn.harmonics.grid import RingGrid
from geocnn.lasting import lasting


class RingRun(NamedTuple):
    """Consecutive northern rings with n_phi samples each."""

    n_phi: int
    samples: slice


class Layout(NamedTuple):
    """The places of the samples of the northern rings and of their mirror images."""

    runs: tuple[RingRun, ...]
    pairs: int
    """Number of rings from the north down to the equator."""
    equator: int
    """Number of samples on the equator, which are the last ones; 0 where no ring lies there."""
    north: Int64[Tensor, " samples"]
    """Flat positions, ring after ring."""
    south: Int64[Tensor, " samples"]
    """Flat positions of the mirror images; on the equator the same."""
    bin: Int64[Tensor, " size*2*pairs"]
    """The place of each order (0 .. lmax, for complex functions then -lmax .. -1) of each ring among all bins
    [2, samples] of the Fourier transforms."""
    phase: Complex128[Tensor, "size 1 pairs 1"]
    """e^{-i m phi0}."""


def to_fourier(
    grid: RingGrid, lmax: int, values: Inexact[Tensor, "b n"]
) -> Complex[Tensor, "size 2 pairs b"]:
    """Return sum_k f(phi_k) e^{-i m phi_k} on every ring.

    Order m, |m| <= lmax, lies at m modulo size. Of real values, the result has m >= 0, for the sum and the
    difference of each pair of rings.
    """
    layout = _layout(grid, lmax, values.is_complex(), values.device)
    pair = _split(grid, layout, values)
    if _is_direct(grid, lmax):
        transform = torch.fft.fft if values.is_complex() else torch.fft.rfft
        spectrum = transform(pair.unflatten(-1, (-1, grid.shape[1])))
        # the transposition of one matrix, with all bins, is the fastest way to put the batch last
        batch_last = spectrum.flatten(1).T.contiguous()
        return batch_last.unflatten(0, spectrum.shape[1:]).permute(2, 0, 1, 3)
    spectra = [
        torch.fft.fft(pair[..., samples].unflatten(-1, (-1, n_phi))).flatten(-2)
        for n_phi, samples in layout.runs
    ]
    batch_last = torch.cat(spectra, -1).flatten(1).T.contiguous()
    fourier = batch_last[layout.bin].unflatten(0, (-1, 2, layout.pairs))
    return fourier.mul_(layout.phase.to(fourier.dtype))


def from_fourier(
    grid: RingGrid, lmax: int, fourier: Complex[Tensor, "size 2 pairs b"], real: bool
) -> Inexact[Tensor, "b n"]:
    """Apply the adjoint of `to_fourier`; `fourier` is overwritten.

    Real values are Re F_0 + 2 Re sum_{m > 0} F_m e^{i m phi}, the adjoint applied to F_0, 2 F_1, 2 F_2, ....
    """
    layout = _layout(grid, lmax, not real, fourier.device)
    if _is_direct(grid, lmax):
        orders_last = fourier.permute(1, 2, 0, 3)
        spectrum = orders_last.flatten(0, 2).T.contiguous().unflatten(1, orders_last.shape[:3])
        if real:
            pair = torch.fft.irfft(spectrum, grid.shape[1], norm="forward")
        else:
            pair = torch.fft.ifft(spectrum, norm="forward")
        return _merge(grid, layout, pair.flatten(2), real)
    fourier.mul_(layout.phase.conj().to(fourier.dtype))
    if real:
        fourier[1:] *= 2
    # orders that are equal at the samples of a ring share one bin
    bins = fourier.new_zeros(2 * len(layout.north), fourier.shape[-1])
    bins.index_add_(0, layout.bin, fourier.reshape(-1, fourier.shape[-1]))
    spectra = bins.T.contiguous().unflatten(1, (2, -1))
    parts = [
        torch.fft.ifft(spectra[..., samples].unflatten(-1, (-1, n_phi)), norm="forward").flatten(-2)
        for n_phi, samples in layout.runs
    ]
    pair = torch.cat(parts, -1)
    return _merge(grid, layout, pair.real if real else pair, real)


def spectrum_size(grid: RingGrid, lmax: int, real: bool) -> int:
    """Return the first dimension of the result of `to_fourier`."""
    if _is_direct(grid, lmax):
        return grid.shape[1] // 2 + 1 if real else grid.shape[1]
    return lmax + 1 if real else 2 * lmax + 1


def _is_direct(grid: RingGrid, lmax: int) -> bool:
    """Return whether one Fourier transform is enough, where every order has a bin of its own."""
    return grid.is_product and 2 * lmax < grid.n_phi[0] and float(grid.phi0[0]) == 0


def _split(grid: RingGrid, layout: Layout, values: Inexact[Tensor, "b n"]) -> Inexact[Tensor, "b 2 samples"]:
    """Return the northern samples and their mirror images; for real values their sum and difference.

    Both share the equator, half each.
    """
    if grid.is_product:
        rings = values.unflatten(-1, grid.shape)
        north, south = rings[:, : layout.pairs].flatten(1), rings[:, -layout.pairs :].flip(1).flatten(1)
    else:
        north, south = values[:, layout.north], values[:, layout.south]
    pair = values.new_empty(len(values), 2, north.shape[1])
    if values.is_complex():
        pair[:, 0], pair[:, 1] = north, south
    else:
        torch.add(north, south, out=pair[:, 0])
        torch.sub(north, south, out=pair[:, 1])
    if layout.equator:
        pair[..., -layout.equator :] *= 0.5
    return pair


def _merge(
    grid: RingGrid, layout: Layout, pair: Inexact[Tensor, "b 2 samples"], real: bool
) -> Inexact[Tensor, "b n"]:
    """Apply the adjoint of `_split`."""
    north, south = (pair[:, 0] + pair[:, 1], pair[:, 0] - pair[:, 1]) if real else pair.unbind(1)
    values = pair.new_empty(len(pair), grid.n_points)
    if grid.is_product:
        rings = values.unflatten(-1, grid.shape)
        rings[:, -layout.pairs :] = south.unflatten(-1, (-1, grid.shape[1])).flip(1)
        rings[:, : layout.pairs] = north.unflatten(-1, (-1, grid.shape[1]))
    else:
        values[:, layout.south] = south
        values[:, layout.north] = north
    if layout.equator:
        mean = 0.5 * (north[:, -layout.equator :] + south[:, -layout.equator :])
        values[:, layout.north[-layout.equator :]] = mean
    return values


@lru_cache(maxsize=32)
@lasting()
def _layout(grid: RingGrid, lmax: int, signed: bool, device: torch.device) -> Layout:
    pairs = (len(grid.n_phi) + 1) // 2
    count = torch.tensor(grid.n_phi[:pairs])
    first = count.cumsum(0) - count
    changes = [0, *(j for j in range(1, pairs) if grid.n_phi[j] != grid.n_phi[j - 1]), pairs]
    ends = [*first.tolist(), int(count.sum())]
    runs = tuple(RingRun(grid.n_phi[a], slice(ends[a], ends[b])) for a, b in pairwise(changes))
    north = torch.arange(ends[-1])
    south = north + (grid.start.flip(0)[:pairs] - first).repeat_interleave(count)
    if grid.pixel is not None:
        north, south = grid.pixel[north], grid.pixel[south]
    orders = torch.cat([torch.arange(lmax + 1), torch.arange(-lmax if signed else 0, 0)])
    angle = orders[:, None] * grid.phi0[:pairs]
    phase = torch.polar(torch.ones_like(angle), -angle)[:, None, :, None]
    equator = int(count[-1]) if len(grid.n_phi) % 2 else 0
    bins = (first + orders[:, None] % count)[:, None] + torch.tensor([[0], [ends[-1]]])
    on_device = (tensor.to(device) for tensor in (north, south, bins.flatten(), phase))
    return Layout(runs, pairs, equator, *on_device)
