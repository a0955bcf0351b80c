"""The commands that prepare a user's folder, and train on it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geocnn.console import make_console
from geocnn.data.folders.card import DataFolder, is_data_folder, open_folder
from geocnn.data.folders.changes import Options, check_unchanged
from geocnn.data.folders.found import TASKS, Wishes
from geocnn.data.folders.preparing import prepare_folder
from geocnn.errors import DatasetError, GeocnnError
from geocnn.geometry.doctor.repairs import REPAIRS
from geocnn.train.command import given_settings, setting_options, start, with_options
from geocnn.train.devices import is_main_process
from geocnn.train.folders import choose_run
from geocnn.train.foresight import foresee
from geocnn.train.recipes import recipe_names
from geocnn.train.recipes.data_folder import RECIPE, folder_recipe

if TYPE_CHECKING:
    from rich.console import Console

PLAIN: Any = {"highlight": False, "markup": False, "soft_wrap": True}

PREPARING = (
    "task",
    "labels",
    "target",
    "inputs",
    "shape",
    "unlabelled",
    "nested",
    "fill",
    "polarisation",
    "fix",
    "scale",
    "split_seed",
)


def preparing_options() -> dict[str, tuple[Any, Any]]:
    """Return what a user may say about a folder, as options of a command."""
    import typer

    def option(*names: str, help: str, show: str | bool = False) -> Any:
        return typer.Option(*names, help=help, show_default=show, rich_help_panel="The folder")

    return {
        "task": (
            str | None,
            option("--task", help=f"what to learn: {', '.join(TASKS)}", show="seen in the folder"),
        ),
        "labels": (
            Path | None,
            option(
                "--labels", help="table with a row per sample: file, label or numbers, split, group, weight"
            ),
        ),
        "target": (
            list[str] | None,
            option(
                "--target",
                help="a column of the table; or the property, extension or folder of values of points; may "
                "be repeated",
            ),
        ),
        "inputs": (
            list[str] | None,
            option(
                "--inputs",
                help="a property of the mesh files, or a column of maps, that comes in; may be repeated",
            ),
        ),
        "shape": (
            bool | None,
            option(
                "--shape/--no-shape",
                help="let shape features come in",
                show="where there are no other inputs",
            ),
        ),
        "unlabelled": (
            int | None,
            option("--unlabelled", help="the label of points whose class nobody knows"),
        ),
        "nested": (
            bool | None,
            option("--nested/--ring", help="the order of pixels of maps", show="seen in the files"),
        ),
        "fill": (
            list[float] | None,
            option("--fill", help="a number that stands for no value, may be repeated"),
        ),
        "polarisation": (
            str | None,
            option(
                "--polarisation",
                help="the sign of Stokes U in maps, COSMO or IAU; none: Q and U are scalars",
                show="seen in the files",
            ),
        ),
        "fix": (
            list[str] | None,
            option("--fix", help=f"a repair of broken meshes, may be repeated: {', '.join(REPAIRS)}"),
        ),
        "scale": (
            str | None,
            option(
                "--scale",
                help="set: one factor for all meshes; each: every mesh to unit area",
                show="each where area tells nothing",
            ),
        ),
        "split_seed": (
            int | None,
            option("--split-seed", help="random seed of the split, where none is given", show="0"),
        ),
    }


def wished(options: dict[str, Any]) -> tuple[Wishes, Options]:
    """Return what a user said as values. Raises DatasetError for an unknown word."""
    scale = options.get("scale") or "auto"
    if scale not in ("auto", "set", "each"):
        raise DatasetError(f"--scale is set or each, got '{scale}'")
    unknown = [name for name in options.get("fix") or () if name not in REPAIRS]
    if unknown:
        raise DatasetError(f"there is no repair '{unknown[0]}'; --fix takes one of {', '.join(REPAIRS)}")
    wishes = Wishes(
        task=options.get("task"),
        labels=options.get("labels"),
        target=tuple(options.get("target") or ()),
        inputs=tuple(options.get("inputs") or ()),
        shape=options.get("shape"),
        unlabelled=options.get("unlabelled"),
        nested=options.get("nested"),
        fill=tuple(options.get("fill") or ()),
        polarisation=options.get("polarisation"),
    )
    fixes = tuple(options.get("fix") or ())
    return wishes, Options(fixes=fixes, scale=scale, seed=options.get("split_seed") or 0)


def prepared(folder: Path, out: Path | None, options: dict[str, Any], console: Console) -> DataFolder:
    """Return the data folder of a user's folder: itself, one that was made before, or a new one.

    Raises DatasetError and GeometryError as `prepare_folder` does, and where one that was made before came
    from other files.
    """
    if is_data_folder(folder):
        own = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
        if own:
            raise DatasetError(f"{folder} is prepared already; {own[0]} belongs to geocnn prepare")
        return open_folder(folder)
    wishes, ways = wished(options)
    place = out or Path("runs") / f"{folder.resolve().name}-data"
    if out is None and is_data_folder(place):
        data = open_folder(place)
        check_unchanged(data, folder, wishes, ways)
        for line in (f"prepared before: {place}", *data.card.remarks):
            console.print(line, **PLAIN)
        return data

    def told(line: str) -> None:
        console.print(line, **PLAIN)

    data = prepare_folder(folder, place, wishes, ways, told)
    told(f"prepared: {place}")
    return data


def is_user_folder(name: str) -> bool:
    """Return whether a word names a folder of the user's; names of other recipes win.

    Raises GeocnnError where it is written as a path and there is none.
    """
    if name in recipe_names() and name != RECIPE.name:
        return False
    if ("/" in name or os.sep in name) and not (Path(name).exists() or name.endswith(".py")):
        raise GeocnnError(f"there is no folder {name}")
    return Path(name).is_dir()


def folder_command(folder: Path) -> Any:
    """Return the command `geocnn train FOLDER`."""
    import typer

    def command(run: Path | None, resume: bool, dry_run: bool, **options: Any) -> None:
        console = make_console(quiet=not is_main_process())
        data = prepared(folder, None, {name: options.pop(name) for name in PREPARING}, console)
        recipe = folder_recipe(data.path)
        chosen = given_settings(recipe, options)
        if is_main_process() and not resume:
            console.print(str(foresee(recipe, data, dataclasses.replace(recipe.default, **chosen))), **PLAIN)
        if dry_run:
            return
        start(recipe, None, choose_run(data.card.name, run, resume), resume, given_settings(recipe, options))

    parameters: dict[str, tuple[Any, Any]] = {
        "run": (
            Path | None,
            typer.Option("--run", help="run folder", show_default=f"runs/{folder.resolve().name}-<n>"),
        ),
        "resume": (bool, typer.Option("--resume", help="continue a run that was stopped or killed")),
        "dry_run": (
            bool,
            typer.Option("--dry-run", help="only say what was found, and what the training will take"),
        ),
    }
    parameters |= preparing_options() | setting_options(RECIPE)
    about = (
        f"Train on the folder {folder}: look at it, say what it holds, prepare it, train, report. Options "
        "are needed only where the folder does not speak for itself."
    )
    single = typer.Typer(add_completion=False)
    epilog = f"Example: geocnn train {folder} --size small"
    single.command(str(folder), epilog=epilog)(with_options(command, parameters, about))
    return typer.main.get_command(single)


def prepare_command() -> Callable[..., None]:
    """Return the command `geocnn prepare FOLDER OUT`, for typer to read."""
    import typer

    def command(folder: Path, out: Path, processes: int | None, **options: Any) -> None:
        from geocnn.data.folders.items import items_of

        console = make_console()
        if is_data_folder(folder):
            raise DatasetError(f"{folder} is a data folder already; train it: geocnn train {folder}")
        data = prepared(folder, out, options, console)
        items_of(data, [row for row in data.rows if row.split], processes or 0, console)
        console.print(f"train on it: geocnn train {out}", **PLAIN)

    parameters: dict[str, tuple[Any, Any]] = {
        "folder": (Path, typer.Argument(metavar="FOLDER", help="meshes, or fields on one mesh, or maps")),
        "out": (Path, typer.Argument(metavar="OUT", help="the data folder to write")),
        "processes": (
            int | None,
            typer.Option("--processes", min=0, help="that compute at once", show_default="one per core"),
        ),
    }
    about = (
        "Check a folder of your own, scale and split it, compute its geometry: write a data folder for "
        "training. Nothing in FOLDER is changed."
    )
    return with_options(command, parameters | preparing_options(), about)


def evaluate_command() -> Callable[..., None]:
    """Return the command `geocnn evaluate RUN DATA`, for typer to read."""
    import typer

    def command(run: Path, data: Path, split: str | None, as_json: bool) -> None:
        from geocnn.train.fitting import evaluate

        measures = evaluate(run, data, split or "test")
        if as_json:
            print(json.dumps(measures.to_dict()))
        else:
            make_console().print(measures)

    parameters: dict[str, tuple[Any, Any]] = {
        "run": (Path, typer.Argument(metavar="RUN", help="run folder of a training on a folder")),
        "data": (Path, typer.Argument(metavar="DATA", help="data folder, as geocnn prepare writes it")),
        "split": (str | None, typer.Option("--split", help="train, val or test", show_default="test")),
        "as_json": (bool, typer.Option("--json", help="print one JSON object instead of tables")),
    }
    about = "Measure a trained network on a split of a data folder, with intervals over its samples."
    return with_options(command, parameters, about)
