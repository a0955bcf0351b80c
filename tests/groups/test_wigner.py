"""Wigner matrices: values against SymPy and exact sums, the laws of a representation, rotation pointwise."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from scipy.special import sph_harm_y
from sympy.physics.quantum.spin import Rotation

from geocnn.errors import GroupError, MapError
from geocnn.groups.rotations import matrix_from_axis_angle, matrix_from_zyz, random_rotations
from geocnn.groups.wigner import (
    rotate_coefficients,
    wigner_D,
    wigner_d,
    wigner_d_column,
    wigner_d_matrices,
)

# The recurrence loses l^2 roundings next to beta = 0 and pi: 5e-13 at degree 128, 2e-12 at 256 (measured).
EXACT_128, EXACT_256 = 1e-12, 4e-12
ANGLES = [0.0, 1e-8, 0.01, 0.7, 1.6, 2.5, 3.14, math.pi]


@pytest.fixture(scope="module")
def d_128() -> torch.Tensor:
    return wigner_d(128, torch.tensor(ANGLES, dtype=torch.float64))


def exact_d(l: int, m: int, n: int, beta: float) -> float:
    """Wigner's sum (Varshalovich 4.3.1, eq. 2) with 150 digits, which outlast its cancellation."""
    with mpmath.workdps(150):
        factorial = mpmath.factorial
        cos, sin = mpmath.cos(mpmath.mpf(beta) / 2), mpmath.sin(mpmath.mpf(beta) / 2)
        total = mpmath.mpf(0)
        for k in range(max(0, n - m), min(l + n, l - m) + 1):
            powers = cos ** (2 * l + n - m - 2 * k) * sin ** (m - n + 2 * k)
            below = factorial(l + n - k) * factorial(k) * factorial(m - n + k) * factorial(l - m - k)
            total += (-1) ** (m - n + k) * powers / below
        norm = mpmath.sqrt(factorial(l + m) * factorial(l - m) * factorial(l + n) * factorial(l - n))
        return float(total * norm)


def harmonics(points: torch.Tensor, lmax: int) -> torch.Tensor:
    """Y_lm at unit vectors [P, 3] by SciPy, m >= 0: complex [P, lmax + 1, lmax + 1]."""
    theta = torch.atan2(torch.hypot(points[:, 0], points[:, 1]), points[:, 2])[:, None, None].numpy()
    phi = torch.atan2(points[:, 1], points[:, 0])[:, None, None].numpy()
    degree = torch.arange(lmax + 1)
    y = torch.tensor(sph_harm_y(degree[:, None].numpy(), degree.numpy(), theta, phi))
    return torch.where(degree <= degree[:, None], y, 0)


