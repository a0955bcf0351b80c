"""A Diagnosis describes a mesh: counts, topology, curvature, quality, stencil costs, and every defect."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core import half_edges
from geocnn.geometry.core.defaults import Kind
from geocnn.geometry.core.stencil_costs import Cost, exp_peak, stencil_cost, unfolded_peak
from geocnn.geometry.doctor import faults
from geocnn.geometry.doctor.defects import Defect, Examined, Sound, find_defects
from geocnn.geometry.io import RawMesh, raw_mesh
from geocnn.geometry.io.objects import MeshObject
from geocnn.geometry.loops.holonomy_groups import HolonomyGroup, holonomy_group
from geocnn.geometry.meshes.build import unchecked_mesh
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.lasting import one_thread

SPACINGS = 2.5
"""The suggested radius in point spacings, which is also the default of `hierarchy`."""

ENTRIES: dict[Kind, float] = {"exp": 3 * 16 * 3.0, "log": math.pi * SPACINGS**2}
"""Entries of such a stencil per point: 3 rings of 16 samples with 3 corners each; the points in the disc."""

ENTRY_BYTES: dict[Kind, float] = {"exp": 20 + 10 / 3, "log": 40.0}
"""Bytes per entry of a stencil in double precision: source, weight and angle; beside them theta and a count
per sample of three entries, or r and theta per entry.
"""

ENTRY_SECONDS: dict[Kind, float] = {"exp": 0.9e-6, "log": 3e-6}
"""Seconds per entry on one thread of an AMD EPYC, for an irregular sphere of 10,000 vertices.

