"""Straightest geodesics on a triangulation, traced for all starts at once.

    ╲   │   ╱      A geodesic is straight inside each face, and across an edge if its two faces are laid flat.
     ╲  │  ╱       Through a vertex v it leaves equal polar angles a on both sides (Polthier & Schmies 1998).
  a ─── v ─── a
     ╱  │  ╲       A ray is a geodesic on its way: a face, a place in the plane of the face, and a direction
    ╱   │   ╲      there. Each round moves every ray across one face, to the next edge or to its end.

The direction is parallel along a geodesic, so the directions at its two ends determine the transport.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import around_face
from geocnn.geometry.meshes.reading import read
from geocnn.geometry.meshes.triangulation import LEAN, Triangulation

AT_VERTEX = 1e-12
"""A geodesic that crosses an edge nearer to a vertex than this share of the edge goes through the vertex.
Rounding moves a crossing by about 1e-14 of the edge; this near, it would decide on which side the geodesic
passes.
"""

AT_CORNER = 1e-7
"""An end counts as at a corner if it is nearer than this share of the corner's edge. Logs lead to their
vertices only that closely (`aim.CLOSE`), so rounding decides the direction from such an end to the corner.
"""

AT_BOUNDARY = 1e-8
"""The boundary does not stop a geodesic whose end is nearer than this share of the boundary edge. Logs lead
to a sharp corner of the boundary only that closely (`aim.CLOSE`) and would not reach it.
"""

IDLE = 1e-15
"""A step shorter than this share of the edge it ends on does not count as a step. A line that passes a vertex
at AT_VERTEX takes longer steps, unless faces have no width.
"""


class Traced(NamedTuple):
    """Ends of K geodesics; place and direction are complex numbers in the plane of the end's face.

    travelled: distance covered. inside: False if the boundary stopped the geodesic; place is then on the
    boundary. face: −1 if the start direction leads into no face. flipped: True after an odd number of
    reflections; None if boundaries do not reflect.
    """

    face: Int64[Tensor, " k"]
    place: Complex128[Tensor, " k"]
    direction: Complex128[Tensor, " k"]
    travelled: Float64[Tensor, " k"]
    inside: Bool[Tensor, " k"]
    flipped: Bool[Tensor, " k"] | None = None


def trace_from_vertices(
    t: Triangulation,
    vertex: Int64[Tensor, " k"],
    polar: Float64[Tensor, " k"],
    length: Float64[Tensor, " k"],
    reflect: bool = False,
) -> Traced:
    """Trace straightest geodesics of given lengths from vertices in polar directions; see `trace`."""
    flipped = None
    if reflect:
        polar, flipped = _folded(t, vertex, polar)
    h, direction = t.enter(vertex, polar)
    face, place = torch.where(h < 0, -1, h // 3), read(t.place, h.clamp_min(0))
    return _mirrored(trace(t, face, place, direction, length, reflect), flipped)


def trace_from_faces(
    t: Triangulation,
    face: Int64[Tensor, " k"],
    place: Complex128[Tensor, " k"],
    direction: Complex128[Tensor, " k"],
    length: Float64[Tensor, " k"],
    reflect: bool = False,
) -> Traced:
    """Trace as `trace` does, also from places at corners of their faces.

    At a corner the direction becomes a polar direction around the vertex, so it may lead into another face.
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


def _mirrored(end: Traced, flipped: Bool[Tensor, " k"] | None) -> Traced:
    """Count a reflection at the start, where `flipped`, among those of the ends."""
    return end if flipped is None or end.flipped is None else end._replace(flipped=end.flipped ^ flipped)


def _folded(
    t: Triangulation, vertex: Int64[Tensor, " k"], polar: Float64[Tensor, " k"]
) -> tuple[Float64[Tensor, " k"], Bool[Tensor, " k"]]:
    """Reflect polar directions that leave the surface at a boundary vertex until they lead into it.

    They are mirrored in the nearer boundary edge. Return (polar, whether the number of reflections is odd).
    """
    total = t.total[vertex]
    middle = total / 2
    around = (polar - middle + math.pi).remainder(2 * math.pi) - math.pi + middle
    # as in `enter`, a direction that leans over an edge by rounding runs along it
    outside = t.boundary[vertex] & ((around < -LEAN) | (around > total + LEAN))
    times = (around / total.clamp_min(1e-300)).floor()
    flipped = outside & (times.remainder(2) == 1)
    inward = around - times * total
    return torch.where(outside, torch.where(flipped, total - inward, inward), polar), flipped


