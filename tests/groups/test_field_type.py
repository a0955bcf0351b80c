"""Feature types: text, value semantics, and the sequence of their blocks."""

from __future__ import annotations

import copy
import pickle
import random

import pytest
import torch

from geocnn.errors import FieldTypeError, GroupError
from geocnn.groups import (
    O2,
    SO2,
    FieldType,
    Irrep,
    dihedral,
    irreps,
)
from tests.groups.every_irrep import GROUPS, TOLERANCE, draw, every_irrep, features

# ---- text and value


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_printing_then_parsing_gives_the_same_type(g):
    pick = random.Random(0)
    for _ in range(20):
        terms = [(pick.randint(1, 64), pick.choice(irreps(g, 12))) for _ in range(pick.randint(1, 6))]
        t = FieldType.of(terms, g)
        assert t.terms == terms
        assert FieldType(str(t)) == t
        assert eval(repr(t), {"FieldType": FieldType}) == t
        assert str(FieldType(str(t))) == str(t)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("16x0+8x1", "16x0 + 8x1"),
        ("  16 x 0 +8x1 ", "16x0 + 8x1"),
        ("0 + 1", "1x0 + 1x1"),
        ("SO2: 4x2", "4x2"),
        ("O(2): 0o + 3x1", "O2: 1x0o + 3x1"),
        ("C4:2x2", "C4: 2x2"),
    ],
)
def test_spellings(text, printed):
    assert str(FieldType(text)) == printed


def test_the_group_may_be_given_beside_the_text():
    assert FieldType("2x0e + 1x1", "D3") == FieldType("D3: 2x0e + 1x1")
    assert FieldType("D3: 1x1", dihedral(3)) == FieldType("D3: 1x1")
    assert FieldType(FieldType("C4: 1x1")) == FieldType("C4: 1x1")


def test_dimension_counts_components():
    assert FieldType("16x0 + 8x1 + 4x2").dim == 16 + 2 * 8 + 2 * 4
    assert FieldType("C4: 3x0 + 5x1 + 7x2").dim == 3 + 2 * 5 + 7
    assert FieldType("D4: 1x0e + 2x0o + 3x1 + 4x2e + 5x2o").dim == 1 + 2 + 2 * 3 + 4 + 5


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "cannot read ''"),
        ("8x", "cannot read '8x'"),
        ("x1", "cannot read 'x1'"),
        ("8x0 +", "cannot read ''"),
        ("8x0 + 2y1", "cannot read '2y1'"),
        ("-1x0", "cannot read '-1x0'"),
        ("1.5x0", "cannot read '1.5x0'"),
        ("8x0 8x1", "cannot read '8x0 8x1'"),
        ("O2: 1x0E", "cannot read '1x0E'"),
        ("8x0 + 0x1", "multiplicity 0 of irrep 1"),
        ("1x0e", "irrep 0e has no parity in SO2: write 0"),
        ("O2: 1x1o", "irrep 1o has no parity in O2: write 1"),
        ("O2: 4x0", "O2 has two irreps of frequency 0: write 0e"),
        ("D4: 1x2", "D4 has two irreps of frequency 2: write 2e"),
        ("C4: 1x3", "C4 has frequencies 0 to 2, not 3"),
        ("trivial: 1x1", "trivial has frequencies 0 to 0, not 1"),
    ],
)
def test_a_bad_text_is_refused_with_the_fault_named(text, fault):
    with pytest.raises(FieldTypeError) as caught:
        FieldType(text)
    assert fault in str(caught.value)


def test_an_unknown_group_is_refused():
    with pytest.raises(GroupError, match="'Q8'"):
        FieldType("Q8: 1x0")
    with pytest.raises(GroupError, match="'Q8'"):
        FieldType("1x0", "Q8")


