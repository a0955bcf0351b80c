"""Moments of a field over a stencil, the one hot loop.

    M[p, ring, ℓ, c] = Σ_e w_e R_ring(r_e/R) e^{iℓθ_e} rho(g_e) x[source_e, c]

Each moment is itself a feature of one irrep (`groups.steerable`), so a layer only mixes moments of equal irrep. Entries of
one target that share a source are summed when the operator is built; it is then one CSR product a source irrep:

    rows (target, component, moment, ring)   columns (source, component)   dense columns (channel, batch)

Nothing of size [entries, channels] exists. Cost: 2 · nonzeros · channels · batch operations a product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry.stencil import Stencil
from geocnn.groups.field_type import FieldType, Irrep, irrep_dim, rho
from geocnn.groups.planar import Group
from geocnn.groups.steerable import Moment, moments_between
from geocnn.ops.csr import Csr

# An operator above this size is built in pieces and not kept: with its transpose it would take twice as much.
OPERATOR_BYTES = 2**30


@dataclass(frozen=True)
class MomentBasis:
    """Which moments are formed: those of `source` irreps landing in `target` irreps, each on `rings` radial functions."""

    group: Group
    moments: tuple[Moment, ...]
    rings: int

    @staticmethod
    def between(source: FieldType, target: FieldType, rings: int, max_frequency: int | None = None) -> MomentBasis:
        found = moments_between(list(source.irreps), list(target.irreps), source.group, max_frequency)
        return MomentBasis(source.group, tuple(found), rings)

    @property
    def sources(self) -> list[Irrep]:
        return list(dict.fromkeys(m.source for m in self.moments))

    @property
    def max_frequency(self) -> int:
        return max((abs(m.frequency) for m in self.moments), default=0)

    def of(self, source: Irrep, target: Irrep | None = None) -> list[Moment]:
        """The moments of one source irrep, grouped by where they land (in order of first landing)."""
        mine = [m for m in self.moments if m.source == source]
        order = list(dict.fromkeys(m.target for m in mine))
        return [m for t in order if target in (None, t) for m in mine if m.target == t]

    def runs(self, source: Irrep) -> list[tuple[Irrep, int, int, int]]:
        """(target irrep, its dimension, moments × rings, first row) of each run of an operator's rows."""
        found, start = [], 0
        for target in dict.fromkeys(m.target for m in self.of(source)):
            dim, count = irrep_dim(target, self.group), len(self.of(source, target)) * self.rings
            found.append((target, dim, count, start))
            start += dim * count
        return found

    def n_rows(self, source: Irrep) -> int:
        return sum(dim * count for _, dim, count, _ in self.runs(source))


