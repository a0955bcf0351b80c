"""Descriptors: they converge to closed forms, and obey the laws that inputs of a network must obey."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.meshes import descriptors
from geocnn.geometry.meshes.descriptors import (
    cotangent_laplacian,
    diffuse,
    heat_kernel_signature,
    laplacian_modes,
    shape_features,
    shape_operator,
    split,
    traceless,
    vertex_normals,
)
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.groups import O2, SO2, FieldType, Group
from geocnn.groups.rotations import random_rotations


class Mesh(NamedTuple):
    """The inputs of a descriptor; `operator` [N, 3, 3] is the exact shape operator, in space."""

    points: Tensor
    frames: Tensor
    faces: Tensor
    operator: Tensor | None = None
    group: Group = SO2

    @property
    def exact(self) -> Tensor:
        """The exact shape operator in the frames."""
        assert self.operator is not None
        return self.frames @ self.operator @ self.frames.mT

    def turned(self, alpha: Tensor, flip: Tensor | None = None) -> Mesh:
        c, s = alpha.cos()[:, None], alpha.sin()[:, None]
        e1, e2 = self.frames.unbind(1)
        e1, e2 = c * e1 + s * e2, c * e2 - s * e1
        if flip is not None:
            e2 = torch.where(flip[:, None], -e2, e2)
        return self._replace(frames=torch.stack([e1, e2], 1), group=SO2 if flip is None else O2)


def framed(points: Tensor, faces: Tensor, operator: Tensor | None = None) -> Mesh:
    """Give points frames orthogonal to area-weighted normals, and any frames at vertices without faces."""
    a, b, c = points[faces].unbind(1)
    normal = torch.zeros_like(points)
    for k in range(3):
        normal.index_add_(0, faces[:, k], torch.linalg.cross(b - a, c - a))
    normal[normal.norm(dim=1) == 0] = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    normal = normal / normal.norm(dim=1, keepdim=True)
    other = torch.eye(3, dtype=torch.float64)[normal.abs().argmin(1)]
    e1 = torch.linalg.cross(other, normal)
    e1 = e1 / e1.norm(dim=1, keepdim=True)
    return Mesh(points, torch.stack([e1, torch.linalg.cross(normal, e1)], 1), faces, operator)


def ellipsoid(level: int, axes=(1.0, 1.0, 1.0), jitter: float = 0.0) -> Mesh:
    """Return an icosphere whose points are shifted at random by a share of their distance, then stretched;
    faces point outward.
    """
    ico = Icosahedron(level)
    g = torch.Generator().manual_seed(level)
    p = ico.points + jitter / 2**level * torch.randn(ico.points.shape, generator=g, dtype=torch.float64)
    axes = torch.tensor(axes, dtype=torch.float64)
    p = p / p.norm(dim=1, keepdim=True) * axes
    gradient = p / axes**2
    size = gradient.norm(dim=1)[:, None, None]
    across = torch.eye(3, dtype=torch.float64) - (gradient[:, :, None] * gradient[:, None]) / size**2
    return framed(p, ico.faces[-1], across @ torch.diag(axes**-2) @ across / size)


def torus(m: int, jitter: float = 0.0, big: float = 1.0, small: float = 0.4) -> Mesh:
    """Return 2m × m points, shifted at random by up to `jitter` of their distance; faces point outward."""
    g = torch.Generator().manual_seed(m)
    i, j = torch.meshgrid(torch.arange(2 * m), torch.arange(m), indexing="ij")
    shift = jitter * (2 * torch.rand(2, 2 * m * m, generator=g, dtype=torch.float64) - 1)
    u, v = (i.flatten() + shift[0]) * math.pi / m, (j.flatten() + shift[1]) * 2 * math.pi / m
    zero, ring = torch.zeros_like(u), big + small * v.cos()
    along = torch.stack([-u.sin(), u.cos(), zero], 1)
    around = torch.stack([-v.sin() * u.cos(), -v.sin() * u.sin(), v.cos()], 1)
    at = lambda a, b: (a % (2 * m) * m + b % m).flatten()  # noqa: E731
    corners = [at(i, j), at(i + 1, j), at(i + 1, j + 1)], [at(i, j), at(i + 1, j + 1), at(i, j + 1)]
    operator = (v.cos() / ring)[:, None, None] * along[:, :, None] * along[:, None]
    operator = operator + around[:, :, None] * around[:, None] / small
    points = torch.stack([ring * u.cos(), ring * u.sin(), small * v.sin()], 1)
    return framed(points, torch.cat([torch.stack(c, 1) for c in corners]), operator)


def together(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(m.points) for m in meshes)])
    faces = torch.cat([m.faces + int(k) for m, k in zip(meshes, starts, strict=False)])
    return Mesh(torch.cat([m.points for m in meshes]), torch.cat([m.frames for m in meshes]), faces)


def with_isolated(mesh: Mesh, n: int = 2) -> Mesh:
    """Add n vertices without faces in front of all others."""
    points = torch.cat([torch.full((n, 3), 5.0, dtype=torch.float64), mesh.points])
    return framed(points, mesh.faces + n)


def half(mesh: Mesh) -> Mesh:
    """Return the faces on the side z > 0, with their vertices."""
    faces = mesh.faces[(mesh.points[mesh.faces][..., 2] > 0).all(1)]
    kept, faces = faces.unique(return_inverse=True)
    return framed(mesh.points[kept], faces)


def areas_of(mesh: Mesh) -> Tensor:
    a, b, c = mesh.points[mesh.faces].unbind(1)
    third = torch.linalg.cross(b - a, c - a).norm(dim=1) / 6
    return torch.zeros(len(mesh.points), dtype=torch.float64).index_add_(
        0, mesh.faces.flatten(), third.repeat_interleave(3)
    )


def root_mean_square(mesh: Mesh, error: Tensor) -> float:
    weight = areas_of(mesh)
    return float((weight * error.flatten(1).square().sum(1)).sum().div(weight.sum()).sqrt())


BUMPY = {
    "ellipsoid": ellipsoid(3, (1.0, 0.7, 0.5), jitter=0.2),
    "torus": torus(12, jitter=0.2),
    "bounded": half(ellipsoid(3, (1.0, 0.7, 0.5), jitter=0.2)),
    "components": together(ellipsoid(2, (1.0, 0.7, 0.5), jitter=0.2), torus(8, jitter=0.2)),
    "isolated": with_isolated(torus(10, jitter=0.2)),
    "symmetric": ellipsoid(3),
}


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


# --------------------------------------------------------------------------------------------------- features

SCALARS, VECTORS = slice(0, 11), slice(11, 21)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Compare up to the error of modes: about 1e-12, divided by the gaps between eigenvalues."""
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", BUMPY)
def test_features_have_their_type_are_finite_and_of_a_good_size(name):
    x, field_type = shape_features(BUMPY[name])
    assert str(field_type) == "11x0 + 5x1 + 1x2"
    assert x.shape == (len(BUMPY[name].points), field_type.dim) and x.dtype == torch.float64
    assert x.isfinite().all() and x.abs().max() < 20
    assert torch.equal(shape_features(BUMPY[name])[0], x)


