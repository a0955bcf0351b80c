"""The transform on ring grids: healpy and SciPy as oracles, closed forms, rotation, inputs."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from geocnn.errors import BadValueError, GeometryError, MapError
from geocnn.geometry.spheres.pixels import nested_to_ring, pixel_to_angle, pixel_to_vector
from geocnn.groups.rotations import random_rotations
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import (
    alm_from_healpy,
    alm_to_healpy,
    analysis,
    equiangular,
    gauss_legendre,
    healpix_grid,
    latitude,
    legendre,
    sht,
    signed_orders,
    synthesis,
)
from tests.harmonics.fields import fields, relative_error, spin_fields

hp = pytest.importorskip("healpy")


@pytest.mark.parametrize("nside, lmax", [(1, 5), (4, 0), (8, 23), (16, 80), (64, 128)])
def test_synthesis_is_healpys_alm2map(nside, lmax):
    """Also far above the band limit of the grid, where orders fold onto each other."""
    alm = fields(lmax, 2)
    found = synthesis(alm, healpix_grid(nside))
    for i in range(2):
        expected = hp.alm2map(alm_to_healpy(alm[i]).numpy(), nside, lmax=lmax)
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("nside, lmax", [(1, 2), (8, 23), (32, 64)])
@pytest.mark.parametrize("iterations", [0, 3])
def test_analysis_is_healpys_map2alm(nside, lmax, iterations):
    """On white noise, which no band limit helps."""
    noise = torch.randn(12 * nside**2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = hp.map2alm(noise.numpy(), lmax=lmax, iter=iterations, use_pixel_weights=False)
    found = alm_to_healpy(analysis(noise, healpix_grid(nside), lmax, iterations=iterations)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_synthesis_is_the_sum_of_scipys_harmonics():
    nside, lmax = 4, 6
    alm = fields(lmax, 1)[0]
    theta, phi = pixel_to_angle(nside, torch.arange(12 * nside**2))
    expected = torch.zeros(12 * nside**2, dtype=torch.float64)
    for l in range(lmax + 1):
        for m in range(l + 1):
            harmonic = torch.tensor(sph_harm_y(l, m, theta.numpy(), phi.numpy()))
            expected += (1 if m == 0 else 2) * (alm[l, m] * harmonic).real
    torch.testing.assert_close(synthesis(alm, healpix_grid(nside)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("nside", [8, 16])
@pytest.mark.parametrize("iterations", [0, 2])
def test_ring_weights_are_healpys(nside, iterations):
    grid, lmax = healpix_grid(nside, ring_weights=True), 2 * nside
    noise = torch.randn(12 * nside**2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = hp.map2alm(noise.numpy(), lmax=lmax, iter=iterations, use_weights=True)
    found = alm_to_healpy(analysis(noise, grid, lmax, iterations=iterations)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_ring_weights_help():
    """Without iterations, at degree nside."""
    alm, plain, better = fields(16, 3), healpix_grid(16), healpix_grid(16, ring_weights=True)
    values = synthesis(alm, plain)
    errors = [relative_error(analysis(values, grid, 16, iterations=0), alm) for grid in (plain, better)]
    assert errors[1] < 0.5 * errors[0]


def test_constant_and_cosine():
    alm = torch.zeros(2, 2, 2, dtype=torch.complex128)
    alm[0, 0, 0] = math.sqrt(4 * math.pi)
    alm[1, 1, 0] = math.sqrt(4 * math.pi / 3)
    theta, _ = pixel_to_angle(8, torch.arange(768))
    expected = torch.stack([torch.ones_like(theta), torch.cos(theta)])
    torch.testing.assert_close(synthesis(alm, healpix_grid(8)), expected, rtol=0, atol=1e-14)
    # Equal weights integrate degree 2 to 1e-3 at nside 8; every iteration gains as much again.
    torch.testing.assert_close(analysis(expected, healpix_grid(8), 1, iterations=6), alm, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "nside, without, with_three", [(32, 5.0e-3, 8.5e-6), (64, 2.3e-3, 3.6e-6), (128, 1.0e-3, 1.3e-6)]
)
def test_analysis_error_is_that_of_the_method(nside, without, with_three):
    """Published for map2alm at lmax = 2 nside; the draw of the field moves it by up to a factor of two."""
    alm, grid = fields(2 * nside, 3), healpix_grid(nside)
    values = synthesis(alm, grid)
    assert (
        without / 2.5 < relative_error(analysis(values, grid, 2 * nside, iterations=0), alm) < 1.5 * without
    )
    assert with_three / 2.5 < relative_error(analysis(values, grid, 2 * nside), alm) < 1.5 * with_three


def test_parts_and_blocks_do_not_show(monkeypatch):
    """A batch larger than a part, and tables too large to keep."""
    grid, alm = gauss_legendre(33), fields(32, 5)
    spin = spin_fields(32, 5, 1)
    values, spin_values = synthesis(alm, grid), synthesis(spin, grid, 1)
    monkeypatch.setattr(sht, "PART_BYTES", 2 * 8 * grid.n_points)
    torch.testing.assert_close(synthesis(alm, grid), values, rtol=0, atol=1e-13)
    torch.testing.assert_close(analysis(values, grid, 32), alm, rtol=0, atol=1e-13)
    monkeypatch.setattr(latitude, "KEPT_BYTES", 0)
    monkeypatch.setattr(latitude, "BLOCK_BYTES", 3 * 8 * 33 * 17)
    # real functions take another recurrence then, which rounds differently at values of up to 50
    torch.testing.assert_close(synthesis(alm, grid), values, rtol=0, atol=1e-12)
    monkeypatch.setattr(legendre, "KEPT_BYTES", 0)
    monkeypatch.setattr(legendre, "ROW_ENTRIES", 3 * 17)
    torch.testing.assert_close(synthesis(alm, grid), values, rtol=0, atol=1e-12)
    torch.testing.assert_close(analysis(values, grid, 32), alm, rtol=0, atol=1e-13)
    torch.testing.assert_close(synthesis(spin, grid, 1), spin_values, rtol=0, atol=1e-13)
    torch.testing.assert_close(analysis(spin_values, grid, 32, 1), spin, rtol=0, atol=1e-13)


def test_tables_kept_stay_within_their_budget(monkeypatch):
    grids, alm = [gauss_legendre(n) for n in (9, 10, 11)], fields(8, 1)
    one = latitude.Key(grids[0], 8, None, False, torch.float64, alm.device).bytes
    monkeypatch.setattr(latitude, "_tables", {})
    monkeypatch.setattr(latitude, "KEPT_BYTES", 3 * one)
    for grid in grids:
        synthesis(alm, grid)
    assert [key.grid for key in latitude._tables] == grids[1:]


def test_tables_of_real_functions_stay_within_their_budget(monkeypatch):
    grids, alm = [healpix_grid(n) for n in (2, 4, 8)], fields(5, 1)
    monkeypatch.setattr(legendre, "_tables", {})
    synthesis(alm, grids[2])
    (largest,) = legendre._tables
    monkeypatch.setattr(legendre, "KEPT_BYTES", 2 * largest.bytes)
    for grid in grids:
        synthesis(alm, grid)
        assert sum(piece.table.nbytes for t in legendre._tables.values() for piece in t) <= 2 * largest.bytes
    assert largest in legendre._tables


def test_rotated_coefficients_give_the_rotated_function():
    """(R f)(p) = f(R^-1 p): at degree 1, f(p) = v.p, in closed form at every pixel."""
    alm = torch.zeros(2, 2, dtype=torch.complex128)
    v = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    alm[1, 0] = math.sqrt(4 * math.pi / 3) * v[2]
    alm[1, 1] = -math.sqrt(2 * math.pi / 3) * torch.complex(v[0], -v[1])
    points = pixel_to_vector(8, torch.arange(768))
    torch.testing.assert_close(synthesis(alm, healpix_grid(8)), points @ v, rtol=0, atol=1e-14)
    rotations = random_rotations(3, torch.Generator().manual_seed(2))
    expected = torch.stack([(points @ r) @ v for r in rotations])
    torch.testing.assert_close(
        synthesis(rotate_coefficients(alm, rotations), healpix_grid(8)), expected, rtol=0, atol=1e-13
    )


def test_rotation_is_the_one_of_healpy():
    """healpy's Rotator turns alm by the matrix it holds."""
    alm = fields(32, 1)[0]
    rotation = random_rotations(1, torch.Generator().manual_seed(4))[0]
    rotator = hp.Rotator(rot=None)
    rotator._matrix = rotation.numpy()
    expected = rotator.rotate_alm(alm_to_healpy(alm).numpy())
    found = alm_to_healpy(rotate_coefficients(alm, rotation)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("spin", [1, 2, 3])
def test_spin_transform_is_healpys(spin):
    nside, lmax = 16, 20
    gradient, curl = fields(lmax, 2)
    gradient[:spin], curl[:spin] = 0, 0
    alm = -(signed_orders(gradient) + 1j * signed_orders(curl))
    packed = [alm_to_healpy(gradient).numpy(), alm_to_healpy(curl).numpy()]
    real, imaginary = hp.alm2map_spin(packed, nside, spin, lmax)
    values = synthesis(alm, healpix_grid(nside), spin)
    np.testing.assert_allclose(values.numpy(), real + 1j * imaginary, rtol=0, atol=1e-10)
    found = analysis(values, healpix_grid(nside), lmax, spin, iterations=0)
    packed = hp.map2alm_spin([real, imaginary], spin, lmax=lmax)
    gradient, curl = (signed_orders(alm_from_healpy(torch.tensor(part))) for part in packed)
    torch.testing.assert_close(found, -(gradient + 1j * curl), rtol=0, atol=1e-10)


@pytest.mark.parametrize("spin", [-2, 0, 1, 4])
def test_spin_transform_inverts(spin):
    lmax = 16
    generator = torch.Generator().manual_seed(3)
    alm = torch.randn(2, lmax + 1, 2 * lmax + 1, dtype=torch.complex128, generator=generator)
    degree, order = torch.arange(lmax + 1)[:, None], torch.arange(-lmax, lmax + 1)
    alm = torch.where((order.abs() <= degree) & (degree >= abs(spin)), alm, 0)
    values = synthesis(alm, healpix_grid(16, nested=True), spin)
    # At lmax = nside every iteration gains three digits.
    found = analysis(values, healpix_grid(16, nested=True), lmax, spin, iterations=8)
    torch.testing.assert_close(found, alm, rtol=0, atol=1e-10)


def test_spin_zero_is_the_complex_scalar_transform():
    real, imaginary = fields(10, 2)
    values = synthesis(signed_orders(real) + 1j * signed_orders(imaginary), healpix_grid(8), 0)
    expected = torch.complex(synthesis(real, healpix_grid(8)), synthesis(imaginary, healpix_grid(8)))
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)


