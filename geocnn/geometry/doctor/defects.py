"""Find every defect of a triangle list with its elements, and decide whether the list is a surface.

Each defect is searched among the faces that remain without the defects before it: ids in range, three
different corners, one of each set of equal faces. So a duplicate face does not also make its edges branch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from geocnn.geometry.core import half_edges
from geocnn.geometry.doctor import faults
from geocnn.geometry.doctor.outside import inside_out
from geocnn.geometry.io import RawMesh
from geocnn.geometry.io.raw import listed
from geocnn.wording import counted

Ids = Int64[Tensor, " k"] | Int64[Tensor, "k 2"]
"""Ids of elements; edges are given by both ends."""


class Sound(NamedTuple):
    """The faces whose topology is examined: their ids, their corners and their edges."""

    ids: Int64[Tensor, " sound"]
    faces: Int64[Tensor, "sound 3"]
    edges: half_edges.Edges


class Examined:
    """A mesh under examination. Each property is computed once, when it is first used; most are ids."""

    def __init__(self, raw: RawMesh) -> None:
        self.raw, self.n = raw, len(raw.vertices)

    @cached_property
    def lost(self) -> Int64[Tensor, " k"]:
        """Return the faces with ids of no vertex."""
        return faults.out_of_range(self.raw.faces, self.n)

    @cached_property
    def repeated(self) -> Int64[Tensor, " k"]:
        """Return the faces in range with one vertex at two corners."""
        present = _others(self.lost, len(self.raw.faces))
        return present[faults.repeated_corners(self.raw.faces[present])]

    @cached_property
    def proper(self) -> Int64[Tensor, " proper"]:
        """Return the faces in range with three different corners."""
        return _others(torch.cat([self.lost, self.repeated]), len(self.raw.faces))

    @cached_property
    def first(self) -> Int64[Tensor, " proper"]:
        """Return, for each proper face, the place among them of the first with the same corners."""
        return faults.first_alike(self.raw.faces[self.proper], self.n)

    @cached_property
    def duplicated(self) -> Int64[Tensor, " k"]:
        """Return the proper faces that share their corners with another."""
        many = torch.bincount(self.first, minlength=len(self.first)) > 1
        return self.proper[many[self.first]]

    @cached_property
    def sound(self) -> Sound:
        """Return the first of each set of proper faces with the same corners."""
        every = torch.arange(len(self.first), device=self.first.device)
        ids = self.proper[self.first == every]
        return Sound(ids, self.raw.faces[ids], half_edges.edges_of(self.raw.faces[ids], self.n))

    @cached_property
    def measured(self) -> Int64[Tensor, " measured"]:
        """Return the proper faces whose corners have finite coordinates."""
        return self.proper[self.raw.vertices[self.raw.faces[self.proper]].isfinite().all(-1).all(-1)]

    @cached_property
    def flat(self) -> Int64[Tensor, " k"]:
        """Return the measured faces without area."""
        return self.measured[faults.without_area(self.raw.vertices, self.raw.faces[self.measured])]

    @cached_property
    def out_of_scale(self) -> Int64[Tensor, " k"]:
        """Return the measured faces whose area under- or overflows."""
        solid = self.measured[~torch.isin(self.measured, self.flat)]
        return solid[faults.out_of_scale(self.raw.vertices, self.raw.faces[solid])]

    @cached_property
    def place(self) -> Int64[Tensor, " n"]:
        """Return the first vertex in the same place as each vertex."""
        return faults.first_in_place(self.raw.vertices)

    @cached_property
    def doubled(self) -> Int64[Tensor, " k"]:
        """Return the vertices in the same place as another."""
        return (torch.bincount(self.place, minlength=self.n)[self.place] > 1).nonzero()[:, 0]

    @cached_property
    def lone(self) -> Bool[Tensor, " sound"]:
        """Return whether each sound face shares no edge with another."""
        edges = self.sound.edges
        return (edges.count[edges.edge].view(-1, 3) == 1).all(1)

    @cached_property
    def soup(self) -> Int64[Tensor, " k"]:
        """Return the faces that share no edge, and would share one if vertices in one place were merged.

        If these are less than half of the faces, return none.
        """
        (ids, f, _), lone = self.sound, self.lone
        if 2 * int(lone.sum()) <= len(f):
            return ids[:0]
        welded = Examined(RawMesh(self.raw.vertices, self.place[f], ids, ids[:0]))
        edges, joined = welded.sound.edges, torch.zeros_like(lone)
        joined[welded.sound.ids] = (edges.count[edges.edge].view(-1, 3) == 2).any(1)
        joined[welded.proper] = joined[welded.proper[welded.first]]
        return ids[lone & joined] if 2 * int((lone & joined).sum()) > len(f) else ids[:0]

    @cached_property
    def apart(self) -> Int64[Tensor, " k"]:
        """Return the faces that share no edge and are no soup; a single face has none to share it with."""
        ids = self.sound.ids
        return ids[self.lone & ~torch.isin(ids, self.soup)] if len(ids) > 1 else ids[:0]

    @cached_property
    def pinched(self) -> Int64[Tensor, " k"]:
        """Return the vertices where several fans of faces meet."""
        return faults.pinched(self.sound.faces, half_edges.fans_of(self.sound.faces, self.sound.edges))

    @cached_property
    def unwound(self) -> tuple[Int64[Tensor, " k"], Int64[Tensor, " one_sided"]]:
        """Return the faces to flip, and the faces of one-sided components."""
        ids, f, edges = self.sound
        sides = half_edges.sides_of(f, edges)
        if not sides.same.any():
            return ids[:0], ids[:0]
        flips, one_sided = half_edges.unwind(len(f), sides)
        return ids[flips], ids[one_sided]

    @cached_property
    def inside_out(self) -> Int64[Tensor, " k"]:
        """Return the faces of closed pieces with a negative volume, once neighbours are wound alike."""
        ids, f, edges = self.sound
        flips = torch.isin(ids, self.unwound[0])
        f = torch.where(flips[:, None], f[:, [0, 2, 1]], f)
        return ids[
            inside_out(self.raw.vertices, f, edges if not flips.any() else half_edges.edges_of(f, self.n))
        ]

    @cached_property
    def unreferenced(self) -> Int64[Tensor, " k"]:
        """Return the vertices at no corner of any face."""
        corners = self.raw.faces.flatten()
        used = corners[(corners >= 0) & (corners < self.n)]
        return (torch.bincount(used, minlength=self.n) == 0).nonzero()[:, 0]


class DefectKind(NamedTuple):
    """A kind of defect: its ids count `element`s, `repair` mends it, and a fatal one forbids a surface.

    `find` returns its elements, or None where there is no such defect.
    """

    element: str
    fatal: bool
    what: str
    repair: str | None
    remedy: str
    find: Callable[[Examined], Ids | None]


KINDS = {
    "no_faces": DefectKind(
        "face",
        True,
        "there are no faces",
        None,
        "a surface needs at least one triangle",
        lambda e: None if len(e.raw.faces) else e.raw.skipped[:0],
    ),
    "nan": DefectKind(
        "vertex",
        True,
        "coordinates are NaN or infinite",
        "nan",
        "drops these vertices and their faces",
        lambda e: _some(faults.not_finite(e.raw.vertices)),
    ),
    "range": DefectKind(
        "face",
        True,
        "ids of vertices that do not exist",
        "range",
        "drops these faces",
        lambda e: _some(e.lost),
    ),
    "few_corners": DefectKind(
        "polygon",
        True,
        "faces of the file with fewer than three corners",
        "triangulate",
        "leaves them out",
        lambda e: _some(e.raw.skipped),
    ),
    "polygon": DefectKind(
        "polygon",
        True,
        "faces of the file with more than three corners",
        "triangulate",
        "cuts them into triangles",
        lambda e: _some((torch.bincount(e.raw.face_map) > 1).nonzero()[:, 0]),
    ),
    "repeated_corner": DefectKind(
        "face",
        True,
        "one vertex at two corners",
        "degenerate",
        "drops these faces, which have no inside",
        lambda e: _some(e.repeated),
    ),
    "duplicate_face": DefectKind(
        "face",
        True,
        "the same three corners as another face",
        "duplicates",
        "keeps the first of each set",
        lambda e: _some(e.duplicated),
    ),
    "zero_area": DefectKind(
        "face",
        True,
        f"no area: the height is at most {faults.FLAT:g} of the longest edge",
        "degenerate",
        "collapses edges without length and flips long ones; what is closed stays closed",
        lambda e: _some(e.flat),
    ),
    "scale": DefectKind(
        "face",
        True,
        "so small or large that areas under- or overflow",
        None,
        "give the coordinates in another unit of length",
        lambda e: _some(e.out_of_scale),
    ),
    "soup": DefectKind(
        "face",
        True,
        "share no edge with another face, and would if vertices in the same place were merged",
        "merge",
        "merges vertices in the same place",
        lambda e: _some(e.soup),
    ),
    "apart": DefectKind(
        "face",
        False,
        "share no edge with another face, so nothing leads from each to the rest of the surface",
        None,
        "if edges should be shared, give their ends equal coordinates, then use repair 'merge'",
        lambda e: _some(e.apart),
    ),
    "duplicate_position": DefectKind(
        "vertex",
        False,
        "in the same place as another vertex, as along seams",
        "merge",
        "merges them, which closes the seams",
        lambda e: _some(e.doubled),
    ),
    "nonmanifold_edge": DefectKind(
        "edge",
        True,
        "more than two faces meet",
        "split",
        "cuts the surface open along these edges",
        lambda e: _some(e.sound.edges.ends[e.sound.edges.count > 2]),
    ),
    "nonmanifold_vertex": DefectKind(
        "vertex",
        True,
        "several fans of faces meet that share no edge there",
        "split",
        "gives each fan a vertex of its own, in the same place",
        lambda e: _some(e.pinched),
    ),
    "winding": DefectKind(
        "face",
        True,
        "wound against their neighbours",
        "orient",
        "swaps two corners of each",
        lambda e: _some(e.unwound[0]),
    ),
    "inside_out": DefectKind(
        "face",
        False,
        "on closed pieces whose normals point inwards",
        "orient",
        "turns these pieces",
        lambda e: _some(e.inside_out),
    ),
    "one_sided": DefectKind(
        "face",
        False,
        "on a surface with only one side, like a Möbius band",
        None,
        "no flipping helps; use gauges in O(2), or cut the surface open",
        lambda e: _some(e.unwound[1]),
    ),
    "unreferenced": DefectKind(
        "vertex",
        False,
        "at no face's corner",
        "unreferenced",
        "drops these vertices",
        lambda e: _some(e.unreferenced),
    ),
}
"""The kinds in the order of the search."""


@dataclass(frozen=True, eq=False)
class Defect:
    """One kind of defect and its elements: ids [k], or for edges the ids of both ends [k, 2].

    `kind` is a key of KINDS. Faces are triangles; polygons are faces of the file.
    """

    kind: str
    ids: Ids

    @property
    def about(self) -> DefectKind:
        """Return the description of the kind."""
        return KINDS[self.kind]

    @property
    def what(self) -> str:
        """Describe the defect and list its first eight elements."""
        about, k = self.about, len(self.ids)
        count = f"{counted(k, about.element)}: " if k else ""
        shown = f" ({listed(self.ids)})" if k else ""
        return f"{count}{about.what}{shown}"

    @property
    def remedy(self) -> str:
        """Say what mends it."""
        name = self.about.repair
        return f"repair '{name}' {self.about.remedy}" if name else self.about.remedy


def find_defects(raw: RawMesh) -> list[Defect]:
    """Return all defects of a mesh, in the order of KINDS.

    >>> from geocnn.geometry.io import raw_mesh
    >>> raw = raw_mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 1, 2], [2, 1, 0], [0, 1, 1]])
    >>> [(defect.kind, defect.ids.tolist()) for defect in find_defects(raw)]
    [('repeated_corner', [2]), ('duplicate_face', [0, 1])]
    """
    e = Examined(raw)
    return [Defect(kind, ids) for kind, about in KINDS.items() if (ids := about.find(e)) is not None]


def fatal_defects(raw: RawMesh) -> list[Defect]:
    """Return the defects that forbid a surface: where there are none, `mesh` makes one."""
    e = Examined(raw)
    fatal = ((kind, about.find(e)) for kind, about in KINDS.items() if about.fatal)
    return [Defect(kind, ids) for kind, ids in fatal if ids is not None]


def _some(ids: Ids) -> Ids | None:
    """Return the ids, or None where there are none."""
    return ids if len(ids) else None


def _others(ids: Int64[Tensor, " k"], n: int) -> Int64[Tensor, " others"]:
    """Return the ids below n that are not among `ids`."""
    keep = torch.ones(n, dtype=torch.bool, device=ids.device)
    keep[ids] = False
    return keep.nonzero()[:, 0]
