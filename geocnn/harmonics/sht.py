"""(Spin-weighted) spherical harmonic transform on the HEALPix grid: differentiable, batched, on any device.

Convention (healpy's): f(theta, phi) = sum_lm a_lm sY_lm(theta, phi), orthonormal, with Condon-Shortley phase,

    sY_lm(theta, phi) = (-1)^s sqrt((2l + 1) / 4 pi) d^l_{m,-s}(theta) e^{i m phi},

so for spin 0, f = 1 has a_00 = sqrt(4 pi) and f = cos(theta) has a_10 = sqrt(4 pi / 3). A field of frequency
s in the frames (e1 south, e2 east) is a spin-s function. Two layouts of coefficients:

- a real function: complex [..., lmax + 1, lmax + 1] indexed [l, m], m >= 0; a_{l,-m} = (-1)^m conj(a_lm);
- a complex function of any spin: complex [..., lmax + 1, 2 lmax + 1] indexed [l, m + lmax].

Entries |m| > l are zero. A transform has two exact halves. In colatitude it is one matrix product an order;
only the rings down to the equator are stored, as d^l_{m,-s}(pi - theta) = (-1)^(l+s) d^l_{-m,-s}(theta). In
longitude it is one Fourier transform for all rings of the same length. Only the quadrature of the analysis is
approximate (equal weights: Gorski et al. 2005, ApJ 622:759).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from geocnn.errors import GeometryError, MapError
from geocnn.geometry.healpix import check_map, check_nside, ring_to_nested, rings
from geocnn.groups.wigner import wigner_d_column


def synthesis(alm: Tensor, nside: int, nested: bool = False) -> Tensor:
    """Values at the pixel centres of the function with the coefficients alm; exact for every lmax.

    Args:
        alm: complex [..., lmax + 1, lmax + 1]; imaginary parts of m = 0 and entries m > l are ignored.
        nside: resolution of the grid, npix = 12 nside^2.
        nested: pixels in nested instead of ring order.

    Returns:
        real [..., npix], float64 for complex128. A table of 2 nside (lmax + 1)^2 numbers is kept for reuse.

    Raises:
        MapError: alm is not complex or not square.
        GeometryError: nside is not a resolution.

    >>> alm = torch.zeros(3, 3, dtype=torch.complex128)
    >>> alm[0, 0] = math.sqrt(4 * math.pi)
    >>> synthesis(alm, 1).round(decimals=12).unique().tolist()
    [1.0]
    """
    lmax = _lmax_of(alm)
    colatitudes = _colatitudes(check_nside(nside), lmax, None, alm.device, alm.real.dtype)
    # f = Re(F_0 + 2 sum_{m>0} F_m e^{i m phi})
    doubled = torch.cat([alm[..., :1], 2 * alm[..., 1:]], dim=-1)
    return _synthesise(doubled, colatitudes, _longitudes(nside, nested, alm.device)).real


def analysis(values: Tensor, lmax: int, iterations: int = 3, nested: bool = False) -> Tensor:
    """Coefficients of a map by quadrature with equal weights 4 pi / npix, improved by Jacobi iterations.

    Every iteration adds the analysis of what the synthesis misses: alm <- alm + A(values - S alm). For
    functions of degree up to lmax = 2 nside the relative error at nside 32 is 3e-3 to 5e-3 without and below
    1e-5 with three iterations.

    Args:
        values: real [..., npix], npix = 12 nside^2.
        lmax: largest degree, at most 3 nside - 1.
        iterations: number of Jacobi iterations.
        nested: pixels are in nested instead of ring order.

    Returns:
        complex [..., lmax + 1, lmax + 1], complex128 for float64.

    Raises:
        MapError: values is not float32 or float64, has NaN, infinite or UNSEEN pixels, or no nside fits.
        GeometryError: lmax or iterations is out of range.

    >>> analysis(torch.ones(48, dtype=torch.float64), lmax=1).abs().square().round(decimals=6).tolist()
    [[12.566371, 0.0], [0.0, 0.0]]
    """
    if values.dtype not in (torch.float32, torch.float64):
        raise MapError(f"a map of {values.dtype} has no transform; convert to float64, or use spin_analysis")
    nside = check_map(values)
    _check_analysis(nside, lmax, iterations)
    colatitudes = _colatitudes(nside, lmax, None, values.device, values.dtype)
    longitudes = _longitudes(nside, nested, values.device)

    def project(residual: Tensor) -> Tensor:
        return _project(residual, colatitudes, longitudes)

    return _jacobi(values, project, lambda alm: synthesis(alm, nside, nested), iterations)


def spin_synthesis(alm: Tensor, spin: int, nside: int, nested: bool = False) -> Tensor:
    """Values at the pixel centres of the spin-s function with the coefficients alm; exact for every lmax.

    healpy's `alm2map_spin` gives the real and imaginary part for a_lm = -(E_lm + i B_lm), a_{l,-m} to match.

    Args:
        alm: complex [..., lmax + 1, 2 lmax + 1]; entries l < |s| or |m| > l have no meaning and are ignored.
        spin: s, of any sign.
        nside: resolution of the grid, npix = 12 nside^2.
        nested: pixels in nested instead of ring order.

    Returns:
        complex [..., npix] in the frames (south, east).

    Raises:
        MapError: alm is not complex or not of that shape.
        GeometryError: nside is not a resolution.

    >>> alm = torch.zeros(2, 3, dtype=torch.complex128)
    >>> alm[1, 1] = -math.sqrt(8 * math.pi / 3)                 # the gradient of cos(theta) is -sin(theta) e1
    >>> spin_synthesis(alm, 1, 1).real.round(decimals=4).unique().tolist()
    [-1.0, -0.7454]
    """
    lmax = _lmax_of(alm, spin=True)
    colatitudes = _colatitudes(check_nside(nside), lmax, spin, alm.device, alm.real.dtype)
    return _synthesise(alm, colatitudes, _longitudes(nside, nested, alm.device))


def spin_analysis(values: Tensor, spin: int, lmax: int, iterations: int = 3, nested: bool = False) -> Tensor:
    """Coefficients of a spin-s map, as `analysis` does for a real one.

    Args:
        values: complex [..., npix], npix = 12 nside^2, in the frames (south, east).
        spin: s, of any sign.
        lmax: largest degree, at most 3 nside - 1.
        iterations: number of Jacobi iterations.
        nested: pixels are in nested instead of ring order.

    Returns:
        complex [..., lmax + 1, 2 lmax + 1], zero for l < |s|.

    Raises:
        MapError: values is not complex, has NaN, infinite or UNSEEN pixels, or as many pixels as no nside.
        GeometryError: lmax or iterations is out of range.

    >>> spin_analysis(torch.ones(48, dtype=torch.complex128), spin=2, lmax=4).shape
    torch.Size([5, 9])
    """
    if not values.is_complex():
        raise MapError(f"a map of {values.dtype} has no spin; give complex values, or use analysis")
    nside = check_map(torch.view_as_real(values.resolve_conj()), dim=-2)
    _check_analysis(nside, lmax, iterations)
    colatitudes = _colatitudes(nside, lmax, spin, values.device, values.real.dtype)
    longitudes = _longitudes(nside, nested, values.device)

    def project(residual: Tensor) -> Tensor:
        return _project(residual, colatitudes, longitudes)

    return _jacobi(values, project, lambda alm: _synthesise(alm, colatitudes, longitudes), iterations)


def random_coefficients(lmax: int, n: int, generator: torch.Generator) -> Tensor:
    """Coefficients of n independent real Gaussian fields of white spectrum, E |a_lm|^2 = 1 for every l, m.

    Args:
        lmax: largest degree.
        n: number of fields.
        generator: source of randomness; the result lies on its device.

    Returns:
        complex128 [n, lmax + 1, lmax + 1], real where m = 0.

    >>> random_coefficients(2, 4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 3])
    """
    shape = (n, lmax + 1, lmax + 1)
    alm = torch.randn(shape, dtype=torch.complex128, device=generator.device, generator=generator).tril()
    # A complex normal number has variance 1/2 in each part; m = 0 has all of it in the real part.
    zonal = math.sqrt(2.0) * alm[..., :1].real
    return torch.cat([zonal.to(alm.dtype), alm[..., 1:]], dim=-1)


def power_spectrum(alm: Tensor) -> Tensor:
    """Mean power per coefficient of every degree, C_l = sum_m |a_lm|^2 / (2l + 1) over -l <= m <= l.

    Args:
        alm: complex [..., lmax + 1, lmax + 1].

    Returns:
        real [..., lmax + 1].

    Raises:
        MapError: alm is not complex or not square.

    >>> power_spectrum(torch.ones(3, 3, dtype=torch.complex128).tril()).tolist()
    [1.0, 1.0, 1.0]
    """
    lmax = _lmax_of(alm)
    power = alm.tril().abs().square()
    degree = torch.arange(lmax + 1, dtype=power.dtype, device=alm.device)
    return (2 * power.sum(dim=-1) - power[..., 0]) / (2 * degree + 1)


def alm_from_healpy(packed: Tensor) -> Tensor:
    """Coefficients from healpy's packed layout, in which m is the slow index and l runs from m to lmax.

    Args:
        packed: complex [..., (lmax + 1)(lmax + 2) / 2].

    Returns:
        complex [..., lmax + 1, lmax + 1].

    Raises:
        MapError: the number of coefficients belongs to no lmax (with mmax = lmax).

    >>> alm_from_healpy(torch.tensor([1, 2, 3], dtype=torch.complex128)).real.tolist()
    [[1.0, 0.0], [2.0, 3.0]]
    """
    count = packed.shape[-1]
    lmax = (math.isqrt(8 * count + 1) - 3) // 2
    if (lmax + 1) * (lmax + 2) != 2 * count:
        raise MapError(f"{count} coefficients belong to no lmax; give (lmax + 1)(lmax + 2) / 2 (mmax = lmax)")
    m, l = torch.triu_indices(lmax + 1, lmax + 1, device=packed.device)
    alm = packed.new_zeros(*packed.shape[:-1], lmax + 1, lmax + 1)
    alm[..., l, m] = packed
    return alm


def alm_to_healpy(alm: Tensor) -> Tensor:
    """Coefficients in healpy's packed layout, the inverse of `alm_from_healpy`.

    Args:
        alm: complex [..., lmax + 1, lmax + 1].

    Returns:
        complex [..., (lmax + 1)(lmax + 2) / 2].

    Raises:
        MapError: alm is not complex or not square.

    >>> alm_to_healpy(torch.tensor([[1, 0], [2, 3]], dtype=torch.complex128)).real.tolist()
    [1.0, 2.0, 3.0]
    """
    lmax = _lmax_of(alm)
    m, l = torch.triu_indices(lmax + 1, lmax + 1, device=alm.device)
    return alm[..., l, m]


class _Colatitudes(NamedTuple):
    """What the transform knows of theta: a table per order, for the rings down to the equator."""

    legendre: Tensor
    """real [m, ring, l], (-1)^s sqrt((2l + 1) / 4 pi) d^l_{m,-s}(theta)."""
    parity: Tensor
    """real [m, l, 1], the sign by which the mirrored ring differs, there of order m (real function) or -m."""
    mirror: tuple[int, ...]
    """Dimensions to flip for the mirrored ring: that of m where both signs are stored."""
    phase: Tensor
    """complex [m, all rings], e^{i m phi0}."""
    first_order: int


class _Longitudes(NamedTuple):
    """What the transform knows of phi: rings grouped by number of pixels; samples are pixels so ordered."""

    n_phi: tuple[int, ...]
    rings: tuple[Tensor, ...]
    ring_order: Tensor
    pixel_of_sample: Tensor
    sample_of_pixel: Tensor


def _synthesise(alm: Tensor, colatitudes: _Colatitudes, longitudes: _Longitudes) -> Tensor:
    """sum_m F_m e^{i m phi} at every pixel, over the orders stored: [..., l, m] -> complex [..., npix]."""
    legendre, parity, mirror, phase, first_order = colatitudes
    order_first = alm[None].flatten(0, -3).permute(2, 1, 0)
    both = torch.stack([order_first, (parity * order_first).flip(mirror)], dim=2)
    north, south = _real_bmm(legendre, both).unbind(2)
    # The equator, last of the northern rings, is its own mirror image.
    ring = torch.cat([north, south.flip(mirror)[:, :-1].flip(1)], dim=1)
    ring = (ring * phase[..., None]).permute(2, 1, 0)
    samples = [
        torch.fft.ifft(_fold(ring[:, index], n_phi, first_order), norm="forward").flatten(1)
        for n_phi, index in zip(longitudes.n_phi, longitudes.rings, strict=True)
    ]
    return torch.cat(samples, dim=1)[:, longitudes.sample_of_pixel].unflatten(0, (1, *alm.shape[:-2]))[0]


def _project(values: Tensor, colatitudes: _Colatitudes, longitudes: _Longitudes) -> Tensor:
    """Quadrature, 4 pi / npix times the adjoint of `_synthesise`: [..., npix] -> complex [..., l, m]."""
    legendre, parity, mirror, phase, first_order = colatitudes
    orders, north_rings = legendre.shape[:2]
    samples = values[None].flatten(0, -2)[:, longitudes.pixel_of_sample]
    sizes = [n_phi * len(index) for n_phi, index in zip(longitudes.n_phi, longitudes.rings, strict=True)]
    order = torch.arange(first_order, first_order + orders, device=values.device)
    ring = torch.cat(
        [
            torch.fft.fft(part.unflatten(1, (-1, n_phi)))[..., order % n_phi]
            for part, n_phi in zip(samples.split(sizes, dim=1), longitudes.n_phi, strict=True)
        ],
        dim=1,
    )
    ring = ring[:, longitudes.ring_order].permute(2, 1, 0) * phase.conj()[..., None]
    south = F.pad(ring[:, north_rings:].flip(1), (0, 0, 0, 1)).flip(mirror)
    direct, mirrored = _real_bmm(legendre.mT, torch.stack([ring[:, :north_rings], south], dim=2)).unbind(2)
    alm = (direct + parity * mirrored.flip(mirror)) * (4 * math.pi / values.shape[-1])
    return alm.permute(2, 1, 0).unflatten(0, (1, *values.shape[:-1]))[0]


def _jacobi(
    values: Tensor,
    project: Callable[[Tensor], Tensor],
    synthesise: Callable[[Tensor], Tensor],
    iterations: int,
) -> Tensor:
    alm = project(values)
    for _ in range(iterations):
        alm = alm + project(values - synthesise(alm))
    return alm


def _real_bmm(matrix: Tensor, x: Tensor) -> Tensor:
    """Real matrices [m, i, j] times complex x [m, j, ..., b], as one real product."""
    columns = torch.view_as_real(x.resolve_conj())
    product = (matrix @ columns.flatten(2)).unflatten(2, columns.shape[2:])
    return torch.view_as_complex(product)


def _fold(ring: Tensor, n_phi: int, first_order: int) -> Tensor:
    """Sum the orders that n_phi equidistant samples cannot tell apart: [..., m] -> [..., m mod n_phi]."""
    before = first_order % n_phi
    after = -(ring.shape[-1] + before) % n_phi
    return F.pad(ring, (before, after)).unflatten(-1, (-1, n_phi)).sum(dim=-2)


# Tables outlive the call that makes them, so they must not be inference tensors, which autograd refuses.
@lru_cache(maxsize=4)
@torch.inference_mode(False)
@torch.no_grad()
def _colatitudes(
    nside: int, lmax: int, spin: int | None, device: torch.device, dtype: torch.dtype
) -> _Colatitudes:
    """Tables of spin-s functions; spin None: of real functions, orders m >= 0 only."""
    grid = rings(nside, device=device)
    s, first_order, mirror = (0, 0, ()) if spin is None else (spin, -lmax, (0,))
    order = torch.arange(first_order, lmax + 1, device=device)[:, None]
    degree = torch.arange(lmax + 1, device=device)
    norm = (-1) ** s * torch.sqrt((2 * degree.to(torch.float64) + 1) / (4 * math.pi))
    legendre = norm * wigner_d_column(lmax, order, -s, grid.theta[: 2 * nside])
    # For real functions d_{-m,0} = (-1)^m d_{m,0} brings the mirrored ring back to order m.
    odd = (degree + (order if spin is None else torch.full_like(order, s))) % 2
    angle = order * grid.phi0
    phase = torch.polar(torch.ones_like(angle), angle)
    complex_dtype = torch.complex64 if dtype == torch.float32 else torch.complex128
    return _Colatitudes(
        legendre.to(dtype), (1 - 2 * odd)[..., None].to(dtype), mirror, phase.to(complex_dtype), first_order
    )


@lru_cache(maxsize=8)
@torch.inference_mode(False)
@torch.no_grad()
def _longitudes(nside: int, nested: bool, device: torch.device) -> _Longitudes:
    grid = rings(nside, device=device)
    lengths = grid.n_phi.unique().tolist()
    belts = tuple(torch.nonzero(grid.n_phi == n_phi).squeeze(1) for n_phi in lengths)
    pixel = torch.cat(
        [
            (grid.start[index][:, None] + torch.arange(n_phi, device=device)).flatten()
            for n_phi, index in zip(lengths, belts, strict=True)
        ]
    )
    pixel = ring_to_nested(nside, pixel) if nested else pixel
    return _Longitudes(tuple(lengths), belts, torch.cat(belts).argsort(), pixel, pixel.argsort())


def _lmax_of(alm: Tensor, spin: bool = False) -> int:
    lmax = alm.shape[-2] - 1 if alm.ndim >= 2 else -1
    if not alm.is_complex() or lmax < 0 or alm.shape[-1] != (2 * lmax + 1 if spin else lmax + 1):
        layout = "[..., lmax + 1, 2 lmax + 1]" if spin else "[..., lmax + 1, lmax + 1]"
        raise MapError(f"alm is {alm.dtype} of shape {tuple(alm.shape)}; give complex coefficients {layout}")
    return lmax


def _check_analysis(nside: int, lmax: int, iterations: int) -> None:
    if not 0 <= lmax < 3 * nside:
        raise GeometryError(f"lmax={lmax} is out of range at nside={nside}; use 0 <= lmax <= {3 * nside - 1}")
    if iterations < 0:
        raise GeometryError(f"iterations={iterations} is negative; use 0 for plain quadrature")
