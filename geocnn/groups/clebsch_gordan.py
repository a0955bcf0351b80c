"""Clebsch–Gordan coefficients: how products of two degrees fall into degrees."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.lasting import kept

KEPT_BYTES = 1 << 28
"""Of the coefficients used last."""


@kept(KEPT_BYTES)
def clebsch_gordan(l1: int, l2: int, l: int) -> Tensor:
    """⟨l1 m1 l2 m2 | l, m1 + m2⟩ for all orders, [2 l1 + 1, 2 l2 + 1] float64, in the Condon–Shortley phase.

    Zero where |m1 + m2| > l. By Racah's formula in whole numbers, so exact but for the last root
    (Varshalovich et al. 1988, section 8.2). Raises GroupError unless |l1 − l2| ≤ l ≤ l1 + l2.

    >>> clebsch_gordan(1, 1, 0).fliplr().diagonal()
    tensor([ 0.5774, -0.5774,  0.5774], dtype=torch.float64)
    """
    if not abs(l1 - l2) <= l <= l1 + l2:
        raise GroupError(f"degrees {l1}, {l2} and {l} make no triangle: need |l1 − l2| ≤ l ≤ l1 + l2")
    found = torch.zeros(2 * l1 + 1, 2 * l2 + 1, dtype=torch.float64)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l - m1), min(l2, l - m1) + 1):
            found[m1 + l1, m2 + l2] = _racah(l1, m1, l2, m2, l)
    return found


def _racah(l1: int, m1: int, l2: int, m2: int, l: int) -> float:
    f, m = math.factorial, m1 + m2
    scale = Fraction((2 * l + 1) * f(l1 + l2 - l) * f(l1 - l2 + l) * f(-l1 + l2 + l), f(l1 + l2 + l + 1))
    scale *= f(l + m) * f(l - m) * f(l1 - m1) * f(l1 + m1) * f(l2 - m2) * f(l2 + m2)
    total = Fraction(0)
    for k in range(max(0, l2 - l - m1, l1 - l + m2), min(l1 + l2 - l, l1 - m1, l2 + m2) + 1):
        below = f(k) * f(l1 + l2 - l - k) * f(l1 - m1 - k) * f(l2 + m2 - k)
        total += Fraction((-1) ** k, below * f(l - l2 + m1 + k) * f(l - l1 - m2 + k))
    size = total * total * scale
    # one root of one quotient of whole numbers, both of which may be too large for floating point
    return (
        math.copysign(math.exp(0.5 * (math.log(size.numerator) - math.log(size.denominator))), total)
        if size
        else 0.0
    )
