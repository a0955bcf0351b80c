"""Shortest paths from vertices to all vertices within a radius, by unfolding, for all bases at once.

A shortest path is straight across unfolded faces, and bends only at vertices of more than 2π and on the
boundary (Mitchell, Mount & Papadimitriou 1987). So what a vertex sees is followed outwards as windows.

             c               A window is a bundle of rays across the same edges, laid out in the plane of the
            ╱ ╲              face they started in. It looks across an edge a → b, between its rays `low` and
           ╱   ╲             `high`; c is the third corner of the face behind. Where c lies between the rays
   left   ╱     ╲   right    it is seen, and the window parts in two: rays to the right of c go on across
         b ◂───── a          a → c, those to the left across c → b. In the shadow of a vertex that paths bend
          ╲ ╲   ╱ ╱          at new windows open. A window is dropped where no ray of it gets to its edge
      high ╲ ╲ ╱ ╱ low       within the radius, or where a shorter way is known to all it may see.
             source

A disc of k rings takes some 5 k³ windows a base, each about 60 float64 operations, and holds about 4 k² of
them at once, 96 bytes each.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from geocnn.geometry.core.half_edges import around_face
from geocnn.geometry.meshes.aim import CLOSE, aimed, touching
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.groups.planar import wrapped

SIGHT = 5e-12
"""Radians by which a vertex may lie beside a window and still be seen: so rounding does not lose what lies
exactly behind another vertex where the surface is flat. Also the least angle of a shadow.
"""

ROUNDS = 16
"""Rounds between sortings, which keep the nearest of what is seen, drop windows behind it, and open those in
its shadows. A few rings take one; on a long way windows would multiply without.
"""

OPEN = 200_000
"""Windows meant to be open at once, which says how many bases are taken together: 20 MB, so that a round's
intermediate results stay near the processor.
"""


Rows = TypeVar("Rows", bound=tuple)


class Unfolded(NamedTuple):
    """P pairs (base, vertex), sorted, and the shortest path of each: vector [P] (complex), its length in the
    polar direction in which it leaves the base; arrival [P], the polar direction at the vertex of what is
    parallel to that along the path; met [P], whether the straightest geodesic with that vector ends at the
    vertex (`aiming` says how closely, and turns vectors by as little where it does only then).
    """

    base: Tensor
    vertex: Tensor
    vector: Tensor
    arrival: Tensor
    met: Tensor


class _Sources(NamedTuple):
    """Corners that windows open in: which of the bases [S], the corner's clockwise half-edge [S], the
    distance gone [S] to get there. Behind a bend also the polar direction `leaving` the base and that
    `parallel` to it at the corner, both [S]; NaN at a base.
    """

    base: Tensor
    corner: Tensor
    gone: Tensor
    leaving: Tensor
    parallel: Tensor


class _Windows(NamedTuple):
    """The source [W], the half-edge [W] looked across, where its tail (right) and head (left) lie, and the
    rays low and high as unit vectors; all complex [W], the source at 0, its corner's half-edge along 1.
    """

    source: Tensor
    edge: Tensor
    right: Tensor
    left: Tensor
    low: Tensor
    high: Tensor


class _Seen(NamedTuple):
    """Vertices that sources [P] see: the corner [P] (its clockwise half-edge) they are seen in; complex [P],
    where they and that half-edge as a vector come to lie; whether behind another vertex [P].
    """

    source: Tensor
    corner: Tensor
    place: Tensor
    side: Tensor
    behind: Tensor


def unfold(t: Triangulation, base: Tensor, radius: float) -> Unfolded:
    """The shortest paths no longer than the radius from vertices base [B] to all vertices, a base itself
    among them (vector and arrival 0). Lengths are exact.
    """
    rings = radius / float(t.length.mean()) if len(t.length) else 0.0
    size = max(1, int(OPEN / (12 + 4 * min(rings**2, len(t.vertices)))))
    parts = [_unfold(t, chunk, radius) for chunk in base.split(size)]
    parts = [p._replace(base=p.base + k * size) for k, p in enumerate(parts)]
    return Unfolded(*(torch.cat(x) for x in zip(*parts, strict=True)))


def _unfold(t: Triangulation, base: Tensor, radius: float) -> Unfolded:
    sources, low, high = _around(t, base)
    windows, ends = _open(t, sources, 0, low, high)
    found, known = [_within(ends, sources, radius)], 0
    while True:
        for _ in range(ROUNDS):
            windows, seen = _advance(t, windows, radius - _take(sources.gone, windows.source))
            found.append(seen)
        nearest = _nearest(t, sources, seen := _joined(*found))
        seen, fresh = _chosen(seen, nearest), (nearest >= known).nonzero()[:, 0]
        windows = _not_farther(t, base, sources, windows, seen)
        shadows, low, high = _shadows(t, sources, _chosen(seen, fresh))
        opened, ends = _open(t, shadows, len(sources.base), low, high)
        sources, windows = _joined(sources, shadows), _joined(windows, opened)
        found, known = [seen, _within(ends, sources, radius)], len(seen.source)
        if not len(windows.source):
            return _paths_to(t, base, sources, seen)


def _joined(*parts: Rows) -> Rows:
    """Tuples of tensors, one after the other."""
    return type(parts[0])(*(torch.cat(x) for x in zip(*parts, strict=True)))


def _chosen(values: Rows, k: Tensor) -> Rows:
    """Those k of a tuple's rows."""
    return type(values)(*(_take(x, k) for x in values))


