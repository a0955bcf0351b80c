"""The samples of a data folder as batches of its splits, or of the parts of a cross-validation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from geocnn.console import make_console
from geocnn.data.folders.card import DataFolder, Row
from geocnn.data.folders.splitting import folds
from geocnn.train.devices import is_main_process
from geocnn.train.recipes.folder_batches import FolderBatches

if TYPE_CHECKING:
    from geocnn.data.surface_data import SurfaceData
    from geocnn.train.recipes.data_folder import FolderSettings


WATCHED = 6
"""Where there is no validation set, one of so many training samples is watched."""


def validating(data: DataFolder) -> list[Row]:
    """Return the samples that validate; where there are none, some of those that are learnt from."""
    return data.of("val") or data.of("train")[::WATCHED]


class Samples:
    """The samples of a data folder, each read once for all the sets that it is in."""

    def __init__(self, data: DataFolder) -> None:
        self.data = data
        self.items: dict[str, SurfaceData] = {}

    def batches(self, settings: FolderSettings, name: str) -> FolderBatches:
        """Return the set of that name: "train", "val", "test"; of part 2 of a cross-validation "train 2"."""
        items = self._items(self.rows(settings, name), settings.processes)
        if not name.startswith("train"):
            return FolderBatches(items, self.data.card)
        return FolderBatches(items, self.data.card, settings.balanced, settings.smoothing)

    def rows(self, settings: FolderSettings, name: str) -> list[Row]:
        """Return the rows of the set of that name."""
        split, _, part = name.partition(" ")
        whole = validating(self.data) if split == "val" else self.data.of(split)
        rows = whole if not part else of_part(self.data.rows, int(part), split, settings)
        size = {"train": settings.train_size, "val": settings.val_size, "test": settings.test_size}[split]
        # fewer are wanted where the setting was lowered; parts have other sizes than the splits of the folder
        fewer = size < len(whole)
        return rows[:size] if fewer else rows

    def _items(self, rows: Sequence[Row], processes: int) -> list[SurfaceData]:
        from geocnn.data.folders.items import items_of

        missing = [row for row in rows if row.name not in self.items]
        if missing:
            console = make_console(quiet=not is_main_process())
            new = items_of(self.data, missing, processes, console)
            self.items |= {row.name: item for row, item in zip(missing, new, strict=True)}
        return [self.items[row.name] for row in rows]


def of_part(rows: Sequence[Row], part: int, split: str, settings: FolderSettings) -> list[Row]:
    """Return the rows that test, validate or teach in part 1, 2, ... of a cross-validation.

    Each used row tests in one part, and validates in the part before it. Parts do not depend on the seed, so
    that members of an ensemble have the same ones.
    """
    used = [row for row in rows if row.split]
    own = folds(strata_of_rows(used), [row.group for row in used], settings.folds)
    tests, validates = part - 1, part % settings.folds
    wanted = {"test": {tests}, "val": {validates}}.get(split)
    if wanted is None:
        wanted = set(range(settings.folds)) - {tests, validates}
    return [row for row, fold in zip(used, own, strict=True) if fold in wanted]


def strata_of_rows(rows: Sequence[Row]) -> list[Hashable]:
    """Return the class of each row, or the fifth of its first number, or nothing where points have theirs."""
    if not all(isinstance(row.target, tuple) for row in rows):
        return [row.target or "" for row in rows]
    first = np.array([row.target[0] for row in rows if isinstance(row.target, tuple)])
    return (first.argsort(kind="stable").argsort(kind="stable") * 5 // len(first)).tolist()
