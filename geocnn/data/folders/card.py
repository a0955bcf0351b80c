"""A data folder: dataset.toml says what is learnt and how, samples.csv lists samples, samples/ holds them.

`dataset.toml` is written last, so a folder without it is not whole. samples.csv may be edited. Samples are
safetensors files, which hold arrays and nothing that could run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from geocnn.data.folders.files import SPLITS
from geocnn.data.folders.found import TASKS, Surfaces, Task
from geocnn.data.folders.scaling import Scale
from geocnn.data.folders.table import number, read_sample_table, write_table
from geocnn.errors import DatasetError
from geocnn.files import replacing, write_safetensors
from geocnn.geometry.core.defaults import SPACINGS, Kind

FORMAT = "geocnn data 1"
CARD, TABLE, SAMPLES, SURFACE = "dataset.toml", "samples.csv", "samples", "surface.safetensors"


@dataclass(frozen=True, kw_only=True)
class Card:
    """The content of dataset.toml."""

    name: str
    task: Task
    surfaces: Surfaces
    target: tuple[str, ...]
    """Names of what is learnt: one class, or one or more numbers."""
    classes: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    """The labels of points in the order of `classes`, as files have them."""
    unlabelled: int | None = None
    """The label of points whose class nobody knows."""
    per_face: bool = False
    """Whether labels came per face."""
    values_suffix: str = ""
    """What ends the names of the files beside meshes that hold values of points, where these are learnt."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """Of each number over the training samples; networks learn (number − mean) / std."""
    fields: tuple[str, ...] = ()
    """Names of the fields that come in."""
    field_types: tuple[str, ...] = ()
    """Their types: "2x0" for two scalars, "1x0 + 1x1" for the normal and tangent part of a vector, "1x2" for
    Stokes Q and U."""
    columns: tuple[str, ...] = ()
    """Of maps, those that the user chose."""
    polarisation: str = ""
    """What the user said about the sign of Stokes U."""
    shape: bool = True
    """Whether shape features come in."""
    size: bool = False
    """Whether a field comes in that tells the size of each mesh, which scale "each" takes away."""
    scale: Scale = "set"
    unit: float = 1.0
    """The median point spacing of the training meshes, in the unit of the files; with scale "each" after
    every mesh was brought to unit area."""
    nside: int = 0
    """Of HEALPix maps."""
    points: int = 0
    """The median number of points of a sample."""
    radius: float = SPACINGS
    """Of kernels, in units."""
    levels: int = 1
    kind: Kind = "log"
    fixes: tuple[str, ...] = ()
    """Repairs of meshes."""
    given: str = ""
    """What the user said about the folder, as one line."""
    listing: str = ""
    """SHA-256 of the names of the files of the user's folder that hold data."""
    remarks: tuple[str, ...] = ()
    """What was found and done, in words."""
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """SHA-256 of the files that the folder was made from, by path in their folder, or by the whole path."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Card:
        """Return the card of plain values, as TOML and JSON hold them. Raises TypeError where one lacks."""
        known: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        return cls(**known)

    @property
    def per_point(self) -> bool:
        return self.task.endswith("points")

    @property
    def is_classes(self) -> bool:
        return self.task.startswith("classify")

    @property
    def n_out(self) -> int:
        """Return the number of numbers that a network gives per answer."""
        return len(self.classes) if self.is_classes else len(self.target)


@dataclass(frozen=True)
class Row:
    """A row of samples.csv; `target` is the name of a class or the numbers, where they belong to samples."""

    name: str
    file: str
    split: str
    group: str = ""
    weight: float = 1.0
    target: str | tuple[float, ...] | None = None
    factor: float = 1.0
    """What lengths of its file are multiplied by."""


@dataclass(frozen=True)
class DataFolder:
    """A data folder that was opened: its place, its card and its rows."""

    path: Path
    card: Card
    rows: tuple[Row, ...]

    def of(self, split: str) -> list[Row]:
        """Return the rows of a split."""
        return [row for row in self.rows if row.split == split]

    def tensors(self, row: Row) -> dict[str, Tensor]:
        """Read the arrays of a sample: vertices, faces, factor, fields by name, truth, where it has them.

        Raises DatasetError where its file is missing or damaged.
        """
        return load_sample(self.path / row.file)

    def surface(self) -> dict[str, Tensor]:
        """Read the arrays of the mesh that all samples share."""
        return load_sample(self.path / SURFACE)

    @property
    def digest(self) -> str:
        """Return a digest of the card and the table: two folders with one digest train alike."""
        text = (self.path / CARD).read_bytes() + (self.path / TABLE).read_bytes()
        return hashlib.sha256(text).hexdigest()[:16]

    @property
    def origin(self) -> str:
        """Return a digest of the files that the samples came from, whatever was edited since."""
        text = json.dumps([self.card.name, *sorted(self.card.sources.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_data_folder(path: Path) -> bool:
    """Return whether a folder was written by `prepare` to its end."""
    return (path / CARD).is_file() and (path / TABLE).is_file()


def open_folder(path: Path) -> DataFolder:
    """Open a data folder. Raises DatasetError where it is none, or its card or its table is wrong."""
    if not is_data_folder(path):
        raise DatasetError(f"{path} is no data folder: it has no {CARD}; geocnn prepare writes one")
    card = _read_card(path / CARD)
    return DataFolder(path, card, _read_rows(path / TABLE, card))


def save_folder(path: Path, card: Card, rows: Sequence[Row]) -> DataFolder:
    """Write samples.csv, then dataset.toml, each whole or not at all."""
    numbers = card.task == "regress"
    columns = ["name", "file", "split", "group", "weight", "factor"]
    columns += list(card.target) if numbers else [] if card.per_point else ["class"]
    cells = []
    for row in rows:
        own: list[object] = [row.name, row.file, row.split, row.group]
        own += [f"{row.weight:.17g}", f"{row.factor:.17g}"]
        if isinstance(row.target, tuple):
            own += [f"{value:.17g}" for value in row.target]
        elif not card.per_point:
            own.append(row.target or "")
        cells.append(own)
    write_table(path / TABLE, columns, cells)
    with replacing(path / CARD) as new:
        new.write_text(_toml(card), encoding="utf-8")
    return DataFolder(path, card, tuple(rows))


def save_sample(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the arrays of a sample, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors({name: t.contiguous() for name, t in tensors.items()}, path, {"format": FORMAT})


def load_sample(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); prepare the folder again") from error


def _toml(card: Card) -> str:
    values = dataclasses.asdict(card)
    sources = values.pop("sources")
    lines = [f"format = {_value(FORMAT)}"]
    lines += [f"{name} = {_value(value)}" for name, value in values.items() if value is not None]
    lines += ["", "[sources]"] + [f"{_value(name)} = {_value(digest)}" for name, digest in sources.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """Write a value as TOML does: text and numbers as JSON does."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read_card(file: Path) -> Card:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DatasetError(f"{file} cannot be read ({error}); prepare the folder again") from error
    if values.pop("format", None) != FORMAT:
        raise DatasetError(f"{file} is not of the format '{FORMAT}'; prepare the folder again")
    known = {field.name for field in dataclasses.fields(Card)}
    unknown = sorted(set(values) - known)
    if unknown or values.get("task") not in TASKS:
        what = f"unknown entry '{unknown[0]}'" if unknown else f"unknown task '{values.get('task')}'"
        raise DatasetError(f"{file}: {what}; prepare the folder again")
    try:
        return Card.of(values)
    except TypeError as error:
        raise DatasetError(f"{file} lacks an entry ({error}); prepare the folder again") from error


