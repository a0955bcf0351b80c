"""Triangulation: half-edges, corner angles, and the polar directions around every vertex of a triangle mesh.

    c₂         Half-edge h = 3f + k leads from corner k of face f to its corner k + 1, the face on its left.
   ╱  ╲        `angle[h]` is the corner at its tail. Each face has a plane of its own, with corner 0 at the
h₂╱    ╲h₁     origin, h₀ along the real axis: `place[h]` is the tail of h there, a complex number, and
 ╱  f   ╲      `side[h]` the half-edge as a vector.
c₀ ─────▸ c₁
     h₀        Around a vertex `polar[h]` is the direction of h, counted counter-clockwise from the vertex's
               axis, in angles rescaled so that a whole turn is 2π (Knöppel et al. 2013). At a boundary
               vertex angles are not rescaled, unless their sum exceeds 2π: then it becomes 2π.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import components, following, preceding
from geocnn.geometry.doctor.faults import out_of_scale
from geocnn.geometry.meshes.reading import read
from geocnn.lasting import keep_normal, lasting
from geocnn.safe import normalise


@dataclass(frozen=True, eq=False)
class Triangulation:
    """V vertices, F faces, H = 3F half-edges; lengths in the vertices' units, angles in radians.

    twin: the half-edge in the other direction, −1 on the boundary. scale: polar angle per corner angle.
    total: polar angle of all corners of a vertex. fan: half-edges sorted by tail, then by polar direction,
    with the sort key `fan_key` = tail + polar / total; those of vertex v are fan[fan_ptr[v] : fan_ptr[v +
    1]].
    """

    vertices: Float64[Tensor, "v 3"]
    faces: Int64[Tensor, "f 3"]
    twin: Int64[Tensor, " h"]
    length: Float64[Tensor, " h"]
    place: Complex128[Tensor, " h"]
    side: Complex128[Tensor, " h"]
    angle: Float64[Tensor, " h"]
    polar: Float64[Tensor, " h"]
    scale: Float64[Tensor, " v"]
    total: Float64[Tensor, " v"]
    boundary: Bool[Tensor, " v"]
    fan: Int64[Tensor, " h"]
    fan_ptr: Int64[Tensor, " v+1"]
    fan_key: Float64[Tensor, " h"]

    def __post_init__(self) -> None:
        keep_normal(self)

    @property
    def tail(self) -> Int64[Tensor, " h"]:
        """The vertex that each half-edge leaves."""
        return self.faces.reshape(-1)

    @cached_property
    @lasting()
    def conjugate_side(self) -> Complex128[Tensor, " h"]:
        """The half-edges as conjugated vectors: products with them take half the time if they are stored."""
        return self.side.conj().resolve_conj()

    @cached_property
    @lasting()
    def beyond(self) -> tuple[Int64[Tensor, " h"], Int64[Tensor, " h"], Complex128[Tensor, " h"]]:
        """The face a, c, b on the other side of each half-edge a → b: its half-edges a → c and c → b (−1 on
        the boundary), and (c − b) / (a − b).
        """
        twin = self.twin.clamp_min(0)
        onward, back = following(twin), preceding(twin)
        share = (self.place[back] - self.place[twin]) / self.side[twin]
        return torch.where(self.twin < 0, -1, onward), torch.where(self.twin < 0, -1, back), share

    @cached_property
    @lasting()
    def narrowness(self) -> Float64[Tensor, ""]:
        """The largest ratio, over all vertices, of a vertex's longest edge to its least height in a face."""
        height = 2 * self.face_areas.repeat_interleave(3) / self.length.view(-1, 3).roll(-1, 1).reshape(-1)
        longest = torch.maximum(self.length, self.length.view(-1, 3).roll(1, 1).reshape(-1))
        least = torch.full_like(self.scale, math.inf).scatter_reduce_(0, self.tail, height, "amin")
        return (longest / least[self.tail]).max()

    @cached_property
    @lasting()
    def component(self) -> Int64[Tensor, " v"]:
        """The lowest vertex of each vertex's component."""
        return components(len(self.vertices), self.tail, self.faces.roll(-1, 1).reshape(-1))

    @cached_property
    @lasting()
    def farthest(self) -> Float64[Tensor, " v"]:
        """A length that no shortest path within the vertex's component exceeds: an edge fewer than vertices,
        each as long as the longest. It is near the truth where components are small.
        """
        longest = torch.zeros_like(self.scale).scatter_reduce_(
            0, self.component[self.tail], self.length, "amax"
        )
        size = torch.bincount(self.component, minlength=len(longest))
        return ((size - 1) * longest * (1 + 1e-9))[self.component]

    @property
    def face_areas(self) -> Float64[Tensor, " f"]:
        """Areas of the faces."""
        return 0.5 * _cross(self.side[0::3], -self.side[2::3])

    @property
    def vertex_areas(self) -> Float64[Tensor, " v"]:
        """A third of the area of the faces around each vertex; 0 at a vertex without faces."""
        third = (self.face_areas / 3).repeat_interleave(3)
        return third.new_zeros(len(self.vertices)).index_add_(0, self.tail, third)

    @property
    def defect(self) -> Float64[Tensor, " v"]:
        """The angle defect: 2π (on the boundary π) minus the corner angles; 0 at a vertex without faces."""
        fan = torch.zeros_like(self.scale).index_add_(0, self.tail, self.angle)
        full = torch.where(self.boundary, fan.new_tensor(math.pi), fan.new_tensor(2 * math.pi))
        return torch.where(self.fan_ptr.diff() > 0, full - fan, torch.zeros_like(fan))

    @property
    def normals(self) -> Float64[Tensor, "v 3"]:
        """Unit normals of the vertices, averaged over faces by corner angle; (0, 0, 1) without faces."""
        a, b, c = self.vertices[self.faces].unbind(1)
        face = normalise(torch.linalg.cross(b - a, c - a, dim=-1))
        corner = face.repeat_interleave(3, 0) * self.angle[:, None]
        summed = torch.zeros_like(self.vertices).index_add_(0, self.tail, corner)
        upward = summed.new_tensor([0.0, 0.0, 1.0]).expand_as(summed)
        flat = summed.norm(dim=-1, keepdim=True) < 1e-12
        return normalise(torch.where(flat, upward, summed))

    def scaled(self, factor: float) -> Triangulation:
        """Return the triangulation with all lengths times a factor.

        Raises GeometryError where areas of faces would under- or overflow.
        """
        bigger = replace(
            self,
            vertices=self.vertices * factor,
            length=self.length * factor,
            place=self.place * factor,
            side=self.side * factor,
        )
        lost = out_of_scale(bigger.vertices, bigger.faces)
        if len(lost):
            raise GeometryError(
                f"lengths times {factor:.3g} make areas that are no numbers, of faces {lost[:8].tolist()}; "
                "give a factor nearer to 1"
            )
        return bigger

    def frames(self) -> Float64[Tensor, "v 2 3"]:
        """Return frames (e₁, e₂) of the vertices: e₁ is the polar direction 0, orthogonal to the normal.

        Rescaled polar directions of the edges differ from the directions of their projections, so e₁ is the
        one that fits all edges best.
        """
        normal = self.normals
        first = torch.eye(3, dtype=normal.dtype, device=normal.device)[normal.abs().argmin(-1)]
        u = normalise(torch.linalg.cross(normal, first, dim=-1))
        w = torch.linalg.cross(normal, u, dim=-1)
        edge = self.vertices[self.faces.roll(-1, 1).reshape(-1)] - self.vertices[self.tail]
        projected = torch.complex((edge * u[self.tail]).sum(-1), (edge * w[self.tail]).sum(-1))
        lean = projected * torch.polar(torch.ones_like(self.polar), -self.polar) / self.length
        turn = lean.new_zeros(len(normal)).index_add_(0, self.tail, lean)
        turn = torch.where(turn.abs() > 1e-12, turn / turn.abs().clamp_min(1e-300), torch.ones_like(turn))
        e1 = turn.real[:, None] * u + turn.imag[:, None] * w
        return torch.stack([e1, torch.linalg.cross(normal, e1, dim=-1)], 1)

    def enter(
        self, vertex: Int64[Tensor, " k"], polar: Float64[Tensor, " k"]
    ) -> tuple[Int64[Tensor, " k"], Complex128[Tensor, " k"]]:
        """Find the face into which a polar direction leads from a vertex.

        Return (the half-edge of the vertex just clockwise of the direction, the direction in its face's
        plane). The half-edge is −1 for a direction that leaves the surface, and at a vertex without faces.
        """
        start, count = read(self.fan_ptr, vertex), read(self.fan_ptr.diff(), vertex)
        inner, total = ~read(self.boundary, vertex), read(self.total, vertex)
        polar = torch.where(inner, polar.remainder(2 * math.pi), (polar + LEAN).remainder(2 * math.pi) - LEAN)
        share = (polar / total.clamp_min(1e-300)).clamp(0, 1 - 1e-15)
        at = torch.searchsorted(self.fan_key, vertex + share, right=True) - 1
        at = torch.minimum(torch.maximum(at, start), start + count - 1).clamp_min(0)
        h = read(self.fan, at)
        outside = (count == 0) | (~inner & ((polar < -LEAN) | (polar > total + LEAN)))
        a = ((polar - read(self.polar, h)) / read(self.scale, vertex)).clamp_min(0)
        a = a.minimum(read(self.angle, h))
        direction = read(self.side, h) / read(self.length, h) * torch.polar(torch.ones_like(a), a)
        return torch.where(outside, -1, h), direction

    def polar_at(self, h: Int64[Tensor, "*k"], direction: Complex128[Tensor, "*k"]) -> Float64[Tensor, "*k"]:
        """Return the polar direction, at the tail of h, of a direction in the plane of h's face.

        A direction out of the face is continued across its neighbours laid flat, the shorter way round.
        """
        half = 0.5 * read(self.angle, h)
        a = (
            torch.angle(direction * read(self.conjugate_side, h) * torch.polar(torch.ones_like(half), -half))
            + half
        )
        return read(self.polar, h) + a * read(self.scale, read(self.tail, h))


