"""The subdivided icosahedron has points, faces on every level, and finds the face of a direction."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


class Icosahedron:
    """Faces are quartered `level` times at great-circle midpoints; the children of face f are 4f … 4f+3.

            a
           / \\          children: (a, ab, ca) (b, bc, ab) (c, ca, bc) (ab, bc, ca)
         ab---ca
         / \\ / \\
        b---bc---c
    """

    def __init__(self, level: int):
        self.level = level
        self.points, faces = _base()
        self.faces = [faces]
        for _ in range(level):
            self.points, faces = _quarter(self.points, faces)
            self.faces.append(faces)

    def point_areas(self) -> Float64[Tensor, " n"]:
        """Return one area per point: a third of the adjacent spherical triangles."""
        share = triangle_areas(self.points, self.faces[-1]) / 3
        areas = torch.zeros(len(self.points), dtype=torch.float64)
        return areas.index_add_(0, self.faces[-1].flatten(), share.repeat_interleave(3))

    def locate(self, directions: Float[Tensor, "k 3"]) -> tuple[Int64[Tensor, "k 3"], Float64[Tensor, "k 3"]]:
        """Return the corners of the finest face that contains each unit vector, and its barycentric weights.

        Children tile their parent exactly, so the search descends level by level.
        """
        points, directions = self.points.to(directions.device), directions.to(self.points.dtype)
        candidates = torch.arange(20, device=directions.device).expand(len(directions), 20)
        weight, face = directions, candidates[:, 0]
        for faces in self.faces:
            corners = points[faces.to(directions.device)[candidates]]
            inside = _cone_coordinates(corners, directions[:, None])
            best = inside.amin(-1).argmax(-1, keepdim=True)
            face = candidates.gather(1, best)[:, 0]
            weight = inside.gather(1, best[..., None].expand(-1, 1, 3))[:, 0]
            candidates = 4 * face[:, None] + torch.arange(4, device=directions.device)
        weight = weight.clamp_min(0)
        return self.faces[-1].to(directions.device)[face], weight / weight.sum(-1, keepdim=True)


def _cone_coordinates(
    corners: Float64[Tensor, "k faces 3 3"], direction: Float64[Tensor, "k 1 3"]
) -> Float64[Tensor, "k faces 3"]:
    """Return the coordinates of a direction in the basis of three corners, by Cramer's rule."""
    a, b, c = corners.unbind(-2)
    d = direction.expand_as(a)
    return torch.stack([_det(d, b, c), _det(a, d, c), _det(a, b, d)], -1) / _det(a, b, c)[..., None]


def _det(
    a: Float64[Tensor, "*k 3"], b: Float64[Tensor, "*k 3"], c: Float64[Tensor, "*k 3"]
) -> Float64[Tensor, "*k"]:
    return (a * torch.linalg.cross(b, c, dim=-1)).sum(-1)


def triangle_areas(points: Float64[Tensor, "n 3"], faces: Int64[Tensor, "f 3"]) -> Float64[Tensor, " f"]:
    """Return the solid angles of spherical triangles (Van Oosterom & Strackee 1983, eq. 8)."""
    a, b, c = points[faces].unbind(1)
    return 2 * torch.atan2(_det(a, b, c), 1 + (a * b).sum(-1) + (b * c).sum(-1) + (c * a).sum(-1))


def _base() -> tuple[Float64[Tensor, "12 3"], Int64[Tensor, "20 3"]]:
    """Return two poles and two rings of five points, and faces wound counter-clockwise from outside."""
    turn = torch.arange(5, dtype=torch.float64) * (2 * math.pi / 5)
    z, rho = 1 / math.sqrt(5), 2 / math.sqrt(5)
    upper = torch.stack([rho * turn.cos(), rho * turn.sin(), torch.full_like(turn, z)], 1)
    lower = torch.stack(
        [rho * (turn + math.pi / 5).cos(), rho * (turn + math.pi / 5).sin(), torch.full_like(turn, -z)], 1
    )
    poles = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
    i = torch.arange(5)
    u, u_next, d, d_next = 2 + i, 2 + (i + 1) % 5, 7 + i, 7 + (i + 1) % 5
    north, south = torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.int64)
    faces = [(north, u, u_next), (u, d, u_next), (u_next, d, d_next), (south, d_next, d)]
    return torch.cat([poles, upper, lower]), torch.cat([torch.stack(f, 1) for f in faces])


def _quarter(
    points: Float64[Tensor, "n 3"], faces: Int64[Tensor, "f 3"]
) -> tuple[Float64[Tensor, "finer 3"], Int64[Tensor, "4*f 3"]]:
    a, b, c = faces.unbind(1)
    edges = torch.stack([torch.stack([a, b], 1), torch.stack([b, c], 1), torch.stack([c, a], 1)], 1)
    unique, index = torch.unique(edges.sort(-1).values.reshape(-1, 2), dim=0, return_inverse=True)
    middle = points[unique].sum(1)
    ab, bc, ca = (len(points) + index.reshape(-1, 3)).unbind(1)
    children = torch.stack(
        [torch.stack(f, 1) for f in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))], 1
    )
    return torch.cat([points, middle / middle.norm(dim=1, keepdim=True)]), children.reshape(-1, 3)
