"""Moments of a field over a stencil, the one hot loop.

    M[p, ring, ℓ, c] = Σ_e w_e R_ring(r_e/R) e^{iℓθ_e} rho(g_e) x[source_e, c]

Each moment is itself a feature of one irrep (`groups.steerable`), so a layer only mixes moments of equal
irrep. Entries of one target that share a source are summed when the operator is built; `ops.blocks`
multiplies with it. Nothing of size [entries, channels] exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from geocnn.errors import GeometryError, GroupError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, has_complex_structure, irrep_dim, rho
from geocnn.groups.planar import Group
from geocnn.groups.steerable import Moment, moments_between, radial_basis
from geocnn.lasting import lasting
from geocnn.ops.blocks import Blocks, convolve

Mix = Mapping[tuple[Irrep, Irrep], Tensor]

# An operator above this size is built in pieces at every call, and not kept.
OPERATOR_BYTES = 2**30
# Such a piece: on a CPU, memory that is used again and again rather than fetched anew (measured 2.5 times
# faster than pieces of 2**30, and a third of the memory); a GPU wants enough work for one launch.
RANGE_BYTES = {"cpu": 2**24, "cuda": 2**28}
# A tile of more targets saves launches and loads, but multiplies more zeros; 1.5 to 2 measured alike on two
# CPU cores.
TILE_GROWTH = 1.75


@dataclass(frozen=True)
class MomentBasis:
    """Which moments are formed: those of `source` irreps landing in `target` irreps, each on `rings` radial
    functions.
    """

    group: Group
    moments: tuple[Moment, ...]
    rings: int

    @staticmethod
    def between(
        source: FieldType, target: FieldType, rings: int, max_frequency: int | None = None
    ) -> MomentBasis:
        found = moments_between(list(source.irreps), list(target.irreps), source.group, max_frequency)
        return MomentBasis(source.group, tuple(found), rings)

    @property
    def sources(self) -> list[Irrep]:
        return list(dict.fromkeys(m.source for m in self.moments))

    @property
    def max_frequency(self) -> int:
        return max([0, *(abs(m.frequency) for m in self.moments)])

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


def gather(
    x: Tensor, stencil: Stencil, source: FieldType, target: FieldType, basis: MomentBasis, mix: Mix
) -> Tensor:
    """Moments of x [B, n_source, D], mixed: [B, n_target, D'].

    `mix` holds for each target irrep and source irrep the matrix its moments are mixed by (see
    `GaugeConv.mix`).
    """
    x = single_under_autocast(x)
    fields = [source.select(x, irrep).flatten(-2) for irrep in basis.sources]
    plan, weights, n_out = _plan(source, target, basis, mix)

    def product(o: Blocks) -> Tensor:
        return convolve(fields, weights, o.block, *o.index, o.n_target, n_out, plan)

    if (ranges := _ranges(stencil, basis, x.dtype)) == 1:
        return _ordered(product(operator(stencil, basis, x.dtype)), target)

    def part(start: int, stop: int) -> Tensor:
        with lasting():
            made = build_operator(_target_range(stencil, start, stop), basis, x.dtype)
        return product(made)

    # checkpointed: autograd would otherwise keep the operators of all ranges until the backward pass
    step = math.ceil(stencil.n_target / ranges)
    starts = range(0, stencil.n_target, step)
    parts = [checkpoint(part, i, i + step, use_reentrant=False, preserve_rng_state=False) for i in starts]
    return _ordered(torch.cat(parts, 1), target)


def check_input(x: Tensor, stencil: Stencil | None, source: FieldType) -> Stencil:
    """The stencil. Raises FieldTypeError, GeometryError or GroupError unless x [..., n_source, D] can be
    gathered over it.
    """
    if not isinstance(stencil, Stencil):
        raise GeometryError(_instead_of_a_stencil(stencil))
    source.check(x)
    if x.shape[-2] != stencil.n_source:
        raise GeometryError(
            f"the stencil gathers from {stencil.n_source} points, x has {x.shape[-2]} (shape "
            f"{list(x.shape)}); give the field on the points the stencil was built from"
        )
    if x.device != stencil.device:
        raise GeometryError(
            f"x is on {x.device}, the stencil on {stencil.device}; move it once with stencil.to(x.device)"
        )
    if not source.group.contains(stencil.group):
        raise GroupError(
            f"the stencil's transporters live in {stencil.group}, which the layer's group {source.group} "
            f"does not contain: its answer would depend on frames. Give the layer types of {stencil.group}"
        )
    return stencil


def _instead_of_a_stencil(given: object) -> str:
    said = f"a layer is called with (x, stencil) and gathers over a Stencil, got a {type(given).__name__}"
    if given is None:
        return (
            "a layer is called with (x, stencil), and no stencil was given; torch.nn.Sequential hands on x "
            "alone: call the layers one after another instead"
        )
    if isinstance(given, Surface):
        return f"{said}; of a surface give surface.stencil(radius), made once"
    if isinstance(given, Hierarchy):
        return f"{said}; of a hierarchy give one of its stencils, hierarchy.stencils[0] for the finest level"
    return f"{said}; surfaces make them: surface.stencil(radius)"


def single_under_autocast(x: Tensor) -> Tensor:
    """x in float32 where autocast made it less: operators are built in the precision of x."""
    low = x.dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(x.device.type)
    return x.float() if low else x


def _plan(
    source: FieldType, target: FieldType, basis: MomentBasis, mix: Mix
) -> tuple[list[int], list[Tensor], int]:
    """The runs of `convolve`, flattened; their weights; the number of output channels (irreps in order)."""
    start, n_out = {}, 0
    for irrep in target.irreps:
        start[irrep] = n_out
        n_out += irrep_dim(irrep, target.group) * target.multiplicity(irrep)
    plan, weights = [], []
    for i, irrep in enumerate(basis.sources):
        for landing, dim, count, row in basis.runs(irrep):
            is_complex = has_complex_structure(landing, target.group)
            plan += [i, row, dim, count, int(is_complex), start[landing], target.multiplicity(landing)]
            weights.append(mix[landing, irrep])
    return plan, weights, n_out


def _ordered(y: Tensor, target: FieldType) -> Tensor:
    """Channels grouped by irrep, brought into the type's own order."""
    if len(target.irreps) == len(target.blocks):
        return y
    parts, start = {}, 0
    for irrep in target.irreps:
        shape = irrep_dim(irrep, target.group), target.multiplicity(irrep)
        parts[irrep] = y[..., start : start + shape[0] * shape[1]].unflatten(-1, shape)
        start += shape[0] * shape[1]
    return target.join(parts)


def gather_reference(
    x: Tensor, stencil: Stencil, source: FieldType, target: FieldType, basis: MomentBasis, mix: Mix
) -> Tensor:
    """The same, entry by entry as the formula reads: slow, memory entries × moments × channels."""
    t, found = stencil.r / stencil.radius, {}
    for irrep in basis.sources:
        field = source.select(x, irrep)[:, stencil.source]
        carried = torch.einsum(
            "eij,bejc->beic", rho(irrep, basis.group, stencil.angle, stencil.flip).to(x.dtype), field
        )
        for landing, dim, _, _ in basis.runs(irrep):
            formed = []
            for m in basis.of(irrep, landing):
                kernel = (stencil.weight[:, None, None] * _angular(m, basis.group, stencil.theta)).to(x.dtype)
                radial = radial_basis(t, basis.rings, m.frequency).to(x.dtype)
                entries = torch.einsum("er,eij,bejc->beirc", radial, kernel, carried)
                total = entries.new_zeros(x.shape[0], stencil.n_target, *entries.shape[2:])
                formed.append(total.index_add(1, stencil.target, entries))
            moments = torch.stack(formed, 3).flatten(3)
            if has_complex_structure(landing, target.group):
                mixed = (moments.flatten(2) @ mix[landing, irrep]).unflatten(-1, (dim, -1))
            else:
                mixed = moments @ mix[landing, irrep]
            found[landing] = found.get(landing, 0) + mixed
    return target.join(found)


def _angular(m: Moment, group: Group, theta: Tensor) -> Tensor:
    """The angular kernel of a moment at angles [E]: matrix · rotation(ℓθ), restricted to the source's
    components.
    """
    c, s = torch.cos(m.frequency * theta), torch.sin(m.frequency * theta)
    turn = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    matrix = torch.tensor(m.matrix, dtype=theta.dtype, device=theta.device)
    return (matrix @ turn)[..., : irrep_dim(m.source, group)]


def operator(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> Blocks:
    """The stencil's operator, built when first asked for and kept with the stencil.

    Raises GeometryError when it is first asked for while torch.compile or torch.export traces: its shape
    depends on the stencil's entries, which a trace does not know.
    """
    return _kept(stencil, (basis, dtype), lambda: build_operator(stencil, basis, dtype))


def _kept(stencil: Stencil, key: Hashable, build: Callable[[], Blocks]) -> Blocks:
    if key not in stencil.operators:
        if torch.compiler.is_compiling():
            raise GeometryError(
                "this stencil's operator is not built yet: run the layer once on it, then compile or export"
            )
        with lasting():
            stencil.operators[key] = build()
    return stencil.operators[key]


def _ranges(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> int:
    """In how many ranges of targets the operator is formed: one up to OPERATOR_BYTES, else of RANGE_BYTES
    each.
    """
    row_bytes = sum(basis.n_rows(s) * irrep_dim(s, basis.group) for s in basis.sources) * dtype.itemsize
    size = stencil.n_entries * row_bytes
    return 1 if size <= OPERATOR_BYTES else math.ceil(size / RANGE_BYTES.get(stencil.device.type, 2**28))


def _target_range(stencil: Stencil, start: int, stop: int) -> Stencil:
    row_ptr = stencil.row_ptr[start : stop + 1]
    first, last = int(row_ptr[0]), int(row_ptr[-1])
    entries = {
        name: None if (t := getattr(stencil, name)) is None else t[first:last]
        for name in ("source", "r", "theta", "weight", "angle", "flip")
    }
    return replace(stencil, row_ptr=row_ptr - first, **entries)


def build_operator(stencil: Stencil, basis: MomentBasis, dtype: torch.dtype) -> Blocks:
    """The operator of a stencil, formed in the stencil's own precision and cast once."""
    return _assemble(stencil, (_coefficients(stencil, basis, s) for s in basis.sources), dtype)


def _assemble(stencil: Stencil, coefficients: Iterable[Tensor], dtype: torch.dtype) -> Blocks:
    """Blocks with coefficient [E, rows, components] at (target, source), for each source irrep; equal pairs
    are summed.
    """
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
    """Targets a tile k; the slot of each (target, source) pair within its tile; the sources [tiles, U] of
    each tile.

    k is the largest of 1, 2, 4, 8 whose tiles have at most TILE_GROWTH times the sources of a single target,
    made smaller where fewer targets a tile make as few tiles: `ops.blocks` knows k by ⌈n_target / tiles⌉.
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


def _coefficients(stencil: Stencil, basis: MomentBasis, source: Irrep) -> Tensor:
    """[E, rows, source components]: w R_ring(r/R) · angular kernel · transporter, rows as in
    `MomentBasis.runs`.
    """
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


def transported_mean(x: Tensor, stencil: Stencil, field_type: FieldType) -> Tensor:
    """Σ_e w_e rho(g_e) x[source_e] / Σ_e w_e for x [B, n_source, D], as [B, n_target, D]; rows without
    entries give 0.
    """
    x = single_under_autocast(x)
    group, key = field_type.group, (field_type.group, field_type.irreps, x.dtype)

    def build() -> Blocks:
        total = stencil.weight.new_zeros(stencil.n_target).index_add_(0, stencil.target, stencil.weight)
        share = stencil.weight / torch.where(total == 0, torch.ones_like(total), total)[stencil.target]
        carried = (
            rho(i, group, stencil.angle, stencil.flip) * share[:, None, None] for i in field_type.irreps
        )
        return _assemble(stencil, carried, x.dtype)

    operator = _kept(stencil, key, build)
    plan, weights, n_out = [], [], 0
    for i, irrep in enumerate(field_type.irreps):
        dim, copies = irrep_dim(irrep, group), field_type.multiplicity(irrep)
        plan += [i, 0, dim, 1, 0, n_out, copies]
        weights.append(torch.eye(copies, dtype=x.dtype, device=x.device))
        n_out += dim * copies
    fields = [field_type.select(x, irrep).flatten(-2) for irrep in field_type.irreps]
    y = convolve(fields, weights, operator.block, *operator.index, operator.n_target, n_out, plan)
    return _ordered(y, field_type)
