"""Shortest geodesics on a triangulation, from all bases at once: unfolded, then corrected by tracing."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry.tracing import Traced, around_face, trace_from_vertices
from geocnn.geometry.triangulation import Triangulation

NEARER = 1e-5
"""The share of its distance a vertex must come nearer by for its neighbours to be unfolded again. Without it
rounds of ever smaller gains follow each other; what is left is the correction's to remove.
"""


class Unfolded(NamedTuple):
    """P pairs (base, vertex), sorted, and what unfolding knows of them: vector [P] (complex, polar directions
    at the base), arrival [P], the polar direction at the vertex in which the geodesic from the base moves
    there.
    """

    base: Tensor
    vertex: Tensor
    vector: Tensor
    arrival: Tensor


def unfold(t: Triangulation, base: Tensor, radius: float) -> Unfolded:
    """All vertices within the radius of the vertices base [B] and where they come to lie, nearly.

    Faces are laid flat outwards from the base, each vertex where it comes nearest (discrete geodesic polar
    coordinates, Melvær & Reimers 2012): exact where the unfolded faces are those a straight line crosses.
    Label correcting, all bases at once: as many rounds as rings, memory bases × vertices for a few hundred at
    a time.
    """
    size = max(1, min(len(base), 20_000_000 // max(1, len(t.vertices))))
    parts = [_unfold(t, chunk, radius) for chunk in base.split(size)]
    starts = range(0, len(base), size)
    parts = [p._replace(base=p.base + k) for p, k in zip(parts, starts, strict=True)]
    joined = [torch.cat(x) for x in zip(*parts, strict=True)]
    return Unfolded(*joined) if parts else Unfolded(base, base, t.place[:0], t.polar[:0])


class _Table(NamedTuple):
    """What is known of pairs (base, vertex), numbered base · V + vertex: distance, vector, arrival, all
    [B · V].
    """

    distance: Tensor
    vector: Tensor
    arrival: Tensor


class _Proposals(NamedTuple):
    """Vectors for pairs, found by unfolding the face of a half-edge across it (way 0), or along the edge from
    its tail (way 1) or head (way 2).
    """

    pair: Tensor
    vector: Tensor
    edge: Tensor
    way: Tensor


def _unfold(t: Triangulation, base: Tensor, radius: float) -> Unfolded:
    n, device = len(t.vertices), base.device
    distance = torch.full((len(base) * n,), math.inf, dtype=t.length.dtype, device=device)
    known = _Table(distance, torch.zeros_like(distance, dtype=t.place.dtype), torch.zeros_like(distance))
    own = torch.arange(len(base), device=device) * n + base
    distance[own] = 0
    pair, vector, arrival = _first_ring(t, base, radius)
    found = [own]
    while len(pair):
        distance[pair], known.vector[pair], known.arrival[pair] = vector.abs(), vector, arrival
        found.append(torch.unique(pair))
        proposed = _next_ring(t, found[-1], known)
        near = proposed.vector.abs()
        nearer = (near <= radius) & (near < distance[proposed.pair] * (1 - NEARER))
        proposed, near = _Proposals(*(x[nearer] for x in proposed)), near[nearer]
        distance.scatter_reduce_(0, proposed.pair, near, "amin")
        proposed = _Proposals(*(x[near == distance[proposed.pair]] for x in proposed))
        pair, vector, arrival = proposed.pair, proposed.vector, _arrivals(t, proposed, known)
    pair = torch.unique(torch.cat(found))
    return Unfolded(pair // n, pair % n, known.vector[pair], known.arrival[pair])


def _fan(t: Triangulation, vertex: Tensor) -> tuple[Tensor, Tensor]:
    """All half-edges that leave vertices [K]: (which of the K, half-edge)."""
    counts = t.fan_ptr.diff()[vertex]
    which = torch.repeat_interleave(torch.arange(len(vertex), device=vertex.device), counts)
    rank = torch.arange(len(which), device=vertex.device) - (counts.cumsum(0) - counts)[which]
    return which, t.fan[t.fan_ptr[vertex[which]] + rank]


def _first_ring(t: Triangulation, base: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """(pair, vector, arrival) of the neighbours of each base: both of each face, so that no boundary edge is
    missed.
    """
    which, h = _fan(t, base)
    following, previous = around_face(h, 1), around_face(h, 2)
    left = t.polar[h] + t.angle[h] * t.scale[base[which]]
    vector = torch.cat([torch.polar(t.length[h], t.polar[h]), torch.polar(t.length[previous], left)])
    arrival = torch.cat([t.polar_at(following, -t.side[h]), t.polar[previous]]) + math.pi
    pair = which.repeat(2) * len(t.vertices) + torch.cat([t.tail[following], t.tail[previous]])
    near = vector.abs() <= radius
    return pair[near], vector[near], arrival[near]


def _next_ring(t: Triangulation, pair: Tensor, known: _Table) -> _Proposals:
    """The third corners of all faces with two known corners, one of them of the pairs given."""
    n = len(t.vertices)
    which, h = _fan(t, pair % n)
    edge, row = torch.cat([h, around_face(h, 2)]), (pair // n)[which].repeat(2) * n
    u, v = row + t.tail[edge], row + t.tail[around_face(edge, 1)]
    far, near = (
        torch.maximum(known.distance[u], known.distance[v]),
        torch.minimum(known.distance[u], known.distance[v]),
    )
    use = far.isfinite() & (near > 0)
    edge, row, u, v = edge[use], row[use], u[use], v[use]
    at_u, at_v, opposite = known.vector[u], known.vector[v], around_face(edge, 2)
    at_w = 0.5 * (at_u + at_v) + _turn(t, edge, at_u, at_v) * (
        t.place[opposite] - t.place[edge] - 0.5 * t.side[edge]
    )
    # Seen from the base u lies to the left of v. What is not seen between them is reached along an edge:
    # around the one in the way, or the nearer where the edge is seen from its face, or is torn, its ends
    # reached on two sides of a handle or a limb.
    torn = ((at_v - at_u).abs() / t.length[edge] - 1).abs() > 0.5
    blind, u_first = torn | ((at_v.conj() * at_u).imag <= 0), known.distance[u] < known.distance[v]
    around_u = torch.where(blind, u_first, (at_w.conj() * at_u).imag < 0)
    around_v = torch.where(blind, ~u_first, (at_v.conj() * at_w).imag < 0)
    by_u = at_u * (1 + t.length[opposite] / known.distance[u])
    by_v = at_v * (1 + t.length[around_face(edge, 1)] / known.distance[v])
    vector = torch.where(around_v, by_v, torch.where(around_u, by_u, at_w))
    return _Proposals(row + t.tail[opposite], vector, edge, torch.where(around_v, 2, around_u.long()))


def _turn(t: Triangulation, edge: Tensor, at_u: Tensor, at_v: Tensor) -> Tensor:
    """The rotation from the plane of an edge's face to the base's, where its ends lie at at_u and at_v."""
    turn = (at_v - at_u) * t.side[edge].conj()
    return turn / turn.abs().clamp_min(1e-300)


def _arrivals(t: Triangulation, proposed: _Proposals, known: _Table) -> Tensor:
    """The polar directions at the vertices in which the proposals' geodesics arrive."""
    n, edge = len(t.vertices), proposed.edge
    row, onward, opposite = proposed.pair // n * n, around_face(edge, 1), around_face(edge, 2)
    u, v = row + t.tail[edge], row + t.tail[onward]
    turn = _turn(t, edge, known.vector[u], known.vector[v])
    straight = t.polar_at(opposite, -proposed.vector * turn.conj()) + math.pi
    # along the edge from u, or from v: as far from the edge's direction at its end as at its start
    from_u = t.polar[opposite] + math.pi
    from_v = from_u + t.angle[opposite] * t.scale[t.tail[opposite]]
    around_u = from_u + known.arrival[u] - t.polar[edge] - t.angle[edge] * t.scale[t.tail[edge]]
    around_v = from_v + known.arrival[v] - t.polar[onward]
    return torch.where(proposed.way == 2, around_v, torch.where(proposed.way == 1, around_u, straight))


