"""The convolution over a stencil in its fast form: operator times features, then the layer's weights.

    M[p, ring, ℓ, c] = Σ_e w_e R_ring(r_e/R) e^{iℓθ_e} rho(g_e) x[source_e, c]

Each moment M is itself a feature of one irrep (`groups.steerable`), so a layer only mixes moments of equal
irrep. `ops.operators` makes the operator that takes x to M, `ops.blocks` multiplies. No tensor of size
[entries, channels] exists. `nn.gauge_conv.gather_reference` is the same map, written as the formula reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geocnn.errors import GeometryError, GroupError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.groups.field_type import FieldType
from geocnn.ops.moments import Mix
from geocnn.ops.plan import GatherPlan, mean_plan
from geocnn.ops.product import Product
from geocnn.wording import counted


def gather(x: Tensor, stencil: Stencil, plan: GatherPlan, mix: Mix) -> Tensor:
    """Gather the moments of x [B, n_source, D] and mix them: [B, n_target, D'].

    `mix` holds for each target irrep and source irrep the weights its moments are mixed by (see
    `GaugeConv.mix`).
    """
    x = single_under_autocast(x)
    return Product(stencil, plan)(x, [w.to(x.dtype) for w in plan.weights(mix)])


def transported_mean(x: Tensor, stencil: Stencil, field_type: FieldType) -> Tensor:
    """Return Σ_e w_e rho(g_e) x[source_e] / Σ_e w_e for x [B, n_source, D], as [B, n_target, D]; rows without
    entries give 0.
    """
    return mean(x, stencil, mean_plan(field_type))


def mean(x: Tensor, stencil: Stencil, plan: GatherPlan) -> Tensor:
    """Return the `transported_mean` of a plan."""
    x = single_under_autocast(x)
    widths = [plan.source.multiplicity(irrep) for irrep in plan.sources]
    return Product(stencil, plan)(x, [torch.eye(n, dtype=x.dtype, device=x.device)[None] for n in widths])


def check_input(x: Tensor, stencil: Stencil | None, source: FieldType) -> Stencil:
    """Return the stencil; raise FieldTypeError, GeometryError or GroupError unless it can gather from
    x [..., n_source, D].
    """
    if not isinstance(stencil, Stencil):
        raise GeometryError(_instead_of_a_stencil(stencil))
    source.check(x)
    if x.shape[-2] != stencil.n_source:
        raise GeometryError(
            f"the stencil gathers from {counted(stencil.n_source, 'point')}, x has {x.shape[-2]} (shape "
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


def at_least_single(x: Tensor) -> tuple[Tensor, torch.dtype]:
    """Return x in float32 or better, and the dtype of results: that of x, but under autocast float32."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return wide, wide.dtype if torch.is_autocast_enabled(x.device.type) else x.dtype