def evaluate(alm: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """A real function at unit vectors: [..., P]."""
    y = harmonics(points, alm.shape[-1] - 1)
    y[..., 1:] *= 2
    return torch.einsum("...lm,plm->...p", alm, y).real


def random_alm(lmax: int, *batch: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (*batch, lmax + 1, lmax + 1)
    alm = torch.randn(shape, dtype=torch.complex128, generator=generator).tril()
    alm[..., 0].imag.zero_()
    return alm


@pytest.mark.parametrize("l", range(5))
def test_d_is_sympys(l):
    beta = [0.3, 2.1]
    # SymPy takes 0.1 s an entry; the rows m < 0 are checked below.
    expected = [
        [
            [complex(Rotation.d(l, m, n, b).doit().evalf()).real for n in range(-l, l + 1)]
            for m in range(l + 1)
        ]
        for b in beta
    ]
    found = wigner_d(l, torch.tensor(beta, dtype=torch.float64))[:, l:]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)


def test_d_matches_the_exact_sum_for_every_order():
    l, beta = 6, 2.1
    expected = [[exact_d(l, m, n, beta) for n in range(-l, l + 1)] for m in range(-l, l + 1)]
    found = wigner_d(l, torch.tensor(beta, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "m, n", [(0, 0), (1, 0), (64, 64), (64, -64), (-14, 17), (127, 127), (128, 3), (-7, -96)]
)
def test_both_recurrences_match_the_exact_sum_at_degree_128(d_128, m, n):
    expected = torch.tensor([exact_d(128, m, n, b) for b in ANGLES], dtype=torch.float64)
    beta = torch.tensor(ANGLES, dtype=torch.float64)
    column = wigner_d_column(128, m, n, beta)[:, 128]
    torch.testing.assert_close(column, expected, rtol=0, atol=EXACT_128)
    torch.testing.assert_close(d_128[:, 128 + m, 128 + n], expected, rtol=0, atol=EXACT_128)


@pytest.mark.parametrize("m, n", [(0, 0), (128, 128), (256, -10), (-203, 185)])
def test_column_matches_the_exact_sum_at_degree_256(m, n):
    expected = torch.tensor([exact_d(256, m, n, b) for b in ANGLES], dtype=torch.float64)
    column = wigner_d_column(256, m, n, torch.tensor(ANGLES, dtype=torch.float64))[:, 256]
    torch.testing.assert_close(column, expected, rtol=0, atol=EXACT_256)


def test_column_survives_seeds_that_underflow():
    """The first value of this column is 1e-328, its last is 1e-2."""
    l, m, beta = 2500, 800, 0.4
    with mpmath.workdps(60):
        legendre = mpmath.legenp(l, m, mpmath.cos(mpmath.mpf(beta)), type=2, maxprec=20000)
        expected = float(legendre * mpmath.sqrt(mpmath.factorial(l - m) / mpmath.factorial(l + m)))
    found = wigner_d_column(l, m, 0, torch.tensor(beta, dtype=torch.float64))
    assert float(found[m]) == 0.0
    # The logarithm of the seed, 756, is rounded to 1e-13, and the recurrence adds as much.
    assert abs(float(found[l]) / expected - 1) < 1e-11


def test_column_agrees_with_matrices_for_every_order():
    lmax = 12
    beta = torch.tensor([0.4, 2.9, -1.0, 4.0], dtype=torch.float64)
    for l, d in enumerate(wigner_d_matrices(lmax, beta)):
        order = torch.arange(-l, l + 1)
        column = wigner_d_column(lmax, order[:, None], order, beta[:, None, None])
        torch.testing.assert_close(column[..., l], d, rtol=0, atol=1e-13)
        assert (column[..., :l][:, [0, -1]] == 0).all()


def test_d_is_orthogonal_at_degree_128(d_128):
    identity = torch.eye(257, dtype=torch.float64).expand_as(d_128)
    # Rows sum 257 products of entries that are exact to 5e-13.
    torch.testing.assert_close(d_128 @ d_128.mT, identity, rtol=0, atol=4 * EXACT_128)


def test_d_composes_and_inverts_at_degree_128():
    a, b = torch.tensor([0.4, 1.9], dtype=torch.float64)
    # Away from the poles nothing is lost but sums of 257 products.
    torch.testing.assert_close(wigner_d(128, a) @ wigner_d(128, b), wigner_d(128, a + b), rtol=0, atol=1e-12)
    torch.testing.assert_close(wigner_d(128, -b), wigner_d(128, b).mT, rtol=0, atol=1e-12)


def test_D_is_a_unitary_representation():
    r, s = random_rotations(2, torch.Generator().manual_seed(3))
    for l in (0, 1, 7):
        composed = wigner_D(l, r) @ wigner_D(l, s)
        torch.testing.assert_close(composed, wigner_D(l, r @ s), rtol=0, atol=1e-13)
        torch.testing.assert_close(wigner_D(l, r.mT), wigner_D(l, r).mH, rtol=0, atol=1e-13)


def test_D_is_sympys():
    alpha, beta, gamma = 0.3, 1.2, -0.8
    angles = torch.tensor([alpha, beta, gamma], dtype=torch.float64)
    found = wigner_D(2, matrix_from_zyz(*angles))
    for m in range(-2, 3):
        for n in range(-2, 3):
            # SymPy's alpha and gamma enter as e^{-i m alpha} and e^{-i n gamma}, like ours.
            expected = complex(Rotation.D(2, m, n, alpha, beta, gamma).doit().evalf())
            assert abs(complex(found[m + 2, n + 2]) - expected) < 1e-13


def test_rotated_linear_function_is_the_linear_function_of_the_rotated_vector():
    """f(p) = v.p has a_10 = sqrt(4 pi/3) v_z, a_11 = -sqrt(2 pi/3) (v_x - i v_y); R f is p -> (R v).p."""

    def coefficients(v: torch.Tensor) -> torch.Tensor:
        alm = torch.zeros(2, 2, dtype=torch.complex128)
        alm[1, 0] = math.sqrt(4 * math.pi / 3) * v[2]
        alm[1, 1] = -math.sqrt(2 * math.pi / 3) * torch.complex(v[0], -v[1])
        return alm

    v = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    for r in random_rotations(5, torch.Generator().manual_seed(2)):
        found = rotate_coefficients(coefficients(v), r)
        torch.testing.assert_close(found, coefficients(r @ v), rtol=0, atol=1e-14)


def test_rotated_function_is_the_function_at_the_rotated_back_point():
    generator = torch.Generator().manual_seed(5)
    points = torch.nn.functional.normalize(
        torch.randn(50, 3, dtype=torch.float64, generator=generator), dim=-1
    )
    alm = random_alm(20)
    for r in random_rotations(3, generator):
        found = evaluate(rotate_coefficients(alm, r), points)
        # Values are of size 20; SciPy's harmonics are good to 1e-13.
        torch.testing.assert_close(found, evaluate(alm, points @ r), rtol=0, atol=1e-11)


def test_rotations_compose_and_invert_at_degree_128():
    alm = random_alm(128)
    r, s = random_rotations(2, torch.Generator().manual_seed(6))
    once = rotate_coefficients(alm, r)
    assert not torch.allclose(once, alm)
    # Each coefficient is a sum of 257 products of entries exact to 1e-12.
    torch.testing.assert_close(
        rotate_coefficients(once, s), rotate_coefficients(alm, s @ r), rtol=0, atol=1e-11
    )
    torch.testing.assert_close(rotate_coefficients(once, r.mT), alm, rtol=0, atol=1e-11)


def test_both_layouts_and_batches_agree():
    alm = random_alm(6, 4, 2)
    rotations = random_rotations(4, torch.Generator().manual_seed(7))
    batched = rotate_coefficients(alm, rotations[:, None])
    order = torch.arange(1, 7)
    negative = ((-1) ** order * alm[..., 1:].conj()).flip(-1)
    signed = rotate_coefficients(torch.cat([negative, alm], dim=-1), rotations[:, None])
    torch.testing.assert_close(signed[..., 6:], batched, rtol=0, atol=1e-14)
    for i in range(4):
        torch.testing.assert_close(rotate_coefficients(alm[i], rotations[i]), batched[i], rtol=0, atol=1e-14)
    single = rotate_coefficients(alm.to(torch.complex64), rotations[:, None])
    assert single.dtype == torch.complex64
    torch.testing.assert_close(single, batched.to(torch.complex64), rtol=0, atol=1e-5)


def test_derivatives():
    beta = torch.tensor([0.0, 0.7, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: wigner_d(3, b), beta)
    alm = random_alm(3).requires_grad_()
    rotation = random_rotations(1, torch.Generator().manual_seed(8))[0]
    assert torch.autograd.gradcheck(lambda a: rotate_coefficients(a, rotation), alm)


def test_bad_input_is_named():
    with pytest.raises(GroupError, match="-1 is negative"):
        wigner_d(-1, torch.zeros(1))
    with pytest.raises(GroupError, match="-2 is negative"):
        wigner_d_column(-2, 0, 0, torch.zeros(1))
    eye = torch.eye(3, dtype=torch.float64)
    with pytest.raises(MapError, match="float64"):
        rotate_coefficients(eye, eye)
    with pytest.raises(MapError, match=r"\(3, 4\)"):
        rotate_coefficients(torch.zeros(3, 4, dtype=torch.complex128), eye)
    with pytest.raises(GroupError, match=r"\(2, 2\)"):
        rotate_coefficients(torch.zeros(3, 3, dtype=torch.complex128), eye[:2, :2])


def test_axis_turn_multiplies_by_a_phase():
    alm = random_alm(5)
    turn = matrix_from_axis_angle(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(0.7, dtype=torch.float64))
    expected = alm * torch.exp(-0.7j * torch.arange(6, dtype=torch.float64))
    torch.testing.assert_close(rotate_coefficients(alm, turn), expected, rtol=0, atol=1e-13)
