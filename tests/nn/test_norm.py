"""FieldNorm: unit mean square a channel, means only where the group acts trivially."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import FieldTypeError, GeometryError
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


# ------------------------------------------------------------------------------------------ one value alone


def test_one_value_alone_is_normalised_by_the_running_moments_and_has_a_gradient():
    norm = FieldNorm("2x0 + 1x1").double()
    norm.running_mean.copy_(torch.tensor([1.0, -2.0]))
    norm.running_power.copy_(torch.tensor([4.0, 9.0, 16.0]))
    x = torch.tensor([[3.0, 4.0, 8.0, 0.0]], dtype=torch.float64, requires_grad=True)
    y = norm(x)
    expected = torch.tensor([[(3 - 1) / 2, (4 + 2) / 3, 8 / 4, 0]], dtype=torch.float64)
    # eps = 1e-5 against a variance of 4
    torch.testing.assert_close(y, expected, rtol=2e-6, atol=0)
    y.sum().backward()
    assert (x.grad > 0).all()
    # distances from the running mean are tracked: 0.9 · 4 + 0.1 · 2², 0.9 · 9 + 0.1 · 6², and 8² / 2 for two
    tracked = torch.tensor([0.9 * 4 + 0.4, 0.9 * 9 + 3.6, 0.9 * 16 + 3.2], dtype=torch.float64)
    torch.testing.assert_close(norm.running_power, tracked)
    torch.testing.assert_close(norm.running_mean, torch.tensor([1.2, -1.4], dtype=torch.float64))


def test_a_stream_of_single_values_is_normalised_in_the_end():
    norm, g = FieldNorm("1x0"), torch.Generator().manual_seed(0)
    values = 5 + 3 * torch.randn(400, 1, 1, generator=g)
    y = torch.cat([norm(v) for v in values])[100:]
    # moments over the last ten or so values are known to a third
    assert y.mean().abs() < 0.2 and 0.7 < y.std() < 1.5


@pytest.mark.parametrize("weight", [None, torch.ones(1)])
def test_an_encoder_learns_from_one_surface_at_a_time(weight):
    norm = FieldNorm("3x0")
    x = torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]])
    assert not torch.equal(norm(x[:1], weight), norm(x[1:], weight))


def test_no_values_change_nothing():
    norm = FieldNorm("1x0 + 1x1")
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert norm(torch.zeros(0, 5, 3)).shape == (0, 5, 3)
    norm(torch.ones(2, 5, 3), torch.zeros(5))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


# ----------------------------------------------------------------------------------------------------- areas


def test_weights_are_areas_of_points_counted_several_times():
    """A point of weight 3 counts as three points of weight 1; one of weight 0 as none."""
    x = random_input()[:, :6]
    count = torch.tensor([3, 1, 0, 2, 1, 5])
    y, repeated = trained()(x, count.double()), trained()(x.repeat_interleave(count, 1))
    torch.testing.assert_close(y.repeat_interleave(count, 1), repeated, rtol=1e-12, atol=1e-12)
    # weights of each example are areas times masks
    masked = count.double().expand(4, 6).clone()
    masked[3] = 0
    torch.testing.assert_close(trained()(x, masked)[:3], trained()(x[:3], count.double()), rtol=1e-12, atol=0)


def test_what_lies_under_weight_zero_changes_nothing_else():
    norm, x = trained(), random_input()[:, :6]
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0, 1.0])
    other = x.clone()
    other[:, 2] = 1e6
    seen = weight > 0
    assert torch.equal(norm(x, weight)[:, seen], trained()(other, weight)[:, seen])


def test_weights_of_other_points_are_a_typed_error():
    with pytest.raises(GeometryError, match=r"weight has shape \[4\], x \[2, 5, 1\]; give one area"):
        FieldNorm("1x0")(torch.zeros(2, 5, 1), torch.ones(4))


def test_derivatives_with_weights_are_those_of_differences():
    norm = trained("1x0 + 1x0 + 1x1")
    norm.momentum = 0.0
    x = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(4, dtype=torch.float64)
    assert torch.autograd.gradcheck(norm, (x, weight))
    assert torch.autograd.gradgradcheck(norm, (x, weight))


# --------------------------------------------------------------------------------- formats and broken values


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_normalised_as_float32(dtype):
    """Squares of 300 overflow in float16, and 80,000 of them do not add up in bfloat16."""
    g = torch.Generator().manual_seed(0)
    x = (300 * torch.randn(8, 10000, 3, generator=g)).to(dtype)
    norm, single = FieldNorm("1x0 + 1x1"), FieldNorm("1x0 + 1x1")
    with torch.autocast("cpu", dtype=dtype):
        y = norm(x)
    assert y.dtype == dtype
    # the last bit of the answer's format, at numbers up to five
    torch.testing.assert_close(y.float(), single(x.float()), rtol=0, atol=8 * torch.finfo(dtype).eps)
    torch.testing.assert_close(norm.running_power, single.running_power, rtol=1e-6, atol=0)


def test_a_module_in_half_precision_keeps_finite_moments():
    norm = FieldNorm("1x0").half()
    x = torch.full((4, 100, 1), 3e4).half() * torch.tensor([1.0, -1.0]).half().repeat(50)[:, None]
    assert norm(x).abs().max() < 1.01
    assert norm.running_power.isfinite().all() and norm.eval()(x).isfinite().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_one_bad_value_is_not_tracked(bad):
    norm, x = FieldNorm("2x0 + 1x1"), random_input()[:, :, :4].float()
    norm(x)
    good = {name: value.clone() for name, value in norm.state_dict().items()}
    broken = x.clone()
    broken[1, 7, 0] = bad  # the first of two scalars
    norm(broken)
    after = norm.state_dict()
    assert torch.equal(after["running_power"][0], good["running_power"][0])
    assert torch.equal(after["running_mean"][0], good["running_mean"][0])
    assert not torch.equal(after["running_mean"][1], good["running_mean"][1])


def test_a_norm_is_one_graph_that_reads_no_value():
    """A value read on the host would be a wait for the device, and a break in the compiled graph."""
    norm = FieldNorm("2x0 + 1x1")
    compiled = torch.compile(norm, fullgraph=True, backend="eager")
    x, weight = torch.randn(3, 5, 4), torch.rand(5)
    assert compiled(x, weight).shape == x.shape
