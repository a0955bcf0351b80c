"""The numbers that an operator holds for each entry of a stencil.

For moments of a layer (`moment_coefficients`) these are

    w R_ring(r/R) · matrix · rotation(ℓθ) · rho(angle, flip)

A source irrep with two components turns by n·angle under rho, after a mirror where `flip`. Both rotations add
up to one by the phase ℓθ + n·angle, so each pair (ℓ, n) takes one cosine and one sine per entry. Numbers are
laid out [rows, components, entries], so that every operation runs along the entries.
"""

from __future__ import annotations

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


def moment_coefficients(e: Entries, basis: MomentBasis) -> list[Float[Tensor, "rows components e"]]:
    """Return the coefficients of each source irrep, rows as in `MomentBasis.runs`."""
    radial, result = {}, []
    for source in basis.sources:
        d = irrep_dim(source, basis.group)
        out = e.t.new_empty(basis.n_rows(source), d, len(e.t))
        for target, dim, count, start in basis.runs(source):
            moments = basis.of(source, target)
            run = out[start : start + dim * count].view(dim, len(moments), basis.rings, d, len(e.t))
            for number, m in enumerate(moments):
                if m.frequency not in radial:
                    radial[m.frequency] = basis.radial(e.t, m.frequency).mT * e.weight
                turn = _turn(e, source, m.frequency, basis.group)
                for i, row in enumerate(m.matrix):
                    for j in range(d):
                        angular = sum(value * turn[q][j] for q, value in enumerate(row) if value)
                        torch.mul(radial[m.frequency], angular, out=run[i, number, :, j])
        result.append(out)
    return result


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
