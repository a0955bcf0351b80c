"""GaugeConv: the steerable convolution on any stencil."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError, GeometryError, GroupError, SamplingError
from geocnn.geometry.stencil import Stencil
from geocnn.groups.field_type import FieldType, Irrep, has_complex_structure
from geocnn.ops.gather import MomentBasis, moments


class GaugeConv(nn.Module):
    """(k ⋆ f)(p) = 1/(πR²) ∫ K(v) Γ f(exp_p v) dv over the disc |v| < R, with a kernel its structure group allows.

    The kernel is a sum of angular harmonics times `rings` radial functions of r/R, with learnt coefficients; the bias
    acts on invariant channels only. The same layer runs on every surface, and its answer does not depend on frames.

        x [..., n_source, D_in], stencil  ->  [..., n_target, D_out]

    `max_frequency` bounds the kernel's angular frequency; finite groups need it.

    Raises FieldTypeError (feature dimension, types of different groups, nothing can reach an output irrep), GeometryError
    (number of points), GroupError (the stencil's transporters leave the layer's group) and SamplingError (too few samples).

    >>> import geocnn.geometry as geometry
    >>> layer = GaugeConv("1x0", "4x0 + 2x1", rings=3)
    >>> layer(torch.randn(5, 192, 1), geometry.healpix(4).stencil(radius=0.6)).shape
    torch.Size([5, 192, 8])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        rings: int = 3,
        max_frequency: int | None = None,
        bias: bool = True,
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        if self.in_type.group != self.out_type.group:
            raise FieldTypeError(f"input {self.in_type} and output {self.out_type} belong to different groups; give both one")
        if rings < 1:
            raise FieldTypeError(f"a kernel needs at least one ring, got rings={rings}")
        self.basis = MomentBasis.between(self.in_type, self.out_type, rings, max_frequency)
        self.weight = nn.ParameterDict()
        for irrep in self.out_type.irreps:
            count = sum(self._fan_in(irrep))
            if count == 0:
                raise FieldTypeError(
                    f"no kernel of frequency up to {self.basis.max_frequency} leads from {self.in_type} to {irrep}; raise max_frequency"
                )
            parts = 2 if has_complex_structure(irrep, self.in_type.group) else 1
            self.weight[str(irrep)] = nn.Parameter(torch.empty(parts, count, self.out_type.multiplicity(irrep)))
        invariant = sum(b.multiplicity for b in self.out_type.blocks if self.out_type.is_invariant(b.irrep))
        self.bias = nn.Parameter(torch.empty(invariant)) if bias and invariant else None
        self.reset_parameters()

    def _fan_in(self, target: Irrep) -> list[int]:
        """Moments · rings · channels arriving at a target irrep from each source irrep, in the basis' order."""
        rings = self.basis.rings
        return [
            len(self.basis.of(source, target)) * rings * self.in_type.multiplicity(source)
            for source in self.basis.sources
        ]

    def reset_parameters(self) -> None:
        """Weights such that input of unit variance that is independent from one point to the next keeps it.

        A disc of radius R then holds π·rings² independent points: one a ring's width, as when R is `rings` spacings.
        """
        independent = math.pi * self.basis.rings**2
        for irrep in self.out_type.irreps:
            variance = 0.0
            for source in self.basis.sources:
                for m in self.basis.of(source, irrep):
                    share = sum(v * v for row in m.matrix for v in row) / len(m.matrix)
                    share *= 1.0 if m.frequency == 0 or len(m.matrix) == 2 else 1.0
                    variance += self.in_type.multiplicity(source) * _ring_power(self.basis.rings, m.frequency) * share
            weight = self.weight[str(irrep)]
            nn.init.normal_(weight, std=math.sqrt(independent / (variance * weight.shape[0])))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, stencil: Stencil) -> Tensor:
        self._check(x, stencil)
        lead = x.shape[:-2]
        found = moments(x.reshape(-1, *x.shape[-2:]), stencil, self.in_type, self.basis)
        parts = {irrep: self._mix(found[irrep], irrep) for irrep in self.out_type.irreps}
        y = self.out_type.join(parts)
        return y.reshape(*lead, *y.shape[-2:])

    def _mix(self, found: dict[Irrep, Tensor], irrep: Irrep) -> Tensor:
        """All moments of one irrep [T, dim, K, B], mixed by the maps that commute with it: [B, T, dim, multiplicity]."""
        arriving = [found[s] for s in self.basis.sources if s in found]
        m = arriving[0] if len(arriving) == 1 else torch.cat(arriving, 2)
        weight = self.weight[str(irrep)]
        if weight.shape[0] == 1:
            y = torch.einsum("tdkb,ko->btdo", m, weight[0])
        else:
            # complex numbers as real 2 × 2 matrices: (a + ib)(u + iv)
            a, b = weight
            matrix = torch.stack([torch.stack([a, b], 1), torch.stack([-b, a], 1)])
            y = torch.einsum("tdkb,dkeo->bteo", m, matrix)
        if self.bias is not None and self.out_type.is_invariant(irrep):
            y = y + self.bias
        return y

    def _check(self, x: Tensor, stencil: Stencil) -> None:
        self.in_type.check(x)
        if x.shape[-2] != stencil.n_source:
            raise GeometryError(f"the stencil gathers from {stencil.n_source} points, x has {x.shape[-2]} (shape {list(x.shape)})")
        if not self.in_type.group.contains(stencil.group):
            raise GroupError(
                f"the stencil's transporters live in {stencil.group}, which the layer's group {self.in_type.group} does not "
                f"contain: its answer would depend on frames. Give the layer types of {stencil.group}"
            )
        highest = self.basis.max_frequency
        if stencil.samples is not None and stencil.samples[1] <= 2 * highest:
            raise SamplingError(
                f"kernels of angular frequency {highest} need at least {2 * highest + 1} angles, the stencil has "
                f"samples={stencil.samples}; give samples=({stencil.samples[0]}, {2 * highest + 1}) or lower max_frequency"
            )

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, rings={self.basis.rings}, max_frequency={self.basis.max_frequency}"


def _ring_power(rings: int, frequency: int) -> float:
    """Σ_rings ∫₀¹ R_ring(t)² 2t dt."""
    from geocnn.geometry.surface import radial_quadrature
    from geocnn.ops.gather import radial_basis

    t, w = radial_quadrature(64)
    return float((w[:, None] * radial_basis(t, rings, frequency) ** 2).sum())
