"""Correlation on a homogeneous space with an invariant measure, written out: the reference of fast layers.

A group G moves a space; g_p is some element that takes the base point p₀ to p, and

    (k ⋆ f)(p) = ∫ k(g_p⁻¹ q) f(q) dμ(q)

does not depend on which, and commutes with G, exactly when k(hq) = k(q) for all h that leave p₀ where it is
(Kondor & Trivedi 2018, section 4; Cohen, Geiger & Weiler 2019, section 3). On the plane as a space of
translations any kernel will do, on the sphere only one that looks alike from all sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.groups.rotations import matrix_from_zyz
from geocnn.harmonics.grid import RingGrid

SYMMETRIC = 1e-9
"""What a symmetric kernel may differ by from its moved copies, of its largest value: rounding of some 10³
operations.
"""


class HomogeneousSpace(NamedTuple):
    """points [N, d] with their measure [N]; `back(p [P, d], q [N, d])` are the points g_p⁻¹ q [P, N, d], and
    `stabiliser(q [N, d])` the images [S, N, d] of points under elements that leave the base point alone.
    """

    points: Tensor
    measure: Tensor
    back: Callable[[Tensor, Tensor], Tensor]
    stabiliser: Callable[[Tensor], Tensor]


def homogeneous_correlation(
    kernel: Callable[[Tensor], Tensor], f: Tensor, space: HomogeneousSpace, at: Tensor | None = None
) -> Tensor:
    """(k ⋆ f) at points `at` [P, d], by default those of the space; f [..., N] -> [..., P].

    `kernel` takes points [..., d] to values [...]. P · N kernel values: for tests, and for small grids.
    Raises GroupError for a kernel that is not symmetric under the stabiliser of the base point.

    >>> space = circle(8)
    >>> f = torch.zeros(8, dtype=torch.float64); f[3] = 1
    >>> ahead = lambda q: q[..., 0].clamp(min=0) ** 9
    >>> homogeneous_correlation(ahead, f, space).argmax().item()
    3
    """
    values = kernel(space.points)
    off = (kernel(space.stabiliser(space.points)) - values).abs().amax(-1)
    worst = float(off.max() / values.abs().max().clamp_min(1e-300)) if len(off) else 0.0
    if worst > SYMMETRIC:
        raise GroupError(
            "the kernel is not symmetric under the stabiliser of the base point: moved by an element that "
            f"leaves that point alone it differs by {worst:.2g} of its largest value, so the answer would "
            "depend on how the kernel is carried; average it over the stabiliser, or lift to fields"
        )
    moved = kernel(space.back(space.points if at is None else at, space.points))
    weighted = moved * space.measure
    wide = torch.promote_types(weighted.dtype, f.dtype)  # float64, in which the measure is
    found = torch.einsum("pn,...n->...p", weighted.to(wide), f.to(wide))
    return found.to(torch.promote_types(moved.dtype, f.dtype))


def sphere_space(grid: RingGrid) -> HomogeneousSpace:
    """The sphere moved by SO(3), from the pole; its stabiliser turns about the axis."""
    theta, phi = grid.angles()
    points = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)

    def back(p: Tensor, q: Tensor) -> Tensor:
        theta, phi = torch.atan2(p[:, :2].norm(dim=1), p[:, 2]), torch.atan2(p[:, 1], p[:, 0])
        return q @ matrix_from_zyz(phi, theta, torch.zeros_like(phi))

    def stabiliser(q: Tensor) -> Tensor:
        turn = 2 * math.pi * torch.tensor([0.11, 0.37, 0.73], dtype=torch.float64)
        none = torch.zeros_like(turn)
        return q @ matrix_from_zyz(turn, none, none).mT

    return HomogeneousSpace(points, grid.ring_values(grid.weight), back, stabiliser)


def circle(n: int) -> HomogeneousSpace:
    """n points of the unit circle moved by rotations, from (1, 0), which only the identity leaves alone."""
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n

    def back(p: Tensor, q: Tensor) -> Tensor:
        turned = torch.view_as_complex(q.contiguous()) * torch.view_as_complex(p.contiguous()).conj()[:, None]
        return torch.view_as_real(turned)

    points = torch.stack([angle.cos(), angle.sin()], -1)
    measure = torch.full((n,), 2 * math.pi / n, dtype=torch.float64)
    return HomogeneousSpace(points, measure, back, lambda q: q[None])


def plane_space(points: Tensor, area: float) -> HomogeneousSpace:
    """Points [N, 2] of the plane, each standing for that area, moved by translations."""
    measure = torch.full((len(points),), area, dtype=points.dtype)
    return HomogeneousSpace(points, measure, lambda p, q: q - p[:, None], lambda q: q[None])
