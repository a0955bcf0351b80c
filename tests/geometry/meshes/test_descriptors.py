"""Descriptors obey the laws that inputs of a network must obey."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.meshes import descriptors
from geocnn.geometry.meshes.descriptors import (
    shape_features,
    shape_operator,
    split,
    traceless,
    vertex_normals,
)
from geocnn.geometry.meshes.modes import cotangent_laplacian, laplacian_modes
from geocnn.groups import FieldType
from geocnn.groups.rotations import random_rotations
from tests.geometry.meshes.framed_meshes import (
    BUMPY,
    Mesh,
    ellipsoid,
    torus,
    with_isolated,
)

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


def test_a_missing_scipy_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(GeometryError, match=r"needs scipy: pip install 'geocnn\[mesh\]'"):
        shape_features(ellipsoid(1))
