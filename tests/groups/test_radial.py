"""Radial bases vanish where they must, are continuous, and are what their names say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.geometry.core.sampling import radial_quadrature
from geocnn.groups.radial import Bessel, Cosine, Gaussian, RadialBasis, bessel_j, bessel_zeros, read_radial

BASES = [Cosine, Bessel, Gaussian]
FREQUENCIES = [-3, -1, 0, 1, 2, 5]


@pytest.fixture(params=[(b, n) for b in BASES for n in (1, 3, 6)], ids=lambda p: f"{p[0].__name__}-{p[1]}")
def basis(request) -> RadialBasis:
    make, rings = request.param
    return make(rings)


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_functions_vanish_at_the_rim_and_at_the_centre_unless_the_frequency_is_zero(basis, frequency):
    basis.check(frequency)
    ends = basis(torch.tensor([0.0, 1.0], dtype=torch.float64), frequency)
    # rounding of sums of some 40 cosines
    assert ends[1].abs().max() < 1e-13
    assert (ends[0].abs().max() < 1e-13) == (frequency != 0)


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_functions_are_continuous_and_independent(basis, frequency):
    t = torch.linspace(0, 1, 4001, dtype=torch.float64)
    values = basis(t, frequency)
    # slopes are below the largest wave number, π (rings + |frequency|), times a factor of the height
    assert (
        values.diff(dim=0).abs().max() * 4000
        < 4 * math.pi * (basis.rings + abs(frequency)) * values.abs().max()
    )
    assert torch.linalg.matrix_rank(values / values.norm(dim=0)) == basis.rings


def test_the_sign_of_the_frequency_does_not_matter(basis):
    t = torch.rand(20, dtype=torch.float64)
    assert torch.equal(basis(t, 2), basis(t, -2))


def test_bases_are_values(basis):
    assert basis == type(basis)(basis.rings)
    assert hash(basis) == hash(type(basis)(basis.rings))
    assert basis != type(basis)(basis.rings + 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_keep_shape_and_dtype(basis, dtype):
    values = basis(torch.rand(2, 5, dtype=dtype), 1)
    assert values.shape == (2, 5, basis.rings) and values.dtype == dtype


def test_bessel_functions_and_their_zeros_are_those_of_scipy():
    special = pytest.importorskip("scipy.special")
    x = torch.linspace(0, 50, 101, dtype=torch.float64)
    for order in range(8):
        expected = torch.from_numpy(special.jv(order, x.numpy()))
        # sums of up to 90 cosines
        torch.testing.assert_close(bessel_j(order, x), expected, rtol=0, atol=1e-14)
        zeros = torch.tensor(bessel_zeros(order, 6), dtype=torch.float64)
        torch.testing.assert_close(zeros, torch.from_numpy(special.jn_zeros(order, 6)), rtol=1e-14, atol=0)


@pytest.mark.parametrize("frequency", [0, 1, 4])
def test_bessel_functions_are_orthonormal_on_the_disc(frequency):
    t, weight = radial_quadrature(64)
    values = Bessel(5)(t, frequency)
    gram = values.mT @ (weight[:, None] * values)
    # 64 nodes resolve products of waves of up to 20 radians to rounding
    torch.testing.assert_close(gram, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-12)


def test_rings_and_radial_are_read():
    assert read_radial(None, None) == Cosine(3)
    assert read_radial(5, None) == Cosine(5)
    assert read_radial(None, Bessel(2)) == read_radial(2, Bessel(2)) == Bessel(2)
    with pytest.raises(FieldTypeError, match="rings=3, but radial="):
        read_radial(3, Bessel(2))
    with pytest.raises(FieldTypeError, match="radial is a RadialBasis"):
        read_radial(None, Bessel)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("rings", [0, -1, 1.5, "3"])
def test_rings_are_counted(rings):
    for make in BASES:
        with pytest.raises(FieldTypeError, match="at least one ring"):
            make(rings)


@dataclass(frozen=True)
class Faulty(RadialBasis):
    fault: str = ""

    def __call__(self, t, frequency):
        n = torch.arange(1, self.rings + 1, dtype=t.dtype)
        values = (t[..., None] * (1 - t[..., None])) ** n
        return {"rim": values + t[..., None], "centre": values + 1 - t[..., None], "shape": values[..., :1]}[
            self.fault
        ]


@pytest.mark.parametrize(("fault", "message"), [("rim", "t = 1"), ("centre", "t = 0"), ("shape", "shape")])
def test_a_faulty_basis_is_refused(fault, message):
    with pytest.raises(FieldTypeError, match=message):
        Faulty(2, fault).check(1)


def test_a_basis_that_is_not_finite_is_refused():
    @dataclass(frozen=True)
    class ThinPlate(RadialBasis):
        def __call__(self, t, frequency):
            t = t[..., None]
            return (t ** torch.arange(2, 2 * self.rings + 2, 2)) * torch.log(t)

    with pytest.raises(FieldTypeError, match="give finite values"):
        ThinPlate(2).check(0)


def test_a_basis_with_attributes_beside_its_fields_is_refused():
    class Power(Cosine):
        def __init__(self, rings, power):
            super().__init__(rings)
            object.__setattr__(self, "power", power)

    assert Power(2, 1) == Power(2, 4), "they would share operators"
    with pytest.raises(FieldTypeError, match="power beside its dataclass fields"):
        Power(2, 1).check(0)
