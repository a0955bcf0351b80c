"""The plane and the torus: values known by counting."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import plane, torus
from tests.laws import operator


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
        (lambda: torus((6, 8)).stencil(3.1, kind="log"), "meets itself"),
        (lambda: plane((8, 8)).stencil(1.0, targets=torus((8, 8))), "very surface"),
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
