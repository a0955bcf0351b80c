"""Half a pixel: the known values of the step image."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from tests.example import example

F64 = torch.float64
step = example("step_image")


@pytest.mark.parametrize(
    ("place", "image", "answer"),
    [(2.0, [0, 0, 1, 1], [0, 1, 0, 0]), (2.5, [0, 0, 0.5, 1], [0, 0, 0, 0])],
)
def test_half_a_pixel_farther_the_edge_is_gone(place, image, answer):
    f = step.pixels(torch.tensor(place))
    assert f.tolist() == image
    assert step.edges(f).tolist() == answer
    # the true convolution Σ_k a_k f_{j−k} with a₋₁ = 2, a₀ = −2, written out
    padded = [*image, 0]
    assert step.edges(f).tolist() == [max(2 * padded[j + 1] - 2 * padded[j] - 1, 0) for j in range(4)]


def test_the_largest_answer_falls_linearly_to_nothing_at_half_a_pixel():
    t = torch.linspace(0, 1, 21, dtype=F64)
    found = step.edges(step.pixels(2 + t)).amax(-1)
    torch.testing.assert_close(found, (1 - 2 * t).abs(), rtol=0, atol=1e-14)


def test_sub_pixel_shifts_of_periodic_signals_are_exact():
    f = torch.randn(33, dtype=F64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(step.shifted(f, 3), f.roll(3), rtol=0, atol=1e-14)
    torch.testing.assert_close(step.shifted(step.shifted(f, 0.3), 0.7), f.roll(1), rtol=0, atol=1e-14)
    x = 2 * math.pi * torch.arange(33, dtype=F64) / 33
    found = step.shifted(torch.cos(4 * x), 0.25)
    torch.testing.assert_close(found, torch.cos(4 * (x - 2 * math.pi * 0.25 / 33)), rtol=0, atol=1e-14)


def test_convolutions_commute_with_them_and_nonlinearities_do_not():
    assert step.shift_error(step.ACTIVATIONS["linear"]) < 1e-14
    assert all(step.shift_error(f) > 0.2 for name, f in step.ACTIVATIONS.items() if name != "linear")


def test_on_finer_samples_the_smoother_nonlinearity_is_the_sooner_exact():
    # a square has twice the band: two samples a pixel hold it
    assert step.shift_error(torch.square, 2) < 1e-14
    relu, softplus, gelu = (step.ACTIVATIONS[name] for name in ("ReLU", "softplus", "GELU"))
    assert step.shift_error(gelu, 8) < 1e-13
    assert step.shift_error(softplus, 16) < 1e-11
    # a kink's spectrum falls with the square of the frequency
    errors = [step.shift_error(relu, k) for k in (1, 4, 16, 64)]
    assert all(b < a / 8 for a, b in pairwise(errors))
    assert errors[2] > 1e-3
