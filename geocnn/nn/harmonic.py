"""Blocks and networks whose convolutions are harmonic, alone or beside local ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep
from geocnn.groups.radial import Cosine, RadialBasis
from geocnn.harmonics.fields import field_analysis, field_synthesis
from geocnn.harmonics.grid import RingGrid, point_weights
from geocnn.harmonics.sht import integral
from geocnn.nn.fourier import FourierNonlinearity
from geocnn.nn.gauge_conv import GaugeConv
from geocnn.nn.linear import FieldLinear
from geocnn.nn.nonlinearity import Act, make_act
from geocnn.nn.norm import FieldNorm, Norm, make_norm
from geocnn.nn.so3_correlation import SO3Correlation
from geocnn.ops.gather import at_least_single, single_under_autocast


def spectral_pool(
    x: Tensor,
    field_type: FieldType | str,
    grid: RingGrid,
    out_grid: RingGrid,
    lmax: int | None = None,
    iterations: int | None = None,
) -> Tensor:
    """Read features x [..., n_points, D] on another grid, without degrees above lmax; by default those stay
    that both grids carry accurately (on HEALPix up to 2 nside).

    Equivariant but for the quadrature of the first grid (`iterations` as in `analysis`). Raises as
    `field_analysis` does.

    >>> from geocnn.harmonics import gauss_legendre
    >>> spectral_pool(torch.randn(128, 3), "1x0 + 1x1", gauss_legendre(8, 16), gauss_legendre(4, 8)).shape
    torch.Size([32, 3])
    """
    lmax = min(grid.lmax_accurate, out_grid.lmax_accurate) if lmax is None else lmax
    x, dtype = at_least_single(x)
    alm = field_analysis(x, field_type, grid, lmax, iterations)
    return field_synthesis(alm, field_type, out_grid).to(dtype)


def sphere_mean(x: Tensor, field_type: FieldType | str, grid: RingGrid) -> Tensor:
    """Return the means of functions on SO(3), [..., C]: over the sphere, of the C copies of frequency 0 in
    x [..., n_points, D].

    >>> from geocnn.harmonics import gauss_legendre
    >>> sphere_mean(torch.ones(128, 4), "2x0 + 1x1", gauss_legendre(8, 16)).round(decimals=5)
    tensor([1., 1.])
    """
    scalars = FieldType(field_type).select(single_under_autocast(x), Irrep(0)).squeeze(-2)
    return (integral(scalars.mT, grid) / (4 * torch.pi)).to(scalars.dtype)


class HarmonicBlock(nn.Module):
    """SO3Correlation, FieldNorm, FourierNonlinearity: x [..., n_points, D_in], grid, out_grid ->
    [..., n_out, D_out].

    The correlation has free weights per degree or, with `rings` and `radius`, those of a local kernel. With
    `near` a GaugeConv of that many rings is added to it, over a stencil from the points of `grid` to those of
    `out_grid`: what is near and what is far in one layer. The nonlinearity makes higher degrees; a grid with
    room for more than `lmax` keeps them from becoming lower ones (`samples`: the same on the fibre).

    `radial` gives a local kernel other radial functions, in place of `rings`, and `near` takes such a basis
    too. `norm` makes the norm of a type, None leaves it out; `act` makes the nonlinearity that gives a type,
    by default a FourierNonlinearity of `activation` and `samples`.

    >>> from geocnn.harmonics import gauss_legendre
    >>> block = HarmonicBlock("1x0", "4x0 + 4x1", lmax=5)
    >>> block(torch.randn(3, 128, 1), gauss_legendre(8, 16)).shape
    torch.Size([3, 128, 12])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        lmax: int,
        rings: int | None = None,
        radius: float | None = None,
        near: int | RadialBasis | None = None,
        activation: Callable[[Tensor], Tensor] = nn.functional.silu,
        samples: int | None = None,
        *,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act | None = None,
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        fourier = partial(FourierNonlinearity, activation=activation, samples=samples)
        self.act = make_act(fourier if act is None else act, self.out_type)
        ends, bias = (self.in_type, self.act.in_type), norm is None
        self.far = SO3Correlation(*ends, lmax, rings, radius, bias=bias, radial=radial)
        basis = Cosine(near) if isinstance(near, int) else near
        self.near = None if basis is None else GaugeConv(*ends, bias=False, radial=basis)
        self.norm = make_norm(norm, self.act.in_type)

    def forward(
        self, x: Tensor, grid: RingGrid, out_grid: RingGrid | None = None, stencil: Stencil | None = None
    ) -> Tensor:
        y = self.far(x, grid, out_grid)
        if (self.near is None) != (stencil is None):
            raise FieldTypeError("a block with near needs a stencil, one without takes none")
        if self.near is not None and stencil is not None:
            y = y + self.near(x, stencil)
        return self.act(self.norm(y, point_weights(out_grid or grid, y.device)))


