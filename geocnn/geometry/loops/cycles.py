"""Cycles of a connection: spanning forests, the cycle that each edge outside a forest closes, and the few
cycles that generate the fundamental group of a mesh.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.half_edges import components
from geocnn.groups.planar import Element, compose, inverse, wrapped


class Forest(NamedTuple):
    """One tree per component of N nodes.

    parent: the next node towards the root; a root is its own parent. edge: the edge that leads there, −1 at a
    root. up: whether that edge has the node as its tail, and the parent as its head.
    """

    parent: Int64[Tensor, " n"]
    edge: Int64[Tensor, " n"]
    up: Bool[Tensor, " n"]

    def paths(self, node: Int64[Tensor, " k"]) -> Int64[Tensor, "k d"]:
        """Return the paths from nodes to their roots; shorter ones repeat the root at the end."""
        path = [node]
        while not torch.equal(self.parent[node], node):
            node = self.parent[node]
            path.append(node)
        return torch.stack(path, 1)

    def to_root(self, connection: Connection) -> tuple[Element, Int64[Tensor, " n"]]:
        """Return (the transport [N] from each node to its root along the tree, the root); by pointer
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


def spanning_forest(n: int, tail: Int64[Tensor, " e"], head: Int64[Tensor, " e"]) -> Forest:
    """Grow a breadth-first tree from the lowest node of each component of n nodes, one level per round.

    >>> spanning_forest(4, torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])).parent.tolist()
    [0, 0, 0, 3]
    """
    node = torch.arange(n, device=tail.device)
    start, order = torch.cat([tail, head]).sort(stable=True)
    to = torch.cat([head, tail])[order]
    ptr = torch.cat([node[:0].new_zeros(1), torch.bincount(start, minlength=n).cumsum(0)])
    in_tree = components(n, tail, head) == node
    via = torch.full_like(node, len(order))
    frontier = node[in_tree]
    while len(frontier):
        counts = ptr.diff()[frontier]
        first = (ptr[frontier] - counts.cumsum(0) + counts).repeat_interleave(counts)
        slot = first + torch.arange(len(first), device=tail.device)
        slot = slot[~in_tree[to[slot]]]
        # the first of several edges to a node enters the tree
        via.scatter_reduce_(0, to[slot], slot, "amin")
        frontier = to[slot[via[to[slot]] == slot]]
        in_tree[frontier] = True
    grown = via < len(order)
    parent, edge, up = node.clone(), torch.full_like(node, -1), torch.zeros_like(grown)
    direction = order[via[grown]]
    parent[grown], edge[grown], up[grown] = start[via[grown]], direction % len(tail), direction >= len(tail)
    return Forest(parent, edge, up)


class Cycles(NamedTuple):
    """Closed paths root → … → tail → head → … → root along a forest, over one more edge each.

    root: the point id of the root. (angle, flip): the transport around the cycle, in the root's gauge.
    """

    forest: Forest
    edge: Int64[Tensor, " c"]
    tail: Int64[Tensor, " c"]
    head: Int64[Tensor, " c"]
    root: Int64[Tensor, " c"]
    angle: Float[Tensor, " c"]
    flip: Bool[Tensor, " c"] | None

    def loops(self, which: Int64[Tensor, " k"]) -> list[Tensor]:
        """Return the point ids of cycles, each from its root on; the step back to it closes the loop."""
        if not len(which):
            return []
        to_tail, from_head = self.forest.paths(self.tail[which]).flip(1), self.forest.paths(self.head[which])
        path = torch.cat([to_tail, from_head], 1)
        moves = torch.cat([torch.ones_like(path[:, :1], dtype=torch.bool), path.diff(dim=1) != 0], 1)
        # the root at the end repeats the one at the start
        return [ids[on][:-1] if int(on.sum()) > 1 else ids[on] for ids, on in zip(path, moves, strict=True)]


def fundamental_cycles(connection: Connection) -> Cycles:
    """Return the cycles that the edges outside a spanning forest close; they generate all cycles.

    >>> square = Connection(torch.tensor([0, 1, 2, 3]), torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.1))
    >>> fundamental_cycles(square).angle
    tensor([-0.4000])
    """
    forest = spanning_forest(connection.n_points, connection.tail, connection.head)
    return closed_by(connection, forest, _outside(forest, len(connection.tail)))


def _outside(forest: Forest, n: int) -> Int64[Tensor, " k"]:
    """Return those of n edges that are not in the forest."""
    outside = torch.ones(n, dtype=torch.bool, device=forest.edge.device)
    outside[forest.edge[forest.edge >= 0]] = False
    return outside.nonzero()[:, 0]


def closed_by(connection: Connection, forest: Forest, edge: Int64[Tensor, " c"]) -> Cycles:
    """Return the cycles that edges close with a forest."""
    tail, head = connection.tail[edge], connection.head[edge]
    if not len(edge):
        return Cycles(forest, edge, tail, head, tail, connection.angle[:0], None)
    g, root = forest.to_root(connection)
    at_tail, at_head = ((g[0][x], None if g[1] is None else g[1][x]) for x in (tail, head))
    over = connection.along(edge, torch.ones_like(edge, dtype=torch.bool))
    angle, flip = compose(at_head, compose(over, inverse(at_tail)))
    return Cycles(forest, edge, tail, head, root[tail], wrapped(angle), flip)


def cotree_complement(
    forest: Forest, here: Int64[Tensor, " e"], beyond: Int64[Tensor, " e"], n_faces: int
) -> Int64[Tensor, " k"]:
    """Return the edges of a mesh that belong to neither of two forests: a spanning forest of its edges, and
    one of the dual edges that do not cross the first.

    Each of these edges closes a loop, and the loops generate the fundamental group (Eppstein 2003). A closed
    component has 2 − χ of them, one with a boundary 1 − χ. here, beyond: the faces on the two sides of each
    edge, −1 beyond the boundary.
    """
    rest = _outside(forest, len(here))
    # one more face lies beyond all boundaries
    across = torch.where(beyond < 0, n_faces, beyond)[rest]
    cotree = spanning_forest(n_faces + 1, here[rest], across)
    return rest[_outside(cotree, len(rest))]
