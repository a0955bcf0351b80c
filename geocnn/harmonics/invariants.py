"""An invariant under rotations that, unlike the power spectrum, depends on how degrees lie to each other."""

from __future__ import annotations

import torch
from jaxtyping import Complex
from torch import Tensor

from geocnn.groups.clebsch_gordan import clebsch_gordan
from geocnn.harmonics.coefficients import lmax_of


def triangles(lmax: int) -> list[tuple[int, int, int]]:
    """List (l1, l2, l) with l1 ≤ l2 ≤ lmax and |l1 − l2| ≤ l ≤ min(l1 + l2, lmax).

    >>> triangles(1)
    [(0, 0, 0), (0, 1, 1), (1, 1, 0), (1, 1, 1)]
    """
    return [
        (l1, l2, l)
        for l1 in range(lmax + 1)
        for l2 in range(l1, lmax + 1)
        for l in range(l2 - l1, min(l1 + l2, lmax) + 1)
    ]


def bispectrum(alm: Complex[Tensor, "*batch degrees 2*degrees-1"]) -> Complex[Tensor, "*batch triangles"]:
    """Return Σ ⟨l1 m1 l2 m2 | l m⟩ a_{l1 m1} a_{l2 m2} conj(a_lm), one sum per triple of `triangles`.

    Rotations do not change it. Unlike the power spectrum, it determines a generic scalar function up to a
    rotation (Kakarala 2012).

    Raises MapError for coefficients of another layout.

    >>> from geocnn.harmonics import signed_orders
    >>> bispectrum(signed_orders(torch.eye(2, dtype=torch.complex128))).shape
    torch.Size([4])
    """
    lmax = lmax_of(alm, signed=True)
    degree = [alm[..., l, lmax - l : lmax + l + 1] for l in range(lmax + 1)]
    sums = []
    for l1, l2, l in triangles(lmax):
        weights = clebsch_gordan(l1, l2, l).to(alm)
        product = weights * degree[l1][..., :, None] * degree[l2][..., None, :]
        order = torch.arange(-l1, l1 + 1)[:, None] + torch.arange(-l2, l2 + 1)
        inside = order.abs() <= l
        terms = product.flatten(-2)[..., inside.flatten().to(alm.device)]
        coupled = terms.new_zeros(*terms.shape[:-1], 2 * l + 1)
        coupled = coupled.index_add(-1, (order[inside] + l).to(alm.device), terms)
        sums.append((coupled * degree[l].conj()).sum(-1))
    return torch.stack(sums, -1)
