"""The cone: what straight lines in the plane it unrolls to say of it."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError, GroupError
from geocnn.geometry import cone, holonomy_group
from geocnn.geometry.flat.cones import ring_counts
from geocnn.groups import FieldType
from geocnn.nn import GaugeConv
from tests.nn.gauge import assert_gauge_equivariant, gauge_of


@pytest.mark.parametrize(
    ("k", "n", "group"),
    [
        (5, 6, "C6"),
        (1, 3, "C3"),
        (2, 4, "C2"),
        (1, 1, "trivial"),
        (5, 4, "C4"),
        (3, 10, "C10"),
        (2, 1, "trivial"),
        (1, 30, "C30"),
        (7, 360, "C360"),
    ],
)
def test_holonomy_is_the_rotation_by_the_angle(k, n, group):
    s = cone(2 * math.pi * k / n, rings=4)
    assert str(s.group) == str(holonomy_group(s).group) == group
    # once around, from each point of the third ring to the next
    counts = ring_counts(s.angle, 4)
    ring = torch.arange(int(counts[:2].sum()), int(counts[:3].sum()))
    step = s.log(ring.roll(-1), ring)
    # a vector that is carried counter-clockwise turns by the apex' curvature 2π − α
    turns = float(step.angle.sum() + s.angle) / (2 * math.pi)
    assert turns == pytest.approx(round(turns), abs=1e-12)


def test_any_other_angle_gives_all_rotations():
    assert str(cone(1.0, rings=4).group) == "SO2"


@pytest.mark.parametrize("angle", [0.7, 2.0, 2 * math.pi, 9.0])
def test_areas_and_rings(angle):
    s = cone(angle, rings=6)
    assert float(s.areas.sum()) == pytest.approx(angle * 18, rel=1e-14)
    r = s.points.norm(dim=1)
    counts = torch.bincount((r - 0.5).round().long())
    assert counts.tolist() == ring_counts(angle, 6).tolist()
    # neighbours on a ring are about a step apart, where there is room for three
    apart = angle * (torch.arange(6) + 0.5) / counts
    assert apart.max() <= 1.5 and apart[angle * (torch.arange(6) + 0.5) >= 3].min() >= 2 / 3


@pytest.mark.parametrize("angle", [1.0, 5.0, 2 * math.pi, 7.0, 14.0])
def test_the_embedding_is_isometric(angle):
    """Short ways are as long in space, to third order; frames are their directions."""
    s = cone(angle, rings=5)
    p = torch.arange(s.n_points)
    for v in ([1e-5, 0.0], [0.0, 1e-5]):
        v = torch.tensor([v], dtype=torch.float64).expand(len(p), 2)
        e = s.exp(p, v)
        along = ((e.points - s.points)[:, None] * s.frames).sum(-1)
        torch.testing.assert_close(along, v, rtol=0, atol=1e-9)
        torch.testing.assert_close((e.points - s.points).norm(dim=1), v.norm(dim=1), rtol=0, atol=1e-9)


def test_a_full_turn_is_the_plane():
    s = cone(2 * math.pi, rings=8)
    g = torch.Generator().manual_seed(0)
    p, q = torch.randint(s.n_points, (2, 200), generator=g)
    expected = (s.points[q] - s.points[p])[:, :2]
    log = s.log(p, q)
    torch.testing.assert_close(log.vectors[log.reached], expected[log.reached], rtol=0, atol=1e-12)
    assert log.reached.double().mean() > 0.95
    # as an element, 2π is none
    torch.testing.assert_close(log.angle.cos(), torch.ones(200).double(), rtol=0, atol=1e-12)


def test_a_straight_line_passes_the_apex_at_its_distance_and_ends_where_the_sector_says():
    s = cone(math.pi, rings=8)  # half a plane: its edge glued to itself, upside down
    base = torch.tensor([0])
    start = torch.polar(s.points[base].norm(dim=1), torch.tensor([math.pi / 6], dtype=torch.float64))
    v = torch.tensor([[-2.0, 0.0]], dtype=torch.float64)
    end = start + torch.complex(v[:, 0], v[:, 1])
    e = s.exp(base, v)
    assert float(e.points.norm()) == pytest.approx(float(end.abs()), abs=1e-12)
    back = s.exp(base, 2 * v)
    # beyond the cut: the other way round
    around = math.atan2(float(back.points[0, 1]), float(back.points[0, 0])) % (2 * math.pi)
    assert around / 2 == pytest.approx(float(torch.angle(start + 2 * (end - start))), abs=1e-12)


def test_exp_stops_in_the_apex_and_at_the_rim_and_says_so():
    s = cone(2.0, rings=4)
    base = torch.zeros(4, dtype=torch.int64)
    inward = -torch.polar(
        torch.ones(1).double(), torch.tensor([1 / 3], dtype=torch.float64)
    )  # φ of the first of three
    v = torch.view_as_real(inward) * torch.tensor([[0.25], [2.0], [-3.5], [-3.75]]).double()
    e = s.exp(base, v)
    assert e.inside.tolist() == [True, False, True, False]
    expected = torch.tensor([0.25, 0.5, 3.5, 3.5]).double()
    torch.testing.assert_close(e.travelled, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(
        e.points.norm(dim=1), torch.tensor([0.25, 0.0, 4.0, 4.0]).double(), rtol=0, atol=1e-11
    )


def test_what_lies_behind_the_apex_is_not_reached():
    s = cone(3 * math.pi, rings=3)
    counts = ring_counts(s.angle, 3)
    q = torch.arange(s.n_points)
    phi = torch.cat([(torch.arange(int(n)) + 0.5) * s.angle / n for n in counts])
    apart = (phi - phi[0]).abs()
    apart = torch.minimum(apart, s.angle - apart)
    log = s.log(torch.zeros_like(q), q)
    assert torch.equal(log.reached, apart < math.pi) and not log.reached.all()
    assert (log.vectors[~log.reached] == 0).all()


def test_a_log_stencil_meets_a_point_on_every_way_around_the_apex():
    s = cone(1.0, rings=8)
    st = s.stencil(3.0, kind="log")
    pairs = st.target * s.n_points + st.source
    assert len(pairs.unique()) < len(pairs)
    weight = torch.zeros(s.n_points).double().index_add_(0, st.target, st.weight)
    # quadrature of a disc of about 28 cells
    assert (weight[s.points.norm(dim=1) < 4.4] - 1).abs().max() < 0.15


def test_interpolation_keeps_constants_and_what_is_linear_in_the_distance():
    s, finer = cone(2.0, rings=16).coarser(), cone(2.0, rings=16)
    read = s.interpolation(finer)
    total = torch.zeros(finer.n_points).double().index_add_(0, read.target, read.weight)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-14)
    r = s.points.norm(dim=1)
    found = torch.zeros_like(total).index_add_(0, read.target, read.weight * r[read.source])
    expected = finer.points.norm(dim=1).clamp(r.min(), r.max())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize(
    ("k", "group"), [(5 / 6, "C6: 1x0 + 1x1 + 1x3"), (0.3, "SO2: 1x0 + 1x1"), (0.3, "O2: 1x0e + 1x1")]
)
def test_layers_of_the_cone_s_group_do_not_depend_on_frames(k, group, kind):
    s, field_type = cone(2 * math.pi * k, rings=6), FieldType(group)
    torch.manual_seed(0)
    layer = GaugeConv(field_type, field_type, rings=2, max_frequency=3).double()
    gauge = gauge_of(s.n_points, field_type)
    before, after = s.stencil(2.3, kind=kind), s.turn_frames(*gauge).stencil(2.3, kind=kind)
    x = torch.randn(
        s.n_points, field_type.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    assert_gauge_equivariant(
        layer, x, field_type, field_type, lambda v: layer(v, before), lambda v: layer(v, after), gauge, gauge
    )


def test_a_layer_of_a_smaller_group_is_refused():
    layer = GaugeConv("C3: 1x0", "C3: 1x0", max_frequency=2).double()
    with pytest.raises(GroupError, match="C6"):
        layer(torch.zeros(168, 1).double(), cone(2 * math.pi * 5 / 6, rings=8).stencil(2.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cone(0.0, 4), "radians from 0.01 to 100, got 0.0"),
        (lambda: cone(math.nan, 4), "nan"),
        (lambda: cone("a", 4), "'a'"),
        (lambda: cone(1.0, 0), "rings must be a positive integer, got 0"),
        (lambda: cone(1.0, 2.0), "2.0"),
        (lambda: cone(1.0, 3).coarser(), "3 rings cannot be halved"),
        (lambda: cone(1.0, 4).stencil(1.0, targets=cone(1.1, 4)), "very surface"),
        (lambda: cone(1.0, 4).stencil(1.0, targets=cone(1.0, 2)), "very surface"),
    ],
)
def test_bad_input_is_a_typed_error(call, message):
    with pytest.raises(GeometryError, match=message):
        call()
