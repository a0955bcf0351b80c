"""Opt-in repair of a mesh: only what is named is done; a report says what became of every element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry import manifold
from geocnn.geometry.defects import measurable_faces, proper_faces, sound_faces, unreferenced
from geocnn.geometry.io import RawMesh
from geocnn.geometry.io.raw import Attributes


class Step(NamedTuple):
    """What one repair did: the mesh, where each vertex [N] and face [F] went (−1: dropped), the old vertex of
    each new one, how many elements were concerned, and a sentence.
    """

    mesh: RawMesh
    vertex_map: Tensor
    face_map: Tensor
    source: Tensor
    count: int
    what: str


@dataclass(frozen=True, eq=False)
class Report:
    """What was changed. `changes`: name, count and sentence of each repair, in the order they were made.

    vertex_map [N_old] is the new id of each vertex, −1 where it was dropped, the first copy where it was
    split; face_map [F_old] the same of triangles; vertex_source [N_new] the old vertex of each new one.
    """

    changes: list[tuple[str, int, str]]
    vertex_map: Tensor
    face_map: Tensor
    vertex_source: Tensor

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings and lists: what JSON holds."""
        return {
            "changes": [{"repair": name, "count": k, "what": what} for name, k, what in self.changes],
            "vertex_map": self.vertex_map.tolist(),
            "face_map": self.face_map.tolist(),
            "vertex_source": self.vertex_source.tolist(),
        }


def repair(raw: RawMesh, repairs: Sequence[str]) -> tuple[RawMesh, Report]:
    """The mesh with the named repairs made, each once, in the order of REPAIRS; attributes follow.

    range: drop faces of vertices that do not exist. nan: drop vertices that are nowhere, with their faces.
    merge: make vertices of equal coordinates one, the first. degenerate: drop faces without area or with a
    vertex at two corners. duplicates: keep the first of faces with the same corners. split: give every fan
    of faces its own vertex, cutting edges of more than two faces. orient: flip faces, the fewer of each
    component. unreferenced: drop vertices of no face. All of them make a surface of anything but a one-sided
    one, one too small or large for its areas to be numbers, and nothing.

    Raises GeometryError for a name that is not among them.

    >>> from geocnn.geometry.io import raw_mesh
    >>> corners = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]]
    >>> square = raw_mesh(corners, [[0, 1, 2], [3, 4, 5]])
    >>> mended, report = repair(square, ["merge"])
    >>> mended.faces.tolist(), report.vertex_map.tolist()
    ([[0, 1, 2], [0, 2, 3]], [0, 1, 2, 0, 2, 3])
    """
    unknown = [name for name in repairs if name not in REPAIRS]
    if unknown:
        raise GeometryError(f"there is no repair '{unknown[0]}'; choose among {', '.join(REPAIRS)}")
    changes: list[tuple[str, int, str]] = []
    vertex_map, face_map = torch.arange(len(raw.vertices)), torch.arange(len(raw.faces))
    source = vertex_map
    for name, make in REPAIRS.items():
        if name not in repairs:
            continue
        step = make(raw)
        changes.append((name, step.count, step.what))
        vertex_map, face_map = _then(vertex_map, step.vertex_map), _then(face_map, step.face_map)
        source = source[step.source]
        raw = step.mesh
    return raw, Report(changes, vertex_map, face_map, source)


def _range(raw: RawMesh) -> Step:
    lost = manifold.out_of_range(raw.faces, len(raw.vertices))
    return _without(raw, faces=lost, what=f"dropped {len(lost)} faces of vertices that do not exist")


def _nan(raw: RawMesh) -> Step:
    nowhere = manifold.not_finite(raw.vertices)
    bad = torch.zeros(len(raw.vertices), dtype=torch.bool)
    bad[nowhere] = True
    present = ((raw.faces >= 0) & (raw.faces < len(bad))).nonzero(as_tuple=True)
    lost = torch.zeros(len(raw.faces), dtype=torch.bool)
    lost[present[0][bad[raw.faces[present]]]] = True
    faces = lost.nonzero()[:, 0]
    what = f"dropped {len(nowhere)} vertices with NaN or infinity and {len(faces)} faces there"
    return _without(raw, faces=faces, vertices=nowhere, what=what)


def _merge(raw: RawMesh) -> Step:
    n = len(raw.vertices)
    first = manifold.first_in_place(raw.vertices)
    kept = first == torch.arange(n)
    vertex_map = (kept.cumsum(0) - 1)[first]
    gone = int(n - kept.sum())
    torn = np.zeros(n, dtype=bool)
    for values in raw.vertex_attributes.values():
        flat = values.reshape(n, -1)
        torn |= (flat != flat[first.numpy()]).any(1)
    what = f"made {gone} vertices one with another in the same place"
    if torn.any():
        what += f"; of {int(torn.sum())} the attributes differed, the first vertex's are kept"
    source = kept.nonzero()[:, 0]
    mesh = _taken(raw, _relabelled(raw.faces, vertex_map), source)
    return Step(mesh, vertex_map, _all(raw), source, gone, what)


def _degenerate(raw: RawMesh) -> Step:
    measured = measurable_faces(raw)
    flat = measured[manifold.without_area(raw.vertices, raw.faces[measured])]
    repeated = manifold.repeated_corners(raw.faces)
    what = f"dropped {len(repeated)} faces with a vertex at two corners and {len(flat)} without area"
    return _without(raw, faces=torch.cat([flat, repeated]), what=what)


