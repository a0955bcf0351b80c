"""Safe primitives: torch's values away from zero, right derivatives, zero at zero, no under- or overflow."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from geocnn.safe import atan2, norm, normalise

DTYPES = [torch.float32, torch.float64]
# so small that their squares underflow, so large that they overflow
EXTREMES = [(torch.float32, 1e-30), (torch.float32, 1e30), (torch.float64, 1e-200), (torch.float64, 1e200)]


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gradient(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0]


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    # a handful of roundings, relative to the values
    torch.testing.assert_close(a, b, rtol=16 * torch.finfo(a.dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_norm_and_normalise_are_torchs_away_from_zero(dtype, dim):
    x = random(4, 3, 2, dtype=dtype)
    close(norm(x, dim), torch.linalg.vector_norm(x, dim=dim))
    close(normalise(x, dim), torch.nn.functional.normalize(x, dim=dim))


@pytest.mark.parametrize("dtype", DTYPES)
def test_atan2_is_torchs_away_from_zero(dtype):
    y, x = random(200, dtype=dtype), random(200, dtype=dtype, seed=1)
    close(atan2(y, x), torch.atan2(y, x))


def test_atan2_of_the_axes():
    y, x = torch.tensor([[0.0, 1.0, 0.0, -1.0], [1.0, 0.0, -1.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([0, 0.5, 1, -0.5], dtype=torch.float64) * math.pi
    assert torch.equal(atan2(y, x), expected)


def test_atan2_broadcasts():
    y, x = random(3, 1), random(4)
    assert torch.equal(atan2(y, x), atan2(*torch.broadcast_tensors(y, x)))


def test_derivatives_are_right_to_second_order():
    x = random(5, 3).requires_grad_()
    y, z = random(6, seed=1).requires_grad_(), random(6, seed=2).requires_grad_()
    for function, inputs in [(norm, (x,)), (normalise, (x,)), (atan2, (y, z))]:
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_value_and_first_and_second_derivative_are_zero_at_zero(dtype, zero):
    x = torch.full((2, 3), zero, dtype=dtype, requires_grad=True)
    for function in [norm, normalise, lambda x: atan2(x[..., 0], x[..., 1])]:
        value = function(x)
        first = gradient(value, x)
        second = gradient(first, x)
        for t in (value, first, second):
            assert torch.equal(t, torch.zeros_like(t))


def test_a_zero_row_does_not_disturb_its_neighbours():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    close(gradient(norm(x), x), torch.tensor([[0.0, 0.0], [0.6, 0.8]], dtype=torch.float64))
    close(
        gradient(atan2(x[:, 1], x[:, 0]), x), torch.tensor([[0, 0], [-4 / 25, 3 / 25]], dtype=torch.float64)
    )


@pytest.mark.parametrize(("dtype", "size"), EXTREMES)
def test_values_neither_underflow_nor_overflow(dtype, size):
    x = size * torch.tensor([[3.0, 4.0]], dtype=dtype)
    close(norm(x), size * torch.tensor([5.0], dtype=dtype))
    close(normalise(x), torch.tensor([[0.6, 0.8]], dtype=dtype))
    close(atan2(x[:, 1], x[:, 0]), torch.tensor([math.atan2(4, 3)], dtype=dtype))


@pytest.mark.parametrize(("dtype", "size"), EXTREMES)
def test_derivatives_neither_underflow_nor_overflow(dtype, size):
    x = (size * torch.tensor([[3.0, 4.0]], dtype=dtype)).requires_grad_()
    close(gradient(norm(x), x), torch.tensor([[0.6, 0.8]], dtype=dtype))
    close(gradient(atan2(x[:, 1], x[:, 0]), x), torch.tensor([[-0.16, 0.12]], dtype=dtype) / size)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1e-30), (torch.float64, 1e-200)])
def test_second_derivative_of_the_norm_of_a_tiny_vector_is_the_projector_over_its_length(dtype, size):
    x = (size * torch.tensor([3.0, 4.0], dtype=dtype)).requires_grad_()
    hessian = torch.stack([gradient(g, x) for g in gradient(norm(x), x)])
    projector = torch.tensor([[0.64, -0.48], [-0.48, 0.36]], dtype=dtype)
    close(hessian * size, projector / 5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_vectors_count_as_zero(dtype):
    x = torch.full((3,), torch.finfo(dtype).tiny / 4, dtype=dtype, requires_grad=True)
    assert torch.equal(normalise(x), torch.zeros_like(x))
    assert torch.equal(gradient(norm(x), x), torch.zeros_like(x))


def test_nan_is_passed_on_not_hidden():
    x = torch.tensor([float("nan"), 1.0], dtype=torch.float64)
    assert norm(x).isnan()
    assert normalise(x).isnan().all()
    assert atan2(x[0], x[1]).isnan()
