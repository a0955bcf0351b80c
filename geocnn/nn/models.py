"""Whole networks; they take (x, hierarchy) and know nothing else of the geometry."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError, GeometryError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.groups.field_type import FieldType
from geocnn.groups.radial import RadialBasis
from geocnn.nn.blocks import BlockKind, ConvBlock, make_block
from geocnn.nn.dropout import FieldDropout, probability
from geocnn.nn.linear import FieldLinear
from geocnn.nn.nonlinearity import Act, Gated, make_act
from geocnn.nn.norm import FieldNorm, Norm, make_norm
from geocnn.nn.pool import Pool
from geocnn.nn.readout import Readout, ReadoutKind
from geocnn.wording import counted


class SurfaceEncoder(nn.Module):
    """One answer per surface: strided gauge convolutions down a hierarchy, an invariant readout weighted by
    area, a linear head.

    x [..., N, D], hierarchy -> [..., surfaces, n_out]. `widths[i]` is the feature type after the i-th step:
    `convs[i]` convolutions within level i (none at the finest by default, where points are many), then one
    down to level i+1; the last width belongs to the coarsest level. The hierarchy must have len(widths)
    levels.

    `radial`, `norm` and `act` are the blocks' (see `geocnn.nn.blocks`), whose kind within levels is `block`:
    "conv", "residual", "bottleneck" or "pointwise". A norm also takes inputs of any size, unless `input_norm`
    is False. `readout` is "mean", "mean and max" or "attention" (see `Readout`), of the coarsest level or of
    all.

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
        rings: int | None = None,
        max_frequency: int | None = None,
        dropout: float = 0.0,
        *,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act = Gated,
        block: BlockKind = "conv",
        input_norm: bool = True,
        readout: ReadoutKind = "mean",
        readout_levels: Literal["coarsest", "all"] = "coarsest",
    ):
        super().__init__()
        self.in_type = FieldType(in_type)
        types = [FieldType(w) for w in widths]
        if not isinstance(n_out, int) or n_out < 1:
            raise FieldTypeError(f"n_out must be a whole number of at least 1, got {n_out!r}")
        convs = _one_a_width([0] + [1] * (len(types) - 1) if convs is None else convs, types)
        options = rings, max_frequency, radial, norm, act
        self.norm = make_norm(norm if input_norm else None, self.in_type)
        self.within, self.down = nn.ModuleList(), nn.ModuleList()
        current, ends = self.in_type, []
        for level, (width, n) in enumerate(zip(types, convs, strict=True)):
            self.within.append(_chain(block, [current, *[width] * n], *options))
            current = width if n else current
            ends.append(current)
            if level + 1 < len(types):
                self.down.append(ConvBlock(current, width, *options))
                current = width
        if readout_levels not in ("coarsest", "all"):
            raise FieldTypeError(f"readout_levels must be 'coarsest' or 'all', got {readout_levels!r}")
        read = ends if readout_levels == "all" else [None] * (len(ends) - 1) + ends[-1:]
        self.readout = Readout(read, readout)
        features = self.readout.n_features
        # means over a whole surface differ little from one sample to the next: the head needs them spread
        self.head = nn.Sequential(
            make_norm(norm, FieldType.of([(features, self.readout.scalar)], current.group)),
            nn.Linear(features, 2 * features),
            nn.SiLU(),
            nn.Dropout(probability(dropout)),
            nn.Linear(2 * features, n_out),
        )

    def forward(self, x: Tensor, hierarchy: Hierarchy) -> Tensor:
        _check(x, self.in_type, hierarchy, len(self.within))
        x = self.norm(x, hierarchy.areas[0])
        levels = _descend(x, hierarchy, self.within, self.down)
        return self.head(self.readout(levels, hierarchy))


