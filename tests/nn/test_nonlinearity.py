"""Nonlinearities commute with the group, exactly, and have finite derivatives at zero."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.nn import Gated, NormNonlinearity
from tests.nn.gauge import assert_gauge_equivariant, gauge_of

TYPES = [
    "3x0 + 2x1 + 1x2",
    "O2: 2x0e + 2x0o + 2x1",
    "C4: 2x1 + 1x0 + 2x2",
    "D4: 1x2o + 1x0e + 2x1",
    "trivial: 3x0",
]
MODULES = pytest.mark.parametrize("make", [Gated, NormNonlinearity])


@MODULES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("text", TYPES)
def test_frames_do_not_matter(make, text, dtype):
    layer = make(text).to(dtype)
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    gauge = gauge_of(60, layer.in_type)
    x = torch.randn(2, 60, layer.in_type.dim, generator=torch.Generator().manual_seed(0), dtype=dtype)
    assert_gauge_equivariant(layer, x, layer.in_type, layer.out_type, layer, layer, gauge, gauge)


def test_gated_is_the_sigmoid_of_its_own_gate_times_each_copy():
    layer = Gated("1x0 + 2x1")
    x = torch.tensor([[0.3, 1.0, 2.0, 3.0, 4.0, -1.0, 2.0]], dtype=torch.float64)
    gate = torch.tensor([-1.0, 2.0], dtype=torch.float64).sigmoid()
    expected = torch.cat([torch.nn.functional.silu(x[0, :1]), x[0, 1:3] * gate, x[0, 3:5] * gate])
    torch.testing.assert_close(layer(x)[0], expected)


def test_norm_scales_each_copy_by_the_activated_length():
    layer = NormNonlinearity("2x1", activation=torch.nn.functional.relu)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([-1.0, -6.0]))
    x = torch.tensor([[3.0, 3.0, 4.0, 4.0]])
    # length 5: relu(5 − 1)/5 of the first copy, relu(5 − 6) = 0 of the second
    torch.testing.assert_close(layer(x), torch.tensor([[2.4, 0.0, 3.2, 0.0]]))


@MODULES
@pytest.mark.parametrize("text", TYPES)
def test_derivatives_at_zero_are_finite(make, text):
    layer = make(text)
    for p in layer.parameters():
        torch.nn.init.constant_(p, 0.5)
    x = torch.zeros(3, layer.in_type.dim, requires_grad=True)
    y = layer(x)
    assert (y == 0).all()
    found = torch.autograd.grad(y.sum(), [x, *(p for p in layer.parameters() if p.numel())])
    assert all(g.isfinite().all() for g in found)


@MODULES
def test_another_feature_dimension_is_a_typed_error(make):
    layer = make("1x0 + 1x1")
    with pytest.raises(FieldTypeError, match=rf"\[..., points, {layer.in_type.dim}\], got \[5, 9\]"):
        layer(torch.zeros(5, 9))