LEAN = 1e-12
"""Radians by which a direction may lean over a boundary edge and still run along it: sums of angles round
off.
"""


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Return the signed area of the parallelogram of two complex vectors."""
    return (a.conj() * b).imag


def triangulate(vertices: Float64[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> Triangulation:
    """Return the triangulation of vertices and faces that `check_triangles` has accepted.

    The axis of an interior vertex is its longest outgoing edge, of equals the lowest half-edge. The axis of a
    boundary vertex is the boundary half-edge that leaves it.
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


def _twins(tail: Int64[Tensor, " h"], head: Int64[Tensor, " h"], n: int) -> Int64[Tensor, " h"]:
    """Return the half-edge in the other direction, −1 where there is none."""
    key, other = tail * n + head, head * n + tail
    sorted_key, order = key.sort()
    at = torch.searchsorted(sorted_key, other).clamp_max(len(key) - 1)
    return torch.where(sorted_key[at] == other, order[at], -1)


def _polar(
    tail: Int64[Tensor, " h"],
    twin: Int64[Tensor, " h"],
    previous: Int64[Tensor, " h"],
    length: Float64[Tensor, " h"],
    corner: Float64[Tensor, " h"],
    n: int,
) -> Float64[Tensor, " h"]:
    """Sum the rescaled corners counter-clockwise from the axis of each half-edge's tail to the half-edge.

    All vertices are done at once by pointer doubling, in ⌈log₂ valence⌉ rounds.
    """
    first = _first(tail, twin, length, n)
    # the half-edge clockwise of h at the same tail is the one after h's twin; −1 past the boundary
    clockwise = torch.where(twin < 0, -1, twin + 1 - 3 * (twin % 3 == 2).long())
    is_first = first[tail] == torch.arange(len(tail), device=tail.device)
    step = torch.where(is_first, -1, clockwise)
    summed = torch.where(step < 0, torch.zeros_like(corner), corner[step.clamp_min(0)])
    while bool((step >= 0).any()):
        on = step.clamp_min(0)
        summed = summed + torch.where(step < 0, torch.zeros_like(summed), summed[on])
        step = torch.where(step < 0, -1, step[on])
    return summed


def _first(
    tail: Int64[Tensor, " h"], twin: Int64[Tensor, " h"], length: Float64[Tensor, " h"], n: int
) -> Int64[Tensor, " v"]:
    """Return the half-edge of each vertex's axis: the one without a twin, else the longest, of equals the
    first.
    """
    rank = torch.where(twin < 0, math.inf, length)
    best = rank.new_full((n,), -1.0).scatter_reduce_(0, tail, rank, "amax")
    h = torch.arange(len(tail), device=tail.device)
    lowest = torch.where(rank == best[tail], h, len(h))
    return lowest.new_full((n,), len(h)).scatter_reduce_(0, tail, lowest, "amin")
