"""A mesh is repaired only where a repair is named; a report says what became of every element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.doctor import degenerate, faults
from geocnn.geometry.doctor.defects import Defect, Examined, fatal_defects
from geocnn.geometry.doctor.ears import cut_by_ears
from geocnn.geometry.doctor.parting import parted
from geocnn.geometry.io import RawMesh
from geocnn.geometry.io.raw import Attributes
from geocnn.lasting import one_thread
from geocnn.wording import counted


class Step(NamedTuple):
    """The result of one repair: the mesh, the new id of each vertex and face (−1: dropped), the old vertex of
    each new one, the number of elements changed, a sentence, and the largest distance that a vertex moved.
    """

    mesh: RawMesh
    vertex_map: Int64[Tensor, " n"]
    face_map: Int64[Tensor, " f"]
    source: Int64[Tensor, " n_new"]
    count: int
    what: str
    moved: float = 0.0


@dataclass(frozen=True, eq=False)
class RepairReport:
    """The changes of a mesh: the name, count and sentence of each repair, in the order of the repairs.

    vertex_map is the new id of each vertex, −1 where it was dropped, the first copy where it was split;
    face_map is the same for triangles; vertex_source is the old vertex of each new one. No vertex moved
    farther than `moved`, in the mesh's unit of length.
    """

    changes: list[tuple[str, int, str]]
    vertex_map: Int64[Tensor, " n_old"]
    face_map: Int64[Tensor, " f_old"]
    vertex_source: Int64[Tensor, " n_new"]
    moved: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as numbers, strings and lists, which JSON can hold."""
        return {
            "changes": [{"repair": name, "count": k, "what": what} for name, k, what in self.changes],
            "vertex_map": self.vertex_map.tolist(),
            "face_map": self.face_map.tolist(),
            "vertex_source": self.vertex_source.tolist(),
            "moved": self.moved,
        }


