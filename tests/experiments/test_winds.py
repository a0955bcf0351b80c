"""Four fields of the wind: the reference's on every grid, in every gauge."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.geometry import healpix, icosphere
from geocnn.harmonics import evaluate, healpix_grid, synthesis
from tests.example import example

winds = example("winds")


@pytest.fixture(scope="module")
def gaussian():
    return winds.on_rings("gaussian")


def test_on_rings_and_on_healpix_the_fields_are_the_references(gaussian):
    field, truth, errors = gaussian
    # the reference holds float32 numbers
    assert max(errors.values()) < 1e-6 and max(winds.on_rings("regular")[2].values()) < 1e-6
    pixels = winds.on_healpix(32, field, truth)
    # three iterations at lmax 71 > 2 nside; a derivative weights high degrees, a potential low ones
    assert pixels["vorticity"] < 1e-4 and pixels["divergence"] < 1e-3
    assert pixels["stream function"] < 1e-6 and pixels["velocity potential"] < 1e-5


def test_along_edges_potentials_converge_with_second_order(gaussian):
    field, truth, _ = gaussian
    coarse, fine = (winds.on_icosphere(level, field, truth) for level in (3, 4))
    for name in ("stream function", "velocity potential"):
        assert fine[name] < 0.3 * coarse[name] and fine[name] < 0.01
    # 71 degrees on 2,562 points: derivatives are barely resolved
    assert fine["vorticity"] < 0.1 and fine["divergence"] < 0.3


def test_along_edges_no_frame_is_better_than_another():
    s = icosphere(3)
    faces, generator = s.grid.solid.faces[-1], torch.Generator().manual_seed(0)
    z = torch.randn(s.n_points, dtype=torch.complex128, generator=generator)
    expected = winds.along_edges(s, faces, z)
    turned, factor = winds.turned(s, seed=1)
    for a, b in zip(winds.along_edges(turned, faces, factor * z), expected, strict=True):
        assert (a - b).abs().max() < 1e-11 * b.abs().max()


def test_along_edges_solid_rotation_and_the_gradient_of_z():
    """i sin θ has vorticity 2 cos θ and stream function −cos θ; −sin θ is the gradient of cos θ."""
    s = icosphere(4)
    height = s.points[:, 2]
    sine = (1 - height.square()).sqrt().to(torch.complex128)
    derivative, potential = winds.along_edges(s, s.grid.solid.faces[-1], (1j - 1) * sine)
    for found, expected in (
        (derivative.imag, 2 * height),
        (derivative.real, -2 * height),
        (potential.imag, -height),
        (potential.real, height),
    ):
        # spacing 0.07: second order, 1e-3 or so
        assert winds.error(found, expected, s.areas) < 4e-3


def test_interpolated_vectors_turn_with_their_frames(gaussian):
    field = gaussian[0]
    errors = winds.interpolation_errors(field, 32, 3)
    whole, polar = errors["with transport"]
    assert whole < 5e-3 and polar < 0.03 and errors["as two scalars"][1] > 2 * polar
    # in other frames the same vectors come out; without transport nothing does
    s, factor = winds.turned(icosphere(3))
    z = synthesis(field, healpix_grid(32), 1)
    there = healpix(32).interpolation(s)
    expected = factor * winds.interpolate(healpix(32).interpolation(icosphere(3)), z)
    assert (winds.interpolate(there, z) - expected).abs().max() < 1e-12 * z.abs().max()
    wrong = winds.interpolate(there, z, transported=False)
    # uncorrelated vectors of equal power differ by √2
    exact = factor * evaluate(field, s.points, 1)
    assert winds.error(wrong, exact, s.areas) == pytest.approx(math.sqrt(2), abs=0.15)
