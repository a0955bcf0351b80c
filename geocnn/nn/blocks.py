"""Building blocks of the networks: convolution, norm and nonlinearity, and what stands around them.

All are called with (x, stencil, reading, areas) and take the same options: `rings`, `max_frequency` and
`radial` are the kernel's, as in GaugeConv; `norm` makes the norm of a type, None leaves it out; `act` makes
the nonlinearity that gives a type.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.groups.radial import RadialBasis
from geocnn.nn.gauge_conv import GaugeConv
from geocnn.nn.linear import FieldLinear
from geocnn.nn.nonlinearity import Act, Gated, WithLengths, make_act
from geocnn.nn.norm import FieldNorm, Norm, make_norm
from geocnn.nn.pool import Pool


class ConvBlock(nn.Module):
    """GaugeConv, norm, nonlinearity: x [..., n_source, D_in], stencil -> [..., n_target, D_out].

    With a `reading`, an interpolation from the stencil's targets to other points, the norm and the
    nonlinearity act there. `areas` [N] of the points where they act are the weights of the norm's moments;
    without them every point counts alike.

    >>> import torch
    >>> import geocnn.geometry as geometry
    >>> block = ConvBlock("1x0", "4x0 + 2x1")
    >>> block(torch.randn(192, 1), geometry.healpix(4).stencil(0.6)).shape
    torch.Size([192, 8])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        rings: int | None = None,
        max_frequency: int | None = None,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act = Gated,
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.gated = make_act(act, self.out_type)
        read = self.gated.in_type
        # a norm takes a bias away again
        self.conv = GaugeConv(in_type, read, rings, max_frequency, bias=norm is None, radial=radial)
        self.norm = make_norm(norm, read)
        self.read = Pool(read)

    def forward(
        self, x: Tensor, stencil: Stencil, reading: Stencil | None = None, areas: Tensor | None = None
    ) -> Tensor:
        x = self.conv(x, stencil)
        x = x if reading is None else self.read(x, reading)
        return self.gated(self.norm(x, areas))


