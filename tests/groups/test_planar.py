"""Structure groups: the group axioms, subgroups and joins, names."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeocnnError, GroupError
from geocnn.groups import O2, REFLECTION, SO2, TRIVIAL, Group, compose, cyclic, dihedral, group, inverse
from geocnn.groups.planar import act, exact_rotations, smallest_group

FINITE = [TRIVIAL, REFLECTION, *map(cyclic, range(2, 9)), *map(dihedral, range(2, 7))]
GROUPS = [*FINITE, SO2, O2]


def apply(g, z: torch.Tensor) -> torch.Tensor:
    """The convention itself: z ↦ e^{iφ} z, or e^{iφ} z̄ when flipped."""
    angle, flip = g
    turn = torch.polar(torch.ones_like(angle), angle)
    return turn * (z if flip is None else torch.where(flip, z.conj(), z))


def draw(g: Group, n: int, seed: int):
    return g.sample(n, torch.Generator().manual_seed(seed))


def draw_points(n: int) -> torch.Tensor:
    return torch.randn(n, dtype=torch.complex128, generator=torch.Generator().manual_seed(9))


# angles up to 4π carry roundings of 1e-15 into coordinates of size 3
TOLERANCE = {"rtol": 0, "atol": 1e-13}


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_an_element_acts_as_the_convention_says(g):
    a, z = draw(g, 50, 0), draw_points(50)
    torch.testing.assert_close(act(a, z), apply(a, z), rtol=0, atol=0)
    assert act(a, z.to(torch.complex64)).dtype == torch.complex64


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_compose_is_first_the_second_then_the_first(g):
    a, b, z = draw(g, 50, 0), draw(g, 50, 1), draw_points(50)
    torch.testing.assert_close(apply(compose(a, b), z), apply(a, apply(b, z)), **TOLERANCE)


def test_compose_with_flips_on_one_side_only():
    turn, mirror, z = draw(SO2, 50, 0), draw(O2, 50, 1), draw_points(50)
    torch.testing.assert_close(apply(compose(turn, mirror), z), apply(turn, apply(mirror, z)), **TOLERANCE)
    torch.testing.assert_close(apply(compose(mirror, turn), z), apply(mirror, apply(turn, z)), **TOLERANCE)


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_inverse_undoes_on_both_sides(g):
    a, z = draw(g, 50, 0), draw_points(50)
    torch.testing.assert_close(apply(compose(a, inverse(a)), z), z, **TOLERANCE)
    torch.testing.assert_close(apply(compose(inverse(a), a), z), z, **TOLERANCE)


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_identity_composes_to_the_same_element(g):
    angle, flip = draw(g, 50, 0)
    for composed in (
        compose((angle, flip), (torch.zeros(()), None)),
        compose((torch.zeros(()), None), (angle, flip)),
    ):
        assert torch.equal(composed[0], angle)
        assert composed[1] is None if flip is None else torch.equal(composed[1], flip)


@pytest.mark.parametrize("g", FINITE, ids=str)
def test_elements_of_a_finite_group_are_distinct_and_closed(g):
    angle, flip = g.elements()
    n = len(angle)
    assert n == g.rotations * (2 if g.flips else 1)
    assert (flip is None) == (not g.flips)
    # An element is known by where it takes a point with no symmetry.
    point = torch.tensor(0.3 + 0.1j, dtype=torch.complex128)
    images = apply((angle, flip), point)
    products = apply((angle[:, None], None if flip is None else flip[:, None]), images[None, :])
    distance = (products[..., None] - images).abs()
    is_product = distance < 1e-12
    assert ((images[:, None] - images).abs() < 1e-12).sum() == n
    assert is_product.sum() == n * n


@pytest.mark.parametrize("g", FINITE, ids=str)
def test_samples_of_a_finite_group_are_its_elements_each_about_as_often(g):
    angle, flip = g.elements()
    point = torch.tensor(0.3 + 0.1j, dtype=torch.complex128)
    hit = (apply(draw(g, 4000, 0), point)[:, None] - apply((angle, flip), point)).abs() < 1e-12
    assert hit.sum() == 4000
    # the count of an element has standard deviation sqrt(4000 p (1 - p)); five of them, with this fixed seed
    p = 1 / len(angle)
    assert (hit.sum(0) - 4000 * p).abs().max() <= 5 * math.sqrt(4000 * p * (1 - p))


def test_samples_of_o2_are_uniform():
    angle, flip = draw(O2, 4000, 0)
    moments = torch.polar(torch.ones_like(angle), angle)
    # the mean of 4000 unit vectors has length 1/sqrt(4000) = 0.016; three times that, with this fixed seed
    assert moments[flip].mean().abs() < 0.068
    assert moments[~flip].mean().abs() < 0.068
    assert (flip.double().mean() - 0.5).abs() < 0.048
    assert angle.min() >= 0
    assert angle.max() < 2 * math.pi


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_sampling_is_reproducible_and_float64(g):
    (a, s), (b, t) = draw(g, 8, 3), draw(g, 8, 3)
    assert a.dtype == torch.float64
    assert torch.equal(a, b)
    assert s is t is None or torch.equal(s, t)


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_names_round_trip(g):
    assert group(str(g)) == g
    assert group(g) is g
    assert eval(repr(g), {"group": group}) == g


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SO(2)", SO2),
        ("O(2)", O2),
        ("C(4)", cyclic(4)),
        (" D6 ", dihedral(6)),
        ("C1", TRIVIAL),
        ("D1", REFLECTION),
    ],
)
def test_other_spellings(name, expected):
    assert group(name) == expected


@pytest.mark.parametrize("name", ["", "C", "C0", "C-2", "D04", "Z4", "so2", "SO(3)", "C4D4", "O2 C4"])
def test_an_unknown_name_is_named(name):
    with pytest.raises(GroupError, match="no structure group named") as caught:
        group(name)
    assert repr(name) in str(caught.value)
    assert isinstance(caught.value, GeocnnError)


@pytest.mark.parametrize("n", [0, -3])
def test_a_finite_group_has_rotations(n):
    with pytest.raises(GroupError, match=f"got {n}"):
        cyclic(n)


def test_continuous_groups_have_no_list_of_elements():
    with pytest.raises(GroupError, match=r"use sample\(\)"):
        O2.elements()


def is_subset(small: Group, large: Group) -> bool:
    """Containment element by element; a continuous group is known by an irrational turn."""
    if small.rotations is None and large.rotations is not None:
        return False
    if small.flips and not large.flips:
        return False
    if large.rotations is None:
        return True
    turns = small.elements()[0] * large.rotations / (2 * math.pi)
    return bool(((turns - turns.round()).abs() < 1e-9).all())


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_contains_is_inclusion_of_elements(g):
    for h in GROUPS:
        assert g.contains(h) == is_subset(h, g)


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_contains_is_a_partial_order_and_join_its_least_upper_bound(g):
    assert g.contains(g)
    assert g.join(g) == g
    assert O2.contains(g)
    assert g.contains(TRIVIAL)
    assert g.join(TRIVIAL) == g
    assert g.join(O2) == O2
    for h in GROUPS:
        joined = g.join(h)
        assert joined == h.join(g)
        assert joined.contains(g)
        assert joined.contains(h)
        assert (joined == g) == g.contains(h)
        assert g == h or not (g.contains(h) and h.contains(g))
        for k in GROUPS:
            assert joined.join(k) == g.join(h.join(k))
            assert k.contains(joined) == (k.contains(g) and k.contains(h))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 24, 30, 97, 180, 359, 360])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rounded_multiples_are_read_as_what_they_were(n, dtype):
    """Angles over several turns, as a lower precision rounds them, are exact again, and make C_N."""
    step = torch.tensor([1, -1, n + 1, 2 * n - 1])
    exact, found = exact_rotations((step.double() * (2 * math.pi / n)).to(dtype))
    assert found == cyclic(n) and exact.dtype == torch.float64
    assert torch.allclose(exact, step.double() * (2 * math.pi / n), rtol=0, atol=1e-9)


def test_other_angles_stay_as_they_are():
    angle = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for given in (angle, angle.float(), angle.half()):
        exact, found = exact_rotations(given)
        assert found == SO2 and torch.equal(exact, given.double())
    assert smallest_group(torch.tensor([2 * math.pi / 361], dtype=torch.float64)) == SO2
    assert smallest_group(torch.zeros(0, dtype=torch.float64)) == TRIVIAL
