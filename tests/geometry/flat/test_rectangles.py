"""The plane and its quotients: values known by counting, and the isometries of strip and bottle."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import cylinder, klein_bottle, mobius_strip, plane, torus
from geocnn.groups import FieldType, cyclic
from geocnn.nn import GaugeConv
from tests.laws import operator
from tests.nn.gauge import assert_gauge_equivariant, gauge_of


def test_point_number_is_row_times_width_plus_column():
    s = plane((3, 4))
    assert s.points[1 * 4 + 2].tolist() == [2.0, 1.0]


def test_the_torus_shortest_way_may_cross_the_seam():
    l = torus((4, 6)).log(torch.tensor([0, 0, 0]), torch.tensor([5, 18, 23]))
    assert l.vectors.tolist() == [[-1.0, 0.0], [0.0, -1.0], [-1.0, -1.0]]


def test_half_way_round_the_torus_the_same_way_is_taken_from_every_point():
    s = torus((4, 4))
    p = torch.arange(16)
    q = (p // 4) * 4 + (p + 2) % 4
    assert s.log(p, q).vectors.unique(dim=0).tolist() == [[-2.0, 0.0]]


def test_exp_stops_at_the_edge_of_the_plane_and_says_so():
    s = plane((5, 5))
    e = s.exp(torch.tensor([12, 12, 12]), torch.tensor([[2.0, 0.0], [4.0, 0.0], [3.0, 4.0]]))
    assert e.inside.tolist() == [True, False, False]
    # the edge is half a cell beyond the last centre: at x = 4.5, y = 4.5
    expected = torch.tensor([[4.0, 2.0], [4.5, 2.0], [2 + 0.625 * 3, 4.5]], dtype=torch.float64)
    torch.testing.assert_close(e.points, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(e.travelled, torch.tensor([2.0, 2.5, 3.125]).double(), rtol=0, atol=1e-10)


def test_bilinear_weights_are_the_areas_opposite():
    s = plane((4, 4))
    e = s.exp(torch.tensor([5]), torch.tensor([[0.25, 0.5]]))
    read = dict(zip(e.source[0].tolist(), e.weight[0].tolist(), strict=True))
    assert read == {5: 0.375, 6: 0.125, 9: 0.375, 10: 0.125}


def test_a_stencil_of_the_torus_is_the_same_everywhere():
    h, w = 6, 8
    s = torus((h, w))
    for kind in ("exp", "log"):
        dense = operator(s.stencil(2.3, kind=kind)).unflatten(-1, (h, w)).unflatten(2, (h, w))
        moved = dense.roll((1, 3, 1, 3), (2, 3, 4, 5))
        # positions are small multiples of halves; the quadrature nodes round differently at each
        torch.testing.assert_close(moved, dense, rtol=0, atol=1e-13)


def test_inside_the_plane_its_stencil_is_the_torus_one():
    inner = torch.tensor([3 * 8 + 3, 4 * 8 + 4])
    for kind in ("exp", "log"):
        flat, round_ = (make((8, 8)).stencil(2.5, kind=kind, targets=inner) for make in (plane, torus))
        torch.testing.assert_close(operator(flat), operator(round_), rtol=0, atol=1e-13)


def test_coarser_cells_hold_four_finer_ones():
    s = plane((4, 6))
    coarse = s.coarser()
    owner = (torch.arange(4)[:, None] // 2 * 3 + torch.arange(6) // 2).flatten()
    centres = torch.zeros(6, 2, dtype=torch.float64).index_add_(0, owner, s.points) / 4
    torch.testing.assert_close(coarse.points, centres, rtol=0, atol=0)
    torch.testing.assert_close(coarse.areas, torch.full((6,), 4.0).double(), rtol=0, atol=0)


def test_reading_the_coarse_plane_at_fine_points_keeps_constants_to_the_corner():
    s = plane((8, 8))
    up = s.coarser().interpolation(s)
    total = torch.zeros(64, dtype=torch.float64).index_add_(0, up.target, up.weight)
    torch.testing.assert_close(total, torch.ones(64).double(), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plane((0, 4)), r"\(0, 4\)"),
        (lambda: torus((4, 4, 4)), "rows, columns"),
        (lambda: torus(8), "rows, columns"),
        (lambda: plane((4.0, 4)), "positive integers"),
        (lambda: plane((5, 4)).coarser(), "5 x 4 .* even sides"),
        (lambda: torus((6, 8)).stencil(3.1, kind="log"), "overlaps itself"),
        (lambda: mobius_strip((8, 5)).stencil(2.6, kind="log"), "closes after 5"),
        (lambda: klein_bottle((6, 8)).stencil(3.1, kind="log"), "closes after 6"),
        (lambda: klein_bottle((6, 5)).coarser(), "6 x 5 .* even sides"),
        (lambda: plane((8, 8)).stencil(1.0, targets=torus((8, 8))), "very surface"),
        (lambda: mobius_strip((8, 8)).stencil(1.0, targets=cylinder((8, 8))), "very surface"),
        (lambda: torus((8, 8)).stencil(1.0, targets=torus((4, 4))), "very surface"),
    ],
)
def test_bad_input_is_a_typed_error(call, message):
    with pytest.raises(GeometryError, match=message):
        call()


def test_the_log_disc_may_touch_itself_but_not_overlap():
    st = torus((6, 8)).stencil(3.0, kind="log")
    assert st.row_ptr.diff().unique().tolist() == [
        sum(math.hypot(x, y) <= 3 for x in range(-4, 4) for y in range(-3, 3))
    ]


def test_however_far_one_goes_the_torus_end_point_lies_in_the_rectangle():
    s = torus((4, 6))
    v = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20
    e = s.exp(torch.zeros(200, dtype=torch.int64), v)
    size = torch.tensor([6.0, 4.0], dtype=torch.float64)
    assert ((e.points >= -0.5) & (e.points < size - 0.5)).all()
    turns = (v - e.points) / size
    torch.testing.assert_close(turns, turns.round(), rtol=0, atol=1e-12)


# ----------------------------------------------------------------------------------------- Möbius and Klein


def once_around(s, row: int, passes: int = 1):
    """Read where one arrives, `passes` times around from the first point of a row."""
    base = torch.tensor([row * s.shape[1]])
    e = s.exp(base, torch.tensor([[float(passes * s.shape[1] * s.step), 0.0]]))
    k = int(e.weight[0].argmax())
    assert float(e.weight[0, k]) == pytest.approx(1, abs=1e-12)
    return int(e.source[0, k]), float(e.angle[0, k]), None if e.flip is None else bool(e.flip[0, k])


def test_once_around_the_strip_is_one_flip_and_twice_is_none():
    s = mobius_strip((5, 8))
    assert once_around(s, row=2) == (2 * 8, 0.0, True)
    assert once_around(s, row=1) == (3 * 8, 0.0, True)
    assert once_around(s, row=1, passes=-2) == (1 * 8, 0.0, False)
    assert once_around(cylinder((5, 8)), row=1) == (1 * 8, 0.0, None)


def test_holonomy_of_the_middle_line_step_by_step_is_one_flip():
    s = klein_bottle((5, 6))
    around = torch.arange(2 * 6, 3 * 6)
    step = s.log(around.roll(-1), around)
    assert step.angle.abs().max() == 0 and int(step.flip.sum()) == 1
    assert step.vectors.tolist() == [[-1.0, 0.0]] * 6


def test_up_and_around_the_bottle_differ():
    s = klein_bottle((4, 6))
    e = s.exp(torch.tensor([7]), torch.tensor([[0.0, 4.0]]))
    k = int(e.weight[0].argmax())
    assert int(e.source[0, k]) == 7 and not bool(e.flip[0, k])


def test_a_cell_half_over_the_seam_is_read_from_both_sides_each_with_its_flip():
    e = mobius_strip((4, 6)).exp(torch.tensor([5]), torch.tensor([[0.25, 0.5]]))
    read = {int(i): (float(w), bool(f)) for i, w, f in zip(e.source[0], e.weight[0], e.flip[0], strict=True)}
    # rows 0 and 1 go on in rows 3 and 2
    assert read == {5: (0.375, False), 11: (0.375, False), 18: (0.125, True), 12: (0.125, True)}


def test_on_the_cylinder_and_the_strip_exp_stops_at_the_edges_that_are_left():
    for make in (cylinder, mobius_strip):
        e = make((5, 4)).exp(torch.tensor([8, 8]), torch.tensor([[4.0, 2.0], [4.0, 4.0]]))
        assert e.inside.tolist() == [True, False]
        # the second has gone 2.5 along each side; past the strip's seam, up is down
        y = 4.5 if make is cylinder else 2 + 2.5
        torch.testing.assert_close(e.points[1], torch.tensor([2.5, y]).double(), rtol=0, atol=1e-10)
        assert float(e.travelled[1]) == pytest.approx(2.5 * math.sqrt(2))


def test_past_the_mirrored_seam_up_is_down():
    e = mobius_strip((5, 4)).exp(torch.tensor([11]), torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(e.points, torch.tensor([[1.0, 1.0]]).double(), rtol=0, atol=1e-12)


def test_a_halved_strip_is_glued_as_the_whole_one():
    for make in (mobius_strip, klein_bottle):
        s = make((6, 8))
        coarse = s.coarser()
        assert coarse.n_points == 12 and coarse.group == s.group
        # down and up again: each coarse cell lies in the middle of four fine ones, over the seam as well
        down = s.interpolation(coarse)
        assert down.weight.abs().gt(1e-12).sum() == 4 * 12
        far = coarse.log(torch.tensor([3]), torch.tensor([8]))
        assert (far.vectors.tolist(), far.flip.tolist()) == ([[2.0, 0.0]], [True])


def moved(field_type: FieldType, x: torch.Tensor, shape: tuple[int, int], columns: int, upside_down: bool):
    """f'(p) = rho(g) f(g⁻¹ p) for g: y ↦ h − 1 − y if upside_down, then some columns along the strip."""
    h, w = shape
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    passed = (column - columns).div(w, rounding_mode="floor") % 2 == 1
    flip = passed ^ upside_down
    taken = torch.where(flip, h - 1 - row, row) * w + (column - columns) % w
    return field_type.act(x[..., taken.flatten(), :], torch.zeros(h * w, dtype=torch.float64), flip.flatten())


