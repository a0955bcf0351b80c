"""Steerable kernels: the constraint, and the same space from a null-space solver and from a written list."""

from __future__ import annotations

import cmath
import math

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.groups import (
    O2,
    REFLECTION,
    SO2,
    TRIVIAL,
    FieldType,
    Group,
    Irrep,
    irrep_dim,
    irreps,
    null_space_basis,
    steerable_basis,
)
from geocnn.groups.irrep import has_complex_structure
from geocnn.groups.radial import Cosine
from geocnn.groups.steerable import moments, moments_between
from tests.groups.every_irrep import FINITE, GROUPS

BAND_LIMIT = 5  # of finite groups; more than half of every N here, so that frequencies wrap round
PAIRS = [(g, i, o) for g in GROUPS for i in irreps(g, 4) for o in irreps(g, 4)]


def name(value) -> str:
    return str(value)


def limit(g: Group, source: Irrep, target: Irrep) -> int:
    return BAND_LIMIT if g.is_finite else source.frequency + target.frequency


def basis_of(g: Group, source: Irrep, target: Irrep):
    return steerable_basis(source, target, g, BAND_LIMIT if g.is_finite else None)


def coefficients(g: Group, source: Irrep, target: Irrep) -> torch.Tensor:
    """The closed-form basis in the null-space solver's coordinates, [B, (2L+1) d_out d_in]."""
    basis, top = basis_of(g, source, target), limit(g, source, target)
    rows = torch.zeros(len(basis.frequency), 2 * top + 1, *basis.cosine.shape[1:], dtype=torch.float64)
    for b, l in enumerate(basis.frequency.tolist()):
        rows[b, l] = basis.cosine[b]
        if l > 0:
            rows[b, top + l] = basis.sine[b]
    return rows.flatten(1)


def matrix_of(irrep: Irrep, g: Group, angle: torch.Tensor, flip: torch.Tensor | None) -> torch.Tensor:
    return FieldType.of([(1, irrep)], g).rho(angle, flip)


def assert_same_span(a: torch.Tensor, b: torch.Tensor) -> None:
    """Rows of a and b are bases of one space: as many, and each within the other's span."""
    assert len(a) == len(b)
    for rows, others in ((a, b), (b, a)):
        orthonormal = torch.linalg.qr(others.T).Q
        residual = rows - rows @ orthonormal @ orthonormal.T
        # float64 and entries of O(1) in at most 68 dimensions
        assert residual.abs().max() <= 1e-12 if residual.numel() else True


@pytest.mark.parametrize(("g", "source", "target"), PAIRS, ids=name)
def test_closed_form_and_null_space_solver_span_the_same_kernels(g, source, target):
    numeric = null_space_basis(source, target, g, limit(g, source, target)).flatten(1)
    assert_same_span(coefficients(g, source, target), numeric)


@pytest.mark.parametrize("g", GROUPS, ids=name)
def test_kernels_satisfy_the_constraint_at_random_directions_and_elements(g):
    generator = torch.Generator().manual_seed(0)
    theta = torch.rand(16, dtype=torch.float64, generator=generator) * (2 * math.pi)
    angle, flip = g.sample(16, generator)
    moved = angle + (theta if flip is None else torch.where(flip, -theta, theta))
    for source in irreps(g, 4):
        for target in irreps(g, 4):
            basis = basis_of(g, source, target)
            out = matrix_of(target, g, angle, flip)[:, None]
            into = matrix_of(source, g, angle, flip)[:, None]
            # phases up to 8 · 4π, roundings 1e-14
            torch.testing.assert_close(basis(moved), out @ basis(theta) @ into.mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize("g", GROUPS, ids=name)
def test_kernels_are_linearly_independent_functions_of_the_direction(g):
    theta = torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)  # resolves frequencies up to 31
    for source in irreps(g, 4):
        for target in irreps(g, 4):
            values = basis_of(g, source, target)(theta)
            gram = torch.einsum("tbij,tcij->bc", values, values) / 64
            # each has square norm 1/2 or more and they are orthogonal; dependence would give 0
            assert gram.numel() == 0 or torch.linalg.eigvalsh(gram)[0] > 0.1


def complex_multiplication(c: complex) -> torch.Tensor:
    return torch.tensor([[c.real, -c.imag], [c.imag, c.real]], dtype=torch.float64)


CONJUGATION = torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
ANGLES = [0.37 * k for k in range(17)]


def written_out(n: int, m: int, theta: float, a: complex, b: complex) -> torch.Tensor:
    """z ↦ a e^{i(m−n)θ} z + b e^{i(m+n)θ} z̄ as a real matrix (ARCHITECTURE.md); where n or m is 0, a only.

    The input is real where n = 0; the real part of the output is taken where m = 0.
    """
    kernel = complex_multiplication(a * cmath.exp(1j * (m - n) * theta))
    if n and m:
        kernel = kernel + complex_multiplication(b * cmath.exp(1j * (m + n) * theta)) @ CONJUGATION
    return kernel[: 2 if m else 1, : 2 if n else 1]


def assert_spans(g: Group, source: Irrep, target: Irrep, factors: list[tuple[complex, complex]]) -> None:
    n, m = source.frequency, target.frequency
    listed = torch.stack([torch.stack([written_out(n, m, t, a, b) for t in ANGLES]) for a, b in factors])
    theta = torch.tensor(ANGLES, dtype=torch.float64)
    closed = basis_of(g, source, target)(theta).transpose(0, 1)
    assert_same_span(closed.flatten(1), listed.flatten(1))


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("m", range(5))
def test_so2_kernels_are_those_of_the_written_list(n, m):
    if n and m:
        factors = [(1, 0), (1j, 0), (0, 1), (0, 1j)]
    elif n or m:
        factors = [(1, 0), (1j, 0)]
    else:
        factors = [(1, 0)]
    assert_spans(SO2, Irrep(n), Irrep(m), factors)


