"""All layers and whole networks at their smallest, for tests that try each of them under many conditions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from geocnn import nn as layers
from geocnn.geometry import Hierarchy, Stencil, healpix, mobius_strip, plane, ring_grid
from geocnn.groups import Bessel
from geocnn.harmonics import RingGrid, gauss_legendre, healpix_grid
from tests.pretend import DEVICE

MIXED = "2x0 + 2x1"


@dataclass(frozen=True)
class Subject:
    """A layer or network, the shape of one example, and the geometry it is called with."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    where: Callable[[], tuple] = tuple

    def geometry(self, device: torch.device, dtype: torch.dtype) -> tuple:
        """The further arguments, made for this caller alone: what others derived from them is not kept."""
        parts = self.where()
        if device == DEVICE:
            # operators see what pretend tensors hold, by which no stencil without entries is known
            _ = [part.weight for part in parts if isinstance(part, Stencil)]
        return tuple(placed(part, device, dtype) for part in parts)


class Calls(nn.Module):
    """A function with a field among its arguments, as a layer."""

    def __init__(self, function: Callable[..., Tensor], *fixed: Any, **options: Any):
        super().__init__()
        self.function, self.fixed, self.options = function, fixed, options

    def forward(self, x: Tensor, *where: Any) -> Tensor:
        return self.function(x, *self.fixed, *where, **self.options)


class Taps(nn.Module):
    """Images through a gauge convolution's taps."""

    def __init__(self):
        super().__init__()
        self.layer = layers.GaugeConv("trivial: 1x0", "trivial: 2x0", max_frequency=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, layers.taps(self.layer, 1.5))


class Twin(nn.Module):
    """A gauge convolution evaluated by its harmonics, derived from it where it lies."""

    def __init__(self):
        super().__init__()
        self.layer = layers.GaugeConv(MIXED, MIXED, rings=2)

    def forward(self, x: Tensor, grid: RingGrid) -> Tensor:
        return self.layer.to_harmonic(1.0, 4)(x, grid)


def placed(part: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if isinstance(part, (Stencil, Hierarchy)):
        return copy.deepcopy(part).to(device, dtype)
    if isinstance(part, Tensor):
        return part.to(device, dtype if part.is_floating_point() else None)
    if isinstance(part, (list, tuple)):
        return type(part)(placed(p, device, dtype) for p in part)
    return part


@cache
def sphere(kind: str) -> tuple[Stencil]:
    return (healpix(2).stencil(1.0, kind=kind),)


@cache
def strip() -> tuple[Stencil]:
    return (mobius_strip((5, 6)).stencil(1.8),)


@cache
def flat() -> tuple[Stencil]:
    return (plane((5, 6)).stencil(1.8),)


@cache
def between() -> tuple[Stencil]:
    return (healpix(2).stencil(1.0, kind="log", targets=healpix(1)),)


@cache
def levels(oversample: bool = False) -> tuple[Hierarchy]:
    return (healpix(2).hierarchy(levels=2, radius=1.0, kind="log", oversample=oversample),)


@cache
def areas() -> tuple[Tensor]:
    return (healpix(2).areas * torch.linspace(0.5, 1.5, 48, dtype=torch.float64),)


GRID, COARSE = gauss_legendre(5, 9), gauss_legendre(3, 5)


@cache
def near() -> tuple:
    return GRID, None, ring_grid(5, 9).stencil(1.0, kind="log")


def convolutional() -> nn.Module:
    """Padding, a stride, pooling: what `to_full` converts."""
    features = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, stride=2, padding=1)
    )
    return layers.to_full(nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)))


