"""Tiles are multiplied a piece at a time: as many as a core's cache holds, or a launch is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

PIECE = {"cpu": 2**18, "cuda": 2**26}
"""Moments of one piece, in numbers: what a core's cache holds, and what is worth a launch on a GPU."""


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
    def copies(self) -> int:
        return self.member.shape[0] // self.block[0].shape[0]

    def pieces(self, work: int) -> Iterator[Piece]:
        """Yield pieces of the class of bounded work, which is given per target."""
        shapes, device = self.member.shape[0] // self.copies, self.member.device
        for shape in pieces(shapes, self.copies * self.k * work, device):
            for copy in pieces(self.copies, (shape.stop - shape.start) * self.k * work, device):
                yield self._piece(shape, copy)

    def _piece(self, shape: slice, copy: slice) -> Piece:
        """Return the piece of some shapes and copies: of one shape, or with all copies."""
        member = self.member.view(-1, self.copies, self.member.shape[1])[shape, copy]
        start = self.targets.start + (shape.start * self.copies + copy.start) * self.k
        # the last tile may be cut short
        stop = min(start + member.shape[0] * member.shape[1] * self.k, self.targets.stop)
        return Piece(member, shape, copy, slice(start, stop), self.k)


class Piece(NamedTuple):
    """Some tiles of a class, with their members [shapes, copies, U] and their targets."""

    member: Tensor
    shape: slice
    copy: slice
    target: slice
    k: int

    def gathered(self, x: Tensor, components: int) -> Tensor:
        """Return x [b, N, components · C] at the members, as [shapes, U · components, b · copies · C]."""
        shapes, copies, u = self.member.shape
        if copies == 1:
            result = x[:, self.member[:, 0]].view(x.shape[0], shapes, u * components, 1, -1)
        else:
            part = torch.arange(components, device=x.device)[:, None]
            row = (self.member.transpose(1, 2)[:, :, None] * components + part).contiguous()
            result = x.view(x.shape[0], x.shape[1] * components, -1)[:, row]
            result = result.view(x.shape[0], shapes, u * components, copies, -1)
        return result.permute(1, 2, 0, 3, 4).reshape(shapes, u * components, -1)

    def by_target(self, m: Tensor, b: int, n_rows: int) -> Tensor:
        """Reorder moments [shapes, k · rows, b · copies · C] to [b, targets, rows · C]."""
        shapes, copies, _ = self.member.shape
        m = m.view(shapes, self.k, n_rows, b, copies, -1).permute(3, 0, 4, 1, 2, 5)
        return m.reshape(b, shapes * copies * self.k, -1)[:, : self.target.stop - self.target.start]

    def by_tile(self, m: Tensor, n_rows: int) -> Tensor:
        """Return the transpose of `by_target`, padded with zeros to whole tiles of k targets."""
        (shapes, copies, _), (b, t, _) = self.member.shape, m.shape
        if (missing := shapes * copies * self.k - t) > 0:
            m = torch.nn.functional.pad(m, (0, 0, 0, missing))
        m = m.view(b, shapes, copies, self.k, n_rows, -1).permute(1, 3, 4, 0, 2, 5)
        return m.reshape(shapes, self.k * n_rows, -1)

    def spread(self, block: Tensor, m: Tensor, out: Tensor) -> None:
        """Write blockᵀ m to out [all shapes, all copies, U · components, b, C], m as by `by_tile`."""
        back, out = block[self.shape].transpose(1, 2), out[self.shape, self.copy]
        if out.shape[1] == 1:
            torch.bmm(back, m, out=out.view(*back.shape[:2], -1))
        else:
            _, copies, rows, b, c = out.shape
            out.copy_((back @ m).view(-1, rows, b, copies, c).permute(0, 3, 1, 2, 4))


def tile_classes(
    block: Sequence[Tensor], member: Sequence[Tensor], count: Sequence[int], k: Sequence[int]
) -> Iterator[TileClass]:
    """Return the classes of an operator; their blocks and members lie one after another."""
    n, target, slot = len(block) // len(member), 0, 0
    for c, (own, targets) in enumerate(zip(member, count, strict=True)):
        yield TileClass(
            own,
            block[c * n : (c + 1) * n],
            slice(target, target + targets),
            slice(slot, slot + own.numel()),
            k[c],
        )
        target, slot = target + targets, slot + own.numel()


def pieces(n: int, per_item: int, device: torch.device) -> Iterator[slice]:
    """Cut n items into pieces of bounded work."""
    step = max(1, PIECE.get(device.type, 2**26) // max(1, per_item))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))
