"""Half a cell farther: what averages over cells cannot know, what band-limited waves can, and what a solver
makes of it."""

from __future__ import annotations

import math

import pytest
import torch

from tests.example import example

advection = example("advection")
F64 = torch.float64


@pytest.mark.parametrize(("k", "n"), [(1, 4), (3, 33), (36, 33)])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.3])
def test_averages_are_those_of_the_wave(k, n, place):
    # the midpoint rule with 1,000 points a cell
    x = (torch.arange(1000 * n, dtype=F64) + 0.5) / (1000 * n) - 0.5 / n
    wave = torch.sin(2 * math.pi * k * (x - place / n))
    expected = wave.view(n, 1000).mean(1)
    torch.testing.assert_close(advection.averages(k, place, n), expected, rtol=0, atol=1e-5)


def test_four_cells_see_another_wave_when_it_has_moved_by_half_a_cell():
    size = 2 * math.sqrt(2) / math.pi
    at, beyond = advection.averages(1, 0.0, 4), advection.averages(1, 0.5, 4)
    torch.testing.assert_close(at, size * torch.tensor([0, 1, 0, -1], dtype=F64), rtol=0, atol=1e-15)
    half = size * math.sqrt(0.5)
    torch.testing.assert_close(beyond, half * torch.tensor([-1, 1, 1, -1], dtype=F64), rtol=0, atol=1e-15)
    # f_j(t) = (L/πΔx) sin(2π(x_j − ct)/L) sin(πΔx/L) for another length, time and speed
    length, n, c, t = 2.5, 10, 0.7, 0.3
    dx = length / n
    x = dx * torch.arange(n, dtype=F64)
    f = (
        length
        / (math.pi * dx)
        * torch.sin(2 * math.pi * (x - c * t) / length)
        * math.sin(math.pi * dx / length)
    )
    torch.testing.assert_close(advection.averages(1, c * t / dx, n), f, rtol=0, atol=1e-14)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_no_map_of_averages_moves_every_wave_by_half_a_cell(k):
    # one with the averages of nothing, which by half a cell has other ones than nothing
    assert advection.unseen(k, 0.0).abs().max() < 1e-12  # sines of up to 250 radians
    twice = 2 * advection.averages(k, 0.5)
    torch.testing.assert_close(advection.unseen(k, 0.5), twice, rtol=0, atol=1e-12)
    assert twice.abs().max() > 1
    # whole cells are no trouble
    assert advection.unseen(k, 2.0).abs().max() < 1e-12


@pytest.mark.parametrize("t", [0.5, 0.21, 1.0])
def test_of_band_limited_waves_one_does(t):
    for k in (1, 5, 16):
        found = advection.shifted(advection.averages(k, 0.3), t)
        torch.testing.assert_close(found, advection.averages(k, 0.3 + t), rtol=0, atol=1e-14)
    torch.testing.assert_close(
        advection.shifted(advection.bell(0.1), t), advection.bell(0.1 + t), rtol=0, atol=1e-14
    )
    # an isometry: no error is hidden or made by it
    f = advection.bell()
    assert advection.shifted(f, t).norm().item() == pytest.approx(f.norm().item(), rel=1e-14)


def test_linear_layers_commute_with_it_and_nonlinearities_do_not():
    torch.manual_seed(0)
    solvers = {name: advection.solver(name).requires_grad_(False) for name in advection.ACTIVATIONS}
    found = {name: advection.measure(model) for name, model in solvers.items()}
    off = {name: float(f.commutator.max()) for name, f in found.items()}
    assert off["linear"] < 1e-14
    assert off["ReLU"] > 1e-3
    assert off["ReLU, 4 samples a cell"] < off["ReLU"] / 5
    assert off["GELU, 4 samples a cell"] < 1e-9
    # all with whole cells
    assert all(float(f.commutator[-1]) < 1e-14 for f in found.values())


@pytest.mark.parametrize("name", ["linear", "ReLU", "GELU, 4 samples a cell"])
def test_between_grid_points_a_trained_solver_is_wrong_by_what_does_not_commute(name):
    found = advection.measure(advection.train(name, seed=0, steps=150))
    # N S f − S A f = (N S − S N) f + S (N f − A f)
    assert bool(((found.error - found.error[0]).abs() <= found.commutator + 1e-13).all())
    assert float(found.error[0]) < 0.05
    if name == "ReLU":
        assert found.error.max() > 1.5 * found.error[0]
    else:
        assert found.error.max() < (1 + 1e-6) * found.error[0]
