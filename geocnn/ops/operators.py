"""The operator of a stencil takes the features of all source points to the moments of all target points.

Its numbers (`ops.coefficients`) are summed over the entries that join the same target and source, and
arranged in the cells of the stencil's tiling (`ops.tiles`), as `ops.blocks` multiplies with them. The tiling
and the operators of all layer kinds are made once and kept with the stencil (`ops.kept`). An operator above
OPERATOR_BYTES is formed anew at every call, one range of targets after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import irrep_dim
from geocnn.lasting import lasting
from geocnn.ops.coefficients import Entries, carried_coefficients, entries_of, moment_coefficients
from geocnn.ops.kept import keep
from geocnn.ops.moments import MomentBasis
from geocnn.ops.tiles import Cells, Tiling, tiling

OPERATOR_BYTES = 2**30
"""An operator above this size is formed in ranges of targets at every call, and not kept."""

RANGE_BYTES = {"cpu": 2**26, "cuda": 2**28}
"""The size of such a range: each costs some 20 calls, and a CPU uses its memory again for the next."""

CHUNK = 2**16
"""So many entries are evaluated together: their numbers stay in a core's cache."""

Coefficients = Callable[[Entries], list[Tensor]]
T = TypeVar("T")


class Operator(NamedTuple):
    """A stencil's operator as plain tensors: those of `Tiling`, and a block per class and source irrep.

    The blocks of a class [tiles, k · rows, U · components] follow those of the class before.
    """

    block: list[Tensor]
    member: list[Tensor]
    slot_ptr: Tensor
    slot: Tensor
    place: Tensor | None
    count: list[int]
    k: int

    @property
    def index(self) -> tuple[list[Tensor], Tensor, Tensor, Tensor | None, list[int], int]:
        """Return what `ops.blocks` takes beside the blocks."""
        return self.member, self.slot_ptr, self.slot, self.place, self.count, self.k

    @property
    def tensors(self) -> list[Tensor]:
        """Return all tensors."""
        others = (self.slot_ptr, self.slot, *([] if self.place is None else [self.place]))
        return [*self.block, *self.member, *others]


def operator(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> Operator:
    """Return the stencil's operator, built when first asked for and kept with the stencil.

    Raises GeometryError when it is first asked for while torch.compile or torch.export traces: its shape
    depends on the stencil's entries, which a trace does not know.
    """
    return _kept(stencil, (basis, dtype), lambda: build_operator(stencil, basis, dtype))


def mean_operator(stencil: Stencil, field_type: FieldType, dtype: torch.dtype) -> Operator:
    """Return the operator of `transported_mean`, kept with the stencil as well."""

    def build() -> Operator:
        total = stencil.weight.new_zeros(stencil.n_target).index_add_(0, stencil.target, stencil.weight)
        share = stencil.weight / torch.where(total == 0, torch.ones_like(total), total)[stencil.target]
        entries = entries_of(replace(stencil, weight=share))
        return _formed(_tiling(stencil), entries, lambda e: carried_coefficients(e, field_type), dtype)

    return _kept(stencil, (field_type.group, field_type.irreps, dtype), build)


def build_operator(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> Operator:
    """Form the operator of a stencil in the stencil's own precision and cast it once."""
    return _formed(_tiling(stencil), entries_of(stencil), lambda e: moment_coefficients(e, basis), dtype)


def operator_bytes(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> int:
    """Return the size of the operator that would be allocated, without forming it."""
    numbers = sum(basis.n_rows(s) * irrep_dim(s, basis.group) for s in basis.sources)
    return _tiling(stencil).n_cells * numbers * dtype.itemsize


def ranges(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> list[Stencil] | None:
    """Return the stencil in ranges of targets if its operator is too large to keep, else None.

    The parts share the stencil's memory, and are kept, since each keeps its tiling.
    """
    size = operator_bytes(stencil, basis, dtype)
    if size <= OPERATOR_BYTES:
        return None
    n = math.ceil(size / RANGE_BYTES.get(stencil.device.type, 2**28))
    step = math.ceil(stencil.n_target / n)
    starts = range(0, stencil.n_target, step)
    return _kept(stencil, ("ranges", step), lambda: [target_range(stencil, i, i + step) for i in starts])


def target_range(stencil: Stencil, start: int, stop: int) -> Stencil:
    """Return the stencil of some successive targets, a view."""
    row_ptr = stencil.row_ptr[start : stop + 1]
    first, last = int(row_ptr[0]), int(row_ptr[-1])
    entries = {
        name: None if (t := getattr(stencil, name)) is None else t[first:last]
        for name in ("source", "r", "theta", "weight", "angle", "flip")
    }
    return replace(stencil, row_ptr=row_ptr - first, **entries)


def _tiling(stencil: Stencil) -> Tiling:
    return _kept(stencil, "tiling", lambda: tiling(stencil))


def _kept(stencil: Stencil, key: Hashable, build: Callable[[], T]) -> T:
    if key not in stencil.operators:
        if torch.compiler.is_compiling():
            raise GeometryError(
                "this stencil's operator is not built yet: run the layer once on it, then compile or export"
            )
        with lasting():
            keep(stencil, key, build())
    return stencil.operators[key]


def _formed(t: Tiling, entries: Entries, coefficients: Coefficients, dtype: torch.dtype) -> Operator:
    """Sum the coefficients of each cell's entries, and arrange the cells."""
    blocks = []
    for member, cells in zip(t.member, t.cells, strict=True):
        (tiles, u), own = member.shape, []
        step = max(1, CHUNK // (t.k * u))
        for start in range(0, tiles, step):
            n = min(step, tiles - start)
            chunk = _summed(cells, start * t.k * u, (start + n) * t.k * u, entries, coefficients)
            for s, c in enumerate(chunk):
                rows, d, _ = c.shape
                if start == 0:
                    own.append(c.new_empty(tiles, t.k, rows, u, d, dtype=dtype))
                own[s][start : start + n] = c.view(rows, d, n, t.k, u).permute(2, 3, 0, 4, 1)
        blocks += [a.view(tiles, a.shape[1] * a.shape[2], -1) for a in own]
    return Operator(blocks, t.member, t.slot_ptr, t.slot, t.place, t.count, t.k)


def _summed(
    cells: Cells, start: int, stop: int, entries: Entries, coefficients: Coefficients
) -> list[Tensor]:
    """Return the sums over the entries of each of some cells, [rows, components, cells], per source irrep."""
    if cells.ptr is None:
        return coefficients(entries.take(cells.entry[start:stop]))
    ptr = cells.ptr[start : stop + 1]
    entry = cells.entry[int(ptr[0]) : int(ptr[-1])]
    cell = torch.repeat_interleave(ptr.diff())
    return [
        c.new_zeros(*c.shape[:2], stop - start).scatter_add_(2, cell.expand_as(c), c)
        for c in coefficients(entries.take(entry))
    ]
