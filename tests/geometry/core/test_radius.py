"""A radius in another unit ends at once, with the spacing and a radius that would do."""

import re
import warnings

import pytest
import torch

import geocnn.geometry as geometry
from geocnn.errors import GeometryError, RadiusWarning
from geocnn.geometry.core import stencil_costs
from geocnn.geometry.core.radius import check_samples
from geocnn.geometry.core.sampling import _largest_gap, polar_samples
from geocnn.geometry.spheres.icosahedron import Icosahedron

BALL = Icosahedron(2)
SURFACES = {
    "healpix": lambda: geometry.healpix(4),
    "icosphere": lambda: geometry.icosphere(2),
    "ring grid": lambda: geometry.ring_grid(8, 16),
    "projective plane": lambda: geometry.projective_plane(4),
    "plane": lambda: geometry.plane((12, 12)),
    "torus": lambda: geometry.torus((12, 12)),
    "Möbius strip": lambda: geometry.mobius_strip((12, 12)),
    "cone": lambda: geometry.cone(5.0, 6),
    "mesh": lambda: geometry.mesh(BALL.points, BALL.faces[-1]),
    "mesh in millimetres": lambda: geometry.mesh(1000 * BALL.points, BALL.faces[-1]),
}

ASKED = {
    "exp": lambda s, r: s.stencil(r),
    "log": lambda s, r: s.stencil(r, kind="log"),
    "samples": lambda s, r: s.stencil(r, samples=(1, 5)),
    "targets": lambda s, r: s.stencil(r, targets=torch.tensor([0])),
    "hierarchy": lambda s, r: s.hierarchy(levels=1, radius=r),
    "oversampled": lambda s, r: s.hierarchy(levels=1, radius=r, oversample=True, kind="log"),
}


@pytest.fixture(scope="module", params=SURFACES)
def surface(request):
    return SURFACES[request.param]()


def mentions(surface):
    return rf"times the point spacing, {surface.spacing:.4g}.* about {2.5 * surface.spacing:.4g}, "


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("spacings", [1e-3, 0.05, 60, 1e3, 1e9])
def test_radii_of_another_unit_are_refused_at_both_ends(surface, ask, spacings):
    """Metres for millimetres, degrees for radians and back; the extremes would not end if computed."""
    with pytest.raises(GeometryError, match=mentions(surface)):
        ask(surface, spacings * surface.spacing)


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_radius_below_the_spacing_is_warned_of_where_it_was_given(surface, ask):
    with pytest.warns(RadiusWarning, match=mentions(surface)) as caught:
        ask(surface, 0.5 * surface.spacing)
    assert caught[0].filename == __file__


def test_discs_are_only_warned_of(surface):
    """The pairs within a short radius are a question with an answer."""
    with pytest.warns(RadiusWarning, match=mentions(surface)):
        found = surface.disc(1e-3 * surface.spacing)
    assert torch.equal(found.base, found.source)


@pytest.mark.parametrize("spacings", [1.0, 2.5, 3.0])
def test_usual_radii_pass_in_silence(surface, spacings):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RadiusWarning)
        surface.stencil(spacings * surface.spacing)
        surface.disc(spacings * surface.spacing, torch.tensor([0]))


