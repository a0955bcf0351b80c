"""Fourier nonlinearity: a function applied to a feature's values on the fibre, the circle of all frames."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, irrep_dim


class FourierNonlinearity(nn.Module):
    """Apply `activation` to features as functions on the fibre, at `samples` angles, and project the result.

        f(γ) = x⁰ + √2 Σ_n Re(xⁿ e^{−inγ})        x [..., N, D] -> [..., N, D]

    Frequencies 0 to n are the coefficients of one function, so each must occur equally often: "8x0 + 8x1 +
    8x2" is eight functions. Turning a frame shifts γ. The layer commutes with shifts by 2π/samples exactly,
    and with others up to aliasing of the activated function (Cohen et al. 2018; de Haan et al. 2021). By
    default samples = 4n + 4, one for n = 0. The relative error of one call on random input at a random turn
    is:

        order n   activation   2n + 1   2n + 3   4n + 4   8n + 8 samples
        1         relu         0.30     0.060    0.020    0.0049
        1         silu         0.32     0.034    0.0031   0.00003
        2         relu         0.31     0.092    0.027    0.0064
        2         silu         0.34     0.077    0.011    0.0002
        3         relu         0.32     0.15     0.031    0.0072
        3         silu         0.34     0.17     0.018    0.0007

    For C_N with samples a multiple of N, which is the default, the layer is exact.

    Raises FieldTypeError for groups with flips, irreps that do not occur equally often or leave one out,
    fewer samples than frequencies need, and another feature dimension.

    >>> FourierNonlinearity("4x0 + 4x1 + 4x2")(torch.randn(3, 10, 20)).shape
    torch.Size([3, 10, 20])
    """

    def __init__(
        self,
        field_type: FieldType | str,
        activation: Callable[[Tensor], Tensor] = nn.functional.silu,
        samples: int | None = None,
    ):
        super().__init__()
        self.in_type = self.out_type = FieldType(field_type)
        self.activation = activation
        self.irreps = _fibre(self.in_type)
        order, turns = self.irreps[-1].frequency, self.in_type.group.rotations
        if samples is None:
            samples = 4 * order + 4 if order else 1
            samples = samples if turns is None else turns * math.ceil(samples / turns)
        if samples < 2 * order + 1 and samples != turns:
            raise FieldTypeError(
                f"frequencies up to {order} need at least {2 * order + 1} samples, got {samples}"
            )
        self._in_order = [b.irrep for b in self.in_type.blocks] == self.irreps
        self.register_buffer("_waves", self._fibre_waves(samples), persistent=False)

    _waves: Tensor

    def _fibre_waves(self, samples: int) -> Float64[Tensor, "{samples} d"]:
        """Return the waves of one function at the samples: orthogonal columns of mean square 1."""
        gamma = 2 * math.pi * torch.arange(samples, dtype=torch.float64) / samples
        columns = []
        for irrep in self.irreps:
            wave = irrep.frequency * gamma
            if irrep_dim(irrep, self.in_type.group) == 1:
                columns.append(torch.cos(wave))
            else:
                columns += [math.sqrt(2) * torch.cos(wave), math.sqrt(2) * torch.sin(wave)]
        return torch.stack(columns, -1)

    def forward(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
        self.in_type.check(x)
        waves = self._waves.to(x.dtype)
        values = self.activation(_along(waves, self._functions(x)))
        return self._features(_along(waves.mT / len(waves), values))

    def _functions(self, x: Tensor) -> Tensor:
        """Return features [..., D] as coefficients of functions [..., d, c]."""
        if self._in_order:
            return x.unflatten(-1, (self._waves.shape[1], -1))
        return torch.cat([self.in_type.select(x, irrep) for irrep in self.irreps], -2)

    def _features(self, coefficients: Tensor) -> Tensor:
        """Return the features of coefficients, the inverse of `_functions`."""
        if self._in_order:
            return coefficients.flatten(-2)
        dims = [irrep_dim(irrep, self.in_type.group) for irrep in self.irreps]
        return self.in_type.join(dict(zip(self.irreps, coefficients.split(dims, -2), strict=True)))

    def extra_repr(self) -> str:
        return f"{self.in_type}, samples={len(self._waves)}"


def _along(matrix: Float[Tensor, "s d"], x: Float[Tensor, "*batch d c"]) -> Float[Tensor, "*batch s c"]:
    """Multiply x by a matrix along d; in memory, the batch keeps its place."""
    if x.ndim == 4 and x.stride(0) == 1:
        inner = x.movedim(0, -1)
        return (matrix @ inner.flatten(-2)).unflatten(-1, inner.shape[-2:]).movedim(-1, 0)
    return torch.einsum("sd,...dc->...sc", matrix, x)


def _fibre(field_type: FieldType) -> list[Irrep]:
    """Return the irreps of functions on the fibre, from frequency 0 up."""
    group = field_type.group
    if group.flips:
        raise FieldTypeError(f"{group} has flips, so its fibre is no circle; use NormNonlinearity or Gated")
    irreps = sorted(field_type.irreps)
    copies = {field_type.multiplicity(irrep) for irrep in irreps}
    if irreps != [Irrep(n) for n in range(len(irreps))] or len(copies) > 1:
        raise FieldTypeError(
            f"{field_type} is no sum of functions on the fibre: frequencies 0, 1, … must occur equally "
            "often, as in 8x0 + 8x1 + 8x2"
        )
    return irreps
