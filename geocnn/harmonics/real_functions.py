"""The transform in colatitude of real functions: orders m >= 0, on the tables of `legendre`.

Row k of order m serves the even degree m + 2k, by the sums F[m, 0] of the Fourier coefficients of pairs of
rings, and the odd degree m + 2k + 1, by x = cos(theta) times their differences F[m, 1]. Analysis is

    ring side     G_0 = w F[m, 0]      G_1 = w x F[m, 1]        (w: a matrix on equiangular grids)
    product       Y_h[k] = sum over rings of p_k G_h
    degree side   a_{m+2k} = even_k Y_0[k] + before_k Y_0[k-1]      a_{m+2k+1} = odd_k Y_1[k]

and synthesis its transpose with w = 1. The rows of these matrices are functions, since products are fastest
where rings and degrees, which are many, lie side by side in memory. They are in float64 also for maps in
float32: next to the equator q_k and q_{k-1} are l times what they add up to.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from geocnn.harmonics.grid import RingGrid
from geocnn.harmonics.latitude import Key, paired_rule
from geocnn.harmonics.legendre import Nodes, legendre_rows, n_rows, steps
from geocnn.lasting import lasting

FEW = 8  # rows of the narrow factor up to which the wide one goes first


class Factors(NamedTuple):
    """What coefficients are multiplied by before and after the product."""

    nodes: Nodes
    rings: Float[Tensor, "2 1 pairs"]
    """w and w x, or 1 and 1 where a rule follows."""
    rule: Float[Tensor, "2 2 nodes pairs"] | None
    """By the parity of m and of the degree; in place of w and x."""
    even: Float[Tensor, "orders rows"]
    before: Float[Tensor, "orders rows"]
    odd: Float[Tensor, "orders rows"]


def project_pairs(
    key: Key, fourier: Complex[Tensor, "size 2 pairs b"]
) -> Complex[Tensor, "b {key.lmax}+1 {key.lmax}+1"]:
    """Sum harmonics times F over rings."""
    factors = _factors(key)
    rings = _to_nodes(factors, torch.view_as_real(fourier[: key.n_orders]).permute(0, 3, 1, 4, 2))
    flat = rings.flatten(1, 3)
    product = flat.new_zeros(*flat.shape[:2], n_rows(key.lmax))
    for orders, rows, nodes, table in legendre_rows(factors.nodes):
        product[orders, :, rows] = _times(flat[orders, :, nodes], table.mT)
    ahead = _degree_side(factors, product.unflatten(1, rings.shape[1:4]))
    # rows of lmax + 2 degrees from m on, read in a row, are rows of lmax + 1 degrees from 0 on
    alm = ahead.flatten(2)[..., : key.n_orders**2].unflatten(-1, (key.n_orders, key.n_orders))
    return torch.complex(*alm.unbind(1)).to(fourier.dtype)


def expand_pairs(
    key: Key, alm: Complex[Tensor, "b {key.lmax}+1 {key.lmax}+1"], size: int
) -> Complex[Tensor, "{size} 2 pairs b"]:
    """Apply the transpose of `project_pairs`; m > 0 is halved."""
    factors = _factors(key)
    product = _row_side(factors, alm, slice(0, key.n_orders))
    flat = product.flatten(1, 3)
    rings = flat.new_empty(size, flat.shape[1], len(factors.nodes.theta))
    rings[key.n_orders :] = 0
    for orders, rows, nodes, table in legendre_rows(factors.nodes):
        part = _times(flat[orders, :, rows], table)
        if rows.start == 0:
            rings[orders, :, : nodes.start] = 0
            rings[orders, :, nodes] = part
        else:
            rings[orders, :, nodes] += part
    _, rings = _from_nodes(factors, rings.unflatten(1, product.shape[1:4]))
    rings = rings.permute(1, 2, 0, 4, 3)
    fourier = torch.empty(rings.shape[:-1], dtype=torch.complex128, device=alm.device)
    return torch.complex(*rings.unbind(-1), out=fourier).to(alm.dtype).permute(2, 1, 3, 0)


def expanded(
    key: Key, alm: Complex[Tensor, "b {key.lmax}+1 {key.lmax}+1"]
) -> Iterator[tuple[slice, slice, Float[Tensor, "orders b 2 2 pairs"]]]:
    """Yield parts of `expand_pairs`, by orders and pairs of rings, with real before imaginary parts.

    On pairs that are left out a part is zero. It stays in the processor's cache, so for several functions
    this is the faster way; for one, its many short steps take longer.
    """
    factors = _factors(key)
    pieces = groupby(legendre_rows(factors.nodes), lambda piece: (piece.orders.start, piece.orders.stop))
    for (start, stop), group in pieces:
        orders = slice(start, stop)
        product = _row_side(factors, alm[:, orders, start:], orders)
        flat, rings, first = product.flatten(1, 3), None, 0
        for _, rows, nodes, table in group:
            part = _times(flat[:, :, rows], table)
            if rings is not None:
                # higher degrees come nearer to the pole
                part[..., first - nodes.start :] += rings
            rings, first = part, nodes.start
        assert rings is not None
        pairs, rings = _from_nodes(factors, rings.unflatten(1, product.shape[1:4]), start, first)
        yield orders, pairs, rings.to(alm.real.dtype)


def _times(few: Float[Tensor, "m n k"], table: Float[Tensor, "m k r"]) -> Float[Tensor, "m n r"]:
    """Return the products; the second form takes half the time for small n where k is contiguous."""
    return few @ table if few.shape[1] > FEW or table.stride(1) != 1 else (table.mT @ few.mT).mT


def _to_nodes(f: Factors, rings: Float[Tensor, "orders b 2 2 pairs"]) -> Float[Tensor, "orders b 2 2 nodes"]:
    rings = torch.mul(rings, f.rings, out=f.rings.new_empty(rings.shape))
    if f.rule is None:
        return rings
    nodes = rings.new_empty(*rings.shape[:-1], f.rule.shape[2])
    for m in (0, 1):
        for h in (0, 1):
            nodes[m::2, :, h] = rings[m::2, :, h] @ f.rule[m, h].mT
    return nodes


def _from_nodes(
    f: Factors, nodes: Float[Tensor, "orders b 2 2 nodes"], order: int = 0, first: int = 0
) -> tuple[slice, Float[Tensor, "orders b 2 2 pairs"]]:
    """Apply the transpose of `_to_nodes` to orders from `order` and nodes from `first` on; `nodes` may be
    overwritten.
    """
    if f.rule is None:
        return slice(first, first + nodes.shape[-1]), nodes.mul_(f.rings[..., first:])
    rings = nodes.new_empty(*nodes.shape[:-1], f.rule.shape[3])
    for m in (0, 1):
        for h in (0, 1):
            rings[m::2, :, h] = nodes[m::2, :, h] @ f.rule[(order + m) % 2, h, first:]
    return slice(0, rings.shape[-1]), rings


def _degree_side(
    f: Factors, product: Float[Tensor, "orders b 2 2 rows"]
) -> Float[Tensor, "b 2 orders orders+1"]:
    """Return coefficients of the degrees m, m + 1, ..., with zeros beyond lmax."""
    (orders, rows), count = f.even.shape, product.shape[1]
    even, odd = product.permute(2, 1, 3, 0, 4)
    ahead = product.new_zeros(count, 2, orders, orders + 1)
    torch.mul(even, f.even, out=ahead[..., 0 : 2 * rows : 2])
    ahead[..., 2 : 2 * rows : 2].addcmul_(even[..., :-1], f.before[:, 1:])
    torch.mul(odd, f.odd, out=ahead[..., 1 : 2 * rows : 2])
    return ahead


def _row_side(
    f: Factors, alm: Complex[Tensor, "b orders degrees"], orders: slice
) -> Float[Tensor, "orders b 2 2 rows"]:
    """Apply the transpose of `_degree_side` to orders, with degrees from their first on; m > 0 is halved."""
    count, size, degrees = alm.shape
    ahead = f.even.new_empty(count, 2, size * (degrees + 1))
    # rows of `degrees` from the first order on, read in a row, are rows from m on with a zero at their end
    by_degree = ahead[..., : size * degrees].unflatten(-1, (size, degrees))
    by_degree.copy_(torch.view_as_real(alm).movedim(-1, 1))[..., :size].triu_()
    ahead[..., size * degrees :] = 0
    ahead = ahead.unflatten(-1, (size, degrees + 1))
    rows = (degrees + 1) // 2
    product = ahead.new_empty(size, count, 2, 2, rows)
    even, odd = product.permute(2, 1, 3, 0, 4)
    torch.mul(ahead[..., 0 : 2 * rows : 2], f.even[orders, :rows], out=even)
    even[..., :-1].addcmul_(ahead[..., 2 : 2 * rows : 2], f.before[orders, 1:rows])
    torch.mul(ahead[..., 1 : 2 * rows : 2], f.odd[orders, :rows], out=odd)
    product[orders.start == 0 :] *= 0.5
    return product


@lru_cache(maxsize=64)
@lasting()
def _factors(key: Key) -> Factors:
    grid = key.grid
    nodes = _nodes(grid, key.lmax, key.weighted, torch.float64, key.device)
    _, _, even, before, odd = steps(key.lmax, key.device)
    if not key.weighted:
        twice = torch.where(torch.arange(key.n_orders, device=key.device) == 0, 1.0, 2.0)[:, None]
        even, before, odd = twice * even, twice * before, twice * odd
    x = nodes.theta.cos()
    if key.weighted and grid.latitude_rule is not None:
        north, south = paired_rule(key).to(key.device).chunk(2, 1)
        rule = torch.stack([north + south, x[:, None] * (north - south)], 1)
        return Factors(nodes, rule.new_ones(2, 1, 1), rule, even, before, odd)
    weight = grid.weight[: key.pairs].to(x) if key.weighted else torch.ones_like(x)
    rings = torch.stack([weight, weight * x])[:, None]
    return Factors(nodes, rings, None, even, before, odd)


@lru_cache(maxsize=64)
@lasting()
def _nodes(grid: RingGrid, lmax: int, weighted: bool, dtype: torch.dtype, device: torch.device) -> Nodes:
    """Return the northern colatitudes."""
    theta = grid.theta[: (len(grid.n_phi) + 1) // 2]
    if weighted and grid.fine_theta is not None:
        theta = grid.fine_theta[: len(grid.fine_theta) // 2]
    return Nodes(theta.to(device), lmax, dtype, rows_last=not weighted)