def test_rotated_gradient_is_the_gradient_of_the_rotated_function():
    """grad (v.p) = v - (v.p) p, in components (south, east), has spin 1 and a_lm = -sqrt(l(l+1)) f_lm."""
    alm = torch.zeros(2, 3, dtype=torch.complex128)
    v = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    alm[1, 1] = math.sqrt(4 * math.pi / 3) * v[2]
    alm[1, 2] = -math.sqrt(2 * math.pi / 3) * torch.complex(v[0], -v[1])
    alm[1, 0] = -alm[1, 2].conj()
    rotation = random_rotations(1, torch.Generator().manual_seed(5))[0]
    theta, phi = pixel_to_angle(8, torch.arange(768))
    zero = torch.zeros_like(phi)
    south = torch.stack([theta.cos() * phi.cos(), theta.cos() * phi.sin(), -theta.sin()], dim=-1)
    east = torch.stack([-phi.sin(), phi.cos(), zero], dim=-1)
    expected = torch.complex(south @ rotation @ v, east @ rotation @ v)
    found = synthesis(rotate_coefficients(-math.sqrt(2) * alm, rotation), healpix_grid(8), 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_nested_is_the_same_map_in_another_order():
    alm = fields(20, 2)
    in_rings, in_nest = healpix_grid(16), healpix_grid(16, nested=True)
    ring, nested = synthesis(alm, in_rings), synthesis(alm, in_nest)
    torch.testing.assert_close(nested, ring[:, nested_to_ring(16, torch.arange(3072))], rtol=0, atol=0)
    torch.testing.assert_close(
        analysis(nested, in_nest, 20), analysis(ring, in_rings, 20), rtol=0, atol=1e-13
    )


def test_any_leading_dimensions():
    alm, grid = fields(5, 6), healpix_grid(4)
    values = synthesis(alm, grid)
    torch.testing.assert_close(synthesis(alm.reshape(2, 3, 6, 6), grid), values.reshape(2, 3, -1))
    torch.testing.assert_close(synthesis(alm[0], grid), values[0])
    torch.testing.assert_close(
        analysis(values.reshape(3, 2, -1), grid, 5), analysis(values, grid, 5).reshape(3, 2, 6, 6)
    )


def test_single_precision_stays_single():
    alm = fields(16, 1)
    values = synthesis(alm.to(torch.complex64), healpix_grid(8))
    assert values.dtype == torch.float32
    # 17^2 terms of size one, rounded to 6e-8 each.
    torch.testing.assert_close(values.double(), synthesis(alm, healpix_grid(8)), rtol=0, atol=1e-4)
    assert analysis(values, healpix_grid(8), 16).dtype == torch.complex64


def test_tables_made_in_inference_mode_serve_autograd():
    with torch.inference_mode():
        synthesis(fields(7, 1), healpix_grid(2))
    alm = fields(7, 1).requires_grad_()
    synthesis(alm, healpix_grid(2)).square().sum().backward()
    assert alm.grad is not None and alm.grad.isfinite().all()


def test_derivatives():
    alm = fields(3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: synthesis(a, healpix_grid(2)), alm)
    generator = torch.Generator().manual_seed(6)
    values = torch.randn(1, 48, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: analysis(v, healpix_grid(2), 3, iterations=1), values)


def test_bad_input_is_named():
    with pytest.raises(MapError, match="float64"):
        synthesis(torch.zeros(3, 3, dtype=torch.float64), healpix_grid(2))
    with pytest.raises(MapError, match=r"\(3, 5\)"):
        synthesis(torch.zeros(3, 5, dtype=torch.complex128), healpix_grid(2))
    with pytest.raises(MapError, match=r"2 lmax \+ 1"):
        synthesis(torch.zeros(3, 3, dtype=torch.complex128), healpix_grid(2), 1)
    with pytest.raises(GeometryError, match="nside"):
        healpix_grid(3)
    with pytest.raises(MapError, match="int64"):
        analysis(torch.zeros(48, dtype=torch.int64), healpix_grid(2), 2)
    with pytest.raises(MapError, match="47"):
        analysis(torch.zeros(47, dtype=torch.float64), healpix_grid(2), 2)
    with pytest.raises(MapError, match="UNSEEN"):
        analysis(torch.full((48,), hp.UNSEEN, dtype=torch.float64), healpix_grid(2), 2)
    with pytest.raises(MapError, match="NaN"):
        analysis(torch.full((48,), math.nan, dtype=torch.complex128), healpix_grid(2), 2, spin=1)
    with pytest.raises(MapError, match="float64"):
        analysis(torch.zeros(48, dtype=torch.float64), healpix_grid(2), 2, spin=1)
    with pytest.raises(GeometryError, match="lmax=6"):
        analysis(torch.zeros(48, dtype=torch.float64), healpix_grid(2), 6)
    with pytest.raises(GeometryError, match="iterations=-1"):
        analysis(torch.zeros(48, dtype=torch.float64), healpix_grid(2), 2, iterations=-1)
    with pytest.raises(GeometryError, match="lmax=4"):
        analysis(torch.zeros(32, dtype=torch.float64), gauss_legendre(4), 4)


@pytest.mark.parametrize("grid", [healpix_grid(4), gauss_legendre(8), equiangular(9, poles=True)], ids=repr)
@pytest.mark.parametrize("bad", [math.nan, math.inf, hp.UNSEEN, 1e20, 9.969209968386869e36])
def test_bad_values_are_refused_on_every_grid(grid, bad):
    values = torch.zeros(2, grid.n_points, dtype=torch.float32)
    values[1, 5] = bad
    with pytest.raises(BadValueError, match=rf"1 of {grid.n_points} points are .*\[5\]"):
        analysis(values, grid, 3)
    with pytest.raises(BadValueError, match=r"\[5\]"):
        analysis(torch.complex(values, values), grid, 3, spin=1)


def test_degrees_that_healpix_recovers_badly_are_not_given_without_a_word():
    grid, alm = healpix_grid(8), fields(23, 2)
    with pytest.warns(UserWarning, match=r"lmax=23 .*use lmax <= 16"):
        found = analysis(synthesis(alm, grid), grid, 23)
    assert 0.03 < (found - alm).norm() / alm.norm() < 0.3  # the tenth of which it speaks
    assert grid.lmax_accurate == 16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # the input's degrees beyond lmax would be seen as lower ones
        found = analysis(synthesis(alm[:, :17, :17], grid), grid, 16)
        analysis(synthesis(alm, grid), grid, 23, iterations=3)
        analysis(synthesis(alm, gauss_legendre(24)), gauss_legendre(24), 23)
    assert (found - alm[:, :17, :17]).norm() / alm.norm() < 3e-5


@pytest.mark.parametrize("grid", [gauss_legendre(3, 5), healpix_grid(1)], ids=repr)
@pytest.mark.parametrize("spin", [None, 1])
def test_an_empty_batch_has_no_values(grid, spin):
    values = torch.zeros(0, 2, grid.n_points, dtype=torch.float64 if spin is None else torch.complex128)
    alm = analysis(values, grid, 1, spin)
    assert alm.shape == (0, 2, 2, 2 if spin is None else 3)
    assert synthesis(alm, grid, spin).shape == values.shape


def test_a_degree_may_be_numpys():
    values = torch.arange(32.0)
    assert torch.equal(
        analysis(values, gauss_legendre(4), np.int64(3)), analysis(values, gauss_legendre(4), 3)
    )