def radial_basis(t: Tensor, rings: int, frequency: int) -> Tensor:
    """`rings` raised-cosine bumps of t = r/R, [..., rings]: zero at 1, and at 0 unless the angular frequency is 0.

    Neighbouring bumps overlap by half and sum to 1 between their centres; the derivative is continuous.

    >>> radial_basis(torch.tensor([0.0, 1.0]), 2, 0).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    >>> radial_basis(torch.tensor([0.0, 1.0]), 2, 1).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    n = rings if frequency == 0 else rings + 1
    first = 0 if frequency == 0 else 1
    centre = torch.arange(first, first + rings, dtype=t.dtype, device=t.device) / n
    phase = ((t[..., None] - centre) * n).clamp(-1, 1)
    return 0.5 + 0.5 * torch.cos(math.pi * phase)


def moments(x: Tensor, stencil: Stencil, source: FieldType, basis: MomentBasis) -> dict[Irrep, dict[Irrep, Tensor]]:
    """Moments of x [B, n_source, D] by target irrep, then source irrep: [T, dim, moments · rings · multiplicity, B].

    Memory: output and one operator; the operator is kept with the stencil when it is below OPERATOR_BYTES.
    """
    found: dict[Irrep, dict[Irrep, Tensor]] = {}
    for irrep in basis.sources:
        field = source.select(x, irrep)
        channels = field.shape[-1]
        # batch innermost: a run of channels × batch is contiguous for each (point, component)
        columns = field.permute(1, 2, 3, 0).reshape(x.shape[1] * field.shape[2], -1)
        product = torch.cat([operator @ columns for operator in operators(stencil, basis, irrep, x.dtype)])
        product = product.view(stencil.n_target, basis.n_rows(irrep), channels, x.shape[0])
        for target, dim, count, start in basis.runs(irrep):
            run = product[:, start : start + dim * count]
            found.setdefault(target, {})[irrep] = run.reshape(stencil.n_target, dim, count * channels, -1)
    return found


def moments_reference(
    x: Tensor, stencil: Stencil, source: FieldType, basis: MomentBasis
) -> dict[Irrep, dict[Irrep, Tensor]]:
    """The same, entry by entry as the formula reads: slow, memory entries × moments × channels."""
    found: dict[Irrep, dict[Irrep, Tensor]] = {}
    target_of, t = stencil.target, stencil.r / stencil.radius
    for irrep in basis.sources:
        field = source.select(x, irrep)[:, stencil.source]
        transporter = rho(irrep, basis.group, stencil.angle, stencil.flip).to(x.dtype)
        carried = torch.einsum("eij,bejc->beic", transporter, field)
        for target in dict.fromkeys(m.target for m in basis.of(irrep)):
            formed = []
            for m in basis.of(irrep, target):
                kernel = (stencil.weight[:, None, None] * _angular(m, basis.group, stencil.theta)).to(x.dtype)
                radial = radial_basis(t, basis.rings, m.frequency).to(x.dtype)
                entries = torch.einsum("er,eij,bejc->eircb", radial, kernel, carried)
                total = entries.new_zeros(stencil.n_target, *entries.shape[1:])
                formed.append(total.index_add(0, target_of, entries))
            found.setdefault(target, {})[irrep] = torch.stack(formed, 2).flatten(2, 4)
    return found


def _angular(m: Moment, group: Group, theta: Tensor) -> Tensor:
    """The angular kernel of a moment at angles [E]: matrix · rotation(ℓθ), restricted to the source's components."""
    c, s = torch.cos(m.frequency * theta), torch.sin(m.frequency * theta)
    turn = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    matrix = torch.tensor(m.matrix, dtype=theta.dtype, device=theta.device)
    return (matrix @ turn)[..., : irrep_dim(m.source, group)]


