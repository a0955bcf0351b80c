"""Coefficients of functions on the sphere: their two layouts, healpy's conventions, power.

- a real function: complex [..., lmax + 1, lmax + 1] indexed [l, m], m >= 0; a_{l,-m} = (-1)^m conj(a_lm);
- a complex function of any spin: complex [..., lmax + 1, 2 lmax + 1] indexed [l, m + lmax].

Entries |m| > l are zero, as are those l < |s|.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from geocnn.errors import MapError


def lmax_of(alm: Tensor, signed: bool = False) -> int:
    """The degree of coefficients of a real (signed: complex) function.

    Raises:
        MapError: alm is not complex, or not of the layout.

    >>> lmax_of(torch.zeros(3, 3, dtype=torch.complex64)), lmax_of(torch.zeros(3, 5) + 0j, signed=True)
    (2, 2)
    """
    if not isinstance(alm, Tensor):
        raise MapError(f"alm is a {type(alm).__name__}; give a tensor, torch.as_tensor(alm)")
    lmax = alm.shape[-2] - 1 if alm.ndim >= 2 else -1
    if not alm.is_complex() or lmax < 0 or alm.shape[-1] != (2 * lmax + 1 if signed else lmax + 1):
        layout = "[..., lmax + 1, 2 lmax + 1]" if signed else "[..., lmax + 1, lmax + 1]"
        raise MapError(f"alm is {alm.dtype} of shape {tuple(alm.shape)}; give complex coefficients {layout}")
    return lmax


def signed_orders(alm: Tensor) -> Tensor:
    """Coefficients of a real function as those of a complex one: all orders, a_{l,-m} = (-1)^m conj(a_lm).

    Args:
        alm: complex [..., lmax + 1, lmax + 1].

    Returns:
        complex [..., lmax + 1, 2 lmax + 1]; imaginary parts of m = 0 are dropped.

    Raises:
        MapError: alm is not of that layout.

    >>> signed_orders(torch.tensor([[1, 0], [2, 3j]])).tolist()
    [[0j, (1+0j), 0j], [3j, (2+0j), 3j]]
    """
    lmax = lmax_of(alm)
    negative = _alternating(lmax, alm)[1:] * alm[..., 1:].conj()
    return torch.cat([negative.flip(-1), alm[..., :1].real.to(alm.dtype), alm[..., 1:]], -1) + 0.0


def real_part(alm: Tensor) -> Tensor:
    """Coefficients of the real part of a complex function of spin 0: (a_lm + (-1)^m conj(a_{l,-m})) / 2.

    Args:
        alm: complex [..., lmax + 1, 2 lmax + 1].

    Returns:
        complex [..., lmax + 1, lmax + 1].

    Raises:
        MapError: alm is not of that layout.

    >>> real_part(signed_orders(torch.tensor([[1, 0], [2, 3j]]))).tolist()
    [[(1+0j), 0j], [(2+0j), 3j]]
    """
    lmax = lmax_of(alm, signed=True)
    mirrored = _alternating(lmax, alm) * alm[..., : lmax + 1].flip(-1).conj()
    return 0.5 * (alm[..., lmax:] + mirrored)


def spin_from_eb(gradient: Tensor, curl: Tensor) -> Tensor:
    """Coefficients of a field of spin s > 0 from healpy's gradient (E) and curl (B) parts: a = -(E + i B).

    Args:
        gradient, curl: complex [..., lmax + 1, lmax + 1] of real functions, as `map2alm_spin` gives them.

    Returns:
        complex [..., lmax + 1, 2 lmax + 1].

    Raises:
        MapError: a part is not of that layout.

    >>> spin_from_eb(torch.tensor([[0, 0], [1, 0]]) + 0j, torch.tensor([[0, 0], [1, 0]]) + 0j)[1, 1].item()
    (-1-1j)
    """
    return -(signed_orders(gradient) + 1j * signed_orders(curl))


def eb_from_spin(alm: Tensor) -> tuple[Tensor, Tensor]:
    """healpy's gradient (E) and curl (B) parts of a field of spin s > 0, the inverse of `spin_from_eb`.

    Args:
        alm: complex [..., lmax + 1, 2 lmax + 1].

    Returns:
        two of complex [..., lmax + 1, lmax + 1].

    Raises:
        MapError: alm is not of that layout.

    >>> e, b = eb_from_spin(torch.tensor([[0, 0, 0], [0, -1 - 1j, 0]]))
    >>> e[1, 0].item(), b[1, 0].item()
    ((1+0j), (1+0j))
    """
    return real_part(-alm), real_part(1j * alm)


def spin_from_polarisation(q: Tensor, u: Tensor, convention: Literal["COSMO", "IAU"]) -> Tensor:
    """Stokes parameters as a field of spin 2 in the frames (south, east).

    Args:
        q, u: real maps.
        convention: "COSMO" (HEALPix, WMAP, Planck): the field is Q + i U; "IAU": U has the other sign.

    Returns:
        complex, of the shape of q.

    Raises:
        MapError: convention is neither name.

    >>> spin_from_polarisation(torch.tensor(1.0), torch.tensor(2.0), "IAU").item()
    (1-2j)
    """
    return torch.complex(q, _orientation(convention) * u)


def polarisation_from_spin(values: Tensor, convention: Literal["COSMO", "IAU"]) -> tuple[Tensor, Tensor]:
    """Stokes Q and U of a field of spin 2, the inverse of `spin_from_polarisation`.

    Raises:
        MapError: convention is neither name.

    >>> polarisation_from_spin(torch.tensor(1 - 2j), "IAU")
    (tensor(1.), tensor(2.))
    """
    return values.real, _orientation(convention) * values.imag


def _orientation(convention: str) -> int:
    if convention not in ("COSMO", "IAU"):
        raise MapError(f'the polarisation convention is "COSMO" or "IAU", not {convention!r}')
    return 1 if convention == "COSMO" else -1


def _alternating(lmax: int, alm: Tensor) -> Tensor:
    """(-1)^m, m = 0 .. lmax."""
    return (1 - 2 * (torch.arange(lmax + 1, device=alm.device) % 2)).to(alm.real.dtype)


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
        alm: complex [..., lmax + 1, lmax + 1] of a real function, or [..., lmax + 1, 2 lmax + 1] of any spin.

    Returns:
        real [..., lmax + 1].

    Raises:
        MapError: alm is of neither layout.

    >>> power_spectrum(torch.ones(3, 3, dtype=torch.complex128).tril()).tolist()
    [1.0, 1.0, 1.0]
    """
    signed = alm.ndim >= 2 and alm.shape[-1] != alm.shape[-2]
    lmax = lmax_of(alm, signed)
    degree = torch.arange(lmax + 1, device=alm.device)
    order = torch.arange(-lmax if signed else 0, lmax + 1, device=alm.device)
    count = (order.abs() <= degree[:, None]) * (1 if signed else 2 - (order == 0).long())
    power = (alm.real.square() + alm.imag.square()) * count
    return power.sum(-1) / (2 * degree + 1).to(power.dtype)


def alm_from_healpy(packed: Tensor) -> Tensor:
    """Coefficients from healpy's packed layout, in which m is the slow index and l runs from m to lmax.

    Args:
        packed: complex [..., (lmax + 1)(lmax + 2) / 2].

    Returns:
        complex [..., lmax + 1, lmax + 1].

    Raises:
        MapError: packed is not complex, or the number of coefficients belongs to no lmax (with mmax = lmax).

    >>> alm_from_healpy(torch.tensor([1, 2, 3], dtype=torch.complex128)).real.tolist()
    [[1.0, 0.0], [2.0, 3.0]]
    """
    if not packed.is_complex():
        raise MapError(f"packed is {packed.dtype}; give complex coefficients")
    count = packed.shape[-1] if packed.ndim else 0
    lmax = (math.isqrt(8 * count + 1) - 3) // 2
    if lmax < 0 or (lmax + 1) * (lmax + 2) != 2 * count:
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
    lmax = lmax_of(alm)
    m, l = torch.triu_indices(lmax + 1, lmax + 1, device=alm.device)
    return alm[..., l, m]
