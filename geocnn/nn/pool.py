"""Pooling and unpooling with transport, and the invariant readout."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn.errors import GeometryError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.quadrature import weighted_sums
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.ops.gather import check_input, mean, single_under_autocast
from geocnn.ops.plan import mean_plan


class Pool(nn.Module):
    """Take the weighted mean over each target's entries, after parallel transport of values to the target.

        x [..., n_source, D], stencil  ->  [..., n_target, D]

    h.down[i] leads down a hierarchy, h.up[i] up. A parallel field does not change; targets without entries
    get 0.

    Raises:
        FieldTypeError: another feature dimension.
        GeometryError: another number of points.
        GroupError: the stencil's transporters are not in the type's group.

    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(4).hierarchy(levels=2)
    >>> pool = Pool("2x0 + 1x1"); pool(torch.randn(192, 4), h.down[0]).shape
    torch.Size([48, 4])
    """

    def __init__(self, field_type: FieldType | str):
        super().__init__()
        self.in_type = self.out_type = FieldType(field_type)
        self._plan = mean_plan(self.in_type)

    def forward(
        self, x: Float[Tensor, "*batch n_source d"], stencil: Stencil
    ) -> Float[Tensor, "*batch n_target d"]:
        check_input(x, stencil, self.in_type)
        y = mean(x.reshape(-1, *x.shape[-2:]), stencil, self._plan)
        return y.reshape(*x.shape[:-2], stencil.n_target, self.in_type.dim)

    def extra_repr(self) -> str:
        return str(self.in_type)


def surface_mean(
    x: Float[Tensor, "*batch n c"], hierarchy: Hierarchy, level: int
) -> Float[Tensor, "*batch surfaces c"]:
    """Return the means over each surface of a batch, weighted by area, of a field x at a level.

    Only invariant channels have a mean that does not depend on frames. Under autocast, means of values in
    half precision are float32. Raises GeometryError unless x has the level's number of points.

    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(2).hierarchy(levels=1); surface_mean(torch.ones(48, 3), h, 0).round()
    tensor([[1., 1., 1.]])
    """
    areas, ptr = hierarchy.areas[level], hierarchy.ptr[level]
    if x.shape[-2] != areas.shape[0]:
        raise GeometryError(
            f"level {level} has {areas.shape[0]} points, x has {x.shape[-2]}; give the field of that level"
        )
    x = single_under_autocast(x)
    total = weighted_sums(torch.ones_like(areas)[:, None], areas, ptr)
    return (weighted_sums(x, areas, ptr) / total).to(x.dtype)