With the two above these are the costs on an even mesh, which are the estimate for what is no surface. Costs
of surfaces are measured (`stencil_costs`).
"""

SINGLE_PRECISION = 1e-6
"""The tolerance on angles in radians: coordinates of most files have seven digits."""

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The result of `diagnose`.

    `n_used` vertices are corners of sound faces. Topology and measures describe the sound faces: ids in
    range, three different corners, one of each set of equal faces. `euler` is V − E + F. `components` are
    joined by edges or vertices. `genus` has one number per component: the handles of a two-sided one, the
    cross-caps of a one-sided one, None where edges or vertices are not manifold. `orientable`,
    `consistently_wound` and `manifold` are None where no face is sound. `total_curvature` is the sum
    of angle defects (π − angles on the boundary) in radians and `residual` its difference from 2π·euler; both
    are None where the faces are not a manifold, a corner is not finite or a face has no area. `edge_lengths`
    and `smallest_angles` (one per face, degrees) are quantiles at 0, 5, 50, 95, 100 %. `holonomy` is the
    group of all loops over the faces, to within 1e-6 radians, where the mesh is a surface. `radius` is the
    suggestion for a stencil, 2.5 spacings. `surface` is the mesh itself, unless it has a fatal defect.
    """

    n_vertices: int
    n_faces: int
    n_used: int
    n_edges: int
    components: int
    boundary_edges: int
    boundary_loops: int
    euler: int
    genus: list[int | None]
    orientable: bool | None
    consistently_wound: bool | None
    manifold: bool | None
    area: float | None
    total_curvature: float | None
    residual: float | None
    holonomy: HolonomyGroup | None
    edge_lengths: tuple[float, ...] | None
    smallest_angles: tuple[float, ...] | None
    spacing: float | None
    radius: float | None
    defects: list[Defect]
    surface: Mesh | OneSidedMesh | None = field(repr=False)

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """The costs of both kinds of stencil of the suggested radius, measured on some of the points."""
        if self.radius is None:
            return ()
        if self.surface is None:
            return tuple(_cost(kind, self.n_used) for kind in ENTRIES)
        return tuple(stencil_cost(self.surface, self.radius, kind) for kind in ENTRIES)

    @property
    def usable(self) -> bool:
        """Return whether the mesh is a surface without repair."""
        return not any(defect.about.fatal for defect in self.defects)

    @property
    def watertight(self) -> bool:
        """Return whether the mesh is a manifold without boundary."""
        return bool(self.manifold) and self.boundary_edges == 0

    def defect(self, kind: str) -> Defect | None:
        """Return the defect of a kind, or None."""
        return next((defect for defect in self.defects if defect.kind == kind), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as numbers, strings and lists, which JSON can hold."""
        nested = ("defects", "costs", "holonomy", "surface", "n_used")
        own = {name: value for name, value in vars(self).items() if name not in nested}
        defects = [
            {
                "kind": defect.kind,
                "element": defect.about.element,
                "fatal": defect.about.fatal,
                "what": defect.what,
                "remedy": defect.remedy,
                "repair": defect.about.repair,
                "ids": defect.ids.tolist(),
            }
            for defect in self.defects
        ]
        return {
            "usable": self.usable,
            "watertight": self.watertight,
            **own,
            "holonomy": None if self.holonomy is None else self.holonomy.to_dict(),
            "costs": [cost._asdict() for cost in self.costs],
            "defects": defects,
        }


@one_thread()
def diagnose(vertices: MeshObject | ArrayLike | Tensor, faces: ArrayLike | Tensor | None = None) -> Diagnosis:
    """Describe a mesh and everything that is wrong with it; no defect raises an error.

    Args:
        vertices: The result of `read_mesh` or another object that holds a mesh, or [N, 3] coordinates.
        faces: [F, k] vertex ids, or a list of lists of them; omit them with the former.

    Raises:
        GeometryError: Vertices are not coordinates, or faces are not whole numbers.

    >>> d = diagnose([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]], [[0, 1, 2], [0, 2, 3]])
    >>> d.usable, d.euler, d.boundary_loops, [defect.what for defect in d.defects]
    (True, 1, 1, ["1 vertex: at no face's corner (4)"])
    """
    if not isinstance(vertices, RawMesh):
        vertices = raw_mesh(vertices, faces)
    elif faces is not None:
        raise GeometryError("a RawMesh has its own faces; give no others")
    defects, sound = find_defects(vertices), Examined(vertices).sound
    kinds = {defect.kind for defect in defects}
    measures = _measures(vertices.vertices, sound, kinds)
    fatal = any(defect.about.fatal for defect in defects)
    surface = None if fatal else unchecked_mesh(vertices.vertices, vertices.faces)
    return Diagnosis(
        n_vertices=len(vertices.vertices),
        n_faces=len(vertices.faces),
        **_topology(sound, len(vertices.vertices), kinds),
        **measures,
        holonomy=None if surface is None else holonomy_group(surface, SINGLE_PRECISION),
        n_used=len(sound.faces.unique()),
        defects=defects,
        surface=surface,
    )


def _topology(sound: Sound, n: int, kinds: set[str]) -> dict[str, Any]:
    f, edges = sound.faces, sound.edges
    label = half_edges.components(n, *edges.ends.unbind(1))
    parts, part = label[f[:, 0]].unique(return_inverse=True)  # of each face
    fans = half_edges.fans_of(f, edges)
    rim, rims = _rims(edges, fans)
    of_edge = torch.searchsorted(parts, label[edges.ends[:, 0]])
    used = f.unique()
    counts = [torch.searchsorted(parts, label[used]), of_edge, part, part[rims // 3]]
    v, e, t, b = (torch.bincount(of, minlength=len(parts)) for of in counts)
    euler = v - e + t
    one_sided = half_edges.unwind(len(f), half_edges.sides_of(f, edges))[1]
    sides = torch.full((len(parts),), 2)
    sides[part[one_sided]] = 1
    branched = torch.zeros(len(parts), dtype=torch.bool)
    branched[of_edge[edges.count > 2]] = True
    branched[torch.searchsorted(parts, label[faults.pinched(f, fans)])] = True
    genus = (2 - euler - b) // sides
    return {
        "n_edges": len(edges.count),
        "components": len(parts),
        "boundary_edges": len(rim),
        "boundary_loops": len(rims),
        "euler": int(euler.sum()),
        "genus": [None if odd else g for g, odd in zip(genus.tolist(), branched.tolist(), strict=True)],
        "orientable": "one_sided" not in kinds if len(f) else None,
        "consistently_wound": not {"winding", "one_sided"} & kinds if len(f) else None,
        "manifold": not {"nonmanifold_edge", "nonmanifold_vertex"} & kinds if len(f) else None,
    }


def _rims(
    edges: half_edges.Edges, fans: Int64[Tensor, " h"]
) -> tuple[Int64[Tensor, " rim"], Int64[Tensor, " loops"]]:
    """Return the half-edges on the boundary, and a corner of each of its loops."""
    rim = (edges.count[edges.edge] == 1).nonzero()[:, 0]
    after = half_edges.following(rim)
    # link fans rather than vertices, as if every fan had its own vertex
    label = half_edges.components(len(fans), fans[rim], fans[after])
    return rim, label[fans[rim]].unique()


def _measures(v: Float64[Tensor, "n 3"], sound: Sound, kinds: set[str]) -> dict[str, Any]:
    """Return lengths, angles, areas and curvature, or None where a face has none."""
    names = ("area", "total_curvature", "residual", "edge_lengths", "smallest_angles", "spacing", "radius")
    unknown: dict[str, Any] = dict.fromkeys(names, None)
    f, edges = sound.faces, sound.edges
    if not len(f) or not bool(v[f].isfinite().all()):
        return unknown
    side = v[f.roll(-1, 1)] - v[f]
    across = torch.linalg.cross(side, -side.roll(1, 1), dim=-1).norm(dim=-1)
    angle = torch.atan2(across, -(side * side.roll(1, 1)).sum(-1))
    length = (v[edges.ends[:, 1]] - v[edges.ends[:, 0]]).norm(dim=-1)
    area = float(0.5 * across[:, 0].sum())
    used = f.unique()
    spacing = math.sqrt(area / len(used))
    known = unknown | {
        "area": area,
        "edge_lengths": _quantiles(length),
        "smallest_angles": _quantiles(torch.rad2deg(angle.amin(1))),
    }
    if spacing > 0:
        known |= {"spacing": spacing, "radius": SPACINGS * spacing}
    # without area corners have no angles
    if not {"nonmanifold_edge", "nonmanifold_vertex", "zero_area"} & kinds:
        rim = edges.ends[edges.count == 1].unique()
        euler = len(used) - len(edges.count) + len(f)
        total = 2 * math.pi * len(used) - math.pi * len(rim) - float(angle.sum())
        known |= {"total_curvature": total, "residual": total - 2 * math.pi * euler}
    return {name: value if _is_finite(value) else None for name, value in known.items()}


def _is_finite(value: Any) -> bool:
    return not isinstance(value, (float, tuple)) or bool(torch.tensor(value).isfinite().all())


def _cost(kind: Kind, n: int) -> Cost:
    """Return the cost of a stencil of n points on an even mesh."""
    entries = round(ENTRIES[kind] * n)
    size = round(ENTRY_BYTES[kind] * entries)
    peak = exp_peak(entries, size) if kind == "exp" else unfolded_peak(n, entries, size)
    return Cost(kind, entries, size, peak, ENTRY_SECONDS[kind] * entries)


def _quantiles(values: Float64[Tensor, " k"]) -> tuple[float, ...]:
    """Return the values at QUANTILES, the lower of two neighbours."""
    ordered = values.sort().values
    return tuple(float(ordered[int(q * (len(ordered) - 1))]) for q in QUANTILES)
