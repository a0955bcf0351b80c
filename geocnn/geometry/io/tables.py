"""Tables of numbers, one row per vertex: .csv with names of columns, .txt without, .npy and .npz arrays."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from io import BytesIO, StringIO

import numpy as np
from jaxtyping import Real
from numpy.lib import format as npy

from geocnn.errors import GeometryError
from geocnn.geometry.io.npz import BROKEN, arrays_of, plain_array
from geocnn.geometry.io.raw import Attributes, damaged
from geocnn.geometry.io.text import DECIMAL, Words, lines, without_comments
from geocnn.wording import counted

ALONE = "values"
"""The name of values whose file names none."""

SEPARATORS = b",;\t"
WHOLE = np.zeros(256, bool)
WHOLE[list(b"0123456789+-\0")] = True
"""The characters of whole numbers, and the padding of shorter words."""


def read_txt(content: bytes) -> Attributes:
    """Read rows of numbers between spaces; a # begins a comment. Several columns make an array [N, k]."""
    text = _ended(content)
    empty = [not line.strip() for line in text.splitlines()]
    columns = _columns(_body(without_comments(text), empty))
    if not columns:
        raise damaged("it has no numbers")
    return {ALONE: columns[0] if len(columns) == 1 else np.stack(columns, 1)}


def read_csv(content: bytes) -> Attributes:
    """Read columns between commas, semicolons or tabs, named by the first row where that is not numbers."""
    text = _ended(content)
    first, _, rest = text.partition(b"\n")
    counts = {bytes([s]): first.count(s) for s in SEPARATORS}
    separator = max(counts, key=lambda s: counts[s])
    try:
        reader = csv.reader(StringIO(first.decode("utf-8", "replace")), delimiter=separator.decode())
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as broken:
        raise damaged(f"its names of columns cannot be read ({broken})", 1) from broken
    if not any(names):
        raise damaged("it has no names of columns and no numbers", 1)
    headed = not all(DECIMAL.fullmatch(name.lower().encode()) for name in names)
    body = (b"\n" + rest) if headed else text
    if headed and (twice := [name for k, name in enumerate(names) if name in names[:k] or not name]):
        raise GeometryError(f"line 1: each column needs its own name; '{twice[0]}' is empty or stands twice")
    rows = body.rstrip(b"\n").split(b"\n")[headed:]
    for k, row in enumerate(rows):
        if row.count(separator) != len(names) - 1:
            found = counted(row.count(separator) + 1, "cell")
            raise damaged(f"it has {found}, the first line has {len(names)}", k + 1 + headed)
    gap = re.search(
        rb"(^|%s)[ \"]*(%s|$)" % (separator, separator), body.rstrip(b"\n")[headed:], re.MULTILINE
    )
    if gap and len(names) > 1:
        line = 1 + headed + gap.string.count(b"\n", 0, gap.start(2))
        raise damaged("a cell is empty; write nan where a number is not known", line)
    empty = [False] * headed + [not row.strip() for row in rows]
    columns = _columns(_body(body.replace(separator, b" ").replace(b'"', b" "), empty))
    if len(columns) not in (0, len(names)):
        raise damaged(f"it has {counted(len(columns), 'column')} of numbers and {len(names)} names")
    columns = columns or [np.empty(0)] * len(names)
    if headed:
        return dict(zip(names, columns, strict=True))
    return {ALONE: columns[0] if len(columns) == 1 else np.stack(columns, 1)}


def read_npy(content: bytes) -> Attributes:
    """Read one array of numbers; pickled objects are refused."""
    try:
        values = plain_array(BytesIO(content), len(content), "the array")
    except BROKEN as broken:
        raise damaged(f"not a plain array ({broken})") from broken
    if not isinstance(values, np.ndarray):
        raise GeometryError(f"it holds {values}; give numbers, one row per vertex")
    return {ALONE: values}


def read_npz_values(content: bytes) -> Attributes:
    """Read the arrays of numbers of an archive by their names."""
    stored = arrays_of(content)
    if {"vertices", "faces"} <= stored.keys() or {"v", "f"} <= stored.keys():
        raise GeometryError("it holds a mesh: geocnn.geometry.read_mesh reads it, with its values")
    return {name: array for name, array in stored.items() if isinstance(array, np.ndarray)}


def txt_bytes(values: Attributes) -> bytes:
    """Return the rows of all columns; each number has the digits that identify it in its own precision."""
    return _rows([*as_columns(values).values()], " ").encode("ascii")


def csv_bytes(values: Attributes) -> bytes:
    """Return a row of names, then rows of numbers as `txt_bytes` writes them."""
    columns = as_columns(values)
    stream = StringIO()
    csv.writer(stream, lineterminator="\n").writerow(columns)
    return (stream.getvalue() + _rows([*columns.values()], ",")).encode("utf-8")


def npy_bytes(values: Attributes) -> bytes:
    """Return the one array. Raises GeometryError for several, which .npz and .csv files hold."""
    if len(values) != 1:
        raise GeometryError(f"an .npy file holds one array, not {', '.join(values)}; give .npz or .csv")
    stream = BytesIO()
    npy.write_array(stream, next(iter(values.values())), allow_pickle=False)
    return stream.getvalue()


def as_columns(values: Attributes) -> Attributes:
    """Return columns [N]; an array of k numbers per vertex becomes name_0 … name_k−1.

    >>> list(as_columns({"wind": np.zeros((5, 2)), "label": np.arange(5)}))
    ['wind_0', 'wind_1', 'label']
    """
    columns: Attributes = {}
    for name, array in values.items():
        if array.ndim == 1:
            columns[name] = array
            continue
        table = array.reshape(len(array), int(np.prod(array.shape[1:])))
        columns |= {f"{name}_{k}": column for k, column in enumerate(table.T)}
    return columns


def _ended(content: bytes) -> bytes:
    """Return text that ends with its last line that is not empty."""
    return re.sub(rb"(\n *)+\Z", b"\n", lines(content))


def _body(text: bytes, empty: Sequence[bool]) -> Words:
    """Return the numbers of a text. Raises GeometryError, naming the line, for an empty line between rows."""
    if any(empty):
        raise damaged("it is empty, although each line holds the values of a vertex", 1 + empty.index(True))
    return Words(text)


def _columns(words: Words) -> list[Real[np.ndarray, " n"]]:
    """Return columns, of whole numbers where all words of a column are. Raises GeometryError, naming the
    line, for a row of another length than the first.
    """
    used = words.widths.nonzero()[0]
    if not len(used):
        return []
    width = int(words.widths[used[0]])
    if (words.widths[used] != width).any():
        odd = int(used[(words.widths[used] != width).argmax()])
        found = counted(int(words.widths[odd]), "number")
        raise damaged(f"it has {found}, the rows before have {width}", words.line_of_row(odd))
    places = np.arange(len(words.values)).reshape(-1, width)
    bytes_of = words.words.view(np.uint8).reshape(len(words.words), -1)
    return [words.typed(at, "i8" if WHOLE[bytes_of[at]].all() else "f8") for at in places.T]


def _rows(columns: list[np.ndarray], separator: str) -> str:
    cells = [_cells(column) for column in columns]
    return "".join(f"{separator.join(row)}\n" for row in zip(*cells, strict=True))


def _cells(column: Real[np.ndarray, " n"]) -> list[str]:
    return (column if column.dtype.kind == "f" else column.astype(np.int64)).astype(str).tolist()
