"""Q and U are one field of frequency 2: healpy's E and B, healpy's rotation, and networks that know it."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.data.wmap import read_wmap
from geocnn.geometry import healpix
from geocnn.harmonics import (
    alm_from_healpy,
    alm_to_healpy,
    analysis,
    eb_from_spin,
    healpix_grid,
    rotate_coefficients,
    spin_from_polarisation,
)
from tests.example import example

polarised = example("polarisation")


@pytest.fixture(scope="module")
def sky():
    return polarised.sky("V", 64)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("band", ["V", "W"])
def test_t_e_and_b_are_healpys(band):
    hp = pytest.importorskip("healpy")
    packed = hp.map2alm(list(read_wmap(band).double().numpy()), lmax=64, iter=3, pol=True)
    expected = [alm_from_healpy(torch.from_numpy(part)) for part in packed]
    intensity, polarisation = polarised.sky(band, 64)
    for found, part in zip((intensity, *eb_from_spin(polarisation)), expected, strict=True):
        assert relative(found, part) < 1e-12


def test_read_in_the_other_convention_e_and_b_are_others(sky):
    _, q, u = read_wmap("V").double()
    iau = analysis(spin_from_polarisation(q, u, "IAU"), healpix_grid(32), 64, 2)
    (e, b), (e_iau, b_iau) = eb_from_spin(sky[1]), eb_from_spin(iau)
    assert relative(e_iau, e) > 0.5 and relative(b_iau, b) > 0.5
    same = analysis(spin_from_polarisation(q, -u, "IAU"), healpix_grid(32), 64, 2)
    assert torch.equal(same, sky[1])


def test_the_rotation_to_equatorial_coordinates_is_healpys(sky):
    hp = pytest.importorskip("healpy")
    rotator = hp.Rotator(coord="GC")
    rotation = torch.from_numpy(rotator.mat)
    # J2000, in arc seconds: the pole is given to 5 decimals of a degree, precession models differ by less
    assert (polarised.galactic_to_equatorial() - rotation).abs().max() < 3e-6
    parts = sky[0], *eb_from_spin(sky[1])
    expected = rotator.rotate_alm([alm_to_healpy(part).numpy() for part in parts])
    found = rotate_coefficients(sky[0], rotation), *eb_from_spin(rotate_coefficients(sky[1], rotation))
    for part, packed in zip(found, expected, strict=True):
        assert relative(part, alm_from_healpy(torch.from_numpy(packed))) < 1e-10


def test_turned_as_scalars_they_are_as_wrong_as_any(sky):
    rotation = polarised.galactic_to_equatorial()
    right, wrong = polarised.turned_as_scalars(sky[1], rotation, healpix_grid(32))
    assert relative(wrong, right) > 1.2
    # about the axis frames are carried along
    about_z = polarised.matrix_from_zyz(*torch.tensor([0.7, 0.0, 0.0]))
    smooth = polarised.up_to(8, sky[1])
    right, wrong = polarised.turned_as_scalars(smooth, about_z, healpix_grid(32))
    # Q and U alone have all degrees
    assert relative(wrong, right) < 0.2


@pytest.mark.parametrize(("oversampling", "bound"), [(2, 0.02), (4, 5e-4)])
def test_a_harmonic_network_commutes_if_it_knows_the_type(sky, oversampling, bound):
    alm, rotation = polarised.features(*sky), polarised.galactic_to_equatorial()
    field, scalars = polarised.both(lambda t: polarised.Harmonic(t, 16, oversampling), alm, rotation)
    assert field < bound and scalars > 0.5


def test_a_local_network_commutes_if_it_knows_the_type(sky):
    alm, rotation = polarised.features(*sky, lmax=5), polarised.galactic_to_equatorial()
    stencil = healpix(8, interpolation="cubic").stencil(math.pi / 6, samples=(3, 12))
    field, scalars = polarised.both(lambda t: polarised.Local(t, stencil), alm, rotation)
    assert field < 0.02 and scalars > 0.4


def test_the_features_have_unit_power(sky):
    alm = polarised.features(*sky, lmax=7)
    x = polarised.field_synthesis(alm, polarised.SKY, healpix_grid(32))
    torch.testing.assert_close(
        torch.stack([x[:, 0].square().mean(), x[:, 1:].square().sum(1).mean()]),
        torch.ones(2, dtype=torch.float64),
        rtol=1e-3,
        atol=0,
    )
