"""Shortest paths from vertices to all vertices within a radius, by unfolding; all bases are computed at once.

A shortest path is straight in faces that are unfolded into one plane. It bends only at vertices whose corners
sum to more than 2π, and on the boundary (Mitchell, Mount & Papadimitriou 1987). The algorithm therefore looks
outwards from each base vertex, face by face, and keeps for each vertex the shortest line of sight.

           c            A *window* is a bundle of rays that leave one *source* and cross the same edges. It
          ╱ ╲           lies in the plane of the source's face, and looks across an edge a → b, between its
         ╱   ╲          rays `low` and `high`; c is the third corner of the face behind that edge.
 left = b ◂── a = right
         ╲   ╱          In each round a window moves on by one face. If c lies between its rays, the source
     high ╲ ╱ low       sees c, and the ray through c splits the window: the right part continues across
        source          a → c, the left part across c → b. A part farther than the radius is dropped.

     ╲ shadow ╱         Behind a vertex v whose corners sum to more than 2π lies a *shadow*, which no ray
      ╲      ╱          enters: the directions more than π from the way back, on both sides. The shortest
       ╲    ╱           paths into it bend at v. So v becomes a source itself, whose windows fill the shadow.
        ╲  ╱            A boundary vertex is treated in the same way.
          v
          │             Every few rounds the nearest sighting of each vertex is determined. Windows that
        source          cannot hold a shortest path are dropped, and new windows open in the shadows.

A disc of k rings takes about 5 k³ windows per base, each about 60 float64 operations. About 4 k² of them are
open at once, 96 bytes each.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

from geocnn.geometry.core.half_edges import around_face
from geocnn.geometry.meshes.aim import CLOSE, aimed, touching
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.groups.planar import wrapped

SIGHT = 5e-12
"""A vertex may lie this many radians beside a window and is still seen. Without this margin, rounding would
lose vertices that lie exactly behind another one where the surface is flat. It is also the least angle of a
shadow.
"""

ROUNDS = 16
"""Rounds between two clean-ups. These keep the nearest sighting of each vertex, drop windows, and open new
ones in shadows. A disc of a few rings needs one clean-up; over long distances windows would multiply without.
"""

OPEN = 200_000
"""Windows that are open at once, roughly; this determines how many bases are computed together. They take
20 MB, so the intermediate results of a round stay in the processor's cache.
"""


Parts = TypeVar("Parts", bound=tuple)


class Unfolded(NamedTuple):
    """P pairs (base, vertex), sorted, and the shortest path of each pair.

    base: position in the list of bases. vector: the path's length, in the polar direction in which it leaves
    the base. arrival: the polar direction, at the vertex, of the vector that is parallel to that direction
    along the path. met: whether the straightest geodesic along `vector` ends at the vertex; `aim.CLOSE` says
    how closely. Where only a slightly turned vector leads there, `vector` and `arrival` are turned.
    """

    base: Int64[Tensor, " p"]
    vertex: Int64[Tensor, " p"]
    vector: Complex128[Tensor, " p"]
    arrival: Float64[Tensor, " p"]
    met: Bool[Tensor, " p"]


class _Sources(NamedTuple):
    """Corners in which windows open: corners at the bases, and corners behind a vertex where paths bend.

    corner: its clockwise half-edge. distance: length of the path from the base to the corner's vertex. Two
    polar directions describe a path that bends: in `leaving` it leaves the base, and `parallel` is that
    direction transported to the corner's vertex along the path. Both are NaN at a base.
    """

    base: Int64[Tensor, " s"]
    corner: Int64[Tensor, " s"]
    distance: Float64[Tensor, " s"]
    leaving: Float64[Tensor, " s"]
    parallel: Float64[Tensor, " s"]


class _Windows(NamedTuple):
    """Windows in the plane of their source's face: the source is at 0, its corner's half-edge along 1.

    source: row of `_Sources`. edge: the half-edge that the window looks across, with its tail at `right` and
    its head at `left`. low, high: the outermost rays, as unit vectors.
    """

    source: Int64[Tensor, " w"]
    edge: Int64[Tensor, " w"]
    right: Complex128[Tensor, " w"]
    left: Complex128[Tensor, " w"]
    low: Complex128[Tensor, " w"]
    high: Complex128[Tensor, " w"]


class _Sightings(NamedTuple):
    """Vertices that sources see, in the plane of the source's face.

    corner: the clockwise half-edge of the corner in which the ray reaches the vertex. place: where the vertex
    lies. side: that half-edge as a vector. touches: whether the ray passes (nearly) through another vertex.
    """

    source: Int64[Tensor, " p"]
    corner: Int64[Tensor, " p"]
    place: Complex128[Tensor, " p"]
    side: Complex128[Tensor, " p"]
    touches: Bool[Tensor, " p"]


def unfold(t: Triangulation, base: Int64[Tensor, " b"], radius: float) -> Unfolded:
    """Compute the shortest paths from each base vertex to all vertices within the radius.

    Lengths are exact. Each base is paired with itself too, with vector and arrival 0.
    """
    rings = radius / float(t.length.mean()) if len(t.length) else 0.0
    size = max(1, int(OPEN / (12 + 4 * min(rings**2, len(t.vertices)))))
    parts = [_unfold(t, chunk, radius) for chunk in base.split(size)]
    parts = [p._replace(base=p.base + k * size) for k, p in enumerate(parts)]
    return Unfolded(*(torch.cat(x) for x in zip(*parts, strict=True)))


def _unfold(t: Triangulation, base: Int64[Tensor, " b"], radius: float) -> Unfolded:
    sources, low, high = _around(t, base)
    windows, ends = _open(t, sources, 0, low, high)
    batches, n_before = [_within(ends, sources, radius)], 0
    while True:
        for _ in range(ROUNDS):
            windows, sightings = _advance(t, windows, radius - _take(sources.distance, windows.source))
            batches.append(sightings)
        nearest = _nearest(t, sources, sightings := _joined(*batches))
        sightings, new = _rows(sightings, nearest), (nearest >= n_before).nonzero()[:, 0]
        windows = _not_farther(t, base, sources, windows, sightings)
        shadows, low, high = _shadows(t, sources, _rows(sightings, new))
        opened, ends = _open(t, shadows, len(sources.base), low, high)
        sources, windows = _joined(sources, shadows), _joined(windows, opened)
        batches, n_before = [sightings, _within(ends, sources, radius)], len(sightings.source)
        if not len(windows.source):
            return _paths_to(t, base, sources, sightings)


def _joined(*parts: Parts) -> Parts:
    """Concatenate tuples of tensors, field by field."""
    return type(parts[0])(*(torch.cat(x) for x in zip(*parts, strict=True)))


def _rows(values: Parts, k: Tensor) -> Parts:
    """Select rows k from every tensor of a tuple."""
    return type(values)(*(_take(x, k) for x in values))


def _take(x: Tensor, k: Tensor) -> Tensor:
    # half the time of x[k]
    return x.index_select(0, k)


def _fan(t: Triangulation, vertex: Int64[Tensor, " k"]) -> tuple[Int64[Tensor, " h"], Int64[Tensor, " h"]]:
    """Return all half-edges that leave the vertices, as (position in `vertex`, half-edge)."""
    counts = t.fan_ptr.diff()[vertex]
    which = torch.repeat_interleave(torch.arange(len(vertex), device=vertex.device), counts)
    rank = torch.arange(len(which), device=vertex.device) - (counts.cumsum(0) - counts)[which]
    return which, t.fan[t.fan_ptr[vertex[which]] + rank]


def _unit(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), angle)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Return the signed area of the parallelogram of two complex vectors."""
    return (a.conj() * b).imag


