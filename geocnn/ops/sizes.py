"""What the tiling of a stencil takes, known before it is made.

The tiles of a large stencil are estimated from SAMPLE of its targets. These come in runs, because neighbours
share sources, and the runs are spread evenly, because discs hold more points at some places than at others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from geocnn.geometry.core.stencil import Stencil
from geocnn.ops.adjoint import MOST_ENTRIES
from geocnn.ops.joint import LARGE
from geocnn.ops.ledger import Ledger
from geocnn.ops.tiles import BLOCK, tiling_of

SAMPLE, RUN = 4096, 64
"""Targets of a sample, and how many of them follow one another; a tile has at most 8."""

SAMPLE_ENTRIES = 2**18
"""A sample has at most about so many entries, but at least four runs."""

SHIFTED = 42
"""Bytes per slot while tiles are moved by shifts: places, members and their sorted copies."""

FINDING, HELD = (40, 68), (8, 52)
"""Bytes per entry of a block of rows while its pairs are found, and until the next; more where the rows are
formed, or copied from one target per orbit.
"""


@dataclass(frozen=True)
class ClassSize:
    """The size of a class: so many tiles of k targets with u sources each."""

    tiles: int
    k: int
    u: int

    @property
    def cells(self) -> int:
        return self.tiles * self.k * self.u


@dataclass(frozen=True, eq=False)
class TilingSize:
    """The size of a stencil's tiling: classes as `copies` shifts leave them, and the bytes that making takes.

    `keys` are the sources of all tiles without padding, and `entries` those of one target per orbit. `back`
    is the size of the transposed stencil's tiling, if the stencil may be transposed. A stencil of several
    side by side has `parts`, one size per stencil.
    """

    classes: tuple[ClassSize, ...]
    copies: int
    n_source: int
    n_target: int
    in_order: bool
    keys: float
    entries: float
    share: float
    making: float
    back: TilingSize | None = None
    parts: tuple[TilingSize, ...] = ()

    @property
    def slots(self) -> int:
        return sum(c.tiles * c.u for c in self.classes)

    @property
    def cells(self) -> float:
        """Return the number of cells that have numbers of their own."""
        if self.parts:
            return sum(part.cells for part in self.parts)
        return sum(c.cells for c in self.classes) / self.copies

    @property
    def pairs(self) -> int:
        """Return the number of pairs of a target and a source that are multiplied, padding included."""
        return sum(c.cells for c in self.classes)

    @property
    def targets(self) -> int:
        """Return the number of targets of all tiles, those included that stand for none."""
        return sum(c.tiles * c.k for c in self.classes)

    @property
    def bytes(self) -> float:
        """Return the bytes of the tiling; of a stencil with parts, those that come to the parts' own."""
        index = 12 * self.slots + 4 * (self.n_source + 1) + (0 if self.in_order else 8 * self.n_target)
        if self.parts:
            return index
        tiles = sum(c.tiles for c in self.classes) / self.copies
        return index + 8 * (2 * tiles + 1 + self.keys)


def tiling_size(stencil: Stencil, most: int = SAMPLE) -> TilingSize:
    """Return the size of a stencil's tiling, from at most so many unlike targets; exact where it has no more.

    >>> from geocnn.geometry import healpix
    >>> from geocnn.ops.tiles import tiling
    >>> stencil = healpix(8).stencil(); tiling_size(stencil).cells == tiling(stencil).n_cells
    True
    """
    if stencil.parts:
        return _joint_size([tiling_size(part, most) for part in stencil.parts])
    n, copies = stencil.n_rows, stencil.n_target // stencil.n_rows
    within = SAMPLE_ENTRIES * stencil.n_target // max(1, stencil.n_entries)
    chosen = runs(n, min(most, max(4 * RUN, within))).to(stencil.device)
    rows, is_formed, sizes = (
        stencil.rows(chosen),
        stencil.stored is not None,
        (stencil.n_source, stencil.n_target),
    )
    size = size_from(rows.row, rows.source, len(chosen), *sizes, copies, is_formed)
    if size.share > MOST_ENTRIES or is_formed:
        return size
    return replace(size, back=_back_size(stencil, most))


