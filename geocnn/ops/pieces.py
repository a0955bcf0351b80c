"""Tiles are multiplied a piece at a time: as many as a core's cache holds, or a launch is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

PIECE = {"cpu": 2**18, "cuda": 2**26}
"""Moments of one piece, in numbers: what a core's cache holds, and what is worth a launch on a GPU."""

COLUMNS = {"cpu": 64, "cuda": 2**12}
"""A product with fewer columns runs below its speed; with more of them a piece holds fewer tiles."""


class TileClass(NamedTuple):
    """A class of tiles of k targets each: member [tiles, U], a block per source irrep, and where its targets
    and slots lie.

    A block [shapes, k · rows, U · components] serves `copies` successive tiles: tiles / shapes.
    """

    member: Tensor
    block: Sequence[Tensor]
    targets: slice
    slots: slice
    k: int

    @property
    def shapes(self) -> int:
        return self.block[0].shape[0]

    @property
    def copies(self) -> int:
        return self.member.shape[0] // self.shapes

    def pieces(self, b: int, channels: int, n_rows: int) -> Iterator[Piece]:
        """Yield pieces of bounded work: moments of so many rows, channels and samples per target."""
        work, device = self.k * n_rows * b * channels, self.member.device
        # copies stand side by side as columns where these are few
        beside = self.copies if few_columns(b * channels, device) else 1
        member = self.member.view(self.shapes, self.copies, -1)
        for shape in pieces(self.shapes, beside * work, device):
            for copy in pieces(self.copies, (shape.stop - shape.start) * work, device):
                yield Piece(member[shape, copy], shape, copy, self)


class Room:
    """Memory that successive pieces use again."""

    def __init__(self, like: Tensor):
        self.like = like
        self.kept: dict[str, Tensor] = {}

    def of(self, name: str, *shape: int) -> Tensor:
        """Return an empty tensor in the memory of that name, whose former content is lost."""
        n = math.prod(shape)
        if name not in self.kept or self.kept[name].numel() < n:
            self.kept[name] = self.like.new_empty(n)
        return self.kept[name][:n].view(shape)


class Piece(NamedTuple):
    """Some tiles of a class: its members [shapes, copies, U], and which shapes and copies these are."""

    member: Tensor
    shape: slice
    copy: slice
    tiles: TileClass

    def targets(self, y: Tensor) -> Tensor:
        """Return y [all targets, b, n] at the targets, a view [shapes, copies, k, b, n]."""
        tiles = self.tiles
        return y[tiles.targets].unflatten(0, (tiles.shapes, tiles.copies, tiles.k))[self.shape, self.copy]

    def gathered(self, x: Tensor, room: Room) -> Tensor:
        """Return x [N, components, b, C] at the members, as [shapes, U · components, copies · b · C]."""
        (shapes, copies, u), components = self.member.shape, x.shape[1]
        if copies == 1:
            rows, row = x.flatten(1), self.member
        else:
            part = torch.arange(components, device=x.device)[:, None]
            rows, row = (
                x.flatten(0, 1).flatten(1),
                self.member.transpose(1, 2)[:, :, None] * components + part,
            )
        near = room.of("gathered", row.numel(), rows.shape[1])
        return torch.index_select(rows, 0, row.flatten(), out=near).view(shapes, u * components, -1)

    def by_target(self, m: Tensor, b: int) -> Tensor:
        """Reorder moments [shapes, k · rows, copies · b · C] to [shapes, copies, k, b, rows · C]."""
        shapes, copies, _ = self.member.shape
        m = m.view(shapes, self.tiles.k, -1, copies, b, m.shape[2] // (copies * b))
        return m.permute(0, 3, 1, 4, 2, 5).flatten(4)

    def by_tile(self, m: Tensor, b: int, n_rows: int) -> Tensor:
        """Return the transpose of `by_target`, for m [shapes · copies · k · b, rows · C]."""
        (shapes, copies, _), k = self.member.shape, self.tiles.k
        m = m.view(shapes, copies, k, b, n_rows, -1).permute(0, 2, 4, 1, 3, 5)
        return m.reshape(shapes, k * n_rows, -1)

    def spread(self, block: Tensor, m: Tensor, spread: Tensor) -> None:
        """Write blockᵀ m to the slots [all slots, components · b · C]; m is as `by_tile` returns it."""
        back, (shapes, copies, _) = block[self.shape].transpose(1, 2), self.member.shape
        own = spread[self.tiles.slots].view(self.tiles.shapes, self.tiles.copies, back.shape[1], -1)
        own = own[self.shape, self.copy]
        if copies == 1 or not few_columns(m.shape[2] // copies, m.device):
            for copy, columns in enumerate(m.chunk(copies, 2)):
                torch.bmm(back, columns, out=own[:, copy])
        else:
            own.copy_((back @ m).view(shapes, back.shape[1], copies, -1).transpose(1, 2))


def tile_classes(block: Sequence[Tensor], member: Sequence[Tensor], k: Sequence[int]) -> Iterator[TileClass]:
    """Return the classes of an operator; their blocks and members lie one after another."""
    n, target, slot = len(block) // len(member), 0, 0
    for c, own in enumerate(member):
        targets, slots = slice(target, target + k[c] * len(own)), slice(slot, slot + own.numel())
        yield TileClass(own, block[c * n : (c + 1) * n], targets, slots, k[c])
        target, slot = targets.stop, slots.stop


def few_columns(n: int, device: torch.device) -> bool:
    """Return whether a product of so many columns is slower than one of twice as many."""
    return 2 * n <= COLUMNS.get(device.type, 2**12)


def batches(n: int, per_sample: int, channels: int, device: torch.device) -> Iterator[slice]:
    """Cut n samples into parts of bounded work, but of enough columns."""
    least = -(-COLUMNS.get(device.type, 2**12) // channels)
    step = max(least, PIECE.get(device.type, 2**26) // max(1, per_sample))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


def pieces(n: int, per_item: int, device: torch.device) -> Iterator[slice]:
    """Cut n items into pieces of bounded work."""
    step = max(1, PIECE.get(device.type, 2**26) // max(1, per_item))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))