def _around(
    t: Triangulation, base: Int64[Tensor, " b"]
) -> tuple[_Sources, Float64[Tensor, " s"], Float64[Tensor, " s"]]:
    """Return all corners at the bases, and the least and greatest angle of each, 0 and the whole corner."""
    which, h = _fan(t, base)
    angle = t.angle[h]
    unknown = torch.full_like(angle, math.nan)
    return _Sources(which, h, torch.zeros_like(angle), unknown, unknown), torch.zeros_like(angle), angle


def _open(
    t: Triangulation, sources: _Sources, first: int, low: Float64[Tensor, " s"], high: Float64[Tensor, " s"]
) -> tuple[_Windows, _Sightings]:
    """Open a window in each source's corner, between the angles `low` and `high`.

    Sources are numbered from `first`. Also return the sightings of the two ends of the edge opposite the
    source, as far as they lie between these angles.
    """
    h, onward, last = sources.corner, around_face(sources.corner, 1), around_face(sources.corner, 2)
    number = torch.arange(first, first + len(h), device=h.device)
    right = torch.complex(t.length[h], torch.zeros_like(t.length[h]))
    left = torch.polar(t.length[last], t.angle[h])
    along = torch.zeros_like(h, dtype=torch.bool)
    ends = (
        _Sightings(number, onward, right, left - right, along),
        _Sightings(number, last, left, -left, along),
    )
    between = (low <= SIGHT).nonzero()[:, 0], (high >= t.angle[h] - SIGHT).nonzero()[:, 0]
    sightings = _joined(*(_rows(x, k) for x, k in zip(ends, between, strict=True)))
    return _Windows(number, onward, right, left, _unit(low), _unit(high)), sightings


