"""The subdivided icosahedron: Euler's formula, nesting, and the triangle a direction falls in."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.geometry.spheres.icosahedron import Icosahedron, triangle_areas


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_counts_are_eulers_and_points_lie_on_the_sphere(level):
    solid = Icosahedron(level)
    faces = solid.faces[-1]
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values.unique(dim=0)
    assert len(solid.points) == 10 * 4**level + 2
    assert len(faces) == 20 * 4**level
    assert len(solid.points) - len(edges) + len(faces) == 2
    torch.testing.assert_close(
        solid.points.norm(dim=1), torch.ones(len(solid.points)).double(), rtol=0, atol=1e-15
    )
    # twelve corners of degree 5, all others of degree 6
    degree = torch.bincount(edges.flatten())
    assert (degree == 5).sum() == 12 and (degree == 6).sum() == len(degree) - 12


def test_the_base_is_regular():
    points = Icosahedron(0).points
    dots = (points @ points.T).flatten().sort().values
    s = 1 / math.sqrt(5)
    expected = torch.tensor([-1.0] * 12 + [-s] * 60 + [s] * 60 + [1.0] * 12, dtype=torch.float64)
    torch.testing.assert_close(dots, expected, rtol=0, atol=1e-15)


def test_faces_turn_counter_clockwise_and_cover_the_sphere_once():
    solid = Icosahedron(3)
    areas = triangle_areas(solid.points, solid.faces[-1])
    assert (areas > 0).all()
    assert math.isclose(float(areas.sum()), 4 * math.pi, rel_tol=1e-13)


def test_an_octant_has_area_half_pi():
    areas = triangle_areas(torch.eye(3, dtype=torch.float64), torch.tensor([[0, 1, 2], [0, 2, 1]]))
    torch.testing.assert_close(areas, torch.tensor([math.pi / 2, -math.pi / 2]).double())


def test_coarser_points_come_first_and_children_tile_their_parent():
    coarse, fine = Icosahedron(1), Icosahedron(2)
    assert torch.equal(fine.points[: len(coarse.points)], coarse.points)
    parent = triangle_areas(fine.points, fine.faces[1])
    children = triangle_areas(fine.points, fine.faces[2]).view(-1, 4).sum(1)
    torch.testing.assert_close(children, parent, rtol=0, atol=1e-14)


def test_locate_finds_the_face_that_brute_force_finds():
    solid = Icosahedron(3)
    p = torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = p / p.norm(dim=1, keepdim=True)
    corners, weight = solid.locate(p)
    a, b, c = solid.points[solid.faces[-1]].unbind(1)
    sides = [torch.linalg.cross(u, v, dim=-1) @ p.T for u, v in ((a, b), (b, c), (c, a))]
    inside = torch.stack(sides).amin(0).argmax(0)
    assert torch.equal(corners, solid.faces[-1][inside])
    torch.testing.assert_close(weight.sum(1), torch.ones(500).double(), rtol=0, atol=1e-14)
    # the weighted corners lie on the ray
    on_ray = (solid.points[corners] * weight[..., None]).sum(1)
    torch.testing.assert_close(on_ray / on_ray.norm(dim=1, keepdim=True), p, rtol=0, atol=1e-13)


def test_locate_at_a_corner_is_that_corner():
    solid = Icosahedron(2)
    corners, weight = solid.locate(solid.points)
    best = corners.gather(1, weight.argmax(1, keepdim=True))[:, 0]
    assert torch.equal(best, torch.arange(len(solid.points)))
    torch.testing.assert_close(weight.amax(1), torch.ones(162).double(), rtol=0, atol=1e-12)
