"""Values of functions with given coefficients at any points of the sphere, without a grid."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float, Float64, Inexact
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.groups.wigner import wigner_d_column
from geocnn.harmonics.coefficients import lmax_of

BLOCK_BYTES = 1 << 25  # size of the harmonics that are computed at once


def evaluate(
    alm: Complex[Tensor, "*batch degrees orders"], points: Float[Tensor, "n 3"], spin: int | None = None
) -> Inexact[Tensor, "*batch n"]:
    """Return the values at points of the function with coefficients alm; on a grid, `synthesis` is faster.

    Each point takes (lmax + 1)² harmonics, twice as many for a spin. The result is differentiable in alm and
    not in points. It is real or, for a spin, complex, in the precision of alm.

    Args:
        alm: [..., lmax + 1, lmax + 1] of a real function; for a spin [..., lmax + 1, 2 lmax + 1].
        points: directions of any positive length.
        spin: spin of a complex function, any sign; None for a real function. Components are in the frames
            (south, east) of `geometry.icosphere` and `healpix`, with the limit phi = 0 at a pole; in frames
            turned by alpha they are e^{-i spin alpha} times these.

    Raises:
        MapError: alm is not complex or not of the layout.
        GeometryError: points are not [n, 3], not finite or have no direction.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = (4 * torch.pi / 3) ** 0.5                                      # z
    >>> evaluate(alm, torch.tensor([[0.0, 0.0, 1.0], [3.0, 0.0, 4.0]])).round(decimals=12)
    tensor([1.0000, 0.8000], dtype=torch.float64)
    """
    lmax = lmax_of(alm, signed=spin is not None)
    theta, phi = _angles(points.to(alm.device, torch.float64))
    s = 0 if spin is None else spin
    order = torch.arange(0 if spin is None else -lmax, lmax + 1, device=alm.device)
    degree = torch.arange(lmax + 1, dtype=torch.float64, device=alm.device)
    scale = (-1) ** s * torch.sqrt((2 * degree + 1) / (4 * math.pi))
    # the orders m and -m of a real function add up to twice a real part
    count = torch.where((order != 0) & (spin is None), 2.0, 1.0)[:, None]
    parts = torch.view_as_real(alm.resolve_conj())
    blocks = []
    size = max(1, BLOCK_BYTES // (8 * len(order) * len(degree)))
    for t, p in zip(theta.split(size), phi.split(size), strict=True):
        harmonics = wigner_d_column(lmax, order[:, None], -s, t) * scale
        rows = torch.einsum("...lmc,mpl->...mpc", parts, harmonics.to(parts.dtype))
        waves = (count * torch.exp(1j * order[:, None] * p)).to(alm.dtype)
        blocks.append((torch.view_as_complex(rows.contiguous()) * waves).sum(-2))
    values = torch.cat(blocks, -1)
    return values.real if spin is None else values


def _angles(points: Tensor) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    if points.ndim != 2 or points.shape[1] != 3:
        raise GeometryError(f"points are of shape {list(points.shape)}; give directions [n, 3]")
    bad = ((points == 0).all(1) | ~points.isfinite().all(1)).nonzero()[:, 0]
    if len(bad):
        raise GeometryError(f"points {bad[:8].tolist()} are zero or not finite; give directions")
    x, y, z = points.unbind(1)
    rho = torch.hypot(x, y)
    # atan2 takes -0.0 for a direction
    return torch.atan2(rho, z), torch.where(rho == 0, 0.0, torch.atan2(y, x))
