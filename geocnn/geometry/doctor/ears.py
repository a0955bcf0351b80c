"""Polygons are cut into triangles along diagonals inside them, one ear after another (Meisters 1975)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from geocnn.geometry.doctor import faults
from geocnn.geometry.io import RawMesh


def cut_by_ears(raw: RawMesh) -> Int64[Tensor, "f 3"]:
    """Return the corners, numbered 3·triangle + place, of as many triangles as before, polygon by polygon.

    In a RawMesh a polygon is the fan of its first corner, which leaves the polygon where it is not convex.
    Each ear is the best shaped corner whose triangle lies inside. Polygons with a corner that is not finite
    stay fans.
    """
    corner = torch.arange(3 * len(raw.faces)).view(-1, 3)
    pieces = torch.bincount(raw.face_map)
    begin = pieces.cumsum(0) - pieces
    for many in pieces[pieces > 1].unique().tolist():
        slot = begin[pieces == many][:, None] + torch.arange(many)
        slot = slot[_are_fans(raw.faces[slot])]
        ring = torch.cat([3 * slot[:, :1], 3 * slot[:, :1] + 1, 3 * slot + 2], 1)
        ids = raw.faces.flatten()[ring]
        known = ((ids >= 0) & (ids < len(raw.vertices))).all(1)
        slot, ring, ids = slot[known], ring[known], ids[known]
        points = raw.vertices[ids]
        known = points.isfinite().all(-1).all(-1)
        corner[slot[known]] = ring[known][:, None].expand(-1, many, -1).gather(2, _ears(_flat(points[known])))
    return corner


def _are_fans(faces: Int64[Tensor, "polygons t 3"]) -> Bool[Tensor, " polygons"]:
    """Return whether triangles are the fans of their polygons' first corners."""
    around = (faces[:, 1:, 1] == faces[:, :-1, 2]).all(1)
    return around & (faces[:, :, 0] == faces[:, :1, 0]).all(1)


def _flat(points: Float64[Tensor, "polygons k 3"]) -> Float64[Tensor, "polygons k 2"]:
    """Project polygons onto the plane orthogonal to their mean normal, where they run counter-clockwise."""
    points = points - points[:, :1]
    points = points / points.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    normal = faults.unit(torch.linalg.cross(points, points.roll(-1, 1), dim=-1).sum(1))
    least = torch.nn.functional.one_hot(normal.abs().argmin(1), 3).to(points.dtype)
    x = faults.unit(torch.linalg.cross(least, normal, dim=-1))
    y = torch.linalg.cross(normal, x, dim=-1)
    return torch.stack([(points * x[:, None]).sum(-1), (points * y[:, None]).sum(-1)], -1)


def _ears(points: Float64[Tensor, "polygons k 2"]) -> Int64[Tensor, "polygons k-2 3"]:
    """Return the corners of the triangles, as places in their polygons."""
    p, k, _ = points.shape
    left, ears = torch.arange(k).expand(p, k), []
    for size in range(k, 2, -1):
        best = _shape(points.gather(1, left[..., None].expand(-1, -1, 2))).argmax(1)[:, None]
        around = torch.cat([(best - 1) % size, best, (best + 1) % size], 1)
        ears.append(left.gather(1, around))
        others = torch.arange(size - 1).expand(p, -1)
        left = left.gather(1, others + (others >= best))
    return torch.stack(ears, 1)


def _shape(points: Float64[Tensor, "polygons m 2"]) -> Float64[Tensor, "polygons m"]:
    """Rate the shape of the triangle at each corner of polygons.

    The rate is twice the area divided by the sum of the squared edges, minus 1 if another corner lies inside.
    """
    a, b, c = points.roll(1, 1), points, points.roll(-1, 1)
    squares = ((a - b).square() + (b - c).square() + (c - a).square()).sum(-1)
    area = _area(a, b, c)
    m = points.shape[1]
    far = torch.ones(m, m, dtype=torch.bool)
    for step in (-1, 0, 1):
        far &= ~torch.eye(m, dtype=torch.bool).roll(step, 1)
    other = points[:, None]  # [P, 1, m, 2], before each of the triangles [P, m, 1, 2]
    sides = [_area(x[:, :, None], y[:, :, None], other) >= 0 for x, y in ((a, b), (b, c), (c, a))]
    inside = (sides[0] & sides[1] & sides[2] & far).any(-1)
    return area / squares.clamp_min(torch.finfo(torch.float64).tiny) - 1.0 * inside


def _area(
    a: Float64[Tensor, "*#k 2"], b: Float64[Tensor, "*#k 2"], c: Float64[Tensor, "*#k 2"]
) -> Float64[Tensor, "*k"]:
    """Return twice the area, positive where a, b, c lie counter-clockwise."""
    u, w = b - a, c - a
    return u[..., 0] * w[..., 1] - u[..., 1] * w[..., 0]
