"""Faces without area are removed from a mesh in such a way that a closed surface stays closed.

A face without area is a needle, with an edge of almost no length, or a cap, one corner of which lies on the
opposite edge. Collapsing the short edge removes a needle, flipping the long edge removes a cap:

          d                       d
        /   \\                   / | \\
      a --c-- b    becomes     a  |  b         c lies on the edge a b, to within rounding
        \\ | /                  \\ | /
          c                       c

Neither is done where it would change the topology, fold the surface over, or make another such face. At a
boundary a face without area is dropped. A face that cannot be mended in any of these ways is nudged: a corner
moves by about 1e-8 of the mesh's size, which gives the face an area.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from geocnn.geometry.core import half_edges
from geocnn.geometry.doctor import faults

SHORT = 10 * faults.FLAT
"""In a face without area, edges up to this fraction of the longest edge are collapsed."""

NUDGE = 1e-8
"""The fraction of the mesh's size, which no edge exceeds: a hundred times the height that a face needs."""

MOST_NUDGES = 10
"""Each nudge doubles the distance: none exceeds 1e-5 of the mesh's size."""


@dataclass(frozen=True)
class Faces:
    """Faces `corners` on vertices `points`, which may move.

    They take the attributes of the old corners `corner` and the old faces `face`; each replaces the old face
    `slot`.
    """

    points: Float64[Tensor, "n 3"]
    corners: Int64[Tensor, "f 3"]
    corner: Int64[Tensor, "f 3"]
    face: Int64[Tensor, " f"]
    slot: Int64[Tensor, " f"]

    def kept(self, keep: Bool[Tensor, " f"]) -> Faces:
        """Return the faces in the mask."""
        return Faces(self.points, *(x[keep] for x in (self.corners, self.corner, self.face, self.slot)))

    @cached_property
    def edges(self) -> half_edges.Edges:
        return half_edges.edges_of(self.corners, len(self.points))

    @cached_property
    def count(self) -> Int64[Tensor, "f 3"]:
        """Return the number of faces at each face's edges; edge k leads from corner k to the next."""
        return self.edges.count[self.edges.edge].view(-1, 3)

    @cached_property
    def rim(self) -> Bool[Tensor, " n"]:
        """Return whether each vertex is on the boundary."""
        rim = torch.zeros(len(self.points), dtype=torch.bool)
        rim[self.edges.ends[self.edges.count == 1]] = True
        return rim

    @cached_property
    def length(self) -> Float64[Tensor, "f 3"]:
        """Return the lengths of each face's edges."""
        return faults.lengths(self.points[self.corners.roll(-1, 1)] - self.points[self.corners])

    @cached_property
    def flat(self) -> Int64[Tensor, " k"]:
        """Return the ids of faces without area."""
        return flat_among(self.points, self.corners).nonzero()[:, 0]

    @cached_property
    def around(self) -> tuple[Int64[Tensor, " corners"], Int64[Tensor, " n_1"]]:
        """Return corners in the order of their vertices, and where those of each vertex begin."""
        corner = self.corners.flatten()
        begin = torch.bincount(corner, minlength=len(self.points)).cumsum(0)
        return corner.argsort(stable=True), torch.cat([begin.new_zeros(1), begin])

    def star(self, vertex: Int64[Tensor, " k"]) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
        """Return all pairs (row, face) of the given vertices and the faces around each."""
        order, begin = self.around
        many = begin[vertex + 1] - begin[vertex]
        row = torch.arange(len(vertex)).repeat_interleave(many)
        step = torch.arange(len(row)) - (many.cumsum(0) - many)[row]
        return row, order[begin[vertex][row] + step] // 3


def flat_among(points: Float64[Tensor, "n 3"], corners: Int64[Tensor, "f 3"]) -> Bool[Tensor, " f"]:
    """Return whether faces have no area; False for those with a corner that is not finite."""
    flat = torch.zeros(len(corners), dtype=torch.bool)
    known = points[corners].isfinite().all(-1).all(-1).nonzero()[:, 0]
    flat[known[faults.without_area(points, corners[known])]] = True
    return flat


