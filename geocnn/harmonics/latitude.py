"""The transform in colatitude: one small matrix product per order, on tables of spin-weighted harmonics.

The harmonics are lambda_lm(theta) = sYlm(theta, 0) = (-1)^s sqrt((2l + 1) / 4 pi) d^l_{m,-s}(theta). Rings
form pairs of a northern ring and its mirror image in the equator, whose Fourier coefficients are F[m, 0] and
F[m, 1] (`longitude`). By d^l_{m,-s}(pi - theta) = (-1)^(l+s) d^l_{-m,-s}(theta),

- only the northern half of the harmonics is computed;
- for real functions, lambda is even or odd in cos(theta) with l + m; F then holds the sum and the difference
  of the pair, and each parity of l needs only one of them: half the products.

Tables consist of blocks of orders, each with the degrees l >= |m| that its orders have. Small tables stay in
memory in the working precision; large ones are computed block by block, by recurrence in float64, at every
use; those of real functions have a faster way, `real_functions`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Float64, Int64
from torch import Tensor

from geocnn.groups.wigner import wigner_d_column
from geocnn.harmonics.grid import RingGrid
from geocnn.lasting import lasting

KEPT_BYTES = 3 << 29  # size of all stored tables; a table of more than half of this is not stored
BLOCK_BYTES = 1 << 26  # largest size in float64 of a block of a table that is not stored
BLOCK_ORDERS = 16  # fewer orders per block multiply fewer of the zeros l < |m| but take more calls


class Key(NamedTuple):
    """The values that a table depends on."""

    grid: RingGrid
    lmax: int
    spin: int | None
    """None for real functions, orders m >= 0; else the spin of functions with all orders -lmax .. lmax."""
    weighted: bool
    """True: quadrature weights included (analysis). False: real functions have m > 0 doubled (synthesis)."""
    dtype: torch.dtype
    device: torch.device

    @property
    def n_orders(self) -> int:
        """The number of orders in the table."""
        return self.lmax + 1 if self.spin is None else 2 * self.lmax + 1

    @property
    def first_order(self) -> int:
        """The least order in the table."""
        return 0 if self.spin is None else -self.lmax

    @property
    def bytes(self) -> int:
        """The approximate size of the table."""
        rings = self.pairs if self.spin is None else 2 * self.pairs
        return self.n_orders * (self.lmax + 1) * rings * self.dtype.itemsize // 2

    @property
    def is_stored(self) -> bool:
        """Whether the table is small enough to be stored."""
        return 2 * self.bytes <= KEPT_BYTES

    @property
    def pairs(self) -> int:
        """The number of rings from the north down to the equator."""
        return (len(self.grid.n_phi) + 1) // 2


class OrderBlock(NamedTuple):
    """Harmonics of consecutive orders from `order`, all negative or none, and of degrees from `degree`."""

    order: int
    degree: int
    table: Float[Tensor, "orders degrees rings"]
    """One column per pair of rings for real functions, two for others."""


def project_rings(
    key: Key, fourier: Complex[Tensor, "size 2 pairs b"]
) -> Complex[Tensor, "b orders degrees"]:
    """Sum table times F over rings."""
    count = fourier.shape[-1]
    rings = torch.view_as_real(fourier).flatten(-2)
    alm = rings.new_zeros(key.n_orders, key.lmax + 1, 2 * count)
    for start, first, table in _blocks(key):
        order, target = _rows(start, table, len(rings)), alm[start - key.first_order :][: len(table), first:]
        if key.spin is not None:
            torch.bmm(table, rings[order].flatten(1, 2), out=target)
            continue
        for m, l in _PARITIES:
            if target[m::2, l::2].numel():
                parity = (start + m + first + l) % 2
                torch.bmm(table[m::2, l::2], rings[order][m::2, parity], out=target[m::2, l::2])
    # with order before degree in memory, this is the transposition of one matrix
    return torch.view_as_complex(alm.unflatten(-1, (count, 2))).flatten(0, 1).T.unflatten(1, alm.shape[:2])


def expand(
    key: Key, alm: Complex[Tensor, "b orders degrees"], size: int
) -> Complex[Tensor, "{size} 2 pairs b"]:
    """Apply the transpose of `project_rings`; for real functions m > 0 is halved."""
    count = len(alm)
    batch_last = alm.flatten(1).T.contiguous().unflatten(0, alm.shape[1:])
    coefficients = torch.view_as_real(batch_last).flatten(-2)
    # memory order of the product's transpose: rings, orders, batch
    rings = coefficients.new_zeros(2, key.pairs, size, 2 * count).permute(2, 0, 1, 3)
    for start, first, table in _blocks(key):
        target = rings[_rows(start, table, size)]
        source = coefficients[start - key.first_order :][: len(table), first:]
        if key.spin is not None:
            torch.bmm(table.mT, source, out=target.flatten(1, 2))
            continue
        for m, l in _PARITIES:
            if source[m::2, l::2].numel():
                part = target[m::2, (start + m + first + l) % 2]
                torch.baddbmm(part, table[m::2, l::2].mT, source[m::2, l::2], beta=0, alpha=0.5, out=part)
    if key.spin is None:
        rings[0] *= 2
    return torch.view_as_complex(rings.unflatten(-1, (count, 2)))


def _rows(start: int, table: Tensor, size: int) -> slice:
    """Return the rows of consecutive orders, all negative or none; order m lies at m modulo size."""
    return slice(start % size, start % size + len(table))


_PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))

_tables: dict[Key, tuple[OrderBlock, ...]] = {}  # the most recently used last


def _blocks(key: Key) -> Iterable[OrderBlock]:
    if not key.is_stored:
        return _computed(key)
    with lasting():
        blocks = _tables.pop(key, None) or tuple(_computed(key))
    _tables[key] = blocks
    while sum(other.bytes for other in tuple(_tables)) > KEPT_BYTES:
        del _tables[next(iter(_tables))]
    return blocks


@torch.no_grad()
def _computed(key: Key) -> Iterator[OrderBlock]:
    grid, lmax, spin = key.grid, key.lmax, key.spin
    fine = grid.fine_theta if key.weighted else None
    theta = (grid.theta[: key.pairs] if fine is None else fine[: len(fine) // 2]).to(key.device)
    size = max(BLOCK_ORDERS, (lmax + 1) // 8)
    size = max(1, min(size, BLOCK_BYTES // (8 * (lmax + 1) * len(theta))))
    for start in range(0, lmax + 1, size):
        order = torch.arange(start, min(start + size, lmax + 1), device=key.device)
        if spin is None:
            north = _north(lmax, order, 0, theta, start)
            yield OrderBlock(start, start, _finished(key, order, start, north))
            continue
        first = max(start, min(abs(spin), lmax))
        east, west = (_north(lmax, sign * order, spin, theta, first) for sign in (1, -1))
        mirror = _sign(torch.arange(first, lmax + 1, device=key.device) + spin)[:, None]
        both = torch.cat([east, mirror * west], -1)
        yield OrderBlock(start, first, _finished(key, order, first, both))
        negative = order[order > 0].flip(0)
        if len(negative):
            both = torch.cat([west, mirror * east], -1)[-len(negative) :].flip(0)
            yield OrderBlock(-int(negative[0]), first, _finished(key, -negative, first, both))


def _north(
    lmax: int, order: Int64[Tensor, " orders"], spin: int, theta: Float64[Tensor, " rings"], first: int
) -> Float64[Tensor, "orders degrees rings"]:
    """Return lambda_lm(theta) for degrees from `first`."""
    degree = torch.arange(first, lmax + 1, dtype=torch.float64, device=theta.device)
    norm = (-1) ** spin * torch.sqrt((2 * degree + 1) / (4 * math.pi))
    column = wigner_d_column(lmax, order[:, None], -spin, theta)[..., first:]
    return column.mT * norm[:, None]


def _finished(key: Key, order: Tensor, first: int, table: Tensor) -> Tensor:
    """Return harmonics times the weights of analysis or synthesis, in the working precision."""
    if not key.weighted:
        if key.spin is None:
            table = table * torch.where(order == 0, 1.0, 2.0)[:, None, None]
    elif key.grid.latitude_rule is None:
        weight = key.grid.weight[: key.pairs].to(table)
        table = table * (weight if key.spin is None else weight.repeat(2))
    else:
        if key.spin is None:
            degree = torch.arange(first, key.lmax + 1, device=key.device)
            table = torch.cat([table, _sign(degree + order[:, None])[..., None] * table], -1)
        rules = paired_rule(key).to(table)
        table = torch.stack(
            [t @ rules[(int(m) + (key.spin or 0)) % 2] for m, t in zip(order, table, strict=True)]
        )
    return table.to(key.dtype).contiguous()


def paired_rule(key: Key) -> Float64[Tensor, "2 fine rings"]:
    """Return the grid's latitude rule between pairs of rings: `rings` is pairs or, for a spin, 2 pairs."""
    assert key.grid.latitude_rule is not None
    rule = key.grid.latitude_rule
    half = rule.shape[1] // 2
    rule = torch.cat([rule[:, :half], rule[:, half:].flip(1)], 1)
    north, south = rule[..., : key.pairs], rule.flip(-1)[..., : key.pairs]
    return north if key.spin is None else torch.cat([north, south], -1)


def _sign(power: Tensor) -> Tensor:
    return (1 - 2 * (power % 2)).to(torch.float64)
