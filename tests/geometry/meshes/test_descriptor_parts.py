"""The parts of descriptors, the shape operator and the Laplacian's modes, converge to closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from geocnn.geometry.meshes import descriptors
from geocnn.geometry.meshes.descriptors import shape_features, shape_operator, vertex_normals
from geocnn.geometry.meshes.modes import cotangent_laplacian, diffuse, heat_kernel_signature, laplacian_modes
from tests.geometry.meshes.framed_meshes import (
    BUMPY,
    Mesh,
    ellipsoid,
    framed,
    root_mean_square,
    together,
    torus,
)

# -------------------------------------------------------------------------------------------------- curvature


@pytest.mark.parametrize(
    ("family", "order"),
    [
        ([ellipsoid(k, (1.0, 0.7, 0.5)) for k in (2, 3, 4)], 1.7),
        ([torus(m) for m in (16, 32, 64)], 1.8),
        ([ellipsoid(k, (1.0, 0.7, 0.5), jitter=0.3) for k in (3, 4, 5)], 0.9),
        ([torus(m, jitter=0.3) for m in (16, 32, 64)], 0.9),
    ],
    ids=["ellipsoid", "torus", "irregular ellipsoid", "irregular torus"],
)
def test_the_shape_operator_converges_on_regular_and_irregular_meshes(family, order):
    errors = []
    for m in family:
        found = shape_operator(*m[:3])
        torch.testing.assert_close(found, found.mT, rtol=0, atol=1e-12)
        errors.append(root_mean_square(m, found - m.exact) / root_mean_square(m, m.exact))
    # second order where neighbours lie symmetrically, first where cubic terms do not cancel
    assert errors[-1] < 0.04
    assert all(math.log2(a / b) > order for a, b in pairwise(errors)), errors


def test_on_a_sphere_of_radius_r_the_operator_is_one_over_r_and_turning_faces_over_changes_its_sign():
    mesh = ellipsoid(4, (3.0, 3.0, 3.0))
    expected = torch.eye(2, dtype=torch.float64) / 3
    found = shape_operator(*mesh[:3])
    # a quadric and a sphere differ by h⁴/8R³, h/R up to 0.14
    assert (found - expected).abs().max() < 0.01
    inward = mesh._replace(faces=mesh.faces.flip(1))
    torch.testing.assert_close(shape_operator(*inward[:3]), -found, rtol=0, atol=1e-12)
    torch.testing.assert_close(vertex_normals(*inward[:3]), -vertex_normals(*mesh[:3]), rtol=0, atol=0)


def test_a_quadric_over_its_tangent_plane_is_found_exactly():
    """At the vertex where the plane touches, the only errors are rounding and the ridge of 1e-9."""
    g = torch.Generator().manual_seed(0)
    flat = torch.cat([torch.zeros(1, 2), torch.rand(40, 2, generator=g) - 0.5]).double()
    from scipy.spatial import Delaunay

    faces = torch.from_numpy(Delaunay(flat.numpy()).simplices.astype(np.int64))
    quadric = torch.tensor([[0.8, 0.3], [0.3, -0.5]], dtype=torch.float64)
    height = ((flat @ quadric) * flat).sum(1) / 2
    mesh = framed(torch.cat([flat, height[:, None]], 1), faces)
    frames = mesh.frames.clone()
    frames[0] = torch.eye(3, dtype=torch.float64)[:2]
    up = vertex_normals(mesh.points, frames, faces)[0, 2]
    found = shape_operator(mesh.points, frames, faces)[0]
    torch.testing.assert_close(found, -quadric * up, rtol=0, atol=1e-6)


def test_few_faces_are_enough():
    flat = torch.tensor([[x, y, 0] for y in range(4) for x in range(4)], dtype=torch.float64)
    cells = [k for k in range(11) if k % 4 < 3]
    faces = torch.tensor([[[k, k + 1, k + 5], [k, k + 5, k + 4]] for k in cells]).flatten(0, 1)
    assert shape_operator(*framed(flat, faces)[:3]).abs().max() < 1e-12
    corner = framed(flat[[0, 1, 4]], torch.tensor([[0, 1, 2]]))
    assert shape_operator(*corner[:3]).abs().max() < 1e-12
    solid = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    mesh = framed(solid / math.sqrt(3), torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]))
    # neighbours, which face away, lie 4/3 below the tangent plane at √8/3 from the vertex: 2 · (4/3) / (8/9)
    three = 3 * torch.eye(2, dtype=torch.float64).expand(4, 2, 2)
    torch.testing.assert_close(shape_operator(*mesh[:3]).abs(), three, rtol=0, atol=1e-6)
    assert all(shape_features(m)[0].isfinite().all() for m in (corner, mesh, framed(flat, faces)))


def double_cone(n: int, order: torch.Tensor | None = None) -> Mesh:
    """A double cone whose two apexes, the last vertices, have n edges each; `order` numbers the rim anew."""
    order, turn = torch.arange(n) if order is None else order, torch.arange(n).double() * (2 * math.pi / n)
    rim = torch.zeros(n, 3, dtype=torch.float64)
    rim[order] = torch.stack([turn.cos(), turn.sin(), 0 * turn], 1)
    apexes = torch.tensor([[0, 0, 0.5], [0, 0, -0.5]], dtype=torch.float64)
    here, there = order, order.roll(-1)
    upper = torch.stack([here, there, torch.full_like(here, n)], 1)
    lower = torch.stack([there, here, torch.full_like(here, n + 1)], 1)
    return framed(torch.cat([rim, apexes]), torch.cat([upper, lower]))


def test_cost_is_proportional_to_the_neighbours_of_a_vertex():
    pairs = [len(descriptors._two_rings(*double_cone(n)[:3])[0]) / n for n in (200, 400, 2000)]
    # a rim vertex sees 64 others by way of each apex, and fewer than ten more pairs belong to it
    assert all(64 < each < 2 * 64 + 10 for each in pairs), pairs


def test_around_a_vertex_of_many_neighbours_some_show_the_curvature_that_all_show(monkeypatch):
    g = torch.Generator().manual_seed(0)
    mesh, order = double_cone(300), torch.randperm(300, generator=g)
    few, mixed = shape_operator(*mesh[:3]), shape_operator(*double_cone(300, order)[:3])
    # the operators of the rim vertices agree in their own frames, whatever the numbers of the vertices
    invariant = lambda s: torch.linalg.eigvalsh(s)  # noqa: E731
    torch.testing.assert_close(invariant(mixed)[order], invariant(few)[:300], rtol=0, atol=1e-9)
    monkeypatch.setattr(descriptors, "MOST_NEIGHBOURS", 300)
    every = shape_operator(*mesh[:3])
    # 64 of 300 places around the rim are 0.1 apart; the fit weighs them by a bell 1.4 wide
    torch.testing.assert_close(few, every, rtol=0.03, atol=1e-6)


# ------------------------------------------------------------------------------------------------------- heat


@pytest.mark.parametrize("name", BUMPY)
def test_the_laplacian_is_the_dirichlet_energy_of_functions_linear_on_faces(name):
    mesh = BUMPY[name]
    matrix = cotangent_laplacian(mesh.points, mesh.faces)
    g = torch.Generator().manual_seed(0)
    u = torch.randn(len(mesh.points), generator=g, dtype=torch.float64)
    a, b, c = mesh.points[mesh.faces].unbind(1)
    # the gradient g of a face solves g·(b − a) = u_b − u_a, g·(c − a) = u_c − u_a, g·n = 0
    normal = torch.linalg.cross(b - a, c - a)
    values = u[mesh.faces]
    right = torch.stack([values[:, 1] - values[:, 0], values[:, 2] - values[:, 0], torch.zeros(len(a))], 1)
    gradient = torch.linalg.solve(torch.stack([b - a, c - a, normal], 1), right)
    energy = float((gradient.square().sum(1) * normal.norm(dim=1) / 2).sum())
    assert math.isclose(float(u.numpy() @ (matrix @ u.numpy())), energy, rel_tol=1e-10)
    assert abs(matrix - matrix.T).max() < 1e-12 and abs(matrix.sum(1)).max() < 1e-10


def test_every_edge_has_an_entry_even_where_its_cotangents_are_zero():
    """On a grid of squares cut in two, the angles opposite a diagonal are right."""
    points = torch.tensor([[x, y, 0] for y in range(3) for x in range(3)], dtype=torch.float64)
    faces = torch.tensor([[[k, k + 1, k + 4], [k, k + 4, k + 3]] for k in (0, 1, 3, 4)]).flatten(0, 1)
    matrix = cotangent_laplacian(points, faces)
    assert matrix.nnz == 9 + 2 * 16
    assert matrix[0, 4] == 0 and matrix[4, 4] == 4 and matrix[4, 1] == -1


@pytest.mark.parametrize("count", [9, 16, 25, 36, 49, 64])
def test_no_copy_of_an_eigenvalue_is_missed(count):
    """An icosphere's eigenvalues have up to five copies, of which a single Lanczos run finds some."""
    mesh = ellipsoid(3)
    modes = laplacian_modes(mesh.points, mesh.faces, count)
    scale = modes.areas**-0.5
    dense = scale[:, None] * torch.from_numpy(cotangent_laplacian(mesh.points, mesh.faces).toarray()) * scale
    expected = torch.linalg.eigvalsh(dense)[:count].clamp_min(0)
    torch.testing.assert_close(modes.values[0], expected, rtol=1e-9, atol=1e-9)


