"""Rounding alone for right layers, the known orders for discretised ones, and planted faults are seen."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from geocnn.equivariance import anchor_error, gauge_error, rotation_error
from geocnn.equivariance.errors import relative
from geocnn.errors import FieldTypeError, GeocnnError, MapError
from geocnn.geometry import healpix, icosphere, torus
from geocnn.nn import GaugeConv, SurfaceEncoder


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(1)


class Layers(nn.Module):
    """GaugeConv layers one after another; `between` may spoil the features in the middle."""

    def __init__(self, *types: str, between=lambda x: x):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList(GaugeConv(a, b).double() for a, b in pairwise(types))
        self.between = between

    def forward(self, x, stencil):
        for layer in self.layers[:-1]:
            x = self.between(layer(x, stencil))
        return self.layers[-1](x, stencil)


def zeroed_transport(network):
    """The same network with features read as if every frame were aligned: the frames' poles show."""
    return lambda x, stencil: network(x, replace(stencil, angle=torch.zeros_like(stencil.angle)))


# Gauge: float64 sums over some hundred entries and three layers lose 3 of 16 digits; float32 as many of 7.


def test_random_frames_change_only_rounding(random):
    stencil = healpix(4).stencil(0.6)
    x = torch.randn(2, 192, 4, dtype=torch.float64, generator=random)
    error = gauge_error(
        Layers("2x0 + 1x1", "2x1", "1x0 + 1x2"), x, stencil, "2x0 + 1x1", "1x0 + 1x2", random, 3
    )
    assert error.output.samples.shape == error.gradient.samples.shape == (3,)
    assert 0 < error.output.max < 1e-12 and error.gradient.max < 1e-12


def test_random_frames_change_only_rounding_in_single_precision(random):
    stencil = healpix(4).stencil(0.6)
    x = torch.randn(192, 4, generator=random)
    error = gauge_error(Layers("2x0 + 1x1", "2x1").float(), x, stencil, "2x0 + 1x1", "2x1", random)
    assert 1e-9 < error.output.max < 1e-5 and error.gradient.max < 1e-5


def test_flips_are_drawn_where_the_group_has_them(random):
    stencil = torus((8, 8)).stencil(2.5)
    x = torch.randn(64, 4, dtype=torch.float64, generator=random)
    network = Layers("O2: 1x0e + 1x0o + 1x1", "O2: 2x1", "O2: 1x0o + 1x2")
    source, target = network.layers[0].in_type, network.layers[-1].out_type
    assert gauge_error(network, x, stencil, source, target, random).output.max < 1e-12

    # A pseudoscalar taken for a scalar: only a flip tells them apart.
    mistaken = str(target).replace("0o", "0e")
    assert gauge_error(network, x, stencil, source, mistaken, random).output.max > 0.1


def test_frames_of_sources_and_targets_turn_independently(random):
    fine = icosphere(2)
    stencil = fine.stencil(0.8, targets=fine.coarser())
    x = torch.randn(162, 2, dtype=torch.float64, generator=random)
    assert gauge_error(Layers("1x1", "1x2"), x, stencil, "1x1", "1x2", random).output.max < 1e-12


def test_a_whole_model_on_a_hierarchy(random):
    hierarchy = healpix(8).hierarchy(levels=3)
    torch.manual_seed(0)
    model = SurfaceEncoder("1x0", ["4x0 + 2x1", "4x0 + 2x1", "4x0 + 2x1"], n_out=5).double().eval()
    x = torch.randn(2, 768, 1, dtype=torch.float64, generator=random)
    error = gauge_error(model, x, hierarchy, "1x0", None, random)
    assert error.output.max < 1e-10 and error.gradient.max < 1e-10


def test_a_function_without_weights_has_no_gradient_error(random):
    x = torch.randn(48, 2, dtype=torch.float64, generator=random)
    error = gauge_error(lambda x, where: 2 * x, x, healpix(2).stencil(0.9), "1x1", "1x1", random)
    assert error.output.max < 1e-14 and error.gradient is None


@pytest.mark.parametrize(
    "fault", [lambda x: x + 1, torch.relu], ids=["a bias on a vector's components", "ReLU on them"]
)
def test_gauge_error_sees(fault, random):
    stencil = healpix(4).stencil(0.6)
    x = torch.randn(192, 1, dtype=torch.float64, generator=random)
    error = gauge_error(Layers("1x0", "2x1", "1x0", between=fault), x, stencil, "1x0", "1x0", random)
    assert error.output.max > 0.05 and error.gradient.max > 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_errors_are_summed_in_float64_whatever_the_model_s_format(dtype, random):
    # 10,000 entries of some hundred: their squares add up to more than float16 holds
    expected = (300 * torch.randn(10_000, generator=random)).to(dtype)
    found = (expected.double() * (1 + 1e-2 * torch.randn(10_000, generator=random))).to(dtype)
    error = relative(found, expected)
    exact = (found.double() - expected.double()).norm() / expected.double().norm()
    assert error.dtype == torch.float64
    assert float(error) == pytest.approx(float(exact), rel=1e-12)


# Anchor: the angular quadrature of a smooth field converges faster than any power of the number of angles.


