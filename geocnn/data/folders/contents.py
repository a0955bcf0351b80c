"""The files of a folder, sorted by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geocnn.data.folders.files import SPLITS, files_in, is_map_file, is_mesh, is_values
from geocnn.data.folders.found import Wishes
from geocnn.data.folders.table import SampleTable, read_sample_table
from geocnn.errors import DatasetError

TABLES = ("labels", "samples", "targets", "metadata", "folds", "splits", "groups")
"""Names of tables with a row per sample."""


@dataclass(frozen=True)
class Contents:
    """The files of a folder by kind."""

    folder: Path
    meshes: list[Path]
    maps: list[Path]
    values: list[Path]
    table: SampleTable | None
    lists: dict[str, Path]
    """Files train.txt, test.txt, … with names of samples, by split."""


def contents_of(folder: Path, wishes: Wishes) -> Contents:
    """Sort the files of a folder by kind."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    files = list(files_in(folder))
    table = wishes.labels or _own_table(folder, files)
    if table is not None and not table.is_file():
        raise DatasetError(f"there is no table {table}")
    lists = {SPLITS[f.stem.lower()]: f for f in files if f.suffix == ".txt" and f.stem.lower() in SPLITS}
    lists = {split: file for split, file in lists.items() if file.parent == folder}
    others = [f for f in files if f != table and f not in lists.values()]
    meshes = [f for f in others if is_mesh(f)]
    maps = [] if meshes else [f for f in others if is_map_file(f)]
    values = [f for f in others if f not in maps and is_values(f)]
    return Contents(
        folder,
        meshes,
        maps,
        values,
        None if table is None else read_sample_table(table),
        lists,
    )


def _own_table(folder: Path, files: Sequence[Path]) -> Path | None:
    """Return the table of samples that a folder itself has: labels.csv or another of these names."""
    tables = [f for f in files if f.suffix.lower() in (".csv", ".tsv") and f.parent == folder]
    named = [f for f in tables if f.stem.lower() in TABLES]
    if len(named) > 1:
        raise DatasetError(
            f"{folder} has several tables, {', '.join(f.name for f in named)}; name one by --labels"
        )
    return named[0] if named else None
