"""Whole networks; they take (x, hierarchy) and know nothing else of the geometry."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn

from geocnn.errors import FieldTypeError, GeometryError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.groups.field_type import FieldType
from geocnn.groups.radial import RadialBasis
from geocnn.nn.blocks import BlockKind, ConvBlock, make_block, shortcut
from geocnn.nn.dropout import FieldDropout, probability
from geocnn.nn.linear import FieldLinear
from geocnn.nn.nonlinearity import Act, Gated, make_act
from geocnn.nn.norm import FieldNorm, Norm, make_norm
from geocnn.nn.pool import Pool
from geocnn.nn.readout import Readout, ReadoutKind
from geocnn.wording import counted


class SurfaceEncoder(nn.Module):
    """One answer per surface: residual blocks on each level of a hierarchy, an invariant readout of all
    levels weighted by area, a linear head.

    x [..., N, D], hierarchy -> [..., surfaces, n_out]. `widths[i]` is the feature type of level i, which has
    `convs[i]` convolving blocks (1 by default); the finest also has `pointwise` ones, which look at no
    neighbour and cost matrix products alone. A strided convolution leads from each level to the next. The
    hierarchy must have at least len(widths) levels; further ones are not read.

    `radial`, `norm` and `act` are the blocks' (see `geocnn.nn.blocks`), the kind of convolving ones is
    `block`: "conv", "residual", "bottleneck" or "pointwise". A norm also takes inputs of any size, unless
    `input_norm` is False. `readout` is "mean", "mean and max" or "attention" (see `Readout`), of all levels
    or of the coarsest. With one width and convs=[0] the network is the control of another: it sees each point
    by itself.

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
        pointwise: int = 2,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act = Gated,
        block: BlockKind = "residual",
        input_norm: bool = True,
        readout: ReadoutKind = "mean",
        readout_levels: Literal["coarsest", "all"] = "all",
    ):
        super().__init__()
        self.in_type = FieldType(in_type)
        types = [FieldType(w) for w in widths]
        if not isinstance(n_out, int) or n_out < 1:
            raise FieldTypeError(f"n_out must be a whole number of at least 1, got {n_out!r}")
        if readout_levels not in ("coarsest", "all"):
            raise FieldTypeError(f"readout_levels must be 'coarsest' or 'all', got {readout_levels!r}")
        options = rings, max_frequency, radial, norm, act
        self.norm = make_norm(norm if input_norm else None, self.in_type)
        levels = _blocks_of_levels(types, convs, pointwise, block)
        self.within, self.down, ends = _downward(self.in_type, types, levels, options)
        read = ends if readout_levels == "all" else [None] * (len(ends) - 1) + ends[-1:]
        self.readout = Readout(read, readout)
        features = self.readout.n_features
        # means over a whole surface differ little from one sample to the next: the head needs them spread
        self.head = nn.Sequential(
            make_norm(norm, FieldType.of([(features, self.readout.scalar)], self.in_type.group)),
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
    """One answer per point: residual blocks at full resolution, of which the coarser levels are one more
    residual branch, and so on from each level to the next (Ronneberger et al. 2015).

    x [..., N, D], hierarchy -> [..., N, D_out]. A FieldNorm takes inputs of any size. `widths[i]` is the
    feature type of level i, which has `convs[i]` convolving blocks on the way down (1 by default) and, but
    for the coarsest, as many on the way up; the finest also has `pointwise` ones on either way. Down leads a
    strided convolution; up, interpolation with transport, mixed and added to what the way down left at each
    point. The head works point by point; `dropout` acts before its last map. The hierarchy must have at least
    len(widths) levels; further ones are not read. `radial`, `norm`, `act`, `block` and `input_norm` are those
    of SurfaceEncoder, and with one width and convs=[0] this network too is a control, which
    sees each point by itself.

    Raises FieldTypeError (types that do not fit, an output irrep that widths[0] lacks), GeometryError
    (levels, points), and what GaugeConv raises.

    >>> import torch
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
        pointwise: int = 2,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act = Gated,
        block: BlockKind = "residual",
        input_norm: bool = True,
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        types = [FieldType(w) for w in widths]
        levels = _blocks_of_levels(types, convs, pointwise, block)
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
        self.within, self.down, ends = _downward(self.in_type, types, levels, options)
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        self.skip, self.after = nn.ModuleList(), nn.ModuleList()
        for level, (left, coarser) in enumerate(zip(ends[:-1], types[1:], strict=True)):
            width, kinds = types[level], levels[level]
            upward = [*[width] * len(kinds), width if level else read]
            self.up.append(Pool(coarser))
            self.merge.append(FieldLinear(coarser, upward[0], bias=False))
            self.skip.append(shortcut(left, upward[0]))
            self.after.append(_chain(kinds, upward, options))
        finest = read if self.merge else ends[0]
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
            raised = self.merge[level](self.up[level](x, hierarchy.up[level]))
            x = self.skip[level](finer[level]) + raised
            for block in self.after[level].children():
                x = block(x, hierarchy.stencils[level], hierarchy.readings[level], areas[level])
        into_head, norm, *pointwise = self.head
        x = norm(into_head(x), areas[0])
        for layer in pointwise:
            x = layer(x)
        return x


def _blocks_of_levels(
    types: list[FieldType], convs: Sequence[int] | None, pointwise: int, block: BlockKind
) -> list[list[BlockKind]]:
    """Return the kinds of the blocks of each level, pointwise ones spread evenly behind convolving ones.

    Raises FieldTypeError unless there is one number of convolutions per width, and `pointwise` is a number.
    """
    if not types:
        raise FieldTypeError("widths is empty; give the feature type of each level")
    convs = [1] * len(types) if convs is None else convs
    if not isinstance(convs, Sequence) or len(convs) != len(types):
        raise FieldTypeError(f"convs needs one number per width, {len(types)} in all, got {convs!r}")
    if any(not isinstance(n, int) or n < 0 for n in convs):
        raise FieldTypeError(f"convs must be whole numbers of at least 0, got {list(convs)}")
    if not isinstance(pointwise, int) or pointwise < 0:
        raise FieldTypeError(f"pointwise must be a whole number of at least 0, got {pointwise!r}")
    levels: list[list[BlockKind]] = [[block for _ in range(n)] for n in convs]
    for k in reversed(range(pointwise)):
        # behind the convolution whose share it is
        levels[0].insert(convs[0] * k // pointwise + 1, "pointwise")
    return levels


def _downward(
    in_type: FieldType, types: list[FieldType], levels: list[list[BlockKind]], options: tuple[Any, ...]
) -> tuple[nn.ModuleList, nn.ModuleList, list[FieldType]]:
    """Return the blocks within levels, those from each to the next, and the type at each level's end.

    Before the first convolution only the input's irreps have features.
    """
    within, down, ends, current = nn.ModuleList(), nn.ModuleList(), [], in_type
    for level, (width, kinds) in enumerate(zip(types, levels, strict=True)):
        if set(kinds) == {"pointwise"}:
            given = [t for t in width.terms if t[1] in current.irreps]
            width = FieldType.of(given, width.group) if given else width
        within.append(_chain(kinds, [current, *[width] * len(kinds)], options))
        current = width if kinds else current
        ends.append(current)
        if level + 1 < len(types):
            down.append(ConvBlock(current, types[level + 1], *options))
            current = types[level + 1]
    return within, down, ends


def _chain(kinds: list[BlockKind], types: list[FieldType], options: tuple[Any, ...]) -> nn.ModuleList:
    """Chain blocks, one of each kind from a type to the next."""
    pairs = zip(kinds, pairwise(types), strict=True)
    return nn.ModuleList(make_block(kind, a, b, *options) for kind, (a, b) in pairs)


def _check(x: Tensor, in_type: FieldType, hierarchy: Hierarchy, n_levels: int) -> None:
    """Raise FieldTypeError unless x is a field of that type, and GeometryError unless the hierarchy has
    that many levels, and its finest as many points as x.
    """
    if not isinstance(hierarchy, Hierarchy):
        raise GeometryError(
            f"a network takes a Hierarchy, got a {type(hierarchy).__name__}; make one by surface.hierarchy()"
        )
    if hierarchy.n_levels < n_levels:
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
