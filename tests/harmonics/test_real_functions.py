"""The transform of real functions: its tables, its Fourier transforms, its iterations."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.geometry.spheres.rings import gauss_legendre_rings
from geocnn.groups.wigner import wigner_d_column
from geocnn.harmonics import (
    RingGrid,
    analysis,
    equiangular,
    gauss_legendre,
    healpix_grid,
    latitude,
    legendre,
    sht,
    synthesis,
)
from geocnn.harmonics.legendre import Nodes, n_rows, steps
from geocnn.harmonics.longitude import from_fourier, refold, to_fourier
from tests.harmonics.fields import fields, spin_fields


@pytest.mark.parametrize("lmax", [0, 1, 2, 65, 200, 1000])
def test_two_degrees_come_from_each_row(lmax):
    """Near the poles and the equator, where seeds underflow, and where nothing is left."""
    theta = torch.tensor([1e-3, 0.02, 0.3, 0.9, 1.5, math.pi / 2 - 1e-3, math.pi / 2], dtype=torch.float64)
    table = theta.new_zeros(lmax + 1, n_rows(lmax), len(theta))
    for orders, rows, nodes, part in legendre.computed(Nodes(theta, lmax, torch.float64, False)):
        table[orders, rows, nodes] = part
    _, _, even, before, odd = (c[..., None] for c in steps(lmax, theta.device))
    of_even = even * table
    of_even[:, 1:] += before[:, 1:] * table[:, :-1]
    of_odd = odd * table * theta.cos()
    orders = {0, 1, lmax // 7, lmax // 2, lmax - 1, lmax} & set(range(lmax + 1))
    for m in orders:
        expected = wigner_d_column(lmax, m, 0, theta)
        expected = expected * ((2 * torch.arange(lmax + 1.0, dtype=torch.float64) + 1) / (4 * math.pi)).sqrt()
        found = torch.stack([of_even[m], of_odd[m]], 1).flatten(0, 1)[: lmax + 1 - m].T
        # the cosine of a colatitude near the pole is rounded, which moves the function by l^2 / 4 roundings
        torch.testing.assert_close(found, expected[:, m:], rtol=0, atol=2e-16 * (lmax + 10) ** 2)


@pytest.mark.parametrize("lmax", [0, 7, 11, 30])
@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize(
    "grid", [healpix_grid(4), healpix_grid(4, nested=True), gauss_legendre(5, 7)], ids=repr
)
def test_refold_is_to_values_and_back(grid, lmax, spin):
    """Also where orders fold onto each other."""
    dtype = torch.complex128 if spin else torch.float64
    x = torch.randn(3, grid.n_points, dtype=dtype, generator=torch.Generator().manual_seed(lmax))
    fourier = to_fourier(grid, lmax, x)
    expected = to_fourier(grid, lmax, from_fourier(grid, lmax, fourier.clone(), not spin))
    found = refold(grid, lmax, fourier.clone(), not spin)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-10)


def reduced_grid(count: tuple[int, ...]) -> RingGrid:
    """Gauss-Legendre colatitudes, with fewer samples on rings near the poles."""
    theta, weight = gauss_legendre_rings(len(count))
    phi0 = torch.tensor([0.1 * min(i, len(count) - 1 - i) for i in range(len(count))], dtype=torch.float64)
    weight = weight * 2 * math.pi / torch.tensor(count)
    return RingGrid(f"reduced{count}", theta, count, phi0, weight, lmax=len(count) - 1, exact=False)


@pytest.mark.parametrize("lmax", [0, 7, 30])
@pytest.mark.parametrize(
    "grid",
    [
        healpix_grid(4),
        healpix_grid(4, nested=True),
        gauss_legendre(5, 7),
        gauss_legendre(6, 7),
        reduced_grid((4, 4, 7, 9, 9, 9, 7, 4, 4)),
        reduced_grid((5, 5, 8, 8, 5, 5)),
    ],
    ids=repr,
)
def test_several_functions_at_once_are_what_they_are_alone(grid, lmax, monkeypatch):
    """Also where orders fold onto each other, and with tables that are computed in pieces."""
    alm = fields(lmax, sht.SEVERAL)
    alone = torch.stack([synthesis(a, grid) for a in alm])
    # rounding in sums of 31 degrees
    torch.testing.assert_close(synthesis(alm, grid), alone, rtol=0, atol=1e-12)
    monkeypatch.setattr(legendre, "KEPT_BYTES", 0)
    monkeypatch.setattr(legendre, "ROW_ENTRIES", 3 * 9)
    monkeypatch.setattr(legendre, "STEPS", 3)
    torch.testing.assert_close(synthesis(alm, grid), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [healpix_grid(8), gauss_legendre(12)], ids=repr)
@pytest.mark.parametrize("spin", [None, 1])
def test_iterations_subtract_the_synthesis(grid, spin):
    noise = torch.randn(2, grid.n_points, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    noise = noise if spin is None else torch.complex(*noise)
    expected = analysis(noise, grid, 11, spin, iterations=0)
    for _ in range(2):
        missing = noise - synthesis(expected, grid, spin)
        expected = expected + analysis(missing, grid, 11, spin, iterations=0)
    torch.testing.assert_close(analysis(noise, grid, 11, spin, iterations=2), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spin", [None, 2])
def test_iterated_analysis_has_its_adjoint(spin):
    """<A x, y> = <x, A* y>, for A* as autograd has it, and once more for its derivative."""
    grid, generator = healpix_grid(8), torch.Generator().manual_seed(2)
    dtype = torch.float64 if spin is None else torch.complex128
    x = torch.randn(2, grid.n_points, dtype=dtype, generator=generator).requires_grad_()
    y = (fields(15, 2) if spin is None else spin_fields(15, 2, spin)).requires_grad_()
    found = analysis(x, grid, 15, spin, iterations=2)
    (back,) = torch.autograd.grad(found, x, y, create_graph=True)
    inner = (found.conj() * y).real.sum()
    torch.testing.assert_close((x.conj() * back).real.sum(), inner, rtol=1e-12, atol=0)
    (again,) = torch.autograd.grad(back, y, x.detach())
    torch.testing.assert_close(again, found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [equiangular(20), equiangular(21, poles=True), gauss_legendre(19)], ids=repr)
def test_large_tables_give_the_answer_of_small_ones(grid, monkeypatch):
    alm = fields(grid.lmax, 3)
    values = synthesis(alm, grid)
    monkeypatch.setattr(latitude, "KEPT_BYTES", 0)
    torch.testing.assert_close(synthesis(alm, grid), values, rtol=0, atol=1e-12)
    torch.testing.assert_close(analysis(values, grid, grid.lmax), alm, rtol=0, atol=1e-13)


def test_single_precision_loses_nothing_next_to_the_equator():
    """There a row is some 64 times the harmonics that it serves; in float32 the error would be 1e-6."""
    grid, alm = healpix_grid(32), fields(64, 1)
    values = synthesis(alm, grid)
    error = synthesis(alm.to(torch.complex64), grid).double() - values
    # Fourier transforms in float32 of up to 128 samples: some roundings of 6e-8
    assert error.abs().max() < 4e-7 * values.abs().max()
    found = analysis(values.float(), grid, 64, iterations=0).to(torch.complex128)
    expected = analysis(values, grid, 64, iterations=0)
    assert (found - expected).norm() < 3e-7 * expected.norm()
