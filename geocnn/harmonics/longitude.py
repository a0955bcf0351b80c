"""The transform in longitude: one Fourier transform for all rings of the same length.

F[m, 0] holds the northern rings down to the equator and F[m, 1] their mirror images; for real functions,
their sum and their difference (`latitude`). The equator is its own image: its samples count half in each.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Complex, Complex128, Float64, Inexact, Int64
from torch import Tensor

from geocnn.harmonics.grid import RingGrid
from geocnn.lasting import lasting


class Layout(NamedTuple):
    """The places of samples, and of the bins of the Fourier transforms of rings with unlike lengths.

    Real values have the bins 0 .. n_phi / 2 of half a transform, where an order may lie as its negative.
    """

    pairs: int
    """Number of rings from the north down to the equator."""
    equator: int
    """Number of samples on the equator, which are the last ones; 0 where no ring lies there."""
    halves: Int64[Tensor, " 2*samples"]
    """Flat positions of the northern samples and of their mirror images; on the equator the same."""
    points: Int64[Tensor, " n"]
    """The place of each flat position in `halves`."""
    n_phi: tuple[int, ...]
    """Number of samples per ring, for runs of rings that have the same number."""
    run_samples: tuple[int, ...]
    """Number of samples per run."""
    run_bins: tuple[int, ...]
    """Number of bins per run."""
    bin: Int64[Tensor, " size*pairs"]
    """The bin of each order (0 .. lmax) of each ring; for complex functions, of each ring and of each order
    (0 .. lmax, -lmax .. -1)."""
    sign: Float64[Tensor, " size*pairs"] | None
    """-1 where the bin has the conjugate; None for complex values, which have all bins."""
    phase: Complex128[Tensor, " size*pairs"]
    """e^{-i m phi0}."""
    back: Complex128[Tensor, " size*pairs"]
    """e^{i m phi0}; doubled where an order m > 0 and its negative share a bin."""
    refold: Float64[Tensor, "2 bins 2"]
    """What real and imaginary parts of bins are multiplied by, on the way to values and back."""


def to_fourier(
    grid: RingGrid, lmax: int, values: Inexact[Tensor, "b n"]
) -> Complex[Tensor, "size 2 pairs b"]:
    """Return sum_k f(phi_k) e^{-i m phi_k} on every ring.

    Order m, |m| <= lmax, lies at m modulo size. Of real values, the result has m >= 0, for the sum and the
    difference of each pair of rings.
    """
    layout = _layout(grid, lmax, values.is_complex(), values.device)
    pair = _split(grid, layout, values)
    if is_direct(grid, lmax):
        transform = torch.fft.fft if values.is_complex() else torch.fft.rfft
        spectrum = transform(pair.unflatten(-1, (-1, grid.shape[1])))
        # the transposition of one matrix, with all bins, is the fastest way to put the batch last
        batch_last = spectrum.flatten(1).T.contiguous()
        return batch_last.unflatten(0, spectrum.shape[1:]).permute(2, 0, 1, 3)
    return _orders(layout, _spectrum(layout, pair))


def from_fourier(
    grid: RingGrid, lmax: int, fourier: Complex[Tensor, "size 2 pairs b"], real: bool
) -> Inexact[Tensor, "b n"]:
    """Apply the adjoint of `to_fourier`; `fourier` may be overwritten.

    Real values are Re F_0 + 2 Re sum_{m > 0} F_m e^{i m phi}, the adjoint applied to F_0, 2 F_1, 2 F_2, ....
    """
    layout = _layout(grid, lmax, not real, fourier.device)
    if is_direct(grid, lmax):
        orders_last = fourier.permute(1, 2, 0, 3)
        spectrum = orders_last.flatten(0, 2).T.contiguous().unflatten(1, orders_last.shape[:3])
        if real:
            pair = torch.fft.irfft(spectrum, grid.shape[1], norm="forward")
        else:
            pair = torch.fft.ifft(spectrum, norm="forward")
        return _merge(grid, layout, pair.flatten(2), real)
    return _merge(grid, layout, _samples(layout, _bins(layout, fourier), real), real)


def refold(
    grid: RingGrid, lmax: int, fourier: Complex[Tensor, "size 2 pairs b"], real: bool
) -> Complex[Tensor, "size 2 pairs b"]:
    """Return `to_fourier` of `from_fourier`, without Fourier transforms where they are many.

    `fourier` may be overwritten.

    Along a ring they are inverse up to the number of samples, but orders that are equal at the samples add
    up, and the two halves of the equator are one.
    """
    if is_direct(grid, lmax):
        return to_fourier(grid, lmax, from_fourier(grid, lmax, fourier, real))
    layout = _layout(grid, lmax, not real, fourier.device)
    bins = _bins(layout, fourier)
    parts = torch.view_as_real(bins)
    parts *= layout.refold.to(parts.dtype)
    if layout.equator and not real:
        bins[..., -layout.equator :] = bins[..., -layout.equator :].sum(-2, keepdim=True)
    return _orders(layout, bins)


def _spectrum(layout: Layout, pair: Inexact[Tensor, "b 2 samples"]) -> Complex[Tensor, "b 2 bins"]:
    transform = torch.fft.fft if layout.sign is None else torch.fft.rfft
    runs = zip(pair.split(layout.run_samples, -1), layout.n_phi, strict=True)
    return torch.cat([transform(run.unflatten(-1, (-1, n))).flatten(-2) for run, n in runs], -1)


def _samples(layout: Layout, bins: Complex[Tensor, "b 2 bins"], real: bool) -> Inexact[Tensor, "b 2 samples"]:
    """Apply the adjoint of `_spectrum`, for real values with all bins but the first and last doubled."""
    transform = torch.fft.irfft if real else torch.fft.ifft
    runs = zip(bins.split(layout.run_bins, -1), layout.n_phi, strict=True)
    parts = [
        transform(run.unflatten(-1, (-1, n // 2 + 1 if real else n)), n, norm="forward").flatten(-2)
        for run, n in runs
    ]
    return torch.cat(parts, -1)


def _orders(layout: Layout, bins: Complex[Tensor, "b 2 bins"]) -> Complex[Tensor, "size 2 pairs b"]:
    """Return the Fourier coefficients of the orders.

    In memory pairs come last for real values (`real_functions`) and the batch for complex ones (`latitude`).
    """
    if layout.sign is None:
        batch_last = bins.flatten(1).T.contiguous().unflatten(0, (2, -1))
        fourier = batch_last[:, layout.bin].mul_(layout.phase.to(bins.dtype)[:, None])
        return fourier.unflatten(1, (layout.pairs, -1)).permute(2, 0, 1, 3)
    fourier = bins.gather(-1, layout.bin.expand(*bins.shape[:2], -1))
    fourier.imag.mul_(layout.sign.to(fourier.imag))
    fourier.mul_(layout.phase.to(fourier.dtype))
    return fourier.unflatten(-1, (-1, layout.pairs)).permute(2, 1, 3, 0)


def _bins(layout: Layout, fourier: Complex[Tensor, "size 2 pairs b"]) -> Complex[Tensor, "b 2 bins"]:
    """Apply the adjoint of `_orders`, for real functions with m > 0 doubled over all n_phi bins.

    Orders that are equal at the samples of a ring share one bin. `fourier` may be overwritten.
    """
    total = layout.refold.shape[1]
    if layout.sign is None:
        orders = fourier.permute(1, 2, 0, 3).flatten(1, 2).mul_(layout.back.to(fourier.dtype)[:, None])
        bins = orders.new_zeros(2, total, orders.shape[-1]).index_add_(1, layout.bin, orders)
        return bins.flatten(0, 1).T.contiguous().unflatten(1, (2, total))
    orders = fourier.permute(3, 1, 0, 2).flatten(2).mul_(layout.back.to(fourier.dtype))
    orders.imag.mul_(layout.sign.to(orders.imag))
    return orders.new_zeros(*orders.shape[:2], total).index_add_(-1, layout.bin, orders)


def spectrum_size(grid: RingGrid, lmax: int, real: bool) -> int:
    """Return the first dimension of the result of `to_fourier`."""
    if is_direct(grid, lmax):
        return grid.shape[1] // 2 + 1 if real else grid.shape[1]
    return lmax + 1 if real else 2 * lmax + 1


def is_direct(grid: RingGrid, lmax: int) -> bool:
    """Return whether one Fourier transform is enough, where every order has a bin of its own."""
    return grid.is_product and 2 * lmax < grid.n_phi[0] and grid.starts_at_zero


def _split(grid: RingGrid, layout: Layout, values: Inexact[Tensor, "b n"]) -> Inexact[Tensor, "b 2 samples"]:
    """Return the northern samples and their mirror images; for real values their sum and difference.

    Both share the equator, half each.
    """
    if grid.is_product:
        rings = values.unflatten(-1, grid.shape)
        north, south = rings[:, : layout.pairs].flatten(1), rings[:, -layout.pairs :].flip(1).flatten(1)
    else:
        north, south = values.gather(1, layout.halves.expand(len(values), -1)).chunk(2, 1)
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
    halves = torch.empty_like(pair)
    if real:
        torch.add(pair[:, 0], pair[:, 1], out=halves[:, 0])
        torch.sub(pair[:, 0], pair[:, 1], out=halves[:, 1])
    else:
        halves.copy_(pair)
    if layout.equator:
        on_equator = halves[..., -layout.equator :]
        on_equator[:] = on_equator.mean(1, keepdim=True)
    if not grid.is_product:
        return halves.flatten(1).gather(1, layout.points.expand(len(pair), -1))
    north, south = halves.unflatten(-1, (-1, grid.shape[1])).unbind(1)
    return torch.cat([north, south[:, : len(grid.n_phi) - layout.pairs].flip(1)], 1).flatten(1)


@lru_cache(maxsize=32)
@lasting()
def _layout(grid: RingGrid, lmax: int, signed: bool, device: torch.device) -> Layout:
    rings = len(grid.n_phi)
    pairs = (rings + 1) // 2
    count = torch.tensor(grid.n_phi[:pairs])
    first = count.cumsum(0) - count
    samples = int(count.sum())
    north = torch.arange(samples)
    south = north + (grid.start.flip(0)[:pairs] - first).repeat_interleave(count)
    halves = torch.cat([north, south])
    if grid.pixel is not None:
        halves = grid.pixel[halves]
    points = torch.empty(grid.n_points, dtype=torch.int64)
    points[halves] = torch.arange(len(halves))
    changes = [0, *(j for j in range(1, pairs) if grid.n_phi[j] != grid.n_phi[j - 1]), pairs]
    n_phi = tuple(grid.n_phi[a] for a in changes[:-1])
    lengths = [b - a for a, b in pairwise(changes)]

    bins = count if signed else count // 2 + 1
    first_bin = bins.cumsum(0) - bins
    order = torch.cat([torch.arange(lmax + 1), torch.arange(-lmax if signed else 0, 0)])[:, None]
    place = order % count
    negative = (2 * place > count) & (not signed)
    place = torch.where(negative, count - place, place)
    angle = order * grid.phi0[:pairs]
    phase = torch.polar(torch.ones_like(angle), -angle)
    shared = (2 * place % count == 0) & (order > 0) & (not signed)
    # not `phase.conj()`: in compiled graphs, operators see a lazy conjugate as the number itself
    back = torch.polar(1 + shared.double(), angle)
    bin = first_bin + place
    if signed:
        bin, phase, back = bin.T, phase.T, back.T

    times = count.repeat_interleave(bins).double()
    number = torch.arange(len(times)) - first_bin.repeat_interleave(bins)
    equator = int(bins[-1]) if rings % 2 else 0
    on_equator = torch.arange(len(times)) >= len(times) - equator
    if signed:
        refold = torch.where(on_equator, times / 4, times)[:, None].expand(2, -1, 2)
    else:
        # an order that is its own negative is real
        part = torch.stack([torch.ones_like(times), (2 * number % times != 0).double()], -1)
        pair = torch.where(on_equator, torch.tensor([[1.0], [0.0]]), torch.tensor(2.0)) * times
        refold = pair[..., None] * part
    sign = None if signed else torch.where(negative, -1.0, 1.0).double().flatten().to(device)
    return Layout(
        pairs,
        int(count[-1]) if rings % 2 else 0,
        halves.to(device),
        points.to(device),
        n_phi,
        tuple(n * length for n, length in zip(n_phi, lengths, strict=True)),
        tuple((n if signed else n // 2 + 1) * length for n, length in zip(n_phi, lengths, strict=True)),
        bin.flatten().to(device),
        sign,
        phase.flatten().to(device),
        back.flatten().to(device),
        refold.to(device),
    )
