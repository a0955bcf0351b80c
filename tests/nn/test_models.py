"""SurfaceEncoder as a whole: frames, batches of unlike surfaces, and misuse."""

from __future__ import annotations

import copy

import pytest
import torch

from geocnn.errors import FieldTypeError, GeometryError, GroupError
from geocnn.geometry import Hierarchy, healpix, icosphere, torus
from geocnn.groups import FieldType
from geocnn.nn import SurfaceEncoder
from tests.nn.gauge import assert_gauge_equivariant, gauge_of

NETS = {
    "SO2": ("2x0 + 1x1", ["3x0 + 2x1", "4x0 + 2x1 + 1x2", "4x0 + 2x1"], "4x0"),
    "O2": (
        "O2: 1x0e + 1x0o + 1x1",
        ["O2: 3x0e + 1x0o + 2x1", "O2: 3x0e + 2x1 + 1x2", "O2: 4x0e + 1x1"],
        "O2: 4x0e",
    ),
}


def encoder(group: str, dtype=torch.float64, n_out: int = 5) -> SurfaceEncoder:
    torch.manual_seed(0)
    in_type, widths, _ = NETS[group]
    return SurfaceEncoder(in_type, widths, n_out, convs=[1, 1, 1], rings=2).to(dtype)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("frames", ["fresh", "turned"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("group", NETS)
def test_random_frames_change_neither_answers_nor_weight_gradients(group, dtype, frames, training):
    surface = healpix(4)
    levels = [surface, surface.coarser(), surface.coarser().coarser()]
    model = encoder(group, dtype).train(training)
    h = surface.hierarchy(levels=3)
    in_type = model.in_type
    gauges = [gauge_of(s.n_points, in_type, seed=i) for i, s in enumerate(levels)]
    flips = None if gauges[0][1] is None else [f for _, f in gauges]
    turned = h.turn_frames([a for a, _ in gauges], flips)
    if frames == "fresh":
        # built in the new frames from scratch; coarser() starts again from the surface's own
        radius = 2.5 * surface.spacing
        new = [s.turn_frames(*g) for s, g in zip(levels, gauges, strict=True)]
        turned = Hierarchy(
            [s.stencil(radius * 2**i) for i, s in enumerate(new)],
            [new[i].stencil(radius * 2**i, targets=new[i + 1]) for i in range(2)],
            [new[i + 1].interpolation(new[i]) for i in range(2)],
            h.areas,
            h.ptr,
        )
    x = torch.randn(3, 192, in_type.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
        dtype
    )
    assert_gauge_equivariant(
        model,
        x,
        in_type,
        FieldType(NETS[group][2]),  # answers are invariant
        lambda v: model(v, h),
        lambda v: model(v, turned),
        gauges[0],
        gauges[0],
    )


def test_a_batch_of_unlike_spheres_is_each_alone():
    model = encoder("SO2").eval()
    surfaces = [healpix(4), healpix(8), icosphere(2)]
    parts = [s.hierarchy(levels=3, radius=0.5, samples=(2, 9)) for s in surfaces]
    xs = [torch.randn(2, s.n_points, 4, dtype=torch.float64) for s in surfaces]
    together = model(torch.cat(xs, -2), Hierarchy.cat(parts))
    alone = torch.cat([model(x, h) for x, h in zip(xs, parts, strict=True)], -2)
    assert together.shape == (2, 3, 5)
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-11)


def test_a_network_survives_saving_its_state():
    h, x = icosphere(2).hierarchy(levels=3), torch.randn(162, 4, dtype=torch.float64)
    model = encoder("SO2")
    model(x, h)
    other = encoder("SO2")
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert set(model.eval().state_dict()) == set(model.train().state_dict())
    torch.testing.assert_close(other.eval()(x, h), model.eval()(x, h), rtol=0, atol=0)


def test_the_order_of_points_does_not_matter():
    """Ring and nested order are two numberings of one sphere."""
    from geocnn.geometry.healpix import ring_to_nested

    model = encoder("SO2").eval()
    at = ring_to_nested(4, torch.arange(192))
    x = torch.randn(192, 4, dtype=torch.float64)
    nested = torch.empty_like(x)
    nested[at] = x
    y, other = (model(v, healpix(4, nested=n).hierarchy(levels=3)) for v, n in ((x, False), (nested, True)))
    torch.testing.assert_close(other, y, rtol=1e-11, atol=1e-11)


def test_misuse_is_a_typed_error():
    with pytest.raises(FieldTypeError, match="one number a width: 2, got 1"):
        SurfaceEncoder("1x0", ["1x0", "1x0"], 2, convs=[1])
    with pytest.raises(FieldTypeError, match="no invariant channel"):
        SurfaceEncoder("1x0", ["1x0", "2x1"], 2)
    model = SurfaceEncoder("1x0", ["2x0 + 1x1", "2x0"], 2)
    with pytest.raises(GeometryError, match="has 2 levels, the hierarchy 3; build it with levels=2"):
        model(torch.zeros(192, 1), healpix(4).hierarchy(levels=3))
    with pytest.raises(GeometryError, match="from 192 points, x has 48"):
        model(torch.zeros(48, 1), healpix(4).hierarchy(levels=2))
    flat = SurfaceEncoder("trivial: 1x0", ["trivial: 2x0"] * 2, 2, max_frequency=1)
    flat(torch.zeros(64, 1), torus((8, 8)).hierarchy(levels=2))
    with pytest.raises(GroupError, match="trivial"):
        flat(torch.zeros(192, 1), healpix(4).hierarchy(levels=2))
