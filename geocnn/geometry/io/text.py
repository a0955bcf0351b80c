"""Numbers in text files, many at once: rows, and lists in rows."""

from __future__ import annotations

import re

import numpy as np

from geocnn.geometry.io.raw import damaged, listed

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

LONGEST_WORD = 100
"""Characters of a number. A float64 written out in full has up to 25."""


def lines(text: bytes) -> bytes:
    """Every line ended by a line feed, as the last one is too."""
    text = text.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text if text.endswith(b"\n") else text + b"\n"


def without_comments(text: bytes) -> bytes:
    """The lines of a text less what follows #."""
    return re.sub(rb"#[^\n]*", b"", lines(text))


def words(text: bytes) -> np.ndarray:
    """What stands between spaces; refused where a word is too long for a number, as arrays give all of them
    the room of the longest.
    """
    found = text.split()
    if max(map(len, found), default=0) > LONGEST_WORD:
        raise damaged(f"it has a word of more than {LONGEST_WORD} characters")
    return np.array(found, dtype=bytes)


def numbers(text: bytes) -> np.ndarray:
    """All numbers of a text, float64."""
    try:
        return words(text).astype(np.float64)
    except ValueError as word:
        raise damaged(f"there is something that is no number ({word})") from word


def rows(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a text, float64, and how many of them are on each line."""
    found = numbers(text)
    character = np.frombuffer(text, np.uint8)
    solid = character > ord(" ")
    begins = solid & ~np.concatenate([[False], solid[:-1]])
    line = np.cumsum(character == ord("\n"))
    return found, np.bincount(line[begins], minlength=text.count(b"\n"))


def table(found: np.ndarray, widths: np.ndarray, least: int, what: str) -> np.ndarray:
    """Rows as a table [rows, columns], of as many columns as the shortest row has; at least `least`."""
    if (widths < least).any():
        raise damaged(f"{what}: {listed(widths < least)}")
    columns = int(widths.min()) if len(widths) else least
    return found[(widths.cumsum() - widths)[:, None] + np.arange(columns)]


def lists(found: np.ndarray, at: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lists, a length and as many numbers, that begin at `at` and end before `stop`.

    Returns their lengths, their numbers in a row, and where each ends.
    """
    if (at >= stop).any():
        raise damaged(f"rows without a list: {listed(at >= stop)}")
    whole = (found[at] >= 0) & (at + 1 + found[at] <= stop) & (found[at] == np.floor(found[at]))
    if not whole.all():
        raise damaged(f"rows whose list is cut off: {listed(~whole)}")
    lengths = found[at].astype(np.int64)
    return lengths, found[within(at + 1, lengths)], at + 1 + lengths


def within(start: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start[0], start[0] + 1, … (lengths[0] of them), start[1], …: the places of runs, in a row."""
    return np.repeat(start - (lengths.cumsum() - lengths), lengths) + np.arange(lengths.sum())


def typed(values: np.ndarray, kind: str) -> np.ndarray:
    """Numbers of a text in the declared type; as they are where that cannot hold them."""
    if kind[0] == "f":
        return values.astype(kind)
    limits = np.iinfo(kind)
    fits = (values >= limits.min) & (values <= limits.max) & (values == np.floor(values))
    return values.astype(kind) if fits.all() else values
