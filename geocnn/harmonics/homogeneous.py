"""Correlation on a homogeneous space with an invariant measure: a plain reference for fast layers.

A group G moves a space, and g_p is an element that takes the base point p₀ to p. The correlation

    (k ⋆ f)(p) = ∫ k(g_p⁻¹ q) f(q) dμ(q)

does not depend on the choice of g_p, and commutes with G, exactly when k(hq) = k(q) for all h that fix p₀
(Kondor & Trivedi 2018, section 4; Cohen, Geiger & Weiler 2019, section 3). On the plane, moved by
translations, any kernel satisfies this; on the sphere only one that depends on the distance from p₀ alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.groups.rotations import matrix_from_zyz
from geocnn.harmonics.grid import RingGrid

SYMMETRIC = 1e-9
"""The relative error up to which a kernel equals its moved copies: rounding of some 10³ operations."""


class HomogeneousSpace(NamedTuple):
    """Points with their measure, and the action of a group on them.

    `back(p [k, d], q [n, d])` returns the points g_p⁻¹ q [k, n, d], and `stabiliser(q [n, d])` the images
    [s, n, d] of points under elements that fix the base point.
    """

    points: Float[Tensor, "n d"]
    measure: Float[Tensor, " n"]
    back: Callable[[Tensor, Tensor], Tensor]
    stabiliser: Callable[[Tensor], Tensor]


def homogeneous_correlation(
    kernel: Callable[[Tensor], Tensor],
    f: Inexact[Tensor, "*batch n"],
    space: HomogeneousSpace,
    at: Float[Tensor, "k d"] | None = None,
) -> Inexact[Tensor, "*batch k"]:
    """Return k ⋆ f at the points `at`, by default those of the space.

    `kernel` takes points [..., d] to values [...]. It is evaluated k · n times, so this serves tests and
    small grids. Raises GroupError for a kernel that is not symmetric under the stabiliser of the base point.

    >>> space = circle(8)
    >>> f = torch.zeros(8, dtype=torch.float64); f[3] = 1
    >>> ahead = lambda q: q[..., 0].clamp(min=0) ** 9
    >>> homogeneous_correlation(ahead, f, space).argmax().item()
    3
    """
    values = kernel(space.points)
    difference = (kernel(space.stabiliser(space.points)) - values).abs().amax(-1)
    worst = float(difference.max() / values.abs().max().clamp_min(1e-300)) if len(difference) else 0.0
    if worst > SYMMETRIC:
        raise GroupError(
            "the kernel is not symmetric under the stabiliser of the base point: an element that fixes that "
            f"point changes the kernel by {worst:.2g} of its largest value, so the answer would depend on "
            "the choice of the elements that move it; average it over the stabiliser, or lift to fields"
        )
    kernel_values = kernel(space.back(space.points if at is None else at, space.points))
    weighted = kernel_values * space.measure
    dtype = torch.promote_types(weighted.dtype, f.dtype)  # the measure is in float64
    values_at = torch.einsum("pn,...n->...p", weighted.to(dtype), f.to(dtype))
    return values_at.to(torch.promote_types(kernel_values.dtype, f.dtype))


def sphere_space(grid: RingGrid) -> HomogeneousSpace:
    """Return the sphere moved by SO(3), with the pole as base point; its stabiliser turns about the axis."""
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
    """Return n points of the unit circle moved by rotations; only the identity fixes base point (1, 0)."""
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n

    def back(p: Tensor, q: Tensor) -> Tensor:
        q_back = torch.view_as_complex(q.contiguous()) * torch.view_as_complex(p.contiguous()).conj()[:, None]
        return torch.view_as_real(q_back)

    points = torch.stack([angle.cos(), angle.sin()], -1)
    measure = torch.full((n,), 2 * math.pi / n, dtype=torch.float64)
    return HomogeneousSpace(points, measure, back, lambda q: q[None])


def plane_space(points: Float[Tensor, "n 2"], area: float) -> HomogeneousSpace:
    """Return points of the plane, moved by translations, each of which stands for that area."""
    measure = torch.full((len(points),), area, dtype=points.dtype)
    return HomogeneousSpace(points, measure, lambda p, q: q - p[:, None], lambda q: q[None])
