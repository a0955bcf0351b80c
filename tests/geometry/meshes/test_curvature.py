"""Topology determines the sum of the curvature; its values converge to those of the smooth surface."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.data.meshes import mesh_file
from geocnn.data.store import describe
from geocnn.errors import GeometryError
from geocnn.geometry import (
    angle_defects,
    cone,
    gauss_bonnet,
    gaussian_curvature,
    healpix,
    icosphere,
    load,
    mesh,
    plane,
    projective_plane,
    torus,
)
from geocnn.geometry.spheres.icosahedron import Icosahedron
from tests.geometry.loops.test_cycles import SHAPES
from tests.laws import random_gauge
from tests.shapes import cube, figure_eight, jittered_sphere, ring, sheet, twisted

SHIPPED = [entry["mesh"] for entry in describe("meshes")["files"] if "mesh" in entry]


@pytest.mark.parametrize("name", SHIPPED)
def test_gauss_and_bonnet_hold_on_shipped_meshes(name):
    assert abs(gauss_bonnet(load(mesh_file(name)))) < 1e-9


@pytest.mark.parametrize("name", SHAPES)
def test_gauss_and_bonnet_hold_with_handles_holes_and_parts(name):
    assert abs(gauss_bonnet(mesh(*SHAPES[name][0]))) < 1e-9


def test_gauss_and_bonnet_hold_on_spheres():
    assert abs(gauss_bonnet(healpix(8))) < 1e-12
    assert abs(gauss_bonnet(projective_plane(8))) < 1e-12
    assert abs(gauss_bonnet(icosphere(3))) < 1e-11


@pytest.mark.parametrize(("shape", "euler"), [(twisted(20, 6, 0.2), 0), (figure_eight(24, 18, 0.1), 0)])
def test_gauss_and_bonnet_hold_with_one_side(shape, euler):
    s = mesh(*shape)
    assert abs(gauss_bonnet(s)) < 1e-11
    assert abs(float(angle_defects(s).sum()) - 2 * math.pi * euler) < 1e-11
    inner = torch.where(s.triangulation.boundary[: s.n_vertices], 0, angle_defects(s))
    assert abs(float((gaussian_curvature(s) * s.areas).sum() - inner.sum())) < 1e-11
    level = s.coarser()
    assert abs(float((gaussian_curvature(level) * level.areas).sum() - inner.sum())) < 1e-9


def test_the_sum_is_not_forced():
    s = mesh(*jittered_sphere(100))
    assert abs(float(angle_defects(s).sum()) - 4 * math.pi) < 1e-11
    s.triangulation.angle[0] += 0.1
    assert abs(gauss_bonnet(s) + 0.1) < 1e-11


def test_defects_of_a_cube_and_of_a_sheet():
    torch.testing.assert_close(angle_defects(mesh(*cube())), torch.full((8,), math.pi / 2).double())
    turns = angle_defects(mesh(*sheet(3, 2))).view(3, 4) / (math.pi / 2)
    expected = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 1]]).double()
    torch.testing.assert_close(turns, expected, rtol=0, atol=1e-12)


def test_it_is_the_sphere_s_and_the_torus_of_revolution_s():
    solid = Icosahedron(3)
    s = mesh(2 * solid.points, solid.faces[-1])
    # radius 2; at the icosahedron's own vertices, of degree five, an error of some per cent remains
    assert (gaussian_curvature(s) - 0.25).abs().median() < 0.005
    n, m = 120, 60
    made = mesh(*ring(n, m))
    v = torch.arange(m).repeat(n) * (2 * math.pi / m)
    exact = v.cos() / (0.4 * (1 + 0.4 * v.cos()))
    assert (gaussian_curvature(made) - exact).abs().max() < 0.05 * exact.abs().max()


def test_it_integrates_to_the_total_on_every_level():
    s = mesh(*jittered_sphere(600, 0.2))
    for level in (s, s.coarser(), s.coarser().coarser()):
        assert abs(float((gaussian_curvature(level) * level.areas).sum()) - 4 * math.pi) < 1e-9


def test_it_is_a_scalar_and_the_defects_over_thirds_of_the_faces():
    s = mesh(*sheet(5, 4, 0.3))
    bent = mesh(s.points + 0.1 * s.points[:, :1] ** 2 * torch.tensor([0.0, 0, 1]), s.faces)
    k = gaussian_curvature(bent)
    corner = bent.points[bent.faces]
    ahead, back = corner.roll(-1, 1) - corner, corner.roll(1, 1) - corner
    angle = torch.acos(torch.nn.functional.cosine_similarity(ahead, back, dim=-1))
    third = torch.linalg.cross(ahead[:, 0], back[:, 0], dim=-1).norm(dim=1) / 6
    zero = torch.zeros(bent.n_points, dtype=torch.float64)
    area = zero.index_add(0, bent.faces.flatten(), third.repeat_interleave(3))
    defect = 2 * math.pi - zero.index_add(0, bent.faces.flatten(), angle.flatten())
    inner = k != 0
    # rounding of acos at angles near π/2
    torch.testing.assert_close(k[inner], (defect / area)[inner], rtol=0, atol=1e-11)
    assert int(inner.sum()) == 4 * 3
    torch.testing.assert_close(
        gaussian_curvature(bent.turn_frames(*random_gauge(30, True))), k, rtol=0, atol=0
    )


def test_flat_is_zero_and_a_sphere_one():
    assert (gaussian_curvature(plane((2, 3))) == 0).all()
    assert (gaussian_curvature(torus((2, 3))) == 0).all()
    assert (gaussian_curvature(cone(1.0, 3)) == 0).all()
    assert (gaussian_curvature(projective_plane(2)) == 1).all()
    assert (gaussian_curvature(icosphere(1)) == 1).all()
    with pytest.raises(GeometryError, match="projective plane, got a Flat"):
        gauss_bonnet(plane((2, 3)))  # type: ignore[arg-type]
