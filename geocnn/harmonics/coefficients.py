"""Coefficients of functions on the sphere: their two layouts, healpy's conventions, and their power.

- a real function: complex [..., lmax + 1, lmax + 1] indexed [l, m], m >= 0; a_{l,-m} = (-1)^m conj(a_lm);
- a complex function of any spin: complex [..., lmax + 1, 2 lmax + 1] indexed [l, m + lmax].

Entries with |m| > l are zero, and so are those with l < |s|. Signatures call lmax + 1 `degrees`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Complex, Complex128, Float, Num
from torch import Tensor

from geocnn.errors import MapError


def lmax_of(alm: Tensor, signed: bool = False) -> int:
    """Return lmax of the coefficients of a real function, or (signed) of a complex one.

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


def signed_orders(
    alm: Num[Tensor, "*batch degrees degrees"],
) -> Complex[Tensor, "*batch degrees 2*degrees-1"]:
    """Return the coefficients of a real function with all orders, a_{l,-m} = (-1)^m conj(a_lm).

    Imaginary parts of m = 0 are dropped.

    Raises:
        MapError: alm is not of that layout.

    >>> signed_orders(torch.tensor([[1, 0], [2, 3j]])).tolist()
    [[0j, (1+0j), 0j], [3j, (2+0j), 3j]]
    """
    lmax = lmax_of(alm)
    negative = _alternating(lmax, alm)[1:] * alm[..., 1:].conj()
    return torch.cat([negative.flip(-1), alm[..., :1].real.to(alm.dtype), alm[..., 1:]], -1) + 0.0


def real_part(
    alm: Complex[Tensor, "*batch degrees 2*degrees-1"],
) -> Complex[Tensor, "*batch degrees degrees"]:
    """Return coefficients of a spin-0 function's real part: (a_lm + (-1)^m conj(a_{l,-m})) / 2.

    Raises:
        MapError: alm is not of that layout.

    >>> real_part(signed_orders(torch.tensor([[1, 0], [2, 3j]]))).tolist()
    [[(1+0j), 0j], [(2+0j), 3j]]
    """
    lmax = lmax_of(alm, signed=True)
    mirrored = _alternating(lmax, alm) * alm[..., : lmax + 1].flip(-1).conj()
    return 0.5 * (alm[..., lmax:] + mirrored)


def spin_from_eb(
    gradient: Complex[Tensor, "*batch degrees degrees"], curl: Complex[Tensor, "*batch degrees degrees"]
) -> Complex[Tensor, "*batch degrees 2*degrees-1"]:
    """Return coefficients of a field of spin s > 0 from healpy's parts E and B: a = -(E + i B).

    The gradient part E and the curl part B are coefficients of real functions, which `map2alm_spin` returns.

    Raises:
        MapError: a part is not of that layout.

    >>> spin_from_eb(torch.tensor([[0, 0], [1, 0]]) + 0j, torch.tensor([[0, 0], [1, 0]]) + 0j)[1, 1].item()
    (-1-1j)
    """
    return -(signed_orders(gradient) + 1j * signed_orders(curl))


def eb_from_spin(
    alm: Complex[Tensor, "*batch degrees 2*degrees-1"],
) -> tuple[Complex[Tensor, "*batch degrees degrees"], Complex[Tensor, "*batch degrees degrees"]]:
    """Return healpy's gradient part E and curl part B of a field of spin s > 0, as `spin_from_eb` takes them.

    Raises:
        MapError: alm is not of that layout.

    >>> e, b = eb_from_spin(torch.tensor([[0, 0, 0], [0, -1 - 1j, 0]]))
    >>> e[1, 0].item(), b[1, 0].item()
    ((1+0j), (1+0j))
    """
    return real_part(-alm), real_part(1j * alm)


def spin_from_polarisation(
    q: Float[Tensor, "*shape"], u: Float[Tensor, "*shape"], convention: Literal["COSMO", "IAU"]
) -> Complex[Tensor, "*shape"]:
    """Return Stokes parameters as a field of spin 2 in the frames (south, east).

    Args:
        q, u: maps of one shape.
        convention: "COSMO" (HEALPix, WMAP, Planck): the field is Q + i U; "IAU": U has the other sign.

    Raises:
        MapError: convention is neither name.

    >>> spin_from_polarisation(torch.tensor(1.0), torch.tensor(2.0), "IAU").item()
    (1-2j)
    """
    return torch.complex(q, _orientation(convention) * u)


def polarisation_from_spin(
    values: Complex[Tensor, "*shape"], convention: Literal["COSMO", "IAU"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return Stokes Q and U of a field of spin 2, the inverse of `spin_from_polarisation`.

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


def _alternating(lmax: int, alm: Tensor) -> Float[Tensor, " {lmax}+1"]:
    """Return (-1)^m for m = 0 .. lmax."""
    return (1 - 2 * (torch.arange(lmax + 1, device=alm.device) % 2)).to(alm.real.dtype)


def random_coefficients(
    lmax: int, n: int, generator: torch.Generator
) -> Complex128[Tensor, "{n} {lmax}+1 {lmax}+1"]:
    """Draw coefficients of n independent real Gaussian fields of white spectrum, E |a_lm|^2 = 1.

    Those with m = 0 are real.

    Args:
        lmax: largest degree.
        n: number of fields.
        generator: source of randomness; the result lies on its device.

    >>> random_coefficients(2, 4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 3])
    """
    shape = (n, lmax + 1, lmax + 1)
    alm = torch.randn(shape, dtype=torch.complex128, device=generator.device, generator=generator).tril()
    # a complex normal number has variance 1/2 in each part; m = 0 has all of it in the real part
    zonal = math.sqrt(2.0) * alm[..., :1].real
    return torch.cat([zonal.to(alm.dtype), alm[..., 1:]], dim=-1)


def power_spectrum(alm: Complex[Tensor, "*batch degrees orders"]) -> Float[Tensor, "*batch degrees"]:
    """Return the mean power per coefficient, C_l = sum_m |a_lm|^2 / (2l + 1) over -l <= m <= l.

    Args:
        alm: [..., lmax + 1, lmax + 1] of a real function, or [..., lmax + 1, 2 lmax + 1] of any spin.

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


def alm_from_healpy(
    packed: Complex[Tensor, "*batch n"],
) -> Complex[Tensor, "*batch degrees degrees"]:
    """Return coefficients from healpy's packed layout, [..., (lmax + 1)(lmax + 2) / 2].

    There m is the slow index, and l runs from m to lmax.

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


def alm_to_healpy(alm: Complex[Tensor, "*batch degrees degrees"]) -> Complex[Tensor, "*batch n"]:
    """Return coefficients in healpy's packed layout, the inverse of `alm_from_healpy`.

    Raises:
        MapError: alm is not complex or not square.

    >>> alm_to_healpy(torch.tensor([[1, 0], [2, 3]], dtype=torch.complex128)).real.tolist()
    [1.0, 2.0, 3.0]
    """
    lmax = lmax_of(alm)
    m, l = torch.triu_indices(lmax + 1, lmax + 1, device=alm.device)
    return alm[..., l, m]
