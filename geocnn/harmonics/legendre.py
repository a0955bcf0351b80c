"""Tables of the associated Legendre functions, two degrees per row, by a recurrence.

With lambda_lm(theta) = Y_lm(theta, 0), x = cos(theta) and A_lm = sqrt((l^2 - m^2) / (4 l^2 - 1)), one
function q_k serves two degrees:

    x lambda_l = A_{l+1} lambda_{l+1} + A_l lambda_{l-1}        q_k = lambda_{m+2k+1} / x
    lambda_{m+2k+1} = x q_k        lambda_{m+2k} = A_{m+2k+1} q_k + A_{m+2k} q_{k-1}
    A_{l+1} A_{l+2} q_{k+1} = (x^2 - A_{l+1}^2 - A_l^2) q_k - A_l A_{l-1} q_{k-1}         l = m + 2k + 1

(Ishioka 2018, J. Meteorol. Soc. Jpn. 96:241; Reinecke & Seljebotn 2013). Functions p_k = q_k / gamma_k, where
gamma makes the last coefficient one, take two operations per entry: p_{k+1} = (a_k x^2 + b_k) p_k + p_{k-1}.

Degrees up to lmax at r colatitudes have lmax^2 r / 4 entries. They are stored if that takes at most half of
KEPT_BYTES; a larger table is computed in pieces that fit a processor's cache, at every use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from geocnn.lasting import lasting

KEPT_BYTES = 1 << 30  # size of all stored tables; a table of more than half of this is not stored
STEPS = 32  # rows of a piece, between two looks at the scale
BLOCK_ORDERS = 16  # fewer orders per block multiply fewer of the zeros l > lmax but take more calls
ROW_ENTRIES = 1 << 14  # entries of a row of a piece on a processor: STEPS rows stay in its cache
ROW_ENTRIES_ELSEWHERE = 1 << 20
LARGE, SMALL = 1e40, 1e-170  # STEPS steps grow by 1e76 at most at degree 6000, so what is dropped is < 1e-54
NOTHING = 60.0  # harmonics below e^-60 = 1e-26 are left out: sums of others round to more


@dataclass(frozen=True, eq=False)
class Nodes:
    """Colatitudes, the largest degree, and the form of a table. `==` is identity."""

    theta: Float64[Tensor, " r"]
    lmax: int
    dtype: torch.dtype
    rows_last: bool
    """Whether rows lie side by side in the memory of a stored table, as synthesis sums over them, or
    colatitudes: sums over what is far apart take twice as long for one function."""

    @property
    def bytes(self) -> int:
        """The size of the stored table, if no colatitude is left out."""
        starts = range(0, self.lmax + 1, BLOCK_ORDERS)
        rows = sum(min(BLOCK_ORDERS, self.lmax + 1 - m) * n_rows(self.lmax - m) for m in starts)
        return rows * len(self.theta) * self.dtype.itemsize


class Steps(NamedTuple):
    """The coefficients of all orders m = 0 .. lmax and rows k."""

    a: Float64[Tensor, "k orders 1"]
    b: Float64[Tensor, "k orders 1"]
    even: Float64[Tensor, "orders k"]
    """Of p_k in lambda_{m+2k}; zero where that degree exceeds lmax."""
    even_before: Float64[Tensor, "orders k"]
    """Of p_{k-1} in lambda_{m+2k}."""
    odd: Float64[Tensor, "orders k"]
    """Of x p_k in lambda_{m+2k+1}."""


class LegendreRows(NamedTuple):
    """Rows of consecutive orders, at the colatitudes where they are not negligible."""

    orders: slice
    rows: slice
    nodes: slice
    table: Float[Tensor, "orders rows nodes"]


def n_rows(lmax: int) -> int:
    """Return the number of rows of order 0, which has the most."""
    return (lmax + 2) // 2


@lru_cache(maxsize=32)
@lasting()
def steps(lmax: int, device: torch.device) -> Steps:
    """Return the coefficients of the recurrence on a device."""
    m = torch.arange(lmax + 1, dtype=torch.float64)[:, None]
    k = torch.arange(n_rows(lmax), dtype=torch.float64)
    l = m + 2 * k + 1

    def root(l: Tensor) -> Tensor:
        return ((l**2 - m**2).clamp(min=0) / (4 * l**2 - 1)).sqrt()

    ahead = root(l + 1) * root(l + 2)
    ratio = torch.ones_like(l)
    ratio[:, 2:] = -(root(l) * root(l - 1))[:, 1:-1] / ahead[:, 1:-1]
    gamma = torch.empty_like(l)
    for parity in (0, 1):
        gamma[:, parity::2] = ratio[:, parity::2].cumprod(1)
    after = torch.ones_like(l)
    after[:, :-1] = gamma[:, 1:]
    a = gamma / (after * ahead)
    b = -a * (root(l + 1) ** 2 + root(l) ** 2)
    # row k is made by the coefficients of row k - 1
    a, b = (torch.nn.functional.pad(c, (1, -1)) for c in (a, b))
    before = torch.zeros_like(l)
    before[:, 1:] = gamma[:, :-1]
    even = torch.where(l <= lmax + 1, gamma * root(l), 0.0)
    even_before = torch.where(l <= lmax + 1, before * root(l - 1), 0.0)
    odd = torch.where(l <= lmax, gamma, 0.0)
    recurrence = (c.T[..., None].contiguous().to(device) for c in (a, b))
    return Steps(*recurrence, *(c.to(device) for c in (even, even_before, odd)))


_tables: dict[Nodes, tuple[LegendreRows, ...]] = {}  # the most recently used last


def legendre_rows(nodes: Nodes) -> Iterable[LegendreRows]:
    """Return the pieces of the table p [orders, rows, colatitudes]; some that are zero are left out."""
    if not is_stored(nodes.bytes):
        return computed(nodes)
    with lasting():
        stored = _tables.pop(nodes, None) or tuple(_stored(nodes))
    _tables[nodes] = stored
    while sum(other.bytes for other in tuple(_tables)) > KEPT_BYTES:
        del _tables[next(iter(_tables))]
    return stored


def is_stored(size: int) -> bool:
    """Return whether a table of that size in bytes is small enough to be stored."""
    return 2 * size <= KEPT_BYTES


def computed(nodes: Nodes) -> Iterator[LegendreRows]:
    """Yield pieces; each is overwritten when the next one is asked for."""
    entries = ROW_ENTRIES if nodes.theta.device.type == "cpu" else ROW_ENTRIES_ELSEWHERE
    return _blocks(nodes, max(1, entries // len(nodes.theta)))


def _stored(nodes: Nodes) -> Iterator[LegendreRows]:
    """Yield all rows of each block of orders in one piece."""
    for orders, group in groupby(_blocks(nodes, BLOCK_ORDERS), lambda piece: piece.orders):
        parts = [piece._replace(table=piece.table.clone()) for piece in group]
        used, rows = parts[-1].nodes, parts[-1].rows.stop
        sizes = orders.stop - orders.start, rows, used.stop - used.start
        table = nodes.theta.new_zeros(sizes, dtype=nodes.dtype)
        if nodes.rows_last:
            table = table.mT.contiguous().mT
        for piece in parts:
            table[:, piece.rows, piece.nodes.start - used.start :] = piece.table
        yield LegendreRows(orders, slice(0, rows), used, table)


@torch.no_grad()
def _blocks(nodes: Nodes, size: int) -> Iterator[LegendreRows]:
    lmax = nodes.lmax
    for start, firsts in zip(range(0, lmax + 1, size), _first_nodes(nodes, size), strict=True):
        yield from _block(nodes, slice(start, min(start + size, lmax + 1)), firsts)


def _block(nodes: Nodes, orders: slice, firsts: list[int]) -> Iterator[LegendreRows]:
    """Yield the rows of some orders; an entry is its mantissa times SMALL^lag, and zero while it lags."""
    rows = n_rows(nodes.lmax - orders.start)
    least = firsts[(rows - 1) // STEPS]
    theta = nodes.theta[least:]
    a, b = (c[:, orders].unbind() for c in steps(nodes.lmax, theta.device)[:2])
    square, (seed, lag) = theta.cos().square(), _seed(orders, theta)
    table = seed.new_empty(min(rows, STEPS), *seed.shape)
    row, factor = table.unbind(), torch.empty_like(seed)
    before, last = seed, torch.zeros_like(seed)  # p_0 = seed + factor * 0
    lagging = bool(lag.any())
    for start, first in zip(range(0, rows, STEPS), firsts, strict=False):
        if lagging:
            large = (last.abs() > LARGE) & (lag > 0)
            before, last = (torch.where(large, SMALL * p, p) for p in (before, last))
            lag = lag - large.to(lag.dtype)
            lagging = bool(lag.any())
        count = min(STEPS, rows - start)
        for k in range(count):
            torch.addcmul(b[start + k], a[start + k], square, out=factor)
            torch.addcmul(before, factor, last, out=row[k])
            before, last = last, row[k]
        part = table[:count] * (lag == 0) if lagging else table[:count]
        part = part[..., first - least :].to(nodes.dtype).transpose(0, 1)
        yield LegendreRows(orders, slice(start, start + count), slice(first, len(nodes.theta)), part)


def _first_nodes(nodes: Nodes, size: int) -> list[list[int]]:
    """Return the first colatitude at which rows count, for blocks of orders and pieces of rows.

    Next to the pole, where m > (l + 1/2) sin(theta), harmonics are e^{-S} up to a factor of sqrt(l), with
    S = m artanh(u / m) - (l + 1/2) artanh(u / (l + 1/2)), u = sqrt(m^2 - (l + 1/2)^2 sin^2) / cos(theta).
    """
    m = torch.arange(0, nodes.lmax + 1, size, dtype=torch.float64, device=nodes.theta.device)[:, None, None]
    row = torch.arange(STEPS, n_rows(nodes.lmax) + STEPS, STEPS, device=m.device)[:, None]
    l = (m + 2 * row).clamp(max=nodes.lmax) + 0.5
    sine, cosine = nodes.theta.sin(), nodes.theta.cos()
    u = (m**2 - (l * sine) ** 2).clamp(min=0).sqrt() / cosine.clamp(min=1e-300)
    u = torch.where(m > l * sine, u, 0.0)
    east, along = (torch.atanh((u / part.clamp(min=0.5)).clamp(max=1 - 1e-16)) for part in (m, l))
    decay = m * east - l * along
    return (decay > NOTHING).sum(-1).tolist()


def _seed(orders: slice, theta: Float64[Tensor, " r"]) -> tuple[Float64[Tensor, "orders r"], Tensor]:
    """Return mantissa and lag of q_0 = lambda_mm / A_{m+1}, A_{m+1} = 1 / sqrt(2m + 3)."""
    m = torch.arange(1, orders.stop, dtype=torch.float64, device=theta.device)
    logarithm = torch.cat([m.new_zeros(1), (0.5 * torch.log1p(0.5 / m)).cumsum(0)])[orders, None]
    m = torch.arange(orders.start, orders.stop, dtype=torch.float64, device=theta.device)[:, None]
    logarithm = logarithm + torch.xlogy(m, theta.sin())
    lag = (logarithm / math.log(SMALL)).floor().clamp(0, 1e6)
    mantissa = torch.exp(logarithm - lag * math.log(SMALL)) * ((2 * m + 3) / (4 * math.pi)).sqrt()
    return (1 - 2 * (m % 2)) * mantissa, lag
