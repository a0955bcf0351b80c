"""The representation that a feature type carries: act and rho, their derivatives and dtypes."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.groups import (
    O2,
    SO2,
    FieldType,
    compose,
    cyclic,
    dihedral,
    inverse,
    irrep_dim,
    irreps,
)
from tests.groups.every_irrep import FINITE, GROUPS, TOLERANCE, draw, every_irrep, features

# ---- the representation


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_act_is_rho(g):
    t = every_irrep(g)
    angle, flip = draw(g, 20, 0)
    x = features(t, 3, 20)
    by_matrix = torch.einsum("nij,bnj->bni", t.rho(angle, flip), x)
    torch.testing.assert_close(t.act(x, angle, flip), by_matrix, **TOLERANCE)


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_act_is_a_homomorphism(g):
    t = every_irrep(g)
    a, b, x = draw(g, 20, 0), draw(g, 20, 1), features(t, 20)
    torch.testing.assert_close(t.act(t.act(x, *b), *a), t.act(x, *compose(a, b)), **TOLERANCE)


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_the_inverse_undoes_and_the_identity_does_nothing(g):
    t = every_irrep(g)
    a, x = draw(g, 20, 0), features(t, 20)
    torch.testing.assert_close(t.act(t.act(x, *a), *inverse(a)), x, **TOLERANCE)
    assert torch.equal(t.act(x, torch.zeros(20, dtype=torch.float64)), x)
    assert torch.equal(t.act(x, torch.zeros(20), torch.zeros(20, dtype=torch.bool) if g.flips else None), x)


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_rho_is_orthogonal(g):
    t = every_irrep(g)
    matrix = t.rho(*draw(g, 20, 0))
    eye = torch.eye(t.dim, dtype=torch.float64).expand_as(matrix)
    torch.testing.assert_close(matrix @ matrix.mT, eye, **TOLERANCE)


@pytest.mark.parametrize("n", range(1, 5))
def test_frequency_n_is_the_complex_number_turned_n_times(n):
    angle, flip = draw(O2, 20, 0)
    z = torch.randn(20, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    expected = torch.polar(torch.ones_like(angle), n * angle) * torch.where(flip, z.conj(), z)
    acted = FieldType(f"O2: 1x{n}").act(torch.view_as_real(z), angle, flip)
    torch.testing.assert_close(torch.view_as_complex(acted), expected, **TOLERANCE)


def test_frequency_one_is_the_tangent_vector():
    quarter = torch.tensor([math.pi / 2], dtype=torch.float64)
    e1 = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    e2 = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(FieldType("1x1").act(e1, quarter), e2, **TOLERANCE)


def test_odd_parity_changes_sign_under_a_flip():
    flip = torch.tensor([False, True])
    angle = torch.zeros(2, dtype=torch.float64)
    x = torch.ones(2, 2, dtype=torch.float64)
    assert FieldType("O2: 1x0e + 1x0o").act(x, angle, flip).tolist() == [[1, 1], [1, -1]]
    assert FieldType("reflection: 1x0e + 1x0o").act(x, angle, flip).tolist() == [[1, 1], [1, -1]]


@pytest.mark.parametrize("g", GROUPS, ids=str)
def test_invariant_irreps_are_those_every_element_fixes(g):
    t = every_irrep(g)
    element = draw(g, 50, 0)
    for irrep in t.irreps:
        matrix = FieldType.of([(1, irrep)], g).rho(*element)
        is_fixed = bool((matrix - torch.eye(irrep_dim(irrep, g), dtype=torch.float64)).abs().max() < 1e-9)
        assert t.is_invariant(irrep) == is_fixed


def test_irreps_of_a_finite_group_are_inequivalent_and_complete():
    # Serre 1977, §2.3–2.4: characters of distinct irreps are orthogonal. Over R the mean of χ² is 1 for real
    # type and 2 for complex type, and Σ dim² / mean(χ²) = |G|.
    for g in FINITE:
        found = irreps(g)
        chi = torch.stack(
            [FieldType.of([(1, i)], g).rho(*g.elements()).diagonal(dim1=-2, dim2=-1).sum(-1) for i in found]
        )
        order = chi.shape[1]
        gram = chi @ chi.T / order
        torch.testing.assert_close(gram, torch.diag(gram.diagonal()), **TOLERANCE)
        dims = torch.tensor([irrep_dim(i, g) for i in found], dtype=torch.float64)
        assert round(float((dims**2 / gram.diagonal()).sum()), 9) == order


@pytest.mark.parametrize("g", FINITE, ids=str)
def test_the_regular_type_is_the_permutation_of_the_group_by_itself(g):
    t = FieldType.regular(g, 3)
    angle, flip = g.elements()
    order = len(angle)
    assert t.dim == 3 * order
    # A permutation's character counts fixed elements: all at the identity, none elsewhere. The character
    # determines the representation up to a change of basis.
    point = torch.polar(torch.ones_like(angle), torch.full_like(angle, 0.3))
    images = torch.polar(torch.ones_like(angle), angle) * (
        point if flip is None else torch.where(flip, point.conj(), point)
    )
    fixed = ((images - point).abs() < 1e-9) * (3 * order)
    character = t.rho(angle, flip).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(character, fixed.double(), **TOLERANCE)


def test_a_continuous_group_has_no_regular_type():
    with pytest.raises(FieldTypeError, match="regular representation of SO2"):
        FieldType.regular("SO2")
    with pytest.raises(FieldTypeError, match="give max_frequency"):
        irreps(O2)


# ---- derivatives and dtypes


@pytest.mark.parametrize("g", [cyclic(4), dihedral(4), SO2, O2], ids=str)
def test_the_gradient_of_act_is_right(g):
    t = every_irrep(g)
    angle, flip = draw(g, 3, 0)
    x = features(t, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, angle: t.act(x, angle, flip), (x, angle.requires_grad_()))


def test_the_gradient_of_act_goes_back_by_the_inverse():
    t = every_irrep(O2)
    a, y = draw(O2, 20, 0), features(t, 20)
    x = torch.zeros_like(y, requires_grad=True)
    (back,) = torch.autograd.grad(t.act(x, *a), x, y)
    torch.testing.assert_close(back, t.act(y, *inverse(a)), **TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_act_keeps_the_dtype_of_the_features_and_the_precision_of_the_angle(dtype):
    t = FieldType("1x0 + 1x4")
    angle = torch.tensor([1e4 + 0.1], dtype=torch.float64)  # float32 would lose 4e-4 of it, bfloat16 all
    x = features(t, 1, dtype=dtype)
    acted = t.act(x, angle)
    assert acted.dtype == dtype
    expected = t.act(x.double(), angle)
    torch.testing.assert_close(acted.double(), expected, rtol=0, atol=8 * torch.finfo(dtype).eps)


def test_nothing_depends_on_the_default_dtype():
    t, angle = FieldType("O2: 1x0o + 1x1"), torch.tensor([0.7], dtype=torch.float64)
    flip, x = torch.tensor([True]), torch.ones(1, 3, dtype=torch.float64)
    expected = t.act(x, angle, flip), t.rho(angle, flip)
    torch.set_default_dtype(torch.float16)
    try:
        found = t.act(x, angle, flip), t.rho(angle, flip)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_act_leaves_its_input_alone():
    t = FieldType("2x0 + 2x1")
    x = features(t, 4)
    before = x.clone()
    t.act(x, torch.ones(4, dtype=torch.float64)).add_(1)
    assert torch.equal(x, before)
    t0 = FieldType("2x0")
    y = features(t0, 4)
    before = y.clone()
    t0.act(y, torch.ones(4, dtype=torch.float64)).add_(1)
    assert torch.equal(y, before)
