"""The tiling of a stencil: which targets and sources stand where in its operators, whatever the layer.

Neighbouring targets share most of their sources, so k successive targets form a tile. An operator has a cell
for each target of a tile and each of its U sources, its slots. Tiles with about as many sources form a class:
one wide tile among many narrow ones does not widen these. Tiles that a shift of the surface takes to each
other share their cells. An `exp` stencil has eight entries per pair of a target and a source, or more; a
tiling holds only pairs, and reads the entries by blocks of rows.
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


BLOCK = 2**18
"""About so many entries are read at once."""


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
    """The tiles of a stencil, numbered as their targets follow each other; tile[c] are those of class c.

    `key` holds tile · n_source + source for all sources of all tiles, ascending; those of tile i begin at
    key_ptr[i]. Where the stencil has shifts, only one target of each orbit has a tile, which serves as many
    `copies`. There are `share` entries per pair of a target and a source.
    """

    index: Index
    tile: list[Int64[Tensor, " tiles"]]
    key: Int64[Tensor, " members"]
    key_ptr: Int64[Tensor, " tiles_1"]
    copies: int
    share: float

    @property
    def n_cells(self) -> int:
        """Return the number of cells: so many blocks of numbers an operator has, padding included."""
        cells = zip(self.index.k, self.index.member, strict=True)
        return sum(k * member.numel() for k, member in cells) // self.copies


def tiling(stencil: Stencil) -> Tiling:
    """Return the tiling of a stencil."""
    n, n_source = stencil.n_rows, stencil.n_source
    step, entries, pairs = max(1, BLOCK * stencil.n_target // max(1, stencil.n_entries)), 0, []
    for start in range(0, n, step):
        block = stencil.rows(slice(start, min(start + step, n)))
        entries += len(block.row)
        pairs.append(torch.unique((block.row + start) * n_source + block.source))
    pair = torch.cat(pairs)
    one = tiling_of(pair, n, n_source)._replace(share=entries / max(1, len(pair)))
    if stencil.shifts is None:
        return one
    shifts = stencil.shifts.to(stencil.device)
    return one._replace(index=_shifted(one.index, shifts, stencil), copies=shifts.copies)


def tiling_of(pair: Int64[Tensor, " pairs"], n: int, n_source: int) -> Tiling:
    """Return the tiling of n targets, given the ascending numbers target · n_source + source of all pairs."""
    k, key = _tiles(pair, n, n_source)
    tile, source = key // n_source, key % n_source
    width = torch.bincount(tile, minlength=math.ceil(n / k))
    key_ptr = torch.cat([width.new_zeros(1), width.cumsum(0)])
    rank = torch.arange(len(key), device=key.device) - key_ptr[tile]
    members, numbers = [], []
    place, start = torch.empty(n, dtype=torch.int64, device=key.device), 0
    bounds = class_bounds(width)
    class_of = torch.bucketize(width.clamp_min(1), torch.tensor(bounds, device=width.device))
    for number in range(len(bounds)):
        tiles = (class_of == number).nonzero()[:, 0]
        local = torch.full_like(width, -1)
        local[tiles] = torch.arange(len(tiles), device=tiles.device)
        members.append(_members(local[tile], source, rank, len(tiles), max(1, int(width[tiles].max()))))
        numbers.append(tiles)
        own = (tiles[:, None] * k + torch.arange(k, device=tiles.device)).flatten()
        number = torch.arange(start, start + len(own), device=own.device)
        place[own[own < n]] = number[own < n]
        start += len(own)
    in_order = len(members) == 1 and n == start
    index = Index(members, *slots(members, n_source), None if in_order else place, [k] * len(members))
    return Tiling(index, numbers, key, key_ptr, 1, 1.0)


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
    """Some tiles of one class: their sources' ids, which `index` numbers, and the tiles' own numbers."""

    source: Int64[Tensor, " n"]
    index: Index
    tile: Int64[Tensor, " tiles"]


def tile_ranges(t: Tiling, most: int) -> list[Range]:
    """Return all tiles in ranges of at most so many cells, in order."""
    result = []
    for member, tile, k in zip(t.index.member, t.tile, t.index.k, strict=True):
        step = max(1, most // (k * member.shape[1]))
        for own, tiles in zip(member.split(step * t.copies), tile.split(step), strict=True):
            source, own = torch.unique(own, return_inverse=True)
            index = Index([own], *slots([own], len(source)), None, [k])
            result.append(Range(source, index, tiles))
    return result


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


def _tiles(pair: Int64[Tensor, " pairs"], n: int, n_source: int) -> tuple[int, Int64[Tensor, " members"]]:
    """Return k, and the numbers tile · n_source + source of the sources of all tiles, ascending.

    k is the largest of 1, 2, 4, 8 whose tiles have at most TILE_GROWTH times the sources of a single target,
    made smaller where fewer targets per tile make as few tiles.
    """
    target, source = pair // n_source, pair % n_source
    chosen, alone = (1, pair), len(pair) / n
    for most in (2, 4, 8):
        k = math.ceil(n / math.ceil(n / most))
        key = torch.unique(target // k * n_source + source)
        if k > 1 and len(key) / math.ceil(n / k) > TILE_GROWTH * alone:
            break
        chosen = k, key
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
