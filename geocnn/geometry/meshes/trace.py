"""Straightest geodesics on a triangulation, traced for all starts at once.

A geodesic is straight in every face and across every edge laid flat; through a vertex it leaves equal polar
angles on both sides (Polthier & Schmies 1998). Its direction is parallel along it, so the directions at its
two ends say all there is to say about transport.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import around_face
from geocnn.geometry.meshes.triangulation import LEAN, Triangulation

AT_VERTEX = 1e-12
"""A geodesic that passes a vertex by this share of the edge it crosses goes through it: the rounding of a
crossing is some 1e-14 of the edge, and a miss by less than this would leave the other side's directions to
chance.
"""

AT_CORNER = 1e-7
"""An end as near to a corner as this share of its edge is at it. Logs lead as closely to their vertices
(`aiming.CLOSE`), so the direction from one's end to its vertex is chance.
"""

AT_BOUNDARY = 1e-8
"""A boundary that a geodesic reaches as near to its end as this share of its edge does not stop it: else a
log that leads as closely to a sharp corner of the boundary (`aiming.CLOSE`) would not reach it.
"""

IDLE = 1e-15
"""A step shorter than this share of the edge it ends on is none. A line that passes a vertex at AT_VERTEX
takes longer ones, but for faces of no width.
"""


class Traced(NamedTuple):
    """K ends: face [K], place and direction [K] (complex, in the face's plane), travelled [K], inside [K].

    inside is False where the boundary came first; place is then on it. The face is −1 where nothing was
    entered. Where boundaries reflect flipped [K] marks odd numbers of reflections.
    """

    face: Tensor
    place: Tensor
    direction: Tensor
    travelled: Tensor
    inside: Tensor
    flipped: Tensor | None = None


def trace_from_vertices(
    t: Triangulation, vertex: Tensor, polar: Tensor, length: Tensor, reflect: bool = False
) -> Traced:
    """The straightest geodesics from vertices [K] in polar directions [K], of lengths [K]."""
    flipped = None
    if reflect:
        polar, flipped = _folded(t, vertex, polar)
    h, direction = t.enter(vertex, polar)
    face, place = torch.where(h < 0, -1, h // 3), t.place[h.clamp_min(0)]
    return _mirrored(trace(t, face, place, direction, length, reflect), flipped)


def trace_from_faces(
    t: Triangulation, face: Tensor, place: Tensor, direction: Tensor, length: Tensor, reflect: bool = False
) -> Traced:
    """As `trace`; but where a place is a corner of its face the direction is laid flat around the vertex, and
    what it enters may be another face.
    """
    h = 3 * face[:, None] + torch.arange(3, device=face.device)
    near = (place[:, None] - t.place[h]).abs() <= AT_VERTEX * t.length[h]
    corner = h.gather(1, near.long().argmax(1, keepdim=True))[:, 0]
    polar, flipped, at_corner = t.polar_at(corner, direction), None, near.any(1) & (length > 0)
    if reflect:
        polar, flipped = _folded(t, t.tail[corner], polar)
        flipped = flipped & at_corner
    out, turned = t.enter(t.tail[corner], polar)
    go = at_corner & (out >= 0)
    face, direction = torch.where(go, out // 3, face), torch.where(go, turned, direction)
    place = torch.where(go, t.place[out.clamp_min(0)], place)
    return _mirrored(trace(t, face, place, direction, length, reflect), flipped)


def _mirrored(end: Traced, flipped: Tensor | None) -> Traced:
    """The ends of geodesics that were `flipped` [K] at their start."""
    return end if flipped is None or end.flipped is None else end._replace(flipped=end.flipped ^ flipped)


def _folded(t: Triangulation, vertex: Tensor, polar: Tensor) -> tuple[Tensor, Tensor]:
    """Polar directions [K] that leave the surface at boundary vertices, mirrored in the nearer edge there
    until they lead into it, and whether that took an odd number of times.
    """
    total = t.total[vertex]
    middle = total / 2
    around = (polar - middle + math.pi).remainder(2 * math.pi) - math.pi + middle
    # as in `enter`, what leans over an edge by rounding runs along it
    outside = t.boundary[vertex] & ((around < -LEAN) | (around > total + LEAN))
    times = (around / total.clamp_min(1e-300)).floor()
    flipped = outside & (times.remainder(2) == 1)
    inward = around - times * total
    return torch.where(outside, torch.where(flipped, total - inward, inward), polar), flipped


class _Rays(NamedTuple):
    """Geodesics on their way: their number, where they are and go, what is left, whether they are mirrored,
    and for how many rounds they have not moved.
    """

    ray: Tensor
    face: Tensor
    place: Tensor
    direction: Tensor
    left: Tensor
    flipped: Tensor
    idle: Tensor

    def take(self, index: Tensor) -> _Rays:
        return _Rays(*(x[index] for x in self))


def trace(
    t: Triangulation, face: Tensor, place: Tensor, direction: Tensor, length: Tensor, reflect: bool = False
) -> Traced:
    """The straightest geodesics from places [K] in faces [K] along unit directions [K] (complex), of lengths
    [K]; the boundary stops them, or reflects them as the double's.

    All go in lockstep, one face a round; those that have ended wait. Cost: the faces crossed, about 60
    float64 operations each. Raises GeometryError where one does not move on, which takes a face of no width.
    """
    none = torch.zeros_like(face, dtype=torch.bool)
    inside = (face >= 0) & (length >= 0)
    end = Traced(
        face.clone(), place.clone(), direction.clone(), torch.zeros_like(length), inside, none.clone()
    )
    start = _Rays(torch.arange(len(face), device=face.device), face, place, direction, length, none, 0 * face)
    rays = start.take(inside.nonzero()[:, 0])
    # on its way past a vertex a line may cross every edge there without moving
    patience = 64 + 2 * int(t.fan_ptr.diff().max())
    while len(rays.ray):
        if bool((rays.idle > patience).any()):
            lost = rays.face[rays.idle > patience]
            raise GeometryError(
                f"{len(lost)} geodesics do not end, among them those in faces {lost[:8].tolist()}: "
                "look there for faces of no width"
            )
        rays, ends, stops = _onward(t, rays, reflect)
        done = (ends | stops).nonzero()[:, 0]
        there = rays.take(done)
        end.inside[there.ray] = ~stops[done]
        end.travelled[there.ray] = length[there.ray] - there.left
        for name in ("face", "place", "direction", "flipped"):
            getattr(end, name)[there.ray] = getattr(there, name)
        rays = rays.take((~(ends | stops)).nonzero()[:, 0])
    return end if reflect else end._replace(flipped=None)


def _onward(t: Triangulation, r: _Rays, reflect: bool) -> tuple[_Rays, Tensor, Tensor]:
    """The rays one face on, or where they stay: (rays, which have ended, which the boundary stopped)."""
    h, share, ahead = _exit(t, r.face, r.place, r.direction)
    beyond = torch.where(t.twin[h] < 0, AT_BOUNDARY * t.length[h], 0.0)
    ends = ahead >= r.left * (1 - 1e-14) - beyond
    gone = torch.where(ends, r.left, ahead)
    place, left = r.place + gone * r.direction, r.left - gone
    # a vertex that ends the way is not passed: the side it is reached from is kept
    passes = ~ends & ((share < AT_VERTEX) | (share > 1 - AT_VERTEX)) & (left > AT_VERTEX * t.length[h])
    blocked = ~ends & ~passes & (t.twin[h] < 0)
    face, entry, direction = _across(t, h, share, r.direction)
    if passes.any():
        k = passes.nonzero()[:, 0]
        out, turned = _through(t, h[k], share[k], r.direction[k])
        blocked[k] = out < 0
        face[k], entry[k], direction[k] = out // 3, t.place[out.clamp_min(0)], turned
    flipped = r.flipped
    if reflect and blocked.any():
        k = blocked.nonzero()[:, 0]
        face[k], entry[k], direction[k] = _reflected(t, h[k], share[k], r.direction[k], passes[k])
        flipped, blocked = flipped ^ blocked, torch.zeros_like(blocked)
    stays = ends | blocked
    moved = gone > IDLE * t.length[h]
    rays = _Rays(
        r.ray,
        torch.where(stays, r.face, face),
        torch.where(stays, place, entry),
        torch.where(stays, r.direction, direction),
        left,
        flipped,
        torch.where(moved, 0, r.idle + 1),
    )
    return rays, ends, blocked


def _exit(t: Triangulation, face: Tensor, place: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(half-edge, share of it, distance) where rays leave their faces."""
    h = 3 * face[:, None] + torch.arange(3, device=face.device)
    side, offset = t.side[h], place[:, None] - t.place[h]
    # of the half-edges that the ray leaves across, the first; a place outside by rounding is on the edge, and
    # a ray along an edge within rounding does not cross it
    outward = (direction[:, None].conj() * side).imag / t.length[h]
    depth = (side.conj() * offset).imag.clamp_min(0) / t.length[h]
    ahead = torch.where(outward > 1e-12, depth / outward.clamp_min(1e-12), math.inf)
    ahead, k = ahead.min(1)
    h = h.gather(1, k[:, None])[:, 0]
    side = t.side[h]
    along = (place + ahead * direction - t.place[h]) * side.conj()
    return h, (along.real / t.length[h].square()).clamp(0, 1), ahead


def _across(t: Triangulation, h: Tensor, share: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(face, place, direction) on the other side of half-edges; without meaning on the boundary."""
    twin = t.twin[h].clamp_min(0)
    turned = direction * (-t.side[twin] * t.side[h].conj()) / (t.length[twin] * t.length[h])
    return twin // 3, t.place[twin] + (1 - share) * t.side[twin], turned / turned.abs()


def _reflected(
    t: Triangulation, h: Tensor, share: Tensor, direction: Tensor, at_vertex: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(face, place, direction) of rays mirrored in boundary half-edges, or at the vertices at their nearer
    ends: on the double those have angles all around, and the ray leaves equal ones on both sides.
    """
    corner = torch.where(share < 0.5, h, around_face(h, 1))
    vertex = t.tail[corner]
    out, turned = t.enter(vertex, t.total[vertex] - t.polar_at(corner, -direction))
    # a ray that starts next to a vertex may pass it from outside the fan: it meets the edge alone
    at_vertex, out = at_vertex & (out >= 0), out.clamp_min(0)
    unit = t.side[h] / t.length[h]
    mirrored = unit * unit * direction.conj()
    return (
        torch.where(at_vertex, out // 3, h // 3),
        torch.where(at_vertex, t.place[out], t.place[h] + share * t.side[h]),
        torch.where(at_vertex, turned, mirrored),
    )


def _through(t: Triangulation, h: Tensor, share: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Half-edges and directions behind the vertices at the nearer ends of h; −1 at the boundary."""
    corner = torch.where(share < 0.5, h, around_face(h, 1))
    vertex = t.tail[corner]
    out, turned = t.enter(vertex, t.polar_at(corner, -direction) + math.pi)
    return torch.where(t.boundary[vertex], -1, out), turned


def corner_directions(t: Triangulation, end: Traced) -> tuple[Tensor, Tensor, Tensor]:
    """(vertices [K, 3], barycentric coordinates [K, 3], angles [K, 3]) of the ends' faces.

    The angle is the polar direction at the vertex of what is parallel to the geodesic at its end, carried
    straight from the end to the vertex.
    """
    h = 3 * end.face.clamp_min(0)[:, None] + torch.arange(3, device=end.face.device)
    opposite = end.place[:, None] - t.place[h.roll(-1, 1)]
    weight = (t.side[h.roll(-1, 1)].conj() * opposite).imag.clamp_min(0)
    weight = weight / weight.sum(1, keepdim=True)
    seen = end.place[:, None] - t.place[h]
    # at a vertex itself: the direction it is seen in is the one the geodesic came from, or sets out in
    size = t.length[h]
    arrival = torch.where(end.travelled > 0, -end.direction, end.direction)[:, None]
    seen = torch.where(seen.abs() > AT_CORNER * size, seen, arrival)
    here = t.polar_at(h, seen)
    along = torch.angle(end.direction[:, None] * seen.conj())
    return t.faces[end.face.clamp_min(0)], weight, here + along
