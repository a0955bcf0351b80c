"""Reports on right models: exact or converging, on every kind of surface, layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from geocnn.equivariance import report
from geocnn.errors import GeometryError
from geocnn.geometry import healpix, icosphere, mesh, mobius_strip, ring_grid, torus
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
from tests.equivariance.models import log, verdicts
from tests.shapes import jittered_sphere


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


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


@pytest.mark.parametrize("kind", ["gauss_legendre", "equiangular"])
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
        "skip.0",
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
