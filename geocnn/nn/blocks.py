"""Building blocks of the networks."""

from __future__ import annotations

from torch import Tensor, nn

from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.nn.gauge_conv import GaugeConv
from geocnn.nn.linear import FieldLinear
from geocnn.nn.nonlinearity import Gated
from geocnn.nn.norm import FieldNorm
from geocnn.nn.pool import Pool


class ConvBlock(nn.Module):
    """GaugeConv, FieldNorm, gates: x [..., n_source, D_in], stencil -> [..., n_target, D_out].

    With a `reading`, an interpolation from the stencil's targets to other points, the norm and the gates act
    there. `areas` [N] of the points where they act are the weights of the norm's moments; without them every
    point counts alike.

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
        rings: int = 3,
        max_frequency: int | None = None,
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.gated = Gated(out_type)
        self.conv = GaugeConv(in_type, self.gated.in_type, rings, max_frequency, bias=False)
        self.norm = FieldNorm(self.gated.in_type)
        self.read = Pool(self.gated.in_type)

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
        rings: int = 3,
        max_frequency: int | None = None,
    ):
        super().__init__()
        self.in_type, self.out_type = in_type, out_type = FieldType(in_type), FieldType(out_type)
        self.block = ConvBlock(in_type, out_type, rings, max_frequency)
        self.mix = FieldLinear(out_type, out_type, bias=False)
        self.shortcut = nn.Identity() if in_type == out_type else FieldLinear(in_type, out_type, bias=False)

    def forward(
        self, x: Tensor, stencil: Stencil, reading: Stencil | None = None, areas: Tensor | None = None
    ) -> Tensor:
        y = self.mix(self.block(x, stencil, reading, areas))
        return self.shortcut(x) + y
