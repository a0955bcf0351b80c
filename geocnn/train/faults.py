"""A recipe is a user's own code: its faults are reported in one line, with their place in it."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_OURS = Path(__file__).resolve().parents[1]
_LIBRARIES = [_OURS, *(Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib"))]


def place_of(error: BaseException) -> str:
    """Return the innermost line of the traceback that belongs to no library, or "".

    >>> try:
    ...     compile("1 +", "mine.py", "exec")
    ... except SyntaxError as error:
    ...     place_of(error)
    'mine.py, line 1'
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename).resolve()
        if file.is_file() and not any(file.is_relative_to(folder) for folder in _LIBRARIES):
            return f"{frame.filename}, line {frame.lineno}, in {frame.name}"
    return ""
