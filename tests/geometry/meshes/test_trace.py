"""Geodesics: they are straight where faces lie flat, converge to great circles, and agree with the
GeodesicTracer of potpourri3d (Sharp & Crane).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from geocnn.data.meshes import mesh_file
from geocnn.geometry.io import load_triangles
from geocnn.geometry.meshes.trace import Traced, corner_directions, trace, trace_from_vertices
from geocnn.geometry.meshes.triangulation import Triangulation, triangulate
from tests.shapes import beside, cube, jittered_sphere, sheet, tetrahedron

# sums over a few faces of numbers near 1 to 10
EXACT = 1e-12

MAKE = {
    "bunny": lambda: load_triangles(mesh_file("bunny")),
    "spot": lambda: load_triangles(mesh_file("spot")),
    "hand": lambda: load_triangles(mesh_file("hand")),
    "irregular sphere": lambda: jittered_sphere(2500),
    "bent sheet": lambda: sheet(12, 9, 0.3, seed=1),
}


@cache
def shape(name: str) -> Triangulation:
    return triangulate(*MAKE[name]())


def full(n: int, value: float) -> Tensor:
    return torch.full((n,), value, dtype=torch.float64)


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def angles(n: int, seed: int = 0) -> Tensor:
    return 2 * math.pi * random(n, seed=seed)


def unit(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), angle)


def in_space(t: Triangulation, face: Tensor, place: Tensor) -> Tensor:
    vertex, weight, _ = corner_directions(t, Traced(face, place, place, place.abs(), face >= 0))
    return (weight[..., None] * t.vertices[vertex]).sum(1)


def direction_in_space(t: Triangulation, face: Tensor, direction: Tensor) -> Tensor:
    a, b, c = t.vertices[t.faces[face]].unbind(1)
    e1 = torch.nn.functional.normalize(b - a, dim=1)
    n = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    return direction.real[:, None] * e1 + direction.imag[:, None] * torch.linalg.cross(n, e1)


def random_starts(t: Triangulation, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return faces, places well inside them, directions, and lengths of 1 to 6 edges."""
    face = torch.randint(len(t.faces), (n,), generator=torch.Generator().manual_seed(1))
    weight = random(n, 3, seed=2) + 0.1
    weight = weight / weight.sum(1, keepdim=True)
    place = (weight * t.place.reshape(-1, 3)[face]).sum(1)
    return face, place, unit(angles(n, seed=3)), t.length.mean() * (1 + 5 * random(n, seed=4))


# ------------------------------------------------------------------------------------------------- tracing


def test_on_a_flat_sheet_geodesics_are_straight_lines():
    t = triangulate(*sheet(12, 9, 0.3, seed=1))
    face, place, direction, _ = random_starts(t, 500)
    length = 8 * random(500, seed=5)
    end = trace(t, face, place, direction, length)
    ahead = direction_in_space(t, face, direction)
    expected = in_space(t, face, place) + end.travelled[:, None] * ahead
    torch.testing.assert_close(in_space(t, end.face, end.place), expected, rtol=0, atol=1e-11)
    turned = direction_in_space(t, end.face, end.direction)
    torch.testing.assert_close(turned, ahead, rtol=0, atol=1e-11)
    torch.testing.assert_close(end.travelled[end.inside], length[end.inside], rtol=0, atol=EXACT)


def test_the_boundary_stops_a_geodesic_where_the_line_leaves_the_sheet():
    t = triangulate(*sheet(12, 9, 0.3, seed=1))
    face, place, direction, _ = random_starts(t, 500)
    end = trace(t, face, place, direction, full(500, 100.0))
    assert not end.inside.any()
    start, ahead = in_space(t, face, place), direction_in_space(t, face, direction)
    size = torch.tensor([12.0, 9.0], dtype=torch.float64)
    wall = torch.where(ahead[:, :2] > 0, size, torch.zeros_like(size))
    expected = ((wall - start[:, :2]) / ahead[:, :2]).amin(1)
    torch.testing.assert_close(end.travelled, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "toward", [(1, 0), (0, 1), (1, 1), (-1, 0), (-1, -1), (1, 2), (2, 1), (-1, 1), (3, 2)]
)
def test_lines_along_edges_and_through_vertices_go_straight_on(toward):
    """On the square sheet the directions (1, 0), (0, 1) and (1, 1) run along edges from vertex to vertex. The
    other directions pass through vertices.
    """
    n = 12
    t = triangulate(*sheet(n, n))
    start = torch.tensor([6 + 13 * 6])
    polar = torch.atan2(*torch.tensor(toward[::-1], dtype=torch.float64).split(1))
    frame = t.frames()[start[0]]
    polar = polar - torch.atan2(frame[0, 1], frame[0, 0])  # the axis seen from above
    for share in (0.3, 1.0, 1.5):
        length = full(1, share * math.hypot(*toward))
        end = trace_from_vertices(t, start, polar, length)
        expected = torch.tensor([[6 + share * toward[0], 6 + share * toward[1], 0]], dtype=torch.float64)
        torch.testing.assert_close(in_space(t, end.face, end.place), expected, rtol=0, atol=EXACT)
        assert end.inside.all()
        straight = direction_in_space(t, end.face, end.direction)[0, :2]
        ahead = torch.tensor(toward, dtype=torch.float64) / math.hypot(*toward)
        torch.testing.assert_close(straight, ahead, rtol=0, atol=EXACT)


