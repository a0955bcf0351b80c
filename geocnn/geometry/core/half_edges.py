"""Half-edges of lists of triangles: which faces meet over edges and around vertices, which way they run.

Half-edge h = 3·face + k leaves corner k of its face for the next one; the corner has the same number.

            2                 half-edge 3f     goes 0 → 1
           / \\                half-edge 3f + 1 goes 1 → 2
          /   \\               half-edge 3f + 2 goes 2 → 0
         0 --- 1

Nothing here needs the faces to form a surface.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


def around_face(h: Int[Tensor, " k"], k: int) -> Int[Tensor, " k"]:
    """The half-edges k places on from h [K], counter-clockwise in their faces."""
    return h - h % 3 + (h + k) % 3


def following(h: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
    """The half-edges after h [K], counter-clockwise in their faces.

    >>> following(torch.tensor([0, 2, 4])).tolist()
    [1, 0, 5]
    """
    return around_face(h, 1)


def preceding(h: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
    """The half-edges before h [K], counter-clockwise in their faces.

    >>> preceding(torch.tensor([0, 2, 4])).tolist()
    [2, 1, 3]
    """
    return around_face(h, 2)


class Edges(NamedTuple):
    """The E edges of F faces: their ends [E, 2], the lower first; how many faces each has [E]; the edge of
    each half-edge [3F].
    """

    ends: Tensor
    count: Tensor
    edge: Tensor


def edges_of(f: Int[Tensor, "faces 3"], n: int) -> Edges:
    """The edges of faces whose ids are below n and no face's corners repeat."""
    start, end = f.flatten(), f.roll(-1, 1).flatten()
    key = torch.minimum(start, end) * n + torch.maximum(start, end)
    key, edge, count = key.unique(return_inverse=True, return_counts=True)
    return Edges(torch.stack([key // n, key % n], 1), count, edge)


class Sides(NamedTuple):
    """The edges of two faces: their half-edges h and g [I], and whether both run in one direction [I]."""

    h: Tensor
    g: Tensor
    same: Tensor


def sides_of(f: Int[Tensor, "faces 3"], edges: Edges) -> Sides:
    """Neighbours over an edge that are wound against each other are those with `same`."""
    inner = (edges.count[edges.edge] == 2).nonzero()[:, 0]
    h, g = inner[edges.edge[inner].argsort(stable=True)].view(-1, 2).unbind(1)
    start = f.flatten()
    return Sides(h, g, start[h] == start[g])


def unwind(n: int, sides: Sides) -> tuple[Tensor, Tensor]:
    """Which of n faces to flip so that neighbours agree, the fewer of each component; which lie on a
    component that has only one side, where no flipping helps. [k] ids each.
    """
    # Two nodes a face, kept and flipped; links join what fits. One-sided is where a face meets its own back.
    a, b, same = sides.h // 3, sides.g // 3, sides.same
    label = components(2 * n, torch.cat([a, a + n]), torch.cat([b + n * same, b + n * ~same]))
    kept, flipped = label[:n], label[n:]
    one_sided = kept == flipped
    component, turn = torch.minimum(kept, flipped), kept > flipped
    most = torch.bincount(component, turn.double() - 0.5, minlength=n) > 0
    return ((turn ^ most[component]) & ~one_sided).nonzero()[:, 0], one_sided.nonzero()[:, 0]


def wound_alike(f: Tensor, n: int) -> bool:
    """Whether neighbours run through their common edges in opposite directions."""
    return not bool(sides_of(f, edges_of(f, n)).same.any())


def fans_of(f: Tensor, edges: Edges, most: int | None = None) -> Tensor:
    """The fan of each corner, [3F]: faces around a vertex joined by edges there; a fan is named after its
    lowest corner. Edges of more than `most` faces join nothing.
    """
    start, end = f.flatten(), f.roll(-1, 1).flatten()
    h = torch.arange(len(start), device=f.device)
    after = following(h)
    low, high = torch.where(start < end, h, after), torch.where(start < end, after, h)
    first = torch.full_like(edges.count, len(h)).scatter_reduce_(0, edges.edge, h, "amin")[edges.edge]
    use = slice(None) if most is None else edges.count[edges.edge] <= most
    links = [torch.cat([low[use], high[use]]), torch.cat([low[first][use], high[first][use]])]
    return components(len(h), *links)


def components(n: int, a: Tensor, b: Tensor) -> Tensor:
    """The smallest node of each node's connected component, [n] int64, in the graph with the links a[i]–b[i].

    Every node hooks onto the smallest label next door, then labels follow their own labels; both until
    nothing changes (Shiloach and Vishkin 1982).

    >>> components(5, torch.tensor([4, 1]), torch.tensor([1, 2])).tolist()
    [0, 1, 1, 3, 1]
    """
    label = torch.arange(n, device=a.device)
    while True:
        low = torch.minimum(label[a], label[b])
        new = label.clone()
        for end in (label[a], label[b], a, b):
            new.scatter_reduce_(0, end, low, "amin")
        while not torch.equal(new, new[new]):
            new = new[new]
        if torch.equal(new, label):
            return label
        label = new
