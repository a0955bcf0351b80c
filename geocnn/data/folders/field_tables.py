"""Tables of fields on one surface: a row per field, or a column per field, with or without names."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from geocnn.data.folders.table import are_numbers
from geocnn.errors import DatasetError


def is_field_table(file: Path) -> bool:
    """Return whether a file is a table by its name."""
    return file.suffix.lower() in (".csv", ".tsv")


def read_field_table(file: Path, n: int) -> tuple[list[str], Float64[np.ndarray, "fields n"]]:
    """Read a table of fields on a surface of n points; return their names and values.

    Fields are rows of n numbers, or columns of n numbers. Names stand before the rows or above the columns;
    without any, fields are numbered from 0. Where there are n fields too, rows are fields.

    Raises DatasetError where neither rows nor columns have n numbers, and where a cell holds no number.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "fields.csv"
    ...     _ = file.write_text("subject,v0,v1,v2\\na,1,2,3\\nb,4,5,6\\n")
    ...     read_field_table(file, 3)
    (['a', 'b'], array([[1., 2., 3.],
           [4., 5., 6.]]))
    """
    cells = _cells(file)
    head = cells.pop(0) if _is_head(cells[0]) else None
    first = [row[0] for row in cells]
    # names that are numbers show by one cell too many, numbers of points by counting
    named = not are_numbers(first) or len(cells[0]) == n + 1
    if named or (len(cells) == n and _counts(first) and len(cells[0]) > 1):
        cells, head = [row[1:] for row in cells], None if head is None else head[1:]
    values = _numbers(cells, file, 1 + (head is not None))
    rows, columns = values.shape
    if columns == n:
        found = first if named else _numbered(file, rows)
    elif rows == n:
        found, values = _numbered(file, columns) if head is None else head, values.T
    else:
        raise DatasetError(
            f"{file} has {rows} rows of {columns} numbers, the surface {n} points; give a row, or a "
            f"column, of {n} numbers per field"
        )
    return found, np.ascontiguousarray(values)


def _is_head(row: list[str]) -> bool:
    """Return whether a row holds names, or a word before numbers of points: 0, 1, 2, … or 1, 2, 3, …"""
    rest = row[1:] or row
    if not are_numbers(rest):
        return True
    return len(row) > 2 and not are_numbers(row[:1]) and _counts(rest)


def _counts(cells: list[str]) -> bool:
    """Return whether cells are 0, 1, 2, … or 1, 2, 3, …"""
    counts = [str(k) for k in range(len(cells) + 1)]
    return cells in (counts[:-1], counts[1:])


def _cells(file: Path) -> list[list[str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 text ({error}); save it as UTF-8") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DatasetError(f"{file} is empty; give a row of numbers per field")
    separator = max(",;\t", key=lines[0].count)
    cells = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    unlike = [k for k, row in enumerate(cells) if len(row) != len(cells[-1])]
    if unlike and unlike != [0]:
        line, count = unlike[-1] + 1, len(cells[unlike[-1]])
        raise DatasetError(f"{file}, line {line}: {count} cells, but {len(cells[-1])} in the last line")
    return cells


def _numbers(cells: list[list[str]], file: Path, first: int) -> Float64[np.ndarray, "rows columns"]:
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        for line, row in enumerate(cells, first):
            wrong = [cell for cell in row if not are_numbers([cell]) and cell.lower() != "nan"]
            if wrong:
                raise DatasetError(f"{file}, line {line}: '{wrong[0]}' is no number") from None
        raise DatasetError(f"{file} has rows of unlike length; give a row of numbers per field") from None


def _numbered(file: Path, count: int) -> list[str]:
    digits = len(str(count - 1))
    return [f"{file.stem}-{k:0{digits}}" for k in range(count)]