def test_the_sphere_s_modes_are_its_harmonics_and_converge():
    errors = []
    exact = torch.tensor([l * (l + 1.0) for l in range(6) for _ in range(2 * l + 1)], dtype=torch.float64)
    for level in (3, 4):
        mesh = ellipsoid(level)
        modes = laplacian_modes(mesh.points, mesh.faces, count=36)
        errors.append(float((modes.values[0] - exact).abs().max()))
        gram = modes.vectors.mT @ (modes.areas[:, None] * modes.vectors)
        torch.testing.assert_close(gram, torch.eye(36, dtype=torch.float64), rtol=0, atol=1e-10)
        residual = cotangent_laplacian(mesh.points, mesh.faces) @ modes.vectors.numpy()
        expected = modes.areas[:, None] * modes.vectors * modes.values[0]
        torch.testing.assert_close(torch.from_numpy(residual), expected, rtol=0, atol=1e-10)
    assert errors[0] < 1.5 and math.log2(errors[0] / errors[1]) > 1.8, errors


@pytest.mark.parametrize("mesh", [ellipsoid(3), torus(18)], ids=["sphere", "torus"])
def test_lanczos_finds_the_modes_that_a_dense_solver_finds(mesh):
    """Both meshes have multiple eigenvalues."""
    modes = laplacian_modes(mesh.points, mesh.faces)
    stiffness = cotangent_laplacian(mesh.points, mesh.faces).toarray()
    values, vectors = eigh(stiffness, np.diag(modes.areas.numpy()), subset_by_index=(0, 128))
    found = modes.values[0].isfinite().sum()
    # eigenspaces have at most 5 dimensions, and are found whole or not at all
    assert 123 < found <= 128 and values[found] > values[found - 1] * (1 + 1e-6)
    assert abs(modes.values[0, :found].numpy() - values[:found]).max() < 1e-9 * values[-1]
    # the lowest eigenspace but the constants, as a projection, whatever its basis
    lowest = abs(values - values[1]) < 1e-6
    ours = modes.vectors.numpy()[:, lowest[:128]]
    assert abs(ours @ ours.T - vectors[:, lowest] @ vectors[:, lowest].T).max() < 1e-8


