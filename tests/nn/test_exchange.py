"""A radial basis, a norm, a nonlinearity, a block and a readout can be exchanged: the laws stay."""

from __future__ import annotations

import math
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.geometry import Hierarchy, healpix
from geocnn.groups import Bessel, Cosine, FieldType, Gaussian
from geocnn.harmonics import gauss_legendre, healpix_grid
from geocnn.nn import (
    BottleneckBlock,
    ConvBlock,
    FieldNorm,
    FourierNonlinearity,
    Gated,
    GaugeConv,
    HarmonicBlock,
    HarmonicEncoder,
    HarmonicUNet,
    NormNonlinearity,
    PointwiseBlock,
    ResidualBlock,
    SO3Correlation,
    SurfaceEncoder,
    SurfaceUNet,
    surface_max,
)
from geocnn.nn.gauge_conv import gather_reference
from geocnn.ops.operators import Operator
from tests.nn.gauge import assert_gauge_equivariant, gauge_of

RADIAL = {"Cosine": Cosine(2), "Bessel": Bessel(2), "Gaussian": Gaussian(2)}
MIXED = "2x0 + 2x1"


@pytest.fixture(params=RADIAL)
def radial(request):
    return RADIAL[request.param]


@cache
def levels(oversample: bool = False) -> Hierarchy:
    return healpix(4).hierarchy(2, 0.6, "log", oversample=oversample)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_frames(h: Hierarchy, t: FieldType) -> tuple[Hierarchy, list]:
    gauges = [gauge_of(len(a), t, seed=k) for k, a in enumerate(h.areas)]
    angles, flips = (list(part) for part in zip(*gauges, strict=True))
    return h.turn_frames(angles, None if flips[0] is None else flips), gauges


def assert_invariant(model: nn.Module, h: Hierarchy, x: Tensor) -> None:
    """An encoder's answer, and its weights' derivatives, in random frames."""
    turned, _ = random_frames(h, FieldType("1x0"))
    found = []
    for where in (h, turned):
        y = model.eval()(x, where)
        grads = torch.autograd.grad(y.square().sum(), list(model.parameters()), allow_unused=True)
        found.append([y.detach(), *grads])
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            # rounding along some ten layers
            torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-9 * float(1 + a.abs().max()))


# ---- radial


@pytest.mark.parametrize("kind", ["exp", "log"])
def test_frames_do_not_matter_with_any_radial_basis(radial, kind):
    surface = healpix(4)
    layer = GaugeConv("2x0 + 1x1 + 1x2", "1x0 + 2x1 + 1x2", radial=radial).double()
    stencil = surface.stencil(0.6, kind=kind)
    gauge = gauge_of(surface.n_points, layer.in_type)
    x = draw(2, surface.n_points, layer.in_type.dim)
    turned = stencil.turn_frames(*gauge)
    calls = (lambda x: layer(x, stencil)), (lambda x: layer(x, turned))
    assert_gauge_equivariant(layer, x, layer.in_type, layer.out_type, *calls, gauge, gauge)


def test_the_fast_form_is_the_formula(radial):
    layer, stencil = GaugeConv(MIXED, MIXED, bias=False, radial=radial).double(), healpix(2).stencil(1.0)
    x = draw(2, 48, 6)
    expected = gather_reference(x, stencil, layer.in_type, layer.out_type, layer.basis, layer.mix())
    torch.testing.assert_close(layer(x, stencil), expected, rtol=1e-11, atol=1e-12)


def test_bases_do_not_share_operators():
    stencil, x = healpix(2).stencil(1.0), draw(48, 1)
    one, other = (GaugeConv("1x0", "1x0", bias=False, radial=r).double() for r in (Cosine(2), Bessel(2)))
    other.load_state_dict(one.state_dict())
    assert not torch.allclose(one(x, stencil), other(x, stencil))
    assert sum(isinstance(o, Operator) for o in stencil.operators.values()) == 2


@pytest.mark.parametrize("rings", [2, 3])
def test_white_noise_keeps_its_variance_with_any_radial_basis(radial, rings):
    surface, t = healpix(8), "2x0 + 2x1 + 1x2"
    torch.manual_seed(0)
    layer = GaugeConv(t, t, bias=False, radial=type(radial)(rings))
    stencil, total = surface.stencil(rings * surface.spacing, kind="log").float(), torch.zeros(8)
    for _ in range(30):
        layer.reset_parameters()
        with torch.no_grad():
            total += layer(torch.randn(surface.n_points, 8), stencil).square().mean(0) / 30
    for channels in layer.out_type.slices():
        # a disc of two or three spacings holds 13 or 28 points, not the integral
        assert 0.7 < float(total[channels].mean()) < 1.3, total


