"""Layers and networks on cylinder, torus, Möbius strip, Klein bottle, projective plane and one-sided meshes:
frames do not matter, isometries of the surface are kept, and a one-sided surface is half its double cover.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.geometry import (
    Hierarchy,
    OneSidedMesh,
    Surface,
    cylinder,
    klein_bottle,
    mesh,
    mobius_strip,
    projective_plane,
    torus,
)
from geocnn.geometry.core.quotient import Quotient
from geocnn.geometry.flat.rectangles import Flat
from geocnn.groups import FieldType
from geocnn.groups.rotations import random_rotations
from geocnn.nn import GaugeConv, SurfaceEncoder, SurfaceUNet
from tests.laws import in_frames
from tests.nn.gauge import assert_gauge_equivariant, gauge_of
from tests.shapes import Shape, figure_eight, twisted

H, W = 16, 24
FLAT = {"cylinder": cylinder, "torus": torus, "Möbius strip": mobius_strip, "Klein bottle": klein_bottle}
TYPES = {
    "reflection": ("reflection: 2x0e + 1x0o", "reflection: 2x0e + 2x0o", 2),
    "O2": ("O2: 2x0e + 1x0o + 1x1", "O2: 1x0e + 1x0o + 2x1 + 1x2", None),
}
WIDTHS = {
    "reflection": ["reflection: 3x0e + 3x0o"] * 3,
    "O2": ["O2: 3x0e + 1x0o + 2x1", "O2: 3x0e + 1x0o + 1x1 + 1x2", "O2: 4x0e + 1x1"],
}
# a polar grid that is its own mirror image along both axes
KINDS = {"exp": {"kind": "exp", "samples": (2, 10)}, "log": {"kind": "log"}}
# a few thousand float64 operations
EXACT = 1e-11


def layer_of(group: str) -> GaugeConv:
    torch.manual_seed(0)
    source, target, max_frequency = TYPES[group]
    layer = GaugeConv(source, target, rings=2, max_frequency=max_frequency).double()
    torch.nn.init.normal_(layer.bias)
    return layer


def encoder_of(group: str) -> SurfaceEncoder:
    torch.manual_seed(0)
    source, _, max_frequency = TYPES[group]
    return SurfaceEncoder(source, WIDTHS[group], 5, rings=2, max_frequency=max_frequency).double().eval()


def field(n: int, field_type: FieldType, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, field_type.dim, generator=g, dtype=torch.float64)


def assert_same(found: Tensor, expected: Tensor, atol: float = EXACT) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol * float(expected.detach().abs().max()))


# ---------------------------------------------------------------------------------------------- flat surfaces


def fetched(field_type: FieldType, x: Tensor, row: Tensor, column: Tensor, angle: float, flip: Tensor):
    """f'(p) = ρ f(g⁻¹p) for an isometry g: the cells g⁻¹p [H, W], and g's element (angle, flip) there."""
    taken = x[..., (row * row.shape[1] + column).flatten(), :]
    return field_type.act(taken, torch.full((row.numel(),), angle, dtype=torch.float64), flip.flatten())


def slid(s: Flat, field_type: FieldType, x: Tensor, columns: int) -> Tensor:
    """The field moved along the surface; what passes a mirrored seam comes back upside down."""
    h, w = s.shape
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w) - columns, indexing="ij")
    flip = (column.div(w, rounding_mode="floor") % 2 == 1) & s.mirrored
    return fetched(field_type, x, torch.where(flip, h - 1 - row, row), column % w, 0.0, flip)


def mirrored(s: Flat, field_type: FieldType, x: Tensor, along: str) -> Tensor:
    """The field seen in a mirror that turns x or y round."""
    h, w = s.shape
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    yes = torch.ones_like(row, dtype=torch.bool)
    if along == "y":
        return fetched(field_type, x, h - 1 - row, column, 0.0, yes)
    return fetched(field_type, x, row, w - 1 - column, math.pi, yes)


def isometries(s: Flat, group: str, step: int):
    """Moves of fields of a group by multiples of `step` columns, and mirrors."""
    for columns in (step, 3 * step, s.shape[1], s.shape[1] + step):
        yield lambda t, x, k=columns: slid(s, t, x, k)
    yield lambda t, x: mirrored(s, t, x, "y")
    if group == "O2":
        yield lambda t, x: mirrored(s, t, x, "x")


def test_once_around_the_strip_is_the_mirror_and_twice_around_is_home():
    s, t = mobius_strip((H, W)), FieldType(TYPES["O2"][0])
    x = field(H * W, t)
    assert_same(slid(s, t, x, W), mirrored(s, t, x, "y"))
    assert_same(slid(s, t, x, 2 * W), x)
    assert_same(slid(s, t, slid(s, t, x, 5), W - 5), mirrored(s, t, x, "y"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", TYPES)
@pytest.mark.parametrize("name", FLAT)
def test_a_layer_commutes_with_slides_by_any_column_and_with_mirrors(name, group, kind):
    s, layer = FLAT[name]((H, W)), layer_of(group)
    stencil, x = s.stencil(2.5, **KINDS[kind]), field(H * W, layer.in_type)
    y = layer(x, stencil)
    for moved in isometries(s, group, step=1):
        expected = moved(layer.out_type, y)
        assert_same(layer(moved(layer.in_type, x), stencil), expected)
        # all but once around the cylinder and the torus
        assert (expected - y).abs().max() > 0.1 or torch.equal(moved(layer.in_type, x), x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", TYPES)
@pytest.mark.parametrize("name", FLAT)
def test_an_encoder_answers_alike_wherever_a_field_slides_and_whichever_way_it_faces(name, group, kind):
    s, model = FLAT[name]((H, W)), encoder_of(group)
    hierarchy, x = s.hierarchy(levels=3, radius=1.5, **KINDS[kind]), field(H * W, model.in_type)
    answer = model(x, hierarchy).detach()
    # an untrained network answers nearly alike to all fields: what two of them differ by is the measure
    apart = float((answer[0] - answer[1]).abs().max())
    # the coarsest cells are four columns wide
    for moved in isometries(s, group, step=4):
        found = model(moved(model.in_type, x), hierarchy)
        assert (found - answer).abs().max() < 1e-8 * apart


def test_a_layer_on_the_strip_tells_even_features_from_odd_ones():
    s = mobius_strip((H, W))
    even, odd = (GaugeConv(f"reflection: 1x{i}", f"reflection: 1x{i}", 2, 2).double() for i in ("0e", "0o"))
    odd.load_state_dict({**odd.state_dict(), "weight.0o": even.weight["0e"].detach()})
    x, stencil = field(H * W, even.in_type), s.stencil(2.5, kind="log")
    apart = (even(x, stencil) - odd(x, stencil)).abs().view(-1, H, W).amax((0, 1))
    near_seam = torch.tensor([j < 2 or j >= W - 2 for j in range(W)])
    assert apart[~near_seam].max() < EXACT and apart[near_seam].min() > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", TYPES)
@pytest.mark.parametrize(("one", "two"), [(mobius_strip, cylinder), (klein_bottle, torus)])
def test_a_flat_one_sided_surface_is_half_of_one_twice_as_long(one, two, group, kind):
    layer = layer_of(group)
    x = field(H * W, layer.in_type)

    def lifted(t: FieldType, v: Tensor) -> Tensor:
        again = mirrored(one((H, W)), t, v, "y")
        return torch.cat([part.unflatten(-2, (H, W)) for part in (v, again)], -2).flatten(-3, -2)

    below, above = (
        make(size).stencil(2.5, **KINDS[kind]) for make, size in ((one, (H, W)), (two, (H, 2 * W)))
    )
    assert_same(layer(lifted(layer.in_type, x), above), lifted(layer.out_type, layer(x, below)))


# -------------------------------------------------------------------------------------------------- quotients


def band(n: int = 30, m: int = 9) -> Shape:
    return twisted(n, m, 0.2)


def bottle() -> Shape:
    return figure_eight(24, 12, 0.2)


QUOTIENTS = {
    "projective plane": lambda: projective_plane(8),
    "mesh of a Möbius band": lambda: mesh(*band()),
    "mesh of a Klein bottle": lambda: mesh(*bottle()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", QUOTIENTS)
def test_a_layer_on_a_quotient_is_the_layer_on_its_cover_of_the_lifted_field(name, kind):
    s, layer = QUOTIENTS[name](), layer_of("O2")
    assert isinstance(s, Quotient)
    x = field(s.n_points, layer.in_type)

    def lifted(t: FieldType, v: Tensor) -> Tensor:
        return t.act(v[..., s.point, :], s.turn, s.other)

    below, above = (each.stencil(2.5 * s.spacing, **KINDS[kind]) for each in (s, s.cover))
    found, expected = layer(lifted(layer.in_type, x), above), lifted(layer.out_type, layer(x, below))
    if kind == "exp" and isinstance(s, OneSidedMesh):
        # on a rim the first edge, which the sampling grid hangs on, is the last one seen from the other side
        inner = ~s.triangulation.boundary
        found, expected = found[:, inner], expected[:, inner]
    # geodesics of meshes are corrected to 1e-9 of their length
    assert_same(found, expected, 1e-6 if isinstance(s, OneSidedMesh) else EXACT)


def even_field(p: Tensor) -> Tensor:
    """Fields that are the same seen from p and −p, [N, 5]: a scalar, one that flips, a gradient."""
    x, y, z = p.unbind(-1)
    gradient = torch.stack([y, x - 0.5 * z, 2 * z - 0.5 * y], -1)
    gradient = gradient - (gradient * p).sum(-1, keepdim=True) * p
    return torch.cat([(z * z + x * y - 0.5 * y * z)[:, None], (z + x * y * z)[:, None], gradient], 1)


def on_projective_plane(s: Surface, turn: Tensor) -> Tensor:
    """The field turned in space, in the surface's frames: type 1x0e + 1x0o + 1x1."""
    even, odd, gradient = even_field(s.points @ turn).split([1, 1, 3], 1)
    return torch.cat([even, odd, torch.view_as_real(in_frames(s, gradient @ turn.T))], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_turns_of_the_projective_plane_commute_with_the_layer_to_second_order(kind):
    """Measured at nside 8, 16, 32: 0.7 %, 0.2 %, 0.05 % (exp), 0.8 %, 0.2 %, 0.04 % (log)."""
    torch.manual_seed(0)
    layer = GaugeConv("O2: 1x0e + 1x0o + 1x1", "O2: 2x0e + 1x0o + 2x1 + 1x2", rings=2).double()
    probe, still = projective_plane(4), torch.eye(3, dtype=torch.float64)
    turns = random_rotations(4, torch.Generator().manual_seed(0))
    errors = []
    for nside in (8, 16, 32):
        s = projective_plane(nside)
        expected = layer(on_projective_plane(s, still), s.stencil(0.6, **KINDS[kind], targets=probe)).detach()
        off = []
        for turn in turns:
            at = replace(probe, **{k: getattr(probe, k) @ turn.T for k in ("points", "frames", "axes")})
            found = layer(on_projective_plane(s, turn), s.stencil(0.6, **KINDS[kind], targets=at)).detach()
            off.append(float((found - expected).norm() / expected.norm()))
        errors.append(sum(off) / len(off))
    assert math.log2(errors[0] / errors[2]) / 2 > 1.8, errors
    assert errors[2] < 1e-3, errors


# ------------------------------------------------------------------------------------------- one-sided meshes


def answers(vertices: Tensor, faces: Tensor, x: Tensor, model: SurfaceUNet) -> tuple[Tensor, Tensor]:
    """Even scalars [N, 2], and vectors [N, 3] in space, of a network that sees one even scalar a vertex.

    On a rim vectors are zero: directions there are those of the faces, not of one plane.
    """
    s = mesh(vertices, faces)
    assert isinstance(s, OneSidedMesh)
    y = model(x, s.hierarchy(levels=2, kind="log"))
    inner = ~s.triangulation.boundary[: s.n_points, None]
    return y[:, :2], inner * (y[:, 2:, None] * s.frames).sum(1)


@pytest.mark.parametrize("moved", ["turned", "relabelled", "faces in another order, some turned over"])
@pytest.mark.parametrize("shape", [band, bottle])
def test_an_answer_belongs_to_a_point_of_a_one_sided_mesh(shape, moved):
    vertices, faces = shape()
    n, g = len(vertices), torch.Generator().manual_seed(1)
    x = torch.randn(n, 1, generator=g, dtype=torch.float64)
    torch.manual_seed(0)
    widths = ["O2: 3x0e + 2x1", "O2: 3x0e + 1x0o + 1x1 + 1x2"]
    model = SurfaceUNet("O2: 1x0e", widths, "O2: 2x0e + 1x1", rings=2).double().eval()
    scalar, vector = answers(vertices, faces, x, model)
    same, turn = torch.arange(n), torch.eye(3, dtype=torch.float64)
    if moved == "turned":
        turn = random_rotations(1, g)[0]
        vertices = vertices @ turn.T + 5.0
    elif moved == "relabelled":
        same = torch.randperm(n, generator=g)
        vertices, faces = vertices[same], torch.argsort(same)[faces]
    else:
        faces = faces[torch.randperm(len(faces), generator=g)].roll(1, 1)
        over = torch.rand(len(faces), generator=g) < 0.5
        faces = torch.where(over[:, None], faces[:, [0, 2, 1]], faces)
    new_scalar, new_vector = answers(vertices, faces, x[same], model)
    # logs are corrected to 1e-9 of their length
    assert_same(new_scalar, scalar[same], 1e-6)
    assert_same(new_vector, vector[same] @ turn.T, 1e-6)


# ----------------------------------------------------------------------------------------------------- frames

SURFACES = {name: lambda make=make: make((H, W)) for name, make in FLAT.items()} | QUOTIENTS
FRAMED = [(name, group) for name in SURFACES for group in TYPES if name in FLAT or group == "O2"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "group"), FRAMED)
def test_random_frames_change_neither_a_layer_nor_its_weight_gradients(name, group, kind):
    s, layer = SURFACES[name](), layer_of(group)
    gauge = gauge_of(s.n_points, layer.in_type)
    # the geometry is computed anew in the turned frames
    before, after = (each.stencil(2.5 * s.spacing, **KINDS[kind]) for each in (s, s.turn_frames(*gauge)))
    x = field(s.n_points, layer.in_type)
    for turned in (after, before.turn_frames(*gauge)):
        assert_gauge_equivariant(
            layer,
            x,
            layer.in_type,
            layer.out_type,
            lambda v: layer(v, before),
            lambda v, turned=turned: layer(v, turned),
            gauge,
            gauge,
        )


