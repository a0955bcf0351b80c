"""Tables of samples: one row per sample, with its file, its split, group, weight and what is true of it."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geocnn.errors import DatasetError
from geocnn.files import replacing

FILE = ("file", "filename", "path", "name", "sample", "id", "subject")
"""Names of the column that says which sample a row is about, the first that a table has."""

GROUP = ("group", "fold", "groups", "folds")
"""Names of the column of samples that stay together, the first that a table has."""

DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")
"""A number as spreadsheets of many countries write it, where columns are separated otherwise."""

KNOWN = ("split", "weight", *GROUP)
"""Optional columns whose meaning is fixed; all others may be targets."""


@dataclass(frozen=True)
class SampleTable:
    """A table as text: the names of its columns, and per row its line in the file and its cells by column."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]

    @property
    def key(self) -> str | None:
        """Return the column that names samples, or None."""
        lower = {name.lower(): name for name in reversed(self.columns)}
        return next((lower[name] for name in FILE if name in lower), None)

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the columns that may be targets."""
        return tuple(c for c in self.columns if c != self.key and c.lower() not in KNOWN)

    def column(self, name: str) -> list[str]:
        """Return the cells of a column. Raises DatasetError where there is no such column."""
        if name not in self.columns:
            raise DatasetError(
                f"{self.path} has no column '{name}'; its columns are {', '.join(self.columns)}"
            )
        return [cells[name] for _, cells in self.rows]


def read_sample_table(path: Path) -> SampleTable:
    """Read a table separated by commas, semicolons or tabs, whose first line names the columns.

    Numbers may have a decimal comma where columns are not separated by commas.

    Raises DatasetError, naming the line, for text that is not UTF-8, repeated or empty names of columns, and
    rows of another length; and for a table without rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/labels.csv").write_text("file,label\\na.ply,cat\\nb.ply,dog\\n")
    ...     table = read_sample_table(Path(f"{folder}/labels.csv"))
    >>> table.key, table.targets, table.column("label")
    ('file', ('label',), ['cat', 'dog'])
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    separator = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    columns: tuple[str, ...] | None = None
    rows = []
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        if separator != ",":
            cells = [DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in cells]
        if not any(cells):
            continue
        if columns is None:
            columns = tuple(cells)
            _check_columns(columns, path)
            continue
        if len(cells) != len(columns):
            raise DatasetError(
                f"{path}, line {reader.line_num}: {len(cells)} cells, but {len(columns)} columns "
                f"({', '.join(columns)})"
            )
        rows.append((reader.line_num, dict(zip(columns, cells, strict=True))))
    if columns is None or not rows:
        raise DatasetError(f"{path} has no rows; give one line per sample below a line of names")
    return SampleTable(path, columns, tuple(rows))


def _check_columns(columns: Sequence[str], path: Path) -> None:
    if any(not name for name in columns):
        raise DatasetError(f"{path}: column {columns.index('') + 1} has no name in the first line")
    twice = [name for k, name in enumerate(columns) if name in columns[:k]]
    if twice:
        raise DatasetError(f"{path} has the column '{twice[0]}' twice")


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table with commas, whole or not at all; numbers keep all their digits."""
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def number(cell: str, path: Path, line: int, column: str) -> float:
    """Return the number in a cell. Raises DatasetError, naming the line, where there is no finite one."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f"{path}, line {line}: '{cell}' in column '{column}' is not a finite number")
    return value


def are_numbers(cells: Sequence[str]) -> bool:
    """Return whether all cells are finite numbers.

    >>> are_numbers(["1", "2.5"]), are_numbers(["1", "cat"])
    (True, False)
    """
    try:
        return all(math.isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False
