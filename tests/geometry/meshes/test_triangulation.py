"""Triangulation: half-edges, angles and polar directions, on shapes with well-known angles."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.data.meshes import mesh_file
from geocnn.geometry.io import load_triangles
from geocnn.geometry.meshes.triangulation import triangulate
from tests.shapes import beside, cube, jittered_sphere, ring, sheet, tetrahedron, without, wound

# sums of a few dozen angles or areas near 1
EXACT = 1e-12


def full(n: int, value: float) -> torch.Tensor:
    return torch.full((n,), value, dtype=torch.float64)


SHAPES = {
    "tetrahedron": (tetrahedron, 2),
    "cube": (cube, 2),
    "irregular sphere": (lambda: jittered_sphere(200), 2),
    "torus": (lambda: ring(12, 8, 0.2), 0),
    "sheet": (lambda: sheet(4, 3, 0.3), 1),
    "sheet with a hole": (lambda: without(sheet(4, 4), torch.arange(25) == 12), 0),
    "more than once around": (lambda: wound(9, 3, math.radians(50), 0.05), 1),
    "two components": (lambda: beside(tetrahedron(), sheet(2, 2)), 3),
    "bunny": (lambda: load_triangles(mesh_file("bunny")), 2),
    "hand": (lambda: load_triangles(mesh_file("hand")), 1),
}


@pytest.fixture(scope="module", params=SHAPES)
def shape(request):
    make, chi = SHAPES[request.param]
    return triangulate(*make()), chi


def test_half_edges_meet_their_twins_head_to_tail(shape):
    t, _ = shape
    inner = (t.twin >= 0).nonzero()[:, 0]
    head = t.faces.roll(-1, 1).reshape(-1)
    assert torch.equal(t.twin[t.twin[inner]], inner)
    assert torch.equal(t.tail[t.twin[inner]], head[inner])
    edges = {frozenset(e) for e in torch.stack([t.tail, head], 1).tolist()}
    assert len(edges) == len(t.tail) - len(inner) // 2
    assert set(torch.where(t.boundary)[0].tolist()) == set(t.tail[t.twin < 0].tolist())


def test_faces_laid_flat_keep_lengths_angles_and_areas(shape):
    t, _ = shape
    a, b, c = t.vertices[t.faces].unbind(1)
    torch.testing.assert_close(t.side.abs(), t.length, rtol=EXACT, atol=0)
    torch.testing.assert_close(t.angle.reshape(-1, 3).sum(1), full(len(a), math.pi))
    areas = 0.5 * torch.linalg.cross(b - a, c - a).norm(dim=1)
    torch.testing.assert_close(t.face_areas, areas, rtol=1e-9, atol=0)
    assert math.isclose(float(t.vertex_areas.sum()), float(areas.sum()), rel_tol=EXACT)
    cosine = torch.nn.functional.cosine_similarity(b - a, c - a)
    # the arc cosine of nearly ± 1 halves the digits
    torch.testing.assert_close(t.angle[0::3], cosine.clamp(-1, 1).acos(), rtol=0, atol=1e-7)


def test_angle_defects_sum_to_the_euler_characteristic(shape):
    """This is the Gauss–Bonnet theorem, with the turning of the boundary."""
    t, chi = shape
    assert math.isclose(float(t.defect.sum()), 2 * math.pi * chi, abs_tol=EXACT * len(t.vertices))


def test_polar_directions_go_once_around(shape):
    """From each half-edge to the next is one corner. Their sum is 2π at an interior vertex; at a boundary
    vertex it is the sum of the corners, at most 2π.
    """
    t, _ = shape
    previous = torch.arange(len(t.tail)).reshape(-1, 3).roll(1, 1).reshape(-1)
    following = t.twin[previous]
    step = t.angle * t.scale[t.tail]
    inner = following >= 0
    gap = t.polar[following[inner]] - (t.polar + step)[inner]
    wrapped = torch.remainder(gap + 1, 2 * math.pi) - 1
    assert wrapped.abs().max() < EXACT
    assert (gap.abs() > 1).sum() == (~t.boundary & (t.fan_ptr.diff() > 0)).sum()  # one seam a fan
    summed = torch.zeros(len(t.vertices), dtype=torch.float64).index_add_(0, t.tail, step)
    inside = ~t.boundary & (t.fan_ptr.diff() > 0)
    torch.testing.assert_close(summed[inside], torch.full_like(summed[inside], 2 * math.pi))
    corners = torch.zeros_like(summed).index_add_(0, t.tail, t.angle)
    rim = corners[t.boundary].clamp_max(2 * math.pi)
    torch.testing.assert_close(summed[t.boundary], rim, rtol=EXACT, atol=0)


def test_the_axis_is_the_longest_edge_or_the_first_boundary_edge(shape):
    t, _ = shape
    axis = (t.polar == 0).nonzero()[:, 0]
    assert torch.equal(t.tail[axis].sort().values, t.tail.unique())
    assert torch.equal(t.twin[axis] < 0, t.boundary[t.tail[axis]])
    longest = torch.zeros(len(t.vertices), dtype=torch.float64)
    longest.scatter_reduce_(0, t.tail, t.length, "amax")
    inner = axis[t.twin[axis] >= 0]
    torch.testing.assert_close(t.length[inner], longest[t.tail[inner]], rtol=0, atol=0)


def test_a_polar_direction_enters_a_face_and_comes_back(shape):
    t, _ = shape
    g = torch.Generator().manual_seed(0)
    vertex = t.tail.unique()[torch.randint(len(t.tail.unique()), (2000,), generator=g)]
    polar = t.total[vertex] * torch.rand(2000, generator=g, dtype=torch.float64)
    h, direction = t.enter(vertex, polar)
    assert torch.equal(t.tail[h], vertex)
    torch.testing.assert_close(direction.abs(), torch.ones(2000, dtype=torch.float64), rtol=0, atol=EXACT)
    # sorting keys are vertex + share: at vertex 1000 the share keeps 13 digits
    torch.testing.assert_close(t.polar_at(h, direction), polar, rtol=0, atol=1e-11)
    into = (direction * t.side[h].conj()).angle()
    assert (into >= -EXACT).all() and (into <= t.angle[h] + EXACT).all()


def test_known_angles():
    t = triangulate(*tetrahedron())
    torch.testing.assert_close(t.angle, full(12, math.pi / 3), rtol=0, atol=EXACT)
    torch.testing.assert_close(t.scale, full(4, 2.0), rtol=0, atol=EXACT)
    torch.testing.assert_close(t.face_areas, full(4, 2 * 3**0.5), rtol=0, atol=EXACT)
    corner = triangulate(*cube())
    torch.testing.assert_close(corner.defect, full(8, math.pi / 2), rtol=0, atol=EXACT)
    flat = triangulate(*sheet(3, 3))
    assert flat.defect[[5, 6, 9, 10]].abs().max() < EXACT  # inside
    right_angles = full(4, math.pi / 2)
    torch.testing.assert_close(flat.defect[[0, 3, 12, 15]], right_angles, rtol=0, atol=EXACT)


def test_directions_out_of_the_surface_enter_nothing():
    t = triangulate(*sheet(2, 2))
    corner, edge, inside = 0, 1, 4
    # at the corner (0, 0) the surface fills a quarter from the axis (1, 0), at (1, 0) a half
    vertex = torch.tensor([corner, corner, edge, edge, inside])
    h, _ = t.enter(vertex, torch.tensor([0.7, 1.7, 3.0, 3.3, 5.0], dtype=torch.float64))
    assert (h < 0).tolist() == [False, True, False, True, False]
    # along both boundary edges, with and without rounding
    lean = torch.tensor([0.0, -1e-12, math.pi / 2, math.pi / 2 + 1e-12], dtype=torch.float64)
    h, _ = t.enter(torch.zeros(4, dtype=torch.int64), lean)
    assert (h >= 0).all()


def test_frames_follow_the_polar_directions():
    """In a plane they agree exactly; elsewhere they are orthonormal, and orthogonal to the normal."""
    flat = triangulate(*sheet(3, 3, 0.3))
    edge = flat.vertices[flat.faces.roll(-1, 1).reshape(-1)] - flat.vertices[flat.tail]
    seen = torch.einsum("hed,hd->he", flat.frames()[flat.tail], edge)
    polar = torch.atan2(seen[:, 1], seen[:, 0])
    assert torch.polar(torch.ones_like(polar), polar - flat.polar).sub(1).abs().max() < EXACT
    t = triangulate(*jittered_sphere(500))
    frames, normal = t.frames(), t.normals
    gram = frames @ frames.mT
    torch.testing.assert_close(gram, torch.eye(2).double().expand_as(gram), rtol=0, atol=EXACT)
    assert (frames @ normal[..., None]).abs().max() < EXACT
    torch.testing.assert_close(
        torch.linalg.det(torch.cat([frames, normal[:, None]], 1)), torch.ones(500, dtype=torch.float64)
    )
    assert (normal - t.vertices).norm(
        dim=1
    ).max() < 0.1  # 25 times the spacing, 0.16, squared and halved, is 0.3


def test_a_vertex_without_faces_is_kept_finite():
    v, f = tetrahedron()
    t = triangulate(torch.cat([v, torch.full((1, 3), 5.0).double()]), f)
    assert t.vertex_areas[4] == 0 and t.defect[4] == 0 and not t.boundary[4]
    assert t.normals[4].tolist() == [0, 0, 1]
    assert t.frames().isfinite().all() and t.total.isfinite().all()
    h, direction = t.enter(torch.tensor([4]), torch.tensor([1.0]).double())
    assert h.tolist() == [-1] and torch.view_as_real(direction).isfinite().all()


def test_turning_a_face_around_changes_nothing_but_numbers():
    """Which corner of a face is corner 0 is only a matter of numbering."""
    v, f = jittered_sphere(60)
    a, b = triangulate(v, f), triangulate(v, f.roll(1, 1))
    place = torch.arange(len(a.tail)).reshape(-1, 3).roll(1, 1).reshape(-1)
    torch.testing.assert_close(b.polar, a.polar[place], rtol=0, atol=EXACT)
    torch.testing.assert_close(b.angle, a.angle[place], rtol=0, atol=EXACT)
