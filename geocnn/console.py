"""The output of commands: text is printed as it is, on any terminal, and a full disc is one error.

Names of files and layers are no markup: `scan[1].ply` keeps its brackets, `:bone:` stays a word.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
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
