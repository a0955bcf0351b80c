"""Cycles of a connection: spanning forests, the cycle each other edge closes, and the few that generate a
mesh's fundamental group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.half_edges import components
from geocnn.groups.planar import Element, compose, inverse, wrapped


class Forest(NamedTuple):
    """A tree in each component of N nodes: parent [N] (a root's is itself), the edge [N] that leads there (−1
    at roots) and whether it leads up, the node its tail [N].
    """

    parent: Tensor
    edge: Tensor
    up: Tensor

    def paths(self, node: Tensor) -> Tensor:
        """The ways of nodes [K] to their roots, [K, D], the root repeated at the end."""
        way = [node]
        while not torch.equal(self.parent[node], node):
            node = self.parent[node]
            way.append(node)
        return torch.stack(way, 1)

    def to_root(self, connection: Connection) -> tuple[Element, Tensor]:
        """The elements [N] that carry from each node to its root along the tree, and the root [N]; by pointer
        doubling.
        """
        up, low = self.parent, self.edge < 0
        angle, flip = connection.along(self.edge.clamp_min(0), self.up)
        angle = torch.where(low, torch.zeros_like(angle), angle)
        g = angle, None if flip is None else flip & ~low
        while not torch.equal(up, up[up]):
            g = compose((g[0][up], None if g[1] is None else g[1][up]), g)
            up = up[up]
        return g, up


def spanning_forest(n: int, tail: Tensor, head: Tensor) -> Forest:
    """A breadth-first tree from the smallest of the n nodes of each component, one level a round.

    >>> spanning_forest(4, torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])).parent.tolist()
    [0, 0, 0, 3]
    """
    node = torch.arange(n, device=tail.device)
    start, order = torch.cat([tail, head]).sort(stable=True)
    to = torch.cat([head, tail])[order]
    ptr = torch.cat([node[:0].new_zeros(1), torch.bincount(start, minlength=n).cumsum(0)])
    seen = components(n, tail, head) == node
    via = torch.full_like(node, len(order))
    frontier = node[seen]
    while len(frontier):
        counts = ptr.diff()[frontier]
        first = (ptr[frontier] - counts.cumsum(0) + counts).repeat_interleave(counts)
        slot = first + torch.arange(len(first), device=tail.device)
        slot = slot[~seen[to[slot]]]
        # a node that several lead to is reached by the first
        via.scatter_reduce_(0, to[slot], slot, "amin")
        frontier = to[slot[via[to[slot]] == slot]]
        seen[frontier] = True
    grown = via < len(order)
    parent, edge, up = node.clone(), torch.full_like(node, -1), torch.zeros_like(grown)
    way = order[via[grown]]
    parent[grown], edge[grown], up[grown] = start[via[grown]], way % len(tail), way >= len(tail)
    return Forest(parent, edge, up)


class Cycles(NamedTuple):
    """C closed ways: root → … → tail → head → … → root along a forest and over one more edge [C] each;
    (angle, flip) [C] is the transport around, in the root's gauge, and root [C] the root's id.
    """

    forest: Forest
    edge: Tensor
    tail: Tensor
    head: Tensor
    root: Tensor
    angle: Tensor
    flip: Tensor | None

    def loops(self, which: Tensor) -> list[Tensor]:
        """The point ids of cycles [K], each from its root on; the step back to it closes the loop."""
        if not len(which):
            return []
        there, back = self.forest.paths(self.tail[which]).flip(1), self.forest.paths(self.head[which])
        way = torch.cat([there, back], 1)
        moves = torch.cat([torch.ones_like(way[:, :1], dtype=torch.bool), way.diff(dim=1) != 0], 1)
        # the root at the end is the one at the start
        return [ids[on][:-1] if int(on.sum()) > 1 else ids[on] for ids, on in zip(way, moves, strict=True)]


def fundamental_cycles(connection: Connection) -> Cycles:
    """The cycles that the edges outside a spanning forest close: they generate all others.

    >>> square = Connection(torch.tensor([0, 1, 2, 3]), torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.1))
    >>> fundamental_cycles(square).angle
    tensor([-0.4000])
    """
    forest = spanning_forest(connection.n_points, connection.tail, connection.head)
    return closed_by(connection, forest, _outside(forest, len(connection.tail)))


def _outside(forest: Forest, n: int) -> Tensor:
    """Those of n edges that are not in the forest."""
    outside = torch.ones(n, dtype=torch.bool, device=forest.edge.device)
    outside[forest.edge[forest.edge >= 0]] = False
    return outside.nonzero()[:, 0]


def closed_by(connection: Connection, forest: Forest, edge: Tensor) -> Cycles:
    """The cycles that edges [C] close with a forest."""
    tail, head = connection.tail[edge], connection.head[edge]
    if not len(edge):
        return Cycles(forest, edge, tail, head, tail, connection.angle[:0], None)
    g, root = forest.to_root(connection)
    at_tail, at_head = ((g[0][x], None if g[1] is None else g[1][x]) for x in (tail, head))
    over = connection.along(edge, torch.ones_like(edge, dtype=torch.bool))
    angle, flip = compose(at_head, compose(over, inverse(at_tail)))
    return Cycles(forest, edge, tail, head, root[tail], wrapped(angle), flip)


def cotree_complement(forest: Forest, here: Tensor, beyond: Tensor, n_faces: int) -> Tensor:
    """The edges left over by a spanning forest of a mesh's edges [E], and by one of the dual edges that cross
    none of it: each closes a loop, and these loops generate the fundamental group (Eppstein 2003).

    here, beyond [E]: the faces on either side of the edges, beyond the boundary −1. Of a component's loops
    there are 2 − χ where it is closed, else 1 − χ.
    """
    rest = _outside(forest, len(here))
    # beyond every boundary lies one more face
    across = torch.where(beyond < 0, n_faces, beyond)[rest]
    cotree = spanning_forest(n_faces + 1, here[rest], across)
    return rest[_outside(cotree, len(rest))]