def mend(faces: Faces) -> tuple[Faces, Int64[Tensor, " n"], dict[str, int]]:
    """Mend flat faces; also return the new id of each vertex and the number of changes of each kind."""
    vertex_map = torch.arange(len(faces.points))
    done = {"left out": 0, "collapsed": 0, "flipped": 0, "nudged": 0}
    nudges = 0
    # every change leaves fewer faces, fewer flat ones, or shorter flat ones, so the loop ends
    while len(faces.flat):
        for name, change in CHANGES.items():
            new, moved, k = change(faces)
            if k:
                faces, vertex_map = new, moved[vertex_map]
                done[name] += k
                break
        else:
            if nudges == MOST_NUDGES:
                break
            faces, k = _nudged(faces, NUDGE * 2**nudges, nudges)
            done["nudged"] += k
            nudges += 1
    return faces, vertex_map, done


Change = Callable[[Faces], tuple[Faces, Int64[Tensor, " n"], int]]
"""A Change returns the new faces, the new id of each vertex, and the number of places it changed."""


def _without_rim(faces: Faces) -> tuple[Faces, Int64[Tensor, " n"], int]:
    """Drop flat faces at the boundary, and flaps, where that makes no hole and no pinch."""
    single, count = faces.count == 1, faces.count
    opposite = faces.corners.roll(1, 1)  # corner k − 1 faces edge k
    fins = (count % 2 == 1).all(1)
    most = single.sum(1)
    ears = (most >= 2) | ((most == 1) & (single & ~faces.rim[opposite]).any(1))
    ears &= (single | (count == 2)).all(1)
    chosen = faces.flat[(fins | ears)[faces.flat]]
    row = torch.arange(len(chosen)).repeat_interleave(3)
    chosen = chosen[_apart(row, faces.corners[chosen].flatten(), len(chosen), len(faces.points))]
    keep = torch.ones(len(faces.corners), dtype=torch.bool)
    keep[chosen] = False
    return faces.kept(keep), torch.arange(len(faces.points)), len(chosen)


def _collapsed(faces: Faces) -> tuple[Faces, Int64[Tensor, " n"], int]:
    """Merge the ends of short edges into the first of both."""
    length, ids = faces.length[faces.flat], faces.flat
    short = length.amin(1) <= SHORT * length.amax(1)
    place = length.argmin(1)[short]
    edge = faces.edges.edge.view(-1, 3)[ids[short], place].unique()
    stays, goes = faces.edges.ends[edge].unbind(1)
    legal = _links_meet(faces, edge, stays, goes) & ~_folds(faces, stays, goes)
    edge, stays, goes = edge[legal], stays[legal], goes[legal]
    (r, f), (s, g) = faces.star(stays), faces.star(goes)
    row, touched = torch.cat([r, s]).repeat_interleave(3), faces.corners[torch.cat([f, g])].flatten()
    chosen = _apart(row, touched, len(edge), len(faces.points))
    moved = torch.arange(len(faces.points))
    moved[goes[chosen]] = stays[chosen]
    new = Faces(faces.points, moved[faces.corners], faces.corner, faces.face, faces.slot)
    keep = torch.ones(len(faces.corners), dtype=torch.bool)
    keep[faults.repeated_corners(new.corners)] = False
    return new.kept(keep), moved, int(chosen.sum())


