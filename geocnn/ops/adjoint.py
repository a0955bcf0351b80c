"""The adjoint of a convolution is a convolution over the transposed stencil.

An entry that is read from its target to its source is an entry again: the inverse transporter g⁻¹, the
direction g⁻¹θ, the same distance and weight. The transposed kernel is one of those from the target's irreps
to the source's. So both derivatives follow from the moments of the cotangent g,

    dx = (moments of g) · weights        dweights = (moments of g)ᵀ x

where the direct form takes two passes over the blocks, for dx and for the moments of x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry.core.shifts import Shifts
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.irrep import Irrep, has_complex_structure, irrep_dim
from geocnn.groups.planar import compose, inverse
from geocnn.lasting import lasting
from geocnn.ops.blocks import runs_of
from geocnn.ops.moments import MomentBasis, angular_kernel
from geocnn.ops.operators import Size, kept_with, size_of
from geocnn.ops.plan import GatherPlan, plan_of

MOST_ENTRIES = 2
"""An `exp` stencil has more entries per pair of points, read by blocks and never copied together."""


def transposed(stencil: Stencil) -> Stencil:
    """Return the stencil that gathers along the same entries from targets to sources; it is kept.

    >>> import geocnn.geometry as geometry
    >>> s = geometry.icosphere(1).stencil(0.8, "log"); back = transposed(transposed(s))
    >>> bool((s.theta - back.theta).abs().max() < 1e-12)
    True
    """
    return kept_with(stencil, "transposed", lambda: _transposed(stencil))


def _transposed(s: Stencil) -> Stencil:
    if s.parts:
        return Stencil.cat([transposed(part) for part in s.parts])
    order = torch.argsort(s.source, stable=True)
    counts = torch.bincount(s.source, minlength=s.n_source)
    angle, flip = inverse((s.angle, s.flip))
    theta, _ = compose((angle, flip), (s.theta, None))
    entries = {"theta": theta, "angle": angle, "flip": flip, "source": s.target, "r": s.r, "weight": s.weight}
    new = replace(
        s,
        row_ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        n_source=s.n_target,
        samples=None,
        **{name: None if t is None else t[order] for name, t in entries.items()},
    )
    return new.with_shifts(None if s.shifts is None else Shifts(s.shifts.source, s.shifts.target))


class Change(NamedTuple):
    """Weights of a run of one plan are those of run `run` of the other, changed by `matrix`
    [parts · moments, parts' · moments'].
    """

    run: int
    matrix: Tensor
    parts: int

    def of(self, weights: Sequence[Tensor], rings: int) -> Tensor:
        """Return weights [parts', K', C] from weights [parts, K, C'] of the other plan."""
        weight = weights[self.run]
        each = weight.reshape(len(self.matrix), rings, -1, weight.shape[2])
        changed = torch.einsum("ab,arcw->brwc", self.matrix.to(weight), each)
        return changed.reshape(self.parts, -1, each.shape[2])


class Adjoint(NamedTuple):
    """The plan of an adjoint, how its weights follow from the layer's, and the layer's from its."""

    plan: GatherPlan
    there: list[Change]
    back: list[Change]
    rings: int


@cache
@lasting()
def adjoint(name: str) -> Adjoint:
    """Return the adjoint of the plan of that name."""
    plan = plan_of(name)
    source, target, basis = plan.source, plan.target, plan.basis
    assert basis is not None
    own = MomentBasis.between(target, source, basis.radial, basis.max_frequency)
    other = GatherPlan(target, source, own)
    matrices = {}
    for landing, irrep in plan.mixed:
        kernels, theirs = _kernels(basis, irrep, landing).mT, _kernels(own, landing, irrep)
        # the transposed kernels of one plan are the other's, in another order and some with another sign
        solution = torch.linalg.lstsq(theirs.flatten(1).T, kernels.flatten(1).T).solution
        matrices[landing, irrep] = solution.T.round()
    there = [
        Change(plan.mixed.index((landing, irrep)), matrices[landing, irrep], 1 + _is_complex(own, irrep))
        for irrep, landing in other.mixed
    ]
    back = [
        Change(other.mixed.index((irrep, landing)), matrices[landing, irrep].T, 1 + _is_complex(own, landing))
        for landing, irrep in plan.mixed
    ]
    return Adjoint(other, there, back, basis.rings)


def has_fewer_operations(stencil: Stencil, plan: GatherPlan) -> bool:
    """Return whether both derivatives take fewer operations from the moments of g than from those of x."""

    def count() -> bool:
        return takes_fewer(plan, size_of(stencil), stencil.n_target, stencil.n_source)

    return plan.basis is not None and kept_with(stencil, ("adjoint", plan.name), count)


def takes_fewer(plan: GatherPlan, size: Size, n_target: int, n_source: int) -> bool:
    """Return the same for operators of a size, which need not exist."""
    direct, other = _counts(plan.name), _counts(adjoint(plan.name).plan.name)
    mine = 2 * size.pairs * direct.moments + 2 * n_target * direct.mixing
    theirs = size.pairs * other.moments + 2 * n_source * other.mixing
    return size.share <= MOST_ENTRIES and theirs <= mine


class _Counts(NamedTuple):
    """Multiplications of the moments per pair of target and source, and of the weights per target."""

    moments: int
    mixing: int


@cache
def _counts(name: str) -> _Counts:
    plan = plan_of(name)
    basis, copies = plan.basis, plan.source.multiplicity
    assert basis is not None
    moments = sum(basis.n_rows(s) * irrep_dim(s, basis.group) * copies(s) for s in basis.sources)
    mixing = 0
    for run, (parts, rows, width) in zip(runs_of(plan.runs), plan.shapes, strict=True):
        mixing += run.dim * parts * rows * width
    return _Counts(moments, mixing)


def _is_complex(basis: MomentBasis, irrep: Irrep) -> bool:
    return has_complex_structure(irrep, basis.group)


@lasting()
def _kernels(basis: MomentBasis, source: Irrep, target: Irrep) -> Tensor:
    """Return the kernel of each part and moment at several angles, [parts · moments, angles, d_out, d_in]."""
    theta = torch.arange(4 * basis.max_frequency + 3, dtype=torch.float64)
    kernels = torch.stack([angular_kernel(m, basis.group, theta) for m in basis.of(source, target)])
    if _is_complex(basis, target):
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
        kernels = torch.cat([kernels, turn @ kernels])
    return kernels
