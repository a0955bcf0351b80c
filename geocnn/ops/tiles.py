"""The tiling of a stencil: which sources and entries stand where in its operators, whatever the layer.

Neighbouring targets share most of their sources, so k successive targets form a tile. An operator has a cell
for each target of a tile and each of its U sources, its slots. Tiles with about as many sources form a class:
one wide tile among many narrow ones does not widen these. Tiles that a shift of the surface takes to each
other share their cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from geocnn.geometry.core.shifts import Shifts
from geocnn.geometry.core.stencil import Stencil

TILE_GROWTH = 1.5
"""A tile of more targets saves launches and loads, but multiplies more zeros. Forward and backward on meshes,
HEALPix and icospheres, on one CPU core: 1.3 to 1.75 differ by less than a fifth, 1.5 takes the least memory.
"""

LEAST_SAVED = 0.1
"""A further class must save at least this share of all cells, since each class is a product of its own."""


class Cells(NamedTuple):
    """The cells of one class, [shapes, k, U]; the entries of cell i are entry[ptr[i]:ptr[i + 1]].

    `ptr` is None where each cell has one entry or none: then `entry` names it, −1 for none.
    """

    entry: Int64[Tensor, " entries"]
    ptr: Int64[Tensor, " cells_1"] | None


class Index(NamedTuple):
    """Tiles in classes, of k targets each: member [tiles, U] holds the sources of each tile.

    Padding repeats a source of the tile itself, so that nothing from elsewhere, a NaN say, can enter.
    slot_ptr [N + 1] and slot say where each source occurs among all classes' members. `place` says where each
    target lies among those of all tiles, None if in order; some of these may stand for none.
    """

    member: list[Int64[Tensor, "tiles u"]]
    slot_ptr: Int32[Tensor, " n_1"]
    slot: Int32[Tensor, " slots"]
    place: Int64[Tensor, " n"] | None
    k: list[int]


class Tiling(NamedTuple):
    """The tiles of a stencil and the cells of their operators.

    Where the stencil has shifts, only the entries of one target of each orbit have cells, and each cell
    serves so many `copies` of its tile.
    """

    index: Index
    cells: list[Cells]
    copies: int

    @property
    def n_cells(self) -> int:
        """Return the number of cells: so many blocks of numbers an operator has, padding included."""
        cells = zip(self.index.k, self.index.member, strict=True)
        return sum(k * member.numel() for k, member in cells) // self.copies


def tiling(stencil: Stencil) -> Tiling:
    """Return the tiling of a stencil."""
    if stencil.shifts is None:
        return _tiling(stencil.target, stencil.source, stencil.n_target, stencil.n_source)
    shifts = stencil.shifts.to(stencil.device)
    first = shifts.target.flatten(1)[:, 0]
    counts = stencil.row_ptr.diff()[first]
    target = torch.repeat_interleave(counts)
    rank = torch.arange(len(target), device=target.device) - (counts.cumsum(0) - counts)[target]
    entry = stencil.row_ptr[first][target] + rank
    one = _tiling(target, stencil.source[entry], len(first), stencil.n_source)
    cells = [Cells(torch.where(own.entry < 0, -1, entry[own.entry]), own.ptr) for own in one.cells]
    return Tiling(_shifted(one.index, shifts, stencil), cells, shifts.copies)


def _tiling(
    target: Int64[Tensor, " entries"], source: Int64[Tensor, " entries"], n: int, n_source: int
) -> Tiling:
    """Return the tiling of n targets; entries are in the order of their targets."""
    key, pair_of = torch.unique(target * n_source + source, return_inverse=True)
    target, source = key // n_source, key % n_source
    k, tile_key, slot_of = _tiles(target, source, n, n_source)
    tile, member_source = tile_key // n_source, tile_key % n_source
    width = torch.bincount(tile, minlength=math.ceil(n / k))
    rank = torch.arange(len(tile_key), device=tile.device) - (width.cumsum(0) - width)[tile]
    members, cells = [], []
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
        number = torch.arange(start, start + len(own), device=own.device)
        place[own[own < n]] = number[own < n]
        start += len(own)
    in_order = len(members) == 1 and n == start
    index = Index(members, *slots(members, n_source), None if in_order else place, [k] * len(members))
    return Tiling(index, cells, 1)


def slots(
    member: Sequence[Int64[Tensor, "tiles _"]], n_source: int
) -> tuple[Int32[Tensor, " n_1"], Int32[Tensor, " slots"]]:
    """Return where each source occurs among all members, as rows per source (CSR)."""
    every = torch.cat([own.flatten() for own in member])
    occurrences = torch.bincount(every, minlength=n_source)
    return (
        torch.cat([occurrences.new_zeros(1), occurrences.cumsum(0)]).to(torch.int32),
        torch.argsort(every, stable=True).to(torch.int32),
    )


class Range(NamedTuple):
    """Some tiles of one class: their sources' ids, which `index` numbers, and their cells."""

    source: Int64[Tensor, " n"]
    index: Index
    cells: list[Cells]


def tile_ranges(t: Tiling, most: int) -> list[Range]:
    """Return all tiles in ranges of at most so many cells, in order."""
    result = []
    for member, cells, k in zip(t.index.member, t.cells, t.index.k, strict=True):
        per_shape = k * member.shape[1]
        step = max(1, most // per_shape)
        for start in range(0, member.shape[0] // t.copies, step):
            source, own = torch.unique(
                member[start * t.copies : (start + step) * t.copies], return_inverse=True
            )
            index = Index([own], *slots([own], len(source)), None, [k])
            result.append(Range(source, index, [_cell_range(cells, start * per_shape, step * per_shape)]))
    return result


def _cell_range(cells: Cells, start: int, n: int) -> Cells:
    if cells.ptr is None:
        return Cells(cells.entry[start : start + n], None)
    return Cells(cells.entry, cells.ptr[start : start + n + 1])


def _shifted(one: Index, shifts: Shifts, stencil: Stencil) -> Index:
    """Return the tiles of one target per orbit, and after each its copies under the shifts."""
    copies, n = shifts.copies, len(shifts.target)
    member = [shifts.moved(own).movedim(-1, 1).flatten(0, 1) for own in one.member]
    # the place of the first copy of each target, then one tile farther for each copy
    place = torch.arange(n, device=stencil.device) if one.place is None else one.place
    first, step, before, after = torch.empty_like(place), torch.empty_like(place), 0, 0
    for own, k in zip(one.member, one.k, strict=True):
        mine = (place >= before) & (place < before + k * len(own))
        tile, rank = (place[mine] - before) // k, (place[mine] - before) % k
        first[mine], step[mine] = after + tile * copies * k + rank, k
        before, after = before + k * len(own), after + len(own) * copies * k
    moved = torch.empty(stencil.n_target, dtype=torch.int64, device=stencil.device)
    copy = torch.arange(copies, device=stencil.device)
    moved[shifts.target.flatten(1)] = first[:, None] + copy * step[:, None]
    return Index(member, *slots(member, stencil.n_source), moved, one.k)


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
        entry = torch.full((n,), -1, device=cell.device)
        entry[cell[mine]] = mine
        return Cells(entry, None)
    return Cells(mine[cell[mine].argsort(stable=True)], torch.cat([counts.new_zeros(1), counts.cumsum(0)]))