def test_two_different_groups_are_refused():
    with pytest.raises(FieldTypeError, match=r"group O2.*group=SO2"):
        FieldType("O2: 1x1", "SO2")
    with pytest.raises(FieldTypeError, match=r"group O2.*group=SO2"):
        FieldType("1x1") + FieldType("O2: 1x1")


@pytest.mark.parametrize("irrep", [Irrep(-1), Irrep(0, "q")])
def test_an_irrep_that_is_none_is_refused(irrep):
    with pytest.raises(FieldTypeError, match="no irrep"):
        FieldType.of([(1, irrep)], O2)


def test_a_type_without_irreps_is_refused():
    with pytest.raises(FieldTypeError, match="at least one irrep"):
        FieldType.of([(0, Irrep(0))], SO2)


def test_equal_types_are_one_dictionary_key():
    a, b = FieldType("4x0 + 2x1"), FieldType("4x0+2x1")
    assert a == b
    assert hash(a) == hash(b)
    assert len({a, b, FieldType("2x0 + 2x1"), FieldType("C8: 4x0 + 2x1")}) == 3
    assert a == "4x0 + 2x1" and a != "4x0 + 2x2"


def test_blocks_of_one_irrep_are_not_merged():
    # 1x1 + 1x1 lies in memory as (re, im, re, im), 2x1 as (re, re, im, im)
    assert FieldType("1x1 + 1x1") != FieldType("2x1")


