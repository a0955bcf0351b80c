"""FieldNorm: batch normalisation that keeps features equivariant."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geocnn.groups.field_type import FieldType


class FieldNorm(nn.Module):
    """Every channel scaled to unit mean square over batch and points; a mean is removed, and a shift learnt,
    only where the group acts trivially. On any other irrep a shift would break gauge symmetry.

    x [..., N, D] -> [..., N, D]. Training uses the batch's moments and tracks their running means with
    `momentum`; evaluation uses those, as torch.nn.BatchNorm does (Ioffe & Szegedy 2015). Raises
    FieldTypeError for another feature dimension.

    >>> norm = FieldNorm("2x0 + 1x1"); y = norm(5 * torch.randn(8, 100, 4) + 3)
    >>> bool((y[..., :2].mean((0, 1)).abs() < 1e-5).all())
    True
    """

    running_mean: Tensor
    running_power: Tensor

    def __init__(self, field_type: FieldType | str, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.in_type = self.out_type = FieldType(field_type)
        self.momentum, self.eps = momentum, eps
        copies = sum(b.multiplicity for b in self.in_type.blocks)
        invariant = sum(b.multiplicity for b in self.in_type.blocks if self.in_type.is_invariant(b.irrep))
        self.scale = nn.Parameter(torch.ones(copies))
        self.shift = nn.Parameter(torch.zeros(invariant))
        self.register_buffer("running_mean", torch.zeros(invariant))
        self.register_buffer("running_power", torch.ones(copies))
        # which copy, and (for a 0/1 mask) which shift, each of the D channels uses
        copy, shift, n_copy, n_shift = [], [], 0, 0
        for b in self.in_type.blocks:
            copy += b.dim * list(range(n_copy, n_copy + b.multiplicity))
            n_copy += b.multiplicity
            if self.in_type.is_invariant(b.irrep):
                shift += list(range(b.start, b.stop))
                n_shift += b.multiplicity
        self.register_buffer("_copy", torch.tensor(copy), persistent=False)
        self.register_buffer("_invariant", torch.tensor(shift, dtype=torch.int64), persistent=False)

    _copy: Tensor
    _invariant: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.in_type.check(x)
        mean, power = self._moments(x) if self.training else (self.running_mean, self.running_power)
        scale = (self.scale * torch.rsqrt(power + self.eps))[self._copy]
        shift = x.new_zeros(self.in_type.dim).index_copy(
            0, self._invariant, (self.shift - mean * scale[self._invariant]).to(x.dtype)
        )
        return torch.addcmul(shift, x, scale.to(x.dtype))

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means of the invariant channels; variances of those and mean squares of a component elsewhere."""
        over, n = tuple(range(x.ndim - 1)), x.numel() // x.shape[-1]
        mean = x.mean(over)
        centre = torch.zeros_like(mean).index_copy(0, self._invariant, mean[self._invariant])
        # not E[x²] − E[x]², which loses all digits, and can be negative, where the mean is large
        square = (x - centre).square().sum(over) / n
        counts = torch.bincount(self._copy).to(square)
        power = torch.zeros_like(counts).index_add(0, self._copy, square) / counts
        centre = centre[self._invariant]
        with torch.no_grad():
            self.running_mean.lerp_(centre.detach().to(self.running_mean), self.momentum)
            self.running_power.lerp_(power.detach().to(self.running_power), self.momentum)
        return centre, power

    def extra_repr(self) -> str:
        return str(self.in_type)