def test_the_harmonic_twin_is_the_limit_with_any_radial_basis(radial):
    torch.manual_seed(0)
    local, errors = GaugeConv("1x1", "1x0 + 1x1", bias=False, radial=radial).double(), []
    for nside in (4, 8):
        surface, grid = healpix(nside), healpix_grid(nside)
        # the gradient of a smooth function of the place
        x = (surface.frames * torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)).sum(-1)
        x = x * (1 + surface.points[:, :1])
        with torch.no_grad():
            found = local(x, surface.stencil(0.6, kind="log"))
            expected = local.to_harmonic(0.6, 2 * nside)(x, grid)
        errors.append(float((found - expected).norm() / expected.norm()))
    assert local.to_harmonic(0.6, 8).to_local().basis == local.basis
    # discs of 0.6 hold 70 points at nside 8; their rim is ragged where a basis falls to 0 with a slope
    assert errors[1] < 0.06 and errors[1] < 0.6 * errors[0], errors


def test_radial_reaches_every_convolution(radial):
    networks = [
        SurfaceEncoder("1x0", [MIXED] * 2, 3, convs=[1, 1], radial=radial),
        SurfaceUNet("1x0", [MIXED] * 2, "1x0", radial=radial),
        SurfaceUNet("1x0", [MIXED] * 2, "1x0", block="bottleneck", radial=radial),
        HarmonicEncoder("1x0", [MIXED], [4], 3, radial=radial),
        HarmonicUNet("1x0", [MIXED] * 2, [4, 2], "1x0", near=radial),
        HarmonicBlock("1x0", MIXED, 4, radius=1.0, radial=radial),
    ]
    for network in networks:
        convolutions = [m for m in network.modules() if isinstance(m, GaugeConv)]
        if not isinstance(network, HarmonicUNet):
            convolutions += [m for m in network.modules() if isinstance(m, SO3Correlation)]
        assert convolutions and all(m.basis.radial == radial for m in convolutions)


# ---- norms and acts

ACTS = {
    "Gated": Gated,
    "tanh": partial(Gated, activation=torch.tanh),
    "NormNonlinearity": NormNonlinearity,
    "FourierNonlinearity": partial(FourierNonlinearity, samples=32),
}
NORMS = {"FieldNorm": FieldNorm, "none": None}
BLOCKS = ["conv", "residual", "bottleneck", "pointwise"]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", [ConvBlock, ResidualBlock, BottleneckBlock, PointwiseBlock])
def test_frames_do_not_matter_to_any_block(block, norm, act):
    surface = healpix(2)
    made = block(MIXED, MIXED, norm=NORMS[norm], act=ACTS[act]).double()
    stencil = surface.stencil(1.0, kind="log")
    gauge = gauge_of(48, made.in_type)
    # samples on the fibre are exact for functions of few frequencies, others leave aliases behind
    bound = {torch.float64: 1e-3} if act == "FourierNonlinearity" else {}
    x = draw(2, 48, 6)
    turned = stencil.turn_frames(*gauge)
    if bound:
        moved = made(made.in_type.act(x, -gauge[0]), turned)
        expected = made.out_type.act(made(x, stencil), -gauge[0])
        assert (moved - expected).norm() < 1e-3 * expected.norm()
    else:
        calls = (lambda x: made(x, stencil)), (lambda x: made(x, turned))
        assert_gauge_equivariant(made, x, made.in_type, made.out_type, *calls, gauge, gauge)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", BLOCKS)
def test_frames_do_not_matter_to_networks_of_any_parts(block, norm):
    options = {"block": block, "norm": NORMS[norm], "act": NormNonlinearity}
    encoder = SurfaceEncoder("1x0", [MIXED] * 2, 3, convs=[1, 1], **options).double()
    assert_invariant(encoder, levels(), draw(2, 192, 1))
    unet = SurfaceUNet("1x0", [MIXED] * 2, "2x0", **options).double()
    assert_invariant(unet, levels(oversample=True), draw(2, 192, 1))
    for model in (encoder, unet):
        assert any(isinstance(m, FieldNorm) for m in model.modules()) == (norm == "FieldNorm")
        assert not any(isinstance(m, Gated) for m in model.modules())


