"""Vector calculus by spin 1: SPHEREPACK's values for a real wind, closed forms, identities."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.data.winds import RADIUS, read_winds
from geocnn.harmonics import analysis, gauss_legendre, random_coefficients, synthesis
from geocnn.harmonics.vector import (
    divergence,
    gradient,
    helmholtz,
    potentials,
    spin_from_wind,
    vorticity,
    wind_from_spin,
)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("kind", ["gaussian", "regular"])
def test_real_winds_have_spherepacks_derivatives_and_potentials(kind):
    grid, u, v, expected = read_winds(kind)
    field = analysis(spin_from_wind(u, v), grid, grid.lmax, spin=1)
    chi, psi = potentials(field, RADIUS)
    truncated = vorticity(field, RADIUS)
    truncated[22:] = 0
    found = {
        "chi": chi,
        "psi": psi,
        "vrt": vorticity(field, RADIUS),
        "div": divergence(field, RADIUS),
        "vrt_trunc": truncated,
    }
    for name, alm in found.items():
        # the reference holds float32 numbers
        assert relative_error(synthesis(alm, grid), expected[name]) < 1e-6, name
    for names, part in (
        (("uchi", "vchi"), helmholtz(field)[0]),
        (("upsi", "vpsi"), helmholtz(field)[1]),
        (("chigradu", "chigradv"), gradient(chi, RADIUS)),
    ):
        for name, component in zip(names, wind_from_spin(synthesis(part, grid, 1)), strict=True):
            # the reference's gradient passed through float32 twice
            assert relative_error(component, expected[name]) < 3e-6, name


def test_gradient_in_closed_form():
    """grad (v.p) = v - (v.p) p: components v.e_theta and v.e_phi."""
    v = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    alm = torch.zeros(2, 2, dtype=torch.complex128)
    alm[1, 0] = math.sqrt(4 * math.pi / 3) * v[2]
    alm[1, 1] = -math.sqrt(2 * math.pi / 3) * torch.complex(v[0], -v[1])
    grid = gauss_legendre(5)
    theta, phi = grid.angles()
    south = torch.stack([theta.cos() * phi.cos(), theta.cos() * phi.sin(), -theta.sin()], -1) @ v
    east = torch.stack([-phi.sin(), phi.cos(), 0 * phi], -1) @ v
    found = synthesis(gradient(alm, radius=2.0), grid, 1)
    torch.testing.assert_close(found, torch.complex(south, east) / 2, rtol=0, atol=1e-14)


def test_solid_rotation_has_vorticity_2_omega_sin_latitude():
    grid = gauss_legendre(4)
    theta, _ = grid.angles()
    field = analysis(spin_from_wind(theta.sin(), 0 * theta), grid, 3, 1)
    torch.testing.assert_close(synthesis(vorticity(field), grid), 2 * theta.cos(), rtol=0, atol=1e-14)
    assert synthesis(divergence(field), grid).abs().max() < 1e-14
    _, psi = potentials(field)
    torch.testing.assert_close(synthesis(psi, grid), -theta.cos(), rtol=0, atol=1e-14)


def test_identities():
    chi, psi = random_coefficients(12, 2, torch.Generator().manual_seed(0))
    chi[0], psi[0] = 0, 0
    field = gradient(chi, 3.0) + 1j * gradient(psi, 3.0)
    torch.testing.assert_close(potentials(field, 3.0), (chi, psi), rtol=0, atol=1e-13)
    laplacian = (-torch.arange(13.0, dtype=torch.float64) * torch.arange(1.0, 14.0, dtype=torch.float64))[
        :, None
    ]
    torch.testing.assert_close(divergence(field, 3.0), laplacian * chi / 9, rtol=0, atol=1e-11)
    torch.testing.assert_close(vorticity(field, 3.0), laplacian * psi / 9, rtol=0, atol=1e-11)
    divergent, rotational = helmholtz(field)
    torch.testing.assert_close(divergent + rotational, field, rtol=0, atol=1e-13)
    assert vorticity(divergent).abs().max() < 1e-12 and divergence(rotational).abs().max() < 1e-12


def test_winds_come_back():
    u, v = torch.randn(2, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(wind_from_spin(spin_from_wind(u, v)), (u, v), rtol=0, atol=0)