def test_default_hierarchies_pass_in_silence_to_the_coarsest_level():
    """The radius of a coarse level may be longer than the surface."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RadiusWarning)
        geometry.healpix(8).hierarchy(levels=4)
        geometry.icosphere(2).hierarchy(levels=3)
        geometry.plane((16, 16)).hierarchy(levels=5)
        geometry.mesh(BALL.points, BALL.faces[-1]).hierarchy(levels=3)


def test_wide_discs_everywhere_are_warned_of_and_a_few_are_not():
    s = geometry.plane((40, 40))
    with pytest.warns(RadiusWarning, match="26 times the point spacing.*each disc holds about 1600 points"):
        s.stencil(26.0, samples=(1, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RadiusWarning)
        s.stencil(26.0, kind="log", targets=torch.tensor([0]))
        s.disc(26.0, torch.tensor([0]))


@pytest.fixture(scope="module")
def bumpy():
    p = Icosahedron(4).points
    return geometry.mesh(p * (1 + 0.1 * torch.sin(5 * p[:, :1])), Icosahedron(4).faces[-1])


@pytest.mark.parametrize(("kind", "spacings"), [("exp", 12.0), ("log", 24.0)])
def test_a_stencil_that_takes_long_is_told_with_its_cost_before(bumpy, kind, spacings, monkeypatch):
    """What is told is what the doctor estimates, from few of the discs."""
    made = []
    monkeypatch.setattr(type(bumpy), "_stencil", counting(type(bumpy)._stencil, made))
    monkeypatch.setattr(stencil_costs, "MANY", 400)
    radius = spacings * bumpy.spacing
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stencil_costs.check_unit(bumpy, radius, kind, None)
    (told,) = caught
    assert told.category is RadiusWarning
    # the larger the discs, the fewer are made
    assert sum(made) <= 1.1 * 464 * (2.5 / spacings) ** 2 + 1
    cost = r"The stencil takes about (\S+) entries, .* to make it\), \d+\.\d s on a core$"
    said = re.search(cost, str(told.message))
    entries = bumpy.n_points * bumpy._stencil(radius, kind, None, [0, 1000], "zero").n_entries / 2
    # discs on bumps hold more or fewer points than elsewhere
    assert said and float(said[1]) == pytest.approx(entries, rel=0.2)


def counting(stencil, made):
    def counted(self, radius, kind, samples, targets, boundary):
        made.append(len(targets))
        return stencil(self, radius, kind, samples, targets, boundary)

    return counted


@pytest.mark.parametrize("ask", [ASKED["exp"], ASKED["hierarchy"]])
def test_the_cost_is_told_before_anything_is_made(bumpy, ask):
    """So a program that makes errors of warnings does not take long."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RadiusWarning)
        with pytest.raises(RadiusWarning, match=r"12 times the point spacing.* The stencil takes about"):
            ask(bumpy, 12.0 * bumpy.spacing)


def test_wide_stencils_that_are_soon_made_pass_in_silence(bumpy):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RadiusWarning)
        for spacings, kind, samples, everywhere in (
            (9.9, "exp", None, True),
            (12.0, "exp", (2, 16), True),
            (12.0, "log", None, True),
            (12.0, "exp", None, False),
        ):
            stencil_costs.check_unit(bumpy, spacings * bumpy.spacing, kind, samples, everywhere)
        # one disc serves all points of a torus
        geometry.torus((200, 200)).stencil(12.0)


def test_on_the_sphere_exp_ends_at_the_antipode():
    s = geometry.healpix(2)
    s.stencil(torch.pi)
    with pytest.raises(GeometryError, match=r"longer than the whole surface, 3\.142; give it in radians"):
        s.stencil(3.15)
    with pytest.raises(
        GeometryError, match=r"to 4\.8 at level 3.* at most 0\.3926 for 4 levels, or fewer levels"
    ):
        geometry.healpix(8).hierarchy(levels=4, radius=0.6)


def test_a_stencil_too_large_for_any_memory_is_refused_before_it_is_made():
    """2.5 degrees taken for radians: the radius is on the sphere, but the entries are 10 to the 10."""
    with pytest.warns(RadiusWarning), pytest.raises(GeometryError, match="entries; give a radius of about"):
        geometry.healpix(128).stencil(2.5)
    with pytest.raises(GeometryError, match="fewer samples or targets"):
        geometry.healpix(8).stencil(0.3, samples=(10**4, 10**4))


@pytest.mark.parametrize("spacings", [0.05, 0.9, 1.0, 2.5, 3.7, 9.0, 24.0, 40.0])
def test_the_grid_is_the_smallest_that_is_fine_enough(spacings):
    rings, angles = polar_samples(spacings, 1.0)
    fits = [n for n in range(1, 90) if _largest_gap(n) * spacings <= 1]
    assert rings == fits[0] and 2 * torch.pi * spacings / angles <= 1


def test_samples_may_be_numbers_of_other_kinds():
    assert check_samples(tuple(torch.tensor([2, 7]))) == (2, 7)  # type: ignore[arg-type]
    for wrong in ((2.5, 7), (0, 7), "27", 3, (1, 2, 3), None):
        with pytest.raises(GeometryError, match="two positive integers"):
            check_samples(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("radius", [1e300, 10**400])
def test_a_radius_whose_square_is_no_number_is_refused(radius):
    s = SURFACES["mesh"]()
    for ask in (s.disc, s.stencil):
        with pytest.raises(GeometryError, match="radius must be"):
            ask(radius)
