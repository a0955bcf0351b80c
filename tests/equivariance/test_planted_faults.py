"""Planted faults, which a report must call broken and name the layer of, and right layers like them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from geocnn.equivariance import report
from geocnn.geometry import healpix, plane, torus
from geocnn.groups import FieldType
from geocnn.groups.planar import TRIVIAL
from geocnn.nn import (
    GaugeConv,
)
from tests.equivariance.models import Layers, VectorBias, log, verdicts


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_a_bias_on_a_vector_is_found_before_the_layer_that_takes_it():
    model = Layers("1x0", "2x1", "1x0", between=lambda x: x + 1)
    gauge = report(model, healpix(4), log(0.6), symmetries=["gauge"])["gauge"]
    assert gauge.model.verdict == "broken" and gauge.layer == "Layers (before layers.1)"


@pytest.mark.parametrize(
    "fault", [VectorBias(), nn.ReLU()], ids=["bias on frequency 1", "ReLU on components"]
)
def test_a_layer_that_is_no_field_map_is_named(fault):
    model = Layers("1x0", "2x1", "1x0", between=fault)
    found = report(model, healpix(8), log(0.45), symmetries=["gauge", "relabelling", "rotation"])
    assert [f.symmetry for f in found.broken] == ["gauge", "rotation"]
    assert {f.layer for f in found.broken} == {"between"}
    errors = {part.name: part.errors[0] for part in found["gauge"].layers}
    assert errors["between"] > 0.1 and errors["layers.0"] < 1e-12 and errors["layers.1"] < 1e-12


class Transposed(nn.Module):
    """BatchNorm wants channels first."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x):
        return self.norm(x.mT).mT


class Attention(nn.Module):
    """Softmax over all points, of what any two have in common."""

    def __init__(self):
        super().__init__()
        self.softmax = nn.Softmax(-1)

    def forward(self, x):
        return self.softmax(x @ x.mT) @ x


@pytest.mark.parametrize("right", [Transposed(2), Attention()], ids=["channels first", "points by points"])
def test_points_along_another_axis_are_not_taken_for_channels(right):
    exact = report(
        Layers("1x0", "2x0", "1x0", between=right), healpix(2), log(0.9), symmetries=["relabelling"]
    )
    assert {part.verdict for f in exact.findings for part in (f.model, *f.layers)} == {"exact"}
    cumulated = nn.Sequential(right, nn.Identity())
    cumulated[1].forward = lambda x: x.cumsum(-2)
    model = Layers("1x0", "2x0", "1x0", between=cumulated)
    found = report(model, healpix(2), log(0.9), symmetries=["relabelling"])["relabelling"]
    assert found.model.verdict == "broken" and found.layer == "between.1"


def test_layers_that_write_into_their_input_are_told_from_those_before():
    model = Layers("1x0", "2x1", "1x0", between=nn.ReLU(inplace=True))
    gauge = report(model, healpix(2), log(0.9), symmetries=["gauge"])["gauge"]
    assert gauge.model.verdict == "broken" and gauge.layer == "between"
    right = nn.Sequential(nn.ReLU(inplace=True), *convolutions("circular"), nn.ReLU(inplace=True))
    found = report(right, torus((8, 8)), in_type="trivial: 1x0", symmetries=["shift"])["shift"]
    assert {part.verdict for part in (found.model, *found.layers)} == {"exact"}


def test_a_compiled_network_is_measured_as_it_was_before():
    model = torch.compile(Layers("1x0", "2x1", "1x0", between=nn.ReLU()))
    found = report(model, healpix(2), log(0.9), symmetries=["gauge"])
    assert found["gauge"].layer == "between" and found.model == "Layers"


def test_a_world_axis_frame_is_named():
    """Vectors fetched as they are, as if all frames were one."""
    model = Layers("1x0", "2x1", "1x0", seen=lambda st: replace(st, angle=torch.zeros_like(st.angle)))
    found = report(model, healpix(8), log(0.45), symmetries=["gauge", "isometry", "rotation"])
    assert [(f.symmetry, f.layer) for f in found.broken] == [("gauge", "layers.1"), ("rotation", "layers.1")]


def latitude_longitude(s):
    """A stencil whose offsets are differences of colatitude and longitude, not tangent vectors."""
    st = s.stencil(0.6, samples=(3, 20))
    theta, phi = torch.acos(s.points[:, 2]), torch.atan2(s.points[:, 1], s.points[:, 0])
    south, east = (st.r * f(st.theta) for f in (torch.cos, torch.sin))
    there = theta[st.target] + south, phi[st.target] + east
    points = torch.stack(
        [there[0].sin() * there[1].cos(), there[0].sin() * there[1].sin(), there[0].cos()], -1
    )
    at = points.view(-1, 4, 3)[:, 0]
    source, weight = s.grid.interpolate(at)
    share = st.weight.view(-1, 4).sum(1, keepdim=True)
    return replace(
        st,
        source=source.flatten(),
        weight=(weight * share).flatten(),
        angle=torch.zeros_like(st.angle),
        group=TRIVIAL,
    )


def test_a_latitude_longitude_kernel_stays_wrong_where_the_gauge_convolution_converges():
    gauge = Layers("1x0", "4x1", "1x0")
    found = report(gauge, healpix(8), lambda s: s.stencil(0.6, samples=(3, 20)), symmetries=["rotation"])
    coarse, fine = found["rotation"].model.errors
    assert found["rotation"].model.verdict == "converging" and 0.1 > coarse > 2 * fine

    flat = GaugeConv("trivial: 1x0", "trivial: 1x0", max_frequency=2)
    with torch.no_grad():
        flat.weight["0"][:, :3] = 0  # no isotropic part
    found = report(flat, healpix(8), latitude_longitude, symmetries=["rotation"])
    assert found["rotation"].model.verdict == "broken" and found["rotation"].layer == "GaugeConv"
    assert min(found["rotation"].model.errors) > 0.5