class HarmonicEncoder(nn.Module):
    """One answer per sphere: harmonic blocks down a list of grids, then the mean over SO(3) and a small head.

    x [..., n_points, D], grids (one per width, and the input's first) -> [..., n_out]. `lmax[i]` bounds the
    degrees that block i passes on. With `rings` its kernel is local, of radius `reach` π / lmax[i]: `reach`
    times the smallest distance that these degrees tell apart. `dropout` acts within the head; `samples` as in
    HarmonicBlock.

    >>> from geocnn.harmonics import gauss_legendre
    >>> grids = [gauss_legendre(n, 2 * n) for n in (16, 12, 8)]
    >>> model = HarmonicEncoder("1x0", ["4x0 + 4x1", "8x0 + 8x1"], lmax=[7, 5], n_out=10)
    >>> model(torch.randn(2, 512, 1), grids).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        widths: Sequence[FieldType | str],
        lmax: Sequence[int],
        n_out: int,
        rings: int | None = None,
        reach: float = 3.0,
        dropout: float = 0.0,
        samples: int | None = None,
        *,
        radial: RadialBasis | None = None,
        norm: Norm | None = FieldNorm,
        act: Act | None = None,
    ):
        super().__init__()
        if len(lmax) != len(widths):
            raise FieldTypeError(f"lmax needs one degree per width: {len(widths)}, got {len(lmax)}")
        types = [FieldType(in_type), *map(FieldType, widths)]
        self.blocks = nn.ModuleList()
        for (before, after), l in zip(pairwise(types), lmax, strict=True):
            is_free = rings is None and radial is None
            radius = None if is_free else min(math.pi, reach * math.pi / max(l, 1))
            options = {"samples": samples, "radial": radial, "norm": norm, "act": act}
            self.blocks.append(HarmonicBlock(before, after, l, rings, radius, **options))
        self.in_type, self.last_type = types[0], types[-1]
        copies = self.last_type.multiplicity(Irrep(0))
        self.head = nn.Sequential(
            make_norm(norm, FieldType(f"{copies}x0")),
            nn.Linear(copies, 2 * copies),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * copies, n_out),
        )

    def forward(self, x: Tensor, grids: Sequence[RingGrid]) -> Tensor:
        if len(grids) != len(self.blocks) + 1:
            raise FieldTypeError(
                f"{len(self.blocks)} blocks lead over {len(self.blocks) + 1} grids, got {len(grids)}"
            )
        for block, grid, after in zip(self.blocks, grids, grids[1:], strict=False):
            x = block(x, grid, after)
        return self.head(sphere_mean(x, self.last_type, grids[-1]).unsqueeze(-2)).squeeze(-2)


class HarmonicUNet(nn.Module):
    """One answer per point: harmonic blocks down a list of grids and up again (Ronneberger et al. 2015).

    x [..., n_points, D], grids (one per width, fine to coarse) -> [..., n_points, D_out]. `widths[i]` and
    `lmax[i]` are the feature type and the largest degree of level i, which has one HarmonicBlock on the way
    down and, but for the coarsest, one on the way up, which also sees what the way down left there. Between
    levels features are read by their harmonics. With `near` every block adds a GaugeConv of that many rings,
    over `stencils`, one per grid: far and near at every level.

    Raises FieldTypeError for other numbers of degrees, grids or stencils than of widths, and types that do
    not fit.

    >>> from geocnn.harmonics import gauss_legendre
    >>> model = HarmonicUNet("1x0", ["4x0 + 4x1", "8x0 + 8x1"], lmax=[7, 3], out_type="1x0 + 1x1")
    >>> model(torch.randn(2, 512, 1), [gauss_legendre(16, 32), gauss_legendre(8, 16)]).shape
    torch.Size([2, 512, 3])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        widths: Sequence[FieldType | str],
        lmax: Sequence[int],
        out_type: FieldType | str,
        near: int | RadialBasis | None = None,
        samples: int | None = None,
        *,
        norm: Norm | None = FieldNorm,
        act: Act | None = None,
    ):
        super().__init__()
        if len(lmax) != len(widths):
            raise FieldTypeError(f"lmax needs one degree per width: {len(widths)}, got {len(lmax)}")
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.types, self.lmax = [FieldType(w) for w in widths], tuple(lmax)
        if not self.types:
            raise FieldTypeError("a network needs at least one width")
        lacking = [i for i in self.out_type.irreps if i not in self.types[0].irreps]
        if lacking:
            raise FieldTypeError(
                f"the output {out_type} has irreps {', '.join(map(str, lacking))}, which the finest width "
                f"{self.types[0]} lacks; add them there"
            )
        options = {"near": near, "samples": samples, "norm": norm, "act": act}
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for before, after, l in zip([FieldType(in_type), *self.types], self.types, lmax, strict=False):
            self.down.append(HarmonicBlock(before, after, l, **options))
        for (fine, coarse), l in zip(pairwise(self.types), lmax, strict=False):
            self.up.append(HarmonicBlock(coarse + fine, fine, l, **options))
        self.head = FieldLinear(self.types[0], out_type)

    def forward(
        self, x: Tensor, grids: Sequence[RingGrid], stencils: Sequence[Stencil] | None = None
    ) -> Tensor:
        n, levels = len(self.down), len(grids)
        near = [None] * n if stencils is None else stencils
        if levels != n or len(near) != n:
            raise FieldTypeError(
                f"one grid and one stencil per width are needed, {n} in all, got {levels} and {len(near)}"
            )
        finer = []
        for level, block in enumerate(self.down):
            if level:
                x = spectral_pool(x, self.types[level - 1], grids[level - 1], grids[level], self.lmax[level])
            x = block(x, grids[level], stencil=near[level])
            finer.append(x)
        for level in reversed(range(n - 1)):
            raised = spectral_pool(
                x, self.types[level + 1], grids[level + 1], grids[level], self.lmax[level + 1]
            )
            x = self.up[level](torch.cat([raised, finer[level]], -1), grids[level], stencil=near[level])
        return self.head(x)