SUBJECTS: dict[str, Subject] = {
    "GaugeConv": Subject(lambda: layers.GaugeConv(MIXED, MIXED), (48, 6), lambda: sphere("log")),
    "GaugeConv, exp": Subject(lambda: layers.GaugeConv(MIXED, MIXED), (48, 6), lambda: sphere("exp")),
    "GaugeConv, between points": Subject(lambda: layers.GaugeConv(MIXED, "1x1"), (48, 6), between),
    "GaugeConv, reflections": Subject(
        lambda: layers.GaugeConv("O2: 2x0e + 1x1", "O2: 1x0o + 1x1"), (30, 4), strip
    ),
    "GaugeConv, trivial group": Subject(
        lambda: layers.GaugeConv("trivial: 2x0", "trivial: 3x0", max_frequency=1), (30, 2), flat
    ),
    "GaugeConv, harmonic twin": Subject(Twin, (45, 6), lambda: (GRID,)),
    "FieldLinear": Subject(lambda: layers.FieldLinear(MIXED, "3x0 + 1x1"), (7, 6)),
    "FieldNorm": Subject(lambda: layers.FieldNorm(MIXED), (7, 6)),
    "FieldNorm, one point": Subject(lambda: layers.FieldNorm(MIXED), (1, 6)),
    "FieldNorm, areas": Subject(lambda: layers.FieldNorm(MIXED), (48, 6), areas),
    "FieldDropout": Subject(lambda: layers.FieldDropout(MIXED, 0.5), (7, 6)),
    "Gated": Subject(lambda: layers.Gated(MIXED), (7, 8)),
    "NormNonlinearity": Subject(lambda: layers.NormNonlinearity(MIXED), (7, 6)),
    "FourierNonlinearity": Subject(lambda: layers.FourierNonlinearity(MIXED), (7, 6)),
    "WithLengths": Subject(lambda: layers.WithLengths(MIXED), (7, 6)),
    "Pool, down": Subject(lambda: layers.Pool(MIXED), (48, 6), lambda: (levels()[0].down[0],)),
    "Pool, up": Subject(lambda: layers.Pool(MIXED), (12, 6), lambda: (levels()[0].up[0],)),
    "surface_mean": Subject(lambda: Calls(layers.surface_mean, level=0), (48, 3), levels),
    "ConvBlock": Subject(lambda: layers.ConvBlock(MIXED, MIXED), (48, 6), lambda: sphere("log")),
    "ResidualBlock": Subject(lambda: layers.ResidualBlock("2x0", MIXED), (48, 2), lambda: sphere("log")),
    "GaugeConv, Bessel": Subject(
        lambda: layers.GaugeConv(MIXED, MIXED, radial=Bessel(2)), (48, 6), lambda: sphere("log")
    ),
    "ConvBlock, no norm": Subject(
        lambda: layers.ConvBlock("2x0", MIXED, norm=None, act=layers.NormNonlinearity),
        (48, 2),
        lambda: sphere("log"),
    ),
    "BottleneckBlock": Subject(
        lambda: layers.BottleneckBlock("2x0", MIXED, factor=2), (48, 2), lambda: sphere("log")
    ),
    "PointwiseBlock": Subject(lambda: layers.PointwiseBlock(MIXED, "3x0 + 1x1"), (48, 6)),
    "surface_max": Subject(lambda: Calls(layers.surface_max, level=0), (48, 3), levels),
    "SurfaceEncoder, attention": Subject(
        lambda: layers.SurfaceEncoder(
            "1x0", [MIXED, MIXED], n_out=3, readout="attention", readout_levels="all"
        ),
        (48, 1),
        levels,
    ),
    "SurfaceEncoder, maximum": Subject(
        lambda: layers.SurfaceEncoder(
            "1x0", [MIXED, MIXED], n_out=3, readout="mean and max", block="residual"
        ),
        (48, 1),
        levels,
    ),
    "SurfaceEncoder": Subject(
        lambda: layers.SurfaceEncoder("1x0", [MIXED, MIXED], n_out=3, dropout=0.2), (48, 1), levels
    ),
    "SurfaceUNet": Subject(
        lambda: layers.SurfaceUNet("1x0", [MIXED, MIXED], MIXED, dropout=0.2), (48, 1), levels
    ),
    "SurfaceUNet, oversampled": Subject(
        lambda: layers.SurfaceUNet("1x0", [MIXED, MIXED], "1x0"), (48, 1), lambda: levels(oversample=True)
    ),
    "OnSurface": Subject(lambda: layers.OnSurface(layers.GaugeConv(MIXED, "1x1"), *between()), (48, 6)),
    "SO3Correlation": Subject(lambda: layers.SO3Correlation(MIXED, MIXED, lmax=4), (45, 6), lambda: (GRID,)),
    "SO3Correlation, local": Subject(
        lambda: layers.SO3Correlation(MIXED, MIXED, 4, rings=2, radius=1.0), (45, 6), lambda: (GRID, COARSE)
    ),
    "SO3Correlation, HEALPix": Subject(
        lambda: layers.SO3Correlation(MIXED, MIXED, lmax=3), (48, 6), lambda: (healpix_grid(2),)
    ),
    "spectral_pool": Subject(lambda: Calls(layers.spectral_pool, MIXED), (45, 6), lambda: (GRID, COARSE)),
    "sphere_mean": Subject(lambda: Calls(layers.sphere_mean, MIXED), (45, 6), lambda: (GRID,)),
    "HarmonicBlock": Subject(lambda: layers.HarmonicBlock(MIXED, MIXED, 4), (45, 6), lambda: (GRID, COARSE)),
    "HarmonicBlock, near": Subject(lambda: layers.HarmonicBlock(MIXED, MIXED, 4, near=2), (45, 6), near),
    "HarmonicEncoder": Subject(
        lambda: layers.HarmonicEncoder("1x0", [MIXED], [4], n_out=3, dropout=0.2),
        (45, 1),
        lambda: ([GRID, COARSE],),
    ),
    "HarmonicUNet": Subject(
        lambda: layers.HarmonicUNet("1x0", [MIXED, MIXED], [4, 2], MIXED), (45, 1), lambda: ([GRID, COARSE],)
    ),
    "LiftingConv": Subject(lambda: layers.LiftingConv("C8", 2, 2, 5), (2, 7, 7)),
    "GroupConv": Subject(lambda: layers.GroupConv("D4", 2, 2, 3, padding="full"), (2, 8, 5, 5)),
    "GroupPool": Subject(layers.GroupPool, (2, 4, 5, 5)),
    "IsotropicConv2d": Subject(lambda: layers.IsotropicConv2d(2, 2, 3, padding_mode="circular"), (2, 5, 5)),
    "FullConv1d": Subject(lambda: layers.FullConv1d(2, 2, 3), (2, 6)),
    "FullConv2d": Subject(lambda: layers.FullConv2d(2, 2, 3, stride=2), (2, 6, 5)),
    "FullConv3d": Subject(lambda: layers.FullConv3d(2, 2, 2), (2, 3, 4, 3)),
    "BlurPool2d": Subject(layers.BlurPool2d, (2, 6, 5)),
    "EquivariantSubsample2d": Subject(layers.EquivariantSubsample2d, (2, 6, 5)),
    "to_full": Subject(convolutional, (2, 7, 6)),
    "taps": Subject(Taps, (1, 6, 6)),
}
