"""Boundary vertices whose corners exceed 2π: directions, samples, weights and transport around them."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.geometry import Mesh, mesh
from geocnn.geometry.loops.holonomy_groups import face_holonomy
from geocnn.geometry.meshes.curvature import gauss_bonnet
from geocnn.groups.planar import wrapped
from tests.shapes import wound


@pytest.fixture(scope="module")
def wide() -> Mesh:
    """Return a flat mesh with 450° around vertex 0, which is on the boundary: nine sectors of 50°, four
    rings.
    """
    return mesh(*wound(9, 4, math.radians(50)))


def test_directions_fill_the_turn(wide):
    hub, ray = torch.zeros(10, dtype=torch.int64), torch.arange(10)
    for ring in range(4):
        log = wide.log(hub, 1 + ring + 4 * ray)
        polar = torch.atan2(log.vectors[:, 1], log.vectors[:, 0])
        expected = ray.double() * (2 * math.pi / 9)
        # the last ray is less than 1e-10 beside the first
        off = torch.polar(torch.ones_like(polar), polar - expected) - 1
        assert off.abs().max() < 1e-10
        torch.testing.assert_close(log.distance, torch.full((10,), ring + 1.0).double(), rtol=0, atol=1e-12)
        torch.testing.assert_close(wide.exp(hub, log.vectors).points, wide.points[1 + ring + 4 * ray])
        assert log.met.all()


def test_samples_lie_in_all_its_sectors(wide):
    turn = torch.arange(90).double() * (2 * math.pi / 90) + 0.01
    e = wide.exp(torch.zeros(90, dtype=torch.int64), torch.stack([turn.cos(), turn.sin()], 1) * 0.5)
    assert e.inside.all()
    assert torch.equal(torch.bincount(e.face, minlength=9), torch.full((9,), 10))
    st = mesh(*wound(9, 1, math.radians(50))).stencil(0.9, samples=(2, 9), targets=torch.tensor([0]))
    assert math.isclose(float(st.weight.sum()), 1, rel_tol=1e-12)
    # the rays have the weight of two sectors, the first and the last of one
    on_ray = torch.zeros(10).double().index_add_(0, (st.source - 1).clamp_min(0), st.weight * (st.source > 0))
    torch.testing.assert_close(on_ray[1:-1], on_ray[1].expand(8), rtol=0, atol=1e-12)


def test_weights_are_areas_of_the_turn():
    s = mesh(*wound(90, 30, math.radians(5)))
    at_hub = s.stencil(20.0, kind="log", targets=torch.tensor([0]))
    # half of the area of the outermost ring lies beyond the radius, or within
    assert abs(float(at_hub.weight.sum()) - 1) < 1 / 20


def test_transport_by_edges_and_by_logs_is_one(wide):
    c = wide.connection()
    log = wide.log(c.tail, c.head)
    assert wrapped(log.angle - c.angle).abs().max() < 1e-9


def test_face_holonomies_and_the_turning_of_the_rim_sum_to_the_euler_characteristic(wide):
    """This is the Gauss–Bonnet theorem for the connection between vertices, with rescaled corners."""
    t = wide.triangulation
    assert ((t.scale < 1) & t.boundary).nonzero().tolist() == [[0]]
    turning = (math.pi - t.total)[t.boundary].sum()
    assert math.isclose(float(face_holonomy(wide).sum() + turning), 2 * math.pi, rel_tol=1e-12)
    assert abs(gauss_bonnet(wide)) < 1e-11