def convolutions(mode: str, **options) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode=mode),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode=mode, **options),
    )


def test_zero_padding_breaks_shifts_of_a_torus_and_circular_padding_does_not():
    options = {"in_type": "trivial: 1x0", "symmetries": ["shift"]}
    assert report(convolutions("circular"), torus((16, 16)), **options)["shift"].model.verdict == "exact"
    zero = report(convolutions("zeros"), torus((16, 16)), **options)["shift"]
    assert zero.model.verdict == "broken" and zero.layer == "0"


def test_on_a_plane_zero_padding_shows_once_a_bias_has_lifted_the_background():
    found = report(convolutions("zeros"), plane((32, 32)), in_type="trivial: 1x0")
    # the first layer's background is still zero
    assert verdicts(found) == {"shift": "broken"} and found["shift"].layer == "2"


def test_a_zero_boundary_does_the_same_to_gauge_convolutions():
    model = Layers("trivial: 1x0", "trivial: 2x0", "trivial: 1x0", max_frequency=2)
    options = {"build": log(2.1), "symmetries": ["shift"]}
    assert report(model, plane((24, 24)), **options)["shift"].model.verdict == "exact"
    nn.init.ones_(model.layers[0].bias)
    found = report(model, plane((24, 24)), **options)["shift"]
    assert found.model.verdict == "broken" and found.layer == "layers.1"


def test_a_stride_breaks_shifts_and_subsampling_what_is_smooth_does_not():
    found = report(convolutions("circular", stride=2), torus((16, 16)), in_type="trivial: 1x0")
    assert found["shift"].model.verdict == "broken" and found["shift"].layer == "2"
    linear = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1, padding_mode="circular"))
    found = report(linear, torus((16, 16)), in_type="trivial: 1x0")
    assert verdicts(found) == {"shift": "broken", "sub-pixel shift": "exact"}


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(1, 4, 1), nn.Upsample(scale_factor=2)),
        nn.Sequential(nn.Conv2d(1, 4, 1), nn.PixelShuffle(2)),
        nn.Sequential(nn.Conv2d(1, 4, 1), nn.ConvTranspose2d(4, 1, (2, 3), stride=(2, 3))),
        lambda x: x.repeat_interleave(3, -1),
    ],
    ids=["upsampled", "shuffled", "transposed", "a function"],
)
def test_on_more_pixels_shifts_are_exact(model):
    found = report(model, torus((16, 16)), in_type="trivial: 1x0", symmetries=["shift"])
    assert verdicts(found) == {"shift": "exact"}


@pytest.mark.parametrize("stride", [(1, 2), (2, 1)], ids=str)
def test_rows_and_columns_may_be_subsampled_differently(stride):
    linear = nn.Conv2d(1, 2, 3, stride, padding=1, padding_mode="circular")
    found = report(linear, torus((24, 24)), in_type="trivial: 1x0")
    assert verdicts(found) == {"shift": "broken", "sub-pixel shift": "exact"}


def test_a_function_that_subsamples_is_measured_too():
    found = report(lambda x: x[..., ::2, ::2], torus((16, 16)), in_type="trivial: 1x0")
    assert verdicts(found) == {"shift": "broken", "sub-pixel shift": "exact"}


def test_relu_breaks_shifts_by_parts_of_a_pixel_alone():
    found = report(convolutions("circular"), torus((16, 16)), in_type="trivial: 1x0")
    assert verdicts(found) == {"shift": "exact", "sub-pixel shift": "broken"}
    assert found["sub-pixel shift"].layer == "1"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tf32_is_told_from_float32():
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for allowed in (False, True):
            torch.backends.cuda.matmul.allow_tf32 = allowed
            gauge = report(GaugeConv("8x0 + 8x1", "8x1").cuda(), healpix(4), symmetries=["gauge"])["gauge"]
            assert gauge.model.verdict == "exact" and gauge.broken == allowed
            assert gauge.layer == ("GaugeConv" if allowed else None)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class Coarse(nn.Module):
    """What TF32 does, on any device: products of numbers with 10 bits."""

    in_type = out_type = FieldType("2x1")

    def forward(self, x, stencil):
        return x if x.dtype == torch.float64 else x.bfloat16().to(x.dtype)


def test_coarse_arithmetic_is_told_from_a_broken_layer():
    model = nn.ModuleList([Coarse()])[0]
    model.scale = nn.Parameter(torch.ones(()))
    gauge = report(model, healpix(2), log(0.9), symmetries=["gauge"])["gauge"]
    assert gauge.model.verdict == "exact" and gauge.own_verdict == "broken" and gauge.layer == "Coarse"
    assert gauge.own_error > 1e-4


def test_numbers_too_large_for_the_format_are_not_blamed_on_a_layer_that_is_right():
    scaled = convolutions("circular")
    nn.init.constant_(scaled[2].weight, 6e4)  # half precision ends at 65,504
    shift = report(scaled.half(), torus((8, 8)), in_type="trivial: 1x0", symmetries=["shift"])["shift"]
    assert shift.model.verdict == "exact" and shift.broken and shift.layer != "Sequential (before 0)"