def _take(x: Tensor, k: Tensor) -> Tensor:
    # half the time of x[k]
    return x.index_select(0, k)


def _fan(t: Triangulation, vertex: Tensor) -> tuple[Tensor, Tensor]:
    """All half-edges that leave vertices [K]: (which of the K, half-edge)."""
    counts = t.fan_ptr.diff()[vertex]
    which = torch.repeat_interleave(torch.arange(len(vertex), device=vertex.device), counts)
    rank = torch.arange(len(which), device=vertex.device) - (counts.cumsum(0) - counts)[which]
    return which, t.fan[t.fan_ptr[vertex[which]] + rank]


def _unit(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), angle)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """The signed area of two complex vectors' parallelogram."""
    return (a.conj() * b).imag


def _around(t: Triangulation, base: Tensor) -> tuple[_Sources, Tensor, Tensor]:
    """All corners at the bases, and the angles [S] each spans, from its half-edge on."""
    which, h = _fan(t, base)
    angle = t.angle[h]
    unknown = torch.full_like(angle, math.nan)
    return _Sources(which, h, torch.zeros_like(angle), unknown, unknown), torch.zeros_like(angle), angle


def _open(
    t: Triangulation, sources: _Sources, first: int, low: Tensor, high: Tensor
) -> tuple[_Windows, _Seen]:
    """The windows of sources, numbered from `first`, between angles low and high [S] in their corners, and
    the ends of the edges they look across, where these lie in between.
    """
    h, onward, last = sources.corner, around_face(sources.corner, 1), around_face(sources.corner, 2)
    number = torch.arange(first, first + len(h), device=h.device)
    right = torch.complex(t.length[h], torch.zeros_like(t.length[h]))
    left = torch.polar(t.length[last], t.angle[h])
    along = torch.zeros_like(h, dtype=torch.bool)
    ends = _Seen(number, onward, right, left - right, along), _Seen(number, last, left, -left, along)
    between = (low <= SIGHT).nonzero()[:, 0], (high >= t.angle[h] - SIGHT).nonzero()[:, 0]
    seen = _joined(*(_chosen(x, k) for x, k in zip(ends, between, strict=True)))
    return _Windows(number, onward, right, left, _unit(low), _unit(high)), seen


def _within(seen: _Seen, sources: _Sources, radius: float) -> _Seen:
    near = seen.place.abs() + sources.gone[seen.source] <= radius
    return _chosen(seen, near.nonzero()[:, 0])