def _read_rows(file: Path, card: Card) -> tuple[Row, ...]:
    table = read_sample_table(file)
    needed = ["name", "file", *(card.target if card.task == "regress" else [])]
    lacking = [name for name in needed if name not in table.columns]
    if lacking:
        raise DatasetError(f"{file} lacks the column '{lacking[0]}'; prepare the folder again")
    rows, lines = [], dict[str, int]()
    for line, cells in table.rows:
        split = SPLITS.get(cells.get("split", "").lower(), cells.get("split", ""))
        if split not in ("train", "val", "test", ""):
            raise DatasetError(f"{file}, line {line}: the split '{split}' is none of train, val, test")
        target: str | tuple[float, ...] | None = None
        if card.task == "regress":
            target = tuple(number(cells.get(name, ""), file, line, name) for name in card.target)
        elif card.task == "classify":
            target = cells.get("class", "")
            if target not in card.classes:
                raise DatasetError(
                    f"{file}, line {line}: there is no class '{target}', only {', '.join(card.classes)}"
                )
        weight = number(cells.get("weight") or "1", file, line, "weight")
        factor = number(cells.get("factor") or "1", file, line, "factor")
        if weight < 0 or factor <= 0:
            raise DatasetError(f"{file}, line {line}: a weight is at least 0, a factor above 0")
        if lines.setdefault(cells["name"], line) != line:
            raise DatasetError(
                f"{file}, lines {lines[cells['name']]} and {line}: both are the sample '{cells['name']}'"
            )
        rows.append(Row(cells["name"], cells["file"], split, cells.get("group", ""), weight, target, factor))
    lost = [row.file for row in rows if not (file.parent / row.file).is_file()]
    if lost:
        raise DatasetError(f"{file} lists {lost[0]}, which is missing; prepare the folder again")
    return tuple(rows)


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
