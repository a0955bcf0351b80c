"""Linear layers commute with rotations; nonlinearities as far as the samples tell aliases apart."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import gelu, relu, silu, softplus

from tests.example import example

oversampling = example("oversampling")
TYPES = oversampling.TYPES


@pytest.mark.parametrize("types", TYPES.values())
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_linear_layers_commute_to_rounding(types, dtype, bound):
    assert oversampling.layer_error(types, None, oversampling.gauss(1), 1, dtype=dtype) < bound


@pytest.mark.parametrize("types", TYPES.values())
def test_a_square_is_exact_from_three_halves_on(types):
    """It doubles the band, and what comes back below the bandwidth is wrong only from beyond 1.5 of it."""
    errors = [
        oversampling.layer_error(types, torch.square, oversampling.gauss(k), k, spectrum="white")
        for k in (1, 1.5)
    ]
    assert errors[0] > 0.1
    assert errors[1] < 1e-12


def test_the_curve_falls_and_the_smoother_activation_is_below():
    grids = [(oversampling.gauss(k), k) for k in (1, 2, 4)]
    curves = [
        [oversampling.layer_error(TYPES["S2"], f, *grid) for grid in grids]
        for f in (relu, gelu, silu, softplus)
    ]
    for curve in curves:
        assert all(b < a / 5 for a, b in pairwise(curve))
    at_four = [curve[-1] for curve in curves]
    assert all(b < a / 3 for a, b in pairwise(at_four))


def test_no_oversampling_is_wrong_by_a_fifth():
    """What all the rest is for: the protocol can fail."""
    assert 0.1 < oversampling.layer_error(TYPES["S2"], relu, oversampling.gauss(1), 1) < 0.5


# (bound, activation, input): twice oversampled; the reference has 2.5e-3 with ReLU on white input
BOUNDS = [
    (1e-3, relu, "white"),
    (1e-4, softplus, "white"),
    (1e-4, relu, "smooth"),
    (2e-6, silu, "smooth"),
]


@pytest.mark.parametrize(("bound", "activation", "spectrum"), BOUNDS)
def test_invariants_of_a_network_twice_oversampled(bound, activation, spectrum):
    assert oversampling.network_error(activation, oversampling.gauss(2), 2, spectrum) < bound


def test_healpix_is_limited_by_its_quadrature():
    from geocnn.harmonics import healpix_grid

    errors = [oversampling.network_error(softplus, healpix_grid(n), n / 8, "smooth") for n in (8, 16)]
    assert errors[1] < errors[0] < 3e-4
    assert errors[1] > 1e-6
