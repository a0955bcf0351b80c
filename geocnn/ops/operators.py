"""The operator of a stencil takes the features of all source points to the moments of all target points.

Its numbers (`ops.coefficients`) are summed over the entries that join the same target and source, and
arranged in the cells of the stencil's tiling (`ops.tiles`), as `ops.blocks` multiplies with them. The entries
are read by blocks of targets, so that those of an `exp` stencil need not exist all at once. The tiling and
the operators of all layer kinds are made once and kept with the stencil (`ops.kept`). Stencils side by side
use the operators of their parts (`ops.joint`). An operator above OPERATOR_BYTES is formed anew at every call,
one range of tiles after another.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from geocnn.geometry.core.recognised import changes
from geocnn.geometry.core.rows import Rows, run_of
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import irrep_dim
from geocnn.lasting import lasting
from geocnn.ops import kept
from geocnn.ops.coefficients import Entries, carried_coefficients, moment_coefficients
from geocnn.ops.joint import Joint, joint, joint_blocks
from geocnn.ops.moments import MomentBasis
from geocnn.ops.tiles import Index, Range, Tiling, tile_ranges, tiling

OPERATOR_BYTES = 2**31
"""An operator above this size is formed in ranges of tiles at every call, and not kept."""

RANGE_BYTES = {"cpu": 2**26, "cuda": 2**28}
"""The size of such a range: each costs some 20 calls, and a CPU uses its memory again for the next."""

CHUNK = 2**16
"""So many entries are evaluated together: their numbers stay in a core's cache."""

Weights = Callable[[Rows], Tensor]
T = TypeVar("T")


class Coefficients(NamedTuple):
    """What gives the numbers of some entries for each source irrep, and which of these are complex."""

    of: Callable[[Entries], list[Tensor]]
    is_complex: list[bool]


_changes: WeakKeyDictionary[Stencil, tuple[int, ...]] = WeakKeyDictionary()
"""How often the entries of stencils had been changed in place when something was last asked of them."""


class Operator(NamedTuple):
    """A stencil's operator: a block per class of tiles and source irrep, and where they lie.

    The blocks of a class [shapes, k · rows, U · components] follow those of the class before. Those of
    sources that are computed as complex numbers are complex (`MomentBasis.complex_sources`).
    """

    block: list[Tensor]
    index: Index

    @property
    def tensors(self) -> list[Tensor]:
        """Return all tensors."""
        index = self.index
        others = [index.slot_ptr, index.slot, *([] if index.place is None else [index.place])]
        return [*self.block, *index.member, *others]


