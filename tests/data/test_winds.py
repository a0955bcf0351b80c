"""The winds lie on the grids they are said to lie on, north first, east positive."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geocnn.data.store import dataset_file
from geocnn.data.winds import RADIUS, read_winds
from geocnn.errors import DatasetError
from geocnn.harmonics import analysis, spin_from_wind, synthesis


def test_the_monthly_means_lie_on_the_latitudes_of_their_file():
    grid, u, v, values = read_winds("monthly")
    with np.load(dataset_file("winds", "wind_mean.npz")) as file:
        theta, phi = (np.rad2deg(angle.numpy()).reshape(73, 144) for angle in grid.angles())
        np.testing.assert_allclose(90 - theta, np.broadcast_to(file["lat"][:, None], theta.shape), atol=1e-4)
        np.testing.assert_allclose(phi, np.broadcast_to(file["lon"], phi.shape), atol=1e-4)
        np.testing.assert_array_equal(u.numpy().reshape(12, 73, 144), file["u"])
        np.testing.assert_array_equal(v.numpy().reshape(12, 73, 144), file["v"])
    assert u.dtype == torch.float64 and not values
    # westerlies at 45 degrees south, all year
    ring = (grid.ring_values(grid.theta) * 180 / torch.pi - 135).abs() < 1
    assert (u[:, ring].mean(1) > 5).all()


@pytest.mark.parametrize(("kind", "points"), [("regular", 73 * 144), ("gaussian", 72 * 144)])
def test_the_divergent_and_the_rotational_part_sum_to_the_wind(kind, points):
    grid, u, v, values = read_winds(kind)
    assert len(u) == len(v) == grid.n_points == points
    # float32 numbers, and the wind has a little beyond the degrees of its parts
    scale = u.abs().max()
    assert (values["uchi"] + values["upsi"] - u).abs().max() < 2e-3 * scale
    assert (values["vchi"] + values["vpsi"] - v).abs().max() < 2e-3 * scale
    assert {"vrt", "vrt_trunc", "div", "psi", "chi", "chigradu", "chigradv"} <= values.keys()


def test_a_wind_at_a_pole_is_one_vector():
    """Components turn with the frames: around a pole ring they are one vector's."""
    grid, u, v, _ = read_winds("monthly")
    field = spin_from_wind(u, v)
    smooth = synthesis(analysis(field, grid, grid.lmax, 1), grid, 1)
    # a pole's vector is written for each longitude; what degrees beyond 71 add is small
    assert (smooth - field).abs().max() < 1e-3 * field.abs().max()
    turned = field[:, :144] * torch.exp(1j * grid.angles()[1][:144])
    assert (turned - turned[:, :1]).abs().max() < 1e-3 * field.abs().max()


def test_the_radius_is_the_earths():
    assert abs(RADIUS - 6.371e6) < 1e3


def test_other_winds_are_answered_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"'daily'.*monthly, regular, gaussian"):
        read_winds("daily")
