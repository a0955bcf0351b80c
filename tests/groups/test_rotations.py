"""Rotations: every chart against SciPy, the degenerate angles, and the Haar measure by its moments."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from geocnn.errors import GroupError
from geocnn.groups.rotations import (
    axis_angle_from_matrix,
    matrix_from_axis_angle,
    matrix_from_zyz,
    random_rotations,
    zyz_from_matrix,
)

EPSILON = 1e-14  # a few roundings of numbers of size one


@pytest.fixture
def rotations() -> torch.Tensor:
    return random_rotations(200, torch.Generator().manual_seed(1))


def test_zyz_matches_scipy():
    angles = torch.tensor([[0.3, 1.1, -2.0], [-3.0, 3.1, 0.2], [1.0, -0.4, 5.0]], dtype=torch.float64)
    expected = torch.tensor(Rotation.from_euler("ZYZ", angles.numpy()).as_matrix())
    torch.testing.assert_close(matrix_from_zyz(*angles.unbind(-1)), expected, rtol=0, atol=EPSILON)


def test_axis_angle_matches_scipy():
    axis = torch.tensor([[1.0, 2.0, -0.5], [0.0, 0.0, -3.0]], dtype=torch.float64)
    angle = torch.tensor([2.5, 0.7], dtype=torch.float64)
    vectors = axis / axis.norm(dim=-1, keepdim=True) * angle[:, None]
    expected = torch.tensor(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    torch.testing.assert_close(matrix_from_axis_angle(axis, angle), expected, rtol=0, atol=EPSILON)


def test_charts_give_the_matrix_back(rotations):
    torch.testing.assert_close(matrix_from_zyz(*zyz_from_matrix(rotations)), rotations, rtol=0, atol=EPSILON)
    back = matrix_from_axis_angle(*axis_angle_from_matrix(rotations))
    torch.testing.assert_close(back, rotations, rtol=0, atol=EPSILON)


@pytest.mark.parametrize("beta", [0.0, 1e-12, 1e-9, math.pi - 1e-9, math.pi])
def test_zyz_is_accurate_at_the_poles(beta):
    """An arccos of the matrix entry would lose eight digits here."""
    angles = torch.tensor([0.4, beta, 1.3], dtype=torch.float64)
    rotation = matrix_from_zyz(*angles)
    alpha, found, gamma = zyz_from_matrix(rotation)
    # pi itself is rounded to 1.2e-16, and its sine is of that size.
    assert abs(float(found) - beta) < 1e-15
    torch.testing.assert_close(matrix_from_zyz(alpha, found, gamma), rotation, rtol=0, atol=EPSILON)


@pytest.mark.parametrize("angle", [1e-9, math.pi - 1e-9, math.pi])
def test_axis_is_accurate_for_tiny_and_half_turns(angle):
    axis = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    rotation = matrix_from_axis_angle(axis, torch.tensor(angle, dtype=torch.float64))
    found_axis, found_angle = axis_angle_from_matrix(rotation)
    assert abs(float(found_angle) - angle) < EPSILON
    # Near the identity off-diagonal entries are 1e-9 with error 1e-16: seven digits, squared in the cosine.
    assert abs(abs(float(found_axis @ axis)) - 1) < 1e-12


def test_no_turn_has_an_axis():
    axis, angle = axis_angle_from_matrix(torch.eye(3, dtype=torch.float64))
    assert axis.tolist() == [0.0, 0.0, 1.0] and float(angle) == 0.0


def test_random_rotations_are_rotations(rotations):
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity, rtol=0, atol=EPSILON)
    assert (rotations.det() > 0).all()
    torch.testing.assert_close(
        random_rotations(200, torch.Generator().manual_seed(1)), rotations, rtol=0, atol=0
    )


def test_random_rotations_are_haar():
    """E R_ij = 0, E R_ij R_kl = delta/3, and E cos(angle) = -1/2 (uniform angles would have 0)."""
    n = 20000
    r = random_rotations(n, torch.Generator().manual_seed(0)).flatten(1)
    # Entries, their products and cosines have standard deviations below 1: five standard errors.
    tolerance = 5 / math.sqrt(n)
    assert r.mean(0).abs().max() < tolerance
    torch.testing.assert_close(r.T @ r / n, torch.eye(9, dtype=r.dtype) / 3, rtol=0, atol=tolerance)
    cosine = (r[:, [0, 4, 8]].sum(1) - 1) / 2
    assert abs(float(cosine.mean()) + 0.5) < tolerance


def test_bad_input_is_named():
    with pytest.raises(GroupError, match=r"shape \(2, 2\)"):
        zyz_from_matrix(torch.eye(2))
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    for bad in (mirror, 2 * torch.eye(3), torch.full((3, 3), math.nan)):
        with pytest.raises(GroupError, match=r"matrices \[1\] are no rotations"):
            zyz_from_matrix(torch.stack([torch.eye(3), bad]))
    with pytest.raises(GroupError, match="length zero"):
        matrix_from_axis_angle(torch.zeros(3), torch.tensor(1.0))
    with pytest.raises(GroupError, match=r"shape \(2,\)"):
        matrix_from_axis_angle(torch.ones(2), torch.tensor(1.0))
