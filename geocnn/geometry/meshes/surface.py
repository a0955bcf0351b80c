"""Mesh: a triangulated surface, and its coarser levels, which are some of its vertices.

Directions at a vertex are polar, rescaled to 2π around it; geodesics are traced and unfolded on the triangles
of the finest level, so a coarse level's stencils follow the same surface. The anchor of a vertex is its
longest edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.connection import Connection, pairs_once
from geocnn.geometry.core.half_edges import components
from geocnn.geometry.core.results import Disc, Exp, Log, Placed, SurfacePoint
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.meshes.edges import across_edges, along_edges, halves
from geocnn.geometry.meshes.face_points import check_face_points, in_plane
from geocnn.geometry.meshes.heat import log_by_heat
from geocnn.geometry.meshes.levels import Reading, farthest_points, read_from
from geocnn.geometry.meshes.trace import Traced, corner_directions, trace_from_faces, trace_from_vertices
from geocnn.geometry.meshes.triangulation import Triangulation, triangulate
from geocnn.geometry.meshes.unfold import Unfolded, unfold
from geocnn.groups.planar import SO2, Element, act, compose, inverse, wrapped

MOST_EDGES = 1e6
"""Of a traced geodesic's length; its end is then off by some 1e-10 edges."""


@dataclass(frozen=True, eq=False)
class Mesh(Surface):
    """A triangle mesh's points: the vertices `vertex` [N] of a triangulation, all of them at the finest
    level.

    `reading` says how a field on the points is read at every vertex of the triangulation; None where the
    points are the vertices.
    """

    triangulation: Triangulation
    vertex: Tensor
    reading: Reading | None = None

    def __repr__(self) -> str:
        return described(self, len(self.faces), self.n_vertices)

    @property
    def faces(self) -> Tensor:
        """[F, 3] vertex ids of the triangulation; those of the points at the finest level."""
        return self.triangulation.faces

    @property
    def vertices(self) -> Tensor:
        """[V, 3], all of the triangulation; the points at the finest level."""
        return self.triangulation.vertices

    @property
    def spacing(self) -> float:
        """The side of a square of a point's mean area; vertices without faces do not count."""
        return math.sqrt(float(self.areas[self.areas > 0].mean()))

    @property
    def placed(self) -> Placed:
        return super().placed._replace(vertex=self.vertex)

    @property
    def _pads(self) -> bool:
        return self.reading is not None

    def is_same_as(self, other: Surface) -> bool:
        if not isinstance(other, Mesh):
            return False
        ours, theirs = self.triangulation, other.triangulation
        return ours is theirs or (
            torch.equal(ours.faces, theirs.faces) and torch.equal(ours.vertices, theirs.vertices)
        )

    def _exp(self, base: Placed, vectors: Tensor, reflect: bool = False) -> Exp:
        t, start, gauge = self.triangulation, vertex_of(base), (base.anchor, base.flipped)
        z = torch.view_as_complex(vectors.contiguous())
        polar, _ = compose(inverse(gauge), (torch.angle(z), None))
        end = trace_from_vertices(t, start, polar, _traceable(t, z.abs()), reflect)
        vertex, weight, parallel = corner_directions(t, end)
        angle = _turn(polar, end, parallel)
        entered = end.face >= 0
        if not bool(entered.all()):
            # no face in that direction: the point stays where it is
            own = torch.tensor([1.0, 0.0, 0.0], dtype=weight.dtype, device=weight.device)
            vertex = torch.where(entered[:, None], vertex, start[:, None])
            weight = torch.where(entered[:, None], weight, own)
            angle = torch.where(entered[:, None], angle, torch.zeros_like(angle))
        end = end._replace(inside=end.inside | (~entered & (z.abs() == 0)))
        return self._read(end, gauge, vertex, weight, angle)

    def _exp_in_faces(self, base: SurfacePoint, vectors: Tensor, reflect: bool) -> Exp:
        t = self.triangulation
        base = check_face_points(base, len(t.faces), self.points)
        z = torch.view_as_complex(self._vectors(vectors, len(base.face)).contiguous())
        straight = torch.angle(z)
        direction = torch.polar(torch.ones_like(straight), straight)
        length = _traceable(t, z.abs())
        end = trace_from_faces(t, base.face, in_plane(t, base), direction, length, reflect)
        vertex, weight, parallel = corner_directions(t, end)
        in_face = torch.zeros_like(straight), None
        return self._read(end, in_face, vertex, weight, _turn(straight, end, parallel))

    def _read(self, end: Traced, gauge: Element, vertex: Tensor, weight: Tensor, angle: Tensor) -> Exp:
        """Ends whose fields are read at vertices [K, 3]; angle [K, 3], with the end's flips, takes their axes
        to the bases', the gauge [K] those to the bases' frames.
        """
        points = (weight[..., None] * self.triangulation.vertices[vertex]).sum(1)
        source, read, angle = self._sources(vertex, weight, angle)
        flip = None if end.flipped is None else end.flipped[:, None]
        angle, flip = self._seen(gauge, source, angle, flip)
        return Exp(points, source, read, angle, flip, end.inside, end.travelled, end.face, weight)

    def _sources(self, vertex: Tensor, weight: Tensor, angle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values at vertices [K, 3] as values at points [K, S]: (source, weight, angle between axes)."""
        if self.reading is None:
            return vertex, weight, angle
        r = self.reading
        return (
            r.source[vertex].flatten(1),
            (weight[..., None] * r.weight[vertex]).flatten(1),
            (angle[..., None] + r.angle[vertex]).flatten(1),
        )

    def _seen(self, gauge: Element, source: Tensor, angle: Tensor, flip: Tensor | None = None) -> Element:
        """Transporters [K, S] between axes as transporters between frames, the bases' in the gauge [K]."""
        at = gauge[0][:, None], None if gauge[1] is None else gauge[1][:, None]
        there = self.anchor[source], None if self.flipped is None else self.flipped[source]
        seen, flip = compose(at, compose((angle, flip), inverse(there)))
        return wrapped(seen), None if flip is None else flip.expand_as(seen)

    def _log(self, base: Placed, target: Placed) -> Log:
        return self._log_to_nearest(base, [target])

    def _log_to_nearest(self, base: Placed, targets: list[Placed]) -> Log:
        """The log of each base to the nearest of its targets, one in each of the lists."""
        start, goals = vertex_of(base), torch.stack([vertex_of(t) for t in targets], 1)
        if not len(start):
            none = base.anchor.new_zeros(0)
            flip = None if base.flipped is None and targets[0].flipped is None else none.bool()
            return Log(none.new_zeros(0, 2), none, flip, none.bool(), none.bool())
        bases, row = torch.unique(start, return_inverse=True)
        pair, which, found, reached = self._reach(bases, row, goals)
        goal = goals.gather(1, which[:, None])[:, 0]
        vector, arrival, met = found.vector[pair], found.arrival[pair], found.met[pair]
        here, there = (base.anchor, base.flipped), _gauge_of(targets, which)
        return log_between(here, there, vector, arrival, reached, start == goal)._replace(met=met & reached)

    def _log_by_heat(self, base: Placed, target: Placed) -> Log:
        start, goal = vertex_of(base), vertex_of(target)
        here, there = (base.anchor, base.flipped), (target.anchor, target.flipped)
        return log_between(here, there, *log_by_heat(self.triangulation, start, goal), start == goal)

    def _reach(self, bases: Tensor, row: Tensor, goals: Tensor) -> tuple[Tensor, Tensor, Unfolded, Tensor]:
        """Unfold from bases until one of the goals [K, G] of each row [K] is met, or the surface ends: (place
        of the nearest pair, which of the goals it is, what was unfolded, reached).
        """
        t = self.triangulation
        n = len(t.vertices)
        straight = (t.vertices[bases[row]] - t.vertices[goals[:, 0]]).norm(dim=-1)
        radius = 1.2 * float(straight.max() if len(straight) else 0.0) + 2 * float(t.length.max())
        before = -1
        while True:
            found = unfold(t, bases, radius)
            key, wanted = found.base * n + found.vertex, row[:, None] * n + goals
            pair = torch.searchsorted(key, wanted).clamp_max(len(key) - 1)
            distance = torch.where(key[pair] == wanted, found.vector[pair].abs(), torch.inf)
            nearest, which = distance.min(1)
            reached = nearest.isfinite()
            if bool(reached.all()) or len(key) == before:
                return pair.gather(1, which[:, None])[:, 0], which, found, reached
            before, radius = len(key), 2 * radius

    def _disc(self, base: Placed, radius: float) -> Disc:
        t, start = self.triangulation, vertex_of(base)
        found = unfold(t, start, radius)
        jacobian = _jacobian(t, found)
        point = torch.full((len(t.vertices),), -1, dtype=torch.int64, device=start.device)
        point[self.vertex] = torch.arange(self.n_points, device=start.device)
        # a vertex without faces is no part of the surface
        use = (point[found.vertex] >= 0) & (t.fan_ptr.diff()[found.vertex] > 0)
        found, jacobian = Unfolded(*(x[use] for x in found)), jacobian[use]
        source = point[found.vertex]
        at = base.take(found.base)
        own = start[found.base] == found.vertex
        angle = torch.where(own, torch.zeros_like(found.arrival), torch.angle(found.vector) - found.arrival)
        angle, flip = self._seen((at.anchor, at.flipped), source[:, None], angle[:, None])
        log = Log(
            _components(found.vector, (at.anchor, at.flipped)),
            angle[:, 0],
            None if flip is None else flip[:, 0],
            torch.ones_like(own),
            found.met,
        )
        return Disc(found.base, source, log, jacobian)

    def connection(self) -> Connection:
        """The triangulation's edges; between the points of a coarser level, those whose vertices meet.

        A vertex belongs to the point it reads the most of; the transport along an edge is exact, between the
        points of a level that of log.
        """
        if self.reading is None:
            tail, head, angle, _ = along_edges(self.triangulation, halves(self.triangulation))
            at = self.placed.take(tail)
            angle, flip = self._seen((at.anchor, at.flipped), head[:, None], angle[:, None])
            return Connection(tail, head, angle[:, 0], None if flip is None else flip[:, 0])
        r = self.reading
        point = r.source.gather(1, r.weight.argmax(1, keepdim=True))[:, 0]
        point[self.vertex] = torch.arange(self.n_points, device=point.device)
        near = point[self.faces]
        return self._joined(*pairs_once(near, near.roll(-1, 1), self.n_points))

    @property
    def n_vertices(self) -> int:
        """Of the triangulation; as many as points at the finest level."""
        return len(self.triangulation.vertices)

    def face_connection(self) -> Connection:
        """Faces as points, in the gauge of their planes (e₁ along the first edge), joined across inner edges.

        Nothing is rescaled here: the holonomy around a vertex is its angle defect.
        """
        return across_edges(self.triangulation, halves(self.triangulation))

    def half_edges(self) -> tuple[Tensor, Tensor]:
        """One half-edge of each edge, and the one beyond it, −1 on the boundary, [E] each."""
        h = halves(self.triangulation)
        return h, self.triangulation.twin[h]

    def _curvature(self) -> Tensor:
        t = self.triangulation
        total = torch.where(t.boundary, torch.zeros_like(t.defect), t.defect)
        if self.reading is not None:
            r = self.reading
            shared = (total[:, None] * r.weight).flatten()
            total = torch.zeros_like(self.areas).index_add_(0, r.source.flatten(), shared)
        empty = self.areas == 0
        return torch.where(empty, 0.0, total / torch.where(empty, torch.ones_like(total), self.areas))

    def coarser(self) -> Mesh:
        """A quarter of the points, farthest first, on the same triangles, at least one a component; each with
        the area it speaks for.

        Raises GeometryError where fewer than four points are left.
        """
        t = self.triangulation
        usable = self.vertex[(t.fan_ptr.diff() > 0)[self.vertex]]
        part = components(len(t.vertices), t.tail, t.faces.roll(-1, 1).reshape(-1))
        # farther than this no point is left uncovered by a quarter of them
        found = unfold(t, usable, 2.5 * self.spacing)
        return level(t, thinned(t, usable, part, found), 2 * self.spacing)


def described(surface: Surface, n_faces: int, n_vertices: int) -> str:
    """A mesh, or a coarser level of one, in a line."""
    of = "" if surface.n_points == n_vertices else f" of {n_vertices} vertices"
    size = f"{n_faces} faces, area {float(surface.areas.sum()):.4g}, spacing {surface.spacing:.4g}"
    return f"{type(surface).__name__}({surface.n_points} points{of}, {size})"


def thinned(t: Triangulation, vertex: Tensor, part: Tensor, found: Unfolded) -> Tensor:
    """A quarter of the vertices, farthest first, at least one of each part [V] of the surface.

    Raises GeometryError for fewer than four.
    """
    if len(vertex) < 4:
        raise GeometryError(
            f"a level of {len(vertex)} points cannot be thinned to a quarter; ask for fewer levels"
        )
    # a component without a point would have nothing to be read from
    n = max(len(vertex) // 4, len(torch.unique(part[vertex])))
    return vertex[farthest_points(t.vertices[vertex], found, vertex, n)]


def vertex_of(base: Placed) -> Tensor:
    assert base.vertex is not None
    return base.vertex


def _gauge_of(targets: list[Placed], which: Tensor) -> tuple[Tensor, Tensor | None]:
    """(anchor, flipped) [K] of the chosen one of each target's lists."""
    if len(targets) == 1:
        return targets[0].anchor, targets[0].flipped
    none = torch.zeros_like(which, dtype=torch.bool)
    anchors = torch.stack([t.anchor for t in targets])
    flipped = torch.stack([none if t.flipped is None else t.flipped for t in targets])
    return anchors.gather(0, which[None])[0], flipped.gather(0, which[None])[0]


def _components(vector: Tensor, gauge: tuple[Tensor, Tensor | None]) -> Tensor:
    """Vectors [K] in the axes as components [K, 2] in frames that the gauge takes them to."""
    return torch.view_as_real(act(gauge, vector))


def _turn(start: Tensor, end: Traced, parallel: Tensor) -> Tensor:
    """The angles [K, 3] of the elements that take what is parallel to a geodesic at its end to its direction
    at the start [K].
    """
    if end.flipped is None:
        return start[:, None] - parallel
    return start[:, None] + torch.where(end.flipped[:, None], parallel, -parallel)


def _traceable(t: Triangulation, length: Tensor) -> Tensor:
    """The lengths [K]. Raises GeometryError for those of more than MOST_EDGES mean edges."""
    far = (length > MOST_EDGES * t.length.mean()).nonzero()[:, 0]
    if len(far):
        raise GeometryError(
            f"vectors {far[:8].tolist()} are longer than {MOST_EDGES:g} mean edges: a geodesic takes a step "
            "for every face it crosses; give shorter ones"
        )
    return length


def log_between(
    here: Element, there: Element, vector: Tensor, arrival: Tensor, reached: Tensor, own: Tensor
) -> Log:
    """The log of vectors and directions of arrival [K] in the axes, seen in the gauges of base and target;
    `own` marks bases that are their own targets.
    """
    vector = torch.where(reached, vector, torch.zeros_like(vector))
    angle = torch.where(own | ~reached, torch.zeros_like(arrival), torch.angle(vector) - arrival)
    angle, flip = compose(here, compose((angle, None), inverse(there)))
    return Log(_components(vector, here), wrapped(angle), flip, reached)


def _jacobian(t: Triangulation, found: Unfolded) -> Tensor:
    """J at each pair [P]: the length of the circle through it over 2πr, averaged over smaller circles.

    By Gauss and Bonnet a circle's length grows by 2π less the curvature it encloses, so J(r) = 1 − Σ δ (1 −
    r'/r) / 2π over the angle defects δ at distances r' < r. Kept between 1/2 and 2: on discs that wrap around
    a limb it means little.
    """
    r = found.vector.abs()
    defect = (t.defect * ~t.boundary)[found.vertex]
    # directions at the base itself are rescaled: where it lies inside, by its defect
    own = (r == 0).nonzero()[:, 0]
    defect[own] = 2 * math.pi * (1 - 1 / t.scale[found.vertex[own]])
    order = torch.argsort(r, stable=True)
    order = order[torch.argsort(found.base[order], stable=True)]
    d, rs = defect[order], r[order]
    # sums over the pairs before each, of the same base
    enclosed, moment = d.cumsum(0) - d, (d * rs).cumsum(0) - d * rs
    counts = torch.bincount(found.base)
    first = (counts.cumsum(0) - counts)[found.base[order]]
    enclosed, moment = enclosed - enclosed[first], moment - moment[first]
    j = 1 - (enclosed - moment / rs.clamp_min(1e-300)) / (2 * math.pi)
    out = torch.ones_like(j)
    out[order] = torch.where(rs > 0, j, torch.ones_like(j)).clamp(0.5, 2)
    return out


def level(t: Triangulation, vertex: Tensor, spacing: float) -> Mesh:
    """Some vertices of a triangulation as points, about `spacing` apart, in their own frames."""
    frames = t.frames()[vertex]
    reading = read_from(t, vertex, 1.6 * spacing)
    areas = torch.zeros(len(vertex), dtype=torch.float64, device=vertex.device)
    areas.index_add_(0, reading.source.flatten(), (t.vertex_areas[:, None] * reading.weight).flatten())
    anchor = torch.zeros(len(vertex), dtype=torch.float64, device=vertex.device)
    return Mesh(t.vertices[vertex], frames, frames, areas, anchor, None, SO2, t, vertex, reading)


def two_sided(vertices: Tensor, faces: Tensor) -> Mesh:
    t = triangulate(vertices, faces)
    frames, n = t.frames(), len(t.vertices)
    anchor = torch.zeros(n, dtype=torch.float64, device=frames.device)
    every = torch.arange(n, device=frames.device)
    return Mesh(t.vertices, frames, frames, t.vertex_areas, anchor, None, SO2, t, every)