class _Rays(NamedTuple):
    """Geodesics on their way, as in `Traced`.

    ray: which of the K geodesics. left: distance still to cover. idle: rounds without a step since the last.
    """

    ray: Int64[Tensor, " r"]
    face: Int64[Tensor, " r"]
    place: Complex128[Tensor, " r"]
    direction: Complex128[Tensor, " r"]
    left: Float64[Tensor, " r"]
    flipped: Bool[Tensor, " r"]
    idle: Int64[Tensor, " r"]

    def take(self, index: Int64[Tensor, " k"]) -> _Rays:
        return _Rays(*(x.index_select(0, index) for x in self))


def trace(
    t: Triangulation,
    face: Int64[Tensor, " k"],
    place: Complex128[Tensor, " k"],
    direction: Complex128[Tensor, " k"],
    length: Float64[Tensor, " k"],
    reflect: bool = False,
) -> Traced:
    """Trace straightest geodesics of given lengths from places in faces along unit directions.

    The boundary stops a geodesic, or reflects it: it then follows a geodesic of the double, the surface glued
    to its mirror image along the boundary. All geodesics move in lockstep, one face per round, about 60
    float64 operations per face. Raises GeometryError if one no longer moves, which takes a face of no width.
    """
    none = torch.zeros_like(face, dtype=torch.bool)
    inside = (face >= 0) & (length >= 0)
    end = Traced(
        face.clone(), place.clone(), direction.clone(), torch.zeros_like(length), inside, none.clone()
    )
    start = _Rays(torch.arange(len(face), device=face.device), face, place, direction, length, none, 0 * face)
    rays = start.take(inside.nonzero()[:, 0])
    # a line that passes a vertex may cross every edge there without moving
    patience = 64 + 2 * int(t.fan_ptr.diff().max())
    while len(rays.ray):
        if bool((rays.idle > patience).any()):
            lost = rays.face[rays.idle > patience]
            raise GeometryError(
                f"{len(lost)} geodesics do not end, among them those in faces {lost[:8].tolist()}: "
                "look there for faces of no width"
            )
        rays, ends, stops = _advance(t, rays, reflect)
        done = (ends | stops).nonzero()[:, 0]
        last = rays.take(done)
        end.inside[last.ray] = ~stops[done]
        end.travelled[last.ray] = length[last.ray] - last.left
        for name in ("face", "place", "direction", "flipped"):
            getattr(end, name)[last.ray] = getattr(last, name)
        rays = rays.take((~(ends | stops)).nonzero()[:, 0])
    return end if reflect else end._replace(flipped=None)


def _advance(
    t: Triangulation, r: _Rays, reflect: bool
) -> tuple[_Rays, Bool[Tensor, " r"], Bool[Tensor, " r"]]:
    """Move rays into the next face, or to where they stay; also return which ended and which the boundary
    stopped.
    """
    h, share, ahead = _exit(t, r.face, r.place, r.direction)
    size, at_edge = read(t.length, h), read(t.twin, h) < 0
    beyond = torch.where(at_edge, AT_BOUNDARY * size, 0.0)
    ends = ahead >= r.left * (1 - 1e-14) - beyond
    step = torch.where(ends, r.left, ahead)
    place, left = r.place + step * r.direction, r.left - step
    # a geodesic that ends at a vertex does not pass it: it stays in the face from which it reaches the vertex
    passes = ~ends & ((share < AT_VERTEX) | (share > 1 - AT_VERTEX)) & (left > AT_VERTEX * size)
    blocked = ~ends & ~passes & at_edge
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
    moved = step > IDLE * size
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


def _exit(
    t: Triangulation,
    face: Int64[Tensor, " r"],
    place: Complex128[Tensor, " r"],
    direction: Complex128[Tensor, " r"],
) -> tuple[Int64[Tensor, " r"], Float64[Tensor, " r"], Float64[Tensor, " r"]]:
    """Return where rays leave their faces: (half-edge, position as a share of the half-edge, distance)."""
    side, corner, size = (read(x.view(-1, 3), face) for x in (t.side, t.place, t.length))
    conjugate_side = read(t.conjugate_side.view(-1, 3), face)
    # The ray leaves across the nearest half-edge that it points out of. Up to rounding, a place outside is on
    # the edge, and a ray along an edge does not cross it.
    outward = (direction[:, None].conj() * side).imag / size
    depth = (conjugate_side * (place[:, None] - corner)).imag.clamp_min(0) / size
    ahead = torch.where(outward > 1e-12, depth / outward.clamp_min(1e-12), math.inf)
    # comparisons of three columns take a fifth of the time of `min`
    first, second, third = ahead.unbind(1)
    k = (second < first).long()
    ahead = torch.minimum(first, second)
    h = 3 * face + torch.where(third < ahead, 2, k)
    ahead = torch.minimum(ahead, third)
    along = (place + ahead * direction - read(t.place, h)) * read(t.conjugate_side, h)
    return h, (along.real / read(t.length, h).square()).clamp(0, 1), ahead


