"""GaugeConv: frames do not matter, symmetries of the surface are kept, variance is kept, misuse is named."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geocnn.errors import FieldTypeError, GeometryError, GroupError, SamplingError
from geocnn.geometry import Surface, healpix, icosphere, torus
from geocnn.geometry.meshes.build import mesh
from geocnn.groups import FieldType
from geocnn.nn import ConvBlock, GaugeConv
from tests.laws import in_frames
from tests.nn.gauge import assert_gauge_equivariant, gauge_of
from tests.shapes import jittered_sphere

TYPES = {
    "SO2": ("2x0 + 1x1 + 1x2", "1x0 + 2x1 + 1x2", None),
    "O2": ("O2: 2x0e + 1x0o + 1x1", "O2: 1x0e + 1x0o + 2x1 + 1x2", None),
    "C4": ("C4: 2x0 + 1x1 + 1x2", "C4: 1x0 + 2x1 + 1x2", 2),
    "D4": ("D4: 1x0e + 1x0o + 1x1 + 1x2e", "D4: 1x0e + 2x1 + 1x2o", 2),
    "trivial": ("trivial: 2x0", "trivial: 3x0", 2),
}


def field(n: int, dim: int, *batch: int, dtype=torch.float64, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, n, dim, generator=g, dtype=torch.float64).to(dtype)


# ------------------------------------------------------------------------------------------------------ gauge


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize(
    ("surface", "group"),
    [
        (healpix(4), "SO2"),
        (healpix(4), "O2"),
        (healpix(4, interpolation="cubic"), "O2"),
        (icosphere(2), "SO2"),
        (torus((8, 8)), "C4"),
        (torus((8, 8)), "D4"),
        (torus((8, 8)), "O2"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_the_answer_does_not_depend_on_frames(surface, group, kind, dtype):
    source, target, max_frequency = TYPES[group]
    torch.manual_seed(0)
    layer = GaugeConv(source, target, rings=2, max_frequency=max_frequency).to(dtype)
    torch.nn.init.normal_(layer.bias)
    options = {"samples": (2, 9)} if kind == "exp" else {}
    radius = 2.3 * surface.spacing
    coarse = surface.coarser()
    x = field(surface.n_points, layer.in_type.dim, 2, dtype=dtype)
    fine_gauge = gauge_of(surface.n_points, layer.in_type, seed=1)
    coarse_gauge = gauge_of(coarse.n_points, layer.in_type, seed=2)
    turned, turned_coarse = surface.turn_frames(*fine_gauge), coarse.turn_frames(*coarse_gauge)
    within, down = (surface.stencil(radius, kind=kind, targets=t, **options) for t in (None, coarse))
    for before, after, out_gauge in (
        (within, turned.stencil(radius, kind=kind, **options), fine_gauge),
        (within, within.turn_frames(*fine_gauge), fine_gauge),
        (down, turned.stencil(radius, kind=kind, targets=turned_coarse, **options), coarse_gauge),
        (down, down.turn_frames(*fine_gauge, *coarse_gauge), coarse_gauge),
    ):
        assert_gauge_equivariant(
            layer,
            x,
            layer.in_type,
            layer.out_type,
            lambda v, st=before: layer(v, st),
            lambda v, st=after: layer(v, st),
            fine_gauge,
            out_gauge,
        )


@pytest.mark.parametrize("group", ["SO2", "O2"])
def test_a_block_does_not_depend_on_frames(group):
    source, target, _ = TYPES[group]
    surface = icosphere(2)
    torch.manual_seed(0)
    block = ConvBlock(source, target, rings=2).double()
    in_type, out_type = FieldType(source), FieldType(target)
    gauge = gauge_of(surface.n_points, in_type)
    before, after = (s.stencil(0.5, samples=(2, 9)) for s in (surface, surface.turn_frames(*gauge)))
    x = field(surface.n_points, in_type.dim, 3)
    assert_gauge_equivariant(
        block, x, in_type, out_type, lambda v: block(v, before), lambda v: block(v, after), gauge, gauge
    )


# --------------------------------------------------------------------------------------- symmetries of the
# torus


def moved(field_type: FieldType, x: torch.Tensor, n: int, angle: float, flip: bool) -> torch.Tensor:
    """f'(p) = rho(g) f(g⁻¹ p) for g a rotation by a multiple of 90° about point 0, or the mirror y ↦ −y."""
    at = torch.arange(n)
    y, px = torch.meshgrid(at, at, indexing="ij")
    back = (
        ((-y) % n, px)
        if flip
        else {0: (y, px), 1: ((-px) % n, y), 2: ((-y) % n, (-px) % n), 3: (px, (-y) % n)}[
            round(angle / (torch.pi / 2)) % 4
        ]
    )
    taken = x[..., (back[0] * n + back[1]).flatten(), :]
    angles = torch.full((n * n,), angle, dtype=torch.float64)
    return field_type.act(taken, angles, torch.ones(n * n, dtype=torch.bool) if flip else None)


