"""What a stencil and a hierarchy are where arguments are left out, and how many levels fit a surface."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import Stencil, cone, healpix, icosphere, mesh, mobius_strip, plane, projective_plane
from geocnn.geometry.core.defaults import FEWEST, SPACINGS
from geocnn.geometry.core.hierarchy import resolutions
from tests.shapes import jittered_sphere

SURFACES = {
    "healpix": (healpix(8), [768, 192, 48]),
    "healpix in km": (healpix(8, radius=6371.0), [768, 192, 48]),
    "icosphere": (icosphere(3), [642, 162, 42]),
    "odd plane": (plane((28, 44)), [1232, 308, 77]),
    "strip": (mobius_strip((8, 24)), [192, 48]),
    "projective plane": (projective_plane(8), [384, 96]),
    "cone": (cone(4.0, 16), [513, 129]),
    "mesh": (mesh(*jittered_sphere(200)), [200, 50]),
    "mesh too small to halve": (mesh(*jittered_sphere(60)), [60]),
}


def assert_same(one: Stencil, other: Stencil) -> None:
    assert one.tensors().keys() == other.tensors().keys() and one.metadata() == other.metadata()
    for name, t in one.tensors().items():
        assert torch.equal(t, getattr(other, name)), name


def test_what_is_left_out_is_an_exp_kernel_of_two_and_a_half_spacings():
    s = healpix(8)
    radius = 2.5 * s.spacing
    h, explicit = s.hierarchy(), s.hierarchy(levels=3, radius=radius, kind="exp")
    assert h.n_levels == 3
    for one, other in zip([*h.stencils, *h.down], [*explicit.stencils, *explicit.down], strict=True):
        assert_same(one, other)
    assert_same(s.stencil(), s.stencil(radius, "exp"))
    assert_same(s.stencil(), h.stencils[0])


@pytest.mark.parametrize("name", SURFACES)
def test_the_number_of_points_chooses_the_levels(name):
    surface, expected = SURFACES[name]
    assert [s.n_points for s in resolutions(surface, None, SPACINGS * surface.spacing)] == expected
    assert all(n >= FEWEST for n in expected[1:])


def test_a_wide_kernel_gets_fewer_levels():
    """Radius 1 doubles to 2 and then to 4, which is more than π, where all geodesics meet again."""
    assert len(resolutions(healpix(8), None, 1.0)) == 2


@pytest.mark.parametrize(
    ("surface", "why", "most"),
    [
        (healpix(4), "nside 1 is the coarsest", 3),
        (icosphere(1), "level 0 is the coarsest", 2),
        (plane((14, 22)), "7 x 11 cells cannot be halved", 2),
        (plane((7, 9)), "7 x 9 cells cannot be halved", 1),
        (cone(4.0, 6), "3 rings cannot be halved", 2),
        (mesh(*jittered_sphere(60)), "3 points cannot be thinned", 3),
    ],
    ids=repr,
)
def test_too_many_levels_are_refused_by_the_number_that_fits(surface, why, most):
    with pytest.raises(GeometryError, match=f"{why}.*; {most} levels? fits? this surface, got levels=9"):
        surface.hierarchy(levels=9, radius=1.1 * surface.spacing)
    h = surface.hierarchy(levels=most, radius=1.1 * surface.spacing)
    assert h.n_levels == most


def test_too_wide_a_kernel_names_the_levels_that_fit_it():
    with pytest.raises(GeometryError, match=r"to 4 at level 2.*; 2 levels fit this surface, got levels=3"):
        healpix(8).hierarchy(levels=3, radius=1.0)


def test_samples_belong_to_the_kind_exp():
    s = healpix(2)
    assert s.stencil(samples=(2, 7)).samples == (2, 7)
    with pytest.raises(GeometryError, match="samples= belongs to kind='exp'"):
        s.stencil(kind="log", samples=(2, 7))
