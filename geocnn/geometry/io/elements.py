"""The rows of declared elements in .ply and .off files hold numbers, and lists after their lengths."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from geocnn.geometry.io.raw import Attributes, damaged, listed
from geocnn.geometry.io.text import Words, lists, refuse_broken_ids, within
from geocnn.wording import counted

Properties = list[tuple[str, str, str | None]]
"""The name and type of each property of an element, and the type of its length if it is a list.

Types have numpy's names.
"""

FileElement = tuple[str, int, Properties]
"""The name, number of rows and properties of an element."""


def text_rows(words: Words, elements: list[FileElement], ids: tuple[str, ...]) -> dict[str, Attributes]:
    """Read the properties of elements by name from one line per row; lengths of lists are under #name.

    Raises GeometryError, naming the line, for rows that are too short or too long, and for lists that are
    called one of `ids` and hold no whole numbers.
    """
    widths = words.widths[words.widths > 0]
    declared = sum(count for _, count, _ in elements)
    if len(widths) < declared:
        raise damaged(
            f"it ends after {counted(len(widths), 'line')} of its elements, its header declares {declared}"
        )
    ends, first, attributes = widths.cumsum(), 0, {}
    if len(widths) > declared:
        line = words.line(int(ends[declared - 1])) if declared else words.first
        raise damaged(
            f"it has {counted(len(widths), 'line')} of elements, its header declares {declared}", line
        )
    for element, count, properties in elements:
        stop = ends[first : first + count]
        at = stop - widths[first : first + count]
        columns = attributes[element] = {}
        for name, kind, length in properties:
            if length is None:
                if (short := at >= stop).any():
                    line = words.line(int(stop[short.argmax()]) - 1)
                    raise damaged(f"{element} {listed(short)}: a number is missing", line)
                columns[name], at = words.typed(at, kind), at + 1
            else:
                lengths, places, at = lists(words, at, stop)
                if name in ids:
                    refuse_broken_ids(words, places, lengths)
                columns[f"#{name}"], columns[name] = lengths, words.typed(places, kind)
        if (long := at != stop).any():
            what = f"{element} {listed(long)}: there are more numbers than the header declares"
            raise damaged(what, words.line(int(at[long.argmax()])))
        first += count
    return attributes


def binary_rows(content: bytes, at: int, elements: list[FileElement], order: str) -> dict[str, Attributes]:
    """Read the same from bytes, from `at` to the end of the content; order is < or >."""
    attributes = {}
    for element, count, properties in elements:
        if count == 0 or not properties:
            keys = [k for name, _, length in properties for k in (name, *[f"#{name}"] * (length is not None))]
            attributes[element] = {key: np.empty(0) for key in keys}
            continue
        row = _first_row(content, at, element, properties, order)
        table = np.frombuffer(content, row, min(count, (len(content) - at) // row.itemsize), at)
        names = row.names or ()
        alike = all((table[name] == table[name][:1]).all() for name in names if name.startswith("#"))
        if alike and len(table) == count:
            attributes[element] = {name: table[name].ravel() for name in names}
            at += table.nbytes
        elif any(name.startswith("#") for name in names):
            attributes[element], at = _uneven(content, at, element, count, properties, order)
        else:
            raise damaged(f"it ends after {len(table)} of {count} rows of {element}")
    if content[at:].strip():
        raise damaged(f"{len(content) - at} bytes follow the elements that its header declares")
    return attributes


def _first_row(content: bytes, at: int, element: str, properties: Properties, order: str) -> np.dtype:
    """Return the layout of an element's first row, at `at`; all rows share it if lists are equally long."""
    fields: list[tuple] = []
    try:
        for name, kind, length in properties:
            size = ()
            if length is not None:
                fields.append((f"#{name}", order + length))
                size = (int(np.frombuffer(content, np.dtype(fields), 1, at)[f"#{name}"][0]),)
            fields.append((name, order + kind, size))
        return np.dtype(fields)
    except (ValueError, OverflowError) as short:
        raise damaged(f"it ends in its first row of {element}") from short


def _uneven(
    content: bytes, at: int, element: str, count: int, properties: Properties, order: str
) -> tuple[Attributes, int]:
    """Read rows with lists of several lengths; also return where they end."""
    starts, lengths, at = _walk(content, at, element, count, properties, order)
    data, columns = np.frombuffer(content, np.uint8), {}
    for (name, kind, length), start, many in zip(properties, starts, lengths, strict=True):
        size = np.dtype(kind).itemsize
        places = within(start, many * size).reshape(-1, size)
        columns[name] = np.ascontiguousarray(data[places]).view(order + kind).ravel()
        if length is not None:
            columns[f"#{name}"] = many
    return columns, at


def _walk(
    content: bytes, at: int, element: str, count: int, properties: Properties, order: str
) -> tuple[Int64[np.ndarray, "properties rows"], Int64[np.ndarray, "properties rows"], int]:
    """Return where the values of each property begin in each row, their number, and where the rows end.

    Each row begins where the one before it ends, so they are read one by one.
    """
    endian = "little" if order == "<" else "big"
    plan = [
        (np.dtype(kind).itemsize, np.dtype(length).itemsize if length else 0, (length or "u")[0] == "i")
        for _, kind, length in properties
    ]
    starts: list[int] = []
    lengths: list[int] = []
    for row in range(count):
        for size, head, signed in plan:
            many = 1
            if head:
                many = int.from_bytes(content[at : at + head], endian, signed=signed)
                at += head
            if many < 0 or at + many * size > len(content):
                raise damaged(f"it ends after {row} of {count} rows of {element}")
            starts.append(at)
            lengths.append(many)
            at += many * size
    shape = (count, len(plan))
    return np.array(starts).reshape(shape).T, np.array(lengths).reshape(shape).T, at