def test_geodesics_on_a_regular_tetrahedron_are_those_of_the_triangular_lattice():
    """Unfolded, a tetrahedron of edge 1 tiles the plane: the point a + b ω is its vertex (a mod 2) + 2 (b mod
    2).
    """
    v, f = tetrahedron()
    t = triangulate(v / math.sqrt(8), f)
    assert t.faces[0].tolist() == [0, 1, 2]
    n, omega = 400, complex(0.5, math.sqrt(0.75))
    start = torch.full((n,), 0.2 + 0.3 * omega, dtype=torch.complex128)
    direction, length = unit(angles(n, seed=6)), 9 * random(n, seed=7)
    end = trace(t, torch.zeros(n, dtype=torch.int64), start, direction, length)
    landed = start + length * direction
    b = landed.imag / omega.imag
    a = landed.real - b * omega.real
    x, y = a - a.floor(), b - b.floor()
    at, steps = torch.stack([a.floor(), b.floor()], 1).long(), torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
    corners = (at[:, None] + steps) % 2 @ torch.tensor([1, 2])
    # x + y < 1: between corners (0, 0), (1, 0), (0, 1); else between (1, 1) and those two
    up, down = [1 - x - y, x, y, 0 * x], [0 * x, 1 - y, 1 - x, x + y - 1]
    weights = torch.where((x + y < 1)[:, None], torch.stack(up, 1), torch.stack(down, 1))
    expected = (weights[..., None] * t.vertices[corners]).sum(1)
    torch.testing.assert_close(in_space(t, end.face, end.place), expected, rtol=0, atol=1e-11)


def test_around_a_cube_parallel_to_an_edge_it_is_four_sides():
    t = triangulate(*cube())
    # a line on the bottom that meets no vertex
    face = torch.tensor([0])
    place = torch.tensor([0.3, 0.4, 0.3], dtype=torch.float64).to(torch.complex128) @ t.place[:3]
    a, b, _ = t.vertices[t.faces[0]]
    along = (t.place[1] - t.place[0]) / (b - a).norm()
    end = trace(t, face, place[None], along[None], full(1, 4.0))
    torch.testing.assert_close(end.place, place[None], rtol=0, atol=EXACT)
    torch.testing.assert_close(end.direction, along[None], rtol=0, atol=EXACT)
    assert torch.equal(end.face, face)
    halfway = trace(t, face, place[None], along[None], full(1, 2.0))
    mirrored = in_space(t, face, place[None]) * torch.tensor([1, -1, 1]) + torch.tensor([0, 1, 1])
    torch.testing.assert_close(in_space(t, halfway.face, halfway.place), mirrored, rtol=0, atol=EXACT)


@pytest.mark.parametrize("name", ["bunny", "spot"])
def test_ends_agree_with_potpourri3d(name):
    """The ends differ by less than 1e-6 of the mean edge; measured 2e-13."""
    from potpourri3d import GeodesicTracer

    t = shape(name)
    face, place, direction, length = random_starts(t, 600)
    end = trace(t, face, place, direction, length)
    assert end.inside.all()
    ours = in_space(t, end.face, end.place)
    _, weight, _ = corner_directions(t, Traced(face, place, direction, length, face >= 0))
    vectors = length[:, None] * direction_in_space(t, face, direction)
    tracer = GeodesicTracer(t.vertices.numpy(), t.faces.numpy())
    starts = zip(face.tolist(), weight.numpy(), vectors.numpy(), strict=True)
    theirs = np.stack([tracer.trace_geodesic_from_face(*start)[-1] for start in starts])
    assert (ours - torch.from_numpy(theirs)).norm(dim=1).max() < 1e-6 * t.length.mean()


