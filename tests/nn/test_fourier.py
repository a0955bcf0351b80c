"""The Fourier nonlinearity: exact where samples go over into samples, else off by what its page says."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from geocnn.errors import FieldTypeError
from geocnn.groups.field_type import FieldType
from geocnn.nn import FourierNonlinearity


def field_type(order: int) -> FieldType:
    return FieldType(" + ".join(f"3x{n}" for n in range(order + 1)))


@pytest.mark.parametrize("order", [0, 1, 3])
def test_shifts_by_samples_are_exact(order):
    layer = FourierNonlinearity(field_type(order), F.relu, samples=2 * order + 3).double()
    x = torch.randn(50, layer.in_type.dim, dtype=torch.float64)
    turn = torch.full((50,), 2 * math.pi * 2 / (2 * order + 3), dtype=torch.float64)
    torch.testing.assert_close(
        layer(layer.in_type.act(x, turn)), layer.in_type.act(layer(x), turn), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("group", ["C4", "C5", "C8"])
def test_it_is_exact_for_the_regular_representation(group):
    regular = FieldType.regular(group, 2)
    layer = FourierNonlinearity(regular, F.relu).double()
    x = torch.randn(20, regular.dim, dtype=torch.float64)
    n = regular.group.rotations
    for k in range(n):
        turn = torch.full((20,), 2 * math.pi * k / n, dtype=torch.float64)
        torch.testing.assert_close(
            layer(regular.act(x, turn)), regular.act(layer(x), turn), rtol=0, atol=1e-13
        )


def test_answers_do_not_depend_on_the_order_in_memory():
    layer = FourierNonlinearity(field_type(2), F.relu).double()
    x = torch.randn(4, 5, layer.in_type.dim, dtype=torch.float64)
    batch_inner = x.movedim(0, -1).contiguous().movedim(-1, 0)
    assert batch_inner.stride(0) == 1
    found = layer(batch_inner)
    torch.testing.assert_close(found, layer(x), rtol=0, atol=1e-14)
    assert found.stride(0) == 1  # and the next layer gets them as this one did


# as the class says, and that 7 samples at order 2 are off by 9 %
ALIASING = {
    (1, F.relu): (0.30, 0.060, 0.020, 0.0049),
    (1, F.silu): (0.32, 0.034, 0.0031, 0.00003),
    (2, F.relu): (0.31, 0.092, 0.027, 0.0064),
    (2, F.silu): (0.34, 0.077, 0.011, 0.0002),
    (3, F.relu): (0.32, 0.15, 0.031, 0.0072),
    (3, F.silu): (0.34, 0.17, 0.018, 0.0007),
}


@pytest.mark.parametrize(("order", "activation"), ALIASING)
def test_the_aliasing_it_states_is_what_it_has(order, activation):
    g = torch.Generator().manual_seed(1)
    t = field_type(order)
    x = torch.randn(4000, t.dim, dtype=torch.float64, generator=g)
    turn = 2 * math.pi * torch.rand(4000, dtype=torch.float64, generator=g)
    counts = 2 * order + 1, 2 * order + 3, 4 * order + 4, 8 * order + 8
    for samples, stated in zip(counts, ALIASING[order, activation], strict=True):
        layer = FourierNonlinearity(t, activation, samples).double()
        error = layer(t.act(x, turn)) - t.act(layer(x), turn)
        # 12,000 functions of three kinds of error: a few per cent; two digits are stated
        assert float(error.norm() / layer(x).norm()) == pytest.approx(stated, rel=0.12, abs=1e-5)


def test_it_acts_on_the_values_of_the_function():
    layer = FourierNonlinearity("1x0 + 1x1", torch.square, samples=5).double()
    # (a + √2 b cos γ)² = a² + b² + 2√2 a b cos γ + b² cos 2γ, of which the last is no longer held
    found = layer(torch.tensor([[[3.0, 2.0, 0.0]]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([[[13.0, 12.0, 0.0]]], dtype=torch.float64))


def test_the_order_of_blocks_does_not_matter():
    one, other = FourierNonlinearity("2x0 + 2x1"), FourierNonlinearity("1x1 + 2x0 + 1x1")
    x = torch.randn(4, 7, 6)
    moved = torch.cat([x[..., [2, 4]], x[..., :2], x[..., [3, 5]]], -1)
    y = one(x)
    torch.testing.assert_close(other(moved), torch.cat([y[..., [2, 4]], y[..., :2], y[..., [3, 5]]], -1))


def test_gradients():
    layer = FourierNonlinearity("2x0 + 2x1 + 2x2").double()
    x = torch.randn(2, 3, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


def test_what_is_no_function_on_the_fibre_is_refused():
    for bad in ("2x0 + 1x1", "1x1", "1x0 + 1x2"):
        with pytest.raises(FieldTypeError, match="no sum of functions"):
            FourierNonlinearity(bad)
    with pytest.raises(FieldTypeError, match="O2 has flips"):
        FourierNonlinearity("O2: 1x0e + 1x1")
    with pytest.raises(FieldTypeError, match="at least 5 samples"):
        FourierNonlinearity("1x0 + 1x1 + 1x2", samples=4)


@pytest.mark.parametrize("text", ["4x0 + 4x1", "4x1 + 2x0 + 2x0"])
def test_it_does_not_matter_how_a_batch_lies_in_memory(text):
    layer = FourierNonlinearity(text).double()
    x = torch.randn(5, 20, layer.in_type.dim, dtype=torch.float64)
    node_major = x.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert node_major.stride(0) == 1
    torch.testing.assert_close(layer(node_major), layer(x), rtol=0, atol=1e-14)
