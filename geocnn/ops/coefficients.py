"""The numbers that an operator holds for each entry of a stencil.

For moments of a layer (`moment_coefficients`) these are

    w R_ring(r/R) · matrix · rotation(ℓθ) · rho(angle, flip)

A source irrep with two components turns by n·angle under rho, after a mirror where `flip`. Both rotations add
up to one by the phase ℓθ + n·angle, so each pair (ℓ, n) takes one cosine and one sine per entry. Numbers are
laid out [rows, components, entries], so that every operation runs along the entries.

Without flips such a source is a complex number, and a complex moment e^{i(ℓθ + n·angle)} z stands for two
rows: its real and imaginary part. `matrix` may conjugate it, which is left to the weights (`ops.mixing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, irrep_dim, rho
from geocnn.groups.planar import Group
from geocnn.ops.moments import MomentBasis


class Entries(NamedTuple):
    """Some entries of a stencil: t = r/R, the other fields as there."""

    t: Float[Tensor, " e"]
    theta: Float[Tensor, " e"]
    weight: Float[Tensor, " e"]
    angle: Float[Tensor, " e"]
    flip: Bool[Tensor, " e"] | None


def moment_coefficients(
    e: Entries, basis: MomentBasis, is_complex: Sequence[bool] | None = None
) -> list[Float[Tensor, "rows components e"]]:
    """Return the coefficients of each source irrep, rows as in `MomentBasis.runs`; complex ones have a real
    and an imaginary part [moments, 2, e].
    """
    radial, result = {}, []
    for source, pairs in zip(basis.sources, is_complex or [False] * len(basis.sources), strict=True):
        if pairs:
            result.append(_complex_coefficients(e, basis, source, radial))
            continue
        d = irrep_dim(source, basis.group)
        out = e.t.new_empty(basis.n_rows(source), d, len(e.t))
        for target, dim, count, start in basis.runs(source):
            moments = basis.of(source, target)
            run = out[start : start + dim * count].view(dim, len(moments), basis.rings, d, len(e.t))
            for number, m in enumerate(moments):
                turn = _turn(e, source, m.frequency, basis.group)
                values = _radial(e, basis, m.frequency, radial)
                for i, row in enumerate(m.matrix):
                    for j in range(d):
                        angular = sum(value * turn[q][j] for q, value in enumerate(row) if value)
                        torch.mul(values, angular, out=run[i, number, :, j])
        result.append(out)
    return result


def _complex_coefficients(
    e: Entries, basis: MomentBasis, source: Irrep, radial: dict[int, Tensor]
) -> Float[Tensor, "moments 2 e"]:
    out, row = e.t.new_empty(basis.n_rows(source) // 2, 2, len(e.t)), 0
    for target, *_ in basis.runs(source):
        for frequency in dict.fromkeys(m.frequency for m in basis.of(source, target)):
            values = _radial(e, basis, frequency, radial)
            for part, turned in enumerate(_circle(frequency * e.theta + source.frequency * e.angle)):
                torch.mul(values, turned, out=out[row : row + basis.rings, part])
            row += basis.rings
    return out


def _radial(
    e: Entries, basis: MomentBasis, frequency: int, known: dict[int, Tensor]
) -> Float[Tensor, "rings e"]:
    """Return w R_ring(r/R), which may be known from another moment."""
    if frequency not in known:
        known[frequency] = basis.radial(e.t, frequency).mT * e.weight
    return known[frequency]


def _turn(e: Entries, source: Irrep, frequency: int, group: Group) -> list[list[Tensor]]:
    """Return rotation(ℓθ) · rho(angle, flip) as 2 × d vectors of entries."""
    if irrep_dim(source, group) == 1:
        c, s = _circle(frequency * e.theta)
        # the sign by which a one-dimensional irrep acts
        sign = rho(source, group, e.angle, e.flip)[..., 0, 0]
        return [[c * sign], [s * sign]]
    c, s = _circle(frequency * e.theta + source.frequency * e.angle)
    mirror = 1 if e.flip is None else 1 - 2 * e.flip.to(c)
    return [[c, -s * mirror], [s, c * mirror]]


def _circle(phase: Float[Tensor, " e"]) -> tuple[Float[Tensor, " e"], Float[Tensor, " e"]]:
    return torch.cos(phase), torch.sin(phase)


def carried_coefficients(e: Entries, field_type: FieldType) -> list[Float[Tensor, "rows components e"]]:
    """Return w · rho(angle, flip) for each irrep of a type."""
    return [
        (rho(irrep, field_type.group, e.angle, e.flip) * e.weight[:, None, None]).movedim(0, -1)
        for irrep in field_type.irreps
    ]
