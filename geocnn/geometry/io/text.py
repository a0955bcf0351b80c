"""Numbers in text files are read all at once: the words, their values, and the lines that they stand on."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Bool, Float64, Int64, Real

from geocnn.geometry.io.raw import LARGEST_ID, damaged, listed

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

LONGEST_WORD = 100
"""A number may have so many characters. A float64 written out in full has up to 25."""

PLAIN = np.zeros(256, bool)
PLAIN[list(b" \t\n\v\f\r0123456789+-.eE")] = True
"""The characters of finite decimal numbers, and of the space between them."""

SPACE = np.zeros(256, bool)
SPACE[list(b" \t\n\v\f\r")] = True

STRANGE = re.compile(rb"[^\s]*[^\s0-9+\-.eE][^\s]*")
"""A word that has other characters."""

NOT_FINITE = re.compile(rb"([+-]?)(?:1\.#)?(?:(nan|ind|qnan|snan)(?:\([a-z]*\))?|(inf|infinity))0*", re.I)
"""The C libraries of Linux, macOS and Windows (`-nan(ind)`, `1.#QNAN`) spell NaN and infinity like this."""

DECIMAL = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)")


class Words:
    """The words of a text, all of them numbers: their values, and the row of each.

    Rows are lines of the text, counted from 0; `widths` [rows] is the number of words on each. `numbers`
    [rows] are the lines of the file that rows come from, unless they are `first`, first + 1, …

    Raises GeometryError, naming the line, for a word that is not a decimal number of float64 size.
    """

    def __init__(self, text: bytes, first: int = 1, numbers: np.ndarray | None = None) -> None:
        self.first, self.numbers = first, numbers
        if not PLAIN[np.frombuffer(text, np.uint8)].all():
            text = STRANGE.sub(self._not_finite, text)
        self.row, self.widths = rows(text)
        self.words = split_words(text, self)
        self.values = self._values()

    def line(self, word: int) -> int:
        """Return the line of the file on which a word stands."""
        return self.line_of_row(int(self.row[word]))

    def line_of_row(self, row: int) -> int:
        return self.first + row if self.numbers is None else int(self.numbers[row])

    def typed(self, at: Int64[np.ndarray, " k"], kind: str) -> Real[np.ndarray, " k"]:
        """Return the words at these places in the declared type; as float64 where that cannot hold them."""
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

    def _values(self) -> Float64[np.ndarray, " words"]:
        try:
            values = self.words.astype(np.float64)
        except ValueError as fault:
            bad = next(k for k, word in enumerate(self.words) if not DECIMAL.fullmatch(word))
            raise damaged(f"'{shown(self.words[bad])}' is no number", self.line(bad)) from fault
        for k in np.isinf(values).nonzero()[0]:
            if not self.words[k].endswith(b"inf"):
                raise damaged(f"{shown(self.words[k])} is too large for a float64", self.line(int(k)))
        return values


def rows(text: bytes) -> tuple[Int64[np.ndarray, " words"], Int64[np.ndarray, " rows"]]:
    """Return the row, from 0, of each word, and the number of words on each row."""
    characters = np.frombuffer(text, np.uint8)
    solid = ~SPACE[characters]
    begins = (solid & ~np.concatenate([[False], solid[:-1]])).nonzero()[0]
    breaks = (characters == ord("\n")).nonzero()[0]
    row = np.searchsorted(breaks, begins)
    return row, np.bincount(row, minlength=len(breaks))


def split_words(text: bytes, words: Words | None = None) -> np.ndarray:
    """Return the words between spaces.

    A word that is too long for a number is refused, for arrays store all words at the length of the longest.
    """
    if b"\0" in text:  # arrays of words would drop it
        raise damaged("it has a byte of value 0", text.count(b"\n", 0, text.index(b"\0")) + 1)
    parts = text.split()
    if max(map(len, parts), default=0) > LONGEST_WORD:
        long = next(k for k, word in enumerate(parts) if len(word) > LONGEST_WORD)
        line = words.line(long) if words else None
        raise damaged(f"it has a word of more than {LONGEST_WORD} characters", line)
    return np.array(parts, dtype=bytes)


def shown(word: bytes) -> str:
    """Shorten and escape a word of a file for a message."""
    text = word.decode("ascii", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 40 else f"{text[:37]}..."


def lines(text: bytes) -> bytes:
    """End every line by a line feed, the last one too."""
    text = text.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text if text.endswith(b"\n") else text + b"\n"


def without_comments(text: bytes) -> bytes:
    """Remove what follows # on each line."""
    # 1.#INF and 1.#IND are numbers, as Windows once spelt them
    return re.sub(rb"(?:(?<!1\.)#|#(?!INF|IND|QNAN|SNAN))[^\n]*", b"", lines(text))


def table(
    words: Words, rows: Int64[np.ndarray, " k"], least: int, what: str
) -> Float64[np.ndarray, "k columns"]:
    """Return these rows as a table with as many columns as the shortest has; at least `least`."""
    ends, widths = words.widths.cumsum()[rows], words.widths[rows]
    short = widths < least
    if short.any():
        raise damaged(f"{what}: {listed(short)}", words.line_of_row(int(rows[short.argmax()])))
    columns = int(widths.min()) if len(widths) else least
    return words.values[(ends - widths)[:, None] + np.arange(columns)]


def lists(
    words: Words, at: Int64[np.ndarray, " k"], stop: Int64[np.ndarray, " k"]
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " numbers"], Int64[np.ndarray, " k"]]:
    """Find the lists that begin at `at` and end before `stop`: a length, then so many numbers.

    Returns their lengths, the places of all their numbers, and where each ends.
    """
    _refuse(words, at >= stop, stop - 1, "rows without a list")
    length = words.values[at]
    whole = (length >= 0) & (at + 1 + length <= stop) & (length == np.floor(length))
    _refuse(words, ~whole, at, "rows whose list is cut off")
    lengths = length.astype(np.int64)
    return lengths, within(at + 1, lengths), at + 1 + lengths


def _refuse(words: Words, bad: Bool[np.ndarray, " k"], at: Int64[np.ndarray, " k"], what: str) -> None:
    if bad.any():
        raise damaged(f"{what}: {listed(bad)}", words.line(int(at[bad.argmax()])))


def refuse_broken_ids(
    words: Words, at: Int64[np.ndarray, " ids"], counts: Int64[np.ndarray, " faces"]
) -> None:
    """Raise GeometryError, naming the line, where ids at these places are not whole numbers."""
    ids = words.values[at]
    broken = ~(np.isfinite(ids) & (np.abs(ids) < LARGEST_ID) & (ids == np.floor(ids)))
    if broken.any():
        face = np.bincount(np.repeat(np.arange(len(counts)), counts)[broken], minlength=len(counts)) > 0
        what = f"faces (counted from 0) with vertex ids that are no whole numbers: {listed(face)}"
        raise damaged(what, words.line(int(at[broken.argmax()])))


def within(start: Int64[np.ndarray, " k"], lengths: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " places"]:
    """Return the places of all runs: start[0], start[0] + 1, … (lengths[0] of them), start[1], …"""
    return np.repeat(start - (lengths.cumsum() - lengths), lengths) + np.arange(lengths.sum())