class ResidualBlock(nn.Module):
    """x + mix(ConvBlock(x)) within one point set: x [..., N, D_in], stencil -> [..., N, D_out].

    Where the stencil's targets are other points a `reading` leads back, as in ConvBlock; `areas` too are as
    there. `mix` is a FieldLinear without bias. Between different types x goes through another one: irreps
    that the input lacks are then the block's alone (He et al. 2016, eq. 2).

    >>> import torch
    >>> import geocnn.geometry as geometry
    >>> block = ResidualBlock("4x0 + 1x1", "4x0 + 2x1")
    >>> block(torch.randn(192, 6), geometry.healpix(4).stencil(0.6)).shape
    torch.Size([192, 8])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        rings: int | None = None,
        max_frequency: int | None = None,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act = Gated,
    ):
        super().__init__()
        self.in_type, self.out_type = in_type, out_type = FieldType(in_type), FieldType(out_type)
        self.block = ConvBlock(in_type, out_type, rings, max_frequency, radial, norm, act)
        self.mix = FieldLinear(out_type, out_type, bias=False)
        self.shortcut = shortcut(in_type, out_type)

    def forward(
        self, x: Tensor, stencil: Stencil, reading: Stencil | None = None, areas: Tensor | None = None
    ) -> Tensor:
        y = self.mix(self.block(x, stencil, reading, areas))
        return self.shortcut(x) + y


class BottleneckBlock(nn.Module):
    """x + widen(ConvBlock(narrow(x))): the convolution acts on a share of the copies, 1/`factor` of each
    irrep's, and costs as much less (He et al. 2016, figure 5).

    Called as ResidualBlock is.

    >>> import torch
    >>> import geocnn.geometry as geometry
    >>> block = BottleneckBlock("16x0 + 8x1", "16x0 + 8x1"); print(block.block.out_type)
    4x0 + 2x1
    >>> block(torch.randn(192, 32), geometry.healpix(4).stencil(0.6)).shape
    torch.Size([192, 32])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        rings: int | None = None,
        max_frequency: int | None = None,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act = Gated,
        factor: int = 4,
    ):
        super().__init__()
        if not isinstance(factor, int) or factor < 1:
            raise FieldTypeError(f"a bottleneck's factor is a whole number from 1 on, got {factor!r}")
        self.in_type, self.out_type = in_type, out_type = FieldType(in_type), FieldType(out_type)
        few_in, few_out = (
            FieldType.of([(max(1, copies // factor), irrep) for copies, irrep in t.terms], t.group)
            for t in (in_type, out_type)
        )
        self.narrow = FieldLinear(in_type, few_in, bias=False)
        self.block = ConvBlock(few_in, few_out, rings, max_frequency, radial, norm, act)
        self.widen = FieldLinear(few_out, out_type, bias=False)
        self.shortcut = shortcut(in_type, out_type)

    def forward(
        self, x: Tensor, stencil: Stencil, reading: Stencil | None = None, areas: Tensor | None = None
    ) -> Tensor:
        y = self.block(self.narrow(x), stencil, reading, areas)
        return self.shortcut(x) + self.widen(y)


class PointwiseBlock(nn.Module):
    """x + mix(y, |y|) with y = act(norm(linear(x))): x [..., N, D_in] -> [..., N, D_out], point by point.

    y has the output's irreps and the input's; |y| are the lengths of its fields, by which scalars learn of
    fields (`WithLengths`). The block looks at no neighbour: a network of such blocks is the
    control of one that convolves. It is called as ResidualBlock is, and `stencil` and `reading` are not used.
    Irreps of the output that the input lacks are 0.

    >>> import torch
    >>> PointwiseBlock("4x0 + 1x1", "4x0 + 2x1")(torch.randn(192, 6)).shape
    torch.Size([192, 8])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        norm: Norm | None = FieldNorm,
        act: Act = Gated,
    ):
        super().__init__()
        self.in_type, self.out_type = in_type, out_type = FieldType(in_type), FieldType(out_type)
        # fields that the output lacks count by their lengths
        lacking = [i for i in in_type.irreps if not (i in out_type.irreps or in_type.is_invariant(i))]
        extra = [(in_type.multiplicity(i), i) for i in lacking]
        inner = FieldType.of([*out_type.terms, *extra], out_type.group)
        self.gated = make_act(act, inner)
        self.linear = FieldLinear(in_type, self.gated.in_type, bias=norm is None)
        self.norm = make_norm(norm, self.gated.in_type)
        self.lengths = WithLengths(inner)
        self.mix = FieldLinear(self.lengths.out_type, out_type, bias=False)
        self.shortcut = shortcut(in_type, out_type)

    def forward(
        self,
        x: Tensor,
        stencil: Stencil | None = None,
        reading: Stencil | None = None,
        areas: Tensor | None = None,
    ) -> Tensor:
        y = self.mix(self.lengths(self.gated(self.norm(self.linear(x), areas))))
        return self.shortcut(x) + y


def shortcut(in_type: FieldType, out_type: FieldType) -> nn.Module:
    """Make the way around a residual branch: what is given, or a FieldLinear between different types."""
    return nn.Identity() if in_type == out_type else FieldLinear(in_type, out_type, bias=False)


BlockKind = Literal["conv", "residual", "bottleneck", "pointwise"]


def make_block(
    kind: BlockKind,
    in_type: FieldType,
    out_type: FieldType,
    rings: int | None,
    max_frequency: int | None,
    radial: RadialBasis | None,
    norm: Norm | None,
    act: Act,
) -> nn.Module:
    """Make a block of that kind. Raises FieldTypeError for another kind."""
    convolving = {"conv": ConvBlock, "residual": ResidualBlock, "bottleneck": BottleneckBlock}
    if kind == "pointwise":
        return PointwiseBlock(in_type, out_type, norm, act)
    if kind not in convolving:
        kinds = ", ".join(map(repr, [*convolving, "pointwise"]))
        raise FieldTypeError(f"block must be one of {kinds}, got {kind!r}")
    return convolving[kind](in_type, out_type, rings, max_frequency, radial, norm, act)
