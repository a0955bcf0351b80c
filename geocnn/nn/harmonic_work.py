"""The memory and the operations of harmonic transforms, from sizes alone (`ops.ledger`)."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import torch

from geocnn.harmonics.grid import RingGrid, grid_of
from geocnn.harmonics.latitude import BLOCK_BYTES, BLOCK_ORDERS, Key
from geocnn.harmonics.longitude import is_direct, spectrum_size
from geocnn.harmonics.sht import PART_BYTES, PART_BYTES_OF_PAIRS
from geocnn.ops.ledger import Work

BLOCKS = 1.12
"""What tables hold over a half of all orders and degrees: blocks of orders have some zeros."""

MAKING = 6
"""Tables in float64, of a block of orders, while a table is computed; twice as many where a rule follows."""

DENSE_LEFT, DENSE_MAKING = 2, 12
"""Tables in float64 that stay beside a table of `harmonics.dense`, and those while it is computed."""

COPIES, AGAIN = 3, 2
"""Copies of the Fourier coefficients that the steps of a transform hold, and those that iterations add."""

_LATITUDE = torch.ops.geocnn.latitude_table.default
_TABLES = (_LATITUDE, torch.ops.geocnn.longitude_table.default, torch.ops.geocnn.point_weights.default)


class HarmonicWork:
    """Tells a Ledger what harmonic transforms take. Their tables are made at first use and kept."""

    def __init__(self):
        self._made: set[Hashable] = set()

    def __call__(self, func: Any, args: tuple, results: Any) -> Work | None:
        if func in _TABLES:
            copies = 8 * results.numel() * (func is _LATITUDE)
            left = self._left((func, *args), results.nbytes + DENSE_LEFT * copies)
            return Work(making=left + DENSE_MAKING * copies if left else 0, left=left, stays=True)
        if func is not torch.ops.geocnn.transform.default:
            return None
        x, grid, lmax, spin, iterations, weighted, project = args
        key = Key(grid_of(grid), lmax, spin, weighted, x.real.dtype, x.device)
        maps = (x if project else results).numel() // key.grid.n_points
        keys = [key, key._replace(weighted=not weighted)][: 1 + (iterations > 0)]
        left = sum(self._left(key, table_bytes(key)) for key in keys)
        scratch = scratch_bytes(key, maps, iterations)
        # tables are made when the Fourier transforms are done
        making = scratch + left + making_bytes(key) if left else 0
        return Work(scratch, making, left, transform_operations(key, maps) * (1 + 2 * iterations))

    def _left(self, key: Hashable, size: float) -> float:
        is_first = key not in self._made
        self._made.add(key)
        return size if is_first else 0


def table_bytes(key: Key) -> float:
    """Return the size of the table that a transform keeps."""
    return BLOCKS * key.bytes if _has_table(key) else 0.0


def making_bytes(key: Key) -> float:
    """Return the bytes that computing the table takes beside it."""
    fine = key.grid.fine_theta if key.weighted else None
    rings = key.pairs if fine is None else len(fine)
    orders = max(BLOCK_ORDERS, (key.lmax + 1) // 8)
    block = 8 * orders * (key.lmax + 1) * rings * (1 if key.spin is None else 2)
    return MAKING * min(block, BLOCK_BYTES)


def scratch_bytes(key: Key, maps: int, iterations: int) -> float:
    """Return the bytes that a transform of so many maps takes beside its result."""
    z, n = key.dtype.itemsize, key.grid.n_points
    if key.is_stored:
        part = PART_BYTES if _has_table(key) else PART_BYTES_OF_PAIRS
        maps = min(maps, max(1, part // (z * n)))
    size = spectrum_size(key.grid, key.lmax, key.spin is None)
    fourier = 4 * z * size * key.pairs * maps
    degrees = 2 * z * key.n_orders * (key.lmax + 1) * maps
    table = 0 if key.is_stored else making_bytes(key)
    return table + (COPIES + (AGAIN if iterations else 0)) * fourier + 2 * degrees


def transform_operations(key: Key, maps: int) -> float:
    """Return the operations of a transform: Fourier transforms of all rings, then products with the table."""
    columns = 2 * maps * (1 if key.spin is None else 2)
    rings = key.pairs * (1 if key.spin is None else 2)
    products = BLOCKS * key.n_orders * (key.lmax + 1) / 2 * rings * columns
    return 2 * products + maps * (1 if key.spin is None else 2) * _fourier_operations(key.grid)


def _fourier_operations(grid: RingGrid) -> float:
    """Return the operations of real Fourier transforms of all rings."""
    return sum(2.5 * n * math.log2(max(2, n)) for n in grid.n_phi)


def _has_table(key: Key) -> bool:
    return key.is_stored and (key.spin is not None or is_direct(key.grid, key.lmax))