@one_thread()
def repair(raw: RawMesh, repairs: Sequence[str]) -> tuple[RawMesh, RepairReport]:
    """Make the named repairs, each once, in the order of REPAIRS; return the mesh and a report.

    triangulate: cut polygons into triangles. range: drop faces of vertices that do not exist. nan: drop
    vertices with NaN or infinity, and their faces. merge: merge vertices with equal coordinates into the
    first. duplicates: keep the first of faces with the same corners. degenerate: drop faces with a vertex at
    two corners; remove faces without area by collapsing edges without length and flipping long ones, so that
    closed pieces stay closed. split: give every fan of faces its own vertex, pairing the faces around an edge
    of more than two. orient: flip faces, the fewer of each piece, or those that make its normals point
    outwards where it is closed. unreferenced: drop vertices of no face. Together they turn any mesh into a
    valid surface, except meshes whose areas under- or overflow, and empty ones. Attributes follow.

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
    source, moved = vertex_map, 0.0
    for name, change in REPAIRS.items():
        if name not in repairs:
            continue
        step = change(raw)
        changes.append((name, step.count, step.what))
        vertex_map, face_map = _then(vertex_map, step.vertex_map), _then(face_map, step.face_map)
        source = source[step.source]
        raw, moved = step.mesh, moved + step.moved
    return raw, RepairReport(changes, vertex_map, face_map, source, moved)


class Plan(NamedTuple):
    """The repairs that are needed, and the defects that still forbid a surface after them."""

    repairs: list[str]
    left: list[Defect]


def plan(raw: RawMesh) -> Plan:
    """Find the repairs that make a mesh a surface by trying: a repair may cause defects that need others.

    >>> from geocnn.geometry.io import raw_mesh
    >>> plan(raw_mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2, 3], [0, 1, 9]]))
    Plan(repairs=['triangulate', 'range'], left=[])
    """
    names: set[str] = set()
    while True:
        left = fatal_defects(repair(raw, list(names))[0])
        needed = {defect.about.repair for defect in left if defect.about.repair} - names
        if not needed:
            return Plan([name for name in REPAIRS if name in names], left)
        names |= needed


def _triangulate(raw: RawMesh) -> Step:
    corner = cut_by_ears(raw)
    pieces = torch.bincount(raw.face_map)
    cut, few = pieces[pieces > 1], len(raw.skipped)
    what = f"cut {counted(len(cut), 'polygon')} into {counted(int(cut.sum()), 'triangle')}"
    what += f", left out {counted(few, 'face')} of fewer than three corners" if few else ""
    mesh = _taken(raw, raw.faces.flatten()[corner], torch.arange(len(raw.vertices)), corner=corner)
    mesh = replace(mesh, face_map=_all(raw), skipped=raw.skipped[:0])
    return Step(mesh, torch.arange(len(raw.vertices)), _all(raw), _every(raw), len(cut) + few, what)


def _range(raw: RawMesh) -> Step:
    lost = faults.out_of_range(raw.faces, len(raw.vertices))
    return _without(
        raw, faces=lost, what=f"dropped {counted(len(lost), 'face')} of vertices that do not exist"
    )


def _nan(raw: RawMesh) -> Step:
    vertices = faults.not_finite(raw.vertices)
    bad = torch.zeros(len(raw.vertices), dtype=torch.bool)
    bad[vertices] = True
    present = ((raw.faces >= 0) & (raw.faces < len(bad))).nonzero(as_tuple=True)
    lost = torch.zeros(len(raw.faces), dtype=torch.bool)
    lost[present[0][bad[raw.faces[present]]]] = True
    faces = lost.nonzero()[:, 0]
    dropped = counted(len(vertices), "vertex"), counted(len(faces), "face")
    what = "dropped {} with NaN or infinity and {} there".format(*dropped)
    return _without(raw, faces=faces, vertices=vertices, what=what)


def _merge(raw: RawMesh) -> Step:
    first = faults.first_in_place(raw.vertices)
    mesh, vertex_map, source, torn = _united(raw, first)
    merged = len(raw.vertices) - len(source)
    what = f"merged {counted(merged, 'vertex')} with another in the same place{torn}"
    return Step(mesh, vertex_map, _all(raw), source, merged, what)


def _duplicates(raw: RawMesh) -> Step:
    e = Examined(raw)
    again = e.proper[~torch.isin(e.proper, e.sound.ids)]
    return _without(
        raw, faces=again, what=f"dropped {counted(len(again), 'face')} whose corners an earlier face has"
    )


def _degenerate(raw: RawMesh) -> Step:
    e = Examined(raw)
    corner = torch.arange(3 * len(raw.faces)).view(-1, 3)
    ids = e.proper
    work = degenerate.Faces(raw.vertices, raw.faces[ids], corner[ids], ids, ids)
    work, first, done = degenerate.mend(work)
    # faces of vertices that do not exist have their corners renamed, and are not changed otherwise
    faces, face = raw.faces.clone(), _all(raw)
    faces[work.slot], corner[work.slot], face[work.slot] = work.corners, work.corner, work.face
    slots = torch.cat([e.lost, work.slot]).sort().values
    mesh, vertex_map, source, torn = _united(replace(raw, vertices=work.points, faces=faces), first)
    mesh = _taken(mesh, mesh.faces[slots], torch.arange(len(source)), face[slots], corner[slots])
    mesh = replace(mesh, face_map=raw.face_map[slots])
    finite = raw.vertices.isfinite().all(1)
    distance = faults.lengths(work.points[first] - raw.vertices)[finite]
    moved = float(distance.max()) if len(distance) else 0.0
    what = _description(len(e.repeated), len(e.flat), done, moved) + torn
    count = len(e.flat) + len(e.repeated)
    return Step(mesh, vertex_map, _numbers(len(raw.faces), slots), source, count, what, moved)


def _description(repeated: int, flat: int, done: dict[str, int], moved: float) -> str:
    """Describe what was done to faces with a vertex at two corners and to those without area."""
    what = f"dropped {counted(repeated, 'face')} with a vertex at two corners, mended {flat} without area"
    if not flat:
        return what
    return (
        f"{what}: {counted(done['collapsed'], 'edge')} collapsed, {done['flipped']} flipped, "
        f"{counted(done['left out'], 'face')} at the boundary left out, "
        f"{counted(done['nudged'], 'vertex')} nudged; none moved by more than {moved:.2g}"
    )


def _split(raw: RawMesh) -> Step:
    n, e = len(raw.vertices), Examined(raw)
    ids, f, edges = e.sound
    fans = parted(raw.vertices, f, edges)
    corner = f.flatten()
    # the fan of the lowest corner keeps the vertex, the others get new ones after the last
    lowest = torch.full((n,), len(fans)).scatter_reduce_(0, corner, fans, "amin")
    others = fans.unique()
    others = others[lowest[corner[others]] != others]
    renamed = torch.full((len(fans),), -1)
    renamed[others] = n + torch.arange(len(others))
    # ids of no vertex must not become ids of new ones
    faces = torch.where(raw.faces >= n, raw.faces + len(others), raw.faces)
    faces[ids] = torch.where(renamed[fans] >= 0, renamed[fans], corner).view(-1, 3)
    # faces with the same corners follow the first of them
    first = e.proper[e.first]
    place = (raw.faces[first][:, None, :] == raw.faces[e.proper][:, :, None]).long().argmax(-1)
    faces[e.proper] = faces[first].gather(1, place)
    source = torch.cat([torch.arange(n), corner[others]])
    what = (
        f"gave vertices of their own to {len(others)} of the fans of faces at "
        f"{counted(len(corner[others].unique()), 'vertex')}"
    )
    return Step(_taken(raw, faces, source), _every(raw), _all(raw), source, len(others), what)


def _orient(raw: RawMesh) -> Step:
    e = Examined(raw)
    flips = torch.zeros(len(raw.faces), dtype=torch.bool)
    flips[e.unwound[0]] = True
    flips[e.inside_out] ^= True
    order = torch.arange(3).repeat(len(raw.faces), 1)
    order[flips] = torch.tensor([0, 2, 1])
    corner = 3 * _all(raw)[:, None] + order
    mesh = _taken(raw, raw.faces.gather(1, order), _every(raw), corner=corner)
    for attributes in (mesh.face_attributes, mesh.corner_attributes):
        for name in attributes.keys() & {"normal", "normals"}:
            attributes[name] = np.where(_beside(flips, attributes[name]), -attributes[name], attributes[name])
    k = int(flips.sum())
    return Step(mesh, _every(raw), _all(raw), _every(raw), k, f"flipped {counted(k, 'face')}")


def _beside(flips: Bool[Tensor, " f"], values: np.ndarray) -> np.ndarray:
    """Return the flips with as many axes as the faces' values have."""
    return flips.numpy().reshape(-1, *[1] * (values.ndim - 1))


