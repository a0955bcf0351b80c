"""Rings of equal latitude: the points and weights of the harmonic transforms, read across the poles."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import holonomy, ring_grid
from geocnn.harmonics import equiangular, field_synthesis, gauss_legendre, random_coefficients, signed_orders
from geocnn.nn import GaugeConv


@pytest.mark.parametrize(
    ("s", "grid"),
    [
        (ring_grid(9), gauss_legendre(9)),
        (ring_grid(8, 11), gauss_legendre(8, 11)),
        (ring_grid(9, 14, "equiangular"), equiangular(9, 14)),
        (ring_grid(2, 3, "equiangular"), equiangular(2, 3)),
    ],
    ids=repr,
)
def test_points_and_weights_are_those_of_the_transforms(s, grid):
    theta, phi = grid.angles()
    expected = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], 1)
    torch.testing.assert_close(s.points, expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(s.areas, grid.ring_values(grid.weight), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["gauss_legendre", "equiangular"])
def test_the_wind_over_a_pole_is_read_from_both_sides(kind):
    """A wind that blows alike near the pole, exact but for the caps' curvature."""
    s = ring_grid(24, 48, kind)
    x = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    wind = torch.view_as_complex((s.frames * (x - s.points * s.points[:, :1])[:, None]).sum(-1))
    base = torch.arange(48)
    across = (
        torch.tensor([[-0.8, 0.1]], dtype=torch.float64) * math.pi / 24
    )  # past the pole, within the first ring
    e = s.exp(base, across.expand(48, 2).contiguous())
    assert (e.points[:, 2] > 0.99).all() and e.source.max() < 48
    found = (e.weight * torch.polar(torch.ones_like(e.angle), e.angle) * wind[e.source]).sum(1)
    # carried along, at the end
    frame = torch.view_as_complex(
        (s.frames[base] * (x - s.points[base] * s.points[base, :1])[:, None]).sum(-1)
    )
    assert (found - frame).abs().max() < 0.05


def test_a_ring_encloses_its_cap():
    s = ring_grid(6, 12)
    angle, _ = holonomy(s, torch.arange(24, 36))
    theta = math.acos(float(s.points[24, 2]))
    # twelve great circles enclose less than the ring's 2π (1 − cos θ); closed form of a regular polygon
    half = math.atan2(1, math.cos(theta) * math.tan(math.pi / 12))
    assert float(angle) % (2 * math.pi) == pytest.approx(2 * 12 * half - 10 * math.pi, abs=1e-12)


def test_local_layers_on_rings_tend_to_their_harmonic_twins():
    alm = signed_orders(random_coefficients(6, 1, torch.Generator().manual_seed(0)))
    torch.manual_seed(0)
    local, errors = GaugeConv("1x0", "1x0 + 1x1", rings=2).double(), []
    for n in (16, 32):
        x = field_synthesis(alm, "1x0", gauss_legendre(n))
        found = local(x, ring_grid(n).stencil(0.6, kind="exp"))
        twin = local.to_harmonic(0.6, lmax=6)(x, gauss_legendre(n))
        errors.append(float(((found - twin).norm() / twin.norm()).detach()))
    assert errors[1] < 0.35 * errors[0] and errors[1] < 0.02, errors


def test_halves_down_to_the_coarsest():
    s = ring_grid(9, 20, "equiangular").coarser()
    assert torch.equal(s.points, ring_grid(4, 10, "equiangular").points)
    with pytest.raises(GeometryError, match="3 rings of 10 points cannot be halved"):
        ring_grid(3, 10).coarser()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 8), "at least two rings of at least three points, got 1, 8"),
        ((4, 2), "got 4, 2"),
        ((4.0,), "got 4.0"),
        ((4, 8, "healpix"), "one of 'gauss_legendre', 'equiangular', got 'healpix'"),
    ],
)
def test_what_is_no_ring_grid_is_refused(given, message):
    with pytest.raises(GeometryError, match=message):
        ring_grid(*given)