@pytest.mark.parametrize("kind", ["exp", "log"])
def test_on_the_torus_shifts_commute_with_the_layer_of_any_group(kind):
    h, w = 6, 8
    stencil = torus((h, w)).stencil(2.5, kind=kind)
    for source, target, max_frequency in TYPES.values():
        layer = GaugeConv(source, target, rings=2, max_frequency=max_frequency).double()
        x = field(h * w, layer.in_type.dim)
        shift = lambda v: v.unflatten(0, (h, w)).roll((2, 3), (0, 1)).flatten(0, 1)  # noqa: E731
        torch.testing.assert_close(layer(shift(x), stencil), shift(layer(x, stencil)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"samples": (2, 12)}, {"kind": "log"}], ids=["exp", "log"])
@pytest.mark.parametrize("group", ["C4", "D4"])
def test_on_the_square_torus_quarter_turns_and_mirrors_commute_with_the_layer(group, options):
    n = 8
    source, target, max_frequency = TYPES[group]
    stencil = torus((n, n)).stencil(2.5, **options)
    layer = GaugeConv(source, target, rings=2, max_frequency=max_frequency).double()
    x = field(n * n, layer.in_type.dim)
    y = layer(x, stencil)
    moves = [(torch.pi / 2, False), (torch.pi, False)] + ([(0.0, True)] if group == "D4" else [])
    for angle, flip in moves:
        found = layer(moved(layer.in_type, x, n, angle, flip), stencil)
        expected = moved(layer.out_type, y, n, angle, flip)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert (expected - y).abs().max() > 0.1, "the move does nothing"


def test_a_trivial_group_layer_is_not_bound_to_quarter_turns():
    layer = GaugeConv("trivial: 1x0", "trivial: 1x0", rings=2, max_frequency=2).double()
    stencil, x = torus((8, 8)).stencil(2.5, samples=(2, 12)), field(64, 1)
    found = layer(moved(layer.in_type, x, 8, torch.pi / 2, False), stencil)
    assert (found - moved(layer.out_type, layer(x, stencil), 8, torch.pi / 2, False)).abs().max() > 0.1


# ------------------------------------------------------------------------------------- one layer, every
# surface


def test_the_same_weights_converge_to_one_map_on_healpix_and_icosphere_by_exp_and_log():
    """y at common points, from a smooth function, by four discretisations; each finer pair is closer."""
    torch.manual_seed(0)
    layer = GaugeConv("1x0", "2x0 + 1x1", rings=2).double()
    probe = icosphere(1)
    spread = []
    for nside, level in ((8, 3), (16, 4), (32, 5)):
        answers = []
        for s in (healpix(nside), icosphere(level)):
            x = (s.points[:, 2] + s.points[:, 0] * s.points[:, 1])[:, None]
            answers += [
                layer(x, s.stencil(0.5, kind=kind, samples=samples, targets=probe))
                for kind, samples in (("exp", (6, 24)), ("log", None))
            ]
        answers = [y.detach() for y in answers]
        mean = torch.stack(answers).mean(0)
        spread.append(max(float((y - mean).norm() / mean.norm()) for y in answers))
    # measured 8e-3, 2e-3, 1.4e-3: exp is of second order, and then the ragged rim of log discs remains
    assert spread[0] < 0.015 and spread[1] < 0.5 * spread[0] and spread[2] < 0.25 * spread[0], spread