def _unreferenced(raw: RawMesh) -> Step:
    lost = Examined(raw).unreferenced
    return _without(raw, vertices=lost, what=f"dropped {counted(len(lost), 'vertex')} of no face")


REPAIRS: dict[str, Callable[[RawMesh], Step]] = {
    "triangulate": _triangulate,
    "range": _range,
    "nan": _nan,
    "merge": _merge,
    "duplicates": _duplicates,
    "degenerate": _degenerate,
    "split": _split,
    "orient": _orient,
    "unreferenced": _unreferenced,
}
"""The repairs in their order: merging comes before degenerate, for it may leave faces without area."""


def _without(
    raw: RawMesh,
    what: str,
    faces: Int64[Tensor, " k"] | None = None,
    vertices: Int64[Tensor, " m"] | None = None,
) -> Step:
    """Drop some faces and vertices; the vertices are not corners of other faces."""
    face, face_map = _rest(len(raw.faces), faces)
    source, vertex_map = _rest(len(raw.vertices), vertices)
    mesh = _taken(raw, _relabelled(raw.faces[face], vertex_map), source, face)
    count = len(raw.faces) - len(face) + len(raw.vertices) - len(source)
    return Step(mesh, vertex_map, face_map, source, count, what)


def _rest(
    n: int, dropped: Int64[Tensor, " k"] | None
) -> tuple[Int64[Tensor, " rest"], Int64[Tensor, " {n}"]]:
    """Return which of n elements stay, and the new number of each, −1 for those that are dropped."""
    keep = torch.ones(n, dtype=torch.bool)
    if dropped is not None:
        keep[dropped] = False
    return keep.nonzero()[:, 0], torch.where(keep, keep.cumsum(0) - 1, -1)


