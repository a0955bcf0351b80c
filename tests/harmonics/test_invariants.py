"""Clebsch–Gordan coefficients against sympy; the bispectrum, unchanged by rotations."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import GroupError
from geocnn.groups.clebsch_gordan import clebsch_gordan
from geocnn.groups.rotations import random_rotations
from geocnn.harmonics import (
    bispectrum,
    gauss_legendre,
    integral,
    power_spectrum,
    random_coefficients,
    rotate_coefficients,
    signed_orders,
    synthesis,
)
from geocnn.harmonics.invariants import triangles


@pytest.mark.parametrize(
    ("l1", "l2", "l"), [(0, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 2), (3, 2, 4), (2, 4, 3)]
)
def test_clebsch_gordan_are_sympy_s(l1, l2, l):
    cg = pytest.importorskip("sympy.physics.quantum.cg").CG
    found = clebsch_gordan(l1, l2, l)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            expected = float(cg(l1, m1, l2, m2, l, m1 + m2).doit()) if abs(m1 + m2) <= l else 0.0
            assert abs(float(found[m1 + l1, m2 + l2]) - expected) < 1e-14


@pytest.mark.parametrize(
    ("l1", "m1", "l2", "m2", "l"), [(12, 5, 9, -7, 14), (12, 0, 12, 1, 3), (60, 2, 55, 9, 50)]
)
def test_only_the_last_steps_round(l1, m1, l2, m2, l):
    exact = pytest.importorskip("sympy.physics.wigner").clebsch_gordan(l1, l2, l, m1, m2, m1 + m2)
    found = float(clebsch_gordan(l1, l2, l)[m1 + l1, m2 + l2])
    # a division and a root, half a unit of the last place each
    assert found == pytest.approx(float(exact.evalf(30)), rel=4.5e-16)


@pytest.mark.parametrize(("l1", "l2"), [(3, 5), (20, 16), pytest.param(40, 40, marks=pytest.mark.slow)])
def test_clebsch_gordan_are_orthogonal(l1, l2):
    m1, m2 = torch.meshgrid(torch.arange(-l1, l1 + 1), torch.arange(-l2, l2 + 1), indexing="ij")
    # the columns of order 1, over all degrees
    on = (m1 + m2) == 1
    rows = torch.stack([clebsch_gordan(l1, l2, l)[on] for l in range(max(abs(l1 - l2), 1), l1 + l2 + 1)])
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64), rtol=0, atol=1e-12)


def test_no_triangle_is_refused():
    with pytest.raises(GroupError, match="no triangle"):
        clebsch_gordan(1, 1, 3)


def random_function(lmax: int, seed: int = 0) -> torch.Tensor:
    return signed_orders(random_coefficients(lmax, 1, torch.Generator().manual_seed(seed))[0])


def test_the_bispectrum_is_unchanged_by_rotations():
    alm = random_function(6)
    expected = bispectrum(alm)
    for rotation in random_rotations(3, torch.Generator().manual_seed(1)):
        turned = rotate_coefficients(alm, rotation)
        torch.testing.assert_close(
            bispectrum(turned), expected, rtol=0, atol=1e-12 * float(expected.abs().max())
        )


def test_it_tells_what_the_power_spectrum_does_not():
    alm = random_function(4)
    # one degree turned against the others
    other = alm.clone()
    other[2] = rotate_coefficients(alm, random_rotations(1, torch.Generator().manual_seed(2))[0])[2]
    torch.testing.assert_close(power_spectrum(other), power_spectrum(alm))
    assert (bispectrum(other) - bispectrum(alm)).abs().max() > 0.1


def test_where_degrees_sum_to_an_even_number_it_is_an_integral_of_a_product():
    # ∫ f₁ f₂ f₂ = Gaunt coefficient · the bispectrum of degrees 1, 2 and 2 (here 1, 1, 2)
    alm = random_function(2)
    grid = gauss_legendre(8, 16)
    one, two = torch.zeros_like(alm), torch.zeros_like(alm)
    one[1], two[2] = alm[1], alm[2]
    f, g = (synthesis(x[:, 2:], grid) for x in (one, two))
    gaunt = (3 * 3 / (4 * torch.pi * 5)) ** 0.5 * float(clebsch_gordan(1, 1, 2)[1, 1])
    found = bispectrum(alm)[triangles(2).index((1, 1, 2))]
    assert abs(float(integral(f * f * g, grid)) - gaunt * float(found.real)) < 1e-12
    assert abs(float(found.imag)) < 1e-12


def test_gradients():
    alm = random_function(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: torch.view_as_real(bispectrum(a)), (alm,))
