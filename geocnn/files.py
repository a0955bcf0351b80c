"""Files are written so that they appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from torch import Tensor

# the suffix of a file that is being written; a killed process leaves it behind
UNFINISHED = ".part"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a name for a new file that replaces `path` when the block ends, and is removed if it raises.

    No two writers get the same name, whatever their thread, process or machine.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.txt") as new:
    ...         _ = new.write_text("whole")
    ...     [file.name for file in Path(folder).iterdir()]
    ['a.txt']
    """
    path = Path(path)
    # in the same folder, where replacing is atomic
    new = path.with_name(f"{path.name}.{uuid4().hex}{UNFINISHED}")
    try:
        yield new
        settle(new, path)
    finally:
        new.unlink(missing_ok=True)


def settle(new: Path, path: Path) -> None:
    """Rename a new file to `path`, once all of it is on the disc."""
    with new.open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(new, path)


def write_safetensors(tensors: dict[str, Tensor], path: str | Path, metadata: dict[str, str]) -> None:
    """Write tensors as one safetensors file, whole or not at all. Raises OSError if there is no room."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as new:
        try:
            save_file(tensors, new, metadata)
        except SafetensorError as error:  # what the disc refuses, too
            raise OSError(f"{path} cannot be written ({error})") from error
