"""Sums over the points of a surface, each with its weight, correctly rounded whatever their number.

A sum of 10⁶ terms in a row loses four of float32's seven digits, and a matrix product adds in an order that
depends on the size of the batch. So sums are taken in float64 and rounded once, by the caller.
"""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Σ weight · x over the last dimension, [..., N] and [N] -> [...], in float64 or complex128.

    >>> weighted_sum(torch.full((2, 300_000), 280.0), torch.full((300_000,), 1 / 300_000)).float().tolist()
    [280.0, 280.0]
    """
    return (x * _wide(weight, x)).sum(-1)


def weighted_sums(x: Tensor, weight: Tensor, ptr: Tensor) -> Tensor:
    """The sums of each of several surfaces that lie side by side: x [..., N, C], weight [N] ->
    [..., surfaces, C], in float64; points ptr[k] to ptr[k + 1] belong to surface k.

    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> weighted_sums(x, torch.ones(3), torch.tensor([0, 2, 3])).tolist()
    [[3.0], [3.0]]
    """
    n, weight = len(ptr) - 1, _wide(weight, x)
    if n == 1:
        return weighted_sum(x.mT, weight).unsqueeze(-2)
    owner = torch.repeat_interleave(
        torch.arange(n, device=ptr.device), ptr.diff(), output_size=weight.shape[0]
    )
    terms = x * weight[:, None]
    return terms.new_zeros(*x.shape[:-2], n, x.shape[-1]).index_add(-2, owner, terms)


def _wide(weight: Tensor, x: Tensor) -> Tensor:
    # Apple's GPUs have no float64
    return weight.to(x.device, torch.float32 if x.device.type == "mps" else torch.float64)
