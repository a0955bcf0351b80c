"""Which triangle lists are surfaces: the checks a mesh passes before anything is computed on it.

A corner is a pair (face, place), numbered 3·face + place; half-edge h leaves corner h for the next corner of
its face.

            2                 half-edge 3f     goes 0 → 1
           / \\                half-edge 3f + 1 goes 1 → 2
          /   \\               half-edge 3f + 2 goes 2 → 0
         0 --- 1
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError

FLAT = 1e-10
"""The height of a face over its longest edge at which it counts as a line.

At a thousand edges from the origin coordinates are rounded by 1e-13 edges, so at 1e-10 the height, and with
it the face's plane, still has three digits.
"""


def check_triangles(vertices: ArrayLike | Tensor, faces: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
    """Copies of vertices and faces that are known to form a 2-manifold, perhaps with boundary, wound alike.

    Several components, boundaries and isolated vertices are fine. A component with one side only, like a
    Möbius band, cannot be wound alike and may be wound in any way. Nothing is repaired.

    Args:
        vertices: [N, 3] numbers: a tensor, an array or nested lists; any length unit.
        faces: [F, 3] whole numbers: the vertex ids of each triangle's corners.

    Returns:
        vertices [N, 3] float64 and faces [F, 3] int64, detached, on the device of `vertices`.

    Raises:
        GeometryError: names the first eight elements that are to blame, the most basic defect first: wrong
            shape or type, no faces, NaN or infinity, a vertex that does not exist, a corner repeated in a
            face, the same face twice, a face without area, an edge of more than two faces, neighbours wound
            against each other where flipping faces repairs it (and which), a vertex where several fans of
            faces meet.

    >>> square = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    >>> check_triangles(square, [[0, 1, 2], [0, 2, 3]])[1].dtype
    torch.int64
    >>> check_triangles(square, [[0, 1, 2], [2, 3, 4]])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    geocnn.errors.GeometryError: faces with vertex ids outside 0 to 3: 1; correct ...
    """
    v = _numbers(vertices, "vertices", "[N, 3] coordinates")
    f = _numbers(faces, "faces", "[F, 3] vertex ids").to(v.device)
    if f.numel() == 0:
        raise GeometryError("there are no faces: a surface needs at least one triangle, faces [F, 3]")
    if v.ndim != 2 or v.shape[1] != 3:
        raise GeometryError(f"vertices are [N, 3] coordinates, got {list(v.shape)}")
    if f.ndim != 2 or f.shape[1] != 3:
        raise GeometryError(
            f"faces are [F, 3] vertex ids, got {list(f.shape)}: split polygons into triangles"
        )
    v, f = v.to(torch.float64), _whole(f)
    _check_faces(v, f)
    h, g, same = inner_edges(f, len(v))
    _check_winding(f, h, g, same)
    _check_fans(f, h, g, same)
    return v, f


def components(n: int, a: Tensor, b: Tensor) -> Tensor:
    """The smallest node of each node's connected component, [n] int64, in the graph with the links a[i]–b[i].

    Every node hooks onto the smallest label next door, then labels follow their own labels; both until
    nothing changes (Shiloach and Vishkin 1982).

    >>> components(5, torch.tensor([4, 1]), torch.tensor([1, 2])).tolist()
    [0, 1, 1, 3, 1]
    """
    label = torch.arange(n, device=a.device)
    while True:
        low = torch.minimum(label[a], label[b])
        new = label.clone()
        for end in (label[a], label[b], a, b):
            new.scatter_reduce_(0, end, low, "amin")
        while not torch.equal(new, new[new]):
            new = new[new]
        if torch.equal(new, label):
            return label
        label = new


def _numbers(values: ArrayLike | Tensor, name: str, expected: str) -> Tensor:
    """A detached copy as a tensor of real numbers."""
    if isinstance(values, Tensor):
        if values.is_complex() or values.dtype == torch.bool or values.layout != torch.strided:
            raise GeometryError(f"{name} must be {expected}, got a tensor of {values.dtype}, {values.layout}")
        return values.detach().clone()
    try:
        array = np.array(values)
    except (ValueError, TypeError) as ragged:  # of different lengths
        raise GeometryError(
            f"{name} must be {expected}; got rows of different lengths, or no numbers"
        ) from ragged
    if array.dtype.kind not in "iuf":
        raise GeometryError(f"{name} must be {expected}, got {array.dtype} of shape {list(array.shape)}")
    return torch.from_numpy(array.astype(np.float64 if array.dtype.kind == "f" else np.int64))


def _whole(f: Tensor) -> Tensor:
    if f.is_floating_point():
        broken = (f != f.round()) | ~f.isfinite()
        _refuse("faces with vertex ids that are no whole numbers", broken.any(1), "give integers")
    return f.to(torch.int64)


def _check_faces(v: Tensor, f: Tensor) -> None:
    """What can be wrong with a vertex or a face by itself, and with two faces of the same corners."""
    n = len(v)
    _refuse("vertices with NaN or infinity", ~v.isfinite().all(1), "correct or remove them")
    _refuse(
        f"faces with vertex ids outside 0 to {n - 1}",
        ((f < 0) | (f >= n)).any(1),
        "correct the ids, which count from 0, or give the missing vertices",
    )
    _refuse("faces that repeat a corner", (f == f.roll(1, 1)).any(1), "remove them, they have no inside")
    low, middle, high = f.sort(1).values.unbind(1)
    pair = (low * n + middle).unique(return_inverse=True)[1]
    _, place, count = (pair * n + high).unique(return_inverse=True, return_counts=True)
    _refuse("faces with the same three corners", count[place] > 1, "keep one of each set")
    corners = v[f]
    edges = corners.roll(-1, 1) - corners
    longest = torch.linalg.vector_norm(edges, dim=-1).amax(1).clamp_min(torch.finfo(torch.float64).tiny)
    edges = edges / longest[:, None, None]
    height = torch.linalg.vector_norm(torch.linalg.cross(edges[:, 0], edges[:, 1], dim=-1), dim=-1)
    _refuse(
        f"faces without area (height at most {FLAT:g} of the longest edge)",
        height <= FLAT,
        "collapse the shortest edge of each or flip its longest one, in a mesh editor",
    )


def inner_edges(f: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two half-edges of each edge that has two, and whether both run in the same direction, [E] each.

    Raises GeometryError for edges of more than two faces.
    """
    start, end = f.flatten(), f.roll(-1, 1).flatten()
    key = torch.minimum(start, end) * n + torch.maximum(start, end)
    edges, edge, count = key.unique(return_inverse=True, return_counts=True)
    crowded = _listed((count[edge].view(-1, 3) > 2).any(1))
    _refuse(
        "edges of more than two faces",
        torch.stack([edges // n, edges % n], 1)[count > 2],
        f"the surface branches there, remove faces until two are left (of {crowded})",
    )
    inner = (count[edge] == 2).nonzero()[:, 0]
    h, g = inner[edge[inner].argsort(stable=True)].view(-1, 2).unbind(1)
    return h, g, start[h] == start[g]


def _check_winding(f: Tensor, h: Tensor, g: Tensor, same: Tensor) -> None:
    """Neighbours are wound alike, but for components where that cannot be."""
    if not same.any():
        return
    n, a, b = len(f), h // 3, g // 3
    # Two nodes a face, kept and flipped; links join what fits. One-sided is where a face meets its own back.
    label = components(2 * n, torch.cat([a, a + n]), torch.cat([b + n * same, b + n * ~same]))
    kept, flipped = label[:n], label[n:]
    component, turn = torch.minimum(kept, flipped), kept > flipped
    most = torch.bincount(component, turn.double() - 0.5, minlength=n) > 0
    two_sided = kept != flipped
    wrong, turn = same & two_sided[a], (turn ^ most[component]) & two_sided
    against = torch.stack([f.flatten()[h], f.roll(-1, 1).flatten()[h]], 1)
    _refuse(
        "edges which both faces run through in the same direction",
        against[wrong],
        f"flipping repairs this, swap two corners of faces {_listed(turn)}",
    )


def _check_fans(f: Tensor, h: Tensor, g: Tensor, same: Tensor) -> None:
    """The faces at a vertex are one fan, closed or open; h and g are the two sides of the inner edges."""
    label = components(f.numel(), *fan_links(h, g, same))
    fans = torch.bincount(f.flatten()[label.unique()])
    _refuse(
        "vertices that join fans of faces which share no edge there",
        fans > 1,
        "give each fan a vertex of its own, in the same place",
    )


def fan_links(h: Tensor, g: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs of corners (a, b) that are neighbours in a fan, one at either end of each inner edge."""
    after_h, after_g = (k - k % 3 + (k + 1) % 3 for k in (h, g))
    # h starts where g starts, if they run in the same direction, else where g ends
    return torch.cat([h, after_h]), torch.cat([torch.where(same, g, after_g), torch.where(same, after_g, g)])


def _refuse(what: str, where: Tensor, remedy: str) -> None:
    """Raises GeometryError if anything is in `where`: a mask over the elements, or their rows of ids."""
    if where.any() if where.dtype == torch.bool else len(where):
        raise GeometryError(f"{what}: {_listed(where)}; {remedy}")


def _listed(where: Tensor) -> str:
    """The first eight elements; edges as (a, b)."""
    ids = where.nonzero()[:, 0] if where.dtype == torch.bool else where
    shown = [str(tuple(i) if isinstance(i, list) else i) for i in ids[:8].tolist()]
    rest = len(ids) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
