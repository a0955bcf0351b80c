"""Whole networks; they take (x, hierarchy) and know nothing else of the geometry."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from geocnn.errors import FieldTypeError, GeometryError
from geocnn.geometry.hierarchy import Hierarchy
from geocnn.groups.field_type import FieldType, Irrep
from geocnn.nn.blocks import ConvBlock
from geocnn.nn.norm import FieldNorm
from geocnn.nn.pool import surface_mean


class SurfaceEncoder(nn.Module):
    """One answer a surface: strided gauge convolutions down a hierarchy, an invariant readout weighted by
    area, a linear head.

    x [..., N, D], hierarchy -> [..., surfaces, n_out]. `widths[i]` is the feature type after the i-th step:
    `convs[i]` convolutions within level i (none at the finest by default, where points are many), then one
    down to level i+1; the last width belongs to the coarsest level. The hierarchy must have len(widths)
    levels.

    Raises FieldTypeError (types that do not fit, no invariant to read out), GeometryError (levels, points),
    and what GaugeConv raises.

    >>> import torch
    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(8).hierarchy(levels=3)
    >>> model = SurfaceEncoder("1x0", ["4x0 + 4x1", "8x0 + 8x1", "8x0 + 8x1"], n_out=10)
    >>> model(torch.randn(2, 768, 1), h).shape
    torch.Size([2, 1, 10])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        widths: Sequence[FieldType | str],
        n_out: int,
        convs: Sequence[int] | None = None,
        rings: int = 3,
        max_frequency: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.in_type = FieldType(in_type)
        types = [FieldType(w) for w in widths]
        convs = [0] + [1] * (len(types) - 1) if convs is None else list(convs)
        if len(convs) != len(types):
            raise FieldTypeError(f"convs needs one number a width: {len(types)}, got {len(convs)}")
        self.within, self.down = nn.ModuleList(), nn.ModuleList()
        current = self.in_type
        for level, (width, n) in enumerate(zip(types, convs, strict=True)):
            blocks = nn.ModuleList()
            for _ in range(n):
                blocks.append(ConvBlock(current, width, rings, max_frequency))
                current = width
            self.within.append(blocks)
            if level + 1 < len(types):
                self.down.append(ConvBlock(current, width, rings, max_frequency))
                current = width
        scalar = Irrep(0, "e" if current.group.flips else "")
        features = current.multiplicity(scalar)
        if features == 0:
            raise FieldTypeError(
                f"the last width {current} has no invariant channel to read out; add some of {scalar}"
            )
        self.last_type, self.scalar = current, scalar
        # means over a whole surface differ little from one sample to the next: the head needs them spread
        self.head = nn.Sequential(
            FieldNorm(FieldType.of([(features, scalar)], current.group)),
            nn.Linear(features, 2 * features),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * features, n_out),
        )

    def forward(self, x: Tensor, hierarchy: Hierarchy) -> Tensor:
        if hierarchy.n_levels != len(self.within):
            n = len(self.within)
            raise GeometryError(
                f"this network has {n} levels, the hierarchy {hierarchy.n_levels}; build it with levels={n}"
            )
        for level, blocks in enumerate(self.within):
            for block in blocks.children():
                x = block(x, hierarchy.stencils[level])
            if level < len(self.down):
                x = self.down[level](x, hierarchy.down[level])
        invariant = self.last_type.select(x, self.scalar).flatten(-2)
        return self.head(surface_mean(invariant, hierarchy, hierarchy.n_levels - 1))
