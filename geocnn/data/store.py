"""The data sets that ship with the package: one folder each, with source, licence and checksums.

The folders lie in `datasets/` of a repository checkout, and inside the package that a wheel installs; the
environment variable GEOCNN_DATASETS names another place. `dataset.toml` describes each data set. A file is
returned only after its SHA-256 agrees with that in `dataset.toml`, which is checked once per process.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from geocnn.errors import DatasetError

ENVIRONMENT_VARIABLE = "GEOCNN_DATASETS"


INSTALLED = Path(__file__).resolve().parents[1] / "_datasets"
CHECKOUT = Path(__file__).resolve().parents[2] / "datasets"


def datasets_folder() -> Path:
    """Return the folder that holds one folder per data set. Raises DatasetError where there is none.

    >>> (datasets_folder() / "mnist" / "dataset.toml").is_file()
    True
    """
    place = os.environ.get(ENVIRONMENT_VARIABLE)
    # an installed package looks only inside itself: what lies beside it belongs to others
    folder = Path(place) if place else INSTALLED if INSTALLED.is_dir() else CHECKOUT
    if not any(folder.glob("*/dataset.toml")):
        remedy = f"let {ENVIRONMENT_VARIABLE} name a folder that has them, or unset it"
        raise DatasetError(f"there are no data sets in {folder}; {remedy if place else _remedy('datasets')}")
    return folder


def _remedy(path: str) -> str:
    """Say how to get back data that are missing or damaged; `path` is theirs in the repository."""
    if INSTALLED.is_dir():
        return "restore it by installing again: pip install --force-reinstall --no-deps geocnn"
    return f"restore it from the repository: git checkout -- {path}"


def describe(name: str) -> dict[str, Any]:
    """Return the contents of a data set's `dataset.toml`. Raises DatasetError if there is no such data set.

    >>> describe("mnist")["licence"]
    'CC BY-SA 3.0'
    """
    root = datasets_folder()
    card = root / name / "dataset.toml"
    if not card.is_file():
        known = ", ".join(sorted(path.parent.name for path in root.glob("*/dataset.toml"))) or "none"
        raise DatasetError(f"no data set '{name}' in {root}; there are: {known}")
    with card.open("rb") as stream:
        try:
            return tomllib.load(stream)
        except tomllib.TOMLDecodeError as error:
            raise DatasetError(
                f"{card} is not valid TOML ({error}); {_remedy(f'datasets/{name}')}"
            ) from error


def dataset_file(name: str, path: str) -> Path:
    """Return a file of a data set after a check of its SHA-256.

    Raises:
        DatasetError: the file is not in `dataset.toml`, is missing, or has another SHA-256.

    >>> dataset_file("mnist", "t10k-labels-idx1-ubyte.gz").name
    't10k-labels-idx1-ubyte.gz'
    """
    checksums = {entry["path"]: entry["sha256"] for entry in describe(name)["files"]}
    if path not in checksums:
        raise DatasetError(
            f"'{path}' is not a file of the data set '{name}'; there are: {', '.join(checksums)}"
        )
    file = datasets_folder() / name / path
    if not file.is_file():
        raise DatasetError(f"{file} is missing; {_remedy(f'datasets/{name}')}")
    _verify(file, checksums[path], _remedy(f"datasets/{name}"))
    return file


@cache
def _verify(file: Path, sha256: str, remedy: str) -> None:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256:
        raise DatasetError(
            f"{file} has SHA-256 {digest[:12]}..., but dataset.toml says {sha256[:12]}...: "
            f"it is damaged or was changed; {remedy}"
        )


def read_idx(file: Path) -> UInt8[Tensor, "*shape"]:
    """Read a gzipped idx file of bytes (LeCun: 0x0000 08 and the rank, big-endian sizes, then the bytes).

    Raises DatasetError where the file is no such file.

    >>> read_idx(dataset_file("mnist", "t10k-labels-idx1-ubyte.gz"))[:3].tolist()
    [7, 2, 1]
    """
    with gzip.open(file) as stream:
        content = stream.read()
    rank = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=rank, offset=4).tolist()
    if content[:3] != b"\x00\x00\x08" or len(content) != 4 + 4 * rank + int(np.prod(shape)):
        raise DatasetError(f"{file} is not a gzipped idx file of bytes; give one")
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape).copy())