def _back_size(stencil: Stencil, most: int) -> TilingSize:
    """Return the size of the transposed stencil's tiling."""
    sources = torch.arange(stencil.n_source, device=stencil.device)
    if stencil.shifts is not None:
        sources = stencil.shifts.source.flatten(1)[:, 0].to(stencil.device)
    chosen = runs(len(sources), most).to(stencil.device)
    row = torch.full((stencil.n_source,), -1, device=stencil.device)
    row[sources[chosen]] = torch.arange(len(chosen), device=stencil.device)
    there = (row[stencil.source] >= 0).nonzero()[:, 0]
    target = torch.searchsorted(stencil.row_ptr, there, right=True) - 1
    row, order = row[stencil.source[there]].sort(stable=True)
    copies = stencil.n_source // len(sources)
    return size_from(row, target[order], len(chosen), stencil.n_target, stencil.n_source, copies)


def _joint_size(parts: list[TilingSize]) -> TilingSize:
    """Return the size for stencils side by side."""
    backs = [part.back for part in parts if part.back is not None]
    return TilingSize(
        classes=_joint_classes(parts),
        copies=1,
        n_source=sum(part.n_source for part in parts),
        n_target=sum(part.n_target for part in parts),
        in_order=False,
        keys=sum(part.keys for part in parts),
        entries=sum(part.entries for part in parts),
        share=max(part.share for part in parts),
        making=0,
        back=_joint_size(backs) if len(backs) == len(parts) else None,
        parts=tuple(parts),
    )


def _joint_classes(parts: list[TilingSize]) -> tuple[ClassSize, ...]:
    """Return the classes of stencils side by side, where small ones of equal k become one (`ops.joint`)."""
    alone, small = [], {}
    for part in parts:
        for c in part.classes:
            if part.copies > 1 or c.cells >= LARGE["cpu"]:
                alone.append(c)
            else:
                before = small.get(c.k, ClassSize(0, c.k, 0))
                small[c.k] = ClassSize(before.tiles + c.tiles, c.k, max(before.u, c.u))
    return (*alone, *small.values())


def runs(n: int, most: int) -> Int64[Tensor, " k"]:
    """Return at most so many of n numbers, in runs spread evenly; all if these are not more."""
    if n <= most:
        return torch.arange(n)
    count = most // RUN
    first = torch.arange(count) * (n // RUN) // count * RUN
    return (first[:, None] + torch.arange(RUN)).flatten()


def size_from(
    row: Int64[Tensor, " e"],
    source: Int64[Tensor, " e"],
    n: int,
    n_source: int,
    n_target: int,
    copies: int = 1,
    is_formed: bool = False,
) -> TilingSize:
    """Return the size of a tiling from the entries of n rows, which n_target / copies others resemble; rows
    may be formed as they are read.
    """
    factor = n_target / copies / n
    near, source = torch.unique(source, return_inverse=True)
    pair = torch.unique(row * max(1, len(near)) + source)
    with Ledger() as ledger:
        t = tiling_of(pair, n, max(1, len(near)))
    classes = tuple(
        ClassSize(copies * max(1, round(len(member) * factor)), k, member.shape[1])
        for member, k in zip(t.index.member, t.index.k, strict=True)
    )
    in_order, entries = t.index.place is None and copies == 1, factor * len(row)
    # pairs are found a block after another, then all are tiled
    block, pairs = min(BLOCK, entries), factor * pair.nbytes
    is_copied = copies > 1 or is_formed
    held = HELD[is_copied] * block + 2 * pairs
    making = max(FINDING[is_copied] * block + pairs, held + factor * ledger.peak)
    share = len(row) / max(1, len(pair))
    size = TilingSize(
        classes, copies, n_source, n_target, in_order, factor * len(t.key), entries, share, making
    )
    if copies == 1:
        return size
    # all copies are made when only the one target per orbit is done
    return replace(size, making=max(making, held + factor * ledger.alive + SHIFTED * size.slots))
