"""Correlation written out, on the sphere, the circle and the plane."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import GroupError
from geocnn.groups.rotations import random_rotations
from geocnn.harmonics import analysis, gauss_legendre, real_part, rotate_coefficients, synthesis
from geocnn.harmonics.homogeneous import circle, homogeneous_correlation, plane_space, sphere_space

G = torch.Generator().manual_seed(0)


def zonal(q):
    return torch.exp(3 * (q[..., 2] - 1))


def test_on_the_sphere_a_zonal_kernel_multiplies_each_degree():
    grid, lmax = gauss_legendre(32, 64), 6
    f = torch.randn(lmax + 1, 2 * lmax + 1, dtype=torch.complex128, generator=G)
    f = real_part(f).tril()
    found = analysis(homogeneous_correlation(zonal, synthesis(f, grid), sphere_space(grid)), grid, lmax)
    k = analysis(zonal(sphere_space(grid).points), grid, lmax)[:, 0].real
    factor = (4 * torch.pi / (2 * torch.arange(lmax + 1).double() + 1)).sqrt() * k
    # imaginary parts of m = 0 mean nothing
    f[:, 0] = f[:, 0].real + 0j
    torch.testing.assert_close(found, factor[:, None] * f, rtol=0, atol=1e-10)


def test_it_commutes_with_rotations():
    grid = gauss_legendre(32, 64)
    space = sphere_space(grid)
    f = torch.randn(5, 5, dtype=torch.complex128, generator=G).tril()
    rotation = random_rotations(1, G)[0]
    there = homogeneous_correlation(zonal, synthesis(rotate_coefficients(f, rotation), grid), space)
    at = space.points[::37] @ rotation
    torch.testing.assert_close(
        there[::37], homogeneous_correlation(zonal, synthesis(f, grid), space, at), rtol=0, atol=1e-10
    )


def test_a_kernel_with_a_direction_is_refused_on_the_sphere_and_not_elsewhere():
    def tilted(q):
        return zonal(q) * (1 + 0.1 * q[..., 0])

    with pytest.raises(GroupError, match="not symmetric under the stabiliser"):
        homogeneous_correlation(tilted, torch.ones(128), sphere_space(gauss_legendre(8, 16)))
    homogeneous_correlation(lambda q: q[..., 0] + q[..., 1], torch.ones(8), circle(8))


def test_on_the_circle_it_is_the_discrete_cross_correlation():
    n = 12
    f, k = torch.randn(2, n, dtype=torch.float64, generator=G)

    def kernel(q):
        place = (torch.atan2(q[..., 1], q[..., 0]) * n / (2 * torch.pi)).round().long() % n
        return k[place]

    found = homogeneous_correlation(kernel, f, circle(n))
    expected = torch.fft.ifft(torch.fft.fft(f) * torch.fft.fft(k).conj()).real * 2 * torch.pi / n
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_parts_of_a_complex_function_do_not_mix():
    f, g = torch.randn(2, 9, dtype=torch.float64, generator=G)
    one, other, both = (
        homogeneous_correlation(lambda q: q[..., 0].exp(), x, circle(9)) for x in (f, g, torch.complex(f, g))
    )
    torch.testing.assert_close(both, torch.complex(one, other), rtol=0, atol=1e-14)


def test_on_the_plane_it_is_torch_s_convolution():
    y, x = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
    points = torch.stack([x, y], -1).reshape(-1, 2).double()
    weight = torch.randn(3, 3, dtype=torch.float64, generator=G)

    def kernel(q):
        at = (q + 1).round().long()
        inside = ((at >= 0) & (at < 3)).all(-1)
        at = at.clamp(0, 2)
        return torch.where(inside, weight[at[..., 1], at[..., 0]], 0.0)

    f = torch.randn(81, dtype=torch.float64, generator=G)
    found = homogeneous_correlation(kernel, f, plane_space(points, 1.0))
    expected = torch.nn.functional.conv2d(f.view(1, 1, 9, 9), weight[None, None], padding=1).flatten()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