def operator(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> Operator:
    """Return the stencil's operator, built when first asked for and kept with the stencil."""
    return _made(stencil, (basis, dtype), _weights, _moments(basis, dtype), dtype)


def mean_operator(stencil: Stencil, field_type: FieldType, dtype: torch.dtype) -> Operator:
    """Return the operator of `transported_mean`, kept with the stencil as well."""
    key = field_type.group, field_type.irreps, dtype
    carried = Coefficients(
        partial(carried_coefficients, field_type=field_type), [False] * len(field_type.irreps)
    )
    return _made(stencil, key, _shares, carried, dtype)


class Size(NamedTuple):
    """How many pairs of a target and a source are multiplied, padding included, and how many entries each has
    on average, in the part where they are most.
    """

    pairs: int
    share: float


def size_of(stencil: Stencil) -> Size:
    """Return the size of a stencil's operators, whatever the layer."""
    tilings = [_tiling(part) for part in stencil.parts or (stencil,)]
    return Size(sum(t.n_cells * t.copies for t in tilings), max(t.share for t in tilings))


def operator_bytes(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> int:
    """Return the size of the operator that would be allocated, without forming it."""
    cells = sum(_tiling(part).n_cells for part in stencil.parts or (stencil,))
    return cells * _numbers(basis, dtype) * dtype.itemsize


def ranges(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> list[Range] | None:
    """Return the stencil's tiles in ranges if its operator is too large to keep, else None."""
    if (basis, dtype) in stencil.operators:
        return None
    if are_kept([operator_bytes(part, basis, dtype) for part in stencil.parts or (stencil,)]):
        return None
    most = RANGE_BYTES.get(stencil.device.type, 2**28) // (_numbers(basis, dtype) * dtype.itemsize)
    return kept_with(stencil, ("ranges", most), lambda: tile_ranges(_tiling(stencil), most))


def are_kept(sizes: Sequence[float]) -> bool:
    """Return whether operators of these sizes, which serve stencils side by side, are kept."""
    return max(sizes) <= OPERATOR_BYTES and sum(sizes) <= kept.KEPT_BYTES


def range_operator(stencil: Stencil, part: Range, basis: MomentBasis, dtype: torch.dtype) -> Operator:
    """Form the operator of a range of tiles, from its own sources to its own targets."""
    with lasting():
        t = _tiling(stencil)._replace(index=part.index, tile=[part.tile])
        return _formed(stencil, t, _weights, _moments(basis, dtype), dtype)


def place_of_targets(stencil: Stencil) -> Tensor | None:
    """Return where each target lies among those of all ranges, None if in order."""
    return _tiling(stencil).index.place


def _numbers(basis: MomentBasis, dtype: torch.dtype) -> int:
    """Return how many real numbers each cell holds."""
    return sum(
        basis.n_rows(s) * (1 if is_complex else irrep_dim(s, basis.group))
        for s, is_complex in zip(basis.sources, basis.complex_sources(dtype), strict=True)
    )


def _moments(basis: MomentBasis, dtype: torch.dtype) -> Coefficients:
    is_complex = basis.complex_sources(dtype)
    return Coefficients(partial(moment_coefficients, basis=basis, is_complex=is_complex), is_complex)


def _weights(rows: Rows) -> Tensor:
    return rows.weight


def _shares(rows: Rows) -> Tensor:
    """Return the weights, divided by the sum of their row's."""
    total = rows.weight.new_zeros(rows.n).index_add_(0, rows.row, rows.weight)
    return rows.weight / torch.where(total == 0, torch.ones_like(total), total)[rows.row]


def _made(
    stencil: Stencil,
    key: Hashable,
    weights: Weights,
    coefficients: Coefficients,
    dtype: torch.dtype,
) -> Operator:
    """Return the operator under a key, formed in the stencil's own precision and cast once."""

    def build() -> Operator:
        if not stencil.parts:
            return _formed(stencil, _tiling(stencil), weights, coefficients, dtype)
        parts = [_made(part, key, weights, coefficients, dtype) for part in stencil.parts]
        whole = _joint(stencil)
        return Operator(joint_blocks(whole, [part.block for part in parts]), whole.index)

    return kept_with(stencil, key, build)


def _tiling(stencil: Stencil) -> Tiling:
    return kept_with(stencil, "tiling", lambda: tiling(stencil))


def _joint(stencil: Stencil) -> Joint:
    tilings, sources = [_tiling(part) for part in stencil.parts], [part.n_source for part in stencil.parts]
    return kept_with(stencil, "joint", lambda: joint(tilings, sources))


def kept_with(stencil: Stencil, key: Hashable, build: Callable[[], T]) -> T:
    """Return what is kept with the stencil under a key, and build it if nothing is."""
    now, then = changes(stencil), _changes.get(stencil)
    if now != then:
        _changes[stencil] = now
        if then:
            # shifts were those of the entries before
            object.__setattr__(stencil, "shifts", None)
            stencil.operators.clear()
    value = stencil.operators.get(key)
    if value is None:
        with lasting():
            value = build()
            kept.keep(stencil, key, value)
    return value


def _formed(
    stencil: Stencil, t: Tiling, weights: Weights, coefficients: Coefficients, dtype: torch.dtype
) -> Operator:
    """Sum the coefficients of each cell's entries, and arrange the cells."""
    blocks = []
    for member, k, tiles in zip(t.index.member, t.index.k, t.tile, strict=True):
        u, own, start = member.shape[1], [], 0
        for some in tiles.split(max(1, int(CHUNK / (k * u * max(1.0, t.share))))):
            chunk, n = _summed(stencil, t, some, k, u, weights, coefficients), len(some)
            for s, c in enumerate(chunk):
                rows, d, _ = c.shape
                if start == 0:
                    own.append(c.new_empty(len(tiles), k, rows, u, d, dtype=dtype))
                own[s][start : start + n] = c.view(rows, d, n, k, u).permute(2, 3, 0, 4, 1)
            start += n
        for a, is_complex in zip(own, coefficients.is_complex, strict=True):
            a = torch.view_as_complex(a) if is_complex else a
            blocks.append(a.view(len(tiles), a.shape[1] * a.shape[2], -1))
    return Operator(blocks, t.index)


def _summed(
    stencil: Stencil,
    t: Tiling,
    tile: Tensor,
    k: int,
    u: int,
    weights: Weights,
    coefficients: Coefficients,
) -> list[Tensor]:
    """Return the sums over the entries of each cell of some tiles, [rows, components, cells], per source
    irrep.
    """
    row = (tile[:, None] * k + torch.arange(k, device=tile.device)).flatten()
    # the last of all tiles may be short
    rows = stencil.rows(run_of(row[row < stencil.n_rows]))
    of = tile[rows.row // k]
    slot = torch.searchsorted(t.key, of * stencil.n_source + rows.source) - t.key_ptr[of]
    cell = rows.row * u + slot
    entries = Entries(rows.r / stencil.radius, rows.theta, weights(rows), rows.angle, rows.flip)
    return [c.new_zeros(*c.shape[:2], len(row) * u).index_add_(2, cell, c) for c in coefficients.of(entries)]