@pytest.mark.parametrize("source", irreps(O2, 4), ids=name)
@pytest.mark.parametrize("target", irreps(O2, 4), ids=name)
def test_o2_kernels_are_those_of_the_written_list(source, target):
    if source.frequency and target.frequency:
        factors = [(1, 0), (0, 1)]
    elif source.frequency or target.frequency:
        # "equal parities": a frequency n ≥ 1 has the even kind as its real part
        odd = "o" in (source.parity, target.parity)
        factors = [(1j if odd else 1, 0)]
    elif source == target:
        factors = [(1, 0)]
    else:
        assert len(basis_of(O2, source, target).frequency) == 0
        return
    assert_spans(O2, source, target, factors)


@pytest.mark.parametrize("g", GROUPS, ids=name)
def test_moments_followed_by_commuting_maps_are_counted_once(g):
    # Schur: a commuting map is a complex number (two parameters) or a real one
    for source in irreps(g, 4):
        for target in irreps(g, 4):
            top = limit(g, source, target)
            landed = [m for m in moments(source, g, top) if m.target == target]
            factor = 2 if has_complex_structure(target, g) else 1
            assert len(null_space_basis(source, target, g, top)) == factor * len(landed)


@pytest.mark.parametrize("g", GROUPS, ids=name)
def test_each_moment_is_equivariant(g):
    generator = torch.Generator().manual_seed(1)
    theta = torch.rand(8, dtype=torch.float64, generator=generator) * (2 * math.pi)
    angle, flip = g.sample(8, generator)
    moved = angle + (theta if flip is None else torch.where(flip, -theta, theta))
    for source in irreps(g, 4):
        d = irrep_dim(source, g)
        for m in moments(source, g, BAND_LIMIT):
            matrix = torch.tensor(m.matrix, dtype=torch.float64)

            def kernel(t, l=m.frequency, matrix=matrix, d=d):
                return (
                    matrix
                    @ torch.stack([complex_multiplication(cmath.exp(1j * l * a)) for a in t.tolist()])[
                        ..., :d
                    ]
                )

            out, into = matrix_of(m.target, g, angle, flip), matrix_of(source, g, angle, flip)
            torch.testing.assert_close(kernel(moved), out @ kernel(theta) @ into.mT, rtol=0, atol=1e-12)


def test_trivial_and_reflection_groups_couple_every_frequency():
    # L = 3: a scalar kernel is any function, even ones where the reflection must be respected
    assert len(steerable_basis(Irrep(0), Irrep(0), TRIVIAL, 3).frequency) == 7
    assert len(steerable_basis(Irrep(0, "e"), Irrep(0, "e"), REFLECTION, 3).frequency) == 4
    assert len(steerable_basis(Irrep(0, "e"), Irrep(0, "o"), REFLECTION, 3).frequency) == 3


def test_at_the_centre_only_frequency_zero_remains_and_commutes():
    for g in GROUPS:
        for source in irreps(g, 4):
            for target in irreps(g, 4):
                basis = basis_of(g, source, target)
                still = int((basis.frequency == 0).sum())
                same = (2 if has_complex_structure(target, g) else 1) if source == target else 0
                assert still == same  # Schur's lemma


def test_max_frequency_keeps_the_kernels_below_it():
    full, cut = steerable_basis(Irrep(1), Irrep(2), SO2), steerable_basis(Irrep(1), Irrep(2), SO2, 1)
    assert sorted(full.frequency.tolist()) == [1, 1, 3, 3]
    assert cut.frequency.tolist() == [1, 1]
    assert len(moments_between([Irrep(1)], [Irrep(2)], SO2, 0)) == 0


def test_no_kernel_between_inequivalent_irreps_below_their_frequency():
    basis = steerable_basis(Irrep(0), Irrep(3), SO2, 2)
    assert basis.cosine.shape == (0, 2, 1)
    assert basis(torch.zeros(5, dtype=torch.float64)).shape == (5, 0, 2, 1)


@pytest.mark.parametrize("g", FINITE, ids=name)
def test_a_finite_group_needs_a_limit(g):
    irrep = irreps(g)[0]
    with pytest.raises(
        FieldTypeError, match=f"{g} allows kernels of any angular frequency: give max_frequency"
    ):
        steerable_basis(irrep, irrep, g)


def test_the_null_space_basis_is_orthonormal_float64():
    rows = null_space_basis(Irrep(1), Irrep(2), SO2, 4)
    assert rows.shape == (4, 9, 2, 2)
    assert rows.dtype == torch.float64
    torch.testing.assert_close(rows.flatten(1) @ rows.flatten(1).T, torch.eye(4, dtype=torch.float64))


# ------------------------------------------------------------------------------------------ radial functions


@pytest.mark.parametrize("rings", [1, 2, 3, 5])
def test_radial_functions_vanish_where_the_design_says(rings):
    t = torch.tensor([0.0, 1.0, 1.1], dtype=torch.float64)
    for frequency in (0, 1, -2):
        value = Cosine(rings)(t, frequency)
        assert value.shape == (3, rings)
        assert value[1:].abs().max() < 1e-15
        assert (value[0].abs().max() < 1e-15) == (frequency != 0)


def test_neighbouring_radial_functions_sum_to_one_between_their_centres():
    t = torch.linspace(0, 0.75, 50, dtype=torch.float64)
    torch.testing.assert_close(Cosine(4)(t, 0).sum(-1), torch.ones(50).double(), rtol=0, atol=1e-14)
