"""FieldDropout: dropout that acts on whole copies of irreps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.groups.field_type import FieldType


class FieldDropout(nn.Module):
    """In training, set each copy of an irrep at each point to 0 with probability `p`, and scale others.

        x [..., N, D]  ->  [..., N, D]

    Copies that stay are divided by 1 − p. All components of a copy are treated alike, since the result would
    depend on frames if one alone were dropped.

    Raises FieldTypeError for another feature dimension, and unless 0 ≤ p < 1.

    >>> y = FieldDropout("2x1", p=0.5)(torch.ones(100, 4)).unflatten(-1, (2, 2))
    >>> bool((y[:, 0] == y[:, 1]).all()), y.unique().tolist()
    (True, [0.0, 2.0])
    """

    def __init__(self, field_type: FieldType | str, p: float):
        super().__init__()
        self.in_type = self.out_type = FieldType(field_type)
        self.p = probability(p)

    def forward(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
        self.in_type.check(x)
        if not self.training or self.p == 0:
            return x
        runs = []
        for b in self.in_type.blocks:
            v = b.view(x)
            factor = torch.empty_like(v[..., :1, :]).bernoulli_(1 - self.p) / (1 - self.p)
            runs.append((v * factor).flatten(-2))
        return torch.cat(runs, -1)

    def extra_repr(self) -> str:
        return f"{self.in_type}, p={self.p}"


def probability(p: float) -> float:
    """Return the share to drop. Raises FieldTypeError unless 0 ≤ p < 1."""
    if not 0 <= p < 1:
        raise FieldTypeError(f"dropout must be a probability of at least 0 and less than 1, got {p}")
    return p
