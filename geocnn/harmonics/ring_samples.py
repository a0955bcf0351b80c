"""Values of real functions on rings of unlike lengths, from Fourier coefficients that come part by part.

`longitude` holds all orders of all rings before it transforms them. Here each part goes into the bins of the
Fourier transforms while it lies in the processor's cache, so less memory is written and read.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Complex, Complex128, Float, Float64, Int64
from torch import Tensor

from geocnn.harmonics.grid import RingGrid
from geocnn.lasting import lasting

BELT_BYTES = 1 << 20  # size of the bins of a belt that are transformed at once, or those of one map

Part = tuple[slice, slice, Float[Tensor, "orders b 2 2 pairs"]]
"""Orders, pairs of rings, and there the sums and differences of `longitude`, real before imaginary parts."""


class Bins(NamedTuple):
    """The places of orders in the Fourier transforms of all rings, run after run of rings of one length.

    A run holds northern rings and their mirror images, from north to south; the last one is the belt around
    the equator.
    """

    runs: tuple[tuple[int, int], ...]
    """The number of rings, and of samples per ring."""
    sizes: tuple[int, ...]
    """The number of bins per run, and one for what is dropped: the equator's mirror image."""
    bin: Int64[Tensor, "2 orders pairs"]
    """The bin on the northern ring and on its mirror image."""
    sign: Float64[Tensor, "orders pairs"]
    """-1 where the bin has the conjugate."""
    back: Complex128[Tensor, "orders pairs"]
    """e^{i m phi0}; doubled where an order m > 0 and its negative share a bin."""


def ring_samples(grid: RingGrid, lmax: int, parts: Iterable[Part], values: Float[Tensor, "b n"]) -> None:
    """Write what `longitude.from_fourier` returns into `values`, from the same coefficients in parts."""
    layout = _layout(grid, lmax, values.device)
    bins = values.new_zeros(len(values), sum(layout.sizes), dtype=values.dtype.to_complex())
    for orders, pairs, rings in parts:
        halves = torch.complex(*rings.permute(3, 2, 1, 0, 4)).mul_(layout.back[orders, pairs].to(bins.dtype))
        both = halves.new_empty(len(values), 2, *halves.shape[2:])
        torch.add(*halves, out=both[:, 0])
        torch.sub(*halves, out=both[:, 1])
        both.imag.mul_(layout.sign[orders, pairs].to(both.imag))
        bins.index_add_(1, layout.bin[:, orders, pairs].flatten(), both.flatten(1))
    if grid.pixel is None:
        _transform(layout, bins, values)
    else:
        by_ring = torch.empty_like(values)
        _transform(layout, bins, by_ring)
        values.index_copy_(1, grid.pixel.to(values.device), by_ring)


def _transform(layout: Bins, bins: Complex[Tensor, "b bins"], values: Float[Tensor, "b n"]) -> None:
    """Write the Fourier transforms of all runs into `values`, in ring order."""
    *runs, belt, _ = bins.split(layout.sizes, 1)
    north, south = [], []
    for (rings, n), run in zip(layout.runs, runs, strict=False):
        samples = torch.fft.irfft(run.unflatten(1, (rings, -1)), n, norm="forward")
        for half, found in zip((north, south), samples.flatten(1).chunk(2, 1), strict=True):
            half.append(found)
    rings, n = layout.runs[-1]
    start = (values.shape[1] - rings * n) // 2
    if start:
        torch.cat(north, 1, out=values[:, :start])
        torch.cat(south[::-1], 1, out=values[:, -start:])
    # the bins of one map lie side by side, and those of all would be copied for one transform
    at_once = max(1, BELT_BYTES // belt[:1].nbytes)
    for run, target in zip(belt.split(at_once), values.split(at_once), strict=True):
        samples = torch.fft.irfft(run.unflatten(1, (rings, -1)), n, norm="forward")
        target[:, start : start + rings * n] = samples.flatten(1)


@lru_cache(maxsize=32)
@lasting()
def _layout(grid: RingGrid, lmax: int, device: torch.device) -> Bins:
    count = torch.tensor(grid.n_phi)
    pairs = (len(count) + 1) // 2
    runs, order = [], []
    for n, group in groupby(range(pairs), lambda ring: grid.n_phi[ring]):
        north = list(group)
        rings = [*north, *(ring for ring in (len(count) - 1 - i for i in reversed(north)) if ring >= pairs)]
        runs.append((len(rings), n))
        order += rings
    bins = count // 2 + 1
    first = torch.empty_like(bins)
    first[order] = bins[order].cumsum(0) - bins[order]

    m, count = torch.arange(lmax + 1)[:, None], count[:pairs]
    place = m % count
    negative = 2 * place > count
    place = torch.where(negative, count - place, place)
    shared = (2 * place % count == 0) & (m > 0)
    bin = torch.stack([first[:pairs] + place, first.flip(0)[:pairs] + place])
    if len(first) % 2:
        bin[1, :, -1] = bins.sum()
    return Bins(
        tuple(runs),
        (*(rings * (n // 2 + 1) for rings, n in runs), 1),
        bin.to(device),
        torch.where(negative, -1.0, 1.0).double().to(device),
        torch.polar(1 + shared.double(), m * grid.phi0[:pairs]).to(device),
    )
