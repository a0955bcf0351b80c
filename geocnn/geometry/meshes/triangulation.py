"""Triangulation: half-edges, corner angles, and the polar directions around every vertex of a triangle mesh.

    c₂         Half-edge h = 3f + k leads from corner k of face f to its corner k + 1, the face on its left.
   ╱  ╲        `angle[h]` is the corner at its tail. Each face lies in a plane of its own, corner 0 at the
h₂╱    ╲h₁     origin, h₀ along the real axis: `place[h]` is the tail of h there, a complex number, and
 ╱  f   ╲      `side[h]` the half-edge as a vector.
c₀ ─────▸ c₁
     h₀        Around a vertex `polar[h]` is the direction of h, counted counter-clockwise from the vertex's
               axis, in angles rescaled to 2π in the interior (Knöppel et al. 2013). On the boundary they
               stay as they are, unless they exceed 2π: then they are rescaled to that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geocnn.geometry.core.half_edges import following, preceding
from geocnn.lasting import keep_normal, lasting
from geocnn.safe import normalise


@dataclass(frozen=True, eq=False)
class Triangulation:
    """V vertices, F faces, H = 3F half-edges; lengths in the vertices' units, angles in radians, float64.

    vertices [V, 3], faces [F, 3], twin [H] (−1 on the boundary), length [H], place and side [H] complex,
    angle [H], polar [H], scale [V] (polar angle over corner angle), total [V] (polar angle of the whole fan),
    boundary [V], fan [H] (half-edges by their tail, then by polar) with fan_ptr [V + 1] and the key [H] they
    are sorted by, tail + polar / total.
    """

    vertices: Tensor
    faces: Tensor
    twin: Tensor
    length: Tensor
    place: Tensor
    side: Tensor
    angle: Tensor
    polar: Tensor
    scale: Tensor
    total: Tensor
    boundary: Tensor
    fan: Tensor
    fan_ptr: Tensor
    fan_key: Tensor

    def __post_init__(self) -> None:
        keep_normal(self)

    @property
    def tail(self) -> Tensor:
        """The vertex each half-edge leaves, [H]."""
        return self.faces.reshape(-1)

    @cached_property
    @lasting()
    def beyond(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the face a, c, b on the other side of each half-edge a → b: its half-edges a → c and c → b [H],
        −1 on the boundary, and c − b as a multiple [H] (complex) of a − b.
        """
        twin = self.twin.clamp_min(0)
        onward, back = following(twin), preceding(twin)
        share = (self.place[back] - self.place[twin]) / self.side[twin]
        return torch.where(self.twin < 0, -1, onward), torch.where(self.twin < 0, -1, back), share

    @cached_property
    @lasting()
    def narrowness(self) -> Tensor:
        """The longest edge of a vertex over its least height in a face, the most of all vertices, []."""
        height = 2 * self.face_areas.repeat_interleave(3) / self.length.view(-1, 3).roll(-1, 1).reshape(-1)
        longest = torch.maximum(self.length, self.length.view(-1, 3).roll(1, 1).reshape(-1))
        least = torch.full_like(self.scale, math.inf).scatter_reduce_(0, self.tail, height, "amin")
        return (longest / least[self.tail]).max()

    @property
    def face_areas(self) -> Tensor:
        """[F]."""
        return 0.5 * _cross(self.side[0::3], -self.side[2::3])

    @property
    def vertex_areas(self) -> Tensor:
        """A third of the adjacent faces, [V]; 0 at a vertex without faces."""
        third = (self.face_areas / 3).repeat_interleave(3)
        return third.new_zeros(len(self.vertices)).index_add_(0, self.tail, third)

    @property
    def defect(self) -> Tensor:
        """2π minus the corner angles of an interior vertex, π minus those of a boundary vertex, [V]."""
        fan = torch.zeros_like(self.scale).index_add_(0, self.tail, self.angle)
        full = torch.where(self.boundary, fan.new_tensor(math.pi), fan.new_tensor(2 * math.pi))
        return torch.where(self.fan_ptr.diff() > 0, full - fan, torch.zeros_like(fan))

    @property
    def normals(self) -> Tensor:
        """Unit vertex normals [V, 3], faces weighted by their corner's angle; (0, 0, 1) without faces."""
        a, b, c = self.vertices[self.faces].unbind(1)
        face = normalise(torch.linalg.cross(b - a, c - a, dim=-1))
        corner = face.repeat_interleave(3, 0) * self.angle[:, None]
        summed = torch.zeros_like(self.vertices).index_add_(0, self.tail, corner)
        upward = summed.new_tensor([0.0, 0.0, 1.0]).expand_as(summed)
        flat = summed.norm(dim=-1, keepdim=True) < 1e-12
        return normalise(torch.where(flat, upward, summed))

    def frames(self) -> Tensor:
        """(e₁, e₂) at the vertices [V, 2, 3]: e₁ is the polar direction 0, in the plane across the normal.

        The edges' polar directions are intrinsic and their projections are not, so e₁ is turned to agree with
        all of them best.
        """
        normal = self.normals
        first = torch.eye(3, dtype=normal.dtype, device=normal.device)[normal.abs().argmin(-1)]
        u = normalise(torch.linalg.cross(normal, first, dim=-1))
        w = torch.linalg.cross(normal, u, dim=-1)
        edge = self.vertices[self.faces.roll(-1, 1).reshape(-1)] - self.vertices[self.tail]
        seen = torch.complex((edge * u[self.tail]).sum(-1), (edge * w[self.tail]).sum(-1))
        lean = seen * torch.polar(torch.ones_like(self.polar), -self.polar) / self.length
        turn = lean.new_zeros(len(normal)).index_add_(0, self.tail, lean)
        turn = torch.where(turn.abs() > 1e-12, turn / turn.abs().clamp_min(1e-300), torch.ones_like(turn))
        e1 = turn.real[:, None] * u + turn.imag[:, None] * w
        return torch.stack([e1, torch.linalg.cross(normal, e1, dim=-1)], 1)

    def enter(self, vertex: Tensor, polar: Tensor) -> tuple[Tensor, Tensor]:
        """The half-edge [K] of a vertex's fan just clockwise of a polar direction, and the direction in the
        plane of its face.

        A direction that leaves the surface at a boundary vertex, or a vertex without faces, gives half-edge
        −1.
        """
        start, count = self.fan_ptr[vertex], self.fan_ptr.diff()[vertex]
        inner = ~self.boundary[vertex]
        polar = torch.where(inner, polar.remainder(2 * math.pi), (polar + LEAN).remainder(2 * math.pi) - LEAN)
        share = (polar / self.total[vertex].clamp_min(1e-300)).clamp(0, 1 - 1e-15)
        at = torch.searchsorted(self.fan_key, vertex + share, right=True) - 1
        at = torch.minimum(torch.maximum(at, start), start + count - 1).clamp_min(0)
        h = self.fan[at]
        outside = (count == 0) | (~inner & ((polar < -LEAN) | (polar > self.total[vertex] + LEAN)))
        a = ((polar - self.polar[h]) / self.scale[vertex]).clamp_min(0).minimum(self.angle[h])
        direction = self.side[h] / self.length[h] * torch.polar(torch.ones_like(a), a)
        return torch.where(outside, -1, h), direction

    def polar_at(self, h: Tensor, direction: Tensor) -> Tensor:
        """The polar direction at the tail of h of a direction [K] (complex) in the plane of h's face.

        A direction out of the face is meant as laid flat across its neighbours, the shorter way round.
        """
        half = 0.5 * self.angle[h]
        a = torch.angle(direction * self.side[h].conj() * torch.polar(torch.ones_like(half), -half)) + half
        return self.polar[h] + a * self.scale[self.tail[h]]


