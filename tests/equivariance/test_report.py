"""Right layers and networks pass every symmetry; each planted fault is found, and its layer named."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from rich.console import Console
from torch import nn

from geocnn.equivariance import SYMMETRIES, assert_equivariant, judged, report
from geocnn.errors import FieldTypeError, GeocnnError, GeometryError
from geocnn.geometry import healpix, icosphere, mesh, mobius_strip, plane, ring_grid, torus
from geocnn.groups import FieldType
from geocnn.groups.planar import TRIVIAL
from geocnn.harmonics import equiangular, gauss_legendre
from geocnn.nn import (
    GaugeConv,
    GroupConv,
    GroupPool,
    HarmonicEncoder,
    HarmonicUNet,
    IsotropicConv2d,
    LiftingConv,
    SO3Correlation,
    SurfaceEncoder,
    SurfaceUNet,
)
from tests.shapes import jittered_sphere


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def log(radius: float):
    return lambda s: s.stencil(radius, kind="log")


class Layers(nn.Module):
    """GaugeConv layers; `between` acts after the first, and the second is given `seen` by it."""

    def __init__(self, *types: str, between=None, seen=None, max_frequency=None):
        super().__init__()
        self.in_type, self.out_type = FieldType(types[0]), FieldType(types[-1])
        self.layers = nn.ModuleList(GaugeConv(a, b, 2, max_frequency) for a, b in pairwise(types))
        self.between, self.seen = between, seen

    def forward(self, x, stencil):
        x = self.layers[0](x, stencil)
        x = x if self.between is None else self.between(x)
        return self.layers[1](x, stencil if self.seen is None else self.seen(stencil))


def verdicts(found) -> dict[str, str]:
    return {f.symmetry: f.model.verdict for f in found.findings}


# ---------------------------------------------------------------------------------------------- right models


def test_frames_numbers_and_grid_motions_are_exact_and_the_rest_converges_on_the_sphere():
    # a multiple of four angles: quarter turns take samples to samples
    def build(s):
        return s.stencil(0.6, samples=(2, 3 * s.grid.nside))

    found = report(GaugeConv("1x0 + 1x1", "1x0 + 1x2", rings=2), healpix(4), build)
    exact = {"gauge", "relabelling", "isometry"}
    assert verdicts(found) == {
        name: "exact" if name in exact else "converging"
        for name in (*exact, "anchor", "rotation", "refinement")
    }
    assert found.dtype == "float32" and not found.broken
    assert all(1e-9 < found[name].own_error < 1e-6 for name in exact)
    # bilinear interpolation is of second order
    assert 1.5 < found["rotation"].model.order < 2.5


@pytest.mark.parametrize("kind", ["gauss-legendre", "equiangular"])
def test_on_rings_too(kind):
    layer, names = GaugeConv("1x0 + 1x1", "1x0 + 1x2"), ["gauge", "isometry", "rotation"]
    found = report(layer, ring_grid(8, kind=kind), log(0.7), symmetries=names)
    assert verdicts(found) == {"gauge": "exact", "isometry": "exact", "rotation": "converging"}


@pytest.mark.parametrize("surface", [ring_grid(12), healpix(8)], ids=["rings", "HEALPix"])
def test_a_correlation_is_exact_where_the_quadrature_is(surface):
    found = report(SO3Correlation("1x0 + 1x1", "2x0 + 2x1", 5), surface)
    exact = surface.n_points == 288
    assert verdicts(found) == {
        "isometry": "exact",
        "rotation": "exact" if exact else "converging",
        "refinement": "converging",
    }
    assert found["isometry"].own_verdict == "exact" and 1e-9 < found["isometry"].own_error


def harmonic(samples: int | None = None) -> HarmonicUNet:
    return HarmonicUNet("1x0", ["4x0 + 4x1", "4x0"], [7, 4], "1x0 + 1x1", samples=samples)


def test_every_layer_of_a_harmonic_network_is_measured():
    found = report(harmonic(samples=24), ring_grid(16), symmetries=["isometry", "rotation", "refinement"])
    assert verdicts(found) == {
        "isometry": "exact", "rotation": "converging", "refinement": "converging"
    }  # fmt: skip
    layers = {p.name: p.verdict for p in found["rotation"].layers}
    assert layers["down.0.far"] == layers["up.0.far"] == "exact" and layers["up.0.act"] == "converging"
    encoder = HarmonicEncoder("1x0", ["2x0 + 2x1", "2x0"], [7, 4], 3, samples=24)
    found = report(encoder, ring_grid(16), symmetries=["isometry", "rotation"])
    assert verdicts(found) == {"isometry": "exact", "rotation": "converging"}


def test_too_few_samples_of_the_fibre_stay_wrong_on_every_grid():
    found = report(harmonic(samples=4), ring_grid(16), symmetries=["rotation"])
    assert found["rotation"].broken and found["rotation"].layer.endswith(".act")


def test_grids_of_a_transform_may_be_any_and_must_have_points_here():
    model = HarmonicUNet("1x0", ["2x0", "2x0"], [5, 3], "1x0")

    def grids(s):
        n = len(s.grid.theta)
        return [gauss_legendre(n), equiangular(n // 2, n)]

    found = report(model, ring_grid(12), grids, symmetries=["isometry", "refinement"])
    assert verdicts(found) == {"isometry": "exact", "refinement": "converging"}
    with pytest.raises(GeometryError, match="no sphere here has the points of equiangular"):
        report(SO3Correlation("1x0", "1x0", 3), ring_grid(12), lambda s: equiangular(12, 24, poles=True))
    with pytest.raises(GeometryError, match="has no harmonic transform; use healpix or ring_grid"):
        report(SO3Correlation("1x0", "1x0", 3), icosphere(2))


def test_every_layer_of_a_network_on_a_hierarchy_is_measured():
    model = SurfaceUNet("1x0", ["2x0 + 1x1", "2x0 + 1x1"], "1x0")
    found = report(model, healpix(4), symmetries=["gauge", "relabelling"])
    assert verdicts(found) == {"gauge": "exact", "relabelling": "exact"}
    named = {part.name for part in found["gauge"].layers}
    assert named >= {
        "norm",
        "within.0.0.block.conv",
        "down.0.gated",
        "up.0",
        "merge.0",
        "head.0",
        "SurfaceUNet",
    }


def test_an_encoder_with_an_oversampled_hierarchy():
    model = SurfaceEncoder("1x0", ["2x0 + 1x1", "2x0 + 1x1"], n_out=3)
    found = report(
        model,
        healpix(4),
        lambda s: s.hierarchy(2, 0.6, kind="log", oversample=True),
        symmetries=["gauge", "relabelling", "isometry"],
    )
    assert set(verdicts(found).values()) == {"exact"}


def test_shifts_of_a_torus_are_exact_for_a_layer_and_converge_for_a_pyramid():
    names = ["shift", "sub-pixel shift", "isometry"]
    layer = report(GaugeConv("1x0 + 1x1", "1x1"), torus((8, 8)), log(2.1), symmetries=names)
    assert set(verdicts(layer).values()) == {"exact"}
    model = SurfaceUNet("1x0", ["2x0 + 1x1", "2x0 + 1x1"], "1x0", rings=2)
    pyramid = report(model, torus((16, 16)), lambda s: s.hierarchy(2, 2.1, kind="log"), symmetries=names)
    assert verdicts(pyramid) == {"shift": "converging", "sub-pixel shift": "converging", "isometry": "exact"}


def test_on_a_mobius_strip_slides_and_mirrors_are_exact():
    layer = GaugeConv("O2: 1x0e + 1x0o + 1x1", "O2: 1x0e + 1x1")
    found = report(layer, mobius_strip((8, 12)), log(2.1))
    assert verdicts(found) == dict.fromkeys(("gauge", "relabelling", "isometry", "shift"), "exact")


def test_a_mesh_may_be_moved_refined_and_cut_otherwise():
    found = report(GaugeConv("1x0 + 1x1", "1x0", rings=2), mesh(*jittered_sphere(60)))
    assert verdicts(found) == {
        **dict.fromkeys(("gauge", "relabelling", "rigid motion"), "exact"),
        **dict.fromkeys(("refinement", "remeshing"), "converging"),
    }


def test_rotations_of_the_icosahedron_converge_with_the_anchor():
    found = report(GaugeConv("1x0", "1x1"), icosphere(1), symmetries=["isometry", "anchor"])
    assert verdicts(found) == {"isometry": "converging", "anchor": "converging"}


class RowNorm(nn.Module):
    def forward(self, x):
        return x - x.mean(-1, keepdim=True)


def turning(group: str, between: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        LiftingConv(group, 1, 3, 5), between, nn.ReLU(), GroupConv(group, 3, 3, 5), nn.BatchNorm3d(3),
        GroupPool(), IsotropicConv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3),
    )  # fmt: skip


@pytest.mark.parametrize("group", ["C4", "C8", "D4"])
def test_turns_of_pictures_are_followed_through_regular_fields(group):
    scalars = "O2: 1x0e" if group == "D4" else "1x0"
    found = report(turning(group, nn.Identity()), torus((8, 8)), in_type=scalars, symmetries=["isometry"])
    assert verdicts(found) == {"isometry": "exact"}
    measured = {p.name for p in found["isometry"].layers}
    assert {"0", "1", "2", "3", "4", "5", "6", "7", "9"} <= measured
    found = report(turning(group, RowNorm()), torus((8, 8)), in_type=scalars, symmetries=["isometry"])
    assert found["isometry"].broken and found["isometry"].layer == "1"


def test_an_ordinary_convolution_among_isotropic_ones_is_found():
    model = nn.Sequential(IsotropicConv2d(1, 3, 5), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))
    found = report(model, torus((8, 8)), in_type="1x0", symmetries=["isometry"])
    assert found["isometry"].broken and found["isometry"].layer == "2"


# -------------------------------------------------------------------------------------------- planted faults


def test_a_bias_on_a_vector_is_found_before_the_layer_that_takes_it():
    model = Layers("1x0", "2x1", "1x0", between=lambda x: x + 1)
    gauge = report(model, healpix(4), log(0.6), symmetries=["gauge"])["gauge"]
    assert gauge.model.verdict == "broken" and gauge.layer == "Layers (before layers.1)"


class VectorBias(nn.Module):
    """A bias on every component, also of vectors."""

    def forward(self, x):
        return x + torch.linspace(0.1, 1, x.shape[-1]).to(x)


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


# ---------------------------------------------------------------------------------------- what is said of it


def test_rounding_discretisation_and_breakage():
    assert judged("", [1e-14, 1e-13], 0.75).verdict == "exact"
    assert judged("", [0.4, 0.1], 0.75).order == pytest.approx(2)
    # half an order is what a spoilt edge has, in the mean square
    assert judged("", [0.1, 0.1 / math.sqrt(2)], 0.75).verdict == "broken"
    assert judged("", [0.1], 0.75).verdict == "undecided" and judged("", [0.1], None).verdict == "broken"


@pytest.mark.parametrize("seed", range(3))
def test_grids_whose_errors_first_cancel_are_not_called_broken(seed):
    torch.manual_seed(seed)
    found = report(GaugeConv("1x0", "1x1"), torus((16, 16)), symmetries=["refinement"], seed=seed)
    assert verdicts(found) == {"refinement": "converging"} and found["refinement"].model.order < 1.0


def test_on_a_coarse_grid_a_fault_that_hides_below_its_error_is_not_taken_for_convergence():
    model = Layers("1x0", "2x1", "1x0", between=VectorBias())
    rotation = report(model, healpix(4), log(0.6), symmetries=["rotation"])["rotation"]
    # the whole falls from 0.28 to 0.10, the layer stays near 0.3
    assert rotation.model.verdict == "undecided" and rotation.layer == "between"


def test_assert_equivariant_names_symmetry_and_layer():
    model = Layers("1x0", "2x1", "1x0", between=nn.ReLU())
    with pytest.raises(AssertionError, match="gauge is broken by between: errors"):
        assert_equivariant(model, healpix(2), build=log(0.9), symmetries=["gauge"])
    right = Layers("1x0", "2x1", "1x0")
    assert_equivariant(right, healpix(2), build=log(0.9), symmetries=["gauge"], within=1e-10)
    with pytest.raises(AssertionError, match="more than 1e-06"):
        assert_equivariant(right, healpix(4), build=log(0.6), symmetries=["rotation"], within=1e-6)


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    model = Layers("1x0", "2x1", "1x0", between=nn.ReLU())
    return report(model, healpix(2), log(0.9), symmetries=["gauge", "rotation", "shift"])


def test_a_report_is_a_table(found):
    console = Console(record=True, width=120)
    found.show(console)
    said = console.export_text()
    assert "gauge" in said and "broken" in said and "between" in said and "no finer grid mends" in said


def test_a_terminal_is_told_what_is_being_measured():
    console = Console(force_terminal=True, record=True, file=io.StringIO())
    report(GaugeConv("1x0", "1x0"), torus((4, 4)), symmetries=["gauge", "shift"], console=console)
    assert "measuring shift, 2 of 2" in console.file.getvalue()


def test_a_report_is_json(found):
    read = json.loads(found.json())
    assert read["findings"][0]["symmetry"] == "gauge" and read["findings"][0]["layer"] == "between"
    assert read["points"] == [48, 192] and read["left_out"] == ["shift"] and "explanation" in read


def test_a_report_is_one_page_that_needs_nothing_else(found, tmp_path):
    found.html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in page and "between" in page and "http" not in page


def test_what_cannot_be_measured_says_so():
    layer = GaugeConv("1x0", "1x0")
    with pytest.raises(GeocnnError, match="no symmetry 'guage'; there are gauge, relabelling"):
        report(layer, healpix(2), symmetries=["guage"])
    with pytest.raises(GeocnnError, match="on a surface, got a Stencil; `build` makes"):
        report(layer, healpix(2).stencil(1.0))
    with pytest.raises(FieldTypeError, match="no in_type; give one"):
        report(nn.Conv2d(1, 1, 3), torus((8, 8)))
    with pytest.raises(FieldTypeError, match="field on 48 points but the model has no out_type"):
        report(lambda x, where: x, healpix(2), in_type="1x0")


def test_a_place_for_every_point_learnt_breaks_their_numbering_and_fits_no_finer_grid():
    class Place(nn.Module):
        def __init__(self):
            super().__init__()
            self.place = nn.Parameter(torch.randn(48, 2))

        def forward(self, x):
            return x + self.place

    model = Layers("1x0", "2x0", "1x0", between=Place())
    found = report(model, healpix(2), log(0.9), symmetries=["relabelling"])
    assert verdicts(found) == {"relabelling": "broken"} and found["relabelling"].layer == "between"
    with pytest.raises(GeocnnError, match=r"on 48 points and not on the 192 .* give refinements=0"):
        report(model, healpix(2), log(0.9), symmetries=["rotation"])


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda x: x / 0, "48 of 48 values of the answer are not finite"),
        (lambda x: (x, x), "answers with a tuple"),
        (nn.functional.dropout, "answers otherwise when asked again"),
        (torch.zeros_like, "zero everywhere"),
    ],
    ids=["not finite", "two answers", "random", "zero"],
)
def test_answers_that_say_nothing_are_refused_and_pass_no_test_suite(spoilt, said):
    with pytest.raises(GeocnnError, match=said):
        assert_equivariant(lambda x, where: spoilt(x), healpix(2), in_type="1x0", out_type="1x0")
    with pytest.raises(GeocnnError, match=said.replace("48 of 48", "64 of 64")):
        assert_equivariant(spoilt, torus((8, 8)), in_type="trivial: 1x0")


@pytest.mark.parametrize("answer", [torch.sum, lambda x: x.sum((0, 1)), lambda x: x.sum(1)])
def test_an_answer_may_have_no_axis(answer):
    found = report(lambda x, where: answer(x), healpix(2), in_type="2x0", symmetries=["relabelling"])
    assert verdicts(found) == {"relabelling": "exact"}
    found = report(lambda x, where: answer(x[:, 0]), healpix(2), in_type="2x0", symmetries=["relabelling"])
    assert verdicts(found) == {"relabelling": "broken"}


def test_what_was_not_measured_is_no_silent_success():
    layer = GaugeConv("1x0", "1x0")
    with pytest.raises(AssertionError, match=r"^shift was not measured"):
        assert_equivariant(layer, healpix(2), symmetries=["gauge", "shift"])
    with pytest.raises(GeocnnError, match="'shift' was not measured; measured are: gauge"):
        report(layer, healpix(2), symmetries=["gauge"])["shift"]


def test_complex_weights_keep_their_imaginary_parts():
    class Filter(nn.Module):
        def __init__(self):
            super().__init__()
            self.response = nn.Parameter(1j * torch.linspace(0, 1, 5))

        def forward(self, x):
            return torch.fft.irfft(self.response * torch.fft.rfft(x), 8)

    found = report(Filter(), torus((8, 8)), in_type="trivial: 1x0")
    assert set(verdicts(found).values()) == {"exact"} and found.dtype == "float32"
    assert 1e-9 < found["shift"].own_error < 1e-6


def test_every_symmetry_has_a_name_and_a_meaning():
    assert len(SYMMETRIES) == 10 and all(s.meaning for s in SYMMETRIES.values())