def _duplicates(raw: RawMesh) -> Step:
    n = len(raw.vertices)
    proper = proper_faces(raw)
    again = proper[manifold.first_alike(raw.faces[proper], n) != torch.arange(len(proper))]
    return _without(raw, faces=again, what=f"dropped {len(again)} faces whose corners an earlier face has")


def _split(raw: RawMesh) -> Step:
    n, (ids, f, edges) = len(raw.vertices), sound_faces(raw)
    fans = manifold.fans_of(f, edges, most=2)
    corner = f.flatten()
    # the fan of the lowest corner keeps the vertex, the others get new ones behind the last
    lowest = torch.full((n,), len(fans)).scatter_reduce_(0, corner, fans, "amin")
    others = fans.unique()
    others = others[lowest[corner[others]] != others]
    renamed = torch.full((len(fans),), -1)
    renamed[others] = n + torch.arange(len(others))
    # ids of no vertex stay of no vertex
    faces = torch.where(raw.faces >= n, raw.faces + len(others), raw.faces)
    faces[ids] = torch.where(renamed[fans] >= 0, renamed[fans], corner).view(-1, 3)
    # faces of the same corners go with the first of them
    proper = proper_faces(raw)
    first = proper[manifold.first_alike(raw.faces[proper], n)]
    place = (raw.faces[first][:, None, :] == raw.faces[proper][:, :, None]).long().argmax(-1)
    faces[proper] = faces[first].gather(1, place)
    source = torch.cat([torch.arange(n), corner[others]])
    what = (
        f"gave {len(others)} fans of faces vertices of their own, at {len(corner[others].unique())} vertices"
    )
    return Step(_taken(raw, faces, source), torch.arange(n), _all(raw), source, len(others), what)


def _orient(raw: RawMesh) -> Step:
    ids, f, edges = sound_faces(raw)
    flips = ids[manifold.unwind(len(f), manifold.sides_of(f, edges))[0]]
    order = torch.arange(3).repeat(len(raw.faces), 1)
    order[flips] = torch.tensor([0, 2, 1])
    every = torch.arange(len(raw.vertices))
    mesh = _taken(raw, raw.faces.gather(1, order), every, order=order)
    return Step(mesh, every, _all(raw), every, len(flips), f"flipped {len(flips)} faces")


def _unreferenced(raw: RawMesh) -> Step:
    lost = unreferenced(raw)
    return _without(raw, vertices=lost, what=f"dropped {len(lost)} vertices of no face")


REPAIRS: dict[str, Callable[[RawMesh], Step]] = {
    "range": _range,
    "nan": _nan,
    "merge": _merge,
    "degenerate": _degenerate,
    "duplicates": _duplicates,
    "split": _split,
    "orient": _orient,
    "unreferenced": _unreferenced,
}
"""In the order they are made: welding before what it may leave without area, flipping last of all."""


def _without(raw: RawMesh, what: str, faces: Tensor | None = None, vertices: Tensor | None = None) -> Step:
    """Less some faces and vertices [k] ids; the vertices are no corners of the other faces."""
    kept_faces, face_map = _kept(len(raw.faces), faces)
    kept, vertex_map = _kept(len(raw.vertices), vertices)
    mesh = _taken(raw, _relabelled(raw.faces[kept_faces], vertex_map), kept, kept_faces)
    count = len(raw.faces) - len(kept_faces) + len(raw.vertices) - len(kept)
    return Step(mesh, vertex_map, face_map, kept, count, what)


def _kept(n: int, gone: Tensor | None) -> tuple[Tensor, Tensor]:
    """What stays of n elements, and the new number of each, −1 of those that go."""
    keep = torch.ones(n, dtype=torch.bool)
    if gone is not None:
        keep[gone] = False
    return keep.nonzero()[:, 0], torch.where(keep, keep.cumsum(0) - 1, -1)


def _relabelled(faces: Tensor, vertex_map: Tensor) -> Tensor:
    """Corners by their vertices' new numbers; ids of no vertex stay of no vertex."""
    n, left = len(vertex_map), int(vertex_map.max()) + 1 if len(vertex_map) else 0
    present = (faces >= 0) & (faces < n)
    beyond = torch.where(faces < 0, faces, faces - n + left)
    return torch.where(present, vertex_map[torch.where(present, faces, 0)], beyond) if n else faces


def _taken(
    raw: RawMesh, faces: Tensor, vertices: Tensor, face: Tensor | None = None, order: Tensor | None = None
) -> RawMesh:
    """New faces, of the old faces `face` with their corners in the given order, on copies of old vertices."""
    face = torch.arange(len(raw.faces)) if face is None else face
    places = (torch.arange(3).repeat(len(face), 1) if order is None else order).numpy()
    at, rows = vertices.numpy(), face.numpy()
    corner: Attributes = {
        name: values[rows[:, None], places] for name, values in raw.corner_attributes.items()
    }
    return RawMesh(
        raw.vertices[vertices],
        faces,
        raw.face_map[face],
        raw.skipped,
        {name: values[at] for name, values in raw.vertex_attributes.items()},
        {name: values[rows] for name, values in raw.face_attributes.items()},
        corner,
        raw.left_out,
        raw.parts,
    )


def _all(raw: RawMesh) -> Tensor:
    return torch.arange(len(raw.faces))


def _then(before: Tensor, after: Tensor) -> Tensor:
    """Where elements go that went `before` and then `after`; −1 stays."""
    return torch.where(before >= 0, after[before.clamp_min(0)], -1) if len(after) else before.clamp_max(-1)
