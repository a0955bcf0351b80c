"""Fourier transform on SO(3), band-limited in the third Euler angle.

A function on SO(3) is a function of points and frames: the rotation R = Rz(phi) Ry(theta) Rz(gamma) takes the
north pole to the point (theta, phi) and the axes x, y to its frame (south, east) turned by gamma. A real one,
band-limited in gamma, is a sum of frequency-n fields z_n, which are spin-n functions on the sphere:

    f(theta, phi, gamma) = sum_{|n| <= nmax} z_n(theta, phi) e^{-i n gamma},        z_{-n} = conj(z_n).

The coefficients of z_n are those of f, as

    nYlm(theta, phi) e^{-i n gamma} = (-1)^n sqrt((2l + 1) / 4 pi) conj(D^l_{m,-n}(R)).

Only those with n >= 0 are stored, complex [..., nmax + 1, lmax + 1, 2 lmax + 1]; `rotate_coefficients` turns
them into those of f(S^-1 R).
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from geocnn.errors import GeometryError, MapError
from geocnn.harmonics.coefficients import lmax_of
from geocnn.harmonics.grid import RingGrid
from geocnn.harmonics.sht import check_finite, synthesis, unchecked_analysis


def so3_synthesis(
    alm: Complex[Tensor, "*batch frequencies degrees 2*degrees-1"], grid: RingGrid, samples: int
) -> Float[Tensor, "*batch n {samples}"]:
    """Return a real function on SO(3) at every point of a grid and `samples` equidistant angles gamma.

    Args:
        alm: coefficients, [..., nmax + 1, lmax + 1, 2 lmax + 1].
        grid: the grid in theta and phi.
        samples: number of angles gamma = 2 pi k / samples, more than 2 nmax.

    Raises:
        MapError: alm is not of that layout.
        GeometryError: the angles cannot carry nmax.

    >>> from geocnn.harmonics import gauss_legendre
    >>> so3_synthesis(torch.zeros(2, 3, 5, dtype=torch.complex64), gauss_legendre(3), samples=4).shape
    torch.Size([18, 4])
    """
    lmax_of(alm, signed=True)
    if alm.ndim < 3:
        raise MapError(f"alm has shape {tuple(alm.shape)}; give [..., nmax + 1, lmax + 1, 2 lmax + 1]")
    _check_samples(samples, alm.shape[-3] - 1)
    fields = [synthesis(part, grid, n) for n, part in enumerate(alm.unbind(-3))]
    return torch.fft.irfft(torch.stack(fields, -1).conj(), samples, norm="forward")


def so3_analysis(
    values: Float[Tensor, "*batch n samples"],
    grid: RingGrid,
    lmax: int,
    nmax: int,
    iterations: int | None = None,
) -> Complex[Tensor, "*batch {nmax}+1 {lmax}+1 2*{lmax}+1"]:
    """Return the coefficients of a real function on SO(3) from its values, the inverse of `so3_synthesis`.

    Args:
        values: samples at gamma = 2 pi k / samples.
        grid: the grid in theta and phi.
        lmax: largest degree.
        nmax: largest frequency in gamma, below samples / 2.
        iterations: as in `analysis`.

    Returns:
        coefficients, zero for l < n.

    Raises:
        MapError: values are not real or not on the grid, or some mean "no value", as in `analysis`.
        GeometryError: lmax or iterations is out of range, or the angles cannot carry nmax.

    >>> from geocnn.harmonics import gauss_legendre
    >>> so3_analysis(torch.zeros(18, 4), gauss_legendre(3), lmax=2, nmax=1).shape
    torch.Size([2, 3, 5])
    """
    if values.dtype not in (torch.float32, torch.float64) or values.ndim < 2:
        raise MapError(
            f"values are {values.dtype} of shape {tuple(values.shape)}; give real [..., n_points, samples]"
        )
    _check_samples(values.shape[-1], nmax)
    check_finite(values, -2)
    fields = torch.fft.rfft(values, norm="forward").conj()
    parts = [unchecked_analysis(fields[..., n], grid, lmax, n, iterations) for n in range(nmax + 1)]
    return torch.stack(parts, -3)


def _check_samples(samples: int, nmax: int) -> None:
    if nmax < 0 or samples <= 2 * nmax:
        raise GeometryError(f"{samples} angles do not carry nmax={nmax}; use at least {2 * max(nmax, 0) + 1}")
