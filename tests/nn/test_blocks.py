"""ResidualBlock: the input passes beside the convolution, and frames do not matter."""

from __future__ import annotations

import pytest
import torch

from geocnn.geometry import icosphere
from geocnn.groups import FieldType
from geocnn.nn import FieldLinear, ResidualBlock
from tests.nn.gauge import assert_gauge_equivariant, gauge_of

STENCIL = icosphere(2).stencil(0.5, samples=(2, 9))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("2x0 + 2x1", "2x0 + 2x1"),
        ("2x0 + 1x1", "3x0 + 1x1 + 1x2"),
        ("O2: 1x0e + 1x0o + 1x1", "O2: 2x0e + 1x0o + 1x1 + 1x2"),
    ],
)
def test_frames_do_not_matter(source, target):
    in_type, out_type = FieldType(source), FieldType(target)
    torch.manual_seed(0)
    block = ResidualBlock(in_type, out_type, rings=2).double()
    gauge = gauge_of(162, in_type)
    turned = STENCIL.turn_frames(*gauge)
    x = torch.randn(3, 162, in_type.dim, dtype=torch.float64)
    assert_gauge_equivariant(
        block, x, in_type, out_type, lambda v: block(v, STENCIL), lambda v: block(v, turned), gauge, gauge
    )


def silenced(block: ResidualBlock) -> ResidualBlock:
    for weight in block.mix.parameters():
        torch.nn.init.zeros_(weight)
    return block


def test_without_the_convolution_the_input_is_left():
    x = torch.randn(162, 4)
    assert torch.equal(silenced(ResidualBlock("2x0 + 1x1", "2x0 + 1x1"))(x, STENCIL), x)


def test_between_types_the_input_is_mixed_and_new_irreps_come_from_the_convolution_alone():
    x = torch.randn(162, 4)
    block = ResidualBlock("2x0 + 1x1", "3x0 + 1x2")
    assert isinstance(block.shortcut, FieldLinear)
    assert block(x, STENCIL)[:, 3:].abs().max() > 0
    y = silenced(block)(x, STENCIL)
    torch.testing.assert_close(y[:, :3], x[:, :2] @ block.shortcut.weight["0"][0])
    assert (y[:, 3:] == 0).all()
