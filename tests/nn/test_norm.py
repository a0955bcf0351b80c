"""FieldNorm: unit mean square a channel, means only where the group acts trivially."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.nn import FieldNorm
from tests.nn.gauge import assert_gauge_equivariant, gauge_of

TEXT = "O2: 2x0e + 1x0o + 2x1 + 1x0e"


def random_input(scale=5.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    return scale * torch.randn(4, 50, 8, generator=g, dtype=torch.float64) + 3


def trained(text=TEXT):
    norm = FieldNorm(text).double()
    torch.manual_seed(0)
    torch.nn.init.normal_(norm.scale)
    torch.nn.init.normal_(norm.shift)
    return norm


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_frames_do_not_matter(training, dtype):
    norm = trained().to(dtype).train(training)
    norm.running_power.fill_(2.5)
    gauge = gauge_of(50, norm.in_type)
    x = random_input().to(dtype)
    # 12 of a mean removed leaves one digit less in float32: input with a smaller mean
    x = x - 2.5
    assert_gauge_equivariant(norm, x, norm.in_type, norm.out_type, norm, norm, gauge, gauge)


def test_output_has_unit_mean_square_and_invariants_no_mean():
    norm = FieldNorm(TEXT).double()
    y = norm(random_input()).flatten(0, 1)
    invariant = y[:, [0, 1, 7]]
    torch.testing.assert_close(invariant.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    # eps = 1e-5 against a variance of 25
    torch.testing.assert_close(invariant.var(0, correction=0), torch.ones(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(y[:, 2].square().mean(), torch.ones(()).double(), rtol=0, atol=1e-6)
    pairs = y[:, 3:7].unflatten(1, (2, 2)).square().mean((0, 1))
    torch.testing.assert_close(pairs, torch.ones(2).double(), rtol=0, atol=1e-6)


def test_evaluation_with_the_statistics_of_training_is_training():
    norm, x = trained(), random_input()
    norm.momentum = 1.0
    expected = norm(x)
    torch.testing.assert_close(norm.eval()(x), expected, rtol=1e-12, atol=1e-12)


def test_running_statistics_approach_the_inputs():
    norm = FieldNorm("1x0 + 1x1").double()
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        norm(2 * torch.randn(500, 3, generator=g, dtype=torch.float64) + torch.tensor([3.0, 0.0, 0.0]))
    # 60 steps of momentum 0.1 leave 0.9⁶⁰ = 0.2 % of the start; the noise of 500 points, averaged over 20
    # steps
    torch.testing.assert_close(norm.running_mean, torch.tensor([3.0]).double(), rtol=0, atol=0.1)
    torch.testing.assert_close(norm.running_power, torch.tensor([4.0, 4.0]).double(), rtol=0.05, atol=0)


def test_evaluation_changes_no_statistics_and_the_state_has_the_same_keys():
    norm = trained()
    keys = set(norm.state_dict())
    before = norm.eval().running_mean.clone()
    norm(random_input())
    assert torch.equal(norm.running_mean, before)
    assert set(norm.state_dict()) == keys == {"scale", "shift", "running_mean", "running_power"}


def test_a_large_mean_costs_no_digits():
    """E[x²] − E[x]² of float32 numbers near 10⁴ is off by units, and may be negative."""
    norm = FieldNorm("1x0")
    x = torch.randn(1, 4000, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(x + 1e4).std(), torch.tensor(1.0), rtol=0, atol=2e-3)
    # a constant is divided by √eps: 1234.5 / 0.003 of which float32 keeps 7 digits
    assert norm(torch.full((1, 4000, 1), 1234.5)).abs().max() < 0.1


def test_a_field_of_zeros_has_finite_derivatives():
    norm, x = FieldNorm("1x0 + 1x1"), torch.zeros(5, 3, requires_grad=True)
    y = norm(x)
    assert (y == 0).all()
    y.sum().backward()
    assert x.grad.isfinite().all()


def test_another_feature_dimension_is_a_typed_error():
    with pytest.raises(FieldTypeError, match=r"\[..., points, 3\], got \[5, 4\]"):
        FieldNorm("1x0 + 1x1")(torch.zeros(5, 4))
