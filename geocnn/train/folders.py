"""The folder that a run lives in: chosen, opened or resumed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geocnn.errors import CheckpointError
from geocnn.files import UNFINISHED
from geocnn.train.devices import check_machine
from geocnn.train.recipe import Recipe
from geocnn.train.runs import rehearse
from geocnn.train.settings import load_settings, recipe_of, resumed_settings, save_settings

SETTINGS = "settings.json"
"""What a run was started with: written first. A folder without it holds no run."""

RUN_VARIABLE = "GEOCNN_RUN"
"""Names the run folder to the processes Lightning starts for further devices by running the same command."""


def open_run(
    recipe: Recipe, preset: str, chosen: dict[str, Any], folder: Path | None, resume: bool
) -> tuple[Path, Any]:
    """Open a run, new or resumed; return its folder and its settings.

    Args:
        chosen: the settings given explicitly; they overrule the preset's.
        folder: None takes runs/<recipe>-<n>: the next free n, or when resuming the last.

    Raises:
        CheckpointError: the folder holds a run and `resume` is false, or there is nothing to resume, or the
            run to resume was started with another recipe or other settings.
        GeocnnError: settings are out of range or do not go together, this machine lacks devices or memory,
            or a first step fails. Of a run that cannot start nothing is written.
    """
    if RUN_VARIABLE in os.environ:
        folder = Path(os.environ[RUN_VARIABLE])
        return folder, load_settings(type(recipe.default), folder / SETTINGS)
    folder = choose_run(recipe.name, folder, resume)
    file = folder / SETTINGS
    if resume:
        if not file.is_file():
            raise CheckpointError(f"there is no run to resume in {folder}; start it without --resume")
        if recipe_of(file) not in (recipe.name, ""):
            raise CheckpointError(
                f"{folder} holds a run of the recipe '{recipe_of(file)}', not of '{recipe.name}'"
            )
        settings = resumed_settings(load_settings(type(recipe.default), file), chosen)
        check_machine(settings, recipe.needs and recipe.needs(settings))
        for unfinished in folder.rglob(f"*{UNFINISHED}"):
            unfinished.unlink()
    else:
        if folder.exists() and any(path.suffix != UNFINISHED for path in folder.iterdir()):
            raise CheckpointError(
                f"{folder} is not empty; continue its run with --resume or name another folder"
            )
        settings = dataclasses.replace(recipe.presets[preset], **chosen)
        check_machine(settings, recipe.needs and recipe.needs(settings))
        rehearse(recipe, settings)
    folder.mkdir(parents=True, exist_ok=True)
    save_settings(settings, file, recipe.name)
    return folder, settings


@contextmanager
def handed_down(folder: Path) -> Iterator[None]:
    """Make processes that this one starts meanwhile, by the same command, work in the same folder."""
    os.environ[RUN_VARIABLE] = str(folder.resolve())
    try:
        yield
    finally:
        del os.environ[RUN_VARIABLE]


def choose_run(name: str, folder: Path | None, resume: bool) -> Path:
    """Return the folder of a run: the one that is given, else runs/<name>-<n>, the next free n or the last.

    Raises CheckpointError where there is none to resume.
    """
    if folder is not None:
        return folder
    numbers = [
        int(run.name[len(name) + 1 :])
        for run in Path("runs").glob(f"{name}-*")
        if run.name[len(name) + 1 :].isdecimal() and (not resume or (run / SETTINGS).is_file())
    ]
    last = max(numbers, default=0)
    if resume and not numbers:
        raise CheckpointError(f"there is no run runs/{name}-<n> to resume here; name its folder with --run")
    return Path("runs") / f"{name}-{last if resume else last + 1}"
