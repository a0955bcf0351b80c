"""Meshes with frames, the inputs of descriptors; on some the exact shape operator is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.groups import O2, SO2, Group


class Mesh(NamedTuple):
    """The inputs of a descriptor; `operator` [N, 3, 3] is the exact shape operator, in space."""

    points: Tensor
    frames: Tensor
    faces: Tensor
    operator: Tensor | None = None
    group: Group = SO2

    @property
    def exact(self) -> Tensor:
        """The exact shape operator in the frames."""
        assert self.operator is not None
        return self.frames @ self.operator @ self.frames.mT

    def turned(self, alpha: Tensor, flip: Tensor | None = None) -> Mesh:
        c, s = alpha.cos()[:, None], alpha.sin()[:, None]
        e1, e2 = self.frames.unbind(1)
        e1, e2 = c * e1 + s * e2, c * e2 - s * e1
        if flip is not None:
            e2 = torch.where(flip[:, None], -e2, e2)
        return self._replace(frames=torch.stack([e1, e2], 1), group=SO2 if flip is None else O2)


def framed(points: Tensor, faces: Tensor, operator: Tensor | None = None) -> Mesh:
    """Give points frames orthogonal to area-weighted normals, and any frames at vertices without faces."""
    a, b, c = points[faces].unbind(1)
    normal = torch.zeros_like(points)
    for k in range(3):
        normal.index_add_(0, faces[:, k], torch.linalg.cross(b - a, c - a))
    normal[normal.norm(dim=1) == 0] = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    normal = normal / normal.norm(dim=1, keepdim=True)
    other = torch.eye(3, dtype=torch.float64)[normal.abs().argmin(1)]
    e1 = torch.linalg.cross(other, normal)
    e1 = e1 / e1.norm(dim=1, keepdim=True)
    return Mesh(points, torch.stack([e1, torch.linalg.cross(normal, e1)], 1), faces, operator)


def ellipsoid(level: int, axes=(1.0, 1.0, 1.0), jitter: float = 0.0) -> Mesh:
    """Return an icosphere whose points are shifted at random by a share of their distance, then stretched;
    faces point outward.
    """
    ico = Icosahedron(level)
    g = torch.Generator().manual_seed(level)
    p = ico.points + jitter / 2**level * torch.randn(ico.points.shape, generator=g, dtype=torch.float64)
    axes = torch.tensor(axes, dtype=torch.float64)
    p = p / p.norm(dim=1, keepdim=True) * axes
    gradient = p / axes**2
    size = gradient.norm(dim=1)[:, None, None]
    across = torch.eye(3, dtype=torch.float64) - (gradient[:, :, None] * gradient[:, None]) / size**2
    return framed(p, ico.faces[-1], across @ torch.diag(axes**-2) @ across / size)


def torus(m: int, jitter: float = 0.0, big: float = 1.0, small: float = 0.4) -> Mesh:
    """Return 2m × m points, shifted at random by up to `jitter` of their distance; faces point outward."""
    g = torch.Generator().manual_seed(m)
    i, j = torch.meshgrid(torch.arange(2 * m), torch.arange(m), indexing="ij")
    shift = jitter * (2 * torch.rand(2, 2 * m * m, generator=g, dtype=torch.float64) - 1)
    u, v = (i.flatten() + shift[0]) * math.pi / m, (j.flatten() + shift[1]) * 2 * math.pi / m
    zero, ring = torch.zeros_like(u), big + small * v.cos()
    along = torch.stack([-u.sin(), u.cos(), zero], 1)
    around = torch.stack([-v.sin() * u.cos(), -v.sin() * u.sin(), v.cos()], 1)
    at = lambda a, b: (a % (2 * m) * m + b % m).flatten()  # noqa: E731
    corners = [at(i, j), at(i + 1, j), at(i + 1, j + 1)], [at(i, j), at(i + 1, j + 1), at(i, j + 1)]
    operator = (v.cos() / ring)[:, None, None] * along[:, :, None] * along[:, None]
    operator = operator + around[:, :, None] * around[:, None] / small
    points = torch.stack([ring * u.cos(), ring * u.sin(), small * v.sin()], 1)
    return framed(points, torch.cat([torch.stack(c, 1) for c in corners]), operator)


def together(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(m.points) for m in meshes)])
    faces = torch.cat([m.faces + int(k) for m, k in zip(meshes, starts, strict=False)])
    return Mesh(torch.cat([m.points for m in meshes]), torch.cat([m.frames for m in meshes]), faces)


def with_isolated(mesh: Mesh, n: int = 2) -> Mesh:
    """Add n vertices without faces in front of all others."""
    points = torch.cat([torch.full((n, 3), 5.0, dtype=torch.float64), mesh.points])
    return framed(points, mesh.faces + n)


def half(mesh: Mesh) -> Mesh:
    """Return the faces on the side z > 0, with their vertices."""
    faces = mesh.faces[(mesh.points[mesh.faces][..., 2] > 0).all(1)]
    kept, faces = faces.unique(return_inverse=True)
    return framed(mesh.points[kept], faces)


def areas_of(mesh: Mesh) -> Tensor:
    a, b, c = mesh.points[mesh.faces].unbind(1)
    third = torch.linalg.cross(b - a, c - a).norm(dim=1) / 6
    return torch.zeros(len(mesh.points), dtype=torch.float64).index_add_(
        0, mesh.faces.flatten(), third.repeat_interleave(3)
    )


def root_mean_square(mesh: Mesh, error: Tensor) -> float:
    weight = areas_of(mesh)
    return float((weight * error.flatten(1).square().sum(1)).sum().div(weight.sum()).sqrt())


BUMPY = {
    "ellipsoid": ellipsoid(3, (1.0, 0.7, 0.5), jitter=0.2),
    "torus": torus(12, jitter=0.2),
    "bounded": half(ellipsoid(3, (1.0, 0.7, 0.5), jitter=0.2)),
    "components": together(ellipsoid(2, (1.0, 0.7, 0.5), jitter=0.2), torus(8, jitter=0.2)),
    "isolated": with_isolated(torus(10, jitter=0.2)),
    "symmetric": ellipsoid(3),
}
