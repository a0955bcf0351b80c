"""Sums over the points of a surface, each with its weight, whose error does not grow with their number.

torch sums in a tree, so 10⁷ terms of float32 lose no digit. A matrix product adds them in a row: it loses
four digits, and the order depends on the batch, so that equal maps had unlike means.
"""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Σ weight · x over the last dimension, [..., N] and [N] -> [...]; of x less than float32 in float32.

    >>> weighted_sum(torch.full((2, 300_000), 280.0), torch.full((300_000,), 1 / 300_000)).round().tolist()
    [280.0, 280.0]
    """
    return (x * weight.to(x.device, torch.promote_types(x.real.dtype, torch.float32))).sum(-1)


def weighted_sums(x: Tensor, weight: Tensor, ptr: Tensor) -> Tensor:
    """The sums of each of several surfaces that lie side by side: x [..., N, C], weight [N] ->
    [..., surfaces, C]; points ptr[k] to ptr[k + 1] belong to surface k.

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
    # what is scattered is added in a row, so in float64, which Apple's GPUs have not
    terms = x * weight.to(x.device, torch.float32 if x.device.type == "mps" else torch.float64)[:, None]
    found = terms.new_zeros(*x.shape[:-2], n, x.shape[-1]).index_add(-2, owner, terms)
    return found.to(torch.promote_types(x.dtype, torch.float32))
