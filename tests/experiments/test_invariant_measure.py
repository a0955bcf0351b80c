"""Sums over points of the sphere are invariant as far as their weights are areas."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tests.example import example

measure = example("invariant_measure")
FAIR = ("HEALPix", "icosphere, areas", "lat-lon, areas")
SUMS = {k: measure.sums(k) for k in (2, 3, 4)}


@pytest.mark.parametrize("name", SUMS[2])
def test_weights_sum_to_one_and_points_lie_on_the_sphere(name):
    points, weights = SUMS[3][name]
    assert weights.sum().item() == pytest.approx(1, abs=1e-14)
    assert (points.norm(dim=1) - 1).abs().max() < 1e-14


@pytest.mark.parametrize("f", measure.MEANS, ids=lambda f: f.__name__)
def test_the_means_are_those_of_the_functions(f):
    # ∫ f(cos r) dp / 4π = ½ ∫ f(z) dz
    z = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 100_000 - 1
    assert f(z).mean().item() == pytest.approx(measure.MEANS[f], rel=1e-4)


@pytest.mark.parametrize("name", FAIR)
def test_with_areas_errors_fall_with_the_square_of_the_spacing(name):
    errors = [measure.rms(measure.errors(SUMS[k][name], measure.bump)) for k in (2, 3, 4)]
    assert all(3.5 < a / b < 4.8 for a, b in pairwise(errors))


def test_counted_alike_they_do_not_fall():
    for name, least in (("icosphere, alike", 6e-3), ("lat-lon, alike", 0.4)):
        assert all(measure.rms(measure.errors(SUMS[k][name], measure.bump)) > least for k in (2, 3, 4))


def test_on_a_grid_counted_alike_a_bump_weighs_more_at_the_pole_by_known_factors():
    # ∫ exp(κ (c·p − 1)) dθ dφ / 2π²: e^{−κ} I₀(κ) at the pole, e^{−κ} I₀(κ/2)² at the equator
    kappa = torch.tensor(measure.CONCENTRATION, dtype=torch.float64)
    i0e = torch.special.i0e
    expected = torch.stack([i0e(kappa), i0e(kappa / 2) ** 2]) / measure.MEANS[measure.bump]
    torch.testing.assert_close(expected, torch.tensor([2.5567, 0.6737]).double(), rtol=0, atol=1e-4)
    centres = torch.tensor([[0.0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    found = SUMS[4]["lat-lon, alike"](measure.bump, centres) / measure.MEANS[measure.bump]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_one_squared_coordinate_weighs_twice_another():
    axes = torch.eye(3, dtype=torch.float64)
    found = SUMS[3]["lat-lon, alike"](torch.square, axes)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64))
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(SUMS[3]["lat-lon, quadrature"](torch.square, axes), third)


def test_the_icosphere_counted_alike_is_right_up_to_degree_five_by_symmetry():
    centres = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    centres = centres / centres.norm(dim=1, keepdim=True)
    for name in ("icosphere, alike", "icosphere, areas"):
        for degree in range(6):
            found = SUMS[3][name](lambda z, d=degree: z**d, centres)
            mean = 0 if degree % 2 else 1 / (degree + 1)
            assert (found - mean).abs().max() < 1e-14, (name, degree)
    # the first other invariant of the icosahedron's group has degree 6, and the uneven points hold it
    for k in (3, 4):
        assert (SUMS[k]["icosphere, alike"](lambda z: z**6, centres) - 1 / 7).std() > 1e-4


def test_quadrature_is_exact_below_the_number_of_rings():
    centres = torch.tensor([[0.48, 0.6, 0.64]], dtype=torch.float64)
    for degree in range(10):  # ten rings
        found = SUMS[2]["lat-lon, quadrature"](lambda z, d=degree: z**d, centres)
        assert found.item() == pytest.approx(0 if degree % 2 else 1 / (degree + 1), abs=1e-14)
    assert abs(SUMS[2]["lat-lon, quadrature"](lambda z: z**10, centres).item() - 1 / 11) > 1e-6
