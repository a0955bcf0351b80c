"""Commands print text unchanged on any terminal, and a full disc raises one error.

Names of files and layers are not markup: `scan[1].ply` keeps its brackets, `:bone:` stays a word.
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
"""The replacement for each letter that a terminal may lack."""


def make_console(stderr: bool = False, quiet: bool = False) -> Console:
    """Return a rich console that prints text unchanged; `style` and `rich.text.Text` give colours."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            # replace letters before rich measures widths
            return super().render_str(legible(text, self.encoding), **options)

    return Plain(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)


def terminal_console() -> Console | None:
    """Return a console on standard error if that is a terminal (and rich is installed), to show progress."""
    if sys.stderr is None or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return None
    return make_console(stderr=True)


@contextmanager
def progress(
    console: Console | None, task: str, total: int, pause: float = 30.0
) -> Iterator[Callable[[int], None]]:
    """Show the progress of a task; call the function that it gives with the number of parts done since.

    A terminal gets a bar; other outputs get a line at the beginning, and one every `pause` seconds.
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
    """Prints progress in lines."""

    def __init__(self, console: Console, task: str, total: int, pause: float) -> None:
        self.console, self.task, self.total, self.pause = console, task, total, pause
        self.done, self.printed = 0, time.monotonic()
        console.print(f"{task}: {total:,}", highlight=False, soft_wrap=True)

    def __call__(self, n: int) -> None:
        self.done += n
        if time.monotonic() - self.printed >= self.pause and self.done < self.total:
            self.printed = time.monotonic()
            line = f"{self.task}: {self.done:,} of {self.total:,}"
            self.console.print(line, highlight=False, soft_wrap=True)


def legible(text: str, encoding: str = "utf-8") -> str:
    """Return the text in letters that the encoding has.

    A file's name may hold bytes that are not text in the locale: Python represents them by surrogates, which
    no encoding has and no font draws.

    >>> legible("2π·0 in \\udce9.ply", "ascii")
    '2pi*0 in \\\\udce9.ply'
    """
    return text.encode(encoding, "geocnn.spell").decode(encoding)


def spell_on_output() -> None:
    """Make standard output replace letters that its encoding lacks, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="geocnn.spell")


def flush_output() -> None:
    """Raise OSError if standard output cannot be written, as on a full disc.

    The output is then discarded, for Python would try again at its end and fail with its own message.
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
