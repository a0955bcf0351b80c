"""What a mesh is: counts, topology, curvature, quality, what a stencil on it will cost, and every defect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core import half_edges
from geocnn.geometry.doctor import faults
from geocnn.geometry.doctor.defects import Defect, Examined, Sound, find_defects
from geocnn.geometry.io import RawMesh, raw_mesh
from geocnn.geometry.loops.holonomy_groups import HolonomyGroup, holonomy_group
from geocnn.geometry.meshes.build import unchecked_mesh

SPACINGS = 2.5
"""The radius suggested, in spacings of the points; what `hierarchy` takes by default."""

ENTRIES = {"exp": 3 * 16 * 3.0, "log": math.pi * SPACINGS**2}
"""Of a stencil of that radius a point: 3 rings of 16 samples with 3 corners each; the points in the disc."""

ENTRY_BYTES = 40
"""Of a stencil in double precision: source, r, theta, weight and angle."""

ENTRY_SECONDS = {"exp": 0.65e-6, "log": 15e-6}
"""Measured: one thread of an AMD EPYC, irregular spheres of 3,000 and 10,000 vertices; 0.60–0.70 and 9–19."""

SINGLE_PRECISION = 1e-6
"""The tolerance on angles, radians: coordinates of most files have seven digits."""

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


class Cost(NamedTuple):
    """What a stencil of the suggested radius takes: entries, bytes and, roughly, seconds."""

    kind: str
    entries: int
    bytes: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose` finds. Topology and measures are of the sound faces: ids in range, three different
    corners, one of each set of equal faces.

    `euler`: V − E + F of their vertices; `components` are joined by edges or vertices, and `genus` has one
    number for each: of a two-sided one its handles, of a one-sided one its cross-caps, None where edges or
    vertices are not manifold. `total_curvature`: the angle defects (π − angles on the boundary), in radians;
    `residual`: what it differs by from 2π·euler; both None where the faces are no manifold, a corner is
    nowhere or a face has no area. `edge_lengths` and `smallest_angles` (of each face, degrees): at quantiles
    0, 5, 50, 95, 100 %.
    `holonomy`: the group of all loops over the faces, to within 1e-6 radians, where a surface can be made of
    it. `radius`: 2.5 spacings, the suggestion for a stencil; `costs`: of both kinds of stencil, estimated.
    """

    n_vertices: int
    n_faces: int
    n_edges: int
    components: int
    boundary_edges: int
    boundary_loops: int
    euler: int
    genus: list[int | None]
    orientable: bool
    consistently_wound: bool
    manifold: bool
    area: float | None
    total_curvature: float | None
    residual: float | None
    holonomy: HolonomyGroup | None
    edge_lengths: tuple[float, ...] | None
    smallest_angles: tuple[float, ...] | None
    spacing: float | None
    radius: float | None
    costs: tuple[Cost, ...]
    defects: list[Defect]

    @property
    def usable(self) -> bool:
        """Whether a surface can be made of it as it is."""
        return not any(defect.about.fatal for defect in self.defects)

    @property
    def watertight(self) -> bool:
        return self.manifold and self.n_faces > 0 and self.boundary_edges == 0

    def defect(self, kind: str) -> Defect | None:
        """The defect of a kind, if there is one."""
        return next((defect for defect in self.defects if defect.kind == kind), None)

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings and lists: what JSON holds."""
        apart = ("defects", "costs", "holonomy")
        own = {name: value for name, value in vars(self).items() if name not in apart}
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


def diagnose(vertices: RawMesh | ArrayLike | Tensor, faces: ArrayLike | Tensor | None = None) -> Diagnosis:
    """What a mesh is and everything that is wrong with it; content, however broken, raises nothing.

    Args:
        vertices: what `read_mesh` returns, or [N, 3] coordinates.
        faces: [F, k] vertex ids, or a list of lists of them; left out with the former.

    Raises GeometryError for what are no coordinates or whole numbers at all.

    >>> d = diagnose([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]], [[0, 1, 2], [0, 2, 3]])
    >>> d.usable, d.euler, d.boundary_loops, [defect.what for defect in d.defects]
    (True, 1, 1, ["1 vertex: at no face's corner (4)"])
    """
    if not isinstance(vertices, RawMesh):
        if faces is None:
            raise GeometryError("faces are missing: give vertices and faces, or what read_mesh returns")
        vertices = raw_mesh(vertices, faces)
    elif faces is not None:
        raise GeometryError("a RawMesh has its own faces; leave out the others")
    defects, sound = find_defects(vertices), Examined(vertices).sound
    kinds = {defect.kind for defect in defects}
    measures = _measures(vertices.vertices, sound, kinds)
    points = len(sound.faces.unique()) if measures["spacing"] else 0
    sick = any(defect.about.fatal for defect in defects)
    surface = None if sick else unchecked_mesh(vertices.vertices, vertices.faces)
    return Diagnosis(
        n_vertices=len(vertices.vertices),
        n_faces=len(vertices.faces),
        **_topology(sound, len(vertices.vertices), kinds),
        **measures,
        holonomy=None if surface is None else holonomy_group(surface, SINGLE_PRECISION),
        costs=tuple(_cost(kind, points) for kind in ENTRIES if points),
        defects=defects,
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
        "orientable": "one_sided" not in kinds,
        "consistently_wound": not {"winding", "one_sided"} & kinds,
        "manifold": not {"nonmanifold_edge", "nonmanifold_vertex"} & kinds,
    }


def _rims(edges: half_edges.Edges, fans: Tensor) -> tuple[Tensor, Tensor]:
    """The half-edges on the boundary, and a corner of each of its loops."""
    rim = (edges.count[edges.edge] == 1).nonzero()[:, 0]
    after = half_edges.following(rim)
    # from fan to fan, as if every fan had a vertex of its own
    label = half_edges.components(len(fans), fans[rim], fans[after])
    return rim, label[fans[rim]].unique()


def _measures(v: Tensor, sound: Sound, kinds: set[str]) -> dict[str, Any]:
    """Lengths, angles, areas and curvature, of the faces that have them."""
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


def _cost(kind: str, n: int) -> Cost:
    entries = round(ENTRIES[kind] * n)
    return Cost(kind, entries, ENTRY_BYTES * entries, ENTRY_SECONDS[kind] * entries)


def _quantiles(values: Tensor) -> tuple[float, ...]:
    """At QUANTILES; the lower of two neighbours."""
    ordered = values.sort().values
    return tuple(float(ordered[int(q * (len(ordered) - 1))]) for q in QUANTILES)
