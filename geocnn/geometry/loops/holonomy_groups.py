"""Holonomy: what transport around loops does to a frame, and the group that all loops of a surface make.

On a mesh two connections are in use. Between vertices angles are rescaled to 2π, so the curvature of a vertex
is shared out over the faces around it: their sum is exact, a single face differs by up to 9 % from the smooth
surface's curvature on it. Between the planes of faces nothing is rescaled and all curvature sits in the
vertices: the holonomy around one is its angle defect. The second is the polyhedron's own and decides its
group: around the vertices of a cube, where the first knows no more than its faces.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
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


def holonomy(surface: Surface, loop: Tensor | SurfacePoint) -> Element:
    """Transport around loops of point ids [L], or [P, L] at once: the element (angle, flip), angle [] or [P],
    that acts on components in the start point's frame.

    The last point is joined to the first. Counter-clockwise around curvature K it is ∫ K, in (−π, π]; paths
    are joined, and may lie in a mesh's faces, as in `transport`. Raises GeometryError as `transport` does.

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


def face_holonomy(mesh: Mesh | OneSidedMesh) -> Tensor:
    """The holonomy around every face of a mesh between its vertices' gauges, counter-clockwise, [F] radians.

    The face's rescaled corners less π, whatever the frames; over a closed mesh exactly 2πχ in sum.

    >>> from geocnn.geometry import mesh
    >>> s = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> round(float(face_holonomy(s).sum() / torch.pi), 12)
    4.0
    """
    check_mesh(mesh, "loops around faces")
    t = mesh.triangulation
    return ((t.angle * t.scale[t.tail]).view(-1, 3).sum(1) - math.pi)[: len(mesh.faces)]


def vertex_holonomy(mesh: Mesh | OneSidedMesh) -> Tensor:
    """The holonomy around every vertex of a mesh between the planes of its faces, counter-clockwise, [V],
    from −π up to π: the angle defect, less whole turns. NaN on the boundary, which no such loop surrounds.
    """
    check_mesh(mesh, "loops around vertices")
    t = mesh.triangulation
    h = (t.twin >= 0).nonzero()[:, 0]
    around = torch.zeros_like(t.scale).index_add_(0, t.tail[h], hinge(t, h))
    return torch.where(t.boundary, math.nan, wrapped(around))[: mesh.n_vertices]


class Generators(NamedTuple):
    """Loops that generate the fundamental group, each a list of point ids from its component's root, and the
    holonomy (angle, flip) [K] around them, in the root's frame.
    """

    loops: list[Tensor]
    angle: Tensor
    flip: Tensor | None


def fundamental_group(mesh: Mesh | OneSidedMesh) -> Generators:
    """Generators of a mesh's fundamental group by tree and cotree (Eppstein 2003): on a component of Euler
    characteristic χ 2 − χ loops where it is closed (2g of genus g), else 1 − χ.

    Raises GeometryError for a coarser level: its points are not joined by edges.

    >>> from geocnn.geometry import mesh
    >>> fundamental_group(mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])).loops
    []
    """
    check_mesh(mesh, "generators of the fundamental group")
    if mesh.n_points < mesh.n_vertices:
        raise GeometryError("the loops run along mesh edges: ask the finest level, whose points are vertices")
    connection = mesh.connection()
    forest = spanning_forest(mesh.n_points, connection.tail, connection.head)
    h, twin = mesh.half_edges()
    left = cotree_complement(forest, h // 3, torch.where(twin < 0, -1, twin // 3), len(mesh.faces))
    cycles = closed_by(connection, forest, left)
    return Generators(cycles.loops(torch.arange(len(left), device=left.device)), cycles.angle, cycles.flip)


class HolonomyGroup(NamedTuple):
    """The group of all loops, and the loops that prove it.

    axis: the direction that a reflection keeps, in radians in the first loop's start frame, between 0 and π/N
    for N rotations; None without reflections, and for O(2), which has all. loops: ids of the points, or of a
    mesh's faces, each from its root on; (angle, flip) [K]: their holonomies there.
    """

    group: Group
    axis: float | None
    loops: list[Tensor]
    angle: Tensor
    flip: Tensor | None

    def to_dict(self) -> dict[str, Any]:
        """Strings, numbers and lists: what JSON holds."""
        flip = [False] * len(self.loops) if self.flip is None else self.flip.tolist()
        return {
            "group": str(self.group),
            "axis": self.axis,
            "loops": [loop.tolist() for loop in self.loops],
            "angles": self.angle.tolist(),
            "flips": flip,
        }


def holonomy_group(surface: Surface, tolerance: float = 1e-8) -> HolonomyGroup:
    """The group that transport around all loops of a surface makes: trivial, reflection, C_N, D_N, SO(2) or
    O(2).

    A spanning tree, and the loop that each other edge of `surface.connection()` closes; on a mesh the tree
    spans the faces (see above). Angles count as equal to within `tolerance` radians. Rounding adds some 1e-15
    a step, and a face whose height is a share s of its side adds 1e-16/s, so 1e-8 holds for paths of a
    million steps; coordinates stored with d digits need 10^-d. From above it is bound by what it must tell
    apart: a random angle passes for a multiple of some 2π/N, N ≤ 360, with probability 360²·tolerance/2π. The
    loops of several components make the smallest group that contains each one's.

    Raises GeometryError for a tolerance at which nothing is told apart.

    >>> import geocnn.geometry as geometry
    >>> holonomy_group(geometry.torus((3, 4))).group, holonomy_group(geometry.healpix(2)).group
    (group('trivial'), group('SO2'))
    """
    by_faces = isinstance(surface, Mesh | OneSidedMesh)
    return group_of(surface.face_connection() if by_faces else surface.connection(), tolerance)


def group_of(connection: Connection, tolerance: float = 1e-8) -> HolonomyGroup:
    """The holonomy group of a connection; see `holonomy_group`.

    >>> two_ways = torch.tensor([0, 1]), torch.tensor([1, 0])
    >>> seam = Connection(*two_ways, torch.zeros(2), torch.tensor([False, True]))
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
    """The direction that z ↦ e^{i angle} z̄ keeps, up to the rotations; None where they leave none out."""
    if rotations is None:
        return None
    axis = angle / 2 % (math.pi / rotations)
    # rounding below 0 is 0
    return 0.0 if math.pi / rotations - axis < tolerance else axis


def _rotations(cycles: Cycles) -> tuple[Tensor, Tensor | None]:
    """(angle, mirrored) [C]: the angles of cycles that rotate, and of those that flip after one flip of their
    component; that one's number [C], −1 where none is needed. mirrored is None where nothing flips.

    The products of pairs of flips and the rotations generate all rotations.
    """
    if cycles.flip is None or not bool(cycles.flip.any()):
        return cycles.angle, None
    which = cycles.flip.nonzero()[:, 0]
    first = cycles.root.new_full((int(cycles.root.max()) + 1,), len(cycles.edge))
    first.scatter_reduce_(0, cycles.root[which], which, "amin")
    mirrored = torch.where(cycles.flip, first[cycles.root], -1)
    other = torch.where(cycles.flip, cycles.angle[mirrored.clamp_min(0)], torch.zeros_like(cycles.angle))
    return wrapped(cycles.angle - other), mirrored
