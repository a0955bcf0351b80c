"""Every defect of a triangle list, with the elements to blame; `check_triangles` refuses the first of them.

A defect is looked for among the faces that are left without those before it: ids in range, three different
corners, one of each set of equal faces. So a face that is there twice does not also make its edges branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry import manifold
from geocnn.geometry.io import RawMesh


class Kind(NamedTuple):
    """What a defect is: `element` its ids count, `repair` mends it; fatal where it forbids a surface."""

    element: str
    fatal: bool
    what: str
    repair: str | None
    remedy: str


KINDS = {
    "no_faces": Kind("face", True, "there are no faces", None, "give at least one triangle"),
    "nan": Kind(
        "vertex", True, "coordinates are NaN or infinite", "nan", "drops these vertices and their faces"
    ),
    "range": Kind("face", True, "ids of vertices that do not exist", "range", "drops these faces"),
    "few_corners": Kind(
        "polygon",
        False,
        "faces of the file with fewer than three corners",
        None,
        "they give no triangle; nothing is to be done",
    ),
    "polygon": Kind(
        "polygon",
        False,
        "faces of the file with more than three corners, cut into fans from their first corner",
        None,
        "face_map tells which triangle came from where; cut concave ones where the mesh was made",
    ),
    "repeated_corner": Kind("face", True, "one vertex at two corners", "degenerate", "drops these faces"),
    "duplicate_face": Kind(
        "face", True, "the same three corners as another face", "duplicates", "keeps the first of each set"
    ),
    "zero_area": Kind(
        "face",
        True,
        f"no area: the height is at most {manifold.FLAT:g} of the longest edge",
        "degenerate",
        "drops these faces; where they leave slits, flip or collapse edges in a mesh editor instead",
    ),
    "scale": Kind("face", True, "so small or large that areas are no numbers", None, manifold.RESCALE),
    "soup": Kind(
        "face",
        True,
        "share no edge with another face, and would if vertices in one place were one",
        "merge",
        "makes vertices in one place one",
    ),
    "duplicate_position": Kind(
        "vertex",
        False,
        "in the same place as another vertex, as along seams",
        "merge",
        "makes them one, which closes the seams",
    ),
    "nonmanifold_edge": Kind(
        "edge", True, "more than two faces meet", "split", "cuts the surface open along these edges"
    ),
    "nonmanifold_vertex": Kind(
        "vertex",
        True,
        "several fans of faces meet that share no edge there",
        "split",
        "gives each fan a vertex of its own, in the same place",
    ),
    "winding": Kind("face", True, "wound against their neighbours", "orient", "swaps two corners of each"),
    "one_sided": Kind(
        "face",
        False,
        "on a surface with only one side, like a Möbius band",
        None,
        "no flipping helps; such a surface has gauges in O(2), or cut it open",
    ),
    "unreferenced": Kind("vertex", False, "at no face's corner", "unreferenced", "drops these vertices"),
}
"""In the order in which they are looked for."""


@dataclass(frozen=True, eq=False)
class Defect:
    """One kind of defect and its elements: ids [k], of edges their two ends [k, 2].

    `kind` is a key of KINDS, whose entry says the rest. Faces are triangles, polygons faces of the file.
    """

    kind: str
    ids: Tensor

    @property
    def about(self) -> Kind:
        return KINDS[self.kind]

    @property
    def what(self) -> str:
        """A sentence that names the first eight."""
        about, k = self.about, len(self.ids)
        plural = {"vertex": "vertices"}.get(about.element, f"{about.element}s")
        count = f"{k} {about.element if k == 1 else plural}: " if k else ""
        shown = f" ({manifold.listed(self.ids)})" if k else ""
        return f"{count}{about.what}{shown}"

    @property
    def remedy(self) -> str:
        """What mends it."""
        name = self.about.repair
        return f"repair '{name}' {self.about.remedy}" if name else self.about.remedy


class Sound(NamedTuple):
    """The faces whose topology is asked for: their ids [S], their corners `faces` [S, 3], their edges."""

    ids: Tensor
    faces: Tensor
    edges: manifold.Edges


def proper_faces(raw: RawMesh) -> Tensor:
    """Faces in range with three different corners, [k] ids."""
    ids = _others(manifold.out_of_range(raw.faces, len(raw.vertices)), len(raw.faces))
    return ids[_others(manifold.repeated_corners(raw.faces[ids]), len(ids))]


def sound_faces(raw: RawMesh) -> Sound:
    """The first of each set of proper faces with the same corners."""
    n, f, ids = len(raw.vertices), raw.faces, proper_faces(raw)
    first = manifold.first_alike(f[ids], n)
    ids = ids[first == torch.arange(len(ids))]
    return Sound(ids, f[ids], manifold.edges_of(f[ids], n))


def measurable_faces(raw: RawMesh) -> Tensor:
    """Proper faces whose corners all are somewhere, [k] ids."""
    ids = proper_faces(raw)
    return ids[raw.vertices[raw.faces[ids]].isfinite().all(-1).all(-1)]


def find_defects(raw: RawMesh) -> list[Defect]:
    """All defects that there are, in the order of KINDS.

    >>> from geocnn.geometry.io import raw_mesh
    >>> raw = raw_mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 1, 2], [2, 1, 0], [0, 1, 1]])
    >>> [(defect.kind, defect.ids.tolist()) for defect in find_defects(raw)]
    [('repeated_corner', [2]), ('duplicate_face', [0, 1])]
    """
    found = {**_of_elements(raw), **_of_places(raw), **_of_topology(raw)}
    defects = [Defect(kind, found[kind]) for kind in KINDS if kind in found and len(found[kind])]
    if not len(raw.faces):
        defects.insert(0, Defect("no_faces", torch.zeros(0, dtype=torch.int64)))
    return defects


def _of_elements(raw: RawMesh) -> dict[str, Tensor]:
    """What can be wrong with a vertex or a face by itself, and with faces of the same corners."""
    v, f, n = raw.vertices, raw.faces, len(raw.vertices)
    present = _others(manifold.out_of_range(f, n), len(f))
    proper, measured = proper_faces(raw), measurable_faces(raw)
    flat = manifold.without_area(v, f[measured])
    pieces = torch.bincount(raw.face_map)
    solid = measured[_others(flat, len(measured))]
    return {
        "nan": manifold.not_finite(v),
        "range": manifold.out_of_range(f, n),
        "few_corners": raw.skipped,
        "polygon": (pieces > 1).nonzero()[:, 0],
        "repeated_corner": present[manifold.repeated_corners(f[present])],
        "duplicate_face": proper[manifold.duplicated(f[proper], n)],
        "zero_area": measured[flat],
        "scale": solid[manifold.out_of_scale(v, f[solid])],
        "unreferenced": unreferenced(raw),
    }


def _of_places(raw: RawMesh) -> dict[str, Tensor]:
    """Vertices in one place, and faces that only this keeps apart."""
    n, (ids, f, edges) = len(raw.vertices), sound_faces(raw)
    place = manifold.first_in_place(raw.vertices)
    lone = (edges.count[edges.edge].view(-1, 3) == 1).all(1)
    welded = manifold.edges_of(place[f], n)
    joined = lone & (welded.count[welded.edge].view(-1, 3) > 1).any(1)
    return {
        "duplicate_position": (torch.bincount(place, minlength=n)[place] > 1).nonzero()[:, 0],
        "soup": ids[joined] if 2 * int(joined.sum()) > len(f) else ids[:0],
    }


def _of_topology(raw: RawMesh) -> dict[str, Tensor]:
    """How faces meet at edges and vertices, and how they are wound."""
    ids, f, edges = sound_faces(raw)
    flips, one_sided = manifold.unwind(len(f), manifold.sides_of(f, edges))
    return {
        "nonmanifold_edge": edges.ends[edges.count > 2],
        "nonmanifold_vertex": manifold.pinched(f, manifold.fans_of(f, edges)),
        "winding": ids[flips],
        "one_sided": ids[one_sided],
    }


def unreferenced(raw: RawMesh) -> Tensor:
    """Vertices at no corner of any face, [k] ids."""
    n, corners = len(raw.vertices), raw.faces.flatten()
    used = corners[(corners >= 0) & (corners < n)]
    return (torch.bincount(used, minlength=n) == 0).nonzero()[:, 0]


def _others(ids: Tensor, n: int) -> Tensor:
    """Those of n that are not among ids."""
    keep = torch.ones(n, dtype=torch.bool)
    keep[ids] = False
    return keep.nonzero()[:, 0]
