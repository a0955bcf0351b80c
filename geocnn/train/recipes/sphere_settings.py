"""What can be chosen of the recipe spherical-digits, and the memory that it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from geocnn.geometry.spheres.pixels import npix
from geocnn.groups.field_type import FieldType
from geocnn.train.memory import Layer, Need, estimate
from geocnn.train.settings import (
    BELOW_ONE,
    POSITIVE,
    LoopSettings,
    Range,
    convs_conflicts,
    setting,
    widths_conflicts,
)


@dataclass(frozen=True, kw_only=True)
class SphericalDigitsSettings(LoopSettings):
    """The settings of the recipe; the defaults are the preset `quick`."""

    train_size: int = setting(11_000, "training digits, at most 55000", Range(1, 55_000))
    val_size: int = setting(1_000, "validation digits, at most 5000", Range(1, 5_000))
    test_size: int = setting(10_000, "test digits, at most 10000", Range(1, 10_000))
    check_every: int = setting(250, "steps between validations; each writes a checkpoint", Range(1))
    nside: int = setting(16, "HEALPix resolution of the maps, 12 nside^2 pixels", Range(1, 2**29))
    widths: tuple[str, ...] = setting(
        ("8x0 + 6x1 + 6x2", "24x0 + 16x1 + 8x2", "48x0 + 24x1"),
        "feature types, one a level, each at half the resolution",
    )
    lmax: tuple[int, ...] = setting(
        (),
        "makes the network harmonic, one layer a width; the largest degree that each keeps",
        Range(0),
    )
    convs: tuple[int, ...] = setting(
        (0, 0, 1), "convolutions within each level besides those between levels", Range(0, 100)
    )
    dropout: float = setting(0.0, "share of the readout's hidden units dropped in training", BELOW_ONE)
    rings: int = setting(2, "radial functions of a kernel", Range(1, 100))
    radius: float = setting(
        5.0, "of a kernel, in point spacings of its level; harmonic: in π / lmax", POSITIVE
    )
    stencil: str = setting(
        "log", "log: sources where they lie; exp: interpolated on a polar grid", ("log", "exp")
    )
    stretch: float = setting(
        0.0, "training digits are stretched at random by about this share, never turned", BELOW_ONE
    )
    refine: float = setting(
        0.0,
        "passes afterwards on an oversampled hierarchy, where rotations disturb less",
        Range(0, 1_000_000),
    )
    rotated: bool = setting(True, "train also on rotated digits, for R/R")
    baseline: bool = setting(False, "train also an ordinary CNN on the latitude-longitude picture")

    def conflicts(self) -> list[str]:
        found = widths_conflicts(self.widths)
        if self.nside & (self.nside - 1):
            found.append(f"the setting nside is a power of two, got {self.nside}")
        if self.lmax and (len(self.lmax) != len(self.widths) or self.convs or self.refine):
            found.append(
                "a harmonic network has one lmax a width, no convs and no refine (try --preset long): "
                f"got {len(self.widths)} widths, {len(self.lmax)} lmax, {len(self.convs)} convs, "
                f"refine = {self.refine:g}"
            )
        if self.lmax and max(self.lmax) > 2 * self.nside:
            found.append(
                f"maps of nside {self.nside} hold degrees up to {2 * self.nside}, lmax has {max(self.lmax)}"
            )
        if not self.lmax and self.nside < 2 ** (len(self.widths) - 1):
            found.append(
                f"{len(self.widths)} widths, each at half the resolution, need nside "
                f"{2 ** (len(self.widths) - 1)} or more, got {self.nside}"
            )
        return found + (convs_conflicts(self.widths, self.convs) if self.convs else [])


ALL_DIGITS: dict[str, Any] = {
    "train_size": 55_000,
    "val_size": 2_000,
    "check_every": 500,
    "max_minutes": 110.0,
    "rotated": False,
}
PRESETS = {
    "quick": SphericalDigitsSettings(),
    "long": SphericalDigitsSettings(
        widths=("8x0 + 8x1", "16x0 + 16x1", "24x0 + 24x1", "32x0 + 32x1", "40x0"),
        lmax=(26, 20, 14, 9, 5),
        convs=(),
        rings=3,
        radius=3.0,
        stretch=0.1,
        epochs=10,
        **ALL_DIGITS,
    ),
    "local": SphericalDigitsSettings(
        widths=("12x0 + 8x1", "40x0 + 20x1", "64x0 + 32x1"),
        convs=(0, 0, 2),
        epochs=4,
        refine=1.5,
        **ALL_DIGITS,
    ),
}


def needs(settings: SphericalDigitsSettings) -> Need:
    """The memory of one process."""
    dims = [1, *(FieldType(width).dim for width in settings.widths)]
    pixels = npix(settings.nside)
    batch_size = min(settings.batch_size, settings.train_size)
    if settings.lmax:
        layers = [
            Layer(before, after, 2 * (1.25 * (l + 1)) ** 2)
            for (before, after), l in zip(pairwise(dims), settings.lmax, strict=True)
        ]
        return estimate(layers, settings.rings, batch_size, pixels)
    # an oversampled hierarchy has four points for one
    points = [(4 if settings.refine else 1) * pixels / 4**level for level in range(len(settings.widths))]
    layers = []
    for level, (before, after) in enumerate(pairwise(dims)):
        convs = settings.convs[level] if settings.convs else min(level, 1)
        layers += [Layer(after, after, points[level])] * convs
        layers.append(Layer(before, after, points[level] / 4))
    entries = sum(n * min(n, math.pi * settings.radius * settings.radius) for n in points)
    return estimate(layers, settings.rings, batch_size, pixels, entries)
