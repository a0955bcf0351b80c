"""OneSidedMesh: a triangle mesh that has no outside, as the quotient of its orientation double cover.

cover        v ↺   v + V ↻    Each vertex has two copies, one per sense of going around it. The cover has two
               ╲   ╱          sides, so an ordinary `Mesh` computes exp and log there. The results are then
this mesh        v            lowered: ids modulo V, mirrored (`flip`) where they belong to a second copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.half_edges import components
from geocnn.geometry.core.quotient import Quotient
from geocnn.geometry.core.results import Exp, Log, Placed, SurfacePoint
from geocnn.geometry.core.scaling import scale_factor
from geocnn.geometry.meshes.double_cover import other_sense
from geocnn.geometry.meshes.edges import across_edges, along_edges
from geocnn.geometry.meshes.face_points import check_face_points
from geocnn.geometry.meshes.gauges import log_between
from geocnn.geometry.meshes.heat import log_by_heat
from geocnn.geometry.meshes.levels import thinned
from geocnn.geometry.meshes.surface import Mesh, described, level, vertex_of
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.groups.planar import O2, compose
from geocnn.lasting import one_thread


@dataclass(frozen=True, eq=False, repr=False)
class OneSidedMesh(Quotient):
    """A triangle mesh that has a component with only one side. Its points are vertices, at the finest level
    all of them.

    The cover is a mesh with two sides that contains every face twice, as given and turned over. Its points
    are the points of this mesh, followed by their second copies. The gauge at a vertex has the sense of the
    first face there, as that face is given.
    """

    cover: Mesh

    def __repr__(self) -> str:
        return described(self, len(self.faces), self.n_vertices)

    @property
    def triangulation(self) -> Triangulation:
        """The cover's triangulation: 2V vertices, v and v + V over vertex v, and 2F faces, f + F being f
        turned over.
        """
        return self.cover.triangulation

    @property
    def vertex(self) -> Int64[Tensor, " n"]:
        """The vertex that each point is."""
        return self.cover.vertex[: self.n_points]

    @property
    def faces(self) -> Int64[Tensor, "f 3"]:
        """The faces as given, as vertex ids; at the finest level these are point ids too."""
        t = self.triangulation
        return t.faces[: len(t.faces) // 2] % (len(t.vertices) // 2)

    @property
    def vertices(self) -> Float64[Tensor, "v 3"]:
        """The vertices of the finest level, as in `Mesh`."""
        return self.triangulation.vertices[: self.n_vertices]

    @property
    def spacing(self) -> float:
        """The side of a square whose area is the mean area per point; vertices without faces do not count."""
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
        # one search for both copies: it may end before it reaches the farther one
        return self.cover._log_to_nearest(base, [target, self._image(target)])

    def _log_by_heat(self, base: Placed, target: Placed) -> Log:
        start, gauge, copies = vertex_of(base), (base.anchor, base.flipped), [target, self._image(target)]
        goals = [vertex_of(t) for t in copies]
        # one call for both copies, because they share their solves
        paths = log_by_heat(self.triangulation, start.repeat(2), torch.cat(goals))
        halves = zip(*(x.chunk(2) for x in paths), strict=True)
        logs = [
            log_between(gauge, (copy.anchor, copy.flipped), vector, arrival, reached, start == goal)
            for copy, goal, (vector, arrival, reached) in zip(copies, goals, halves, strict=True)
        ]
        return self._nearer(*logs)

    def _exp_in_faces(self, base: SurfacePoint, vectors: Tensor, reflect: bool) -> Exp:
        # the cover's faces with these numbers are the faces as given
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

    @one_thread()
    def connection(self) -> Connection:
        """Join points along the edges, as `Mesh.connection` does; join those of a coarser level if they lie
        close together.
        """
        if self.cover.reading is not None:
            return super().connection()
        return self._below(along_edges(self.triangulation, self.half_edges()[0]))

    @property
    def n_vertices(self) -> int:
        """Number of vertices of this mesh (not of the cover): at the finest level, the number of points."""
        return len(self.triangulation.vertices) // 2

    @one_thread()
    def face_connection(self) -> Connection:
        """Join the faces as given, as `Mesh.face_connection` does."""
        t, f = self.triangulation, len(self.faces)
        tail, head, angle, _ = across_edges(t, self.half_edges()[0])
        # Turned over, the face's first edge is the third one, so the angle a becomes (first corner) − a.
        back = head >= f
        turn = torch.where(back, t.angle[3 * (head % f)], torch.zeros_like(angle))
        return Connection(tail, head % f, *compose((angle, None), (turn, back)))

    def half_edges(self) -> tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]]:
        """Return (half-edge, half-edge beyond) of each edge, as `Mesh.half_edges`, for the faces as given."""
        t, n = self.triangulation, 3 * len(self.faces)
        h, twin = torch.arange(n, device=t.twin.device), t.twin[:n]
        # half-edge k of a face is half-edge 2 − k of the same face turned over
        beyond = torch.where(twin >= n, twin - n + 2 - 2 * (twin % 3), twin)
        once = (beyond < 0) | (h < beyond)
        return h[once], beyond[once]

    def scaled(self, factor: float | None = None, *, area: float | None = None) -> OneSidedMesh:
        """Return the mesh in another unit, as `Mesh.scaled` does, with the same laws and errors."""
        factor = scale_factor(self, factor, area)
        cover = self.cover.scaled(factor)
        points = cover.points[: self.n_points]
        return replace(self, points=points, areas=self.areas * factor**2, cover=cover)

    @one_thread()
    def coarser(self) -> OneSidedMesh:
        """Keep a quarter of the points, as `Mesh.coarser` does.

        Raises ResolutionError for a level of fewer than four points.
        """
        t, n = self.triangulation, len(self.triangulation.vertices) // 2
        usable = self.vertex[(t.fan_ptr.diff() > 0)[self.vertex]]
        part = components(2 * n, t.tail % n, t.faces.roll(-1, 1).reshape(-1) % n)
        chosen = thinned(t, usable, part, 2.5 * self.spacing, copies=2)
        return one_sided(level(t, torch.cat([chosen, chosen + n]), 2 * self.spacing))


def one_sided(cover: Mesh) -> OneSidedMesh:
    """Return the mesh below a cover whose second half of points are the other copies of the first half."""
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
