"""The path at full resolution: where its blocks stand, that each weight matters, and the control."""

from __future__ import annotations

import pytest
import torch

from geocnn.geometry import Hierarchy, icosphere
from geocnn.groups import FieldType
from geocnn.nn import SurfaceEncoder, SurfaceUNet
from tests.nn.gauge import assert_gauge_equivariant, gauge_of


def test_pointwise_blocks_are_spread_behind_the_convolutions_of_the_finest_level():
    def kinds(convs: int, pointwise: int) -> list[str]:
        model = SurfaceEncoder("1x0", ["2x0 + 1x1"] * 2, 3, convs=[convs, 1], pointwise=pointwise)
        assert [type(b).__name__ for b in model.within[1].children()] == ["ResidualBlock"]
        return [type(b).__name__[0] for b in model.within[0].children()]

    assert kinds(1, 2) == ["R", "P", "P"] and kinds(2, 3) == ["R", "P", "P", "R", "P"]
    assert kinds(0, 2) == ["P", "P"] and kinds(2, 0) == ["R", "R"]


@pytest.mark.parametrize("convs", [[1, 2, 1], [0, 1, 1]], ids=str)
@pytest.mark.parametrize("in_type", ["1x0 + 1x1", "1x0"])
@pytest.mark.parametrize("task", ["unet", "encoder"])
def test_every_weight_matters(task, in_type, convs):
    """Even where the output lacks irreps of the finest width, and the input lacks fields. An encoder reads no
    fields of its coarsest level, so that has none here.
    """
    h = icosphere(2).hierarchy(levels=3).to(dtype=torch.float32)
    torch.manual_seed(0)
    network = SurfaceUNet if task == "unet" else SurfaceEncoder
    out, coarsest = ("2x0", "3x0 + 2x1 + 1x2") if task == "unet" else (2, "3x0")
    model = network(in_type, ["3x0 + 2x1 + 1x2"] * 2 + [coarsest], out, convs=convs, rings=2)  # type: ignore[arg-type]
    y = model(torch.randn(2, 162, model.in_type.dim), h)
    (y * torch.randn(y.shape)).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


# ---- the pointwise control


def controls() -> list[tuple[str, torch.nn.Module]]:
    torch.manual_seed(0)
    in_type, widths, out_type = "2x0 + 1x1", ["3x0 + 2x1"], "2x0 + 1x1"
    options = {"convs": [0], "pointwise": 3}
    return [
        ("unet", SurfaceUNet(in_type, widths, out_type, **options).double()),
        ("encoder", SurfaceEncoder(in_type, widths, 5, **options).double()),
    ]


@pytest.mark.parametrize(("task", "model"), controls(), ids=lambda v: v if isinstance(v, str) else "")
def test_the_control_reads_no_stencil_and_further_levels_change_nothing(task, model):
    h = icosphere(2).hierarchy(levels=3)
    x = torch.randn(2, 162, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model(x, h)
    y = model.eval()(x, h)
    other = icosphere(2).stencil(1.2)
    bare = Hierarchy([other], [], [], h.areas[:1], h.ptr[:1])
    torch.testing.assert_close(model(x, bare), y, rtol=0, atol=0)
    if task == "unet":
        other = x.clone()
        other[:, 7] = 0
        changed = (model(other, bare) - y).abs().sum((0, 2)) > 0
        assert changed.nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize(("task", "model"), controls(), ids=lambda v: v if isinstance(v, str) else "")
def test_the_control_learns_of_fields_and_not_of_their_frames(task, model):
    h = icosphere(2).hierarchy(levels=1)
    out_type = model.out_type if task == "unet" else FieldType("5x0")
    x = torch.randn(2, 162, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha, flip = gauge_of(162, model.in_type, seed=0)
    assert_gauge_equivariant(
        model,
        x,
        model.in_type,
        out_type,
        lambda v: model(v, h),
        lambda v: model(v, h),
        (alpha, flip),
        (alpha, flip),
    )
    longer = x * torch.tensor([1.0, 1, 3, 3])
    longer[:, ::2] = x[:, ::2]
    scalars = slice(0, 2) if task == "unet" else slice(None)
    assert (model.eval()(longer, h) - model(x, h))[..., scalars].abs().max() > 1e-3
