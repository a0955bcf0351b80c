"""The weights of a steerable kernel, as `GaugeConv` and `SO3Correlation` both have them.

Per output irrep one parameter [parts, fan-in, copies]: `parts` is 2 where a complex number a + ib acts on
the irrep and 1 where a real one does; the fan-in counts moments · rings · input copies, source by source in
the order of `MomentBasis.sources`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.geometry.core.sampling import radial_quadrature
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, has_complex_structure, irrep_dim
from geocnn.groups.radial import RadialBasis
from geocnn.groups.steerable import Moment
from geocnn.ops.moments import MomentBasis


def kernel_basis(
    in_type: FieldType, out_type: FieldType, radial: RadialBasis, max_frequency: int | None
) -> MomentBasis:
    """Return the moments between two types. Raises FieldTypeError for types of different groups, where no
    moment leads to an output irrep, and for a radial basis that does not vanish where it must.
    """
    if in_type.group != out_type.group:
        raise FieldTypeError(
            f"input {in_type} and output {out_type} belong to different groups; give both one"
        )
    basis = MomentBasis.between(in_type, out_type, radial, max_frequency)
    for frequency in sorted({m.frequency for m in basis.moments}):
        radial.check(frequency)
    for irrep in out_type.irreps:
        if sum(fan_in(basis, in_type, irrep)) == 0:
            raise FieldTypeError(
                f"no kernel leads from {in_type} to {irrep} (max_frequency={max_frequency}); "
                "raise max_frequency, give the input more irreps, or leave this one out"
            )
    return basis


def fan_in(basis: MomentBasis, in_type: FieldType, target: Irrep) -> list[int]:
    """Count the numbers that reach a target irrep from each source irrep: moments · rings · input copies."""
    return [
        len(basis.of(source, target)) * basis.rings * in_type.multiplicity(source) for source in basis.sources
    ]


def kernel_weights(basis: MomentBasis, in_type: FieldType, out_type: FieldType) -> nn.ParameterDict:
    """Return one parameter [parts, fan-in, copies] per output irrep, its values not set yet."""
    weight = nn.ParameterDict()
    for irrep in out_type.irreps:
        parts = 2 if has_complex_structure(irrep, in_type.group) else 1
        count = sum(fan_in(basis, in_type, irrep))
        weight[str(irrep)] = nn.Parameter(torch.empty(parts, count, out_type.multiplicity(irrep)))
    return weight


def initialise(weight: nn.ParameterDict, basis: MomentBasis, in_type: FieldType, out_type: FieldType) -> None:
    """Draw weights that keep the variance of input which is independent from one point to the next.

    A disc of radius R then holds π · rings² independent points: one per square of a ring's width, as when R
    is `rings` spacings. This holds on `log` stencils; the linear interpolation of `exp` ones passes about 0.6
    of the variance.
    """
    independent = math.pi * basis.rings**2
    for irrep in out_type.irreps:
        variance = 0.0
        for source in basis.sources:
            for m in basis.of(source, irrep):
                variance += in_type.multiplicity(source) * _component_power(m, basis)
        parameter = weight[str(irrep)]
        nn.init.normal_(parameter, std=math.sqrt(independent / (variance * parameter.shape[0])))


def mixing_weights(
    weight: nn.ParameterDict, basis: MomentBasis, in_type: FieldType, out_type: FieldType
) -> dict[tuple[Irrep, Irrep], Tensor]:
    """Return the weights [parts, K, copies] that mix the moments between each (target, source) pair of
    irreps.
    """
    mixed = {}
    for target in out_type.irreps:
        parts = weight[str(target)].split(fan_in(basis, in_type, target), 1)
        mixed |= {(target, source): part for source, part in zip(basis.sources, parts, strict=True)}
    return mixed


def invariant_channels(field_type: FieldType) -> Tensor:
    """Return the channels [K] int64 that no frame changes, the only ones a bias may be added to."""
    channels = [
        channel
        for block in field_type.blocks
        if field_type.is_invariant(block.irrep)
        for channel in range(block.start, block.stop)
    ]
    return torch.tensor(channels, dtype=torch.int64)


def with_bias(y: Tensor, bias: Tensor | None, channels: Tensor) -> Tensor:
    """y [..., D] plus a bias [K] on some of its channels [K]."""
    if bias is None:
        return y
    return y + y.new_zeros(y.shape[-1]).index_copy(0, channels, bias.to(y.dtype))


def _component_power(m: Moment, basis: MomentBasis) -> float:
    """Return a component's mean square in a moment of white input, Σ_rings ∫₀¹ R(t)² 2t dt · ½ or 1.

    The harmonic e^{iℓθ} of a real source has two components, of which each holds half the power unless ℓ = 0.
    """
    t, w = radial_quadrature(64)
    power = float((w[:, None] * basis.radial(t, m.frequency) ** 2).sum())
    is_real = irrep_dim(m.source, basis.group) == 1
    return power / 2 if is_real and m.frequency != 0 else power
