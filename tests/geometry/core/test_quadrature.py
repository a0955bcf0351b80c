"""The error of sums over points does not grow with their number, and equal maps have equal sums."""

from __future__ import annotations

import pytest
import torch

from geocnn.geometry import Hierarchy, healpix
from geocnn.geometry.core.quadrature import weighted_sum, weighted_sums
from geocnn.geometry.spheres.pixels import npix
from geocnn.harmonics import gauss_legendre, healpix_grid, integral
from geocnn.nn import sphere_mean, surface_mean

NSIDE = 64  # 49,152 terms: added in a row in float32 they are off in the fourth digit of 101,325
PRESSURE = 101_325.0  # Pa; its variations, which a network is to see, are some hundreds
ROUNDING = 2.0**-24  # of one number in float32, relative
TREE = 16 * ROUNDING  # log2 of the number of terms: one rounding at each step of a sum in a tree


def mean_of_grid(x):
    return sphere_mean(x, f"{x.shape[-1]}x0", healpix_grid(NSIDE))


def mean_by_integral(x):
    return integral(x.mT, healpix_grid(NSIDE)) / integral(torch.ones(npix(NSIDE)), healpix_grid(NSIDE))


def mean_of_surface(x):
    return surface_mean(x, flat_hierarchy(1), 0).squeeze(-2)


def flat_hierarchy(copies):
    """Levels are not needed: the points and areas of a sphere, several times, without stencils."""
    areas, n = healpix(NSIDE).areas, npix(NSIDE)
    h = healpix(1).hierarchy(levels=1)
    return Hierarchy(h.stencils, [], [], [areas.repeat(copies)], [torch.arange(copies + 1) * n], h.readings)


MEANS = [mean_of_grid, mean_by_integral, mean_of_surface]


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 5)])
def test_the_mean_of_a_constant_is_that_constant_in_every_batch(mean, shape):
    x = torch.full((*shape, npix(NSIDE), 2), PRESSURE)
    torch.testing.assert_close(mean(x), torch.full((*shape, 2), PRESSURE), rtol=TREE, atol=0)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("node_major", [False, True])
def test_equal_maps_have_equal_means_whatever_lies_beside_them(mean, node_major):
    generator = torch.Generator().manual_seed(0)
    one = PRESSURE + 300 * torch.randn(npix(NSIDE), 1, generator=generator)
    expected = one.double().mean(0)
    for batch in (1, 2, 7):
        x = one.repeat(batch, 1, 3)
        if node_major:
            x = x.transpose(0, 1).contiguous().transpose(0, 1)
        found = mean(x)
        assert found.unique().numel() == 1, batch
        torch.testing.assert_close(found.double().amax(), expected[0], rtol=TREE, atol=0)


def test_surfaces_side_by_side_have_the_means_they_have_alone():
    x = PRESSURE + 300 * torch.randn(npix(NSIDE), 2, generator=torch.Generator().manual_seed(0))
    together = surface_mean(x.repeat(3, 1), flat_hierarchy(3), 0)
    assert together.unique().numel() == 2
    torch.testing.assert_close(together, mean_of_surface(x).expand(3, 2), rtol=TREE, atol=0)


@pytest.mark.parametrize("mean", MEANS)
def test_gradients_are_the_weights(mean):
    x = torch.randn(2, npix(NSIDE), 1, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (found,) = torch.autograd.grad(mean(x).sum(), x)
    assert found.dtype == torch.float32
    # the weights of pixels, alike but for the rounding of a division
    torch.testing.assert_close(found, torch.full_like(x, 1 / npix(NSIDE)), rtol=1e-6, atol=0)


def test_derivatives_of_sums():
    x = torch.randn(2, 6, 3, dtype=torch.float64).requires_grad_()
    weight = torch.rand(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: weighted_sums(v, weight, torch.tensor([0, 4, 6])), x)
    assert torch.autograd.gradcheck(lambda v: weighted_sum(v.mT.to(torch.complex128), weight), x)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mean", [mean_of_grid, mean_of_surface])
def test_autocast_and_half_precision_lose_no_more_than_the_values_did(mean, low):
    x = (1000 + torch.randn(2, npix(NSIDE), 1, generator=torch.Generator().manual_seed(0))).to(low)
    expected = x.double().mean(1)
    with torch.autocast("cpu", torch.bfloat16):
        found = mean(x)
        again = mean(x.float())
    assert found.dtype == torch.float32  # means differ by little: they stay in single precision
    torch.testing.assert_close(found.double(), expected, rtol=TREE, atol=0)
    torch.testing.assert_close(again, found, rtol=0, atol=0)
    assert mean(x).dtype == low  # a network of that precision goes on in it
    torch.testing.assert_close(mean(x).double(), expected, rtol=float(torch.finfo(low).eps), atol=0)


def test_an_integral_of_half_precision_does_not_overflow():
    grid = gauss_legendre(4)
    assert integral(torch.full((32,), 6e4, dtype=torch.float16), grid).item() == pytest.approx(
        6e4 * 4 * torch.pi, rel=1e-3  # 6e4 in float16
    )  # fmt: skip
