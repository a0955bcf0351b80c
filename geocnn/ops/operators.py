"""The operator of a stencil: made once per layer kind, kept with the stencil, bounded in size.

An operator takes the features of all source points to the moments of all target points. Its entries are

    w_e R_ring(r_e/R) · angular kernel(θ_e) · rho(g_e)

(`entry_coefficients`), summed over the entries e that join the same target and source, and arranged in tiles
of neighbouring targets (`Blocks`), which `ops.blocks` multiplies with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, irrep_dim, rho
from geocnn.lasting import lasting
from geocnn.ops.moments import MomentBasis, angular_kernel

# An operator above this size is built in pieces at every call, and not kept.
OPERATOR_BYTES = 2**30
# Such a piece: on a CPU, memory that is used again and again rather than fetched anew (measured 2.5 times
# faster than pieces of 2**30, and a third of the memory); a GPU wants enough work for one launch.
RANGE_BYTES = {"cpu": 2**24, "cuda": 2**28}
# A tile of more targets saves launches and loads, but multiplies more zeros; 1.5 to 2 measured alike on two
# CPU cores.
TILE_GROWTH = 1.75


class Blocks(NamedTuple):
    """A stencil's operator as plain tensors.

    member [tiles, U]: the sources of each tile (padding repeats one of them with coefficient 0); block: a
    tensor [tiles, k · rows, U · components] for each source irrep, k = ⌈N' / tiles⌉ for N' targets;
    slot_ptr [N+1], slot [tiles · U] int32: where each source occurs, the transpose of `member`.
    """

    member: Tensor
    slot_ptr: Tensor
    slot: Tensor
    block: list[Tensor]
    n_target: int

    @property
    def index(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.member, self.slot_ptr, self.slot


def operator(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> Blocks:
    """Return the stencil's operator, built when first asked for and kept with the stencil.

    Raises GeometryError when it is first asked for while torch.compile or torch.export traces: its shape
    depends on the stencil's entries, which a trace does not know.
    """
    return _kept(stencil, (basis, dtype), lambda: build_operator(stencil, basis, dtype))


def mean_operator(stencil: Stencil, field_type: FieldType, dtype: torch.dtype) -> Blocks:
    """Return the operator of `transported_mean`, kept with the stencil as well."""
    group = field_type.group

    def build() -> Blocks:
        total = stencil.weight.new_zeros(stencil.n_target).index_add_(0, stencil.target, stencil.weight)
        share = stencil.weight / torch.where(total == 0, torch.ones_like(total), total)[stencil.target]
        carried = (
            rho(i, group, stencil.angle, stencil.flip) * share[:, None, None] for i in field_type.irreps
        )
        return _assembled(stencil, carried, dtype)

    return _kept(stencil, (group, field_type.irreps, dtype), build)


def _kept(stencil: Stencil, key: Hashable, build: Callable[[], Blocks]) -> Blocks:
    if key not in stencil.operators:
        if torch.compiler.is_compiling():
            raise GeometryError(
                "this stencil's operator is not built yet: run the layer once on it, then compile or export"
            )
        with lasting():
            stencil.operators[key] = build()
    return stencil.operators[key]


def range_count(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> int:
    """Return the number of ranges of targets in which the operator is formed: one up to OPERATOR_BYTES, above
    that ranges of RANGE_BYTES each.
    """
    row_bytes = sum(basis.n_rows(s) * irrep_dim(s, basis.group) for s in basis.sources) * dtype.itemsize
    size = stencil.n_entries * row_bytes
    return 1 if size <= OPERATOR_BYTES else math.ceil(size / RANGE_BYTES.get(stencil.device.type, 2**28))


def target_range(stencil: Stencil, start: int, stop: int) -> Stencil:
    row_ptr = stencil.row_ptr[start : stop + 1]
    first, last = int(row_ptr[0]), int(row_ptr[-1])
    entries = {
        name: None if (t := getattr(stencil, name)) is None else t[first:last]
        for name in ("source", "r", "theta", "weight", "angle", "flip")
    }
    return replace(stencil, row_ptr=row_ptr - first, **entries)


def build_operator(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> Blocks:
    """Form the operator of a stencil in the stencil's own precision and cast it once."""
    return _assembled(stencil, (entry_coefficients(stencil, basis, s) for s in basis.sources), dtype)


def entry_coefficients(stencil: Stencil, basis: MomentBasis, source: Irrep) -> Tensor:
    """Return w R_ring(r/R) · angular kernel · transporter, [E, rows, source components].

    The rows are those of `MomentBasis.runs`.
    """
    transporter = rho(source, basis.group, stencil.angle, stencil.flip)
    t = stencil.r / stencil.radius
    rows = []
    for target, _, _, _ in basis.runs(source):
        kernels = []
        for m in basis.of(source, target):
            angular = angular_kernel(m, basis.group, stencil.theta) @ transporter
            kernels.append(torch.einsum("er,eij->eirj", basis.radial(t, m.frequency), angular))
        rows.append(torch.stack(kernels, 2).flatten(1, 3))
    return torch.cat(rows, 1) * stencil.weight[:, None, None]


def _assembled(stencil: Stencil, coefficients: Iterable[Tensor], dtype: torch.dtype) -> Blocks:
    """Sum coefficients [E, rows, components] of equal (target, source) pairs, per source irrep."""
    key, entry = torch.unique(stencil.target * stencil.n_source + stencil.source, return_inverse=True)
    target = key // stencil.n_source
    k, slot_of, member = _tiles(key, stencil.n_target, stencil.n_source)
    tiles, u = member.shape
    blocks = []
    for coefficient in coefficients:
        _, rows, d = coefficient.shape
        summed = coefficient.new_zeros(len(key), rows, d).index_add_(0, entry, coefficient).to(dtype)
        block = summed.new_zeros(tiles, k, rows, u, d)
        block[target // k, target % k, :, slot_of] = summed
        blocks.append(block.view(tiles, k * rows, u * d))
    counts = torch.bincount(member.flatten(), minlength=stencil.n_source)
    slot_ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    order = torch.argsort(member.flatten(), stable=True)
    return Blocks(member, slot_ptr.to(torch.int32), order.to(torch.int32), blocks, stencil.n_target)


def _tiles(pair: Tensor, n_target: int, n_source: int) -> tuple[int, Tensor, Tensor]:
    """Return k, the targets per tile, the slot of each (target, source) pair in its tile, and the sources of
    each tile [tiles, U].

    k is the largest of 1, 2, 4, 8 whose tiles have at most TILE_GROWTH times the sources of a single target,
    made smaller where fewer targets per tile make as few tiles: `ops.blocks` knows k by ⌈n_target / tiles⌉.
    """
    alone, chosen = 0, (1, pair, pair)
    for most in (1, 2, 4, 8):
        k = math.ceil(n_target / math.ceil(n_target / most))
        tiles = math.ceil(n_target / k)
        key, slot_of = torch.unique(pair // n_source // k * n_source + pair % n_source, return_inverse=True)
        tile, source = key // n_source, key % n_source
        counts = torch.bincount(tile, minlength=tiles)
        u = max(1, int(counts.max()))
        if k > 1 and u > TILE_GROWTH * alone:
            break
        alone = alone or u
        rank = torch.arange(len(key), device=key.device) - (counts.cumsum(0) - counts)[tile]
        # padding repeats a source of the tile itself, so that nothing from elsewhere, a NaN say, can enter
        first = torch.zeros_like(counts)
        first[tile[rank == 0]] = source[rank == 0]
        member = first[:, None].repeat(1, u)
        member[tile, rank] = source
        chosen = k, rank[slot_of], member
    return chosen
