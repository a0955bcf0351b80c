"""Trained models that ship with the package, each under the name of the recipe that trained it."""

from __future__ import annotations

from pathlib import Path

from geocnn.data.store import dataset_file, datasets_folder, describe
from geocnn.errors import DatasetError

SUFFIX = "_model"
"""The data set `body_parts_model` holds the model of the recipe body-parts."""


def shipped_models() -> list[str]:
    """Return the names of the recipes whose trained models ship with the package.

    >>> shipped_models()
    ['body-parts']
    """
    cards = datasets_folder().glob(f"*{SUFFIX}/dataset.toml")
    return sorted(card.parent.name.removesuffix(SUFFIX).replace("_", "-") for card in cards)


def model_folder(model: Path) -> Path:
    """Return the folder, or the file in it, that a user's word for a model means.

    A name that is no folder here means the shipped model of the recipe of that name; everything else stays.
    Raises DatasetError where the shipped model is damaged.

    >>> model_folder(Path("body-parts")).name, model_folder(Path("runs/digits-1")).as_posix()
    ('body_parts_model', 'runs/digits-1')
    """
    if model.exists() or str(model) not in _shipped():
        return model
    name = str(model).replace("-", "_") + SUFFIX
    files = [dataset_file(name, entry["path"]) for entry in describe(name)["files"]]
    return files[0].parent


def _shipped() -> list[str]:
    try:
        return shipped_models()
    except DatasetError:  # who names a folder of their own needs no data sets
        return []
