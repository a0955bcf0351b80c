"""Recognise handwritten digits on the sphere, wherever they lie and however they are turned.

The same gauge-equivariant network is trained twice, on upright digits (NR) and on randomly rotated ones (R).
If it is equivariant, the one that never saw a rotated digit recognises them all the same (the column NR/R:
trained on NR, tested on R). The baseline, an ordinary CNN on the latitude-longitude picture of the same maps,
does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from geocnn.data.spherical_digits import SphericalDigits
from geocnn.train.recipe import Recipe, Training
from geocnn.train.recipes.digit_pages import draw, inputs, present
from geocnn.train.recipes.sphere_networks import CLASSES, build_network, needs, network_conflicts, subject
from geocnn.train.reporting import per_cent
from geocnn.train.score import accuracy, classify
from geocnn.train.settings import BELOW_ONE, Range, SurfaceSettings, other, setting


@dataclass(frozen=True, kw_only=True)
class SphericalDigitsSettings(SurfaceSettings):
    """The settings of the recipe; the defaults are the preset `quick`."""

    train_size: int = setting(11_000, "training digits, at most 55000", Range(1, 55_000))
    val_size: int = setting(1_000, "validation digits, at most 5000", Range(1, 5_000))
    test_size: int = setting(10_000, "test digits, at most 10000", Range(1, 10_000))
    check_every: int = other(SurfaceSettings, "check_every", 250)
    nside: int = setting(16, "HEALPix resolution of the maps, 12 nside^2 pixels", Range(1, 2**29))
    widths: tuple[str, ...] = setting(
        ("8x0 + 6x1 + 6x2", "24x0 + 16x1 + 8x2", "48x0 + 24x1"),
        "feature types, one per level, each at half the resolution",
    )
    lmax: tuple[int, ...] = setting(
        (), "makes the network harmonic, one layer per width; the largest degree that each keeps", Range(0)
    )
    convs: tuple[int, ...] = other(
        SurfaceSettings, "convs", (0, 0, 1), "convolutions of each level besides those between levels"
    )
    radius: float = other(
        SurfaceSettings, "radius", 5.0, "of a kernel, in point spacings of its level; harmonic: in π / lmax"
    )
    stretch: float = setting(
        0.0, "training digits are stretched at random by about this share, never turned", BELOW_ONE
    )
    refine: float = setting(
        0.0, "passes afterwards on an oversampled hierarchy, for smaller rotation errors", Range(0, 1e6)
    )
    rotated: bool = setting(True, "train also on rotated digits, for R/R")
    baseline: bool = setting(False, "train also an ordinary CNN on the latitude-longitude picture")

    @property
    def test_batch(self) -> int:
        return 4 * self.batch_size

    def conflicts(self) -> list[str]:
        return network_conflicts(self)


ALL_DIGITS: dict[str, Any] = dict(
    train_size=55_000, val_size=2_000, check_every=500, max_minutes=110.0, rotated=False
)
PRESETS = {
    "quick": SphericalDigitsSettings(),
    "long": SphericalDigitsSettings(
        widths=("8x0 + 8x1", "16x0 + 16x1", "24x0 + 24x1", "32x0 + 32x1", "40x0"), lmax=(26, 20, 14, 9, 5),
        convs=(), rings=3, radius=3.0, stretch=0.1, epochs=10, **ALL_DIGITS,
    ),
    "local": SphericalDigitsSettings(
        widths=("12x0 + 8x1", "40x0 + 20x1", "64x0 + 32x1"), convs=(0, 0, 2), epochs=4, refine=1.5,
        **ALL_DIGITS,
    ),
}  # fmt: skip


def trainings(settings: SphericalDigitsSettings) -> list[Training]:
    kind, own = ("harmonic", ("lmax",)) if settings.lmax else ("sphere", ("convs", "stencil"))
    names = ("nside", "widths", "dropout", "rings", "radius", *own)
    sphere = {"kind": kind} | {name: getattr(settings, name) for name in names}
    upright = {"NR/NR": "test", "NR/R": "test rotated"}
    rotated = {"train": "train rotated", "validation": "val rotated", "tests": {"R/R": "test rotated"}}
    plan = [Training(folder="nr", title="geocnn", description=sphere, tests=upright)]
    if settings.rotated:
        plan.append(Training(folder="r", title="geocnn", description=sphere, **rotated))
    if settings.refine:
        plan = [stage for training in plan for stage in _refined(training, settings)]
    if settings.baseline:
        planar = {"kind": "planar", "nside": settings.nside}
        plan.append(Training(folder="planar", title="planar CNN", description=planar, tests=upright))
    return plan


def _refined(training: Training, settings: SphericalDigitsSettings) -> tuple[Training, Training]:
    """Return the training, and one on an oversampled hierarchy that starts from its weights."""
    coarse = replace(training, folder=f"{training.folder}-coarse", title=f"{training.title}, before refining")
    fine = {**training.description, "oversample": True}
    slower = {"epochs": settings.refine, "learning_rate": settings.learning_rate / 2}
    return coarse, replace(training, description=fine, start=coarse.folder, changes=slower)


def data(settings: SphericalDigitsSettings, name: str) -> SphericalDigits:
    split, _, rotated = name.partition(" ")
    size = {"train": settings.train_size, "val": settings.val_size, "test": settings.test_size}[split]
    stretch = settings.stretch if split == "train" else 0.0
    return SphericalDigits(split, bool(rotated), settings.nside, settings.seed, size, stretch)


RECIPE = Recipe(
    name="spherical-digits",
    summary="handwritten digits on the HEALPix sphere; trained upright, read in any orientation",
    about="The data are MNIST (LeCun et al. 1998), laid on a hemisphere. Maps hold values from 0 to 1.",
    presets=PRESETS,
    trainings=trainings,
    build=build_network,
    data=data,
    score=classify,
    metrics=accuracy,
    draw=draw,
    headline="Accuracy (trained on / tested on; NR upright, R rotated digits)",
    show=per_cent,
    needs=needs,
    model_entries=lambda settings: {"classes": CLASSES},
    inputs=inputs,
    present=present,
    subject=subject,
)