@pytest.mark.parametrize(("kind", "rings"), [("log", 2), ("log", 3), ("exp", 3)])
@pytest.mark.parametrize(
    ("group", "surface"), [("SO2", healpix(8)), ("O2", healpix(8)), ("C4", torus((16, 16)))]
)
def test_white_noise_keeps_its_variance(group, surface, rings, kind):
    source, target, max_frequency = {
        "SO2": ("2x0 + 2x1 + 1x2", "2x0 + 2x1 + 1x2", None),
        "O2": ("O2: 2x0e + 1x0o + 2x1", "O2: 2x0e + 1x0o + 2x1", None),
        "C4": ("C4: 2x0 + 2x1 + 1x2", "C4: 2x0 + 2x1 + 1x2", 2),
    }[group]
    torch.manual_seed(0)
    layer = GaugeConv(source, target, rings, max_frequency, bias=False)
    stencil = surface.stencil(rings * surface.spacing, kind=kind).to(dtype=torch.float32)
    total = torch.zeros(layer.out_type.dim)
    for _ in range(50):
        layer.reset_parameters()
        with torch.no_grad():
            total += layer(torch.randn(surface.n_points, layer.in_type.dim), stencil).square().mean(0)
    # log: measured 0.9 to 1.15. exp: linear interpolation smooths, most where kernels oscillate; measured
    # 0.45 to 0.7
    low, high = (0.75, 1.25) if kind == "log" else (0.35, 1.0)
    for b in layer.out_type.blocks:
        assert low < float(total[b.start : b.stop].mean() / 50) < high, (
            b.irrep,
            total[b.start : b.stop] / 50,
        )


def test_at_the_centre_only_rotation_free_kernels_survive():
    s = icosphere(1)
    centre = s.interpolation(s)
    for source, target, survives in (
        ("1x0", "1x1", False),
        ("1x1", "1x0", False),
        ("1x1", "1x2", False),
        ("1x1", "1x1", True),
        ("1x0", "1x0", True),
    ):
        layer = GaugeConv(source, target, rings=2, bias=False).double()
        y = layer(field(42, layer.in_type.dim), centre)
        assert (y.abs().max() > 1e-3) == survives, (source, target)


def test_bias_is_added_to_invariant_channels_only():
    layer = GaugeConv("O2: 1x0e + 1x0o", "O2: 1x0o + 2x0e + 1x1 + 1x0e").double()
    torch.nn.init.constant_(layer.bias, 2.0)
    y = layer(torch.zeros(42, 2, dtype=torch.float64), icosphere(1).stencil(1.0))
    assert y[0].tolist() == [0.0, 2.0, 2.0, 0.0, 0.0, 2.0]
    assert GaugeConv("1x0", "1x1").bias is None


# --------------------------------------------------------------------------------------------------------
# misuse