class SurfaceUNet(nn.Module):
    """One answer per point: residual gauge convolutions down a hierarchy and up again
    (Ronneberger et al. 2015).

    x [..., N, D], hierarchy -> [..., N, D_out]. A FieldNorm takes inputs of any size. `widths[i]` is the
    feature type of level i, which has `convs[i]` residual blocks on the way down and, but for the coarsest,
    as many on the way up (1 by default). Down leads a strided convolution; up, interpolation with transport,
    mixed at each point with what the way down left there. The head works point by point; `dropout` acts
    before its last map. The hierarchy must have len(widths) levels. `radial`, `norm`, `act`, `block` and
    `input_norm` are those of SurfaceEncoder.

    Raises FieldTypeError (types that do not fit, an output irrep that widths[0] lacks), GeometryError
    (levels, points), and what GaugeConv raises.

    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(8).hierarchy(levels=3)
    >>> model = SurfaceUNet("1x0", ["4x0 + 4x1", "8x0 + 8x1", "8x0 + 8x1"], "5x0")
    >>> model(torch.randn(2, 768, 1), h).shape
    torch.Size([2, 768, 5])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        widths: Sequence[FieldType | str],
        out_type: FieldType | str,
        convs: Sequence[int] | None = None,
        rings: int | None = None,
        max_frequency: int | None = None,
        dropout: float = 0.0,
        *,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act = Gated,
        block: BlockKind = "residual",
        input_norm: bool = True,
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        types = [FieldType(w) for w in widths]
        convs = _one_a_width([1] * len(types) if convs is None else convs, types)
        lacking = [str(i) for i in self.out_type.irreps if i not in types[0].irreps]
        if lacking:
            raise FieldTypeError(
                f"the output {self.out_type} has irreps {', '.join(lacking)}, which the finest width "
                f"{types[0]} lacks; add them there"
            )
        # unlike irreps do not mix in the head, so the last block need not make those the output lacks
        read = FieldType.of([t for t in types[0].terms if t[1] in self.out_type.irreps], types[0].group)
        options = rings, max_frequency, radial, norm, act
        self.norm = make_norm(norm if input_norm else None, self.in_type)
        self.within, self.down = nn.ModuleList(), nn.ModuleList()
        self.up, self.merge, self.after = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        current = self.in_type
        for level, (width, n) in enumerate(zip(types, convs, strict=True)):
            self.within.append(_chain(block, [current, *[width] * n], *options))
            current = width if n else current
            if level + 1 < len(types):
                coarser = types[level + 1]
                self.down.append(ConvBlock(current, coarser, *options))
                upward = [*[width] * n, width if level else read]
                self.up.append(Pool(coarser))
                self.merge.append(FieldLinear(coarser + current, upward[0], bias=False))
                self.after.append(_chain(block, upward, *options))
                current = coarser
        finest = read if self.merge else current
        gated = make_act(act, finest)
        self.head = nn.Sequential(
            FieldLinear(finest, gated.in_type, bias=norm is None),
            make_norm(norm, gated.in_type),
            gated,
            FieldDropout(finest, dropout),
            FieldLinear(finest, self.out_type),
        )

    def forward(self, x: Tensor, hierarchy: Hierarchy) -> Tensor:
        _check(x, self.in_type, hierarchy, len(self.within))
        areas = hierarchy.areas
        *finer, x = _descend(self.norm(x, areas[0]), hierarchy, self.within, self.down)
        for level in reversed(range(len(finer))):
            raised = self.up[level](x, hierarchy.up[level])
            x = self.merge[level](torch.cat([raised, finer[level]], -1))
            for block in self.after[level].children():
                x = block(x, hierarchy.stencils[level], hierarchy.readings[level], areas[level])
        into_head, norm, *pointwise = self.head
        x = norm(into_head(x), areas[0])
        for layer in pointwise:
            x = layer(x)
        return x


def _one_a_width(convs: Sequence[int], widths: list[FieldType]) -> list[int]:
    """Return the convolutions of each level. Raises FieldTypeError unless there is one number per width."""
    if not widths:
        raise FieldTypeError("widths is empty; give the feature type of each level")
    if not isinstance(convs, Sequence) or len(convs) != len(widths):
        raise FieldTypeError(f"convs needs one number per width, {len(widths)} in all, got {convs!r}")
    if any(not isinstance(n, int) or n < 0 for n in convs):
        raise FieldTypeError(f"convs must be whole numbers of at least 0, got {list(convs)}")
    return list(convs)


def _chain(kind: BlockKind, types: list[FieldType], *options: Any) -> nn.ModuleList:
    """Chain blocks, one from each type to the next."""
    return nn.ModuleList(make_block(kind, a, b, *options) for a, b in pairwise(types))


def _check(x: Tensor, in_type: FieldType, hierarchy: Hierarchy, n_levels: int) -> None:
    """Raise FieldTypeError unless x is a field of that type, and GeometryError unless the hierarchy has as
    many levels, and its finest as many points as x.
    """
    if not isinstance(hierarchy, Hierarchy):
        raise GeometryError(
            f"a network takes a Hierarchy, got a {type(hierarchy).__name__}; make one by surface.hierarchy()"
        )
    if hierarchy.n_levels != n_levels:
        raise GeometryError(
            f"this network has {counted(n_levels, 'level')}, the hierarchy {hierarchy.n_levels}; "
            f"build it with levels={n_levels}"
        )
    n = hierarchy.areas[0].shape[0]
    in_type.check(x)
    if x.shape[-2] != n:
        raise GeometryError(
            f"the hierarchy leads from {counted(n, 'point')}, x has {x.shape[-2]}; "
            "give x as [..., points, channels]"
        )


def _descend(x: Tensor, hierarchy: Hierarchy, within: nn.ModuleList, down: nn.ModuleList) -> list[Tensor]:
    """Return the features of each level on the way down: blocks within it, then one to the next."""
    levels = []
    for level, blocks in enumerate(within):
        for block in blocks.children():
            x = block(x, hierarchy.stencils[level], hierarchy.readings[level], hierarchy.areas[level])
        levels.append(x)
        if level < len(down):
            x = down[level](x, hierarchy.down[level], areas=hierarchy.areas[level + 1])
    return levels
