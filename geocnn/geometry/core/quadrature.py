"""Weighted sums over the points of a surface, whose error does not grow with the number of points.

torch sums in a tree, so 10⁷ terms of float32 lose no digit. A matrix product adds them one after another: it
loses four digits, and the order depends on the batch, so equal maps would have different means.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor


def weighted_sum(x: Num[Tensor, "*batch n"], weight: Float[Tensor, " n"]) -> Num[Tensor, "*batch"]:
    """Return Σ weight · x over the last dimension; values of half precision are added in float32.

    >>> weighted_sum(torch.full((2, 300_000), 280.0), torch.full((300_000,), 1 / 300_000)).round().tolist()
    [280.0, 280.0]
    """
    return (x * weight.to(x.device, torch.promote_types(x.real.dtype, torch.float32))).sum(-1)


def weighted_sums(
    x: Float[Tensor, "*batch n c"], weight: Float[Tensor, " n"], ptr: Int64[Tensor, " surfaces_1"]
) -> Float[Tensor, "*batch surfaces c"]:
    """Return one weighted sum per surface of a batch; points ptr[k] to ptr[k + 1] belong to surface k.

    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> weighted_sums(x, torch.ones(3), torch.tensor([0, 2, 3])).tolist()
    [[3.0], [3.0]]
    """
    n = len(ptr) - 1
    if n == 1:
        return weighted_sum(x.mT, weight).unsqueeze(-2)
    owner = torch.repeat_interleave(
        torch.arange(n, device=ptr.device), ptr.diff(), output_size=weight.shape[0]
    )
    # index_add adds one term after another, so the sum is in float64, which Apple's GPUs do not have
    terms = x * weight.to(x.device, torch.float32 if x.device.type == "mps" else torch.float64)[:, None]
    sums = terms.new_zeros(*x.shape[:-2], n, x.shape[-1]).index_add(-2, owner, terms)
    return sums.to(torch.promote_types(x.dtype, torch.float32))
