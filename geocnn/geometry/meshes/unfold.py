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

A disc of k rings takes about 3 to 7 k³ windows per base, each about 60 float64 operations. About 4 k² of them
are open at once, 96 bytes each. Where exact lengths are not needed, `joining` reduces this to about k².
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

from geocnn.geometry.core.half_edges import around_face
from geocnn.geometry.meshes.aim import CLOSE, aimed, touching
from geocnn.geometry.meshes.joining import join, nearer_end, next_limit
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.meshes.windows import (
    BENT,
    STRAIGHT,
    Sightings,
    Sources,
    Unfolded,
    Windows,
    concatenated,
    cross,
    directions,
    selected,
    take,
)
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

EXACT = 48
"""Paths across so many faces, about 20 rings, are found without joining windows."""

LONGER = 1e-2
"""Joined windows err by less than this share of the edge, so windows must be longer by more to be dropped."""

OPEN = 200_000
"""Windows that are open at once, roughly; this determines how many bases are computed together. They take
20 MB, so the intermediate results of a round stay in the processor's cache.
"""


class _Corners(NamedTuple):
    """Corners of sources, each the one of the clockwise half-edge h; windows open between two angles, from 0
    to the whole corner.
    """

    h: Int64[Tensor, " s"]
    low: Float64[Tensor, " s"]
    high: Float64[Tensor, " s"]


def unfold(
    t: Triangulation, base: Int64[Tensor, " b"], radius: float | Float64[Tensor, " b"], exact: bool = True
) -> Unfolded:
    """Compute the shortest paths from each base vertex to all vertices within the radius, or its own radius.

    Each base is paired with itself too, with vector and arrival 0. Lengths are exact; unless `exact`, this
    holds for paths across up to EXACT faces only, and others take time in proportion to the vertices. Paths
    from one base do not depend on the other bases.
    """
    # windows would run around small components until the radius ends
    radius = t.farthest[base].clamp_max(torch.as_tensor(radius, dtype=t.length.dtype, device=base.device))
    rings = float(radius.amax() / t.length.mean()) if len(base) and len(t.length) else 0.0
    # joined windows are as few as those of a disc of 30 rings
    rings = rings if exact else min(rings, 30)
    size = max(1, int(OPEN / (12 + 4 * min(rings**2, len(t.vertices)))))
    chunks = zip(base.split(size), radius.split(size), strict=True)
    parts = [_unfold(t, chunk, reach, exact) for chunk, reach in chunks]
    parts = [p._replace(base=p.base + k * size) for k, p in enumerate(parts)]
    return Unfolded(*(torch.cat(x) for x in zip(*parts, strict=True)))


def _unfold(
    t: Triangulation, base: Int64[Tensor, " b"], radius: Float64[Tensor, " b"], exact: bool
) -> Unfolded:
    sources, corners = _around(t, base)
    windows, ends = _open(t, corners, 0)
    seen, n_before, rounds, limit = _within(ends, sources, radius), 0, 0, None
    while True:
        if exact or rounds < EXACT:
            windows, sightings = _rounds(t, sources, windows, radius)
            rounds += ROUNDS
        else:
            limit = next_limit(sources, windows, limit, len(base))
            windows, sightings = _sweep(t, sources, windows, radius, limit)
        seen = concatenated(seen, *sightings)
        nearest = _nearest(t, sources, seen)
        seen, new = selected(seen, nearest), (nearest >= n_before).nonzero()[:, 0]
        windows = _not_farther(t, base, sources, windows, seen, 0.0 if limit is None else LONGER)
        if limit is not None:
            sources, windows = join(t, sources, windows)
        shadows, corners = _shadows(t, sources, selected(seen, new))
        opened, ends = _open(t, corners, len(sources.base))
        sources, windows = concatenated(sources, shadows), concatenated(windows, opened)
        n_before = len(seen.source)
        seen = concatenated(seen, _within(ends, sources, radius))
        if not len(windows.source):
            return _paths_to(t, base, sources, selected(seen, torch.arange(n_before, device=base.device)))