def in_gauges(levels: list[Surface], gauges, kind: str) -> Hierarchy:
    levels = [s.turn_frames(*g) for s, g in zip(levels, gauges, strict=True)]
    pairs = list(pairwise(levels))
    return Hierarchy(
        [s.stencil(1.6 * s.spacing, **KINDS[kind]) for s in levels],
        [s.stencil(1.6 * s.spacing, **KINDS[kind], targets=t) for s, t in pairs],
        [t.interpolation(s) for s, t in pairs],
        [s.areas for s in levels],
        [torch.tensor([0, s.n_points]) for s in levels],
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "group"), FRAMED)
def test_random_frames_on_every_level_change_neither_an_encoder_nor_its_weight_gradients(name, group, kind):
    levels, model = [SURFACES[name]()], encoder_of(group)
    while len(levels) < 3:
        levels.append(levels[-1].coarser())
    gauges = [gauge_of(s.n_points, model.in_type, seed=i) for i, s in enumerate(levels)]
    still = [(torch.zeros(s.n_points), None) for s in levels]
    before, after = in_gauges(levels, still, kind), in_gauges(levels, gauges, kind)
    x = field(levels[0].n_points, model.in_type)
    assert_gauge_equivariant(
        model,
        x,
        model.in_type,
        model.head[0].in_type,
        lambda v: model(v, before),
        lambda v: model(v, after),
        gauges[0],
        gauges[0],
    )


@pytest.mark.parametrize("name", ["Möbius strip", "Klein bottle", *QUOTIENTS])
def test_a_layer_whose_group_does_not_mirror_is_refused(name):
    s = SURFACES[name]()
    stencil, x = s.stencil(2.5 * s.spacing, kind="log"), torch.zeros(s.n_points, 1)
    with pytest.raises(GroupError, match=f"live in {s.group}.*group SO2"):
        GaugeConv("1x0", "1x0")(x, stencil)
    with pytest.raises(GroupError, match="group trivial"):
        GaugeConv("trivial: 1x0", "trivial: 1x0", max_frequency=1)(x, stencil)