def _advance(t: Triangulation, w: _Windows, reach: Tensor) -> tuple[_Windows, _Seen]:
    """Windows one face on, as far as they come within reach [W] of their sources, and what they see there."""
    on_right, on_left, share = (_take(x, w.edge) for x in t.beyond)
    apex = w.left + (w.right - w.left) * share
    r = (apex.real.square() + apex.imag.square()).sqrt()
    above, below, slack = _cross(w.low, apex), _cross(apex, w.high), SIGHT * r
    k = ((above >= -slack) & (below >= -slack) & (r <= reach) & (on_left >= 0)).nonzero()[:, 0]
    behind = torch.minimum(above, below) <= touching(t).clamp_min(SIGHT) * r
    seen = _chosen(_Seen(w.source, on_left, apex, w.left - apex, behind), k)
    # rays on either side of the apex, which may lie beside all of them
    right, left, ray = above > slack, below > slack, apex * (1 / r)
    high, low = torch.where(left, ray, w.high), torch.where(right, ray, w.low)
    right = right & (on_right >= 0) & _reaches(w.right, apex, w.low, high, reach)
    left = left & (on_left >= 0) & _reaches(apex, w.left, low, w.high, reach)
    i, j = right.nonzero()[:, 0], left.nonzero()[:, 0]
    parts = zip(
        (w.source, on_right, w.right, apex, w.low, high), (w.source, on_left, apex, w.left, low, w.high),
        strict=True,
    )  # fmt: skip
    return _Windows(*(torch.cat([_take(x, i), _take(y, j)]) for x, y in parts)), seen


def _reaches(right: Tensor, left: Tensor, low: Tensor, high: Tensor, reach: Tensor) -> Tensor:
    """Whether the part of an edge between two rays comes within reach of 0."""
    edge, area = left - right, _cross(right, left)
    from_low, from_high = low.conj() * edge, high.conj() * edge
    # a ray meets the edge's line at area / (ray × edge); between the rays the line may come nearer still
    foot = (from_low.real <= 0) & (from_high.real >= 0)
    nearest = foot & (area.square() <= reach.square() * (edge.real.square() + edge.imag.square()))
    return (area <= reach * torch.maximum(from_low.imag, from_high.imag)) | nearest


def _shadows(t: Triangulation, sources: _Sources, seen: _Seen) -> tuple[_Sources, Tensor, Tensor]:
    """The corners, and the angles from and to in each, in the shadow of vertices seen: more than π away, on
    either side, from the direction they are seen from.
    """
    vertex = t.tail[seen.corner]
    bends = t.boundary[vertex] | (t.scale[vertex] < 1 - SIGHT)
    seen = _chosen(seen, bends.nonzero()[:, 0])
    distance, leaving, arrival, back = _paths(t, sources, seen)
    vertex = t.tail[seen.corner]
    edge, straight = t.boundary[vertex], math.pi * t.scale[vertex]
    # counter-clockwise up to the boundary, or to π on the other side; on the boundary clockwise as well
    width = torch.cat([t.total[vertex] - torch.where(edge, back + straight, 2 * straight), back - straight])
    start = torch.cat([back + straight, torch.zeros_like(back)])
    k = ((width > SIGHT) & torch.cat([torch.ones_like(edge), edge])).nonzero()[:, 0]
    start, width, k = start[k], width[k], k % max(len(vertex), 1)
    which, h = _fan(t, vertex[k])
    k, scale = k[which], t.scale[t.tail[h]]
    corner, ahead = t.angle[h] * scale, t.polar[h] - start[which]
    ahead = torch.where(edge[k], ahead, (ahead + corner).remainder(2 * math.pi) - corner)
    low, high = (-ahead).clamp_min(0), corner.minimum(width[which] - ahead)
    i = (high - low > SIGHT).nonzero()[:, 0]
    k = k[i]
    made = _Sources(sources.base[seen.source[k]], h[i], distance[k], leaving[k], arrival[k])
    return made, (low / scale)[i], (high / scale)[i]