LEAN = 1e-12
"""Radians by which a direction may lean over a boundary edge and still run along it: angles summed round off.
"""


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """The signed area of two complex vectors' parallelogram."""
    return (a.conj() * b).imag


def triangulate(vertices: Tensor, faces: Tensor) -> Triangulation:
    """The triangulation of vertices [V, 3] float64 and faces [F, 3] int64 that `check_triangles` has passed.

    The axis of an interior vertex is its longest outgoing edge (the lowest half-edge of equals), of a
    boundary vertex its first boundary edge, the one with its face on the left.
    """
    n, tail = len(vertices), faces.reshape(-1)
    head = faces.roll(-1, 1).reshape(-1)
    edge = vertices[head] - vertices[tail]
    length = edge.norm(dim=-1)
    twin = _twins(tail, head, n)
    a = length[0::3]
    across = torch.linalg.cross(edge[0::3], -edge[2::3], dim=-1).norm(dim=-1)
    apex = torch.complex((edge[0::3] * -edge[2::3]).sum(-1) / a, across / a)
    zero = torch.zeros_like(apex)
    place = torch.stack([zero, torch.complex(a, torch.zeros_like(a)), apex], 1)
    side = (place.roll(-1, 1) - place).reshape(-1)
    h = torch.arange(len(tail), device=tail.device)
    previous = preceding(h)
    angle = torch.angle(-side[previous] * side.conj())
    boundary = torch.zeros(n, dtype=torch.bool, device=tail.device)
    boundary[tail[twin < 0]] = True
    summed = vertices.new_zeros(n).index_add_(0, tail, angle)
    scale = torch.where(summed == 0, 1.0, 2 * math.pi / summed.clamp_min(1e-300))
    scale = torch.where(boundary, scale.clamp_max(1), scale)
    total = summed * scale
    polar = _polar(tail, twin, previous, length, angle * scale[tail], n)
    fan_key, fan = torch.sort(tail + polar / total[tail], stable=True)
    counts = torch.bincount(tail, minlength=n)
    fan_ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Triangulation(
        vertices,
        faces,
        twin,
        length,
        place.reshape(-1),
        side,
        angle,
        polar,
        scale,
        total,
        boundary,
        fan,
        fan_ptr,
        fan_key,
    )


