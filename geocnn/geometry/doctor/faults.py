"""Each function finds one fault of a list of triangles from its vertices and faces; `defects` judges them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

FLAT = 1e-10
"""A face counts as a line where its height is at most this fraction of its longest edge.

At a thousand edges from the origin coordinates are rounded by 1e-13 edges, so at 1e-10 the height, and with
it the face's plane, still has three digits.
"""

SMALLEST_AREA = (torch.finfo(torch.float64).tiny / torch.finfo(torch.float64).eps) ** 0.5
"""About 1e-146: norms square an area, and the square of a smaller one has fewer than 16 digits."""


def not_finite(v: Float64[Tensor, "n 3"]) -> Int64[Tensor, " k"]:
    """Return the ids of vertices with NaN or infinity."""
    return _ids(~v.isfinite().all(1))


def first_in_place(v: Float64[Tensor, "n 3"]) -> Int64[Tensor, " n"]:
    """Return the id of the first vertex with exactly each vertex's coordinates; 0 and −0 count as equal."""
    every, finite = torch.arange(len(v), device=v.device), v.isfinite().all(1)
    key = torch.zeros_like(every)
    for x in torch.where(finite[:, None], v + 0.0, 0.0).unbind(1):
        key = (key * len(v) + x.unique(return_inverse=True)[1]).unique(return_inverse=True)[1]
    key = torch.where(finite, key, len(v) + every)
    return torch.full((2 * len(v),), len(v), device=v.device).scatter_reduce_(0, key, every, "amin")[key]


def out_of_range(f: Int64[Tensor, "f 3"], n: int) -> Int64[Tensor, " k"]:
    """Return the ids of faces with a corner that is none of n vertices."""
    return _ids(((f < 0) | (f >= n)).any(1))


def repeated_corners(f: Int64[Tensor, "f 3"]) -> Int64[Tensor, " k"]:
    """Return the ids of faces with one vertex at two corners."""
    return _ids((f == f.roll(1, 1)).any(1))


def first_alike(f: Int64[Tensor, "f 3"], n: int) -> Int64[Tensor, " f"]:
    """Return the id of the first face that has each face's three corners, in any order."""
    low, middle, high = f.sort(1).values.unbind(1)
    pair = (low * n + middle).unique(return_inverse=True)[1]
    place = (pair * n + high).unique(return_inverse=True)[1]
    every = torch.arange(len(f), device=f.device)
    return torch.full_like(every, len(f)).scatter_reduce_(0, place, every, "amin")[place]


def without_area(v: Float64[Tensor, "n 3"], f: Int64[Tensor, "f 3"]) -> Int64[Tensor, " k"]:
    """Return the ids of faces whose height is at most FLAT of their longest edge."""
    corners = v[f]
    edges = corners.roll(-1, 1) - corners
    # scale first, for squares of lengths may under- or overflow
    edges = edges / _tiny_at_least(edges.abs().amax((1, 2), keepdim=True))
    edges = edges / _tiny_at_least(torch.linalg.vector_norm(edges, dim=-1).amax(1))[:, None, None]
    height = torch.linalg.vector_norm(torch.linalg.cross(edges[:, 0], edges[:, 1], dim=-1), dim=-1)
    return _ids(height <= FLAT)


def out_of_scale(v: Float64[Tensor, "n 3"], f: Int64[Tensor, "f 3"]) -> Int64[Tensor, " k"]:
    """Return the ids of faces whose area under- or overflows: their edges are below 1e-73 or above 1e77."""
    a, b, c = v[f].unbind(1)
    area = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a, dim=-1), dim=-1)
    return _ids(~((area > SMALLEST_AREA) & area.isfinite()))


def pinched(f: Int64[Tensor, "f 3"], fans: Int64[Tensor, " 3*f"]) -> Int64[Tensor, " k"]:
    """Return the ids of vertices that join several fans."""
    return _ids(torch.bincount(f.flatten()[fans.unique()]) > 1)


def lengths(x: Float64[Tensor, "*k 3"]) -> Float64[Tensor, "*k"]:
    """Return the lengths of vectors, even where their squares under- or overflow."""
    largest = x.abs().amax(-1, keepdim=True)
    return largest[..., 0] * torch.linalg.vector_norm(x / _tiny_at_least(largest), dim=-1)


def unit(x: Float64[Tensor, "*k 3"]) -> Float64[Tensor, "*k 3"]:
    """Divide vectors by their lengths; 0 stays 0."""
    x = x / _tiny_at_least(x.abs().amax(-1, keepdim=True))
    return x / _tiny_at_least(torch.linalg.vector_norm(x, dim=-1, keepdim=True))


def _tiny_at_least(x: Float64[Tensor, "*k"]) -> Float64[Tensor, "*k"]:
    return x.clamp_min(torch.finfo(torch.float64).tiny)


def _ids(where: Bool[Tensor, " n"]) -> Int64[Tensor, " k"]:
    return where.nonzero()[:, 0]
