"""What a training on a data folder will take, measured on a few samples before it starts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from torch import nn

from geocnn.console import make_console
from geocnn.data.folders.card import DataFolder, Row
from geocnn.data.folders.samples import surface_of
from geocnn.errors import GeocnnError
from geocnn.geometry import Hierarchy
from geocnn.geometry.cache import is_cached
from geocnn.nn import cost
from geocnn.ops.kept import KEPT_BYTES
from geocnn.train.loop import stretches
from geocnn.train.memory import BYTES_PER_PROCESS, available_memory
from geocnn.train.recipe import Recipe, planned
from geocnn.train.recipes.folder_batches import FolderBatch, batch
from geocnn.wording import counted, sized

FEW = 3
"""Samples whose geometry is computed to see how long that takes, and steps that are timed, at most."""

LONG = 10.0
"""Seconds after which no further sample is computed, nor a further step taken."""

WEIGHT_COPIES = 4
"""Of each weight: itself, its gradient, and two moments of AdamW."""


@dataclass(frozen=True)
class Foresight:
    """What a run will take on this machine, as far as a few samples show it."""

    samples: int
    points: int
    missing: int
    """Samples whose geometry is not computed yet."""
    geometry_seconds: float
    networks: dict[str, int]
    """Weights of each network by its title."""
    trainings: int
    steps: int
    """Of each network."""
    training_seconds: float
    bytes: float
    available: float

    def __str__(self) -> str:
        weights = ", ".join(f"{title} {n:,} weights" for title, n in self.networks.items())
        takes = f"of {self.missing} takes {spoken(self.geometry_seconds)}" if self.missing else "is there"
        return (
            f"{counted(self.samples, 'sample')} of about {self.points:,} points; geometry {takes}; "
            f"{weights}; {counted(self.trainings, 'training')} of {self.steps} steps take "
            f"{spoken(self.training_seconds)} in all at most; "
            f"about {sized(self.bytes)} of {sized(self.available)} memory"
        )


def spoken(seconds: float) -> str:
    """Return a time as people say it.

    >>> spoken(40), spoken(400), spoken(40_000)
    ('40 s', '7 min', '11.1 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def foresee(recipe: Recipe, data: DataFolder, settings: Any) -> Foresight:
    """Compute the geometry of a few samples, take a few steps, and say what the whole run will take.

    Raises GeocnnError where the machine has too little memory for it.
    """
    from geocnn.data.folders.items import items_of

    rows = [row for row in data.rows if row.split]
    missing = _missing(data, rows)
    items, start = [], time.perf_counter()
    for row in missing[:FEW] or rows[:FEW]:
        items += items_of(data, [row], 1, make_console(quiet=True))
        if time.perf_counter() - start > LONG:
            break
    each = (time.perf_counter() - start) / len(items)
    workers = max(1, min(settings.processes or os.cpu_count() or 1, len(missing)))
    given = batch([items[k % len(items)] for k in range(settings.batch_size)], data.card)
    n = len(rows) * (settings.folds - 2) // settings.folds if settings.folds else settings.train_size
    count, per_stretch = stretches(n, settings)
    plan = planned(recipe, settings)
    networks, seconds, peak, operators = {}, 0.0, 0.0, 0.0
    for training in {t.title: t for t in plan}.values():
        network = recipe.build(dict(training.description))
        networks[training.title] = sum(p.numel() for p in network.parameters())
        alike = sum(t.title == training.title for t in plan)
        seconds += alike * count * per_stretch * _step_seconds(recipe, network, given)
        needed = cost(network, given.hierarchy, channels=given.x.shape[-1]).resident
        samples = given.x.shape[0] if given.x.ndim == 3 else 1
        peak = max(peak, WEIGHT_COPIES * needed.weights + samples * needed.first_step)
        operators = max(operators, needed.step_kept)
    shared = data.card.surfaces != "meshes"
    geometry = sum(_bytes(item.hierarchy) for item in items[:1] if shared) or sum(
        _bytes(item.hierarchy) for item in items
    ) / len(items) * len(rows)
    fields = sum(item.x.nbytes for item in items) / len(items) * len(rows)
    kept = operators if shared else min(operators * len(rows) / settings.batch_size, KEPT_BYTES)
    result = Foresight(
        len(rows), data.card.points, len(missing), each * len(missing) / workers if missing else 0.0,
        networks, len(plan), count * per_stretch, seconds,
        BYTES_PER_PROCESS + peak + geometry + fields + kept, available_memory(),
    )  # fmt: skip
    if result.bytes > result.available:
        raise GeocnnError(
            f"the run needs about {sized(result.bytes)} of memory, this machine has "
            f"{sized(result.available)} free: choose a smaller --batch-size or --size, or fewer samples"
        )
    return result


def _missing(data: DataFolder, rows: list[Row]) -> list[Row]:
    """Return the rows whose geometry the cache lacks."""
    from geocnn.data.folders.items import geometry_of

    if data.card.surfaces != "meshes":
        return []
    options = geometry_of(data.card)
    surfaces: list[Any] = [surface_of(data.tensors(row), row.factor) for row in rows]
    shape = data.card.shape
    return [row for row, one in zip(rows, surfaces, strict=True) if not is_cached(one, shape, **options)]


def _step_seconds(recipe: Recipe, network: nn.Module, given: FolderBatch) -> float:
    """Return the least seconds of a few losses with their gradients; the first makes operators."""
    took: list[float] = []
    while len(took) < 2 or (len(took) <= FEW and sum(took) < LONG):
        start = time.perf_counter()
        recipe.score(network, given)[0].backward()
        took.append(time.perf_counter() - start)
    return min(took[1:])


def _bytes(hierarchy: Hierarchy) -> int:
    stencils = [*hierarchy.stencils, *hierarchy.down, *hierarchy.up]
    return sum(t.nbytes for stencil in stencils for t in stencil.tensors().values())
