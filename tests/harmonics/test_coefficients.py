"""Layouts of coefficients: healpy's packing, both signs of m, gradient and curl, polarisation, power."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geocnn.errors import MapError
from geocnn.groups.rotations import random_rotations
from geocnn.harmonics import (
    alm_from_healpy,
    alm_to_healpy,
    eb_from_spin,
    healpix_grid,
    polarisation_from_spin,
    power_spectrum,
    random_coefficients,
    real_part,
    rotate_coefficients,
    signed_orders,
    spin_from_eb,
    spin_from_polarisation,
    synthesis,
)
from geocnn.harmonics.fields import conjugate

hp = pytest.importorskip("healpy")


def fields(lmax: int, n: int, seed: int = 0) -> torch.Tensor:
    return random_coefficients(lmax, n, torch.Generator().manual_seed(seed))


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


def test_power_of_all_orders_is_that_of_the_real_layout():
    alm = fields(9, 2)
    torch.testing.assert_close(power_spectrum(signed_orders(alm)), power_spectrum(alm), rtol=1e-13, atol=0)


def test_real_and_imaginary_part():
    a, b = fields(6, 2)
    both = signed_orders(a) + 1j * signed_orders(b)
    torch.testing.assert_close(real_part(both), a, rtol=0, atol=1e-15)
    torch.testing.assert_close(real_part(-1j * both), b, rtol=0, atol=1e-15)


@pytest.mark.parametrize("spin", [-1, 0, 1, 2])
def test_conjugated_coefficients_are_those_of_the_conjugate(spin):
    generator = torch.Generator().manual_seed(0)
    alm = torch.randn(7, 13, dtype=torch.complex128, generator=generator)
    grid = healpix_grid(4)
    found = synthesis(conjugate(alm, spin), grid, -spin)
    torch.testing.assert_close(found, synthesis(alm, grid, spin).conj(), rtol=0, atol=1e-13)


def test_gradient_and_curl_come_back():
    gradient, curl = fields(6, 2)
    found = eb_from_spin(spin_from_eb(gradient, curl))
    torch.testing.assert_close(found, (gradient, curl), rtol=0, atol=1e-15)


def test_polarisation_is_healpys_in_its_own_convention():
    """healpy's alm2map of (T, E, B) gives Q and U in the COSMO convention."""
    e, b = fields(12, 2)
    e[:2], b[:2] = 0, 0
    packed = [alm_to_healpy(part).numpy() for part in (torch.zeros_like(e), e, b)]
    _, q, u = (torch.tensor(part) for part in hp.alm2map(packed, 8, lmax=12, pol=True))
    values = synthesis(spin_from_eb(e, b), healpix_grid(8), 2)
    torch.testing.assert_close(spin_from_polarisation(q, u, "COSMO"), values, rtol=0, atol=1e-12)
    torch.testing.assert_close(spin_from_polarisation(q, -u, "IAU"), values, rtol=0, atol=1e-12)
    for convention in ("COSMO", "IAU"):
        stokes = polarisation_from_spin(values, convention)
        torch.testing.assert_close(spin_from_polarisation(*stokes, convention), values, rtol=0, atol=0)
    with pytest.raises(MapError, match="COSMO"):
        spin_from_polarisation(q, u, "cosmo")


def test_rotation_of_a_spin_field_turns_its_components_and_keeps_gradient_apart_from_curl():
    e = fields(8, 1)[0]
    e[:2] = 0
    rotation = random_rotations(1, torch.Generator().manual_seed(3))[0]
    turned = rotate_coefficients(spin_from_eb(e, torch.zeros_like(e)), rotation)
    gradient, curl = eb_from_spin(turned)
    torch.testing.assert_close(gradient, rotate_coefficients(e, rotation), rtol=0, atol=1e-13)
    assert curl.abs().max() < 1e-13


def test_bad_layouts_are_named():
    with pytest.raises(MapError, match="4 coefficients"):
        alm_from_healpy(torch.zeros(4, dtype=torch.complex128))
    with pytest.raises(MapError, match="0 coefficients belong to no lmax"):
        alm_from_healpy(torch.zeros(0, dtype=torch.complex128))
    with pytest.raises(MapError, match="give complex coefficients"):
        alm_from_healpy(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(MapError, match=r"2 lmax \+ 1"):
        eb_from_spin(torch.zeros(3, 3, dtype=torch.complex128))
    with pytest.raises(MapError, match="float32"):
        signed_orders(torch.zeros(3, 3))
