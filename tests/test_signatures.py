"""Declared shapes are checked while tests run; what a function refuses by itself stays its own error."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from geocnn.geometry.core.half_edges import edges_of, following
from tests.signatures import checked


@checked
def scaled(x: Float[Tensor, "n d"], by: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
    if by.ndim != 1:
        raise ValueError("by has one axis")
    return x * by[:, None] if len(by) > 1 else x * by


def test_the_package_is_checked():
    assert following(torch.tensor([0, 2])).tolist() == [1, 0]
    for wrong in (torch.tensor([[0, 2]]), torch.tensor([0.0, 2.0])):
        with pytest.raises(TypeCheckError, match="half_edges"):
            following(wrong)
    with pytest.raises(TypeCheckError, match="faces 3"):
        edges_of(torch.tensor([[0, 1, 2, 3]]), 4)


def test_sizes_of_one_name_must_agree():
    assert scaled(torch.ones(2, 3), torch.ones(2)).shape == (2, 3)
    # broadcasting alone would let this pass
    with pytest.raises(TypeCheckError):
        scaled(torch.ones(2, 3), torch.ones(1))


def test_what_a_function_refuses_stays_its_own_error():
    with pytest.raises(ValueError, match="one axis"):
        scaled(torch.ones(2, 3), torch.ones(2, 1))


def test_traced_functions_are_as_they_are():
    compiled = torch.compile(scaled, backend="eager", fullgraph=True)
    assert torch.equal(compiled(torch.ones(2, 3), torch.ones(2)), torch.ones(2, 3))