def _rounds(
    t: Triangulation, sources: Sources, windows: Windows, radius: Float64[Tensor, " b"]
) -> tuple[Windows, list[Sightings]]:
    """Propagate windows across ROUNDS faces; also return the sightings of each round."""
    reach, sightings = take(radius, sources.base) - sources.distance, []
    for _ in range(ROUNDS):
        windows, seen = _advance(t, windows, take(reach, windows.source))
        sightings.append(seen)
        if not len(windows.source):
            break
    return windows, sightings


def _sweep(
    t: Triangulation,
    sources: Sources,
    windows: Windows,
    radius: Float64[Tensor, " b"],
    limit: Float64[Tensor, " b"],
) -> tuple[Windows, list[Sightings]]:
    """Propagate windows until all edges lie farther from the bases than `limit`, so that all windows on an
    edge are known; also return the sightings.
    """
    reach, room = (take(x, sources.base) - sources.distance for x in (radius, limit))
    beyond, sightings = [], []
    while len(windows.source):
        far = nearer_end(windows) > take(room, windows.source)
        beyond.append(selected(windows, far.nonzero()[:, 0]))
        windows = selected(windows, (~far).nonzero()[:, 0])
        windows, seen = _advance(t, windows, take(reach, windows.source))
        sightings.append(seen)
    return concatenated(windows, *beyond), sightings


def _fan(t: Triangulation, vertex: Int64[Tensor, " k"]) -> tuple[Int64[Tensor, " h"], Int64[Tensor, " h"]]:
    """Return all half-edges that leave the vertices, as (position in `vertex`, half-edge)."""
    counts = t.fan_ptr.diff()[vertex]
    which = torch.repeat_interleave(torch.arange(len(vertex), device=vertex.device), counts)
    rank = torch.arange(len(which), device=vertex.device) - (counts.cumsum(0) - counts)[which]
    return which, t.fan[t.fan_ptr[vertex[which]] + rank]


def _unit(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), angle)


def _around(t: Triangulation, base: Int64[Tensor, " b"]) -> tuple[Sources, _Corners]:
    """Return all corners at the bases."""
    which, h = _fan(t, base)
    angle, kind = t.angle[h], torch.full_like(h, STRAIGHT)
    zero = torch.zeros_like(angle)
    sources = Sources(which, kind, zero, t.polar[h], t.scale[t.tail[h]], zero, zero, zero)
    return sources, _Corners(h, zero, angle)


def _open(t: Triangulation, corners: _Corners, first: int) -> tuple[Windows, Sightings]:
    """Open a window in each corner; their sources are numbered from `first`.

    Also return the sightings of the two ends of the edge opposite the source, as far as they lie between the
    corner's angles.
    """
    h, low, high = corners
    onward, last = around_face(h, 1), around_face(h, 2)
    number = torch.arange(first, first + len(h), device=h.device)
    right = torch.complex(t.length[h], torch.zeros_like(t.length[h]))
    left = torch.polar(t.length[last], t.angle[h])
    along = torch.zeros_like(h, dtype=torch.bool)
    ends = (
        Sightings(number, onward, right, left - right, along),
        Sightings(number, last, left, -left, along),
    )
    between = (low <= SIGHT).nonzero()[:, 0], (high >= t.angle[h] - SIGHT).nonzero()[:, 0]
    sightings = concatenated(*(selected(x, k) for x, k in zip(ends, between, strict=True)))
    return Windows(number, onward, right, left, _unit(low), _unit(high)), sightings


def _within(sightings: Sightings, sources: Sources, radius: Float64[Tensor, " b"]) -> Sightings:
    reach = take(radius, take(sources.base, sightings.source))
    near = sightings.place.abs() + take(sources.distance, sightings.source) <= reach
    return selected(sightings, near.nonzero()[:, 0])


