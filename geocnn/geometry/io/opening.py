"""Files are opened and unpacked here, and every error names its file."""

from __future__ import annotations

import gzip
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from geocnn.errors import GeometryError
from geocnn.files import replacing
from geocnn.geometry.io.libraries import gunzipped


def content_of(path: Path, packed: tuple[str, ...], what: str, suffixes: Container[str]) -> tuple[bytes, str]:
    """Return the content of a file, unpacked where its name ends in one of `packed`, and its suffix.

    `what` says in errors which files are read; their names end in `suffixes`.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
        example = f", such as {files[0]}" if files else f"; there is none in it: {what}"
        raise GeometryError(f"{path} is a folder; give one file{example}")
    if not path.is_file():
        raise GeometryError(f"there is no file {path}; give {what}")
    with naming(path):
        content = path.read_bytes()
        is_packed = path.name.lower().endswith(packed)
        name = path.stem if is_packed else path.name
        return gunzipped(content) if is_packed else content, Path(name).suffix.lower()


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name the file in errors; numpy does not warn of NaN and infinity in it."""
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            yield
    except GeometryError as fault:
        raise GeometryError(f"{path}: {fault}") from fault
    except OSError as fault:
        raise GeometryError(f"{path} cannot be read or written ({fault.strerror})") from fault


def unpacked_name(path: Path) -> Path:
    """Return the name without .gz.

    >>> unpacked_name(Path("scan.ply.gz")).suffix
    '.ply'
    """
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole, or leave it as it was; packed, always in the same way, if its name ends in .gz."""
    with replacing(path) as new:
        new.write_bytes(gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content)
