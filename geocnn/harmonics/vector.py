"""Vector calculus on the sphere by spin 1: gradient, divergence, vorticity, Helmholtz decomposition.

A tangent field v is the spin-1 function v_south + i v_east, and multiplying by i turns it by a quarter, as
r x v does. Every field is v = grad chi + r x grad psi, chi the velocity potential, psi the stream function;
with healpy's gradient and curl parts (`eb_from_spin`) and R the radius of the sphere,

    E_lm = sqrt(l(l + 1)) chi_lm / R,  B_lm = sqrt(l(l + 1)) psi_lm / R,  div v = lap chi,  curl v = lap psi.

Functions here act on coefficients; `analysis` and `synthesis` with spin 1 go from and to values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geocnn.harmonics.coefficients import eb_from_spin, lmax_of, spin_from_eb


def spin_from_wind(u: Tensor, v: Tensor) -> Tensor:
    """The eastward and northward components of a wind as a spin-1 function: -v + i u.

    >>> spin_from_wind(torch.tensor(1.0), torch.tensor(2.0)).item()
    (-2+1j)
    """
    return torch.complex(-v, u)


def wind_from_spin(values: Tensor) -> tuple[Tensor, Tensor]:
    """Eastward and northward components of a spin-1 function, the inverse of `spin_from_wind`.

    >>> wind_from_spin(torch.tensor(-2 + 1j))
    (tensor(1.), tensor(2.))
    """
    return values.imag, -values.real


def gradient(alm: Tensor, radius: float = 1.0) -> Tensor:
    """The gradient of a real function.

    Args:
        alm: complex [..., lmax + 1, lmax + 1].
        radius: of the sphere.

    Returns:
        complex [..., lmax + 1, 2 lmax + 1], of spin 1.

    Raises:
        MapError: alm is not of that layout.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1
    >>> round(gradient(alm)[1, 1].item().real, 4)
    -1.4142
    """
    part = _root(alm) * alm / radius
    return spin_from_eb(part, torch.zeros_like(part))


def divergence(field: Tensor, radius: float = 1.0) -> Tensor:
    """The divergence of a tangent field.

    Args:
        field: complex [..., lmax + 1, 2 lmax + 1], of spin 1.
        radius: of the sphere.

    Returns:
        complex [..., lmax + 1, lmax + 1], of a real function.

    Raises:
        MapError: field is not of that layout.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1
    >>> round(divergence(gradient(alm))[1, 0].item().real, 12)                     # -l(l + 1)
    -2.0
    """
    e, _ = eb_from_spin(field)
    return -_root(e) * e / radius


def vorticity(field: Tensor, radius: float = 1.0) -> Tensor:
    """The radial component of the curl of a tangent field: arguments, result and errors as `divergence`.

    >>> alm = torch.zeros(2, 2, dtype=torch.complex128)
    >>> alm[1, 0] = 1
    >>> round(vorticity(1j * gradient(alm))[1, 0].item().real, 12)
    -2.0
    """
    _, b = eb_from_spin(field)
    return -_root(b) * b / radius


def potentials(field: Tensor, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """Velocity potential chi and stream function psi of a tangent field, of mean zero.

    field = gradient(chi) + i gradient(psi).

    Args:
        field: complex [..., lmax + 1, 2 lmax + 1], of spin 1.
        radius: of the sphere.

    Returns:
        two of complex [..., lmax + 1, lmax + 1], of real functions.

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


def helmholtz(field: Tensor) -> tuple[Tensor, Tensor]:
    """The divergent part, a gradient, and the rotational part, a turned gradient; they sum to the field.

    Args:
        field: complex [..., lmax + 1, 2 lmax + 1], of spin 1.

    Returns:
        two of the same layout.

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


def _root(alm: Tensor) -> Tensor:
    """sqrt(l(l + 1)) as [lmax + 1, 1]."""
    l = torch.arange(lmax_of(alm) + 1, dtype=torch.float64, device=alm.device)
    return torch.sqrt(l * (l + 1)).to(alm.real.dtype)[:, None]