def _paths(t: Triangulation, sources: _Sources, seen: _Seen) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(distance, direction leaving the base, its parallel at the vertex, direction back from the vertex) [P]:
    directions polar. At a bend the angle to what is parallel stays.
    """
    source, corner = seen.source, seen.corner
    h, at = sources.corner[source], t.tail[corner]
    first = t.polar[h] + torch.angle(seen.place) * t.scale[t.tail[h]]
    back = t.polar[corner] + torch.angle(-seen.place * seen.side.conj()) * t.scale[at]
    bent = ~sources.leaving[source].isnan()
    leaving = torch.where(bent, sources.leaving[source], first)
    parallel = back + math.pi + torch.where(bent, sources.parallel[source] - first, torch.zeros_like(first))
    return seen.place.abs() + sources.gone[source], leaving, parallel, back


def _nearest(t: Triangulation, sources: _Sources, seen: _Seen) -> Tensor:
    """Each pair of a base and a vertex once, where it was found nearest, and first: which of those seen [P],
    sorted by pair.
    """
    key, order = _pair(t, sources, seen).sort(stable=True)
    # along a vertex rounding may favour the path that bends by nothing there over the straight one
    distance = (seen.place.abs() + sources.gone[seen.source] * (1 + 1e-12))[order]
    group = torch.cat([key[:1] * 0, (key.diff() != 0).long().cumsum(0)])
    count = int(group[-1]) + 1 if len(group) else 0
    least = distance.new_full((count,), math.inf).scatter_reduce_(0, group, distance, "amin")
    place = torch.arange(len(key), device=key.device)
    best = place.new_full((count,), len(key)).scatter_reduce_(
        0, group, torch.where(distance == least[group], place, len(key)), "amin"
    )
    return order[best]


def _pair(t: Triangulation, sources: _Sources, seen: _Seen) -> Tensor:
    return sources.base[seen.source] * len(t.vertices) + t.tail[seen.corner]


def _not_farther(t: Triangulation, base: Tensor, sources: _Sources, w: _Windows, nearest: _Seen) -> _Windows:
    """The windows that may hold a shortest path: not those whose last ray is met sooner along the edge, from
    the end on its other side (Xin & Wang 2009, section 3.2).
    """
    if not len(nearest.source):
        return w
    n, owner = len(t.vertices), sources.base[w.source]
    key = _pair(t, sources, nearest)
    distance = nearest.place.abs() + sources.gone[nearest.source]

    def known(vertex: Tensor) -> Tensor:
        wanted = owner * n + vertex
        at = torch.searchsorted(key, wanted).clamp_max(len(key) - 1)
        d = torch.where(key[at] == wanted, distance[at], math.inf)
        return torch.where(base[owner] == vertex, torch.zeros_like(d), d)

    gone, edge, area = sources.gone[w.source], w.left - w.right, _cross(w.right, w.left)
    keeps = torch.ones_like(owner, dtype=torch.bool)
    for ray, end, vertex in (
        (w.high, w.right, t.tail[w.edge]), (w.low, w.left, t.tail[around_face(w.edge, 1)])
    ):  # fmt: skip
        r = area / _cross(ray, edge)
        keeps &= known(vertex) + (r * ray - end).abs() >= (gone + r) * (1 - 1e-9)
    return _chosen(w, keeps.nonzero()[:, 0])


def _paths_to(t: Triangulation, base: Tensor, sources: _Sources, seen: _Seen) -> Unfolded:
    """The paths to what was seen, and from each base to itself."""
    n, pair = len(t.vertices), _pair(t, sources, seen)
    # not the way back to a base around a limb
    out = (t.tail[seen.corner] != base[sources.base[seen.source]]).nonzero()[:, 0]
    seen = _chosen(seen, out)
    distance, leaving, arrival, back = _paths(t, sources, seen)
    met = sources.leaving[seen.source].isnan()
    # two boundary edges of a vertex of 2π or more have one direction
    doubted = [(met & (seen.behind | (leaving > 2 * math.pi - SIGHT))).nonzero()[:, 0]]
    # what bends by as much on both sides of a vertex is parallel to itself
    bent = (~met).nonzero()[:, 0]
    doubted.append(bent[wrapped(arrival[bent] - back[bent] - math.pi).abs() <= CLOSE])
    k = torch.cat(doubted)
    start, goal = base[sources.base[seen.source[k]]], t.tail[seen.corner[k]]
    turn, met[k] = aimed(t, start, leaving[k], distance[k], goal)
    leaving[k], arrival[k] = leaving[k] + turn, arrival[k] + turn
    own = torch.arange(len(base), device=base.device) * n + base
    still = torch.zeros_like(own, dtype=distance.dtype)
    key, order = torch.cat([pair[out], own]).sort()
    vector = torch.cat([torch.polar(distance, leaving), torch.complex(still, still)])
    arrival, met = torch.cat([arrival, still]), torch.cat([met, torch.ones_like(own, dtype=torch.bool)])
    return Unfolded(key // n, key % n, vector[order], arrival[order], met[order])