def _twins(tail: Tensor, head: Tensor, n: int) -> Tensor:
    """The half-edge the other way [H], −1 where there is none."""
    key, other = tail * n + head, head * n + tail
    sorted_key, order = key.sort()
    at = torch.searchsorted(sorted_key, other).clamp_max(len(key) - 1)
    return torch.where(sorted_key[at] == other, order[at], -1)


def _polar(tail: Tensor, twin: Tensor, previous: Tensor, length: Tensor, corner: Tensor, n: int) -> Tensor:
    """Sum of the corners [H] (rescaled) counter-clockwise from the axis of each half-edge's tail to the
    half-edge.

    By pointer doubling around the fans, all at once: ⌈log₂ valence⌉ rounds.
    """
    first = _first(tail, twin, length, n)
    # the half-edge clockwise of h at the same tail: across h, then on; −1 past the boundary
    clockwise = torch.where(twin < 0, -1, twin + 1 - 3 * (twin % 3 == 2).long())
    is_first = first[tail] == torch.arange(len(tail), device=tail.device)
    step = torch.where(is_first, -1, clockwise)
    summed = torch.where(step < 0, torch.zeros_like(corner), corner[step.clamp_min(0)])
    while bool((step >= 0).any()):
        on = step.clamp_min(0)
        summed = summed + torch.where(step < 0, torch.zeros_like(summed), summed[on])
        step = torch.where(step < 0, -1, step[on])
    return summed


def _first(tail: Tensor, twin: Tensor, length: Tensor, n: int) -> Tensor:
    """The half-edge the axis of each vertex lies along [V]: without a twin, else the longest, else the lowest
    number.
    """
    rank = torch.where(twin < 0, math.inf, length)
    best = rank.new_full((n,), -1.0).scatter_reduce_(0, tail, rank, "amax")
    h = torch.arange(len(tail), device=tail.device)
    lowest = torch.where(rank == best[tail], h, len(h))
    return lowest.new_full((n,), len(h)).scatter_reduce_(0, tail, lowest, "amin")
