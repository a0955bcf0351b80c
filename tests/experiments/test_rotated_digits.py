"""Rotated digits: the protocol, and what each network makes of a quarter turn."""

from __future__ import annotations

import math

import pytest
import torch

from tests.example import example

rotated = example("rotated_digits")
F64 = torch.float64


def quarter_turn_error(name: str) -> float:
    torch.manual_seed(0)
    x, network = torch.rand(4, 1, 28, 28, dtype=F64), rotated.build(name).to(F64)
    with torch.no_grad():
        network(x)  # norms take their statistics
        y = network.eval()(x)
        return float((network(x.rot90(1, (2, 3))) - y).abs().max() / y.std())


@pytest.mark.parametrize("name", ["C4", "C8", "SO(2)"])
def test_quarter_turns_change_nothing(name):
    assert quarter_turn_error(name) < 1e-13


def test_but_for_plain_convolutions():
    assert quarter_turn_error("plain") > 1e-3


def test_turning_by_a_quarter_takes_pixels_to_pixels():
    x = torch.rand(2, 1, 28, 28, dtype=F64)
    found = rotated.turned(x, torch.full((2,), math.pi / 2, dtype=F64))
    assert any(torch.allclose(found, x.rot90(k, (2, 3)), atol=1e-12) for k in (1, 3))
    back = rotated.turned(found, torch.full((2,), -math.pi / 2, dtype=F64))
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)


def test_the_protocol_is_a_function_of_its_seed():
    x, y = rotated.turned_digits()
    assert x.shape == (62_000, 1, 28, 28)
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)
    # written down once; other digits would make another table
    assert y[:10].tolist() == [0, 9, 2, 9, 9, 0, 1, 2, 5, 1]
    counts = y[:12_000].bincount()
    assert counts.min() > 1000 and counts.max() < 1400