def _within(sightings: _Sightings, sources: _Sources, radius: float) -> _Sightings:
    near = sightings.place.abs() + sources.distance[sightings.source] <= radius
    return _rows(sightings, near.nonzero()[:, 0])


def _advance(t: Triangulation, w: _Windows, reach: Float64[Tensor, " w"]) -> tuple[_Windows, _Sightings]:
    """Propagate windows across one face, dropping parts farther than `reach` from their source; also return
    the vertices that became visible.
    """
    on_right, on_left, share = (_take(x, w.edge) for x in t.beyond)
    apex = w.left + (w.right - w.left) * share
    r = (apex.real.square() + apex.imag.square()).sqrt()
    above, below, slack = _cross(w.low, apex), _cross(apex, w.high), SIGHT * r
    k = ((above >= -slack) & (below >= -slack) & (r <= reach) & (on_left >= 0)).nonzero()[:, 0]
    touches = torch.minimum(above, below) <= touching(t).clamp_min(SIGHT) * r
    sightings = _rows(_Sightings(w.source, on_left, apex, w.left - apex, touches), k)
    # the apex may lie outside the window: then only one of the parts has rays
    right, left, ray = above > slack, below > slack, apex * (1 / r)
    high, low = torch.where(left, ray, w.high), torch.where(right, ray, w.low)
    right = right & (on_right >= 0) & _reaches(w.right, apex, w.low, high, reach)
    left = left & (on_left >= 0) & _reaches(apex, w.left, low, w.high, reach)
    i, j = right.nonzero()[:, 0], left.nonzero()[:, 0]
    parts = zip(
        (w.source, on_right, w.right, apex, w.low, high), (w.source, on_left, apex, w.left, low, w.high),
        strict=True,
    )  # fmt: skip
    return _Windows(*(torch.cat([_take(x, i), _take(y, j)]) for x, y in parts)), sightings


def _reaches(
    right: Complex128[Tensor, " w"],
    left: Complex128[Tensor, " w"],
    low: Complex128[Tensor, " w"],
    high: Complex128[Tensor, " w"],
    reach: Float64[Tensor, " w"],
) -> Bool[Tensor, " w"]:
    """Check whether the part of an edge between two rays comes within reach of 0."""
    edge, area = left - right, _cross(right, left)
    from_low, from_high = low.conj() * edge, high.conj() * edge
    # A ray meets the edge's line at the distance area / (ray × edge). Between the rays only the foot of the
    # perpendicular from 0 can be nearer.
    foot = (from_low.real <= 0) & (from_high.real >= 0)
    nearest = foot & (area.square() <= reach.square() * (edge.real.square() + edge.imag.square()))
    return (area <= reach * torch.maximum(from_low.imag, from_high.imag)) | nearest


def _shadows(
    t: Triangulation, sources: _Sources, sightings: _Sightings
) -> tuple[_Sources, Float64[Tensor, " s"], Float64[Tensor, " s"]]:
    """Return the shadows of the vertices seen, as corners and the angles at which they begin and end in each.

    A direction lies in the shadow if its angle to the way back is more than π on both sides.
    """
    vertex = t.tail[sightings.corner]
    bends = t.boundary[vertex] | (t.scale[vertex] < 1 - SIGHT)
    sightings = _rows(sightings, bends.nonzero()[:, 0])
    distance, leaving, arrival, back = _paths(t, sources, sightings)
    vertex = t.tail[sightings.corner]
    edge, straight = t.boundary[vertex], math.pi * t.scale[vertex]
    # A shadow starts at the angle π counter-clockwise from the way back and ends at the boundary, or else at
    # π on the other side. A boundary vertex has a second shadow, on its clockwise side.
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
    shadows = _Sources(sources.base[sightings.source[k]], h[i], distance[k], leaving[k], arrival[k])
    return shadows, (low / scale)[i], (high / scale)[i]