def _links_meet(
    faces: Faces, edge: Int64[Tensor, " k"], a: Int64[Tensor, " k"], b: Int64[Tensor, " k"]
) -> Bool[Tensor, " k"]:
    """Return whether collapsing edges a b preserves the topology (Dey et al. 1999).

    It does if the vertices next to both ends are those opposite the edge, no two faces become one, and no
    boundary is pinched.
    """
    k, n = len(edge), len(faces.points)
    count = faces.edges.count[edge]
    near, sets = [], []
    for end, other in ((a, b), (b, a)):
        row, face = faces.star(end)
        corners = faces.corners[face]
        near.append((row[:, None] * n + corners)[(corners != end[row, None]) & (corners != other[row, None])])
        apart = ~(corners == other[row, None]).any(1)
        renamed = torch.where(corners == b[row, None], a[row, None], corners).sort(1).values
        sets.append(torch.cat([row[:, None], renamed], 1)[apart])
    shared, often = torch.cat([x.unique() for x in near]).unique(return_counts=True)
    common = torch.bincount(shared[often == 2] // n, minlength=k)
    rows, often = torch.cat(sets).unique(dim=0, return_counts=True)
    doubled = torch.bincount(rows[:, 0][often > 1], minlength=k) > 0
    pinched = faces.rim[a] & faces.rim[b] & (count == 2)
    return (count <= 2) & (common == count) & ~doubled & ~pinched


def _folds(faces: Faces, stays: Int64[Tensor, " k"], goes: Int64[Tensor, " k"]) -> Bool[Tensor, " k"]:
    """Return whether a face with an area turns over or loses it when `goes` becomes `stays`."""
    row, face = faces.star(goes)
    corners = faces.corners[face]
    apart = ~(corners == stays[row, None]).any(1) & ~flat_among(faces.points, corners)
    row, corners = row[apart], corners[apart]
    after = torch.where(corners == goes[row, None], stays[row, None], corners)
    upright = (_normals(faces.points, corners) * _normals(faces.points, after)).sum(1) > 0
    upright &= ~flat_among(faces.points, after)
    return torch.bincount(row[~upright], minlength=len(goes)) > 0


def _flipped(faces: Faces) -> tuple[Faces, Int64[Tensor, " n"], int]:
    """Flip the longest edges of caps."""
    corners, n = faces.corners, len(faces.points)
    every = torch.arange(corners.numel())
    sums = torch.zeros_like(faces.edges.count).scatter_add_(0, faces.edges.edge, every)
    h = 3 * faces.flat + faces.length[faces.flat].argmax(1)
    h = h[faces.edges.count[faces.edges.edge[h]] == 2]
    g = sums[faces.edges.edge[h]] - h  # the other half-edge of that edge
    (f, i), (o, j) = (h // 3, h % 3), (g // 3, g % 3)
    # places of a, b, c in the flat face; of d, a, b in the other one, however it is wound
    at = torch.stack([i, (i + 1) % 3, (i + 2) % 3], 1)
    a, b, c = corners[f[:, None], at].unbind(1)
    d = corners[o, (j + 2) % 3]
    a_there = torch.where(corners[o, j] == a, j, (j + 1) % 3)
    b_there = torch.where(corners[o, j] == a, (j + 1) % 3, j)
    first, second = torch.stack([a, d, c], 1), torch.stack([d, b, c], 1)
    legal = (c != d) & ~_has_edge(faces.edges, c, d, n)
    good, shorter = _improves(faces.points, a, b, c, d)
    legal &= good if bool((legal & good).any()) else shorter
    touched = torch.stack([a, b, c, d], 1)[legal]
    row = torch.arange(len(touched)).repeat_interleave(4)
    chosen = legal.nonzero()[:, 0][_apart(row, touched.flatten(), len(touched), n)]
    f, o, at = f[chosen], o[chosen], at[chosen]
    own = faces.corner[f[:, None], at]
    there = torch.stack([a_there, b_there, (j + 2) % 3], 1)[chosen]
    theirs = faces.corner[o[:, None], there]
    new_corners, corner, face = corners.clone(), faces.corner.clone(), faces.face.clone()
    new_corners[f], new_corners[o] = first[chosen], second[chosen]
    corner[f] = torch.stack([theirs[:, 0], theirs[:, 2], own[:, 2]], 1)
    corner[o] = torch.stack([theirs[:, 2], theirs[:, 1], own[:, 2]], 1)
    face[f] = faces.face[o]
    return Faces(faces.points, new_corners, corner, face, faces.slot), torch.arange(n), len(chosen)


def _improves(
    points: Float64[Tensor, "n 3"],
    a: Int64[Tensor, " k"],
    b: Int64[Tensor, " k"],
    c: Int64[Tensor, " k"],
    d: Int64[Tensor, " k"],
) -> tuple[Bool[Tensor, " k"], Bool[Tensor, " k"]]:
    """Return whether flipping the edge a b of a cap with the corner c is good, and whether it helps at least.

    It is good if both new faces have an area and the orientation of the face beyond the edge. Where that face
    is flat too, it helps if the new edge is shorter.
    """
    first, second, beyond = (torch.stack(x, 1) for x in ((a, d, c), (d, b, c), (b, a, d)))
    flat = flat_among(points, beyond)
    normal = _normals(points, beyond)
    good = ~flat_among(points, first) & ~flat_among(points, second)
    good &= (_normals(points, first) * normal).sum(1) > 0
    good &= (_normals(points, second) * normal).sum(1) > 0
    shorter = faults.lengths(points[d] - points[c]) < faults.lengths(points[b] - points[a])
    return good & ~flat, flat & shorter


def _has_edge(
    edges: half_edges.Edges, a: Int64[Tensor, " k"], b: Int64[Tensor, " k"], n: int
) -> Bool[Tensor, " k"]:
    keys = edges.ends[:, 0] * n + edges.ends[:, 1]  # in ascending order
    key = torch.minimum(a, b) * n + torch.maximum(a, b)
    return keys[torch.searchsorted(keys, key).clamp_max(len(keys) - 1)] == key


def _nudged(faces: Faces, share: float, seed: int) -> tuple[Faces, int]:
    """Move the corner opposite the longest edge of each flat face, by a fraction of the mesh's size."""
    opposite = (faces.length[faces.flat].argmax(1) + 2) % 3
    at = faces.corners[faces.flat, opposite].unique()
    used = faces.points[faces.corners.unique()]
    used = used[used.isfinite().all(1)]
    size = float((used.amax(0) / 2 - used.amin(0) / 2).amax()) * 2
    # rounding would swallow a shorter nudge where the mesh lies far from the origin
    distance = max(share * size, 1e3 * torch.finfo(torch.float64).eps * float(used.abs().max()))
    g = torch.Generator().manual_seed(seed)
    step = torch.randn(len(at), 3, generator=g, dtype=torch.float64)
    points = faces.points.clone()
    points[at] += distance * step / step.norm(dim=1, keepdim=True)
    return Faces(points, faces.corners, faces.corner, faces.face, faces.slot), len(at)


CHANGES: dict[str, Change] = {"left out": _without_rim, "collapsed": _collapsed, "flipped": _flipped}
"""The changes in the order of the attempts."""


def _apart(
    row: Int64[Tensor, " pairs"], vertex: Int64[Tensor, " pairs"], k: int, n: int
) -> Bool[Tensor, " {k}"]:
    """Return which of k places share no vertex with an earlier one, so that they can be changed at once.

    Pairs (row, vertex) list the vertices that each place touches. The first place can always be changed.
    """
    first = torch.full((n,), k).scatter_reduce_(0, vertex, row, "amin")
    chosen = torch.ones(k, dtype=torch.bool)
    chosen[row[first[vertex] != row]] = False
    return chosen


def _normals(points: Float64[Tensor, "n 3"], corners: Int64[Tensor, "f 3"]) -> Float64[Tensor, "f 3"]:
    """Return unit normals; 0 where an edge has no length."""
    a, b, c = points[corners].unbind(1)
    u, w = faults.unit(b - a), faults.unit(c - a)
    return faults.unit(torch.linalg.cross(u, w, dim=-1))
