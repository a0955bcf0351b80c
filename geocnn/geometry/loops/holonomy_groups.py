"""Holonomy: what transport around loops does to a frame, and the group that the loops of a surface generate.

A mesh has two connections. The connection between vertices rescales angles to 2π, so the curvature of a
vertex is distributed over the faces around it. The sum over all faces is exact; in a single face it differs
by up to 9 % from the curvature of the smooth surface. The connection between the planes of faces rescales
nothing, so all curvature sits in the vertices: the holonomy around a vertex is its angle defect. The second
one belongs to the polyhedron itself and determines its group. On a cube, for example, it measures the loops
around the eight vertices, whose quarter turns generate C4.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.inputs import point_ids
from geocnn.geometry.core.results import SurfacePoint
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.loops.cycles import (
    Cycles,
    closed_by,
    cotree_complement,
    fundamental_cycles,
    spanning_forest,
)
from geocnn.geometry.loops.paths import transport
from geocnn.geometry.meshes.build import check_mesh
from geocnn.geometry.meshes.edges import hinge
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.groups.planar import N_MAX, Element, Group, rotation_group, wrapped
from geocnn.lasting import one_thread


@one_thread()
def holonomy(surface: Surface, loop: Tensor | SurfacePoint) -> Element:
    """Transport around loops of point ids [L], or [P, L] for several loops of one length.

    Return the element (angle, flip), angle [] or [P] in radians, that acts on components in the frame of the
    loop's first point. The last point is joined to the first. A loop that runs counter-clockwise around
    curvature K turns by ∫ K, in (−π, π]. Points are joined as in `transport`, and a loop may lie in the faces
    of a mesh. Raises GeometryError as `transport` does.

    >>> import geocnn.geometry as geometry
    >>> ico = geometry.icosphere(0); faces = ico.grid.solid.faces[0]
    >>> round(float(holonomy(ico, faces)[0].sum() / torch.pi), 12)
    4.0
    """
    if isinstance(loop, SurfacePoint):
        closed = SurfacePoint(*(torch.cat([x, x[:1]]) for x in loop))
    else:
        loop = point_ids(loop, "loop", surface.points.device)
        closed = torch.cat([loop, loop[..., :1]], -1)
    return transport(surface, closed)


@one_thread()
def face_holonomy(mesh: Mesh | OneSidedMesh) -> Float64[Tensor, " f"]:
    """Return the holonomy counter-clockwise around every face, between the vertices' gauges, in radians.

    It is the sum of the face's rescaled corners minus π, for any frames. Over a closed mesh it sums to
    exactly 2πχ. Raises GeometryError for a surface that is no mesh.

    >>> from geocnn.geometry import mesh
    >>> s = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> round(float(face_holonomy(s).sum() / torch.pi), 12)
    4.0
    """
    check_mesh(mesh, "loops around faces")
    t = mesh.triangulation
    return ((t.angle * t.scale[t.tail]).view(-1, 3).sum(1) - math.pi)[: len(mesh.faces)]


@one_thread()
def vertex_holonomy(mesh: Mesh | OneSidedMesh) -> Float64[Tensor, " v"]:
    """Return the holonomy counter-clockwise around every vertex, between the planes of the faces, in radians.

    It is the angle defect minus whole turns, from −π up to π; NaN on the boundary, because no loop surrounds
    a boundary vertex. Raises GeometryError for a surface that is no mesh.

    >>> from geocnn.geometry import mesh
    >>> s = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> round(float(vertex_holonomy(s)[0] / torch.pi), 12)
    0.5
    """
    check_mesh(mesh, "loops around vertices")
    t = mesh.triangulation
    h = (t.twin >= 0).nonzero()[:, 0]
    around = torch.zeros_like(t.scale).index_add_(0, t.tail[h], hinge(t, h))
    return torch.where(t.boundary, math.nan, wrapped(around))[: mesh.n_vertices]


class Generators(NamedTuple):
    """Loops that generate the fundamental group, each the point ids from the root of its component on, and
    the holonomy (angle, flip) around them, in the root's frame.
    """

    loops: list[Tensor]
    angle: Float[Tensor, " k"]
    flip: Bool[Tensor, " k"] | None


@one_thread()
def fundamental_group(mesh: Mesh | OneSidedMesh) -> Generators:
    """Return loops that generate the fundamental group of a mesh, by tree and cotree (Eppstein 2003).

    A component of Euler characteristic χ has 2 − χ loops if it is closed (2g for genus g), else 1 − χ. Raises
    GeometryError for a coarser level, whose points are not joined by edges, and for a surface that is no
    mesh.

    >>> from geocnn.geometry import mesh
    >>> fundamental_group(mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])).loops
    []
    """
    check_mesh(mesh, "generators of the fundamental group")
    if mesh.n_points < mesh.n_vertices:
        raise GeometryError(
            "the loops run along mesh edges: give the finest level, whose points are vertices"
        )
    connection = mesh.connection()
    forest = spanning_forest(mesh.n_points, connection.tail, connection.head)
    h, twin = mesh.half_edges()
    left = cotree_complement(forest, h // 3, torch.where(twin < 0, -1, twin // 3), len(mesh.faces))
    cycles = closed_by(connection, forest, left)
    return Generators(cycles.loops(torch.arange(len(left), device=left.device)), cycles.angle, cycles.flip)


class HolonomyGroup(NamedTuple):
    """The group that all loops generate, and loops that prove it.

    axis: the direction that a reflection leaves fixed, in radians in the frame at the start of the first
    loop, between 0 and π/N for N rotations. It is None without reflections, and for O(2), which has all
    reflections. loops: ids of points, or of a mesh's faces, each from its root on. (angle, flip): their
    holonomies.
    """

    group: Group
    axis: float | None
    loops: list[Tensor]
    angle: Float[Tensor, " k"]
    flip: Bool[Tensor, " k"] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the group as strings, numbers and lists, ready for JSON."""
        flip = [False] * len(self.loops) if self.flip is None else self.flip.tolist()
        return {
            "group": str(self.group),
            "axis": self.axis,
            "loops": [loop.tolist() for loop in self.loops],
            "angles": self.angle.tolist(),
            "flips": flip,
        }