def _advance(t: Triangulation, w: Windows, reach: Float64[Tensor, " w"]) -> tuple[Windows, Sightings]:
    """Propagate windows across one face, dropping parts farther than `reach` from their source; also return
    the vertices that became visible.
    """
    on_right, on_left, share = (take(x, w.edge) for x in t.beyond)
    apex = w.left + (w.right - w.left) * share
    r = (apex.real.square() + apex.imag.square()).sqrt()
    above, below, slack = cross(w.low, apex), cross(apex, w.high), SIGHT * r
    aside = torch.minimum(above, below)
    k = ((aside >= -slack) & (r <= reach) & (on_left >= 0)).nonzero()[:, 0]
    place = take(apex, k)
    touches = take(aside, k) <= touching(t).clamp_min(SIGHT) * take(r, k)
    sightings = Sightings(take(w.source, k), take(on_left, k), place, take(w.left, k) - place, touches)
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
    return Windows(*(torch.cat([take(x, i), take(y, j)]) for x, y in parts)), sightings


def _reaches(
    right: Complex128[Tensor, " w"],
    left: Complex128[Tensor, " w"],
    low: Complex128[Tensor, " w"],
    high: Complex128[Tensor, " w"],
    reach: Float64[Tensor, " w"],
) -> Bool[Tensor, " w"]:
    """Check whether the part of an edge between two rays comes within reach of 0."""
    edge, area = left - right, cross(right, left)
    from_low, from_high = low.conj() * edge, high.conj() * edge
    # A ray meets the edge's line at the distance area / (ray × edge). Between the rays only the foot of the
    # perpendicular from 0 can be nearer.
    foot = (from_low.real <= 0) & (from_high.real >= 0)
    nearest = foot & (area.square() <= reach.square() * (edge.real.square() + edge.imag.square()))
    return (area <= reach * torch.maximum(from_low.imag, from_high.imag)) | nearest


def _shadows(t: Triangulation, sources: Sources, sightings: Sightings) -> tuple[Sources, _Corners]:
    """Return the shadows of the vertices seen, in all corners that they meet.

    A direction lies in the shadow if its angle to the way back is more than π on both sides.
    """
    vertex = take(t.tail, sightings.corner)
    bends = take(t.boundary, vertex) | (take(t.scale, vertex) < 1 - SIGHT)
    sightings = selected(sightings, bends.nonzero()[:, 0])
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
    h, k = h[i], k[i]
    shadows = Sources(
        base=sources.base[sightings.source[k]],
        kind=torch.full_like(h, BENT),
        distance=distance[k],
        leaving=leaving[k],
        leaving_slope=torch.zeros_like(distance[k]),
        turn=arrival[k],
        first=t.polar[h],
        first_slope=t.scale[t.tail[h]],
    )
    return shadows, _Corners(h, (low / scale)[i], (high / scale)[i])