def test_anchor_error_falls_with_the_number_of_angles(random):
    surface = healpix(8)
    x = surface.points[:, :1] * surface.points[:, 1:2] + surface.points[:, 2:]

    def error(angles: int):
        def build(surface):
            return surface.stencil(0.6, samples=(3, angles))

        return anchor_error(Layers("1x0", "1x1", "1x0"), x, surface, build, random, anchors=2)

    few, many = error(5), error(20)
    assert many.samples.shape == (2,)
    # what stays is that other samples are interpolated differently: 0.3 % of a field of degree 2 at nside 8
    assert 1e-6 < many.max < 0.005 < 0.01 < few.mean


def test_points_met_where_they_lie_need_no_anchor(random):
    x = torch.randn(192, 1, dtype=torch.float64, generator=random)
    error = anchor_error(Layers("1x0", "1x1"), x, healpix(4), lambda s: s.stencil(0.6, kind="log"), random)
    # turned frames share no operator: sums of some 30 products in another order
    assert error.max < 1e-14


# Rotation: bilinear interpolation is of second order, cubic of fourth; bounds are the project's goals.

RADIUS, DEGREE, SAMPLES = math.pi / 8, 16, (3, 20)


def anisotropic_error(nside: int, interpolation: str = "bilinear"):
    stencil = healpix(nside, interpolation=interpolation).stencil(RADIUS, samples=SAMPLES)
    network = Layers("1x0", "4x1", "4x1", "1x0")
    return rotation_error(network, stencil, "1x0", "1x0", DEGREE, torch.Generator().manual_seed(1))


def test_anisotropic_layers_nearly_commute_with_rotations():
    error = anisotropic_error(16)
    assert error.samples.shape == (8,)
    assert 0 < error.mean <= 0.1


@pytest.mark.slow
def test_anisotropic_layers_commute_with_rotations_at_second_order():
    coarse, fine = anisotropic_error(16), anisotropic_error(32)
    assert 0 < coarse.mean <= 0.1 and 0 < fine.mean <= 0.03
    # h² is only the leading term while a wavelength has 6 pixels (nside 16): 1.74 measured
    assert math.log2(coarse.mean / fine.mean) > 1.5


@pytest.mark.slow
def test_anisotropic_layers_at_nside_64():
    assert anisotropic_error(64).mean <= 0.008


@pytest.mark.slow
def test_cubic_interpolation_is_ten_times_better_at_nside_64():
    assert anisotropic_error(64, "cubic").mean <= 0.0008


def test_rotation_error_sees_features_that_are_not_transported(random):
    network, stencil = Layers("1x0", "4x1", "1x0"), healpix(8).stencil(0.6, samples=(3, 12))
    right = rotation_error(network, stencil, "1x0", "1x0", 4, random)
    wrong = rotation_error(zeroed_transport(network), stencil, "1x0", "1x0", 4, random)
    assert right.mean < 0.1 < 0.3 < wrong.mean


def test_rotating_the_identity_costs_the_transform_only(random):
    # three Jacobi iterations at degree 2 nside leave 1e-5 at nside 32 (harmonics.analysis), 3e-5 at nside 8
    error = rotation_error(lambda x, where: x, healpix(8).stencil(0.6), "2x0", "2x0", 4, random)
    assert 0 < error.max < 1e-4


def test_rotation_error_in_nested_order(random):
    def nested_error(nested: bool) -> float:
        stencil = healpix(8, nested=True).stencil(0.6, samples=(3, 12))
        return rotation_error(Layers("1x0", "1x0"), stencil, "1x0", "1x0", 4, random, nested=nested).mean

    assert nested_error(True) < 0.1 < 0.5 < nested_error(False)


def test_an_invariant_answer_is_compared_as_it_is(random):
    hierarchy = healpix(8).hierarchy(levels=2)

    def power(x, where):
        return x.square().mean(-2, keepdim=True)

    def value_at_the_pole(x, where):
        return x[..., :1, :]

    # the mean square of a degree-4 field is a quadrature of degree 8 = nside: exact to some 1e-3
    assert rotation_error(power, hierarchy, "1x0", None, 4, random).max < 0.01
    assert rotation_error(value_at_the_pole, hierarchy, "1x0", None, 4, random).mean > 0.3


# What cannot be measured says so.


def test_vectors_have_no_rotation_error_yet(random):
    with pytest.raises(FieldTypeError, match="between invariant channels, got 1x1"):
        rotation_error(Layers("1x0", "1x1"), healpix(2).stencil(0.9), "1x0", "1x1", 2, random)


def test_rotations_need_healpix(random):
    with pytest.raises(MapError, match="12 nside"):
        rotation_error(Layers("1x0", "1x0"), icosphere(1).stencil(0.9), "1x0", "1x0", 2, random)


def test_nothing_is_relative_to_zero(random):
    x = torch.zeros(48, 1, dtype=torch.float64)
    with pytest.raises(GeocnnError, match="zero everywhere"):
        gauge_error(Layers("1x0", "1x0"), x, healpix(2).stencil(0.9), "1x0", "1x0", random)


def test_types_are_checked(random):
    x = torch.randn(48, 1, dtype=torch.float64, generator=random)
    network, stencil = Layers("1x0", "1x1"), healpix(2).stencil(0.9)
    with pytest.raises(FieldTypeError):
        gauge_error(network, x, stencil, "2x0", "1x1", random)
    with pytest.raises(FieldTypeError):
        gauge_error(network, x, stencil, "1x0", "1x0", random)
