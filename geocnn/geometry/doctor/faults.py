"""What can be wrong with a list of triangles, as functions of its vertices and faces; `defects` judges."""

from __future__ import annotations

import torch
from torch import Tensor

FLAT = 1e-10
"""The height of a face over its longest edge at which it counts as a line.

At a thousand edges from the origin coordinates are rounded by 1e-13 edges, so at 1e-10 the height, and with
it the face's plane, still has three digits.
"""


SMALLEST_AREA = (torch.finfo(torch.float64).tiny / torch.finfo(torch.float64).eps) ** 0.5
"""About 1e-146: the square of a smaller area, which norms pass through, has fewer than 16 digits."""


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


def without_area(v: Tensor, f: Tensor) -> Tensor:
    """Faces whose height is at most FLAT of their longest edge, [k] ids."""
    corners = v[f]
    edges = corners.roll(-1, 1) - corners
    edges = edges / _tiny_at_least(
        edges.abs().amax((1, 2), keepdim=True)
    )  # first, for its square may not be a number
    edges = edges / _tiny_at_least(torch.linalg.vector_norm(edges, dim=-1).amax(1))[:, None, None]
    height = torch.linalg.vector_norm(torch.linalg.cross(edges[:, 0], edges[:, 1], dim=-1), dim=-1)
    return _ids(height <= FLAT)


def out_of_scale(v: Tensor, f: Tensor) -> Tensor:
    """Faces whose area cannot be computed in double precision: edges below 1e-73 or above 1e77, [k] ids."""
    a, b, c = v[f].unbind(1)
    area = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a, dim=-1), dim=-1)
    return _ids(~((area > SMALLEST_AREA) & area.isfinite()))


def pinched(f: Tensor, fans: Tensor) -> Tensor:
    """Vertices that join several fans, [k] ids."""
    return _ids(torch.bincount(f.flatten()[fans.unique()]) > 1)


def lengths(x: Tensor) -> Tensor:
    """Of vectors [..., 3], even where their squares are no numbers."""
    largest = x.abs().amax(-1, keepdim=True)
    return largest[..., 0] * torch.linalg.vector_norm(x / _tiny_at_least(largest), dim=-1)


def unit(x: Tensor) -> Tensor:
    """Vectors [..., 3] divided by their lengths; 0 stays 0."""
    x = x / _tiny_at_least(x.abs().amax(-1, keepdim=True))
    return x / _tiny_at_least(torch.linalg.vector_norm(x, dim=-1, keepdim=True))


def _tiny_at_least(x: Tensor) -> Tensor:
    return x.clamp_min(torch.finfo(torch.float64).tiny)


def _ids(where: Tensor) -> Tensor:
    return where.nonzero()[:, 0]
