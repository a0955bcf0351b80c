"""Solutions of K(gv) = rho_out(g) K(v) rho_in(g)^-1, the kernels a structure group allows.

A feature of frequency n seen as a complex number z turns, times e^{iℓθ}, with frequency ℓ + n. So every
steerable kernel is a *moment* e^{iℓθ} z, read as a feature of the irrep it belongs to, followed by a map that
commutes with that irrep (a complex number without flips, a real one with).
This one form serves every group: C_N and D_N only reduce ℓ + n modulo N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geocnn.errors import FieldTypeError
from geocnn.groups.irrep import Irrep, has_complex_structure, irrep_dim, rho
from geocnn.groups.planar import Group

Matrix = tuple[tuple[float, float], ...]

_IDENTITY: Matrix = ((1, 0), (0, 1))
_CONJUGATE: Matrix = ((1, 0), (0, -1))
_TIMES_I: Matrix = ((0, -1), (1, 0))
_CONJUGATE_TIMES_I: Matrix = ((0, -1), (-1, 0))
_REAL: Matrix = ((1, 0),)
_IMAGINARY: Matrix = ((0, 1),)


@dataclass(frozen=True)
class Moment:
    """The map z ↦ `matrix` · (e^{iℓθ} z as two reals), equivariant from `source` to `target`."""

    source: Irrep
    target: Irrep
    frequency: int
    matrix: Matrix


def moments(source: Irrep, group: Group, max_frequency: int) -> list[Moment]:
    """Return all moments of a source irrep with |ℓ| up to `max_frequency`, each with the irrep it lands in.

    >>> from geocnn.groups import SO2
    >>> [(m.frequency, str(m.target)) for m in moments(Irrep(1), SO2, 1)]
    [(-1, '0'), (-1, '0'), (0, '1'), (1, '2')]
    """
    is_real = irrep_dim(source, group) == 1
    result = []
    for frequency in range(0 if is_real else -max_frequency, max_frequency + 1):
        result += _landing(source, group, frequency, is_real and frequency == 0)
    return result


def _landing(source: Irrep, group: Group, frequency: int, only_real: bool) -> list[Moment]:
    """Return the moments of one ℓ: e^{iℓθ} z turns with frequency `total`, which the group knows as irrep
    `residue`.

    A flip takes e^{iℓθ} z to its conjugate; for an odd source to minus that, so i e^{iℓθ} z to its conjugate.
    """
    total = frequency + source.frequency
    n = group.rotations
    residue = abs(total) if n is None else min(total % n, -total % n)
    odd = source.parity == "o"
    if irrep_dim(Irrep(residue), group) == 1:
        kinds = [("e", _REAL), ("o", _IMAGINARY)] if not odd else [("o", _REAL), ("e", _IMAGINARY)]
        return [
            Moment(source, Irrep(residue, parity if group.flips else ""), frequency, matrix)
            for parity, matrix in (kinds[:1] if only_real else kinds)
        ]
    same_sense = total > 0 if n is None else total % n == residue
    if odd:
        matrix = _TIMES_I if same_sense else _CONJUGATE_TIMES_I
    else:
        matrix = _IDENTITY if same_sense else _CONJUGATE
    return [Moment(source, Irrep(residue), frequency, matrix)]


def frequency_bound(source: list[Irrep], target: list[Irrep], group: Group, max_frequency: int | None) -> int:
    """Return the largest |ℓ| a layer uses: irreps of SO(2) and O(2) bound it, finite groups need a limit."""
    if group.is_finite:
        if max_frequency is None:
            raise FieldTypeError(
                f"{group} allows kernels of any angular frequency: give max_frequency, e.g. 2"
            )
        return _whole(max_frequency)
    top = max((i.frequency for i in source), default=0) + max((i.frequency for i in target), default=0)
    return top if max_frequency is None else min(top, _whole(max_frequency))


def _whole(max_frequency: int) -> int:
    if not isinstance(max_frequency, int) or max_frequency < 0:
        raise FieldTypeError(f"max_frequency must be a whole number of at least 0, got {max_frequency!r}")
    return max_frequency


def moments_between(
    source: list[Irrep], target: list[Irrep], group: Group, max_frequency: int | None = None
) -> list[Moment]:
    """Return the moments of the source irreps that land in one of the target irreps."""
    bound = frequency_bound(source, target, group, max_frequency)
    return [m for irrep in source for m in moments(irrep, group, bound) if m.target in target]


@dataclass(frozen=True)
class AngularBasis:
    """Kernels cosine cos(ℓθ) + sine sin(ℓθ): frequency ℓ [B] ≥ 0, cosine and sine [B, d_out, d_in]."""

    frequency: Tensor
    cosine: Tensor
    sine: Tensor

    def __call__(self, theta: Tensor) -> Tensor:
        """Return the kernels at angles theta [...], as [..., B, d_out, d_in]."""
        phase = theta[..., None] * self.frequency
        return torch.cos(phase)[..., None, None] * self.cosine + torch.sin(phase)[..., None, None] * self.sine


def steerable_basis(
    source: Irrep, target: Irrep, group: Group, max_frequency: int | None = None
) -> AngularBasis:
    """Return a basis of the angular parts of all steerable kernels from `source` to `target`: closed form,
    float64.

    Law: K(θ + φ) = rho_target(φ) K(θ) rho_source(φ)^-1, and K(−θ) likewise for the flip if there is one.
    Reference: Weiler & Cesa 2019, appendix F; the same space as `null_space_basis`.

    >>> from geocnn.groups import SO2
    >>> steerable_basis(Irrep(1), Irrep(2), SO2).frequency
    tensor([3, 3, 1, 1])
    """
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    frequency, cosine, sine = [], [], []
    for m in moments_between([source], [target], group, max_frequency):
        matrix = torch.tensor(m.matrix, dtype=torch.float64)
        d = irrep_dim(source, group)
        c, s = matrix[:, :d], (matrix @ turn)[:, :d] * (-1 if m.frequency < 0 else 1)
        commuting = [c.new_ones(1, 1)] if len(matrix) == 1 else [torch.eye(2, dtype=c.dtype)]
        if has_complex_structure(target, group):
            commuting.append(turn)
        for e in commuting:
            frequency.append(abs(m.frequency))
            cosine.append(e @ c)
            sine.append(e @ s)
    if not frequency:
        none = torch.zeros(0, irrep_dim(target, group), irrep_dim(source, group), dtype=torch.float64)
        return AngularBasis(torch.zeros(0, dtype=torch.int64), none, none)
    return AngularBasis(torch.tensor(frequency), torch.stack(cosine), torch.stack(sine))


def null_space_basis(source: Irrep, target: Irrep, group: Group, max_frequency: int) -> Tensor:
    """Return the same space solved numerically, [B, 2L+1, d_out, d_in]: the reference of `steerable_basis`.

    Coefficients of 1, cos θ … cos Lθ, sin θ … sin Lθ, orthonormal rows. The constraint is imposed for
    generators: a rotation by 2π/N, or by one radian, whose multiples are dense in SO(2); and the flip.
    """
    step = 1.0 if group.rotations is None else 2 * math.pi / group.rotations
    angles, flips = [step], [False]
    if group.flips:
        angles, flips = [step, 0.0], [False, True]
    d_out, d_in = irrep_dim(target, group), irrep_dim(source, group)
    n_trig = 2 * max_frequency + 1
    rows = []
    for a, s in zip(angles, flips, strict=True):
        angle, flip = torch.tensor(a, dtype=torch.float64), torch.tensor(s) if group.flips else None
        out = rho(target, group, angle, flip)
        into = torch.linalg.inv(rho(source, group, angle, flip))
        moved = torch.kron(_trig_action(max_frequency, a, s), torch.eye(d_out * d_in, dtype=torch.float64))
        conjugated = torch.kron(torch.eye(n_trig, dtype=torch.float64), torch.kron(out, into.T.contiguous()))
        rows.append(moved - conjugated)
    _, singular, vh = torch.linalg.svd(torch.cat(rows))
    # 1e-10: those in the space are 1e-15; others exceed |e^{ik} − 1| > 0.1 while frequencies k stay below 44
    return vh[(singular < 1e-10).nonzero()[:, 0]].reshape(-1, n_trig, d_out, d_in)


def _trig_action(max_frequency: int, angle: float, flip: bool) -> Tensor:
    """Takes the coefficients of K(θ) to those of K(gθ), where gθ = θ + angle, or angle − θ when flipped."""
    n = 2 * max_frequency + 1
    action = torch.zeros(n, n, dtype=torch.float64)
    action[0, 0] = 1
    for l in range(1, max_frequency + 1):
        c, s = math.cos(l * angle), math.sin(l * angle)
        sense = -1 if flip else 1
        i, j = l, l + max_frequency
        action[i, i], action[i, j] = c, s
        action[j, i], action[j, j] = -sense * s, sense * c
    return action