def operators(stencil: Stencil, basis: MomentBasis, source: Irrep, dtype: torch.dtype) -> Iterator[Csr]:
    """The operator of one source irrep, whole and kept with the stencil, or in blocks of targets when it is large."""
    key = (basis, source, dtype)
    if key in stencil.operators:
        yield stencil.operators[key]
        return
    row_bytes = basis.n_rows(source) * irrep_dim(source, basis.group) * (4 + torch.finfo(dtype).bits // 8)
    blocks = math.ceil(stencil.n_entries * row_bytes / OPERATOR_BYTES)
    if blocks <= 1:
        stencil.operators[key] = build_operator(stencil, basis, source, dtype)
        yield stencil.operators[key]
        return
    step = math.ceil(stencil.n_target / blocks)
    for start in range(0, stencil.n_target, step):
        yield build_operator(_target_block(stencil, start, start + step), basis, source, dtype)


def _target_block(stencil: Stencil, start: int, stop: int) -> Stencil:
    row_ptr = stencil.row_ptr[start : stop + 1]
    first, last = int(row_ptr[0]), int(row_ptr[-1])
    entries = {
        name: None if (t := getattr(stencil, name)) is None else t[first:last]
        for name in ("source", "r", "theta", "weight", "angle", "flip")
    }
    return replace(stencil, row_ptr=row_ptr - first, operators={}, **entries)


class _Pairs(NamedTuple):
    """Distinct (target, source) pairs, sorted; `entry` says which pair each entry of the stencil belongs to."""

    target: Tensor
    source: Tensor
    entry: Tensor


def _pairs(stencil: Stencil) -> _Pairs:
    key = stencil.target * stencil.n_source + stencil.source
    unique, entry = torch.unique(key, return_inverse=True)
    return _Pairs(unique // stencil.n_source, unique % stencil.n_source, entry)


def build_operator(stencil: Stencil, basis: MomentBasis, source: Irrep, dtype: torch.dtype) -> Csr:
    """The CSR operator of one source irrep, formed in the stencil's own precision and cast once."""
    return _assemble(stencil, _coefficients(stencil, basis, source), dtype)


def _assemble(stencil: Stencil, coefficient: Tensor, dtype: torch.dtype) -> Csr:
    """The operator with blocks coefficient [E, rows, columns] at (target, source), equal pairs summed."""
    pairs = _pairs(stencil)
    summed = coefficient.new_zeros(len(pairs.source), *coefficient.shape[1:])
    summed = summed.index_add_(0, pairs.entry, coefficient).to(dtype)
    forward = _ragged_csr(pairs.target, pairs.source, summed, stencil.n_target)
    order = torch.argsort(pairs.source, stable=True)
    turned = summed[order].transpose(1, 2)
    backward = _ragged_csr(pairs.source[order], pairs.target[order], turned, stencil.n_source)
    return Csr(*forward, *backward)


def _coefficients(stencil: Stencil, basis: MomentBasis, source: Irrep) -> Tensor:
    """[E, rows, source components]: w R_ring(r/R) · angular kernel · transporter, rows as in `MomentBasis.runs`."""
    transporter = rho(source, basis.group, stencil.angle, stencil.flip)
    t = stencil.r / stencil.radius
    rows = []
    for target, _, _, _ in basis.runs(source):
        kernels = []
        for m in basis.of(source, target):
            angular = _angular(m, basis.group, stencil.theta) @ transporter
            kernels.append(torch.einsum("er,eij->eirj", radial_basis(t, basis.rings, m.frequency), angular))
        rows.append(torch.stack(kernels, 2).flatten(1, 3))
    return torch.cat(rows, 1) * stencil.weight[:, None, None]


def _ragged_csr(row: Tensor, column: Tensor, value: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """CSR of blocks value [P, a, b] at (row, column), sorted by row: rows (row, a), columns (column, b)."""
    p, a, b = value.shape
    counts = torch.bincount(row, minlength=n)
    start = counts.cumsum(0) - counts
    i, j = torch.arange(a, device=row.device), torch.arange(b, device=row.device)
    # within a block row of c pairs: a rows of c·b entries, one after the other
    rank = torch.arange(p, device=row.device) - start[row]
    first = start[row] * (a * b) + rank * b
    place = first[:, None, None] + (counts[row] * b)[:, None, None] * i[:, None] + j
    values, columns = value.new_empty(p * a * b), row.new_empty(p * a * b, dtype=torch.int32)
    values[place.view(-1)] = value.reshape(-1)
    columns[place.view(-1)] = (column[:, None, None] * b + j).to(torch.int32).expand(p, a, b).reshape(-1)
    row_ptr = start[:, None] * (a * b) + (counts * b)[:, None] * i
    end = torch.tensor([p * a * b], device=row.device)
    return torch.cat([row_ptr.view(-1), end]).to(torch.int32), columns, values


def transported_mean(x: Tensor, stencil: Stencil, field_type: FieldType) -> Tensor:
    """Σ_e w_e rho(g_e) x[source_e] / Σ_e w_e for x [B, n_source, D], as [B, n_target, D]: the plain moment ℓ = 0."""
    parts = {}
    for irrep in field_type.irreps:
        field = field_type.select(x, irrep)
        columns = field.permute(1, 2, 3, 0).reshape(x.shape[1] * field.shape[2], -1)
        product = _mean_operator(stencil, field_type.group, irrep, x.dtype) @ columns
        parts[irrep] = product.view(stencil.n_target, field.shape[2], field.shape[3], x.shape[0]).permute(3, 0, 1, 2)
    return field_type.join(parts)


def _mean_operator(stencil: Stencil, group: Group, irrep: Irrep, dtype: torch.dtype) -> Csr:
    key = (group, irrep, dtype)
    if key not in stencil.operators:
        total = stencil.weight.new_zeros(stencil.n_target).index_add_(0, stencil.target, stencil.weight)
        share = stencil.weight / torch.where(total == 0, torch.ones_like(total), total)[stencil.target]
        coefficient = rho(irrep, group, stencil.angle, stencil.flip) * share[:, None, None]
        stencil.operators[key] = _assemble(stencil, coefficient, dtype)
    return stencil.operators[key]
