"""Bells and winds tilted together are the same problem to the gauge-equivariant solver, not to the other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.example import example

sphere = example("advection_sphere")
F64 = torch.float64


def awake(make) -> nn.Module:
    """An untrained solver of nside 4 whose last layer, zero at first, is drawn at random."""
    torch.manual_seed(0)
    model = make(4)
    nn.init.normal_(next(model.last.parameters()), std=0.05)
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def solvers() -> dict[str, nn.Module]:
    return {name: awake(make) for name, make in sphere.SOLVERS.items()}


def some(model: nn.Module):
    return sphere.problems(32, model.grid.spacing, torch.Generator().manual_seed(0))


def test_rotations_are_right_handed_and_none_is_none():
    e = torch.eye(3, dtype=F64)
    torch.testing.assert_close(sphere.rotated(e, math.pi / 2 * e[:1]), torch.stack([e[0], e[2], -e[1]]))
    assert torch.equal(sphere.rotated(e, torch.zeros(1, 3, dtype=F64)), e)


def test_in_training_winds_blow_east():
    given = sphere.problems(500, 0.1, torch.Generator().manual_seed(0))
    speed = given.turn.norm(dim=1)
    assert ((given.turn[:, 2] / speed) >= math.cos(math.radians(20))).all()
    assert 0.1 <= speed.min() < 0.11 and 0.19 < speed.max() <= 0.2
    assert (given.tilted(180).turn[:, 2] < 0).all()
    assert (given.tilted(90).turn[:, 2].abs() < 0.2 * math.sin(math.radians(20)) + 1e-12).all()


def test_the_wind_around_the_poles_axis_is_east_and_the_bell_is_where_it_leads(solvers):
    for model in solvers.values():
        grid = model.grid
        quarter = sphere.Problems(*torch.tensor([[[1.0, 0, 0]], [[0, 0, math.pi / 2]]], dtype=F64))
        x, y = sphere.fields(quarter, grid)
        theta = grid.points[:, 2].acos()
        assert x[0, :, 1].abs().max() < 1e-6
        torch.testing.assert_close(
            x[0, :, 2].double(), math.pi / 2 / grid.spacing * theta.sin(), rtol=1e-5, atol=0
        )
        moved = sphere.bells(torch.tensor([[0.0, 1, 0]], dtype=F64), grid.points)
        torch.testing.assert_close(y.double(), moved, rtol=0, atol=1e-6)


def test_a_cosine_bell_has_its_values():
    r = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=F64)
    at = torch.stack([r.cos(), r.sin(), 0 * r], 1)
    found = sphere.bells(torch.tensor([[1.0, 0, 0]], dtype=F64), at)[0, :, 0]
    torch.testing.assert_close(found, torch.tensor([1.0, 0.5, 0, 0], dtype=F64))


def test_both_grids_measure_alike(solvers):
    sizes = []
    for model in solvers.values():
        assert model.grid.shares.sum().item() == pytest.approx(1, abs=1e-12)
        assert len(model.grid.points) == pytest.approx(12 * 4**2, rel=0.05)
        sizes.append(float(sphere.size(sphere.fields(some(model), model.grid)[1], model.grid).mean()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.03)


def test_upside_down_the_gauge_solver_errs_alike_to_rounding_and_the_picture_does_not(solvers):
    # half a turn about x takes either grid's points to points
    off = {}
    for name, model in solvers.items():
        given = some(model)
        one, other = (sphere.error(model, model.grid, given.tilted(tilt)) for tilt in (0, 180))
        off[name] = abs(one - other) / one
    assert off["gauge-equivariant"] < 1e-5
    assert off["latitude-longitude CNN"] > 1e-3


def test_training_makes_it_better_than_if_nothing_moved():
    torch.manual_seed(0)
    model = sphere.LatLonSolver(4)
    still = sphere.error(model, model.grid, some(model))
    assert still == pytest.approx(sphere.error(sphere.Still(), model.grid, some(model)), rel=1e-6)
    sphere.train(model, steps=60, seed=0)
    assert sphere.error(model, model.grid, some(model)) < 0.8 * still