@pytest.mark.parametrize("name", MAKE)
def test_the_way_back_returns_to_the_start_in_the_opposite_direction(name):
    t = shape(name)
    face, place, direction, length = random_starts(t, 500)
    end = trace(t, face, place, direction, length)
    back = trace(t, end.face, end.place, -end.direction, end.travelled)
    # rounding error grows with every vertex that the geodesic passes: a hundredfold over six edges
    at = 1e-9 * float(t.length.mean())
    start, found = in_space(t, face, place), in_space(t, back.face, back.place)
    torch.testing.assert_close(found, start, rtol=0, atol=at)
    same = back.face == face
    assert same.float().mean() > 0.99
    torch.testing.assert_close(back.direction[same], -direction[same], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["bunny", "irregular sphere"])
def test_what_is_parallel_at_an_end_is_carried_straight_to_its_corners(name):
    """A geodesic traced from the corner to the end arrives in the end's face, where the angle between the two
    geodesics can be measured.
    """
    t = shape(name)
    end = trace(t, *random_starts(t, 300))
    vertex, weight, angle = corner_directions(t, end)
    torch.testing.assert_close(weight.sum(1), full(300, 1.0), rtol=0, atol=EXACT)
    for k in range(3):
        h = 3 * end.face + k
        way = end.place - t.place[h]
        polar = t.polar_at(h, way)
        there = trace_from_vertices(t, vertex[:, k], polar, way.abs())
        assert torch.equal(there.face, end.face)
        torch.testing.assert_close(there.place, end.place, rtol=0, atol=1e-9)
        turn = torch.angle(end.direction * there.direction.conj())
        torch.testing.assert_close(unit(angle[:, k]), unit(polar + turn), rtol=0, atol=1e-9)


def test_a_length_of_zero_stays_and_a_start_outside_goes_nowhere():
    t = triangulate(*sheet(2, 2))
    end = trace_from_vertices(t, torch.tensor([4, 0]), full(2, 4.0), torch.tensor([0.0, 1.0]).double())
    assert end.inside.tolist() == [True, False] and end.face[1] == -1
    assert end.travelled.tolist() == [0, 0]


def test_a_small_component_beside_a_large_one_is_crossed_as_often_as_its_size_asks():
    """The small component is 3,000 times smaller. The length is 800 of its edges, and less than one edge of
    the large one; no limit on steps stops the geodesic.
    """
    v, f = tetrahedron()
    t = triangulate(*beside((v, f), (v / 3000, f)))
    vertex = torch.tensor([0, 4])
    end = trace_from_vertices(t, vertex, full(2, 0.3), full(2, 0.75))
    assert end.inside.all()
    torch.testing.assert_close(end.travelled, full(2, 0.75), rtol=0, atol=EXACT)


# A geodesic of length r on the polyhedron inscribed in the unit sphere covers an arc longer than r, because
# its pieces are chords: by a share of about h²/8, which is 1.5e-4 for 10,000 points and h = 0.035. So the
# great-circle distance between start and end, projected to the sphere, is compared with r.
def arc_errors(t: Triangulation, n: int, seed: int) -> Tensor:
    vertex = torch.randint(len(t.vertices), (n,), generator=torch.Generator().manual_seed(seed))
    r = t.length.mean() * (1 + 2 * random(n, seed=seed + 1))
    end = trace_from_vertices(t, vertex, angles(n, seed=seed + 2), r)
    p = torch.nn.functional.normalize(in_space(t, end.face, end.place), dim=1)
    arc = 2 * torch.asin((p - t.vertices[vertex]).norm(dim=1) / 2)
    return (arc - r).abs() / r


def test_distances_on_an_irregular_sphere_of_10000_vertices_are_within_2e_4():
    """Measured: 1.7e-4 in the mean at 1 to 3 edge lengths."""
    assert arc_errors(triangulate(*jittered_sphere(10_000)), 20_000, seed=8).mean() < 2e-4


def test_distances_on_a_sphere_converge_quadratically():
    coarse, fine = (float(arc_errors(triangulate(*jittered_sphere(n)), 5000, 9).mean()) for n in (600, 2400))
    assert 1.8 < math.log2(coarse / fine) < 2.2