def _relabelled(faces: Int64[Tensor, "f 3"], vertex_map: Int64[Tensor, " n"]) -> Int64[Tensor, "f 3"]:
    """Rename corners by the new numbers of their vertices; ids of no vertex become others of no vertex."""
    n, left = len(vertex_map), int(vertex_map.max()) + 1 if len(vertex_map) else 0
    present = (faces >= 0) & (faces < n)
    beyond = torch.where(faces < 0, faces, faces - n + left)
    return torch.where(present, vertex_map[torch.where(present, faces, 0)], beyond) if n else faces


def _united(
    raw: RawMesh, first: Int64[Tensor, " n"]
) -> tuple[RawMesh, Int64[Tensor, " n"], Int64[Tensor, " n_new"], str]:
    """Merge each vertex with its `first`.

    Return the mesh, the new id of each vertex, the old vertex of each new one, and at how many vertices the
    attributes differed, as the end of a sentence.
    """
    n = len(raw.vertices)
    is_first = first == torch.arange(n)
    torn = np.zeros(n, dtype=bool)
    for values in raw.vertex_attributes.values():
        torn |= (values != values[first.numpy()]).any(tuple(range(1, values.ndim)))
    message = (
        f"; of {int(torn.sum())} the attributes differed, the first vertex's are kept" if torn.any() else ""
    )
    vertex_map = (is_first.cumsum(0) - 1)[first]
    source = is_first.nonzero()[:, 0]
    return _taken(raw, _relabelled(raw.faces, vertex_map), source), vertex_map, source, message


def _taken(
    raw: RawMesh,
    faces: Int64[Tensor, "f 3"],
    vertices: Int64[Tensor, " n"],
    face: Int64[Tensor, " f"] | None = None,
    corner: Int64[Tensor, "f 3"] | None = None,
) -> RawMesh:
    """Return new faces on copies of old vertices, with attributes of the old ones.

    `face` and `corner`, numbered 3·face + place, say which; by default the same face and corner.
    """
    face = torch.arange(len(raw.faces)) if face is None else face
    corner = 3 * face[:, None] + torch.arange(3) if corner is None else corner
    at, rows = vertices.numpy(), face.numpy()
    old, place = (corner // 3).numpy(), (corner % 3).numpy()
    values: Attributes = {name: array[old, place] for name, array in raw.corner_attributes.items()}
    return RawMesh(
        raw.vertices[vertices],
        faces,
        raw.face_map[face],
        raw.skipped,
        {name: array[at] for name, array in raw.vertex_attributes.items()},
        {name: array[rows] for name, array in raw.face_attributes.items()},
        values,
        raw.left_out,
        raw.parts,
    )


def _every(raw: RawMesh) -> Int64[Tensor, " n"]:
    """Return the ids of all vertices."""
    return torch.arange(len(raw.vertices))


def _numbers(n: int, stay: Int64[Tensor, " k"]) -> Int64[Tensor, " {n}"]:
    """Return the new number of each of n elements of which some stay, −1 for the others."""
    number = torch.full((n,), -1)
    number[stay] = torch.arange(len(stay))
    return number


def _all(raw: RawMesh) -> Int64[Tensor, " f"]:
    """Return the ids of all faces."""
    return torch.arange(len(raw.faces))


def _then(before: Int64[Tensor, " n"], after: Int64[Tensor, " m"]) -> Int64[Tensor, " n"]:
    """Compose two maps of ids; −1 stays −1."""
    return torch.where(before >= 0, after[before.clamp_min(0)], -1) if len(after) else before.clamp_max(-1)
