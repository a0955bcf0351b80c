"""What a stencil and a hierarchy are where arguments are left out, and how many levels fit a surface."""

from __future__ import annotations

import re

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import (
    Stencil,
    cone,
    healpix,
    icosphere,
    mesh,
    mobius_strip,
    plane,
    projective_plane,
    torus,
)
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
        assert torch.equal(t, other.tensors()[name]), name


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
    assert [s.n_points for s in resolutions(surface, None, SPACINGS * surface.spacing, "exp")] == expected
    assert all(n >= FEWEST for n in expected[1:])


def test_a_wide_kernel_gets_fewer_levels():
    """Radius 1 doubles to 2 and then to 4, which is more than π, where all geodesics meet again."""
    assert len(resolutions(healpix(8), None, 1.0, "exp")) == 2


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


@pytest.mark.parametrize("surface", [torus((20, 8)), torus((16, 64)), mobius_strip((32, 8))], ids=repr)
def test_log_discs_that_would_overlap_themselves_end_the_levels(surface):
    """A torus of circumference 8 has log discs up to radius 4, so one of 2.5 cannot be doubled."""
    h = surface.hierarchy(kind="log")
    deeper = h.n_levels + 1
    assert all(st.n_target >= FEWEST for st in h.stencils[1:])
    with pytest.raises(GeometryError, match=f"{h.n_levels} levels? fits? this surface, got levels={deeper}"):
        surface.hierarchy(levels=deeper, radius=2.5 * surface.spacing, kind="log")


@pytest.mark.parametrize(
    ("surface", "kind", "levels"),
    [
        (healpix(16), "exp", 3),
        (healpix(16), "log", 5),
        (healpix(8, radius=6371.0), "log", 4),
        (icosphere(4), "exp", 4),
        (torus((16, 16)), "log", 4),
        (projective_plane(8), "log", 3),
    ],
    ids=repr,
)
def test_the_radius_that_is_advised_allows_all_the_levels(surface, kind, levels):
    wide = 0.9 * surface.conjugate if surface.conjugate < 9e9 else 7.0 * surface.spacing
    with pytest.raises(GeometryError, match="overlap themselves") as refusal:
        resolutions(surface, levels, wide, kind)
    advised = float(re.search(r"give at most (\S+) for (\d+) levels", str(refusal.value))[1])
    assert len(resolutions(surface, levels, advised, kind)) == levels
    with pytest.raises(GeometryError, match="overlap themselves"):
        resolutions(surface, levels, 1.001 * advised, kind)


def test_advice_counts_the_levels_that_exist():
    with pytest.raises(GeometryError, match=r"for 4 levels, or fewer levels; 2 levels fit .* levels=9"):
        healpix(8).hierarchy(levels=9, radius=1.0)


def test_an_error_other_than_no_coarser_level_is_not_the_end_of_the_levels(monkeypatch):
    def broken(self):
        raise GeometryError("a fault")

    monkeypatch.setattr(type(icosphere(3)), "coarser", broken)
    with pytest.raises(GeometryError, match=r"^a fault$"):
        icosphere(3).hierarchy()


def test_samples_belong_to_the_kind_exp():
    s = healpix(2)
    assert s.stencil(samples=(2, 7)).samples == (2, 7)
    with pytest.raises(GeometryError, match="samples= belongs to kind='exp'"):
        s.stencil(kind="log", samples=(2, 7))
