"""Values at points that lie on no grid."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError, MapError
from geocnn.geometry import healpix, icosphere
from geocnn.geometry.spheres.surfaces import sphere_frames
from geocnn.groups.rotations import random_rotations
from geocnn.harmonics import (
    evaluate,
    healpix_grid,
    random_coefficients,
    rotate_coefficients,
    signed_orders,
    synthesis,
)


def coefficients(lmax: int, spin: int | None, seed: int = 0) -> torch.Tensor:
    a, b = random_coefficients(lmax, 2, torch.Generator().manual_seed(seed))
    if spin is None:
        return a
    field = signed_orders(a) + 1j * signed_orders(b)
    field[: abs(spin)] = 0
    return field


@pytest.mark.parametrize("spin", [None, 0, 1, -1, 2, 3])
def test_on_a_grids_points_they_are_those_of_synthesis(spin):
    alm = coefficients(9, spin)
    found = evaluate(torch.stack([alm, 2 * alm]), healpix(4).points, spin)
    expected = synthesis(alm, healpix_grid(4), spin)
    torch.testing.assert_close(found, torch.stack([expected, 2 * expected]), rtol=0, atol=1e-12)


def test_many_points_are_done_in_blocks(monkeypatch):
    alm, points = coefficients(5, 1), icosphere(2).points
    whole = evaluate(alm, points, 1)
    monkeypatch.setattr("geocnn.harmonics.points.BLOCK_BYTES", 7 * 8 * 11 * 6)  # seven points
    torch.testing.assert_close(evaluate(alm, points, 1), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("spin", [1, 2])
def test_a_rotated_field_is_the_field_carried_along_with_its_frames(spin):
    """(R f)(p) is f(R^-1 p), its frame rotated to p and seen in the frame that is there; at the poles too."""
    alm, points = coefficients(8, spin), icosphere(2).points
    rotation = random_rotations(1, torch.Generator().manual_seed(1))[0]
    before = points @ rotation
    carried = sphere_frames(before)[:, 0] @ rotation.mT
    there = torch.einsum("nd,nkd->nk", carried, sphere_frames(points))
    turn = torch.atan2(there[:, 1], there[:, 0])
    expected = evaluate(alm, before, spin) * torch.exp(1j * spin * turn)
    found = evaluate(rotate_coefficients(alm, rotation), points, spin)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_at_a_pole_the_frame_is_the_limit_along_phi_0():
    alm = coefficients(6, 1)
    for z in (1.0, -1.0):
        near = torch.tensor([[1e-9, 0.0, z], [-0.0, -0.0, z], [0.0, 0.0, 2 * z]], dtype=torch.float64)
        a, b, c = evaluate(alm, near, 1)
        assert abs(a - b) < 1e-7 and b == c


def test_gradients_and_precision():
    alm = coefficients(3, 1).requires_grad_()
    points = icosphere(0).points[:4]
    assert torch.autograd.gradcheck(lambda a: torch.view_as_real(evaluate(a, points, 1)), alm)
    single = evaluate(alm.detach().to(torch.complex64), points, 1)
    assert single.dtype == torch.complex64
    # 16 sums of numbers of order 1
    torch.testing.assert_close(
        single.to(torch.complex128), evaluate(alm, points, 1).detach(), rtol=0, atol=1e-5
    )


def test_constants_and_no_points():
    alm = torch.zeros(3, 3, dtype=torch.complex128)
    alm[0, 0] = math.sqrt(4 * math.pi)
    torch.testing.assert_close(
        evaluate(alm, icosphere(1).points), torch.ones(42, dtype=torch.float64), rtol=0, atol=1e-14
    )
    assert evaluate(alm, torch.zeros(0, 3)).shape == (0,)


def test_bad_points_and_coefficients_are_named():
    alm = torch.zeros(3, 3, dtype=torch.complex128)
    with pytest.raises(GeometryError, match=r"points \[1, 2\]"):
        evaluate(alm, torch.tensor([[1.0, 0, 0], [0, 0, 0], [math.nan, 0, 1]]))
    with pytest.raises(GeometryError, match=r"\[3\]"):
        evaluate(alm, torch.ones(3))
    with pytest.raises(MapError, match=r"2 lmax \+ 1"):
        evaluate(alm, torch.ones(1, 3), spin=1)
