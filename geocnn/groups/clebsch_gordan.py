"""Clebsch–Gordan coefficients: the parts of each degree in a product of two degrees."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from geocnn.errors import GroupError
from geocnn.lasting import kept

KEPT_BYTES = 1 << 28
"""The largest size of all stored coefficients, of which the most recently used stay."""


@kept(KEPT_BYTES)
def clebsch_gordan(l1: int, l2: int, l: int) -> Float64[Tensor, "2*{l1}+1 2*{l2}+1"]:
    """Return ⟨l1 m1 l2 m2 | l, m1 + m2⟩ for all orders m1 and m2, in the Condon–Shortley phase.

    Coefficients are zero where |m1 + m2| > l. Racah's sum (Varshalovich et al. 1988, section 8.2) times
    a! b! c!, with a = l1 + l2 − l, b = l1 − l2 + l, c = l2 − l1 + l, is a sum of whole numbers,

        Σ_k (−1)^k (a choose k) (b choose l1 − m1 − k) (c choose l2 + m2 − k),

    one matrix product for all orders. The square of a coefficient is a quotient of whole numbers, so only the
    division and the root round. Raises GroupError unless |l1 − l2| ≤ l ≤ l1 + l2.

    >>> clebsch_gordan(1, 1, 0).fliplr().diagonal()
    tensor([ 0.5774, -0.5774,  0.5774], dtype=torch.float64)
    """
    if not abs(l1 - l2) <= l <= l1 + l2:
        raise GroupError(f"degrees {l1}, {l2} and {l} form no triangle; give |l1 − l2| ≤ l ≤ l1 + l2")
    a, b, c = l1 + l2 - l, l1 - l2 + l, l2 - l1 + l
    k = np.arange(a + 1)
    m1, m2 = np.arange(-l1, l1 + 1)[:, None], np.arange(-l2, l2 + 1)
    alternating = np.where(k % 2, -1, 1) * _choose(a, k)
    total = (_choose(b, l1 - m1 - k) * alternating) @ _choose(c, l2 + m2 - k[:, None])
    f = math.factorial
    above = (2 * l + 1) * f(2 * l1) * f(2 * l2) * f(2 * l)
    below = _choose(2 * l1, l1 + m1) * _choose(2 * l2, l2 + m2) * _choose(2 * l, l + m1 + m2)
    inside = np.abs(m1 + m2) <= l
    square = above * total[inside] ** 2 / (f(l1 + l2 + l + 1) * f(a) * f(b) * f(c) * below[inside])
    coefficients = np.zeros(total.shape)
    coefficients[inside] = np.sign(total[inside]).astype(float) * np.sqrt(square.astype(float))
    return torch.from_numpy(coefficients)


def _choose(n: int, k: np.ndarray) -> np.ndarray:
    """Return the binomial coefficients "n choose k" as Python integers, 0 where k is negative or above n."""
    row = np.array([*(math.comb(n, i) for i in range(n + 1)), 0], dtype=object)
    return row[np.where((k < 0) | (k > n), n + 1, k)]