def test_every_channel_says_something_of_a_long_shape():
    x, _ = shape_features(ellipsoid(3, (3.0, 0.7, 0.5), jitter=0.2))
    # against values of 0.1 to 5: what is smaller is lost among the others
    assert (x.std(0) > 0.01).all(), x.std(0)


@pytest.mark.parametrize("name", BUMPY)
def test_moving_and_scaling_a_mesh_changes_nothing(name):
    mesh, (x, _) = BUMPY[name], shape_features(BUMPY[name])
    rotation = random_rotations(1, torch.Generator().manual_seed(0))[0]
    shift = torch.tensor([3.0, -2.0, 7.0], dtype=torch.float64)
    moved = mesh._replace(points=mesh.points @ rotation.mT + shift, frames=mesh.frames @ rotation.mT)
    close(shape_features(moved)[0], x)
    for scale in (1e-3, 250.0):
        close(shape_features(mesh._replace(points=mesh.points * scale))[0], x)


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("name", BUMPY)
def test_turning_and_mirroring_frames_changes_components_as_their_type_says(name, flips):
    mesh, (x, _) = BUMPY[name], shape_features(BUMPY[name])
    g = torch.Generator().manual_seed(1)
    n = len(mesh.points)
    alpha = 2 * math.pi * torch.rand(n, generator=g, dtype=torch.float64)
    flip = torch.randint(2, (n,), generator=g).bool() if flips else None
    turned, field_type = shape_features(mesh.turned(alpha, flip))
    # components in a frame turned by alpha: times e^{−in·alpha}, then conjugated where it is mirrored
    by = -alpha if flip is None else torch.where(flip, alpha, -alpha)
    close(turned, field_type.act(x, by, flip), 1e-12)
    assert field_type == FieldType("O2: 11x0e + 5x1 + 1x2" if flips else "11x0 + 5x1 + 1x2")


