"""SurfaceEncoder and SurfaceUNet as wholes: frames, batches of unlike surfaces, and misuse."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch

from geocnn.errors import FieldTypeError, GeometryError, GroupError
from geocnn.geometry import Hierarchy, Stencil, healpix, icosphere, torus
from geocnn.groups import FieldType, Group, group
from geocnn.groups.rotations import random_rotations
from geocnn.nn import SurfaceEncoder, SurfaceUNet
from tests.nn.gauge import assert_gauge_equivariant, gauge_of, relative

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
        new = [s.turn_frames(*g) for s, g in zip(levels, gauges, strict=True)]
        turned = Hierarchy(
            [s.stencil(h.stencils[i].radius) for i, s in enumerate(new)],
            [new[i].stencil(h.down[i].radius, targets=new[i + 1]) for i in range(2)],
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


@pytest.mark.parametrize("make", [lambda: encoder("SO2"), lambda: unet("SO2")], ids=["encoder", "unet"])
def test_on_an_oversampled_hierarchy_frames_do_not_matter_either(make):
    h, model = healpix(4).hierarchy(levels=3, oversample=True), make()
    in_type = model.in_type
    gauges = [gauge_of(n, in_type, seed=n + i) for i, n in enumerate((192, 192, 48))]
    turned = h.turn_frames([a for a, _ in gauges])
    x = torch.randn(3, 192, in_type.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out_type = getattr(model, "out_type", FieldType(NETS["SO2"][2]))
    assert_gauge_equivariant(
        model, x, in_type, out_type, lambda v: model(v, h), lambda v: model(v, turned), gauges[0], gauges[0]
    )


def test_oversampling_leaves_less_than_half_of_what_a_rotation_disturbs():
    """Bumps 0.4 wide, rotated exactly; kernels of five spacings. Measured: 0.0006 against 0.0020."""
    surface = healpix(8, interpolation="cubic")
    turns = random_rotations(6, torch.Generator().manual_seed(1))
    centres = torch.nn.functional.normalize(
        torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64), dim=-1
    )
    # the map turned by R has its bumps at R c
    cosine = surface.points @ (centres @ turns.mT).mT
    x = torch.exp((cosine - 1) / 0.4**2).sum(-1, keepdim=True)
    torch.manual_seed(0)
    model = SurfaceEncoder("1x0", ["4x0 + 4x1", "8x0 + 4x1", "8x0 + 4x1"], 10, convs=[0, 0, 1], rings=2)
    model = model.double()
    spread = {}
    for oversample in (False, True):
        h = surface.hierarchy(3, 5 * surface.spacing, "log", oversample=oversample)
        model.train()(x, h)
        y = model.eval()(x, h).squeeze(1).detach()
        spread[oversample] = float((y - y.mean(0)).norm() / y.norm())
    assert spread[True] < spread[False] / 2


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
    from geocnn.geometry.spheres.pixels import ring_to_nested

    model = encoder("SO2").eval()
    at = ring_to_nested(4, torch.arange(192))
    x = torch.randn(192, 4, dtype=torch.float64)
    nested = torch.empty_like(x)
    nested[at] = x
    y, other = (model(v, healpix(4, nested=n).hierarchy(levels=3)) for v, n in ((x, False), (nested, True)))
    torch.testing.assert_close(other, y, rtol=1e-11, atol=1e-11)


# ------------------------------------------------------------------------------------------------------ U-Net

UNETS = {
    "SO2": ("2x0 + 1x1", ["3x0 + 2x1", "4x0 + 2x1 + 1x2", "4x0 + 2x1"], "2x0 + 1x1"),
    "O2": (
        "O2: 1x0e + 1x0o + 1x1",
        ["O2: 3x0e + 1x0o + 2x1", "O2: 3x0e + 2x1 + 1x2", "O2: 4x0e + 1x1"],
        "O2: 1x0e + 1x0o + 1x1",
    ),
    "C4": ("C4: 2x0 + 1x1", ["C4: 2x0 + 1x1 + 1x2", "C4: 3x0 + 2x1", "C4: 2x0 + 1x1"], "C4: 1x0 + 1x2"),
    "D4": (
        "D4: 1x0e + 1x1",
        ["D4: 2x0e + 1x1 + 1x2o", "D4: 2x0e + 1x0o + 1x1", "D4: 2x0e"],
        "D4: 1x0e + 1x1",
    ),
}


def unet(group: str, dtype=torch.float64, **options) -> SurfaceUNet:
    torch.manual_seed(0)
    max_frequency = 2 if group in ("C4", "D4") else None
    return SurfaceUNet(*UNETS[group], rings=2, max_frequency=max_frequency, **options).to(dtype)


def random_stencil(n_source: int, n_target: int, own: Group, seed: int) -> Stencil:
    """Entries anywhere, with any transporters of the group; every fifth target has none."""
    g = torch.Generator().manual_seed(seed)
    counts = torch.where(torch.arange(n_target) % 5 == 4, 0, 7)
    entries = int(counts.sum())

    def uniform() -> torch.Tensor:
        return torch.rand(entries, generator=g, dtype=torch.float64)

    angle, flip = own.sample(entries, g) if own.is_finite else (2 * math.pi * uniform(), None)
    if own.flips and flip is None:
        flip = torch.randint(2, (entries,), generator=g).bool()
    return Stencil(
        row_ptr=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
        source=torch.randint(n_source, (entries,), generator=g),
        r=uniform(),
        theta=2 * math.pi * uniform(),
        weight=uniform() / 7,
        angle=angle,
        flip=flip,
        radius=1.0,
        n_source=n_source,
        group=own,
    )


def random_hierarchy(own: Group) -> Hierarchy:
    sizes = (60, 24, 11)
    return Hierarchy(
        [random_stencil(n, n, own, n) for n in sizes],
        [random_stencil(n, m, own, n + m) for n, m in pairwise(sizes)],
        [random_stencil(m, n, own, n - m) for n, m in pairwise(sizes)],
        [torch.ones(n, dtype=torch.float64) for n in sizes],
        [torch.tensor([0, n]) for n in sizes],
    )


HIERARCHIES = {
    "healpix": lambda own: healpix(4).hierarchy(levels=3),
    "torus": lambda own: torus((8, 8)).hierarchy(levels=3, radius=1.9),
    "random": random_hierarchy,
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("group_name", "surface"),
    [
        *(("SO2", s) for s in HIERARCHIES),
        *(("O2", s) for s in HIERARCHIES),
        *(("C4", "torus"), ("C4", "random"), ("D4", "torus"), ("D4", "random")),
    ],
)
def test_random_frames_change_a_unet_s_answer_at_each_point_as_they_should(
    group_name, surface, dtype, training
):
    model = unet(group_name, dtype).train(training)
    h = HIERARCHIES[surface](group(group_name))
    gauges = [gauge_of(len(a), model.in_type, seed=i) for i, a in enumerate(h.areas)]
    turned = h.turn_frames([a for a, _ in gauges], None if gauges[0][1] is None else [f for _, f in gauges])
    n = len(h.areas[0])
    x = torch.randn(3, n, model.in_type.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_gauge_equivariant(
        model,
        x.to(dtype),
        model.in_type,
        model.out_type,
        lambda v: model(v, h),
        lambda v: model(v, turned),
        gauges[0],
        gauges[0],
    )


def test_a_unet_s_answers_on_a_batch_of_unlike_spheres_are_those_on_each_alone():
    model = unet("SO2")
    surfaces = [healpix(4), healpix(8), icosphere(2)]
    parts = [s.hierarchy(levels=3, radius=0.5, samples=(2, 9)) for s in surfaces]
    xs = [torch.randn(2, s.n_points, 4, dtype=torch.float64) for s in surfaces]
    batch = Hierarchy.cat(parts)
    model(torch.cat(xs, -2), batch)  # in training: running moments that are no longer 0 and 1
    together = model.eval()(torch.cat(xs, -2), batch)
    alone = torch.cat([model(x, h) for x, h in zip(xs, parts, strict=True)], -2)
    assert together.shape == (2, 192 + 768 + 162, 4)
    # sums over sources in another order, as tiles of targets are cut elsewhere
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("pointwise", [0, 3])
@pytest.mark.parametrize("convs", [[1, 1, 1], [0, 1, 2], [0, 0, 0], [2, 1, 0]])
def test_a_unet_answers_at_every_point_whatever_its_depth(convs, pointwise):
    h = icosphere(2).hierarchy(levels=3)
    model = unet("SO2", convs=convs, pointwise=pointwise)
    sizes = [convs[0] + pointwise, *convs[1:]]
    assert [len(m) for m in model.within] == sizes and [len(m) for m in model.after] == sizes[:2]
    assert model(torch.randn(2, 5, 162, 4, dtype=torch.float64), h).shape == (2, 5, 162, 4)
    one = SurfaceUNet("1x0", ["2x0"], "3x0", convs=convs[:1], pointwise=pointwise)
    assert one(torch.randn(162, 1), icosphere(2).hierarchy(levels=1)).shape == (162, 3)


def test_points_without_neighbours_get_finite_answers_and_derivatives():
    model, h = unet("SO2"), random_hierarchy(group("SO2"))
    x = torch.randn(60, 4, dtype=torch.float64, requires_grad=True)
    y = model(x, h)
    y.square().mean().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_shifts_of_a_torus_shift_a_unet_s_answer():
    """By a multiple of the coarsest level's spacing, which is four points."""
    h = torus((8, 16)).hierarchy(levels=3, radius=1.9)
    model = unet("SO2")
    x = torch.randn(128, 4, dtype=torch.float64)
    shift = lambda v: v.unflatten(0, (8, 16)).roll((4, 8), (0, 1)).flatten(0, 1)  # noqa: E731
    y = model(x, h)
    torch.testing.assert_close(model(shift(x), h), shift(y), rtol=0, atol=1e-11)
    assert (shift(y) - y).abs().max() > 0.1


