"""The room that the cache may take: of its files, those unused for longest are removed first.

A file's time of change is the time of its last use. Files used within the last minute stay, so what another
process reads or writes now is never removed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from geocnn.errors import GeometryError

LIMIT_VARIABLE = "GEOCNN_CACHE_BYTES"

MOST_BYTES = 10_000_000_000
"""The default limit, on discs of 100 GB and more; on smaller ones it is a tenth of the disc."""

IN_USE = 60.0
"""Seconds after its last use in which a file may still be read or written; either takes seconds."""

FILLED = 0.9
"""Files are removed until this share of the limit is left, so that this is needed seldom."""

UNCOUNTED = 0.02
"""After a process has written this share of the limit, it counts the files of all processes again."""


class _Counted(NamedTuple):
    """What this process knows of a folder: its bytes when last counted, and those written since."""

    then: int
    since: int = 0


_known: dict[Path, _Counted] = {}


def cache_limit(folder: Path) -> int:
    """Return how many bytes the cache in this folder may take: GEOCNN_CACHE_BYTES, else 10 GB or a tenth of
    the disc, whichever is less. At 0 nothing is kept.

    Raises GeometryError where the variable holds no number of bytes.

    >>> cache_limit(Path.cwd()) <= MOST_BYTES
    True
    """
    chosen = os.environ.get(LIMIT_VARIABLE)
    if chosen:
        if not chosen.strip().isdecimal():
            raise GeometryError(
                f"{LIMIT_VARIABLE} must be a whole number of bytes, like 10000000000, got {chosen!r}"
            )
        return int(chosen)
    existing = next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path.cwd())
    return min(MOST_BYTES, shutil.disk_usage(existing).total // 10)


def touch(file: Path) -> None:
    """Note that a file is used now. A file of another user's may not allow it and then counts as older."""
    with suppress(OSError):
        os.utime(file)


def make_room(folder: Path, new: int, is_ours: Callable[[Path], bool]) -> None:
    """Note that `new` bytes were written, and remove the files unused for longest while the limit is passed.

    `is_ours` says which files in the folder's parts belong to the cache.
    """
    limit = cache_limit(folder)
    known = _known.get(folder)
    if known is not None:
        known = _known[folder] = known._replace(since=known.since + new)
        if known.then + known.since <= limit and known.since <= UNCOUNTED * limit:
            return
    files = sorted(_used(folder, is_ours))
    total = sum(size for _, size, _ in files)
    if total > limit:
        for used, size, file in files:
            if total <= FILLED * limit or time.time() - used < IN_USE:
                break
            # another process may have used or removed it meanwhile
            with suppress(OSError):
                if file.stat().st_mtime == used:
                    file.unlink()
            total -= size
    _known[folder] = _Counted(total)


def _used(folder: Path, is_ours: Callable[[Path], bool]) -> list[tuple[float, int, Path]]:
    """Return (time of last use, bytes, file) of the files of the cache."""
    found = []
    for part in folder.glob("[0-9a-f][0-9a-f]"):
        for file in part.iterdir() if part.is_dir() and not part.is_symlink() else ():
            with suppress(OSError):  # removed meanwhile
                if is_ours(file):
                    status = file.lstat()
                    found.append((status.st_mtime, status.st_size, file))
    return found
