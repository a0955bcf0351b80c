"""A sphere of another radius is the unit sphere with all lengths multiplied, areas by the square."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.equivariance.grids import transform_grid
from geocnn.equivariance.motions import motion, motions
from geocnn.errors import GeometryError
from geocnn.geometry import gauss_bonnet, gaussian_curvature, healpix, icosphere, ring_grid
from geocnn.groups import SO2
from geocnn.nn import GaugeConv, Pool

EARTH = 6371.0
SPHERES = {
    "healpix": lambda **radius: healpix(4, **radius),
    "healpix cubic": lambda **radius: healpix(4, True, "cubic", **radius),
    "icosphere": lambda **radius: icosphere(2, **radius),
    "rings": lambda **radius: ring_grid(8, **radius),
    "equiangular rings": lambda **radius: ring_grid(8, 15, "equiangular", **radius),
}
# lengths near 2e4 keep 15 digits
CLOSE = {"rtol": 1e-12, "atol": 1e-9}


@pytest.fixture(params=SPHERES)
def pair(request):
    make = SPHERES[request.param]
    return make(), make(radius=EARTH)


def equal(found, expected, scale=1.0):
    torch.testing.assert_close(found, expected * scale, **CLOSE)


def test_points_areas_and_frames(pair):
    unit, earth = pair
    equal(earth.points, unit.points, EARTH)
    equal(earth.areas, unit.areas, EARTH**2)
    assert torch.equal(earth.frames, unit.frames)
    equal(earth.points.norm(dim=1), torch.ones(earth.n_points, dtype=torch.float64), EARTH)
    assert math.isclose(float(earth.areas.sum()), 4 * math.pi * EARTH**2, rel_tol=1e-12)
    for name in ("spacing", "extent", "conjugate"):
        assert math.isclose(getattr(earth, name), EARTH * getattr(unit, name), rel_tol=1e-12)


def test_exp_log_and_discs(pair):
    unit, earth = pair
    g = torch.Generator().manual_seed(0)
    p, q = torch.randint(unit.n_points, (2, 50), generator=g)
    v = torch.randn(50, 2, generator=g, dtype=torch.float64)
    one, other = unit.exp(p, v), earth.exp(p, EARTH * v)
    equal(other.points, one.points, EARTH)
    equal(other.travelled, one.travelled, EARTH)
    assert torch.equal(other.source, one.source)
    equal(other.weight, one.weight)
    equal(other.angle, one.angle)
    one, other = unit.log(p, q), earth.log(p, q)
    equal(other.vectors, one.vectors, EARTH)
    equal(other.angle, one.angle)
    assert torch.equal(other.reached, one.reached)
    one, other = unit.disc(0.7), earth.disc(0.7 * EARTH)
    assert torch.equal(other.source, one.source)
    equal(other.log.distance, one.log.distance, EARTH)
    equal(other.jacobian, one.jacobian)


@pytest.mark.parametrize("kind", ["exp", "log"])
def test_layers_do_not_see_the_radius(pair, kind):
    unit, earth = pair
    layer = GaugeConv("1x0", "2x0 + 1x1").double()
    x = torch.randn(unit.n_points, 1, dtype=torch.float64)
    one, other = (s.hierarchy(2, 0.5 * r, kind) for s, r in ((unit, 1), (earth, EARTH)))
    for a, b in zip([*one.stencils, *one.down], [*other.stencils, *other.down], strict=True):
        assert b.radius == EARTH * a.radius
        if a.n_source == unit.n_points:
            equal(layer(x, b), layer(x, a))
    equal(other.areas[1], one.areas[1], EARTH**2)
    field = torch.randn(one.up[0].n_source, 3, dtype=torch.float64)
    equal(Pool("1x0 + 1x1")(field, other.up[0]), Pool("1x0 + 1x1")(field, one.up[0]))


def test_levels_keep_the_radius(pair):
    unit, earth = pair
    for change in (lambda s: s.coarser(), lambda s: s.finer(), lambda s: s.finer().coarser().coarser()):
        equal(change(earth).points, change(unit).points, EARTH)
        assert change(earth).radius == EARTH


def test_motions_are_those_of_the_unit_sphere(pair):
    unit, earth = pair
    assert motions(earth, SO2) == motions(unit, SO2)
    for name in motions(unit, SO2):
        one, other = motion(unit, name), motion(earth, name)
        assert torch.equal(other.target, one.target)
        equal(other.angle, one.angle)


def test_curvature_and_connection(pair):
    unit, earth = pair
    equal(gaussian_curvature(earth), gaussian_curvature(unit), EARTH**-2)
    assert abs(gauss_bonnet(earth)) < 1e-10
    equal(earth.connection().angle, unit.connection().angle)


def test_the_harmonic_twin_takes_the_angle():
    earth = ring_grid(12, radius=EARTH)
    layer = GaugeConv("1x0", "1x0 + 1x1").double()
    grid, radius = transform_grid(earth), 1500.0
    assert grid is not None
    x = earth.directions[:, 2:] * earth.directions[:, :1]
    local = layer(x, earth.stencil(radius, samples=(12, 24)))
    harmonic = layer.to_harmonic(radius / EARTH, 11)(x, grid)
    # a smooth field between 12 rings, read bilinearly: a few per cent, as on the unit sphere
    assert (local - harmonic).norm() < 0.05 * harmonic.norm()
    with pytest.raises(GeometryError, match="divide a length by the radius of the sphere"):
        layer.to_harmonic(radius, 11)


def test_spheres_of_different_radii_are_different_surfaces():
    with pytest.raises(GeometryError, match="on this very surface"):
        healpix(4, radius=2.0).stencil(1.0, targets=healpix(2))
    with pytest.raises(GeometryError, match=r"overlap themselves here beyond 6\.283"):
        healpix(4, radius=2.0).hierarchy(levels=3, radius=2.0)
    with pytest.raises(GeometryError, match=r"π times the sphere's, 6\.28319,"):
        healpix(4, radius=2.0).disc(6.2831853071795865)


@pytest.mark.parametrize("radius", [0.0, -1.0, math.inf, math.nan, "far"])
def test_a_radius_is_positive_and_finite(radius):
    for make in SPHERES.values():
        with pytest.raises(GeometryError, match="positive"):
            make(radius=radius)