def test_a_unet_s_answer_moves_with_the_numbers_of_the_points():
    from geocnn.geometry.spheres.pixels import ring_to_nested

    model = unet("SO2").eval()
    at = ring_to_nested(4, torch.arange(192))
    x = torch.randn(192, 4, dtype=torch.float64)
    nested = torch.empty_like(x)
    nested[at] = x
    y, other = (model(v, healpix(4, nested=n).hierarchy(levels=3)) for v, n in ((x, False), (nested, True)))
    torch.testing.assert_close(other[at], y, rtol=1e-11, atol=1e-11)


def test_dropout_acts_in_training_only_and_a_unet_survives_saving_its_state():
    h, x = icosphere(2).hierarchy(levels=3), torch.randn(162, 4, dtype=torch.float64)
    model = unet("SO2", dropout=0.5)
    assert relative(model(x, h), model(x, h)) > 0.1
    assert set(model.eval().state_dict()) == set(unet("SO2").state_dict())
    other = unet("SO2", dropout=0.1).eval()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    torch.testing.assert_close(other(x, h), model(x, h), rtol=0, atol=0)
    torch.testing.assert_close(model(x, h), model(x, h), rtol=0, atol=0)


def test_misuse_of_a_unet_is_a_typed_error():
    with pytest.raises(FieldTypeError, match="one number per width, 2 in all, got \[1\]"):
        SurfaceUNet("1x0", ["1x0", "1x0"], "2x0", convs=[1])
    with pytest.raises(FieldTypeError, match="widths is empty"):
        SurfaceUNet("1x0", [], "2x0")
    with pytest.raises(FieldTypeError, match=r"has irreps 1, 2, which the finest width 4x0 lacks; add"):
        SurfaceUNet("1x0", ["4x0", "4x0 + 1x1"], "1x0 + 1x1 + 1x2")
    with pytest.raises(FieldTypeError, match="different groups"):
        SurfaceUNet("1x0", ["O2: 1x0e"], "O2: 1x0e")
    with pytest.raises(FieldTypeError, match="max_frequency"):
        SurfaceUNet("C4: 1x0", ["C4: 2x0"], "C4: 1x0")
    with pytest.raises(FieldTypeError, match="probability"):
        SurfaceUNet("1x0", ["2x0"], "1x0", dropout=1.5)
    with pytest.raises(FieldTypeError, match="pointwise must be a whole number of at least 0, got -1"):
        SurfaceUNet("1x0", ["2x0"], "1x0", pointwise=-1)
    model = SurfaceUNet("1x0", ["2x0 + 1x1", "2x0"], "2x0")
    with pytest.raises(GeometryError, match="has 2 levels, the hierarchy 1; build it with levels=2"):
        model(torch.zeros(192, 1), healpix(4).hierarchy(levels=1))
    with pytest.raises(GeometryError, match="from 192 points, x has 48"):
        model(torch.zeros(48, 1), healpix(4).hierarchy(levels=2))
    with pytest.raises(FieldTypeError, match=r"\[..., points, 1\], got \[192, 3\]"):
        model(torch.zeros(192, 3), healpix(4).hierarchy(levels=2))
    with pytest.raises(FieldTypeError, match=r"weights are torch.float32; cast one"):
        model(torch.zeros(192, 1, dtype=torch.float64), healpix(4).hierarchy(levels=2))
    flips = [torch.arange(n) % 2 == 0 for n in (192, 48)]
    with pytest.raises(GroupError, match="live in O2"):
        model(
            torch.zeros(192, 1),
            healpix(4).hierarchy(levels=2).turn_frames([f.double() for f in flips], flips),
        )


# ----------------------------------------------------------------------------------------------------- misuse


def test_misuse_is_a_typed_error():
    with pytest.raises(FieldTypeError, match="one number per width, 2 in all, got \[1\]"):
        SurfaceEncoder("1x0", ["1x0", "1x0"], 2, convs=[1])
    with pytest.raises(FieldTypeError, match="no invariant channel"):
        SurfaceEncoder("1x0", ["1x0", "2x1"], 2, readout_levels="coarsest")
    model = SurfaceEncoder("1x0", ["2x0 + 1x1", "2x0"], 2)
    with pytest.raises(GeometryError, match="has 2 levels, the hierarchy 1; build it with levels=2"):
        model(torch.zeros(192, 1), healpix(4).hierarchy(levels=1))
    with pytest.raises(GeometryError, match="from 192 points, x has 48"):
        model(torch.zeros(48, 1), healpix(4).hierarchy(levels=2))
    flat = SurfaceEncoder("trivial: 1x0", ["trivial: 2x0"] * 2, 2, max_frequency=1)
    flat(torch.zeros(64, 1), torus((8, 8)).hierarchy(levels=2))
    with pytest.raises(GroupError, match="trivial"):
        flat(torch.zeros(192, 1), healpix(4).hierarchy(levels=2))
