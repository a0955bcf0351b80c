"""Other libraries read some formats; they are imported when needed, and their errors become ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile, GzipFile
from importlib import import_module
from io import BytesIO
from types import ModuleType
from zlib import error as ZlibError

from geocnn.errors import GeometryError
from geocnn.geometry.core.extras import installing
from geocnn.geometry.io.raw import damaged

PACKED = 2**26, 200
"""Packed files of meshes become 3 to 50 times as long. One that unpacks to more bytes than the first number
and to more than the second number times its length is refused as an attack on memory."""


def library(name: str) -> ModuleType:
    """Import a module; raise GeometryError, with the way to install it, where it is missing."""
    try:
        return import_module(name)
    except ImportError as missing:
        raise _needed(missing) from missing


@contextmanager
def reading_with(name: str) -> Iterator[None]:
    """Turn whatever a library raises into a GeometryError, and hide its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except GeometryError:
        raise
    except ImportError as missing:
        raise _needed(missing) from missing
    except Exception as fault:  # their parsers raise anything from KeyError to MemoryError
        raise damaged(f"{name} cannot read it ({type(fault).__name__}: {fault})") from fault


def refuse_bomb(packed: int, unpacked: int) -> None:
    """Raise GeometryError where a small file unpacks to a huge one."""
    most, times = PACKED
    if unpacked > max(most, times * packed):
        raise GeometryError(
            f"its {packed} bytes unpack to more than {most}; unpack it first, if you trust it"
        )


def gunzipped(content: bytes) -> bytes:
    """Return the unpacked content of a .gz file."""
    most, times = PACKED
    try:
        with GzipFile(fileobj=BytesIO(content)) as stream:
            unpacked = stream.read(max(most, times * len(content)) + 1)
    except (BadGzipFile, EOFError, ZlibError) as broken:
        raise damaged(f"it is no whole gzip file ({broken})") from broken
    refuse_bomb(len(content), len(unpacked))
    return unpacked


def _needed(missing: ImportError) -> GeometryError:
    name = missing.name or str(missing)
    return GeometryError(
        f"this format takes {name}, which is not installed: {installing(name.split('.')[0])}"
    )
