"""A ring grid covers the sphere by rings of latitude with equally many points, Gauss-Legendre or equiangular.

Points are ordered ring by ring from the north, eastward along each from longitude 0, as the values of
`geocnn.harmonics.gauss_legendre` and `equiangular` are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError, ResolutionError
from geocnn.geometry.core.connection import pairs_once
from geocnn.geometry.spheres.surfaces import Sphere, scaled, sphere_at
from geocnn.lasting import one_thread

RingKind = Literal["gauss_legendre", "equiangular"]


@one_thread()
def ring_grid(
    n_lat: int,
    n_lon: int | None = None,
    kind: RingKind = "gauss_legendre",
    radius: float = 1.0,
) -> Sphere:
    """Return the sphere with n_lat rings of n_lon points (2 n_lat by default), none at a pole.

    Rings lie at the zeros of a Legendre polynomial, or at colatitudes (j + ½)π / n_lat. Areas are quadrature
    weights, exact for polynomials below degree 2 n_lat and n_lat respectively, and close to the cells' areas.
    `exp` reads bilinearly between rings, across the poles too. Points crowd at the poles, and so do a disc's
    entries. Lengths are in the unit of `radius`, in radians on the unit sphere.

    Raises GeometryError for fewer than two rings or three points on each, for another kind, and for a radius
    that is not positive and finite.

    >>> s = ring_grid(8); s.n_points, round(float(s.areas.sum() / torch.pi), 12)
    (128, 4.0)
    """
    n_lon = 2 * n_lat if n_lon is None else n_lon
    if not isinstance(n_lat, int) or not isinstance(n_lon, int) or n_lat < 2 or n_lon < 3:
        raise GeometryError(
            f"a ring grid has at least two rings of at least three points, got {n_lat}, {n_lon}"
        )
    if kind not in KINDS:
        raise GeometryError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    theta, weight = KINDS[kind](n_lat)
    phi = 2 * math.pi * torch.arange(n_lon, dtype=torch.float64) / n_lon
    polar, around = theta.repeat_interleave(n_lon), phi.repeat(n_lat)
    rho = torch.sin(polar)
    points = torch.stack([rho * torch.cos(around), rho * torch.sin(around), torch.cos(polar)], 1)
    areas = (weight * (2 * math.pi / n_lon)).repeat_interleave(n_lon)
    return scaled(sphere_at(points, areas, Rings(theta, n_lon, kind)), radius)


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings at colatitudes theta, of n_lon points each, interpolated bilinearly."""

    theta: Float64[Tensor, " rings"]
    n_lon: int
    kind: RingKind

    def interpolate(
        self, points: Float64[Tensor, "k 3"]
    ) -> tuple[Int64[Tensor, "k 4"], Float64[Tensor, "k 4"]]:
        n, theta = len(self.theta), self.theta.to(points.device)
        # beyond a pole the nearest ring appears again, half a turn away
        across = torch.cat([-theta[:1], theta, 2 * math.pi - theta[-1:]])
        polar = torch.atan2(torch.hypot(points[..., 0], points[..., 1]), points[..., 2])
        after = torch.searchsorted(across, polar.contiguous(), right=True).clamp(1, n + 1)
        share = (polar - across[after - 1]) / (across[after] - across[after - 1])
        column = torch.atan2(points[..., 1], points[..., 0]) / (2 * math.pi) * self.n_lon
        sources, weights = [], []
        for ring, weight in ((after - 1, 1 - share), (after, share)):
            beyond = (ring == 0) | (ring == n + 1)
            at = column + torch.where(beyond, self.n_lon / 2, 0.0)
            west = at.floor()
            row = (ring - 1).clamp(0, n - 1) * self.n_lon
            sources += [row + (west + k).long().remainder(self.n_lon) for k in (0, 1)]
            weights += [weight * (1 - (at - west)), weight * (at - west)]
        return torch.stack(sources, -1), torch.stack(weights, -1)

    def edges(self) -> tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]]:
        """Return the edges along rings and between them."""
        point = torch.arange(len(self.theta) * self.n_lon).view(-1, self.n_lon)
        tail = torch.cat([point.flatten(), point[:-1].flatten()])
        head = torch.cat([point.roll(-1, 1).flatten(), point[1:].flatten()])
        return pairs_once(tail, head, point.numel())

    def coarser(self) -> Sphere:
        if len(self.theta) < 4 or self.n_lon < 6:
            raise ResolutionError(
                f"{len(self.theta)} rings of {self.n_lon} points cannot be halved; ask for fewer levels or a "
                "finer start"
            )
        return ring_grid(len(self.theta) // 2, self.n_lon // 2, self.kind)

    def finer(self) -> Sphere:
        return ring_grid(2 * len(self.theta), 2 * self.n_lon, self.kind)

    def orbits(self) -> Int64[Tensor, "d n"]:
        return torch.arange(len(self.theta) * self.n_lon).view(-1, self.n_lon)


def gauss_legendre_rings(n: int) -> tuple[Float64[Tensor, " {n}"], Float64[Tensor, " {n}"]]:
    """Return symmetric colatitudes and weights (sum 2) of n rings, by Newton's iteration (Tricomi's start).

    >>> theta, weight = gauss_legendre_rings(3); (weight * 9).round().tolist()
    [5.0, 8.0, 5.0]
    """
    k = torch.arange(1, n // 2 + 1, dtype=torch.float64)
    theta = math.pi * (4 * k - 1) / (4 * n + 2)
    theta = theta + 1 / (8 * n**2) / torch.tan(theta)
    if n % 2:
        theta = torch.cat([theta, torch.tensor([math.pi / 2], dtype=torch.float64)])
    slope = torch.ones_like(theta)
    for _ in range(4):
        value, slope = _legendre(n, theta)
        theta = theta - value / slope
    if n % 2:
        theta[-1] = math.pi / 2
    weight = 2 / slope**2
    south = slice(0, n // 2)
    return torch.cat([theta, math.pi - theta[south].flip(0)]), torch.cat([weight, weight[south].flip(0)])


def _legendre(n: int, theta: Float64[Tensor, " k"]) -> tuple[Float64[Tensor, " k"], Float64[Tensor, " k"]]:
    """Return P_n(cos theta) and its derivative by theta; 2 / derivative² at a zero is the weight."""
    z = torch.cos(theta)
    before, value = torch.zeros_like(z), torch.ones_like(z)
    for l in range(n):
        before, value = value, ((2 * l + 1) * z * value - l * before) / (l + 1)
    return value, n * (z * value - before) / torch.sin(theta)


def equiangular_rings(n: int) -> tuple[Float64[Tensor, " {n}"], Float64[Tensor, " {n}"]]:
    """Return colatitudes (j + ½)π / n and the weights (sum 2) of Fejér's first rule, 1933.

    >>> theta, weight = equiangular_rings(4); round(float(weight.sum()), 12)
    2.0
    """
    theta = math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n
    k = torch.arange(1, n // 2 + 1, dtype=torch.float64)
    return theta, (1 - 2 * (torch.cos(2 * theta[:, None] * k) / (4 * k * k - 1)).sum(1)) * (2 / n)


KINDS: dict[RingKind, Callable[[int], tuple[Tensor, Tensor]]] = {
    "gauss_legendre": gauss_legendre_rings,
    "equiangular": equiangular_rings,
}
