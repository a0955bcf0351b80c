"""The transform on HEALPix: healpy and SciPy as oracles, closed forms, rotation of maps and of points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from geocnn.errors import GeometryError, MapError
from geocnn.geometry.healpix import nested_to_ring, pixel_to_angle, pixel_to_vector
from geocnn.groups.rotations import random_rotations
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import (
    alm_from_healpy,
    alm_to_healpy,
    analysis,
    power_spectrum,
    random_coefficients,
    spin_analysis,
    spin_synthesis,
    synthesis,
)

hp = pytest.importorskip("healpy")


def fields(lmax: int, n: int, seed: int = 0) -> torch.Tensor:
    return random_coefficients(lmax, n, torch.Generator().manual_seed(seed))


def signed(alm: torch.Tensor) -> torch.Tensor:
    """The orders -lmax .. lmax of a real function."""
    sign = (-1) ** torch.arange(1, alm.shape[-1])
    return torch.cat([(sign * alm[..., 1:].conj()).flip(-1), alm], dim=-1)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


@pytest.mark.parametrize("nside, lmax", [(1, 5), (4, 0), (8, 23), (16, 80), (64, 128)])
def test_synthesis_is_healpys_alm2map(nside, lmax):
    """Also far above the band limit of the grid, where orders fold onto each other."""
    alm = fields(lmax, 2)
    found = synthesis(alm, nside)
    for i in range(2):
        expected = hp.alm2map(alm_to_healpy(alm[i]).numpy(), nside, lmax=lmax)
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("nside, lmax", [(1, 2), (8, 23), (32, 64)])
@pytest.mark.parametrize("iterations", [0, 3])
def test_analysis_is_healpys_map2alm(nside, lmax, iterations):
    """On white noise, which no band limit helps."""
    noise = torch.randn(12 * nside**2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = hp.map2alm(noise.numpy(), lmax=lmax, iter=iterations, use_pixel_weights=False)
    found = alm_to_healpy(analysis(noise, lmax, iterations)).numpy()
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
    torch.testing.assert_close(synthesis(alm, nside), expected, rtol=0, atol=1e-12)


def test_constant_and_cosine():
    alm = torch.zeros(2, 2, 2, dtype=torch.complex128)
    alm[0, 0, 0] = math.sqrt(4 * math.pi)
    alm[1, 1, 0] = math.sqrt(4 * math.pi / 3)
    theta, _ = pixel_to_angle(8, torch.arange(768))
    expected = torch.stack([torch.ones_like(theta), torch.cos(theta)])
    torch.testing.assert_close(synthesis(alm, 8), expected, rtol=0, atol=1e-14)
    # Equal weights integrate degree 2 to 1e-3 at nside 8; every iteration gains as much again.
    torch.testing.assert_close(analysis(expected, 1, iterations=6), alm, rtol=0, atol=1e-10)


@pytest.mark.parametrize("nside, without, with_three", [(32, 5.0e-3, 8.5e-6), (64, 2.3e-3, 3.6e-6)])
def test_analysis_error_is_that_of_the_method(nside, without, with_three):
    """Published for map2alm at lmax = 2 nside; the draw of the field moves it by up to a factor of two."""
    alm = fields(2 * nside, 3)
    values = synthesis(alm, nside)
    assert without / 2.5 < relative_error(analysis(values, 2 * nside, iterations=0), alm) < 1.5 * without
    assert with_three / 2.5 < relative_error(analysis(values, 2 * nside), alm) < 1.5 * with_three


def test_rotated_coefficients_give_the_rotated_function():
    """(R f)(p) = f(R^-1 p): at degree 1, f(p) = v.p, in closed form at every pixel."""
    alm = torch.zeros(2, 2, dtype=torch.complex128)
    v = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    alm[1, 0] = math.sqrt(4 * math.pi / 3) * v[2]
    alm[1, 1] = -math.sqrt(2 * math.pi / 3) * torch.complex(v[0], -v[1])
    points = pixel_to_vector(8, torch.arange(768))
    torch.testing.assert_close(synthesis(alm, 8), points @ v, rtol=0, atol=1e-14)
    rotations = random_rotations(3, torch.Generator().manual_seed(2))
    expected = torch.stack([(points @ r) @ v for r in rotations])
    torch.testing.assert_close(
        synthesis(rotate_coefficients(alm, rotations), 8), expected, rtol=0, atol=1e-13
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
    alm = -(signed(gradient) + 1j * signed(curl))
    packed = [alm_to_healpy(gradient).numpy(), alm_to_healpy(curl).numpy()]
    real, imaginary = hp.alm2map_spin(packed, nside, spin, lmax)
    values = spin_synthesis(alm, spin, nside)
    np.testing.assert_allclose(values.numpy(), real + 1j * imaginary, rtol=0, atol=1e-10)
    found = spin_analysis(values, spin, lmax, iterations=0)
    packed = hp.map2alm_spin([real, imaginary], spin, lmax=lmax)
    gradient, curl = (signed(alm_from_healpy(torch.tensor(part))) for part in packed)
    torch.testing.assert_close(found, -(gradient + 1j * curl), rtol=0, atol=1e-10)


@pytest.mark.parametrize("spin", [-2, 0, 1, 4])
def test_spin_transform_inverts(spin):
    lmax = 16
    generator = torch.Generator().manual_seed(3)
    alm = torch.randn(2, lmax + 1, 2 * lmax + 1, dtype=torch.complex128, generator=generator)
    degree, order = torch.arange(lmax + 1)[:, None], torch.arange(-lmax, lmax + 1)
    alm = torch.where((order.abs() <= degree) & (degree >= abs(spin)), alm, 0)
    values = spin_synthesis(alm, spin, 16, nested=True)
    # At lmax = nside every iteration gains three digits.
    found = spin_analysis(values, spin, lmax, iterations=8, nested=True)
    torch.testing.assert_close(found, alm, rtol=0, atol=1e-10)


def test_spin_zero_is_the_complex_scalar_transform():
    real, imaginary = fields(10, 2)
    values = spin_synthesis(signed(real) + 1j * signed(imaginary), 0, 8)
    expected = torch.complex(synthesis(real, 8), synthesis(imaginary, 8))
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
    found = spin_synthesis(rotate_coefficients(-math.sqrt(2) * alm, rotation), 1, 8)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_nested_is_the_same_map_in_another_order():
    alm = fields(20, 2)
    ring = synthesis(alm, 16)
    nested = synthesis(alm, 16, nested=True)
    torch.testing.assert_close(nested, ring[:, nested_to_ring(16, torch.arange(3072))], rtol=0, atol=0)
    torch.testing.assert_close(analysis(nested, 20, nested=True), analysis(ring, 20), rtol=0, atol=1e-13)


def test_any_leading_dimensions():
    alm = fields(5, 6)
    values = synthesis(alm, 4)
    torch.testing.assert_close(synthesis(alm.reshape(2, 3, 6, 6), 4), values.reshape(2, 3, -1))
    torch.testing.assert_close(synthesis(alm[0], 4), values[0])
    torch.testing.assert_close(analysis(values.reshape(3, 2, -1), 5), analysis(values, 5).reshape(3, 2, 6, 6))


def test_single_precision_stays_single():
    alm = fields(16, 1)
    values = synthesis(alm.to(torch.complex64), 8)
    assert values.dtype == torch.float32
    # 17^2 terms of size one, rounded to 6e-8 each.
    torch.testing.assert_close(values.double(), synthesis(alm, 8), rtol=0, atol=1e-4)
    assert analysis(values, 16).dtype == torch.complex64


def test_tables_made_in_inference_mode_serve_autograd():
    with torch.inference_mode():
        synthesis(fields(7, 1), 2)
    alm = fields(7, 1).requires_grad_()
    synthesis(alm, 2).square().sum().backward()
    assert alm.grad is not None and alm.grad.isfinite().all()


def test_derivatives():
    alm = fields(3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: synthesis(a, 2), alm)
    generator = torch.Generator().manual_seed(6)
    values = torch.randn(1, 48, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: analysis(v, 3, iterations=1), values)


def test_random_coefficients_are_white():
    n = 4000
    alm = fields(6, n)
    assert (alm[..., 0].imag == 0).all() and (alm.triu(1) == 0).all()
    # A mean of n (2l + 1) squared unit normals has standard error sqrt(2 / n (2l + 1)) at most; five of them.
    assert (power_spectrum(alm).mean(0) - 1).abs().max() < 5 * math.sqrt(2 / n)
    # The same for real and imaginary part of every order, variance 1/2 each.
    assert (alm[:, 6, 1:].real.square().mean(0) - 0.5).abs().max() < 5 * math.sqrt(0.5 / n)
    assert (alm[:, 6, 1:].imag.square().mean(0) - 0.5).abs().max() < 5 * math.sqrt(0.5 / n)
    assert torch.equal(alm, fields(6, n))


def test_power_is_healpys_and_survives_rotation():
    alm = fields(20, 2)
    expected = hp.alm2cl(alm_to_healpy(alm[0]).numpy())
    np.testing.assert_allclose(power_spectrum(alm)[0].numpy(), expected, rtol=1e-12)
    rotations = random_rotations(2, torch.Generator().manual_seed(7))
    turned = power_spectrum(rotate_coefficients(alm, rotations))
    torch.testing.assert_close(turned, power_spectrum(alm), rtol=1e-12, atol=0)


def test_healpy_layout():
    lmax = 7
    packed = torch.arange(hp.Alm.getsize(lmax)).to(torch.complex128)
    alm = alm_from_healpy(packed)
    l, m = hp.Alm.getlm(lmax)
    assert torch.equal(alm[l, m], packed)
    assert torch.equal(alm_to_healpy(alm), packed)


def test_bad_input_is_named():
    with pytest.raises(MapError, match="float64"):
        synthesis(torch.zeros(3, 3, dtype=torch.float64), 2)
    with pytest.raises(MapError, match=r"\(3, 5\)"):
        synthesis(torch.zeros(3, 5, dtype=torch.complex128), 2)
    with pytest.raises(MapError, match=r"2 lmax \+ 1"):
        spin_synthesis(torch.zeros(3, 3, dtype=torch.complex128), 1, 2)
    with pytest.raises(GeometryError, match="nside"):
        synthesis(torch.zeros(3, 3, dtype=torch.complex128), 3)
    with pytest.raises(MapError, match="int64"):
        analysis(torch.zeros(48, dtype=torch.int64), 2)
    with pytest.raises(MapError, match="47"):
        analysis(torch.zeros(47, dtype=torch.float64), 2)
    with pytest.raises(MapError, match="UNSEEN"):
        analysis(torch.full((48,), hp.UNSEEN, dtype=torch.float64), 2)
    with pytest.raises(MapError, match="NaN"):
        spin_analysis(torch.full((48,), math.nan, dtype=torch.complex128), 1, 2)
    with pytest.raises(MapError, match="float64"):
        spin_analysis(torch.zeros(48, dtype=torch.float64), 1, 2)
    with pytest.raises(GeometryError, match="lmax=6"):
        analysis(torch.zeros(48, dtype=torch.float64), 6)
    with pytest.raises(GeometryError, match="iterations=-1"):
        analysis(torch.zeros(48, dtype=torch.float64), 2, iterations=-1)
    with pytest.raises(MapError, match="4 coefficients"):
        alm_from_healpy(torch.zeros(4, dtype=torch.complex128))