def _paths(
    t: Triangulation, sources: _Sources, sightings: _Sightings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (distance, leaving, parallel, back) [P] of the paths from the bases to the vertices seen.

    Directions are polar: `leaving` the base, its `parallel` at the vertex, and `back` from the vertex along
    the path. Along a straight segment the angle from the path to its parallel does not change.
    """
    source, corner = sightings.source, sightings.corner
    h, at = sources.corner[source], t.tail[corner]
    first = t.polar[h] + torch.angle(sightings.place) * t.scale[t.tail[h]]
    back = t.polar[corner] + torch.angle(-sightings.place * sightings.side.conj()) * t.scale[at]
    bent = ~sources.leaving[source].isnan()
    leaving = torch.where(bent, sources.leaving[source], first)
    parallel = back + math.pi + torch.where(bent, sources.parallel[source] - first, torch.zeros_like(first))
    return sightings.place.abs() + sources.distance[source], leaving, parallel, back


def _nearest(t: Triangulation, sources: _Sources, sightings: _Sightings) -> Int64[Tensor, " k"]:
    """Return the nearest sighting of each pair (base, vertex), the first of equals, sorted by pair."""
    key, order = _pair(t, sources, sightings).sort(stable=True)
    # a straight path through a vertex is also found as one that bends there by 0: rounding must not prefer it
    distance = (sightings.place.abs() + sources.distance[sightings.source] * (1 + 1e-12))[order]
    group = torch.cat([key[:1] * 0, (key.diff() != 0).long().cumsum(0)])
    count = int(group[-1]) + 1 if len(group) else 0
    least = distance.new_full((count,), math.inf).scatter_reduce_(0, group, distance, "amin")
    place = torch.arange(len(key), device=key.device)
    best = place.new_full((count,), len(key)).scatter_reduce_(
        0, group, torch.where(distance == least[group], place, len(key)), "amin"
    )
    return order[best]


def _pair(t: Triangulation, sources: _Sources, sightings: _Sightings) -> Int64[Tensor, " p"]:
    return sources.base[sightings.source] * len(t.vertices) + t.tail[sightings.corner]


def _not_farther(
    t: Triangulation, base: Int64[Tensor, " b"], sources: _Sources, w: _Windows, nearest: _Sightings
) -> _Windows:
    """Keep the windows that may hold a shortest path (Xin & Wang 2009, section 3.2).

    A window is dropped if the point where its `high` ray meets the edge is nearer by way of the edge's right
    end, or the point of its `low` ray by way of the left end: then this holds for all its rays.
    """
    if not len(nearest.source):
        return w
    n, owner = len(t.vertices), sources.base[w.source]
    key = _pair(t, sources, nearest)
    distance = nearest.place.abs() + sources.distance[nearest.source]

    def known(vertex: Tensor) -> Tensor:
        """Return the distances of vertices from the windows' bases, infinite where no sighting is known."""
        pair = owner * n + vertex
        at = torch.searchsorted(key, pair).clamp_max(len(key) - 1)
        d = torch.where(key[at] == pair, distance[at], math.inf)
        return torch.where(base[owner] == vertex, torch.zeros_like(d), d)

    to_source, edge, area = sources.distance[w.source], w.left - w.right, _cross(w.right, w.left)
    keeps = torch.ones_like(owner, dtype=torch.bool)
    for ray, end, vertex in (
        (w.high, w.right, t.tail[w.edge]), (w.low, w.left, t.tail[around_face(w.edge, 1)])
    ):  # fmt: skip
        r = area / _cross(ray, edge)
        keeps &= known(vertex) + (r * ray - end).abs() >= (to_source + r) * (1 - 1e-9)
    return _rows(w, keeps.nonzero()[:, 0])


def _paths_to(
    t: Triangulation, base: Int64[Tensor, " b"], sources: _Sources, nearest: _Sightings
) -> Unfolded:
    """Return the paths to the vertices seen, and a path of length 0 from each base to itself."""
    n, pair = len(t.vertices), _pair(t, sources, nearest)
    # a ray may lead around a limb and back to its base: that is no shortest path
    out = (t.tail[nearest.corner] != base[sources.base[nearest.source]]).nonzero()[:, 0]
    nearest = _rows(nearest, out)
    distance, leaving, arrival, back = _paths(t, sources, nearest)
    met = sources.leaving[nearest.source].isnan()
    # two boundary edges of a vertex of 2π or more have one direction
    doubtful = [(met & (nearest.touches | (leaving > 2 * math.pi - SIGHT))).nonzero()[:, 0]]
    # a path that bends but stays parallel to itself may be a straightest geodesic
    bent = (~met).nonzero()[:, 0]
    doubtful.append(bent[wrapped(arrival[bent] - back[bent] - math.pi).abs() <= CLOSE])
    k = torch.cat(doubtful)
    start, goal = base[sources.base[nearest.source[k]]], t.tail[nearest.corner[k]]
    turn, met[k] = aimed(t, start, leaving[k], distance[k], goal)
    leaving[k], arrival[k] = leaving[k] + turn, arrival[k] + turn
    own = torch.arange(len(base), device=base.device) * n + base
    zero = torch.zeros_like(own, dtype=distance.dtype)
    key, order = torch.cat([pair[out], own]).sort()
    vector = torch.cat([torch.polar(distance, leaving), torch.complex(zero, zero)])
    arrival, met = torch.cat([arrival, zero]), torch.cat([met, torch.ones_like(own, dtype=torch.bool)])
    return Unfolded(key // n, key % n, vector[order], arrival[order], met[order])
