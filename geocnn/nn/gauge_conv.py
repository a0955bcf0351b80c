"""GaugeConv: the steerable convolution on any stencil."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError, SamplingError
from geocnn.geometry.core.sampling import radial_quadrature
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, has_complex_structure, irrep_dim
from geocnn.groups.steerable import Moment, radial_basis
from geocnn.nn.linear import real_matrix
from geocnn.ops.gather import MomentBasis, check_input, gather

if TYPE_CHECKING:
    from geocnn.nn.so3_correlation import SO3Correlation


class GaugeConv(nn.Module):
    """(k ⋆ f)(p) = 1/(πR²) ∫ K(v) Γ f(exp_p v) dv over the disc |v| < R, with a kernel its structure group
    allows.

    The kernel is a sum of angular harmonics times `rings` radial functions of r/R, with learnt coefficients;
    the bias acts on invariant channels only. The same layer runs on every surface, and its answer does not
    depend on frames.

        x [..., n_source, D_in], stencil  ->  [..., n_target, D_out]

    `max_frequency` bounds the kernel's angular frequency; finite groups need it.

    The first call on a stencil derives an operator from it and keeps it there; torch.compile and torch.export
    want that call to have been made.

    Raises FieldTypeError (feature dimension or dtype, different groups, nothing can reach an output irrep),
    GeometryError (number of points), GroupError (the stencil's transporters leave the layer's group) and
    SamplingError (too few samples).

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
            raise FieldTypeError(
                f"input {self.in_type} and output {self.out_type} belong to different groups; give both one"
            )
        if not isinstance(rings, int) or rings < 1:
            raise FieldTypeError(f"a kernel needs at least one ring, a whole number, got rings={rings!r}")
        self.basis = MomentBasis.between(self.in_type, self.out_type, rings, max_frequency)
        self.weight = nn.ParameterDict()
        for irrep in self.out_type.irreps:
            count = sum(self._fan_in(irrep))
            if count == 0:
                raise FieldTypeError(
                    f"no kernel leads from {self.in_type} to {irrep} (max_frequency={max_frequency}); "
                    "raise max_frequency, give the input more irreps, or leave this one out"
                )
            parts = 2 if has_complex_structure(irrep, self.in_type.group) else 1
            self.weight[str(irrep)] = nn.Parameter(
                torch.empty(parts, count, self.out_type.multiplicity(irrep))
            )
        invariant = sum(b.multiplicity for b in self.out_type.blocks if self.out_type.is_invariant(b.irrep))
        self.bias = nn.Parameter(torch.empty(invariant)) if bias and invariant else None
        channels = [
            c
            for b in self.out_type.blocks
            if self.out_type.is_invariant(b.irrep)
            for c in range(b.start, b.stop)
        ]
        self.register_buffer("_invariant", torch.tensor(channels, dtype=torch.int64), persistent=False)
        self.reset_parameters()

    _invariant: Tensor

    def _fan_in(self, target: Irrep) -> list[int]:
        """Moments · rings · channels that arrive at a target irrep from each of `basis.sources`."""
        rings = self.basis.rings
        return [
            len(self.basis.of(source, target)) * rings * self.in_type.multiplicity(source)
            for source in self.basis.sources
        ]

    def reset_parameters(self) -> None:
        """Weights such that input of unit variance that is independent from one point to the next keeps it.

        A disc of radius R then holds π·rings² independent points: one a ring's width, as when R is `rings`
        spacings. So it is on `log` stencils; the linear interpolation of `exp` ones passes about 0.6 of it.
        """
        independent = math.pi * self.basis.rings**2
        for irrep in self.out_type.irreps:
            variance = 0.0
            for source in self.basis.sources:
                for m in self.basis.of(source, irrep):
                    variance += self.in_type.multiplicity(source) * _component_power(m, self.basis)
            weight = self.weight[str(irrep)]
            nn.init.normal_(weight, std=math.sqrt(independent / (variance * weight.shape[0])))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, stencil: Stencil | None = None) -> Tensor:
        stencil = self._checked(x, stencil)
        y = gather(x.reshape(-1, *x.shape[-2:]), stencil, self.in_type, self.out_type, self.basis, self.mix())
        if self.bias is not None:
            y = y + y.new_zeros(self.out_type.dim).index_copy(0, self._invariant, self.bias.to(y.dtype))
        return y.reshape(*x.shape[:-2], *y.shape[-2:])

    def mix(self) -> dict[tuple[Irrep, Irrep], Tensor]:
        """For each (target, source) irrep the matrix that mixes its moments.

        Where the irrep commutes with the complex numbers a + ib, those as real 2 × 2 blocks:
        [2 · K, 2 · copies].
        """
        found = {}
        for target in self.out_type.irreps:
            parts = self.weight[str(target)].split(self._fan_in(target), 1)
            for source, weight in zip(self.basis.sources, parts, strict=True):
                found[target, source] = real_matrix(weight)
        return found

    def to_harmonic(self, radius: float, lmax: int) -> SO3Correlation:
        """The same map on the sphere, for stencils of that radius (radians), by harmonics up to degree lmax.

        It has this layer's parameters, not copies. The two agree as the grid is refined. Raises
        FieldTypeError for a group other than SO(2) and GeometryError for a radius above π.

        >>> GaugeConv("1x0", "4x0 + 2x1").to_harmonic(radius=0.6, lmax=15).matrices().shape
        torch.Size([16, 1, 6])
        """
        from geocnn.nn.so3_correlation import SO3Correlation

        basis, bias = self.basis, self.bias is not None
        made = SO3Correlation(
            self.in_type, self.out_type, lmax, basis.rings, radius, basis.max_frequency, bias
        )
        made.weight, made.bias = self.weight, self.bias
        return made.to(next(self.parameters()).device)

    def _checked(self, x: Tensor, stencil: Stencil | None) -> Stencil:
        stencil = check_input(x, stencil, self.in_type)
        dtype = next(iter(self.weight.values())).dtype
        if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
            raise FieldTypeError(
                f"x is {x.dtype}, the layer's weights are {dtype}; cast one, "
                f"with x.to({dtype}) or layer.double()"
            )
        highest = self.basis.max_frequency
        if stencil.samples is not None and stencil.samples[1] <= 2 * highest:
            raise SamplingError(
                f"kernels of angular frequency {highest} need at least {2 * highest + 1} angles, the stencil "
                f"has samples={stencil.samples}; give samples=({stencil.samples[0]}, {2 * highest + 1}) "
                "or lower max_frequency"
            )
        return stencil

    def extra_repr(self) -> str:
        basis = self.basis
        return f"{self.in_type} -> {self.out_type}, rings={basis.rings}, max_frequency={basis.max_frequency}"


def _component_power(m: Moment, basis: MomentBasis) -> float:
    """Mean square of one component of a moment of unit-variance input, Σ_rings ∫₀¹ R(t)² 2t dt · ½ or 1.

    The harmonic e^{iℓθ} of a real source has two components, of which each holds half the power unless ℓ = 0.
    """
    t, w = radial_quadrature(64)
    power = float((w[:, None] * radial_basis(t, basis.rings, m.frequency) ** 2).sum())
    is_real = irrep_dim(m.source, basis.group) == 1
    return power / 2 if is_real and m.frequency != 0 else power
