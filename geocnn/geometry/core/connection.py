"""Connection: which points of a surface lie next to each other, and the transport between their gauges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.groups.planar import Element, inverse


class Connection(NamedTuple):
    """E edges, each once; two points may share several. tail, head [E]: point ids; (angle, flip) [E] takes
    components in the head's gauge to the tail's, straight along the edge; flip may be None.
    """

    tail: Tensor
    head: Tensor
    angle: Tensor
    flip: Tensor | None = None

    @property
    def n_points(self) -> int:
        """One more than the highest id that has an edge."""
        return 0 if not len(self.tail) else 1 + int(torch.maximum(self.tail.max(), self.head.max()))

    def take(self, which: Tensor) -> Connection:
        """Some of the edges: ids or a mask."""
        flip = None if self.flip is None else self.flip[which]
        return Connection(self.tail[which], self.head[which], self.angle[which], flip)

    def along(self, edge: Tensor, forward: Tensor) -> Element:
        """The elements that carry over edges [K], from tail to head where forward [K], else back."""
        angle, flip = self.angle[edge], None if self.flip is None else self.flip[edge]
        return torch.where(forward, inverse((angle, flip))[0], angle), flip

    def between(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """(edge, forward) [K] that lead from start to end [K]: of several the first, −1 where none does."""
        if not len(self.tail):
            return torch.full_like(start, -1), torch.zeros_like(start, dtype=torch.bool)
        n = max(self.n_points, 1 + int(torch.maximum(start.max(), end.max())) if len(start) else 0)
        ways = torch.cat([self.tail * n + self.head, self.head * n + self.tail])
        ways, order = ways.sort(stable=True)
        wanted = start * n + end
        at = torch.searchsorted(ways, wanted).clamp_max(len(ways) - 1)
        place = order[at]
        edge = torch.where(ways[at] == wanted, place % len(self.tail), -1)
        return edge, place < len(self.tail)


def pairs_once(a: Tensor, b: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The pairs (a, b) [P] of different ids below n, each once, the lower id first."""
    key = torch.unique((torch.minimum(a, b) * n + torch.maximum(a, b))[a != b])
    return key // n, key % n
