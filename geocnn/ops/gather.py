"""The convolution over a stencil in its fast form: operator times features, then the layer's weights.

    M[p, ring, ℓ, c] = Σ_e w_e R_ring(r_e/R) e^{iℓθ_e} rho(g_e) x[source_e, c]

Each moment M is itself a feature of one irrep (`groups.steerable`), so a layer only mixes moments of equal
irrep. `ops.operators` makes the operator that takes x to M, `ops.blocks` multiplies. No tensor of size
[entries, channels] exists. `nn.gauge_conv.gather_reference` is the same map, written as the formula reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding
from torch.utils.checkpoint import checkpoint

from geocnn.errors import GeometryError, GroupError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import has_complex_structure, irrep_dim
from geocnn.ops.blocks import convolve
from geocnn.ops.moments import Mix, MomentBasis
from geocnn.ops.operators import mean_operator, operator, place_of_targets, range_operator, ranges
from geocnn.ops.tiles import Range


def gather(
    x: Tensor, stencil: Stencil, source: FieldType, target: FieldType, basis: MomentBasis, mix: Mix
) -> Tensor:
    """Gather the moments of x [B, n_source, D] and mix them: [B, n_target, D'].

    `mix` holds for each target irrep and source irrep the matrix its moments are mixed by (see
    `GaugeConv.mix`).
    """
    x = single_under_autocast(x)
    fields = [source.select(x, irrep).flatten(-2) for irrep in basis.sources]
    plan, weights, n_out = _plan(source, target, basis, mix)

    if (parts := ranges(stencil, basis, x.dtype)) is None:
        o = operator(stencil, basis, x.dtype)
        return _ordered(convolve(fields, weights, o.block, *o.index, n_out, plan), target)

    def of_range(part: Range, *own: Tensor) -> Tensor:
        o = range_operator(stencil, part, basis, x.dtype)
        return convolve(list(own), weights, o.block, *o.index, n_out, plan)

    near = [_near(field, parts) for field in fields]
    # checkpointed: autograd would otherwise keep the operators of all ranges until the backward pass
    y = torch.cat(
        [
            checkpoint(of_range, part, *own, use_reentrant=False, preserve_rng_state=False)
            for part, *own in zip(parts, *near, strict=True)
        ],
        1,
    )
    order = place_of_targets(stencil)
    return _ordered(y if order is None else y.index_select(1, order), target)


def _near(field: Tensor, parts: list[Range]) -> Sequence[Tensor]:
    """Return the field [B, N, n] at the sources of each range."""
    rows = field.transpose(0, 1).flatten(1)
    # its gradient is summed in a fixed order, unlike that of an indexed tensor
    near = embedding(torch.cat([part.source for part in parts]), rows)
    near = near.view(-1, *field.transpose(0, 1).shape[1:]).transpose(0, 1)
    return near.split([len(part.source) for part in parts], 1)


def transported_mean(x: Tensor, stencil: Stencil, field_type: FieldType) -> Tensor:
    """Return Σ_e w_e rho(g_e) x[source_e] / Σ_e w_e for x [B, n_source, D], as [B, n_target, D]; rows without
    entries give 0.
    """
    x = single_under_autocast(x)
    group, ready = field_type.group, mean_operator(stencil, field_type, x.dtype)
    plan, weights, n_out = [], [], 0
    for i, irrep in enumerate(field_type.irreps):
        dim, copies = irrep_dim(irrep, group), field_type.multiplicity(irrep)
        plan += [i, 0, dim, 1, 0, n_out, copies]
        weights.append(torch.eye(copies, dtype=x.dtype, device=x.device))
        n_out += dim * copies
    fields = [field_type.select(x, irrep).flatten(-2) for irrep in field_type.irreps]
    y = convolve(fields, weights, ready.block, *ready.index, n_out, plan)
    return _ordered(y, field_type)


def _plan(
    source: FieldType, target: FieldType, basis: MomentBasis, mix: Mix
) -> tuple[list[int], list[Tensor], int]:
    """Return the runs of `convolve`, flattened, their weights, and the number of output channels."""
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
    """Bring channels that are grouped by irrep into the type's own order."""
    if len(target.irreps) == len(target.blocks):
        return y
    parts, start = {}, 0
    for irrep in target.irreps:
        shape = irrep_dim(irrep, target.group), target.multiplicity(irrep)
        parts[irrep] = y[..., start : start + shape[0] * shape[1]].unflatten(-1, shape)
        start += shape[0] * shape[1]
    return target.join(parts)


def check_input(x: Tensor, stencil: Stencil | None, source: FieldType) -> Stencil:
    """Return the stencil; raise FieldTypeError, GeometryError or GroupError unless it can gather from
    x [..., n_source, D].
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
    mistake = f"a layer is called with (x, stencil) and gathers over a Stencil, got a {type(given).__name__}"
    if given is None:
        return (
            "a layer is called with (x, stencil), and no stencil was given; torch.nn.Sequential hands on x "
            "alone: call the layers one after another instead"
        )
    if isinstance(given, Surface):
        return f"{mistake}; of a surface give surface.stencil(radius), made once"
    if isinstance(given, Hierarchy):
        return (
            f"{mistake}; of a hierarchy give one of its stencils, hierarchy.stencils[0] for the finest level"
        )
    return f"{mistake}; surfaces make them: surface.stencil(radius)"


def single_under_autocast(x: Tensor) -> Tensor:
    """x in float32 where autocast made it less: operators are built in the precision of x."""
    low = x.dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(x.device.type)
    return x.float() if low else x
