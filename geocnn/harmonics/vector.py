"""Vector calculus on the sphere by spin 1: gradient, divergence, vorticity, Helmholtz decomposition.

A tangent field v is the spin-1 function v_south + i v_east. Multiplication by i turns it by a quarter turn,
as r x v does. Every field is v = grad chi + r x grad psi with a velocity potential chi and a stream function
psi. With healpy's gradient and curl parts (`eb_from_spin`) and the sphere's radius R,

    E_lm = sqrt(l(l + 1)) chi_lm / R,  B_lm = sqrt(l(l + 1)) psi_lm / R,  div v = lap chi,  curl v = lap psi.

Functions here act on coefficients; `analysis` and `synthesis` with spin 1 convert from and to values.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from geocnn.harmonics.coefficients import eb_from_spin, lmax_of, spin_from_eb


def spin_from_wind(u: Float[Tensor, "*shape"], v: Float[Tensor, "*shape"]) -> Complex[Tensor, "*shape"]:
    """Return a wind's eastward and northward components u, v as a spin-1 function: -v + i u.

    >>> spin_from_wind(torch.tensor(1.0), torch.tensor(2.0)).item()
    (-2+1j)
    """
    return torch.complex(-v, u)


def wind_from_spin(
    values: Complex[Tensor, "*shape"],
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return eastward and northward components of a spin-1 function, the inverse of `spin_from_wind`.

    >>> wind_from_spin(torch.tensor(-2 + 1j))
    (tensor(1.), tensor(2.))
    """
    return values.imag, -values.real


def gradient(
    alm: Complex[Tensor, "*batch degrees degrees"], radius: float = 1.0
) -> Complex[Tensor, "*batch degrees 2*degrees-1"]:
    """Return the gradient, of spin 1, of a real function on a sphere of that radius.

    Raises:
        MapError: alm is not of that layout.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1
    >>> round(gradient(alm)[1, 1].item().real, 4)
    -1.4142
    """
    part = _root(alm) * alm / radius
    return spin_from_eb(part, torch.zeros_like(part))


def divergence(
    field: Complex[Tensor, "*batch degrees 2*degrees-1"], radius: float = 1.0
) -> Complex[Tensor, "*batch degrees degrees"]:
    """Return the divergence, a real function, of a tangent field of spin 1 on a sphere of that radius.

    Raises:
        MapError: field is not of that layout.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1
    >>> round(divergence(gradient(alm))[1, 0].item().real, 12)                     # -l(l + 1)
    -2.0
    """
    e, _ = eb_from_spin(field)
    return -_root(e) * e / radius


def vorticity(
    field: Complex[Tensor, "*batch degrees 2*degrees-1"], radius: float = 1.0
) -> Complex[Tensor, "*batch degrees degrees"]:
    """Return the radial component of a tangent field's curl, with arguments and errors as `divergence`.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1
    >>> round(vorticity(1j * gradient(alm))[1, 0].item().real, 12)
    -2.0
    """
    _, b = eb_from_spin(field)
    return -_root(b) * b / radius


def potentials(
    field: Complex[Tensor, "*batch degrees 2*degrees-1"], radius: float = 1.0
) -> tuple[Complex[Tensor, "*batch degrees degrees"], Complex[Tensor, "*batch degrees degrees"]]:
    """Return velocity potential chi and stream function psi, with mean zero, of a tangent field of spin 1.

    They are real functions, and field = gradient(chi) + i gradient(psi).

    Raises:
        MapError: field is not of that layout.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1
    >>> chi, psi = potentials(1j * gradient(alm))
    >>> round(chi[1, 0].item().real, 12), round(psi[1, 0].item().real, 12)
    (0.0, 1.0)
    """
    e, b = eb_from_spin(field)
    inverse = radius / _root(e).clamp(min=1)
    inverse[0] = 0
    return inverse * e, inverse * b


def helmholtz(
    field: Complex[Tensor, "*batch degrees 2*degrees-1"],
) -> tuple[Complex[Tensor, "*batch degrees 2*degrees-1"], Complex[Tensor, "*batch degrees 2*degrees-1"]]:
    """Return a field's divergent part, a gradient, and its rotational part, a turned gradient.

    They sum to the field, which has spin 1.

    Raises:
        MapError: field is not of that layout.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1
    >>> divergent, rotational = helmholtz(gradient(alm))
    >>> bool(torch.isclose(divergent, gradient(alm)).all()), float(rotational.abs().max())
    (True, 0.0)
    """
    e, b = eb_from_spin(field)
    return spin_from_eb(e, torch.zeros_like(e)), spin_from_eb(torch.zeros_like(b), b)


def _root(alm: Complex[Tensor, "*batch degrees degrees"]) -> Float[Tensor, "degrees 1"]:
    """Return sqrt(l(l + 1))."""
    l = torch.arange(lmax_of(alm) + 1, dtype=torch.float64, device=alm.device)
    return torch.sqrt(l * (l + 1)).to(alm.real.dtype)[:, None]
