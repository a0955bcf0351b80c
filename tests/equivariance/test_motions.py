"""Motions carry fields so that GaugeConv follows them; finer grids, and other grids, of one surface."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.equivariance.fields import noise, random_spectrum, rotated, shifted, smooth
from geocnn.equivariance.grids import finer, refined_faces, remeshed, transform_grid, turn_between
from geocnn.equivariance.motions import motion, motions, slide
from geocnn.geometry import healpix, icosphere, mesh, mobius_strip, plane, ring_grid, torus
from geocnn.groups import FieldType
from geocnn.groups.planar import O2, SO2, TRIVIAL
from geocnn.groups.rotations import random_rotations
from geocnn.nn import GaugeConv
from tests.shapes import cube, jittered_sphere, tetrahedron

TYPES = {SO2: ("1x0 + 1x1", "1x0 + 1x2"), O2: ("O2: 1x0e + 1x0o + 1x1", "O2: 1x0e + 1x0o + 1x2")}
SURFACES = {
    "torus": (torus((8, 8)), SO2, 2.1),
    "plane": (plane((8, 8)), O2, 2.1),
    "Möbius strip": (mobius_strip((8, 12)), O2, 2.1),
    "HEALPix": (healpix(4), SO2, 0.6),
    "icosphere": (icosphere(2), SO2, 0.6),
    "Gauss-Legendre rings": (ring_grid(7, 12), SO2, 0.7),
    "equiangular rings": (ring_grid(6, 8, "equiangular"), SO2, 0.8),
    "cube": (mesh(*cube()), SO2, 0.8),
    "tetrahedron": (mesh(*tetrahedron()), SO2, 1.5),
}


@pytest.mark.parametrize("name", SURFACES)
def test_a_layer_commutes_with_every_motion_in_any_gauge(name):
    s, group, radius = SURFACES[name]
    g = torch.Generator().manual_seed(0)
    s = s.turn_frames(*group.sample(s.n_points, g))
    source, target = (FieldType(t) for t in TYPES[group])
    layer, stencil, x = (
        GaugeConv(source, target).double(),
        s.stencil(radius, kind="log"),
        noise(s.n_points, source, 0),
    )
    assert len(motions(s, group)) >= 2
    for each in motions(s, group):
        move = motion(s, each)
        assert move.target.sort().values.equal(torch.arange(s.n_points))
        with torch.no_grad():
            torch.testing.assert_close(
                layer(move.carry(x, source), stencil),
                move.carry(layer(x, stencil), target),
                rtol=0,
                atol=1e-11,
            )


def test_a_group_without_the_turn_does_not_claim_it():
    assert motions(torus((4, 4)), TRIVIAL) == []
    assert motions(torus((4, 6)), SO2) == ["half turn"]
    assert motions(mesh(*jittered_sphere(40)), SO2) == []
    assert motions(ring_grid(4, 6), SO2) == ["half turn about x"]


def test_twice_around_the_strip_is_home_and_once_is_not():
    s, t = mobius_strip((4, 6)), FieldType("O2: 1x0o + 1x1")
    x = noise(24, t, 0)
    once = slide(s, 6, 0).carry(x, t)
    assert torch.equal(slide(s, 6, 0).carry(once, t), x) and not torch.equal(once, x)


@pytest.mark.parametrize(
    ("s", "within"),
    # three Jacobi iterations leave 3e-5 of it in the mean square (harmonics.analysis)
    [(healpix(16, nested=True), 1e-3), (ring_grid(8), 1e-12), (ring_grid(12, 13, "equiangular"), 1e-12)],
    ids=["HEALPix", "Gauss-Legendre", "equiangular"],
)
def test_spectral_rotation_of_a_field_is_the_rotated_field(s, within):
    t, r = FieldType("1x0 + 2x1 + 1x2"), random_rotations(1, torch.Generator().manual_seed(0))[0]
    grid = transform_grid(s)
    theta, phi = grid.angles()
    x, y = theta.sin() * phi.cos(), theta.sin() * phi.sin()
    torch.testing.assert_close(torch.stack([x, y, theta.cos()], 1), s.points, rtol=0, atol=1e-14)
    x, turned = random_spectrum(grid, t, 5, r, 0)
    torch.testing.assert_close(
        rotated(x, t, r, grid), turned, rtol=0, atol=within * float(turned.abs().max())
    )


def test_shifts_by_parts_of_a_cell_add_up_to_whole_ones():
    y = smooth(torus((8, 12)), FieldType("2x0"), 5.0, 0).mT.unflatten(-1, (8, 12))
    glued = (True, True)
    thrice = y
    for _ in range(3):
        thrice = shifted(thrice, (1 / 3, 2 / 3), glued)
    torch.testing.assert_close(thrice, shifted(y, (1.0, 2.0), glued), rtol=0, atol=1e-12)
    assert torch.equal(shifted(y, (1.0, 2.0), glued), y.roll((2, 1), (-2, -1)))


@pytest.mark.parametrize("s", [torus((4, 6)), healpix(2), icosphere(1), mesh(*jittered_sphere(60))], ids=repr)
def test_a_finer_grid_has_the_same_area_and_half_the_spacing(s):
    fine = finer(s)
    assert math.isclose(float(fine.areas.sum()), float(s.areas.sum()), rel_tol=1e-12)
    assert math.isclose(fine.n_points / s.n_points, 4, rel_tol=0.15)


def test_other_triangles_of_a_mesh_are_the_same_surface():
    s = mesh(*jittered_sphere(60))
    one, two = remeshed(s, 0)
    assert not torch.equal(one.faces, two.faces) and torch.equal(one.points, two.points)
    # corner angles at every vertex add up alike: nothing intrinsic has changed
    torch.testing.assert_close(one.triangulation.defect, two.triangulation.defect, rtol=0, atol=1e-12)
    # a tangent vector is the same in both, and so is where its geodesic ends
    turn, v = turn_between(one, two), torch.tensor([[0.2, 0.1]], dtype=torch.float64).expand(one.n_points, 2)
    every = torch.arange(one.n_points)
    w = FieldType("1x1").act(v, turn)
    torch.testing.assert_close(two.exp(every, w).points, one.exp(every, v).points, rtol=0, atol=1e-9)


def test_old_vertices_keep_their_numbers_and_their_edges_their_directions():
    s = mesh(*jittered_sphere(60))
    fine = mesh(*refined_faces(s))
    assert torch.equal(fine.points[: s.n_points], s.points)
    every = torch.arange(s.n_points)
    v = torch.tensor([[0.2, 0.1]], dtype=torch.float64).expand(s.n_points, 2)
    w = FieldType("1x1").act(v, turn_between(s, fine))
    torch.testing.assert_close(fine.exp(every, w).points, s.exp(every, v).points, rtol=0, atol=1e-9)
