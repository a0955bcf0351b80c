"""The output of commands: text is printed as it is, on any terminal, and a full disc is one error.

Names of files and layers are no markup: `scan[1].ply` keeps its brackets, `:bone:` stays a word.
"""

from __future__ import annotations

import codecs
import importlib.util
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SPELT = str.maketrans(
    {
        "π": "pi", "°": " deg", "·": "*", "×": "x", "²": "^2", "–": "-", "−": "-", "→": "->", "…": "...",
        "’": "'", "≤": "<=", "≥": ">=", "ℓ": "l", "₁": "1", "₂": "2", "φ": "phi", "θ": "theta",
    }
)  # fmt: skip
"""What is written instead of a letter that a terminal does not have."""


def make_console(stderr: bool = False, quiet: bool = False) -> Console:
    """A rich console that prints text as it is; colours are asked for by `style` or `rich.text.Text`."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            # before widths are measured
            return super().render_str(legible(text, self.encoding), **options)

    return Plain(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)


def terminal_console() -> Console | None:
    """A console on standard error where that is a terminal (and rich is installed), for functions that show
    their progress to somebody who sits there.
    """
    if sys.stderr is None or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return None
    return make_console(stderr=True)


@contextmanager
def progress(
    console: Console | None, task: str, total: int, pause: float = 30.0
) -> Iterator[Callable[[int], None]]:
    """Shows how far a task has come: the function that it gives takes the number of parts done since.

    A bar on a terminal; elsewhere a line at the beginning, and one whenever `pause` seconds have passed.
    """
    if console is None or total == 0:
        yield lambda n: None
    elif console.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            number = bar.add_task(task, total=total)
            yield lambda n: bar.advance(number, n)
    else:
        yield _Lines(console, task, total, pause)


class _Lines:
    """Progress in lines."""

    def __init__(self, console: Console, task: str, total: int, pause: float) -> None:
        self.console, self.task, self.total, self.pause = console, task, total, pause
        self.done, self.said = 0, time.monotonic()
        console.print(f"{task}: {total:,}", highlight=False, soft_wrap=True)

    def __call__(self, n: int) -> None:
        self.done += n
        if time.monotonic() - self.said >= self.pause and self.done < self.total:
            self.said = time.monotonic()
            line = f"{self.task}: {self.done:,} of {self.total:,}"
            self.console.print(line, highlight=False, soft_wrap=True)


def legible(text: str, encoding: str = "utf-8") -> str:
    """The text in letters that the encoding has.

    A file's name may hold bytes that are no text in the locale: Python stands surrogates for them, which no
    encoding has and no font draws.

    >>> legible("2π·0 in \\udce9.ply", "ascii")
    '2pi*0 in \\\\udce9.ply'
    """
    return text.encode(encoding, "geocnn.spell").decode(encoding)


def spell_on_output() -> None:
    """From now on standard output spells what its encoding lacks, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="geocnn.spell")


def flush_output() -> None:
    """Raises OSError if standard output cannot be written, as on a full disc.

    It is given up then: Python would try again at its end, and fail with a message of its own.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            _give_up(stream)
            raise


def _give_up(stream: IO[str]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return lacking.translate(SPELT).encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error("geocnn.spell", _spell)