def test_misuse_is_a_typed_error_that_says_what_to_do():
    sphere, flat = healpix(2), torus((4, 4))
    layer = GaugeConv("1x0", "1x0 + 1x2")
    with pytest.raises(
        SamplingError, match=r"frequency 2 need at least 5 angles.*samples=\(2, 4\).*\(2, 5\)"
    ):
        layer(torch.zeros(48, 1), sphere.stencil(1.0, samples=(2, 4)))
    layer(torch.zeros(48, 1), sphere.stencil(1.0, samples=(2, 5)))
    with pytest.raises(GroupError, match=r"live in SO2.*group trivial.*types of SO2"):
        GaugeConv("trivial: 1x0", "trivial: 1x0", max_frequency=1)(torch.zeros(48, 1), sphere.stencil(1.0))
    with pytest.raises(GroupError, match=r"live in O2.*group SO2"):
        flips = torch.arange(48) % 2 == 0
        layer(torch.zeros(48, 1), sphere.turn_frames(torch.ones(48), flips).stencil(1.0))
    with pytest.raises(FieldTypeError, match=r"\[..., points, 1\], got \[48, 3\]"):
        layer(torch.zeros(48, 3), sphere.stencil(1.0))
    with pytest.raises(FieldTypeError, match="unsqueeze"):
        layer(torch.zeros(48), sphere.stencil(1.0))
    with pytest.raises(GeometryError, match="from 48 points, x has 47"):
        layer(torch.zeros(47, 1), sphere.stencil(1.0))
    with pytest.raises(FieldTypeError, match="different groups"):
        GaugeConv("1x0", "C4: 1x0")
    with pytest.raises(FieldTypeError, match="max_frequency"):
        GaugeConv("C4: 1x0", "C4: 1x1")
    with pytest.raises(FieldTypeError, match=r"no kernel leads from 1x0 to 3 \(max_frequency=1\)"):
        GaugeConv("1x0", "1x3", max_frequency=1)
    with pytest.raises(FieldTypeError, match="rings=0"):
        GaugeConv("1x0", "1x0", rings=0)
    GaugeConv("C8: 1x0", "C8: 1x0", max_frequency=1)(torch.zeros(16, 1), flat.stencil(1.5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_another_dtype_than_the_weights_is_a_typed_error(dtype):
    layer, stencil = GaugeConv("1x0", "2x0"), healpix(2).stencil(1.0)
    with pytest.raises(
        FieldTypeError, match=r"weights are torch.float32; cast one|real numbers, got torch.int64"
    ):
        layer(torch.zeros(48, 1, dtype=dtype), stencil)


# ---------------------------------------------------------------------------------------- weight transfer


def scalar_and_vector(
    s: Surface, at: Tensor | Surface, frames: Tensor, layer: GaugeConv
) -> tuple[Tensor, Tensor]:
    """The layer's answer to z + xy and its gradient: scalars [T], vectors [T, 3] in space."""
    x, y, z = s.points.unbind(-1)
    gradient = torch.stack([y, x, torch.ones_like(z)], -1)
    gradient = gradient - (gradient * s.points).sum(-1, keepdim=True) * s.points
    vector = torch.view_as_real(in_frames(s, gradient))
    out = layer(torch.cat([(z + x * y)[:, None], vector], 1), s.stencil(0.5, kind="log", targets=at)).detach()
    return out[:, 0], torch.einsum("ni,nid->nd", out[:, 1:], frames)


def test_weights_give_on_sphere_meshes_what_they_give_on_healpix_the_finer_the_nearer():
    """At 48 vertices that are HEALPix' pixels. The error falls as the spacing to the power 1.5 or faster, for
    the points at the disc's rim come and go; found: 12 % and 18 % (scalars, vectors) at 600 vertices, 0.6 %
    and 1.1 % at 4,800, order 2.8 and 2.7.
    """
    torch.manual_seed(0)
    layer = GaugeConv("1x0 + 1x1", "1x0 + 1x1", rings=3).double()
    at = healpix(2)
    expected = scalar_and_vector(healpix(32), at, at.frames, layer)
    errors = []
    for n in (600, 4800):
        s = mesh(*jittered_sphere(n, 0.2, among=at.points))
        found = scalar_and_vector(s, torch.arange(48), s.frames[:48], layer)
        pairs = zip(found, expected, strict=True)
        errors.append([float((a - b).norm() / b.norm()) for a, b in pairs])
    for coarse, fine in zip(*errors, strict=True):
        assert math.log(coarse / fine, 8**0.5) > 1.5, errors
        assert fine < 0.02, errors