@pytest.mark.parametrize("name", BUMPY)
def test_the_numbers_of_vertices_and_faces_do_not_matter(name):
    mesh, (x, _) = BUMPY[name], shape_features(BUMPY[name])
    g = torch.Generator().manual_seed(2)
    new = torch.randperm(len(mesh.points), generator=g)
    points, frames = torch.empty_like(mesh.points), torch.empty_like(mesh.frames)
    points[new], frames[new] = mesh.points, mesh.frames
    faces = new[mesh.faces][torch.randperm(len(mesh.faces), generator=g)].roll(1, 1)
    close(shape_features(Mesh(points, frames, faces))[0][new], x)


def test_turning_faces_over_changes_the_sign_of_normal_parts():
    mesh = BUMPY["ellipsoid"]
    x, (over, _) = shape_features(mesh)[0], shape_features(mesh._replace(faces=mesh.faces.flip(1)))
    sign = torch.ones(23, dtype=torch.float64)
    sign[[0, 6, 7, 8, 9, 10, 21, 22]] = -1  # mean curvature, normal parts, traceless part
    close(over, sign * x)


def test_vertices_without_faces_are_zero_and_the_others_do_not_notice():
    mesh = torus(10, jitter=0.2)
    x, lonely = shape_features(mesh)[0], shape_features(with_isolated(mesh))[0]
    assert (lonely[:2] == 0).all()
    close(lonely[2:], x)


def test_the_features_of_a_sphere_are_known():
    """Mean curvature is √4π, Gaussian curvature 4π, heat is the same everywhere, and the vector from the
    centroid is normal.
    """
    x = shape_features(ellipsoid(4))[0]
    length = math.sqrt(4 * math.pi)
    times = 4 * math.pi * torch.tensor(descriptors.HEAT_TIMES, dtype=torch.float64)
    ways = torch.cat([torch.ones(1) / length, (torch.exp(-2 * times) - 1) / (2 * times.sqrt())])
    level = [math.asinh(length), math.asinh(4 * math.pi), 0, 0, 0, 0]
    expected = torch.cat([torch.tensor(level), ways, torch.zeros(12)]).double()
    # second order: h² = 0.005
    torch.testing.assert_close(x, expected.expand_as(x), rtol=0, atol=0.02)


def test_the_traceless_part_points_along_the_larger_curvature():
    """On a torus the larger curvature is 1/small, around the tube."""
    mesh = torus(48)
    found = traceless(shape_operator(*mesh[:3]))
    angle = torch.atan2(found[:, 1], found[:, 0]) / 2
    e1, e2 = mesh.frames.unbind(1)
    way = angle.cos()[:, None] * e1 + angle.sin()[:, None] * e2
    u = torch.arange(96, dtype=torch.float64).repeat_interleave(48) * math.pi / 48
    along = torch.stack([-u.sin(), u.cos(), torch.zeros_like(u)], 1)
    # second order: (π/48)² and a factor
    assert (way * along).sum(1).abs().max() < 0.02


def test_split_gives_back_the_vector():
    mesh = BUMPY["torus"]
    v = torch.randn(len(mesh.points), 3, 3, dtype=torch.float64)
    normals = vertex_normals(*mesh[:3])
    normal, tangent = split(v, mesh.frames, normals)
    close(normal[..., None] * normals[:, None] + tangent @ mesh.frames, v, 1e-12)


def test_misuse_is_a_typed_error():
    mesh = ellipsoid(1)
    with pytest.raises(GeometryError, match=r"points of a mesh are \[n, 3\] torch.float64.*torch.float32"):
        shape_operator(mesh.points.float(), mesh.frames, mesh.faces)
    with pytest.raises(GeometryError, match=r"faces of a mesh are \[n, 3\] torch.int64, got \[80, 2\]"):
        cotangent_laplacian(mesh.points, mesh.faces[:, :2])
    with pytest.raises(GeometryError, match=r"frames of 42 points are \[42, 2, 3\] .*got \[12, 2, 3\]"):
        vertex_normals(mesh.points, mesh.frames[:12], mesh.faces)
    with pytest.raises(GeometryError, match="at least one mode is needed, got count=0"):
        laplacian_modes(mesh.points, mesh.faces, 0)
