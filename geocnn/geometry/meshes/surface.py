"""Mesh: a triangulated surface, and its coarser levels, whose points are some of its vertices.

Directions at a vertex are polar directions of the `Triangulation`, rescaled to 2π. Geodesics are traced and
unfolded on the triangles of the finest level, so the stencils of all levels follow the same surface. The
anchor of a vertex is its longest edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.connection import Connection, pairs_once
from geocnn.geometry.core.inputs import base_vectors
from geocnn.geometry.core.results import Disc, Exp, Log, Placed, SurfacePoint
from geocnn.geometry.core.scaling import scale_factor
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.meshes.discs import FEW, MOST_PAIRS, Known, all_discs, effort, point_discs
from geocnn.geometry.meshes.edges import across_edges, along_edges, halves
from geocnn.geometry.meshes.face_points import check_face_points, in_plane
from geocnn.geometry.meshes.gauges import components_in, log_between
from geocnn.geometry.meshes.heat import log_by_heat
from geocnn.geometry.meshes.levels import Reading, read_from, thinned
from geocnn.geometry.meshes.reading import read
from geocnn.geometry.meshes.trace import Traced, corner_directions, trace_from_faces, trace_from_vertices
from geocnn.geometry.meshes.triangulation import Triangulation, triangulate
from geocnn.geometry.meshes.unfold import unfold
from geocnn.geometry.meshes.windows import Unfolded
from geocnn.groups.planar import SO2, Element, compose, inverse, wrapped
from geocnn.lasting import one_thread
from geocnn.wording import counted

MOST_EDGES = 1e6
"""Greatest length of a traced geodesic, in mean edges; its end is then wrong by about 1e-10 edges."""

MOST_MORE = 4.0
"""Discs are computed up to the reach of `coarser` if that is at most so many times the work of those that the
stencil needs.
"""


@dataclass(frozen=True, eq=False)
class Mesh(Surface):
    """A triangle mesh, whose points are the vertices `vertex` of a triangulation; at the finest level, all.

    `reading` describes how a field on the points is read at every vertex; it is None at the finest level.
    `known` are discs that were computed before.
    """

    triangulation: Triangulation
    vertex: Int64[Tensor, " n"]
    reading: Reading | None = None
    known: Known | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return described(self, len(self.faces), self.n_vertices)

    @property
    def faces(self) -> Int64[Tensor, "f 3"]:
        """The faces of the triangulation, as vertex ids; at the finest level these are point ids too."""
        return self.triangulation.faces

    @property
    def vertices(self) -> Float64[Tensor, "v 3"]:
        """All vertices of the triangulation; at the finest level these are the points."""
        return self.triangulation.vertices

    @property
    @one_thread()
    def spacing(self) -> float:
        """The side of a square whose area is the mean area per point; vertices without faces do not count."""
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
            # if there is no face in that direction, the point stays where it is
            first_corner = torch.tensor([1.0, 0.0, 0.0], dtype=weight.dtype, device=weight.device)
            vertex = torch.where(entered[:, None], vertex, start[:, None])
            weight = torch.where(entered[:, None], weight, first_corner)
            angle = torch.where(entered[:, None], angle, torch.zeros_like(angle))
        end = end._replace(inside=end.inside | (~entered & (z.abs() == 0)))
        return self._read(end, gauge, vertex, weight, angle)

    def _exp_in_faces(self, base: SurfacePoint, vectors: Tensor, reflect: bool) -> Exp:
        t = self.triangulation
        base = check_face_points(base, len(t.faces), self.points)
        z = torch.view_as_complex(base_vectors(vectors, len(base.face), self.points).contiguous())
        straight = torch.angle(z)
        direction = torch.polar(torch.ones_like(straight), straight)
        length = _traceable(t, z.abs())
        end = trace_from_faces(t, base.face, in_plane(t, base), direction, length, reflect)
        vertex, weight, parallel = corner_directions(t, end)
        in_face = torch.zeros_like(straight), None
        return self._read(end, in_face, vertex, weight, _turn(straight, end, parallel))

    def _read(
        self,
        end: Traced,
        gauge: Element,
        vertex: Int64[Tensor, "k 3"],
        weight: Float64[Tensor, "k 3"],
        angle: Float64[Tensor, "k 3"],
    ) -> Exp:
        """Return the ends, at which fields are read from vertices.

        `angle`, with the end's flip, takes components in a vertex's axes to the base's axes; `gauge` takes
        these to the base's frame.
        """
        points = (weight[..., None] * read(self.triangulation.vertices, vertex)).sum(1)
        source, point_weight, angle = self._sources(vertex, weight, angle)
        flip = None if end.flipped is None else end.flipped[:, None]
        angle, flip = self._between_frames(gauge, source, angle, flip)
        return Exp(points, source, point_weight, angle, flip, end.inside, end.travelled, end.face, weight)

    def _sources(
        self, vertex: Int64[Tensor, "k 3"], weight: Float64[Tensor, "k 3"], angle: Float64[Tensor, "k 3"]
    ) -> tuple[Int64[Tensor, "k s"], Float64[Tensor, "k s"], Float64[Tensor, "k s"]]:
        """Express values at vertices by values at points: (source, weight, angle between axes)."""
        if self.reading is None:
            return vertex, weight, angle
        r = self.reading
        return (
            r.source[vertex].flatten(1),
            (weight[..., None] * r.weight[vertex]).flatten(1),
            (angle[..., None] + r.angle[vertex]).flatten(1),
        )

    def _between_frames(
        self,
        gauge: Element,
        source: Int64[Tensor, "k s"],
        angle: Float64[Tensor, "k s"],
        flip: Bool[Tensor, "k 1"] | None = None,
    ) -> Element:
        """Convert transporters between axes to transporters between frames; the bases have the gauge [K]."""
        base_gauge = gauge[0][:, None], None if gauge[1] is None else gauge[1][:, None]
        source_gauge = read(self.anchor, source), None if self.flipped is None else read(self.flipped, source)
        turn, flip = compose(base_gauge, compose((angle, flip), inverse(source_gauge)))
        return wrapped(turn), None if flip is None else flip.expand_as(turn)

    def _log(self, base: Placed, target: Placed) -> Log:
        return self._log_to_nearest(base, [target])

    def _log_to_nearest(self, base: Placed, targets: list[Placed]) -> Log:
        """Return the log of each base to the nearest of its targets, of which each list contains one."""
        start, goals = vertex_of(base), torch.stack([vertex_of(t) for t in targets], 1)
        if not len(start):
            none = base.anchor.new_zeros(0)
            flip = None if base.flipped is None and targets[0].flipped is None else none.bool()
            return Log(none.new_zeros(0, 2), none, flip, none.bool(), none.bool())
        bases, row = torch.unique(start, return_inverse=True)
        pair, which, paths, reached = self._reach(bases, row, goals)
        goal = goals.gather(1, which[:, None])[:, 0]
        vector, arrival, met = paths.vector[pair], paths.arrival[pair], paths.met[pair]
        here, there = (base.anchor, base.flipped), _gauge_of(targets, which)
        return log_between(here, there, vector, arrival, reached, start == goal)._replace(met=met & reached)

    def _log_by_heat(self, base: Placed, target: Placed) -> Log:
        start, goal = vertex_of(base), vertex_of(target)
        here, there = (base.anchor, base.flipped), (target.anchor, target.flipped)
        return log_between(here, there, *log_by_heat(self.triangulation, start, goal), start == goal)

    def _reach(
        self, bases: Int64[Tensor, " b"], row: Int64[Tensor, " k"], goals: Int64[Tensor, "k g"]
    ) -> tuple[Int64[Tensor, " k"], Int64[Tensor, " k"], Unfolded, Bool[Tensor, " k"]]:
        """Unfold from bases until base `row` reaches one of its goals, for all K, or the surface ends.

        Return (position of the nearest pair in the paths, which goal it is, paths, reached).
        """
        t = self.triangulation
        n = len(t.vertices)
        straight = (t.vertices[bases[row]] - t.vertices[goals[:, 0]]).norm(dim=-1)
        radius = 1.2 * float(straight.max() if len(straight) else 0.0) + 2 * float(t.length.max())
        n_before = -1
        while True:
            paths = unfold(t, bases, radius)
            key, goal_key = paths.base * n + paths.vertex, row[:, None] * n + goals
            pair = torch.searchsorted(key, goal_key).clamp_max(len(key) - 1)
            distance = torch.where(key[pair] == goal_key, paths.vector[pair].abs(), torch.inf)
            nearest, which = distance.min(1)
            reached = nearest.isfinite()
            if bool(reached.all()) or len(key) == n_before:
                return pair.gather(1, which[:, None])[:, 0], which, paths, reached
            n_before, radius = len(key), 2 * radius

    def _check_disc(self, radius: float) -> None:
        """Accept every radius, for a disc holds each vertex once, at the end of its shortest path."""

    def _disc(self, base: Placed, radius: float) -> Disc:
        start = vertex_of(base)
        discs = self.known and self.known.around(start, radius)
        discs = discs or point_discs(self.triangulation, self.vertex, start, radius)
        row, at = discs.base, base.take(discs.base)
        own = start[row] == self.vertex[discs.point]
        angle = torch.where(own, torch.zeros_like(discs.arrival), torch.angle(discs.vector) - discs.arrival)
        angle, flip = self._between_frames((at.anchor, at.flipped), discs.point[:, None], angle[:, None])
        log = Log(
            components_in(discs.vector, (at.anchor, at.flipped)),
            angle[:, 0],
            None if flip is None else flip[:, 0],
            torch.ones_like(own),
            discs.met,
        )
        return Disc(row, discs.point, log, discs.jacobian)

    @property
    def _cover_radius(self) -> float:
        return 2.5 * self.spacing

    def knowing(self, radius: float) -> Mesh:
        """Return the same mesh, which keeps its discs for `coarser` and for stencils up to this radius.

        They are computed once for both. A mesh with too many points for that is returned as it is; so is an
        uneven one, whose fine parts lie within `coarser`'s reach as a whole: it needs few of these discs.
        """
        t, reach = self.triangulation, max(radius, self._cover_radius)
        work = effort(t, self.vertex, reach)
        if self._pairs(reach) > MOST_PAIRS or work > max(FEW, MOST_MORE * effort(t, self.vertex, radius)):
            return self
        return replace(self, known=all_discs(t, self.vertex, reach))

    def _pairs(self, radius: float) -> float:
        """Estimate how many points lie in the discs of all points, on a mesh that may be uneven."""
        component = self.triangulation.component[self.vertex]
        most = torch.bincount(component)[component]
        held = math.pi * radius**2 / self.areas.clamp_min(1e-300)
        return float(torch.minimum(held, most.to(held)).sum())

    @one_thread()
    def connection(self) -> Connection:
        """Join points along the edges of the triangulation, with the exact transport along each.

        On a coarser level each vertex belongs to the point that it reads with the greatest weight. Points are
        joined, with the transport of log, if vertices of theirs share a face.
        """
        if self.reading is None:
            tail, head, angle, _ = along_edges(self.triangulation, halves(self.triangulation))
            at = self.placed.take(tail)
            angle, flip = self._between_frames((at.anchor, at.flipped), head[:, None], angle[:, None])
            return Connection(tail, head, angle[:, 0], None if flip is None else flip[:, 0])
        r = self.reading
        point = r.source.gather(1, r.weight.argmax(1, keepdim=True))[:, 0]
        point[self.vertex] = torch.arange(self.n_points, device=point.device)
        near = point[self.faces]
        return self._joined(*pairs_once(near, near.roll(-1, 1), self.n_points))

    @property
    def n_vertices(self) -> int:
        """Number of vertices of the triangulation: at the finest level, the number of points."""
        return len(self.triangulation.vertices)

    @one_thread()
    def face_connection(self) -> Connection:
        """Join faces across the interior edges, each in the gauge of its plane, e₁ along its first edge.

        Angles are not rescaled: the holonomy around a vertex is its angle defect.
        """
        return across_edges(self.triangulation, halves(self.triangulation))

    def half_edges(self) -> tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]]:
        """Return one half-edge per edge, and the half-edge on the edge's other side, −1 on the boundary."""
        h = halves(self.triangulation)
        return h, self.triangulation.twin[h]

    def _curvature(self) -> Float64[Tensor, " n"]:
        t = self.triangulation
        total = torch.where(t.boundary, torch.zeros_like(t.defect), t.defect)
        if self.reading is not None:
            r = self.reading
            shared = (total[:, None] * r.weight).flatten()
            total = torch.zeros_like(self.areas).index_add_(0, r.source.flatten(), shared)
        empty = self.areas == 0
        return torch.where(empty, 0.0, total / torch.where(empty, torch.ones_like(total), self.areas))

    @one_thread()
    def scaled(self, factor: float | None = None, *, area: float | None = None) -> Mesh:
        """Return the mesh in another unit: all lengths times a factor, or so that all areas sum to `area`.

        Frames stay. The triangulation and known discs are multiplied, not computed anew. Laws: areas grow by
        factor²; the stencil of `radius * factor` is that of `radius`, up to rounding, with r times the
        factor. Raises GeometryError unless one of both is given, as a positive number, and where areas would
        under- or overflow.

        >>> import geocnn.geometry as geometry
        >>> s = geometry.mesh([[0, 0, 0], [3000, 0, 0], [0, 2000, 0]], [[0, 1, 2]])
        >>> s.scaled(0.001).vertices[1].tolist(), round(float(s.scaled(area=1.0).areas.sum()), 9)
        ([3.0, 0.0, 0.0], 1.0)
        """
        factor = scale_factor(self, factor, area)
        t = self.triangulation.scaled(factor)
        points = t.vertices if self.reading is None else t.vertices[self.vertex]
        known = self.known and self.known.scaled(factor)
        areas = self.areas * factor**2
        return replace(self, points=points, areas=areas, triangulation=t, known=known)

    @one_thread()
    def coarser(self) -> Mesh:
        """Keep a quarter of the points, spread evenly, on the same triangles; at least one per component.

        The area of each vertex goes to the points that the vertex reads. Raises ResolutionError for a level
        of fewer than four points.
        """
        t = self.triangulation
        usable = self.vertex[(t.fan_ptr.diff() > 0)[self.vertex]]
        known = self.known if len(usable) == self.n_points else None
        return level(t, thinned(t, usable, t.component, self._cover_radius, known=known), 2 * self.spacing)


