"""The rook: which padding tells two corners apart."""

from __future__ import annotations

import math

import pytest
import torch

from tests.example import example

F64 = torch.float64
rook = example("rook")


@pytest.mark.parametrize(("padding", "largest"), [("valid", [0, 1]), ("same", [0, 1]), ("full", [1, 1])])
@pytest.mark.parametrize("size", [5, 8])
def test_a_single_tap_tells_the_corners_apart_unless_the_convolution_is_full(padding, largest, size):
    assert rook.lower_right_tap(padding, size) == largest


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_convolution_that_sees_the_border_learns_the_place(padding):
    model, losses = rook.train(padding, seed=0)
    assert rook.accuracy(model) == 1
    assert losses[-1] < 0.1


def test_a_full_convolution_stays_at_chance():
    model, losses = rook.train("full", seed=0, starts=1)
    a, b = model(rook.in_corners(rook.ROOK))
    assert torch.equal(a, b)
    assert rook.accuracy(model) == 0.5
    assert losses[-1] == pytest.approx(math.log(2), abs=1e-3)
    assert min(losses) > math.log(2) - 1e-6