def _across(
    t: Triangulation,
    h: Int64[Tensor, " r"],
    share: Float64[Tensor, " r"],
    direction: Complex128[Tensor, " r"],
) -> tuple[Int64[Tensor, " r"], Complex128[Tensor, " r"], Complex128[Tensor, " r"]]:
    """Return (face, place, direction) on the other side of half-edges; meaningless on the boundary."""
    twin = read(t.twin, h).clamp_min(0)
    side, length = read(t.side, twin), read(t.length, twin) * read(t.length, h)
    turned = direction * (-side * read(t.conjugate_side, h)) / length
    return twin // 3, read(t.place, twin) + (1 - share) * side, turned / turned.abs()


def _reflected(
    t: Triangulation,
    h: Int64[Tensor, " r"],
    share: Float64[Tensor, " r"],
    direction: Complex128[Tensor, " r"],
    at_vertex: Bool[Tensor, " r"],
) -> tuple[Int64[Tensor, " r"], Complex128[Tensor, " r"], Complex128[Tensor, " r"]]:
    """Return (face, place, direction) of rays reflected by boundary half-edges.

    Where `at_vertex`, the vertex at the half-edge's nearer end reflects: on the double it has angles all
    around, and the ray leaves equal ones on both sides.
    """
    corner = torch.where(share < 0.5, h, around_face(h, 1))
    vertex = t.tail[corner]
    out, turned = t.enter(vertex, t.total[vertex] - t.polar_at(corner, -direction))
    # a ray that starts next to a vertex may pass it outside the vertex's fan: then the edge reflects it
    at_vertex, out = at_vertex & (out >= 0), out.clamp_min(0)
    unit = t.side[h] / t.length[h]
    mirrored = unit * unit * direction.conj()
    return (
        torch.where(at_vertex, out // 3, h // 3),
        torch.where(at_vertex, t.place[out], t.place[h] + share * t.side[h]),
        torch.where(at_vertex, turned, mirrored),
    )


def _through(
    t: Triangulation,
    h: Int64[Tensor, " r"],
    share: Float64[Tensor, " r"],
    direction: Complex128[Tensor, " r"],
) -> tuple[Int64[Tensor, " r"], Complex128[Tensor, " r"]]:
    """Lead rays through the vertices at the nearer ends of h.

    Return (half-edge clockwise of the ray behind the vertex, direction in its face); −1 on the boundary.
    """
    corner = torch.where(share < 0.5, h, around_face(h, 1))
    vertex = t.tail[corner]
    out, turned = t.enter(vertex, t.polar_at(corner, -direction) + math.pi)
    return torch.where(t.boundary[vertex], -1, out), turned


def corner_directions(
    t: Triangulation, end: Traced
) -> tuple[Int64[Tensor, "k 3"], Float64[Tensor, "k 3"], Float64[Tensor, "k 3"]]:
    """Return (vertices, barycentric coordinates, polar directions) at the corners of the ends' faces.

    The polar direction, at the vertex, is that of the geodesic's last direction after parallel transport
    along the straight line from the end to the vertex.
    """
    face = end.face.clamp_min(0)
    h = 3 * face[:, None] + torch.arange(3, device=face.device)
    side, corner, size = (read(x.view(-1, 3), face) for x in (t.conjugate_side, t.place, t.length))
    to_end = end.place[:, None] - corner
    weight = (side * to_end).imag.clamp_min(0).roll(-1, 1)
    weight = weight / weight.sum(1, keepdim=True)
    # an end at the vertex itself lies in the direction the geodesic came from, or sets out in
    arrival = torch.where(end.travelled > 0, -end.direction, end.direction)[:, None]
    to_end = torch.where(to_end.abs() > AT_CORNER * size, to_end, arrival)
    here = t.polar_at(h, to_end)
    along = torch.angle(end.direction[:, None] * to_end.conj())
    return read(t.faces, face), weight, here + along
