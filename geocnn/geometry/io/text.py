"""Numbers in text files, many at once: words, the numbers that they are, and the lines they stand on."""

from __future__ import annotations

import re

import numpy as np

from geocnn.geometry.io.raw import LARGEST_ID, damaged, listed

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

LONGEST_WORD = 100
"""Characters of a number. A float64 written out in full has up to 25."""

PLAIN = np.zeros(256, bool)
PLAIN[list(b" \t\n\v\f\r0123456789+-.eE")] = True
"""The characters of finite decimal numbers, and of what stands between them."""

SPACE = np.zeros(256, bool)
SPACE[list(b" \t\n\v\f\r")] = True

STRANGE = re.compile(rb"[^\s]*[^\s0-9+\-.eE][^\s]*")
"""A word that has other characters."""

NOT_FINITE = re.compile(rb"([+-]?)(?:1\.#)?(?:(nan|ind|qnan|snan)(?:\([a-z]*\))?|(inf|infinity))0*", re.I)
"""How the C libraries of Linux, macOS and Windows (`-nan(ind)`, `1.#QNAN`) spell what is not finite."""

DECIMAL = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)")


class Words:
    """The words of a text, all of them numbers: their values, and which words stand on which row.

    Rows are lines of the text, counted from 0; `widths` [rows] tells how many words each has. `numbers`
    [rows] are the lines of the file that rows come from, where they are not `first`, first + 1, …

    Raises GeometryError, naming the line, for a word that is no decimal number of float64 size.
    """

    def __init__(self, text: bytes, first: int = 1, numbers: np.ndarray | None = None) -> None:
        self.first, self.numbers = first, numbers
        if not PLAIN[np.frombuffer(text, np.uint8)].all():
            text = STRANGE.sub(self._not_finite, text)
        self.row, self.widths = rows(text)
        self.words = split(text, self)
        self.values = self._values()

    def line(self, word: int) -> int:
        """The line of the file on which a word stands."""
        return self.line_of_row(int(self.row[word]))

    def line_of_row(self, row: int) -> int:
        return self.first + row if self.numbers is None else int(self.numbers[row])

    def typed(self, at: np.ndarray, kind: str) -> np.ndarray:
        """The words at these places in the declared type; as float64 where it cannot hold them."""
        values = self.values[at]
        if kind[0] == "f":
            with np.errstate(over="ignore"):
                narrow = values.astype(kind)
            return values if (np.isinf(narrow) & np.isfinite(values)).any() else narrow
        if kind in ("i8", "u8"):  # a float64 holds whole numbers up to 2^53 only
            try:
                return self.words[at].astype(kind)
            except (ValueError, OverflowError):
                return values
        limits = np.iinfo(kind)
        fits = (values >= limits.min) & (values <= limits.max) & (values == np.floor(values))
        return values.astype(kind) if fits.all() else values

    def _not_finite(self, word: re.Match[bytes]) -> bytes:
        parts = NOT_FINITE.fullmatch(word[0])
        if parts is None:
            row = word.string.count(b"\n", 0, word.start())
            raise damaged(f"'{shown(word[0])}' is no number", self.line_of_row(row))
        return b"nan" if parts[2] else parts[1] + b"inf"

    def _values(self) -> np.ndarray:
        try:
            values = self.words.astype(np.float64)
        except ValueError as fault:
            bad = next(k for k, word in enumerate(self.words) if not DECIMAL.fullmatch(word))
            raise damaged(f"'{shown(self.words[bad])}' is no number", self.line(bad)) from fault
        for k in np.isinf(values).nonzero()[0]:
            if not self.words[k].endswith(b"inf"):
                raise damaged(f"{shown(self.words[k])} is too large for a float64", self.line(int(k)))
        return values


def rows(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The row, from 0, on which each word stands, and how many stand on each."""
    characters = np.frombuffer(text, np.uint8)
    solid = ~SPACE[characters]
    begins = (solid & ~np.concatenate([[False], solid[:-1]])).nonzero()[0]
    breaks = (characters == ord("\n")).nonzero()[0]
    row = np.searchsorted(breaks, begins)
    return row, np.bincount(row, minlength=len(breaks))


def split(text: bytes, words: Words | None = None) -> np.ndarray:
    """What stands between spaces; refused where a word is too long for a number, as arrays give all of them
    the room of the longest.
    """
    if b"\0" in text:  # which arrays of words would drop
        raise damaged("it has a byte of value 0", text.count(b"\n", 0, text.index(b"\0")) + 1)
    found = text.split()
    if max(map(len, found), default=0) > LONGEST_WORD:
        long = next(k for k, word in enumerate(found) if len(word) > LONGEST_WORD)
        line = words.line(long) if words else None
        raise damaged(f"it has a word of more than {LONGEST_WORD} characters", line)
    return np.array(found, dtype=bytes)


def shown(word: bytes) -> str:
    """A word of a file for a message."""
    text = word.decode("ascii", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 40 else f"{text[:37]}..."


def lines(text: bytes) -> bytes:
    """Every line ended by a line feed, as the last one is too."""
    text = text.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text if text.endswith(b"\n") else text + b"\n"


def without_comments(text: bytes) -> bytes:
    """The lines of a text less what follows #."""
    # 1.#INF and 1.#IND, as Windows once spelt them, are numbers
    return re.sub(rb"(?:(?<!1\.)#|#(?!INF|IND|QNAN|SNAN))[^\n]*", b"", lines(text))


def table(words: Words, rows: np.ndarray, least: int, what: str) -> np.ndarray:
    """These rows as a table [rows, columns], of as many columns as the shortest has; at least `least`."""
    ends, widths = words.widths.cumsum()[rows], words.widths[rows]
    short = widths < least
    if short.any():
        raise damaged(f"{what}: {listed(short)}", words.line_of_row(int(rows[short.argmax()])))
    columns = int(widths.min()) if len(widths) else least
    return words.values[(ends - widths)[:, None] + np.arange(columns)]


def lists(words: Words, at: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lists, a length and as many numbers, that begin at `at` and end before `stop`.

    Returns their lengths, the places of their numbers in a row, and where each ends.
    """
    _refuse(words, at >= stop, stop - 1, "rows without a list")
    length = words.values[at]
    whole = (length >= 0) & (at + 1 + length <= stop) & (length == np.floor(length))
    _refuse(words, ~whole, at, "rows whose list is cut off")
    lengths = length.astype(np.int64)
    return lengths, within(at + 1, lengths), at + 1 + lengths


def _refuse(words: Words, bad: np.ndarray, at: np.ndarray, what: str) -> None:
    if bad.any():
        raise damaged(f"{what}: {listed(bad)}", words.line(int(at[bad.argmax()])))


def refuse_broken_ids(words: Words, at: np.ndarray, counts: np.ndarray) -> None:
    """Raises GeometryError, naming the line, where ids at these places are no whole numbers."""
    ids = words.values[at]
    broken = ~(np.isfinite(ids) & (np.abs(ids) < LARGEST_ID) & (ids == np.floor(ids)))
    if broken.any():
        face = np.bincount(np.repeat(np.arange(len(counts)), counts)[broken], minlength=len(counts)) > 0
        what = f"faces (counted from 0) with vertex ids that are no whole numbers: {listed(face)}"
        raise damaged(what, words.line(int(at[broken.argmax()])))


def within(start: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start[0], start[0] + 1, … (lengths[0] of them), start[1], …: the places of runs, in a row."""
    return np.repeat(start - (lengths.cumsum() - lengths), lengths) + np.arange(lengths.sum())
