"""The transform on SO(3): Wigner D as oracle, inversion, left translation, and the field a frame sees."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError, MapError
from geocnn.groups.rotations import matrix_from_zyz, random_rotations
from geocnn.groups.wigner import rotate_coefficients, wigner_D
from geocnn.harmonics import equiangular, gauss_legendre, so3_analysis, so3_synthesis


def functions(nmax: int, lmax: int, *batch: int) -> torch.Tensor:
    """Random coefficients of real functions on SO(3); those of frequency 0 of a real field."""
    generator = torch.Generator().manual_seed(0)
    alm = torch.randn(*batch, nmax + 1, lmax + 1, 2 * lmax + 1, dtype=torch.complex128, generator=generator)
    l, m = torch.arange(lmax + 1)[:, None], torch.arange(-lmax, lmax + 1)
    n = torch.arange(nmax + 1)[:, None, None]
    alm = torch.where((m.abs() <= l) & (n <= l), alm, 0)
    zonal = alm[..., 0, :, :]
    alm[..., 0, :, :] = 0.5 * (zonal + (1 - 2 * (m % 2)) * zonal.flip(-1).conj())
    return alm


def values_by_wigner(alm: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """sum over l, m, n of a_lmn (-1)^n sqrt((2l + 1) / 4 pi) conj(D^l_{m,-n}(R)): [P]."""
    nmax, lmax = alm.shape[0] - 1, alm.shape[1] - 1
    total = torch.zeros(len(rotations), dtype=torch.float64)
    for l in range(lmax + 1):
        d = wigner_D(l, rotations).conj() * math.sqrt((2 * l + 1) / (4 * math.pi))
        for n in range(min(l, nmax) + 1):
            term = (-1) ** n * (d[:, :, l - n] @ alm[n, l, lmax - l : lmax + l + 1])
            total += (1 if n == 0 else 2) * term.real
    return total


@pytest.mark.parametrize("nmax, lmax, samples", [(0, 4, 1), (2, 5, 5), (3, 3, 8)])
def test_values_are_sums_of_wigner_functions(nmax, lmax, samples):
    grid, alm = gauss_legendre(lmax + 1), functions(nmax, lmax)
    theta, phi = grid.angles()
    gamma = 2 * math.pi * torch.arange(samples, dtype=torch.float64) / samples
    rotations = matrix_from_zyz(phi[:, None], theta[:, None], gamma)
    expected = values_by_wigner(alm, rotations.flatten(0, 1)).unflatten(0, (-1, samples))
    torch.testing.assert_close(so3_synthesis(alm, grid, samples), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [7, 10])
def test_the_transform_inverts(samples):
    grid, alm = equiangular(9), functions(3, 8, 2)
    found = so3_analysis(so3_synthesis(alm, grid, samples), grid, 8, 3)
    torch.testing.assert_close(found, alm, rtol=0, atol=1e-13)


def test_turning_coefficients_is_left_translation():
    """(T f)(Q) = f(R^-1 Q)."""
    alm = functions(2, 5)
    r, *q = random_rotations(6, torch.Generator().manual_seed(1))
    q = torch.stack(q)
    found = values_by_wigner(rotate_coefficients(alm, r), q)
    torch.testing.assert_close(found, values_by_wigner(alm, r.mT @ q), rtol=0, atol=1e-12)


def test_derivatives():
    alm, grid = functions(1, 2).requires_grad_(), gauss_legendre(3)
    assert torch.autograd.gradcheck(lambda a: so3_synthesis(a, grid, 3), alm)
    values = torch.randn(18, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: so3_analysis(v, grid, 2, 1), values)


def test_bad_input_is_named():
    grid = gauss_legendre(3)
    with pytest.raises(GeometryError, match="4 angles do not carry nmax=2"):
        so3_synthesis(functions(2, 2), grid, 4)
    with pytest.raises(GeometryError, match="nmax=-1"):
        so3_analysis(torch.zeros(18, 4), grid, 2, -1)
    with pytest.raises(MapError, match="nmax"):
        so3_synthesis(functions(2, 2)[0], grid, 5)
    with pytest.raises(MapError, match="complex"):
        so3_analysis(torch.zeros(18, 4, dtype=torch.complex64), grid, 2, 1)