@one_thread()
def holonomy_group(surface: Surface, tolerance: float = 1e-8) -> HolonomyGroup:
    """Return the group that transport around all loops of a surface generates: trivial, reflection, C_N, D_N,
    SO(2) or O(2).

    The loops are those that the edges of `surface.connection()` outside a spanning tree close; on a mesh the
    tree spans the faces (see the module). For several components this is the smallest group that contains the
    group of each.

    Angles closer than `tolerance` radians count as equal. Rounding adds about 1e-15 per step, and a face
    whose height is a share s of its side adds 1e-16/s, so 1e-8 suffices for paths of a million steps.
    Coordinates stored with d digits need 10^-d. A large tolerance takes random angles for rotations of finite
    order: one is within it of a multiple of some 2π/N, N ≤ 360, with probability 360²·tolerance/2π.

    Raises GeometryError for a tolerance that is not positive, or too large to distinguish rotations.

    >>> import geocnn.geometry as geometry
    >>> holonomy_group(geometry.torus((3, 4))).group, holonomy_group(geometry.healpix(2)).group
    (group('trivial'), group('SO2'))
    """
    by_faces = isinstance(surface, Mesh | OneSidedMesh)
    return group_of(surface.face_connection() if by_faces else surface.connection(), tolerance)


def group_of(connection: Connection, tolerance: float = 1e-8) -> HolonomyGroup:
    """Return the holonomy group of a connection; see `holonomy_group`.

    >>> two_ways = torch.tensor([0, 1]), torch.tensor([1, 0])
    >>> seam = Connection(*two_ways, torch.zeros(2, dtype=torch.float64), torch.tensor([False, True]))
    >>> group_of(seam)[:2]
    (group('reflection'), 0.0)
    """
    if not 0 < tolerance < math.pi / N_MAX:
        raise GeometryError(
            f"tolerance must lie between 0 and π/{N_MAX}, half the finest rotation, got {tolerance}"
        )
    cycles = fundamental_cycles(connection)
    angle, mirrored = _rotations(cycles)
    rotations, proving = rotation_group(angle, tolerance)
    axis = None
    if mirrored is not None:
        first = int((mirrored >= 0).nonzero()[0, 0])
        proving = torch.cat([mirrored[first : first + 1], mirrored[proving], proving])
        axis = _axis(float(cycles.angle[mirrored[first]]), rotations, tolerance)
    proving = torch.tensor(list(dict.fromkeys(k for k in proving.tolist() if k >= 0)), dtype=torch.int64)
    proving = proving.to(angle.device)
    flip = None if cycles.flip is None else cycles.flip[proving]
    group = Group(rotations, mirrored is not None)
    return HolonomyGroup(group, axis, cycles.loops(proving), cycles.angle[proving], flip)


def _axis(angle: float, rotations: int | None, tolerance: float) -> float | None:
    """Return the direction that z ↦ e^{i angle} z̄ leaves fixed, up to rotations; None for all rotations."""
    if rotations is None:
        return None
    axis = angle / 2 % (math.pi / rotations)
    # a value just below 0 is 0, up to rounding
    return 0.0 if math.pi / rotations - axis < tolerance else axis


def _rotations(cycles: Cycles) -> tuple[Float[Tensor, " c"], Int64[Tensor, " c"] | None]:
    """Return (angle, mirrored): angles of rotations that, together, generate all rotations.

    A cycle that rotates contributes its own angle and mirrored = −1. A cycle that flips is composed with the
    first flipping cycle of its component, whose number is `mirrored`. mirrored is None if no cycle flips.
    """
    if cycles.flip is None or not bool(cycles.flip.any()):
        return cycles.angle, None
    which = cycles.flip.nonzero()[:, 0]
    first = cycles.root.new_full((int(cycles.root.max()) + 1,), len(cycles.edge))
    first.scatter_reduce_(0, cycles.root[which], which, "amin")
    mirrored = torch.where(cycles.flip, first[cycles.root], -1)
    other = torch.where(cycles.flip, cycles.angle[mirrored.clamp_min(0)], torch.zeros_like(cycles.angle))
    return wrapped(cycles.angle - other), mirrored
