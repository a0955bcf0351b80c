"""Half-edges of lists of triangles say which faces meet over edges and around vertices, and how they run.

Half-edge h = 3·face + k leads from corner k of its face to the next one; the corner has the same number.

            2                 half-edge 3f     goes 0 → 1
           / \\                half-edge 3f + 1 goes 1 → 2
          /   \\               half-edge 3f + 2 goes 2 → 0
         0 --- 1

Nothing here needs the faces to form a surface.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor


def around_face(h: Int[Tensor, " k"], k: int) -> Int[Tensor, " k"]:
    """Return the half-edges k steps after h, counter-clockwise in their faces."""
    return h - h % 3 + (h + k) % 3


def following(h: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
    """Return the half-edges after h, counter-clockwise in their faces.

    >>> following(torch.tensor([0, 2, 4])).tolist()
    [1, 0, 5]
    """
    return around_face(h, 1)


def preceding(h: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
    """Return the half-edges before h, counter-clockwise in their faces.

    >>> preceding(torch.tensor([0, 2, 4])).tolist()
    [2, 1, 3]
    """
    return around_face(h, 2)


class Edges(NamedTuple):
    """The edges of faces: their ends (the lower id first), the number of faces of each, and the edge of each
    half-edge.
    """

    ends: Int64[Tensor, "e 2"]
    count: Int64[Tensor, " e"]
    edge: Int64[Tensor, " h"]


def edges_of(f: Int[Tensor, "faces 3"], n: int) -> Edges:
    """Return the edges of faces; ids are below n, and no face names a vertex twice.

    >>> edges_of(torch.tensor([[0, 1, 2]]), 3).ends.tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    start, end = f.flatten(), f.roll(-1, 1).flatten()
    key = torch.minimum(start, end) * n + torch.maximum(start, end)
    key, edge, count = key.unique(return_inverse=True, return_counts=True)
    return Edges(torch.stack([key // n, key % n], 1), count, edge)


class Sides(NamedTuple):
    """The inner edges, which have two faces: both half-edges h and g, and whether they run in the same
    direction.
    """

    h: Int64[Tensor, " inner"]
    g: Int64[Tensor, " inner"]
    same: Bool[Tensor, " inner"]


def sides_of(f: Int[Tensor, "faces 3"], edges: Edges) -> Sides:
    """Return the half-edges of each inner edge; two faces are wound against each other where `same`."""
    inner = (edges.count[edges.edge] == 2).nonzero()[:, 0]
    h, g = inner[edges.edge[inner].argsort(stable=True)].view(-1, 2).unbind(1)
    start = f.flatten()
    return Sides(h, g, start[h] == start[g])


def unwind(n: int, sides: Sides) -> tuple[Int64[Tensor, " k"], Int64[Tensor, " one_sided"]]:
    """Return which of n faces to flip so that neighbours agree, and which have only one side.

    The fewer faces of each component are flipped. On a one-sided component no flipping helps.
    """
    # Each face makes two nodes, upright and flipped; links join the states of neighbours that agree. Where
    # both nodes of a face are connected, its component is one-sided.
    a, b, same = sides.h // 3, sides.g // 3, sides.same
    label = components(2 * n, torch.cat([a, a + n]), torch.cat([b + n * same, b + n * ~same]))
    upright, flipped = label[:n], label[n:]
    one_sided = upright == flipped
    component, turn = torch.minimum(upright, flipped), upright > flipped
    most = torch.bincount(component, turn.double() - 0.5, minlength=n) > 0
    return ((turn ^ most[component]) & ~one_sided).nonzero()[:, 0], one_sided.nonzero()[:, 0]


def wound_alike(f: Int[Tensor, "faces 3"], n: int) -> bool:
    """Return whether neighbours run through their common edges in opposite directions."""
    return not bool(sides_of(f, edges_of(f, n)).same.any())


def fans_of(f: Int[Tensor, "faces 3"], edges: Edges, most: int | None = None) -> Int64[Tensor, " h"]:
    """Return the fan of each corner, named after the fan's lowest corner.

    A fan is a set of faces around a vertex that are joined by edges there. Edges of more than `most` faces
    join nothing.
    """
    start, end = f.flatten(), f.roll(-1, 1).flatten()
    h = torch.arange(len(start), device=f.device)
    after = following(h)
    low, high = torch.where(start < end, h, after), torch.where(start < end, after, h)
    first = torch.full_like(edges.count, len(h)).scatter_reduce_(0, edges.edge, h, "amin")[edges.edge]
    use = slice(None) if most is None else edges.count[edges.edge] <= most
    links = [torch.cat([low[use], high[use]]), torch.cat([low[first][use], high[first][use]])]
    return components(len(h), *links)


def components(n: int, a: Int[Tensor, " k"], b: Int[Tensor, " k"]) -> Int64[Tensor, " {n}"]:
    """Return the smallest node of each node's connected component, in the graph with the links a[i]–b[i].

    Every node takes the smallest label of its neighbours, then labels follow their own labels; both are
    repeated until nothing changes (Shiloach and Vishkin 1982).

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