def described(surface: Surface, n_faces: int, n_vertices: int) -> str:
    """Describe a mesh, or a coarser level of one, in one line."""
    of = "" if surface.n_points == n_vertices else f" of {counted(n_vertices, 'vertex')}"
    size = f"{counted(n_faces, 'face')}, area {float(surface.areas.sum()):.4g}, spacing {surface.spacing:.4g}"
    return f"{type(surface).__name__}({counted(surface.n_points, 'point')}{of}, {size})"


def vertex_of(base: Placed) -> Int64[Tensor, " k"]:
    assert base.vertex is not None
    return base.vertex


def _gauge_of(targets: list[Placed], which: Int64[Tensor, " k"]) -> Element:
    """Return (anchor, flipped) [K] of each target, in the list `which`."""
    if len(targets) == 1:
        return targets[0].anchor, targets[0].flipped
    none = torch.zeros_like(which, dtype=torch.bool)
    anchors = torch.stack([t.anchor for t in targets])
    flipped = torch.stack([none if t.flipped is None else t.flipped for t in targets])
    return anchors.gather(0, which[None])[0], flipped.gather(0, which[None])[0]


def _turn(
    start: Float64[Tensor, " k"], end: Traced, parallel: Float64[Tensor, "k 3"]
) -> Float64[Tensor, "k 3"]:
    """Return the angles of the elements that take the direction `parallel` to a geodesic at its end back to
    its direction at the start.
    """
    if end.flipped is None:
        return start[:, None] - parallel
    return start[:, None] + torch.where(end.flipped[:, None], parallel, -parallel)