def test_equal_components_each_have_all_their_modes():
    one = ellipsoid(3)
    alone = laplacian_modes(one.points, one.faces, 20)
    many = together(*[one] * 6)
    modes = laplacian_modes(many.points, many.faces, 20)
    assert modes.component.bincount().tolist() == [642] * 6
    torch.testing.assert_close(modes.values, alone.values.expand(6, -1), rtol=0, atol=1e-9)


def test_the_sphere_s_heat_kernel_signature_is_its_legendre_sum():
    mesh, times = ellipsoid(4), torch.tensor([0.1, 0.5, 2.0, 50.0], dtype=torch.float64)
    l = torch.arange(60, dtype=torch.float64)
    exact = ((2 * l + 1) / (4 * math.pi) * torch.exp(-l * (l + 1) * times[:, None])).sum(1)
    found = heat_kernel_signature(laplacian_modes(mesh.points, mesh.faces), times)
    # eigenvalues and area are off by h²: 0.5 %
    torch.testing.assert_close(found, exact.expand_as(found), rtol=0.01, atol=0)


def test_heat_spreads_harmonics_by_their_eigenvalue_and_keeps_the_mean():
    mesh, times = ellipsoid(4), torch.tensor([0.2, 1.0], dtype=torch.float64)
    modes = laplacian_modes(mesh.points, mesh.faces)
    found = diffuse(mesh.points, modes, times)
    # coordinates are harmonics of degree 1: e^{−2t}
    expected = mesh.points[:, None] * torch.exp(-2 * times)[:, None]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.005)
    both = BUMPY["components"]
    modes = laplacian_modes(both.points, both.faces)
    field = torch.randn(len(both.points), 2, dtype=torch.float64)
    mean = lambda f, c: (modes.areas[:, None] * f)[modes.component == c].sum(0)  # noqa: E731
    late = diffuse(field, modes, torch.tensor([100.0], dtype=torch.float64))[:, 0]
    for c in (0, 1):
        torch.testing.assert_close(mean(late, c), mean(field, c), rtol=0, atol=1e-10)
        assert late[modes.component == c].std(0).max() < 1e-10
