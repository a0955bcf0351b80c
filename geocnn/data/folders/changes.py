"""How a folder is prepared, and whether its files and what was said of them are still the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geocnn.data.folders.card import DataFolder, file_digest
from geocnn.data.folders.contents import contents_of
from geocnn.data.folders.found import Wishes
from geocnn.errors import DatasetError
from geocnn.geometry.core.defaults import SPACINGS, Kind


@dataclass(frozen=True)
class Options:
    """How a folder is prepared, beside what the user says it holds."""

    fixes: tuple[str, ...] = ()
    """Repairs that are made where they apply."""
    scale: Literal["auto", "set", "each"] = "auto"
    seed: int = 0
    """Of the random split."""
    radius: float = SPACINGS
    """Of kernels, in median point spacings of the training set."""
    kind: Kind = "log"
    levels: int | None = None
    """Of hierarchies; None: as many as the smallest mesh allows, at most five."""


def said(wishes: Wishes, options: Options) -> str:
    """Return what differs from the defaults, as one line."""
    own = {**vars(wishes), **vars(options)}
    usual = {**vars(Wishes()), **vars(Options())}
    return ", ".join(f"{name} {value}" for name, value in own.items() if value != usual[name])


def check_unchanged(data: DataFolder, folder: Path, wishes: Wishes, options: Options) -> None:
    """Raise DatasetError unless a data folder was made from these files, in this way."""
    remedy = f"remove {data.path}, or name another folder"
    if data.card.given != said(wishes, options):
        raise DatasetError(
            f"{data.path} was prepared with other options ({data.card.given or 'none'}); {remedy}"
        )
    for name, digest in data.card.sources.items():
        file = folder / name
        if not file.is_file():
            raise DatasetError(f"{file} is gone since {data.path} was prepared from it; {remedy}")
        if file_digest(file) != digest:
            raise DatasetError(f"{file} has changed since {data.path} was prepared from it; {remedy}")
    if data.card.listing != listing_of(folder, wishes):
        raise DatasetError(
            f"files were added to {folder}, or taken out, since {data.path} was prepared from it; {remedy}"
        )


def listing_of(folder: Path, wishes: Wishes) -> str:
    """Return a digest of the names of the files in a folder that hold data."""
    contents = contents_of(folder, wishes)
    files = [*contents.meshes, *contents.maps, *contents.values, *contents.lists.values()]
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