def _traceable(t: Triangulation, length: Float64[Tensor, " k"]) -> Float64[Tensor, " k"]:
    """Return the lengths. Raises GeometryError for lengths of more than MOST_EDGES mean edges."""
    far = (length > MOST_EDGES * t.length.mean()).nonzero()[:, 0]
    if len(far):
        raise GeometryError(
            f"vectors {far[:8].tolist()} are longer than {MOST_EDGES:g} mean edges: a geodesic takes one "
            "step per face it crosses; give shorter ones"
        )
    return length


def level(t: Triangulation, vertex: Int64[Tensor, " n"], spacing: float) -> Mesh:
    """Return the mesh whose points are these vertices, about `spacing` apart, in their own frames."""
    frames = t.frames()[vertex]
    reading = read_from(t, vertex, 1.6 * spacing)
    areas = torch.zeros(len(vertex), dtype=torch.float64, device=vertex.device)
    areas.index_add_(0, reading.source.flatten(), (t.vertex_areas[:, None] * reading.weight).flatten())
    anchor = torch.zeros(len(vertex), dtype=torch.float64, device=vertex.device)
    return Mesh(t.vertices[vertex], frames, frames, areas, anchor, None, SO2, t, vertex, reading)


def two_sided(vertices: Float64[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> Mesh:
    """Return the mesh of oriented faces, with all vertices as points."""
    t = triangulate(vertices, faces)
    frames, n = t.frames(), len(t.vertices)
    anchor = torch.zeros(n, dtype=torch.float64, device=frames.device)
    every = torch.arange(n, device=frames.device)
    return Mesh(t.vertices, frames, frames, t.vertex_areas, anchor, None, SO2, t, every)
