"""OneSidedMesh: a triangle mesh that has no outside, below its orientation double cover."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.half_edges import components
from geocnn.geometry.core.quotient import Quotient
from geocnn.geometry.core.results import Exp, Log, Placed, SurfacePoint
from geocnn.geometry.meshes.double_cover import other_sense
from geocnn.geometry.meshes.edges import across_edges, along_edges
from geocnn.geometry.meshes.face_points import check_face_points
from geocnn.geometry.meshes.heat import log_by_heat
from geocnn.geometry.meshes.surface import Mesh, described, level, log_between, thinned, vertex_of
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.meshes.unfold import unfold
from geocnn.groups.planar import O2, compose


@dataclass(frozen=True, eq=False, repr=False)
class OneSidedMesh(Quotient):
    """A triangle mesh with only one side, or a component that has: its vertices, or some of them, as points.

    The cover is a mesh of two sides, made of every face as given and turned over; its points are those here,
    then their other copies. The gauge at a vertex is that of the first face there as it is given.
    """

    cover: Mesh

    def __repr__(self) -> str:
        return described(self, len(self.faces), self.n_vertices)

    @property
    def triangulation(self) -> Triangulation:
        """That of the cover: 2V vertices, v and v + V over vertex v, and 2F faces, f and f turned over."""
        return self.cover.triangulation

    @property
    def vertex(self) -> Tensor:
        """The vertices [N] that the points are."""
        return self.cover.vertex[: self.n_points]

    @property
    def faces(self) -> Tensor:
        """[F, 3] vertex ids as given; those of the points at the finest level."""
        t = self.triangulation
        return t.faces[: len(t.faces) // 2] % (len(t.vertices) // 2)

    @property
    def vertices(self) -> Tensor:
        """[V, 3], as those of a `Mesh`."""
        return self.triangulation.vertices[: self.n_vertices]

    @property
    def spacing(self) -> float:
        """The side of a square of a point's mean area; vertices without faces do not count."""
        return self.cover.spacing

    @property
    def placed(self) -> Placed:
        return super().placed._replace(vertex=self.vertex)

    def _image(self, placed: Placed) -> Placed:
        t, n = self.triangulation, len(self.triangulation.vertices)
        vertex = (vertex_of(placed) + n // 2) % n
        swap = other_sense(t)[vertex], torch.ones_like(vertex, dtype=torch.bool)
        anchor, flipped = compose((placed.anchor, placed.flipped), swap)
        return Placed(placed.points, placed.frames, t.frames()[vertex], anchor, flipped, vertex)

    def _log(self, base: Placed, target: Placed) -> Log:
        # both at once: the farther of the two need not be reached
        return self.cover._log_to_nearest(base, [target, self._image(target)])

    def _log_by_heat(self, base: Placed, target: Placed) -> Log:
        start, gauge, ways = vertex_of(base), (base.anchor, base.flipped), [target, self._image(target)]
        goals = [vertex_of(t) for t in ways]
        # the two copies at once, for the sake of their common solves
        found = log_by_heat(self.triangulation, start.repeat(2), torch.cat(goals))
        halves = zip(*(x.chunk(2) for x in found), strict=True)
        logs = [
            log_between(gauge, (way.anchor, way.flipped), vector, arrival, reached, start == goal)
            for way, goal, (vector, arrival, reached) in zip(ways, goals, halves, strict=True)
        ]
        return self._nearer(*logs)

    def _exp_in_faces(self, base: SurfacePoint, vectors: Tensor, reflect: bool) -> Exp:
        # faces of the cover with these numbers are those here as given
        base = check_face_points(base, len(self.faces), self.points)
        return self._lowered(self.cover._exp_in_faces(base, vectors, reflect))

    def _folded(self, e: Exp) -> Exp:
        assert e.face is not None and e.barycentric is not None
        over = e.face >= len(self.faces)
        swapped = e.barycentric[:, [0, 2, 1]]
        return e._replace(
            face=torch.where(over, e.face - len(self.faces), e.face),
            barycentric=torch.where(over[:, None], swapped, e.barycentric),
        )

    def connection(self) -> Connection:
        """The edges, as those of a `Mesh`; between the points of a coarser level, those close together."""
        if self.cover.reading is not None:
            return super().connection()
        return self._below(along_edges(self.triangulation, self.half_edges()[0]))

    @property
    def n_vertices(self) -> int:
        """Of the surface; as many as points at the finest level."""
        return len(self.triangulation.vertices) // 2

    def face_connection(self) -> Connection:
        """Faces as given, as those of a `Mesh`."""
        t, f = self.triangulation, len(self.faces)
        tail, head, angle, _ = across_edges(t, self.half_edges()[0])
        # seen from its back, where the first edge is the third, a direction is the first corner less it
        back = head >= f
        turn = torch.where(back, t.angle[3 * (head % f)], torch.zeros_like(angle))
        return Connection(tail, head % f, *compose((angle, None), (turn, back)))

    def half_edges(self) -> tuple[Tensor, Tensor]:
        """As those of a `Mesh`, of faces as given."""
        t, n = self.triangulation, 3 * len(self.faces)
        h, twin = torch.arange(n, device=t.twin.device), t.twin[:n]
        # half-edge k of a face is half-edge 2 − k of the face turned over
        beyond = torch.where(twin >= n, twin - n + 2 - 2 * (twin % 3), twin)
        once = (beyond < 0) | (h < beyond)
        return h[once], beyond[once]

    def coarser(self) -> OneSidedMesh:
        """As `Mesh.coarser`, which says how. Raises GeometryError where fewer than four points are left."""
        t, n = self.triangulation, len(self.triangulation.vertices) // 2
        usable = self.vertex[(t.fan_ptr.diff() > 0)[self.vertex]]
        part = components(2 * n, t.tail % n, t.faces.roll(-1, 1).reshape(-1) % n)
        found = unfold(t, usable, 2.5 * self.spacing)
        chosen = thinned(t, usable, part, found._replace(vertex=found.vertex % n))
        return one_sided(level(t, torch.cat([chosen, chosen + n]), 2 * self.spacing))


def one_sided(cover: Mesh) -> OneSidedMesh:
    n = cover.n_points // 2
    other = torch.arange(2 * n, device=cover.points.device) >= n
    swapped = other_sense(cover.triangulation)[cover.vertex]
    return OneSidedMesh(
        *(t[:n] for t in (cover.points, cover.frames, cover.axes, cover.areas, cover.anchor)),
        flipped=None,
        group=O2,
        cover=cover,
        point=torch.arange(2 * n, device=other.device) % n,
        turn=torch.where(other, swapped.roll(n), 0.0),
        other=other,
    )
