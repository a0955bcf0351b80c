"""A Connection names the neighbouring points of a surface and the transport between their gauges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from geocnn.groups.planar import Element, inverse


class Connection(NamedTuple):
    """E edges, each listed once; several may join the same two points.

    tail and head are point ids. (angle, flip) takes components in the head's gauge to the tail's gauge,
    straight along the edge; flip may be None.

    >>> c = Connection(torch.tensor([0, 1]), torch.tensor([1, 2]), torch.zeros(2)); c.n_points
    3
    >>> edge, forward = c.between(torch.tensor([2, 0]), torch.tensor([1, 2])); edge.tolist()
    [1, -1]
    """

    tail: Int64[Tensor, " e"]
    head: Int64[Tensor, " e"]
    angle: Float[Tensor, " e"]
    flip: Bool[Tensor, " e"] | None = None

    @property
    def n_points(self) -> int:
        """Return one more than the highest id that has an edge."""
        return 0 if not len(self.tail) else 1 + int(torch.maximum(self.tail.max(), self.head.max()))

    def take(self, which: Int64[Tensor, " k"] | Bool[Tensor, " e"]) -> Connection:
        """Return some of the edges, chosen by ids or by a mask."""
        flip = None if self.flip is None else self.flip[which]
        return Connection(self.tail[which], self.head[which], self.angle[which], flip)

    def along(self, edge: Int64[Tensor, " k"], forward: Bool[Tensor, " k"]) -> Element:
        """Return the elements that carry over edges, from tail to head where `forward`, else back."""
        angle, flip = self.angle[edge], None if self.flip is None else self.flip[edge]
        return torch.where(forward, inverse((angle, flip))[0], angle), flip

    def between(
        self, start: Int64[Tensor, " k"], end: Int64[Tensor, " k"]
    ) -> tuple[Int64[Tensor, " k"], Bool[Tensor, " k"]]:
        """Return the first edge that leads from each start to its end (−1 where none does), and whether it
        runs forward.
        """
        if not len(self.tail):
            return torch.full_like(start, -1), torch.zeros_like(start, dtype=torch.bool)
        n = max(self.n_points, 1 + int(torch.maximum(start.max(), end.max())) if len(start) else 0)
        keys, order = torch.cat([self.tail * n + self.head, self.head * n + self.tail]).sort(stable=True)
        key = start * n + end
        at = torch.searchsorted(keys, key).clamp_max(len(keys) - 1)
        place = order[at]
        edge = torch.where(keys[at] == key, place % len(self.tail), -1)
        return edge, place < len(self.tail)


def pairs_once(
    a: Int64[Tensor, "*k"], b: Int64[Tensor, "*k"], n: int
) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
    """Return the pairs (a, b) of different ids below n, each once, the lower id first.

    >>> pairs_once(torch.tensor([2, 0, 1]), torch.tensor([0, 2, 1]), 3)
    (tensor([0]), tensor([2]))
    """
    key = torch.unique((torch.minimum(a, b) * n + torch.maximum(a, b))[a != b])
    return key // n, key % n
