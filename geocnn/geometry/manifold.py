"""What can be wrong with a triangle list, as functions of its vertices and faces; the verdict is `defects`'.

A corner is a pair (face, place), numbered 3·face + place; half-edge h leaves corner h for the next corner of
its face.

            2                 half-edge 3f     goes 0 → 1
           / \\                half-edge 3f + 1 goes 1 → 2
          /   \\               half-edge 3f + 2 goes 2 → 0
         0 --- 1
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FLAT = 1e-10
"""The height of a face over its longest edge at which it counts as a line.

At a thousand edges from the origin coordinates are rounded by 1e-13 edges, so at 1e-10 the height, and with
it the face's plane, still has three digits.
"""


SMALLEST_AREA = (torch.finfo(torch.float64).tiny / torch.finfo(torch.float64).eps) ** 0.5
"""About 1e-146: the square of a smaller area, which norms pass through, has fewer than 16 digits."""


def not_finite(v: Tensor) -> Tensor:
    """Vertices with NaN or infinity, [k] ids."""
    return _ids(~v.isfinite().all(1))


def first_in_place(v: Tensor) -> Tensor:
    """The first vertex that has each vertex's coordinates, to the last bit, [N] ids; 0 and −0 are one."""
    every, finite = torch.arange(len(v), device=v.device), v.isfinite().all(1)
    key = torch.zeros_like(every)
    for x in torch.where(finite[:, None], v + 0.0, 0.0).unbind(1):
        key = (key * len(v) + x.unique(return_inverse=True)[1]).unique(return_inverse=True)[1]
    key = torch.where(finite, key, len(v) + every)
    return torch.full((2 * len(v),), len(v), device=v.device).scatter_reduce_(0, key, every, "amin")[key]


def out_of_range(f: Tensor, n: int) -> Tensor:
    """Faces with ids of none of n vertices, [k] ids."""
    return _ids(((f < 0) | (f >= n)).any(1))


def repeated_corners(f: Tensor) -> Tensor:
    """Faces with one vertex at two corners, [k] ids."""
    return _ids((f == f.roll(1, 1)).any(1))


def first_alike(f: Tensor, n: int) -> Tensor:
    """The first face that has each face's three corners, in whatever order, [F] ids."""
    low, middle, high = f.sort(1).values.unbind(1)
    pair = (low * n + middle).unique(return_inverse=True)[1]
    place = (pair * n + high).unique(return_inverse=True)[1]
    every = torch.arange(len(f), device=f.device)
    return torch.full_like(every, len(f)).scatter_reduce_(0, place, every, "amin")[place]


def without_area(v: Tensor, f: Tensor) -> Tensor:
    """Faces whose height is at most FLAT of their longest edge, [k] ids."""
    corners = v[f]
    edges = corners.roll(-1, 1) - corners
    edges = edges / _tiny_at_least(
        edges.abs().amax((1, 2), keepdim=True)
    )  # first, for its square may not be a number
    edges = edges / _tiny_at_least(torch.linalg.vector_norm(edges, dim=-1).amax(1))[:, None, None]
    height = torch.linalg.vector_norm(torch.linalg.cross(edges[:, 0], edges[:, 1], dim=-1), dim=-1)
    return _ids(height <= FLAT)


def out_of_scale(v: Tensor, f: Tensor) -> Tensor:
    """Faces whose area cannot be computed in double precision: edges below 1e-73 or above 1e77, [k] ids."""
    a, b, c = v[f].unbind(1)
    area = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a, dim=-1), dim=-1)
    return _ids(~((area > SMALLEST_AREA) & area.isfinite()))


class Edges(NamedTuple):
    """The E edges of F faces: their ends [E, 2], the lower first; how many faces each has [E]; the edge of
    each half-edge [3F].
    """

    ends: Tensor
    count: Tensor
    edge: Tensor


def edges_of(f: Tensor, n: int) -> Edges:
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


def sides_of(f: Tensor, edges: Edges) -> Sides:
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
    return _ids((turn ^ most[component]) & ~one_sided), _ids(one_sided)


def wound_alike(f: Tensor, n: int) -> bool:
    """Whether neighbours run through their common edges in opposite directions."""
    return not bool(sides_of(f, edges_of(f, n)).same.any())


def fans_of(f: Tensor, edges: Edges, most: int | None = None) -> Tensor:
    """The fan of each corner, [3F]: faces around a vertex joined by edges there; a fan is named after its
    lowest corner. Edges of more than `most` faces join nothing.
    """
    start, end = f.flatten(), f.roll(-1, 1).flatten()
    h = torch.arange(len(start), device=f.device)
    after = h - h % 3 + (h + 1) % 3
    low, high = torch.where(start < end, h, after), torch.where(start < end, after, h)
    first = torch.full_like(edges.count, len(h)).scatter_reduce_(0, edges.edge, h, "amin")[edges.edge]
    use = slice(None) if most is None else edges.count[edges.edge] <= most
    links = [torch.cat([low[use], high[use]]), torch.cat([low[first][use], high[first][use]])]
    return components(len(h), *links)


def pinched(f: Tensor, fans: Tensor) -> Tensor:
    """Vertices that join several fans, [k] ids."""
    return _ids(torch.bincount(f.flatten()[fans.unique()]) > 1)


def lengths(x: Tensor) -> Tensor:
    """Of vectors [..., 3], even where their squares are no numbers."""
    largest = x.abs().amax(-1, keepdim=True)
    return largest[..., 0] * torch.linalg.vector_norm(x / _tiny_at_least(largest), dim=-1)


def unit(x: Tensor) -> Tensor:
    """Vectors [..., 3] divided by their lengths; 0 stays 0."""
    x = x / _tiny_at_least(x.abs().amax(-1, keepdim=True))
    return x / _tiny_at_least(torch.linalg.vector_norm(x, dim=-1, keepdim=True))


def _tiny_at_least(x: Tensor) -> Tensor:
    return x.clamp_min(torch.finfo(torch.float64).tiny)


def _ids(where: Tensor) -> Tensor:
    return where.nonzero()[:, 0]


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


def listed(where: Tensor) -> str:
    """The first eight elements; edges as (a, b)."""
    ids = where.nonzero()[:, 0] if where.dtype == torch.bool else where
    shown = [str(tuple(i) if isinstance(i, list) else i) for i in ids[:8].tolist()]
    rest = len(ids) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
