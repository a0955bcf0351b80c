"""Ring grids: nodes and weights against NumPy and closed forms, layouts against healpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError, MapError
from geocnn.geometry.spheres.pixels import pixel_to_angle
from geocnn.harmonics import equiangular, gauss_legendre, healpix_grid, integral


@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_gauss_legendre_is_numpys(n):
    z, weight = np.polynomial.legendre.leggauss(n)
    grid = gauss_legendre(n, 3)
    np.testing.assert_allclose(torch.cos(grid.theta).numpy(), z[::-1], rtol=0, atol=1e-15)
    np.testing.assert_allclose(
        grid.weight.numpy(), weight[::-1] * 2 * math.pi / 3, rtol=1e-11
    )  # what NumPy is good for


@pytest.mark.parametrize("n", [1, 2, 7, 16, 1000])
@pytest.mark.parametrize("make", [gauss_legendre, equiangular, lambda n: equiangular(n + 2, poles=True)])
def test_weights_are_positive_and_sum_to_the_area(make, n):
    grid = make(n)
    assert (grid.weight > 0).all()
    total = integral(torch.ones(grid.n_points, dtype=torch.float64), grid)
    assert float(total) == pytest.approx(4 * math.pi, rel=1e-12)


@pytest.mark.parametrize(
    "grid, degree",
    [
        (gauss_legendre(6), 11),
        (equiangular(7), 7),  # an odd number of rings gains a degree by symmetry
        (equiangular(8), 7),
        (equiangular(9, poles=True), 9),
        (equiangular(8, poles=True), 7),
    ],
)
def test_integrals_are_exact_up_to_the_stated_degree_and_no_further(grid, degree):
    """The integral of cos(theta)^k is 4 pi / (k + 1) for even k, 0 for odd."""
    z = torch.cos(grid.angles()[0])
    for k in range(degree + 1):
        assert float(integral(z**k, grid)) == pytest.approx(
            2 * math.pi * (1 + (-1) ** k) / (k + 1), abs=1e-13
        )
    even = degree + 1 + (degree + 1) % 2
    assert abs(float(integral(z**even, grid)) - 4 * math.pi / (even + 1)) > 1e-6


@pytest.mark.parametrize("nested", [False, True])
def test_healpix_points_are_pixel_centres(nested):
    grid = healpix_grid(8, nested)
    theta, phi = grid.angles()
    expected = pixel_to_angle(8, torch.arange(768), nested=nested)
    torch.testing.assert_close((theta, phi), expected, rtol=0, atol=1e-14)
    assert not grid.exact and not grid.is_product
    with pytest.raises(GeometryError, match="no shape"):
        _ = grid.shape


def test_flat_values_are_rows_of_latitude():
    grid = equiangular(3, 4)
    theta, phi = (angle.unflatten(-1, grid.shape) for angle in grid.angles())
    torch.testing.assert_close(theta[:, 0], math.pi * torch.tensor([1, 3, 5], dtype=torch.float64) / 6)
    torch.testing.assert_close(phi[0], math.pi * torch.arange(4, dtype=torch.float64) / 2)
    assert (theta == theta[:, :1]).all() and (phi == phi[:1]).all()


def test_the_same_arguments_give_the_same_grid():
    assert gauss_legendre(9) is gauss_legendre(9)


def test_the_lmax_of_a_grid_is_limited_by_longitudes_too():
    assert gauss_legendre(64).lmax == 63
    assert gauss_legendre(64, 64).lmax == 31
    assert equiangular(73, 144, poles=True).lmax == 71


def test_impossible_grids_are_named():
    with pytest.raises(GeometryError, match="0 rings"):
        gauss_legendre(0)
    with pytest.raises(GeometryError, match="at least 3 rings"):
        equiangular(2, poles=True)
    with pytest.raises(GeometryError, match="nside"):
        healpix_grid(3)


@pytest.mark.parametrize("make", [gauss_legendre, equiangular])
def test_numbers_that_equal_integers_leave_no_other_grid_in_the_cache(make):
    with pytest.raises(GeometryError, match="whole"):
        make(37, 41.0)
    found = make(np.int64(37), np.int64(41))
    assert make(37, 41) is found and {type(n) for n in found.n_phi} == {int}


def test_integers_have_no_integral():
    with pytest.raises(MapError, match="double"):
        integral(torch.ones(32, dtype=torch.int64), gauss_legendre(4))