def test_the_norm_takes_inputs_of_any_size():
    x, h = draw(2, 192, 1), levels()
    for make in (
        partial(SurfaceEncoder, "1x0", [MIXED] * 2, 3),
        partial(SurfaceUNet, "1x0", [MIXED] * 2, "2x0"),
    ):
        torch.manual_seed(0)
        model = make().double()
        # 1e-5 is added to the norm's mean square
        torch.testing.assert_close(model(300 + 1000 * x, h), model(x, h), rtol=1e-3, atol=1e-3)
        bare = make(input_norm=False).double()
        assert len(bare.state_dict()) == len(model.state_dict()) - 4


def test_a_pointwise_block_looks_at_no_neighbour():
    block = PointwiseBlock(MIXED, MIXED).double().eval()
    x = draw(48, 6)
    other = torch.cat([x[:1], draw(47, 6, seed=1)])
    torch.testing.assert_close(block(x)[0], block(other)[0], rtol=0, atol=0)


def test_what_is_no_part_is_refused():
    with pytest.raises(FieldTypeError, match="block must be one of 'conv'"):
        SurfaceUNet("1x0", [MIXED], "1x0", block="dense")  # pyright: ignore[reportArgumentType]
    with pytest.raises(FieldTypeError, match="makes no nonlinearity"):
        ConvBlock("1x0", MIXED, act=lambda t: nn.ReLU())
    with pytest.raises(FieldTypeError, match="readout must be one of 'mean'"):
        SurfaceEncoder("1x0", [MIXED], 2, readout="sum")  # pyright: ignore[reportArgumentType]
    with pytest.raises(FieldTypeError, match="readout_levels must be"):
        SurfaceEncoder("1x0", [MIXED], 2, readout_levels="finest")  # pyright: ignore[reportArgumentType]
    with pytest.raises(FieldTypeError, match="no invariant channel"):
        SurfaceEncoder("1x0 + 1x1", ["1x1"], 2, pointwise=0)


# ---- readouts


@pytest.mark.parametrize("where", ["coarsest", "all"])
@pytest.mark.parametrize("kind", ["mean", "mean and max", "attention"])
def test_readouts_of_a_batch_are_those_of_each_surface(kind, where):
    torch.manual_seed(0)
    model = (
        SurfaceEncoder("1x0 + 1x1", [MIXED, "3x0 + 1x1"], 3, readout=kind, readout_levels=where)
        .double()
        .eval()
    )
    with torch.no_grad():
        for score in model.readout.score:
            score.normal_()
    small, large = healpix(2).hierarchy(2, 0.9, "log"), healpix(4).hierarchy(2, 0.9, "log")
    x, y = draw(2, 48, 3), draw(2, 192, 3)
    assert_invariant(model, small, torch.cat([x[..., :1], 0 * x[..., 1:]], -1))
    both = model(torch.cat([x, y], 1), Hierarchy.cat([small, large]))
    torch.testing.assert_close(both, torch.cat([model(x, small), model(y, large)], 1), rtol=1e-11, atol=1e-11)
    n = {"mean": 3, "mean and max": 6, "attention": 3}[kind]
    n_all = {"mean": 5, "mean and max": 10, "attention": 5}[kind]
    assert model.readout.n_features == (n if where == "coarsest" else n_all)


def test_attention_starts_as_the_mean():
    torch.manual_seed(0)
    mean = SurfaceEncoder("1x0", [MIXED] * 2, 3).double().eval()
    attention = SurfaceEncoder("1x0", [MIXED] * 2, 3, readout="attention").double().eval()
    attention.load_state_dict(mean.state_dict(), strict=False)
    x = draw(2, 192, 1)
    torch.testing.assert_close(attention(x, levels()), mean(x, levels()), rtol=1e-11, atol=1e-11)


def test_points_without_area_are_not_the_largest():
    h = healpix(2).hierarchy(1)
    h.areas[0][7] = 0
    x = torch.arange(48.0)[:, None].clone()
    x[7] = 1000
    assert surface_max(x, h, 0).item() == 47 and math.isfinite(surface_max(-x, h, 0).item())


def test_a_grid_is_reached_by_a_block_without_norm():
    block = HarmonicBlock("1x0", MIXED, 4, norm=None, act=Gated).double()
    assert block(draw(45, 1), gauss_legendre(5, 9)).shape == (45, 6)
    assert not any(isinstance(m, FieldNorm) for m in block.modules())
