"""Which triangle lists are surfaces: the checks a mesh passes before anything is computed on it.

A corner is a pair (face, place), numbered 3·face + place; half-edge h leaves corner h for the next corner of
its face.

            2                 half-edge 3f     goes 0 → 1
           / \\                half-edge 3f + 1 goes 1 → 2
          /   \\               half-edge 3f + 2 goes 2 → 0
         0 --- 1
"""

from __future__ import annotations

from typing import NamedTuple

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


SMALLEST_AREA = (torch.finfo(torch.float64).tiny / torch.finfo(torch.float64).eps) ** 0.5
"""About 1e-146: the square of a smaller area, which norms pass through, has fewer than 16 digits."""

RESCALE = "give the coordinates in another unit of length"


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
            face, the same face twice, a face without area or with an area that underflows, an edge of more
            than two faces, neighbours wound against each other where flipping faces repairs it (and
            which), a vertex where several fans of faces meet.

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
    edges = edges_of(f, len(v))
    _check_edges(f, edges)
    _refuse(
        "vertices that join fans of faces which share no edge there",
        pinched(f, fans_of(f, edges)),
        "give each fan a vertex of its own, in the same place",
    )
    return v, f


# ------------------------------------------------------------------------------------------------- finders


def not_finite(v: Tensor) -> Tensor:
    """Vertices with NaN or infinity, [k] ids."""
    return _ids(~v.isfinite().all(1))


def first_in_place(v: Tensor) -> Tensor:
    """The first vertex that has each vertex's coordinates, to the last bit, [N] ids; 0 and −0 are one."""
    every, finite = torch.arange(len(v), device=v.device), v.isfinite().all(1)
    key = torch.zeros_like(every)
    for x in torch.where(finite[:, None], v + 0.0, 0.0).unbind(1):
        key = (key * len(v) + x.unique(return_inverse=True)[1]).unique(return_inverse=True)[1]
    key = torch.where(finite, key, len(v) + every)
    return torch.full((2 * len(v),), len(v), device=v.device).scatter_reduce_(0, key, every, "amin")[key]


def out_of_range(f: Tensor, n: int) -> Tensor:
    """Faces with ids of none of n vertices, [k] ids."""
    return _ids(((f < 0) | (f >= n)).any(1))


def repeated_corners(f: Tensor) -> Tensor:
    """Faces with one vertex at two corners, [k] ids."""
    return _ids((f == f.roll(1, 1)).any(1))


def first_alike(f: Tensor, n: int) -> Tensor:
    """The first face that has each face's three corners, in whatever order, [F] ids."""
    low, middle, high = f.sort(1).values.unbind(1)
    pair = (low * n + middle).unique(return_inverse=True)[1]
    place = (pair * n + high).unique(return_inverse=True)[1]
    every = torch.arange(len(f), device=f.device)
    return torch.full_like(every, len(f)).scatter_reduce_(0, place, every, "amin")[place]


def duplicated(f: Tensor, n: int) -> Tensor:
    """All faces whose three corners another face has too, [k] ids."""
    first = first_alike(f, n)
    return _ids(torch.bincount(first, minlength=len(f))[first] > 1)


def without_area(v: Tensor, f: Tensor) -> Tensor:
    """Faces whose height is at most FLAT of their longest edge, [k] ids."""
    corners = v[f]
    edges = corners.roll(-1, 1) - corners
    edges = edges / _at_least_tiny(edges.abs().amax((1, 2)))  # first, for its square may not be a number
    edges = edges / _at_least_tiny(torch.linalg.vector_norm(edges, dim=-1).amax(1))
    height = torch.linalg.vector_norm(torch.linalg.cross(edges[:, 0], edges[:, 1], dim=-1), dim=-1)
    return _ids(height <= FLAT)


def out_of_scale(v: Tensor, f: Tensor) -> Tensor:
    """Faces whose area cannot be computed in double precision: edges below 1e-73 or above 1e77, [k] ids."""
    a, b, c = v[f].unbind(1)
    area = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a, dim=-1), dim=-1)
    return _ids(~((area > SMALLEST_AREA) & area.isfinite()))


class Edges(NamedTuple):
    """The E edges of F faces: their ends [E, 2], the lower first; how many faces each has [E]; the edge of
    each half-edge [3F].
    """

    ends: Tensor
    count: Tensor
    edge: Tensor