def test_a_type_cannot_be_changed():
    t = FieldType("4x0 + 2x1")
    for change in (lambda: setattr(t, "dim", 3), lambda: setattr(t, "new", 3), lambda: delattr(t, "dim")):
        with pytest.raises(AttributeError, match="immutable"):
            change()
    assert t.dim == 8


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_copies_and_pickles_are_equal(g):
    t = every_irrep(g)
    assert len(t.irreps) == len(irreps(g, 4))  # fills the cached property, which must not travel
    for other in (copy.copy(t), copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        assert other == t
        assert hash(other) == hash(t)


def test_sum_concatenates():
    a, b = FieldType("O2: 2x0e + 1x1"), FieldType("O2: 1x1 + 3x2")
    assert str(a + b) == "O2: 2x0e + 1x1 + 1x1 + 3x2"
    assert (a + b).dim == a.dim + b.dim
    assert (a + b).multiplicity(Irrep(1)) == 2
    assert (a + b).irreps == (Irrep(0, "e"), Irrep(1), Irrep(2))
    assert (a + b).max_frequency == 2


def test_select_and_join_are_inverse():
    t = FieldType("2x0 + 3x1 + 4x0 + 1x2 + 2x1 + 1x0")
    x = features(t, 5, 6)
    parts = {irrep: t.select(x, irrep) for irrep in t.irreps}
    assert {str(i): tuple(p.shape[-2:]) for i, p in parts.items()} == {"0": (1, 7), "1": (2, 5), "2": (2, 1)}
    assert torch.equal(t.join(parts), x)


def test_select_reads_components_of_copies():
    t = FieldType("1x0 + 2x1")
    x = torch.tensor([[10, 1, 2, 3, 4]])  # component-major: real parts 1, 2 and imaginary parts 3, 4
    assert t.select(x, Irrep(1)).tolist() == [[[1, 2], [3, 4]]]
    with pytest.raises(FieldTypeError, match="no irrep 5; it has 0, 1"):
        t.select(x, Irrep(5))


@pytest.mark.parametrize("shape", [(5, 3), (5,), (2, 5, 9)])
def test_features_of_a_wrong_shape_are_refused(shape):
    t = FieldType("1x0 + 2x1")
    with pytest.raises(FieldTypeError) as caught:
        t.act(torch.zeros(shape), torch.zeros(5))
    assert "[..., points, 5]" in str(caught.value)
    assert str(list(shape)) in str(caught.value)


def test_a_forgotten_channel_axis_is_named():
    with pytest.raises(FieldTypeError, match="unsqueeze"):
        FieldType("1x0").check(torch.zeros(100))


def test_a_flip_cannot_act_without_flips_in_the_group():
    t, angle, flip = FieldType("C4: 1x1"), torch.zeros(3), torch.ones(3, dtype=torch.bool)
    for call in (lambda: t.act(torch.zeros(3, 2), angle, flip), lambda: t.rho(angle, flip)):
        with pytest.raises(FieldTypeError, match="C4 has none"):
            call()


# ---- a sequence of blocks


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_a_type_is_a_sequence_of_its_blocks(g):
    t = every_irrep(g)
    assert len(t) == len(list(t)) == len(t.terms)
    assert [(multiplicity, irrep) for multiplicity, irrep in t] == t.terms
    assert [t[i] for i in range(len(t))] == list(t)
    assert t[-1] == list(t)[-1]
    with pytest.raises(IndexError):
        t[len(t)]
    # the sum of its blocks' texts, and of its parts, is the type again
    assert FieldType(" + ".join(map(str, t)), g) == t
    assert t[:1] + t[1:] == t if len(t) > 1 else t[:] == t
    with pytest.raises(FieldTypeError, match="at least one irrep"):
        t[len(t) :]


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_slices_are_the_channels_of_the_blocks(g):
    t = every_irrep(g)
    x = features(t, 3)
    assert torch.equal(torch.cat([x[..., s] for s in t.slices()], -1), x)
    for block, channels in zip(t, t.slices(), strict=True):
        assert torch.equal(block.view(x).flatten(-2), x[..., channels])


def test_a_product_is_a_repeated_sum():
    t = FieldType("O2: 2x0e + 1x1")
    assert t * 3 == 3 * t == t + t + t
    assert t * 1 == t
    assert (2 * t).dim == 2 * t.dim
    with pytest.raises(FieldTypeError, match="0 copies of O2: 2x0e"):
        t * 0
    with pytest.raises(TypeError):
        t * 1.5  # pyright: ignore[reportOperatorIssue]
    with pytest.raises(TypeError):
        t * t  # pyright: ignore[reportOperatorIssue]


def test_an_irrep_is_in_a_type_as_text_or_value():
    t = FieldType("O2: 2x0o + 1x1")
    assert "0o" in t and Irrep(1) in t
    assert "0e" not in t and "2" not in t


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("1x0 + 2x0 + 1x1", "3x0 + 1x1"),
        ("1x1 + 1x1", "2x1"),
        ("2x1 + 1x0 + 3x1", "2x1 + 1x0 + 3x1"),
        ("O2: 1x0e + 1x0o + 1x0o", "O2: 1x0e + 2x0o"),
    ],
)
def test_simplify_joins_neighbours_alone(text, simple):
    assert FieldType(text).simplify() == simple
    assert FieldType(simple).simplify() == simple


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_features_of_the_simplified_type_are_the_same_features(g):
    t = every_irrep(g) + every_irrep(g)[-1:]
    simple, element, x = t.simplify(), draw(g, 20, 0), features(t, 20)
    assert len(simple) < len(t) and simple.irreps == t.irreps and simple.dim == t.dim

    def rearranged(x: torch.Tensor) -> torch.Tensor:
        return simple.join({i: t.select(x, i) for i in t.irreps})

    torch.testing.assert_close(
        simple.act(rearranged(x), *element), rearranged(t.act(x, *element)), **TOLERANCE
    )


def test_random_features_have_the_shape_asked_for():
    t = FieldType("4x0 + 2x1")
    draws = [
        t.randn(5, 1000, -1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) for _ in "ab"
    ]
    assert draws[0].shape == (5, 1000, 8)
    assert torch.equal(*draws)
    # the mean of 5000 squares of variance 2 is 1 to ± 0.02; five times that
    assert (draws[0].square().mean((0, 1)) - 1).abs().max() < 0.1
    assert t.randn(-1).dtype == torch.float32
    with pytest.raises(FieldTypeError, match="end with -1"):
        t.randn(5, 8)
