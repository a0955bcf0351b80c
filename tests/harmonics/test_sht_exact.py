"""The transform on grids that carry a degree exactly: round trips, SciPy's harmonics, derivatives."""

from __future__ import annotations

import pytest
import torch
from scipy.special import sph_harm_y

from geocnn.errors import GeometryError
from geocnn.harmonics import (
    analysis,
    equiangular,
    gauss_legendre,
    healpix_grid,
    signed_orders,
    synthesis,
)
from tests.harmonics.fields import fields, relative_error, spin_fields

EXACT = [
    lambda lmax: gauss_legendre(lmax + 1),
    lambda lmax: equiangular(lmax + 1),
    lambda lmax: equiangular(lmax + 2, poles=True),
]


@pytest.mark.parametrize("make", EXACT)
def test_the_whole_degree_comes_back_at_256(make):
    """lmax + 1 rings: 257, with poles 258. The recurrence loses 2e-12 at a point; sums are kinder."""
    grid, alm = make(256), fields(256, 1)
    found = analysis(synthesis(alm, grid), grid, 256)
    assert grid.lmax == 256
    assert relative_error(found, alm) < 1e-13
    torch.testing.assert_close(found, alm, rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", EXACT)
@pytest.mark.parametrize("spin", [-3, 0, 1, 2])
@pytest.mark.parametrize("lmax", [1, 10, 33])
def test_spin_fields_come_back(make, spin, lmax):
    grid, alm = make(lmax), spin_fields(lmax, 2, spin)
    found = analysis(synthesis(alm, grid, spin), grid, lmax, spin)
    torch.testing.assert_close(found, alm, rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", EXACT)
@pytest.mark.parametrize("spin", [None, 2])
def test_single_precision_round_trip_at_degree_128(make, spin):
    """Issue's bound 1e-5; 3e-7 measured."""
    grid = make(128)
    alm = fields(128, 1) if spin is None else spin_fields(128, 1, spin)
    found = analysis(synthesis(alm.to(torch.complex64), grid, spin), grid, 128, spin)
    assert found.dtype == torch.complex64
    assert relative_error(found, alm) < 1e-6


def test_one_ring_fewer_is_not_enough():
    """What grids say they resolve is all there is: P_n vanishes on n Gauss-Legendre rings."""
    alm = torch.zeros(9, 9, dtype=torch.complex128)
    alm[8, 0] = 1
    assert synthesis(alm, gauss_legendre(8)).abs().max() < 1e-14
    sine = torch.zeros(9, 9, dtype=torch.complex128)
    sine[8, 1] = 1  # its Fourier series in theta ends with sin(8 theta), unseen at multiples of pi / 8
    grid = equiangular(9, poles=True)
    assert grid.lmax == 7
    with pytest.raises(GeometryError, match="lmax=8"):
        analysis(synthesis(sine, grid), grid, 8)


@pytest.mark.parametrize(
    "grid", [gauss_legendre(6), gauss_legendre(9, 7), equiangular(7, 9), healpix_grid(4)]
)
def test_values_are_those_of_scipys_harmonics(grid):
    """On every grid, also above the degree it resolves, where orders fold onto each other."""
    alm = fields(6, 1)[0]
    theta, phi = (angle.numpy() for angle in grid.angles())
    expected = torch.zeros(grid.n_points, dtype=torch.float64)
    for l in range(7):
        for m in range(l + 1):
            harmonic = torch.tensor(sph_harm_y(l, m, theta, phi))
            expected += (1 if m == 0 else 2) * (alm[l, m] * harmonic).real
    torch.testing.assert_close(synthesis(alm, grid), expected, rtol=0, atol=1e-13)
    found = synthesis(signed_orders(alm), grid, 0)
    torch.testing.assert_close(found, expected + 0j, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "grid", [gauss_legendre(5), gauss_legendre(4), equiangular(6), healpix_grid(2, True)]
)
@pytest.mark.parametrize("spin", [None, 0, -1, 2])
def test_derivatives_of_every_order(grid, spin):
    """Gradients, gradients of gradients, and forward mode, against differences."""
    lmax = 3
    alm = (fields(lmax, 2) if spin is None else spin_fields(lmax, 2, spin)).requires_grad_()
    dtype = torch.float64 if spin is None else torch.complex128
    generator = torch.Generator().manual_seed(6)
    values = torch.randn(2, grid.n_points, dtype=dtype, generator=generator).requires_grad_()
    for map, x in (
        (lambda a: synthesis(a, grid, spin), alm),
        (lambda v: analysis(v, grid, lmax, spin, iterations=1), values),
    ):
        assert torch.autograd.gradcheck(map, x, check_forward_ad=True, fast_mode=True)
        assert torch.autograd.gradgradcheck(map, x, fast_mode=True)


@pytest.mark.parametrize("grid", [gauss_legendre(40), equiangular(41), healpix_grid(16)])
@pytest.mark.parametrize("spin", [None, 1])
def test_gradients_are_adjoints(grid, spin):
    """<S a, v> = <a, S^T v> and <A v, a> = <v, A^T a>, at a size that differences cannot reach."""
    lmax = 30
    a = (fields(lmax, 1) if spin is None else spin_fields(lmax, 1, spin)).requires_grad_()
    v = synthesis(a.detach(), grid, spin).square().requires_grad_()

    def inner(x, y):
        return (x.conj() * y).real.sum()

    for product, x in (
        (inner(synthesis(a, grid, spin), v.detach()), a),
        (inner(analysis(v, grid, lmax, spin, iterations=0), a.detach()), v),
    ):
        (gradient,) = torch.autograd.grad(product, x)
        torch.testing.assert_close(inner(gradient, x), product, rtol=1e-12, atol=1e-12)


def test_the_degree_of_a_spin_field_begins_at_the_spin():
    grid = gauss_legendre(8)
    noise = torch.randn(grid.n_points, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    for lmax in (0, 2, 7):
        alm = analysis(noise, grid, lmax, spin=-3)
        assert (alm[:3] == 0).all()
        assert alm.shape == (lmax + 1, 2 * lmax + 1)
        assert (alm.abs() > 0).sum() == sum(2 * l + 1 for l in range(3, lmax + 1))