def edges_of(f: Tensor, n: int) -> Edges:
    """The edges of faces whose ids are below n and no face's corners repeat."""
    start, end = f.flatten(), f.roll(-1, 1).flatten()
    key = torch.minimum(start, end) * n + torch.maximum(start, end)
    key, edge, count = key.unique(return_inverse=True, return_counts=True)
    return Edges(torch.stack([key // n, key % n], 1), count, edge)


class Sides(NamedTuple):
    """The edges of two faces: their half-edges h and g [I], and whether both run in one direction [I]."""

    h: Tensor
    g: Tensor
    same: Tensor


def sides_of(f: Tensor, edges: Edges) -> Sides:
    """Neighbours over an edge that are wound against each other are those with `same`."""
    inner = (edges.count[edges.edge] == 2).nonzero()[:, 0]
    h, g = inner[edges.edge[inner].argsort(stable=True)].view(-1, 2).unbind(1)
    start = f.flatten()
    return Sides(h, g, start[h] == start[g])


def unwind(n: int, sides: Sides) -> tuple[Tensor, Tensor]:
    """Which of n faces to flip so that neighbours agree, the fewer of each component; which lie on a
    component that has only one side, where no flipping helps. [k] ids each.
    """
    # Two nodes a face, kept and flipped; links join what fits. One-sided is where a face meets its own back.
    a, b, same = sides.h // 3, sides.g // 3, sides.same
    label = components(2 * n, torch.cat([a, a + n]), torch.cat([b + n * same, b + n * ~same]))
    kept, flipped = label[:n], label[n:]
    one_sided = kept == flipped
    component, turn = torch.minimum(kept, flipped), kept > flipped
    most = torch.bincount(component, turn.double() - 0.5, minlength=n) > 0
    return _ids((turn ^ most[component]) & ~one_sided), _ids(one_sided)


def wound_alike(f: Tensor, n: int) -> bool:
    """Whether neighbours run through their common edges in opposite directions."""
    return not bool(sides_of(f, edges_of(f, n)).same.any())


def fans_of(f: Tensor, edges: Edges, most: int | None = None) -> Tensor:
    """The fan of each corner, [3F]: faces around a vertex joined by edges there; a fan is named after its
    lowest corner. Edges of more than `most` faces join nothing.
    """
    start, end = f.flatten(), f.roll(-1, 1).flatten()
    h = torch.arange(len(start), device=f.device)
    after = h - h % 3 + (h + 1) % 3
    low, high = torch.where(start < end, h, after), torch.where(start < end, after, h)
    first = torch.full_like(edges.count, len(h)).scatter_reduce_(0, edges.edge, h, "amin")[edges.edge]
    use = slice(None) if most is None else edges.count[edges.edge] <= most
    links = [torch.cat([low[use], high[use]]), torch.cat([low[first][use], high[first][use]])]
    return components(len(h), *links)


def pinched(f: Tensor, fans: Tensor) -> Tensor:
    """Vertices that join several fans, [k] ids."""
    return _ids(torch.bincount(f.flatten()[fans.unique()]) > 1)


def _at_least_tiny(lengths: Tensor) -> Tensor:
    return lengths.clamp_min(torch.finfo(torch.float64).tiny)[:, None, None]


def _ids(where: Tensor) -> Tensor:
    return where.nonzero()[:, 0]


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
    _refuse("vertices with NaN or infinity", not_finite(v), "correct or remove them")
    _refuse(
        f"faces with vertex ids outside 0 to {n - 1}",
        out_of_range(f, n),
        "correct the ids, which count from 0, or give the missing vertices",
    )
    _refuse("faces that repeat a corner", repeated_corners(f), "remove them, they have no inside")
    _refuse("faces with the same three corners", duplicated(f, n), "keep one of each set")
    _refuse(
        f"faces without area (height at most {FLAT:g} of the longest edge)",
        without_area(v, f),
        "collapse the shortest edge of each or flip its longest one, in a mesh editor",
    )
    _refuse("faces too small or too large for their areas to be numbers", out_of_scale(v, f), RESCALE)


def _check_edges(f: Tensor, edges: Edges) -> None:
    """At most two faces at an edge, and wound alike."""
    crowded = (edges.count[edges.edge].view(-1, 3) > 2).any(1)
    _refuse(
        "edges of more than two faces",
        edges.ends[edges.count > 2],
        f"the surface branches there, remove faces until two are left (of {listed(crowded)})",
    )
    sides = sides_of(f, edges)
    if sides.same.any():
        flips, one_sided = unwind(len(f), sides)
        wrong = sides.h[sides.same & ~torch.isin(sides.h // 3, one_sided)]
        _refuse(
            "edges which both faces run through in the same direction",
            torch.stack([f.flatten(), f.roll(-1, 1).flatten()], 1)[wrong],
            f"flipping repairs this, swap two corners of faces {listed(flips)}",
        )


def _refuse(what: str, where: Tensor, remedy: str) -> None:
    """Raises GeometryError if anything is in `where`: a mask over the elements, or their rows of ids."""
    if where.any() if where.dtype == torch.bool else len(where):
        raise GeometryError(f"{what}: {listed(where)}; {remedy}")


def listed(where: Tensor) -> str:
    """The first eight elements; edges as (a, b)."""
    ids = where.nonzero()[:, 0] if where.dtype == torch.bool else where
    shown = [str(tuple(i) if isinstance(i, list) else i) for i in ids[:8].tolist()]
    rest = len(ids) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