@pytest.mark.parametrize("options", [{}, {"samples": (2, 7)}, {"kind": "log"}], ids=["exp", "exp odd", "log"])
@pytest.mark.parametrize("make", [mobius_strip, klein_bottle])
@pytest.mark.parametrize(
    ("source", "target", "max_frequency"),
    [
        ("reflection: 2x0e + 2x0o", "reflection: 4x0e + 4x0o", 3),
        ("O2: 1x0e + 1x0o + 1x1", "O2: 1x0e + 1x0o + 2x1", None),
    ],
)
def test_layers_commute_with_the_isometries_of_strip_and_bottle(make, options, source, target, max_frequency):
    s = make((6, 8))
    stencil = s.stencil(2.5, **options)
    torch.manual_seed(0)
    layer = GaugeConv(source, target, rings=2, max_frequency=max_frequency).double()
    g = torch.Generator().manual_seed(1)
    x = torch.randn(2, 48, layer.in_type.dim, generator=g, dtype=torch.float64)
    y = layer(x, stencil)
    cotangent = torch.randn(y.shape, generator=g, dtype=torch.float64)
    gradients = torch.autograd.grad(y, list(layer.parameters()), cotangent, retain_graph=True)
    for columns, upside_down in ((1, False), (5, True), (8, False), (0, True)):
        g_x = moved(layer.in_type, x, (6, 8), columns, upside_down)
        g_y = moved(layer.out_type, y, (6, 8), columns, upside_down)
        turned = layer(g_x, stencil)
        # sums of some hundred terms near 1
        torch.testing.assert_close(turned, g_y, rtol=0, atol=1e-12)
        g_cotangent = moved(layer.out_type, cotangent, (6, 8), columns, upside_down)
        again = torch.autograd.grad(turned, list(layer.parameters()), g_cotangent)
        for a, b in zip(again, gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_to_read_past_the_seam_as_if_it_were_straight_is_seen():
    s = mobius_strip((6, 8))
    layer = GaugeConv("reflection: 1x0o", "reflection: 1x0e", max_frequency=2).double()
    x = torch.randn(48, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shifted = moved(layer.in_type, x, (6, 8), 3, False)
    stencil = cylinder((6, 8)).stencil(2.5)
    y, y_shifted = layer(x, stencil), layer(shifted, stencil)
    assert (y_shifted - moved(layer.out_type, y, (6, 8), 3, False)).abs().max() > 0.01
    assert s.group.flips and not cylinder((6, 8)).group.flips


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("group", ["reflection: 2x0e + 2x0o", "O2: 1x0e + 1x0o + 1x1"])
def test_random_gauges_with_flips_change_nothing_on_the_strip(group, kind):
    s, field_type = mobius_strip((6, 8)), FieldType(group)
    torch.manual_seed(0)
    layer = GaugeConv(field_type, field_type, rings=2, max_frequency=2).double()
    gauge = gauge_of(48, field_type)
    before, after = s.stencil(2.5, kind=kind), s.turn_frames(*gauge).stencil(2.5, kind=kind)
    x = torch.randn(48, field_type.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_gauge_equivariant(
        layer, x, field_type, field_type, lambda v: layer(v, before), lambda v: layer(v, after), gauge, gauge
    )


@pytest.mark.parametrize(
    "given", [torch.Tensor.float, torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist]
)
def test_quarter_turns_stay_quarter_turns_however_they_are_given(given):
    """Single precision has π/2 to 4e-8; taken for any angle, the group would be SO(2)."""
    alpha = given(torch.arange(16).double() % 3 * (torch.pi / 2))
    s, turned = torus((4, 4)).turn_frames(alpha), torus((4, 4)).stencil(1.5).turn_frames(alpha)
    assert s.group == s.stencil(1.5).group == turned.group == cyclic(4)
    quarters = turned.angle / (torch.pi / 2)
    # sums of a few multiples of π/2
    assert float((quarters - quarters.round()).abs().max()) < 1e-14
