"""What a recipe is, and the folder its run lives in."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geocnn.errors import CheckpointError
from geocnn.files import UNFINISHED
from geocnn.train.loop import check_machine
from geocnn.train.memory import Need
from geocnn.train.settings import LoopSettings, load_settings, resumed_settings, save_settings

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.geometry import Surface

SETTINGS = "settings.json"
"""What a run was started with: written first. A folder without it holds no run."""

RUN_VARIABLE = "GEOCNN_RUN"
"""Names the run folder to the processes Lightning starts for further devices by running the same command."""


@dataclass(frozen=True)
class Request:
    """What a user asks of a trained network."""

    model: Path
    """A folder with model.json and model.safetensors."""
    file: Path | None
    """The user's own input; None: test inputs of the recipe."""
    examples: int
    """How many test inputs; 0 where none were asked for."""
    nested: bool | None
    """A map's pixels are in nested order, or in ring order; None: nobody said."""
    out: Path | None
    """Folder of what is written; None: that of the file, or of the model."""
    fill: tuple[float, ...] = ()
    """Numbers that stand for no value in a map."""

    @property
    def folder(self) -> Path:
        return self.out or (self.model if self.file is None else self.file.parent)


@dataclass(frozen=True)
class Subject:
    """What `geocnn equivariance` measures of a trained network; the fields are arguments of
    `equivariance.report`.
    """

    model: Any
    surface: Surface
    build: Callable[[Surface], Any] | None
    in_type: str | None = None
    symmetries: tuple[str, ...] | None = None
    refinements: int = 1


@dataclass(frozen=True)
class Recipe:
    """A complete training on shipped data."""

    name: str
    summary: str
    """One line."""
    presets: Mapping[str, Any]
    """Settings (a LoopSettings) by name; the first is the default."""
    needs: Callable[[Any], Need]
    """(settings): the memory that the largest of the run's trainings needs."""
    rehearse: Callable[[Any], None]
    """(settings): take one step of each of the run's trainings; raise what keeps them from starting."""
    train: Callable[[Any, Path, Console], None]
    """(settings, run folder, console): train what is not yet trained there, then evaluate and report."""
    predict: Callable[[Request, Console], None]
    """(what is asked, console): write the answer's files and tell of them."""
    subject: Callable[[Path], Subject]
    """Of the model in a folder, or of a checkpoint beside its model.json."""

    @property
    def default(self) -> LoopSettings:
        return next(iter(self.presets.values()))


def open_run(
    recipe: Recipe, preset: str, chosen: dict[str, Any], folder: Path | None, resume: bool
) -> tuple[Path, Any]:
    """The folder and the settings of a run, new or resumed.

    Args:
        chosen: the settings given explicitly; they overrule the preset's.
        folder: None takes runs/<recipe>-<n>: the next free n, or when resuming the last.

    Raises:
        CheckpointError: the folder holds a run and `resume` is false, or there is nothing to resume, or the
            run to resume was started with other settings.
        GeocnnError: settings are out of range or do not go together, this machine lacks devices or memory,
            or a first step fails. Of a run that cannot start nothing is written.
    """
    if RUN_VARIABLE in os.environ:
        folder = Path(os.environ[RUN_VARIABLE])
        return folder, load_settings(type(recipe.default), folder / SETTINGS)
    folder = _choose(recipe.name, folder, resume)
    file = folder / SETTINGS
    if resume:
        if not file.is_file():
            raise CheckpointError(f"there is no run to resume in {folder}; start it without --resume")
        settings = resumed_settings(load_settings(type(recipe.default), file), chosen)
        check_machine(settings, recipe.needs(settings))
        for left in folder.rglob(f"*{UNFINISHED}"):
            left.unlink()
    else:
        if folder.exists() and any(path.suffix != UNFINISHED for path in folder.iterdir()):
            raise CheckpointError(
                f"{folder} is not empty; continue its run with --resume or name another folder"
            )
        settings = dataclasses.replace(recipe.presets[preset], **chosen)
        check_machine(settings, recipe.needs(settings))
        recipe.rehearse(settings)
    folder.mkdir(parents=True, exist_ok=True)
    save_settings(settings, file)
    return folder, settings


@contextmanager
def handed_down(folder: Path) -> Iterator[None]:
    """While this lasts, processes started by this one that run the same command work in the same folder."""
    os.environ[RUN_VARIABLE] = str(folder.resolve())
    try:
        yield
    finally:
        del os.environ[RUN_VARIABLE]


def _choose(name: str, folder: Path | None, resume: bool) -> Path:
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