def correct(
    t: Triangulation, start: Tensor, found: Unfolded, rounds: int = 12
) -> tuple[Tensor, Tensor, Tensor]:
    """(vector, arrival, met) [P] of unfolded pairs, start [P] their bases' vertices: traced until they meet.

    A round traces each vector and adds what its end misses the vertex by, carried back, which shrinks the
    miss by a factor of about K r²/6, K the curvature; 1e-9 of the way ends it. Where no straightest geodesic
    meets the vertex (behind one of more than 2π, or past a boundary) the unfolded vector and arrival stay,
    and met is False.
    """
    vector, arrival, met = found.vector.clone(), found.arrival.clone(), start == found.vertex
    trial, missed_by = found.vector.clone(), found.vector.abs()
    active = (~met).nonzero()[:, 0]
    for _ in range(rounds):
        if not len(active):
            break
        v = trial[active]
        end = trace_from_vertices(t, start[active], torch.angle(v), v.abs())
        miss, arrives, meets = _miss(t, end, found.vertex[active])
        hit = meets & (end.face >= 0) & (miss.abs() <= 1e-9 * v.abs())
        done = active[hit]
        vector[done], arrival[done], met[done] = v[hit], arrives[hit], True
        # a miss that does not shrink has lost the vertex; a way the boundary cut short goes on from there
        on = ~hit & (end.face >= 0) & (miss.abs() < missed_by[active])
        missed_by[active] = miss.abs()
        trial[active] = v / v.abs().clamp_min(1e-300) * (end.travelled + miss * end.direction.conj())
        active = active[on]
    return vector, arrival, met


def _miss(t: Triangulation, end: Traced, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(from the ends to vertices q [K] as complex in the end face's plane, polar direction of arrival,
    whether the face has q as a corner).
    """
    face = end.face.clamp_min(0)
    h = 3 * face[:, None] + torch.arange(3, device=q.device)
    corner = t.faces[face] == q[:, None]
    own = h.gather(1, corner.long().argmax(1, keepdim=True))[:, 0]
    in_face = t.place[own] - end.place
    # elsewhere: straight through space, laid into the face's plane
    a, b, c = t.vertices[t.faces[face]].unbind(1)
    e1 = (b - a) / t.length[3 * face, None]
    e2 = torch.linalg.cross(torch.linalg.cross(e1, c - a, dim=-1), e1, dim=-1)
    e2 = e2 / e2.norm(dim=-1, keepdim=True)
    d = t.vertices[q] - a
    across = torch.complex((d * e1).sum(-1), (d * e2).sum(-1)) - end.place
    meets = corner.any(1)
    return torch.where(meets, in_face, across), t.polar_at(own, -end.direction) + math.pi, meets