def _paths(t: Triangulation, sources: Sources, sightings: Sightings) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (distance, leaving, parallel, back) [P] of the paths from the bases to the vertices seen.

    Directions are polar: `leaving` the base, its `parallel` at the vertex, and `back` from the vertex along
    the path.
    """
    corner, place = sightings.corner, sightings.place
    leaving, turn = directions(sources, sightings.source, place)
    scale = take(t.scale, take(t.tail, corner))
    back = take(t.polar, corner) + torch.angle(-place * sightings.side.conj()) * scale
    distance = place.abs() + take(sources.distance, sightings.source)
    return distance, leaving, back + math.pi + turn, back


def _nearest(t: Triangulation, sources: Sources, sightings: Sightings) -> Int64[Tensor, " k"]:
    """Return the nearest sighting of each pair (base, vertex), the first of equals, sorted by pair."""
    key, order = _pair(t, sources, sightings).sort(stable=True)
    # a straight path through a vertex is also found as one that bends there by 0: rounding must not prefer it
    distance = take(sightings.place.abs() + take(sources.distance, sightings.source) * (1 + 1e-12), order)
    group = torch.cat([key[:1] * 0, (key.diff() != 0).long().cumsum(0)])
    count = int(group[-1]) + 1 if len(group) else 0
    least = distance.new_full((count,), math.inf).scatter_reduce_(0, group, distance, "amin")
    place = torch.arange(len(key), device=key.device)
    best = place.new_full((count,), len(key)).scatter_reduce_(
        0, group, torch.where(distance == take(least, group), place, len(key)), "amin"
    )
    return take(order, best)


def _pair(t: Triangulation, sources: Sources, sightings: Sightings) -> Int64[Tensor, " p"]:
    return take(sources.base, sightings.source) * len(t.vertices) + take(t.tail, sightings.corner)


def _not_farther(
    t: Triangulation,
    base: Int64[Tensor, " b"],
    sources: Sources,
    w: Windows,
    nearest: Sightings,
    longer: float,
) -> Windows:
    """Keep the windows that may hold a shortest path (Xin & Wang 2009, section 3.2).

    A window is dropped if the point where its `high` ray meets the edge is nearer by way of the edge's right
    end, or the point of its `low` ray by way of the left end, by more than the share `longer` of the edge:
    then this holds for all its rays.
    """
    if not len(nearest.source):
        return w
    n, owner = len(t.vertices), take(sources.base, w.source)
    key = _pair(t, sources, nearest)
    distance = nearest.place.abs() + take(sources.distance, nearest.source)

    def known(vertex: Tensor) -> Tensor:
        """Return the distances of vertices from the windows' bases, infinite where no sighting is known."""
        pair = owner * n + vertex
        at = torch.searchsorted(key, pair).clamp_max(len(key) - 1)
        d = torch.where(take(key, at) == pair, take(distance, at), math.inf)
        return torch.where(take(base, owner) == vertex, torch.zeros_like(d), d)

    to_source, edge, area = take(sources.distance, w.source), w.left - w.right, cross(w.right, w.left)
    margin = longer * edge.abs()
    keeps = torch.ones_like(owner, dtype=torch.bool)
    for ray, end, vertex in (
        (w.high, w.right, take(t.tail, w.edge)), (w.low, w.left, take(t.tail, around_face(w.edge, 1)))
    ):  # fmt: skip
        r = area / cross(ray, edge)
        keeps &= known(vertex) + (r * ray - end).abs() >= (to_source + r) * (1 - 1e-9) - margin
    return selected(w, keeps.nonzero()[:, 0])


def _paths_to(t: Triangulation, base: Int64[Tensor, " b"], sources: Sources, nearest: Sightings) -> Unfolded:
    """Return the paths to the vertices seen, and a path of length 0 from each base to itself."""
    # a ray may lead around a limb and back to its base: that is no shortest path
    start, goal = take(sources.base, nearest.source), take(t.tail, nearest.corner)
    out = (goal != take(base, start)).nonzero()[:, 0]
    nearest, start, goal = selected(nearest, out), take(start, out), take(goal, out)
    distance, leaving, arrival, back = _paths(t, sources, nearest)
    kind = take(sources.kind, nearest.source)
    met = kind == STRAIGHT
    # two boundary edges of a vertex of 2π or more have one direction
    doubtful = [(met & (nearest.touches | (leaving > 2 * math.pi - SIGHT))).nonzero()[:, 0]]
    # a path that bends but stays parallel to itself may be a straightest geodesic
    bent = (kind == BENT).nonzero()[:, 0]
    doubtful.append(bent[wrapped(arrival[bent] - back[bent] - math.pi).abs() <= CLOSE])
    k = torch.cat(doubtful)
    turn, met[k] = aimed(t, base[start[k]], leaving[k], distance[k], goal[k])
    leaving[k], arrival[k] = leaving[k] + turn, arrival[k] + turn
    number, zero = torch.arange(len(base), device=base.device), torch.zeros_like(base, dtype=distance.dtype)
    own = Unfolded(number, base, torch.complex(zero, zero), zero, torch.ones_like(base, dtype=torch.bool))
    paths = Unfolded(start, goal, torch.polar(distance, leaving), arrival, met)
    # both are sorted
    n = len(t.vertices)
    place = torch.searchsorted(start * n + goal, number * n + base) + number
    order = torch.full_like(torch.cat([start, number]), -1)
    order[place] = number + len(start)
    order[(order < 0).nonzero()[:, 0]] = torch.arange(len(start), device=base.device)
    return selected(concatenated(paths, own), order)
