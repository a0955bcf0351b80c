"""The tiling of a stencil: which sources and entries stand where in its operators, whatever the layer.

Neighbouring targets share most of their sources, so k successive targets form a tile. An operator has a cell
for each target of a tile and each of its U sources, its slots. Tiles with about as many sources form a class:
one wide tile among many narrow ones does not widen these.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from geocnn.geometry.core.stencil import Stencil

TILE_GROWTH = 1.5
"""A tile of more targets saves launches and loads, but multiplies more zeros. Forward and backward on meshes,
HEALPix and icospheres, on one CPU core: 1.3 to 1.75 differ by less than a fifth, 1.5 takes the least memory.
"""

LEAST_SAVED = 0.1
"""A further class must save at least this share of all cells, since each class is a product of its own."""


class Cells(NamedTuple):
    """The cells of one class, [tiles, k, U]; the entries of cell i are entry[ptr[i]:ptr[i + 1]].

    `ptr` is None where each cell has one entry or none: then `entry` names it, E (one too many) for none.
    """

    entry: Int64[Tensor, " entries"]
    ptr: Int64[Tensor, " cells_1"] | None


class Tiling(NamedTuple):
    """Tiles of k targets in classes: member [tiles, U] holds the sources of each tile.

    Padding repeats a source of the tile itself, so that nothing from elsewhere, a NaN say, can enter.
    slot_ptr [N + 1] and slot say where each source occurs among all classes' members. `count` is the number
    of targets per class; `place` says where each target lies among those of all classes, None if in order.
    """

    k: int
    member: list[Int64[Tensor, "tiles u"]]
    cells: list[Cells]
    slot_ptr: Int32[Tensor, " n_1"]
    slot: Int32[Tensor, " slots"]
    count: list[int]
    place: Int64[Tensor, " n"] | None

    @property
    def n_cells(self) -> int:
        """Return the number of cells: so many blocks of numbers an operator has, padding included."""
        return sum(self.k * member.numel() for member in self.member)


def tiling(stencil: Stencil) -> Tiling:
    """Return the tiling of a stencil."""
    n, n_source = stencil.n_target, stencil.n_source
    key, pair_of = torch.unique(stencil.target * n_source + stencil.source, return_inverse=True)
    target, source = key // n_source, key % n_source
    k, tile_key, slot_of = _tiles(target, source, n, n_source)
    tile, member_source = tile_key // n_source, tile_key % n_source
    width = torch.bincount(tile, minlength=math.ceil(n / k))
    rank = torch.arange(len(tile_key), device=tile.device) - (width.cumsum(0) - width)[tile]
    members, cells, counts = [], [], []
    place, start = torch.empty(n, dtype=torch.int64, device=tile.device), 0
    bounds = class_bounds(width)
    class_of = torch.bucketize(width.clamp_min(1), torch.tensor(bounds, device=width.device))
    for number in range(len(bounds)):
        tiles = (class_of == number).nonzero()[:, 0]
        local = torch.full_like(width, -1)
        local[tiles] = torch.arange(len(tiles), device=tiles.device)
        u = max(1, int(width[tiles].max()))
        members.append(_members(local[tile], member_source, rank, len(tiles), u))
        at = local[target // k]
        cell = torch.where(at < 0, -1, (at * k + target % k) * u + rank[slot_of])
        cells.append(_cells(cell[pair_of], len(tiles) * k * u))
        own = (tiles[:, None] * k + torch.arange(k, device=tiles.device)).flatten()
        own = own[own < n]
        place[own] = torch.arange(start, start + len(own), device=own.device)
        counts.append(len(own))
        start += len(own)
    every = torch.cat([member.flatten() for member in members])
    occurrences = torch.bincount(every, minlength=n_source)
    return Tiling(
        k,
        members,
        cells,
        torch.cat([occurrences.new_zeros(1), occurrences.cumsum(0)]).to(torch.int32),
        torch.argsort(every, stable=True).to(torch.int32),
        counts,
        None if len(members) == 1 else place,
    )


def _tiles(
    target: Int64[Tensor, " pairs"], source: Int64[Tensor, " pairs"], n_target: int, n_source: int
) -> tuple[int, Int64[Tensor, " members"], Int64[Tensor, " pairs"]]:
    """Return k, the (tile, source) pairs as numbers tile · n_source + source, and which one each pair is.

    k is the largest of 1, 2, 4, 8 whose tiles have at most TILE_GROWTH times the sources of a single target,
    made smaller where fewer targets per tile make as few tiles.
    """
    chosen = 1, target * n_source + source, torch.arange(len(target), device=target.device)
    alone = len(target) / n_target
    for most in (2, 4, 8):
        k = math.ceil(n_target / math.ceil(n_target / most))
        key, slot_of = torch.unique(target // k * n_source + source, return_inverse=True)
        if k > 1 and len(key) / math.ceil(n_target / k) > TILE_GROWTH * alone:
            break
        chosen = k, key, slot_of
    return chosen


def class_bounds(width: Int64[Tensor, " tiles"]) -> list[int]:
    """Return the widest tile of each class, ascending: up to three classes with the fewest cells in all.

    >>> class_bounds(torch.tensor([20, 21, 22, 400])), class_bounds(torch.tensor([20, 21, 22]))
    ([22, 400], [22])
    """
    widths, tiles = torch.unique(width.clamp_min(1), return_counts=True)
    if len(widths) > 64:
        # a class ends at one of 64 widths that part the tiles evenly
        ends = torch.linspace(1, len(width), 64).long() - 1
        widths = torch.unique(width.clamp_min(1).sort().values[ends.to(width.device)])
        tiles = torch.bincount(torch.bucketize(width.clamp_min(1), widths), minlength=len(widths))
    widths, tiles = widths.double().cpu(), tiles.double().cpu()
    upto, last = tiles.cumsum(0), len(widths) - 1
    # all ways to end the first class at width i and the second at width j; equal ends are one class less
    i, j = torch.triu_indices(last + 1, last + 1)
    cells = upto[i] * widths[i] + (upto[j] - upto[i]) * widths[j] + (upto[last] - upto[j]) * widths[last]
    classes = 1 + (i < last).long() + ((i < j) & (j < last)).long()
    chosen = int((classes == 1).nonzero()[0, 0])
    for more in (2, 3):
        fewest = torch.where(classes == more, cells, math.inf)
        if float(fewest.min()) < (1 - LEAST_SAVED) * float(cells[chosen]):
            chosen = int(fewest.argmin())
    return sorted({int(widths[end]) for end in (int(i[chosen]), int(j[chosen]), last)})


def _members(
    tile: Int64[Tensor, " members"],
    source: Int64[Tensor, " members"],
    rank: Int64[Tensor, " members"],
    tiles: int,
    u: int,
) -> Int64[Tensor, "{tiles} {u}"]:
    """Return the sources [tiles, u] of the tiles of a class; members with tile −1 belong to another."""
    mine = tile >= 0
    tile, source, rank = tile[mine], source[mine], rank[mine]
    first = source.new_zeros(tiles)
    first[tile[rank == 0]] = source[rank == 0]
    member = first[:, None].repeat(1, u)
    member[tile, rank] = source
    return member


def _cells(cell: Int64[Tensor, " entries"], n: int) -> Cells:
    """Sort entries by their cell; −1 are those of other classes."""
    mine = (cell >= 0).nonzero()[:, 0]
    counts = torch.bincount(cell[mine], minlength=n)
    if len(mine) == 0 or int(counts.max()) <= 1:
        entry = torch.full((n,), len(cell), device=cell.device)
        entry[cell[mine]] = mine
        return Cells(entry, None)
    return Cells(mine[cell[mine].argsort(stable=True)], torch.cat([counts.new_zeros(1), counts.cumsum(0)]))
