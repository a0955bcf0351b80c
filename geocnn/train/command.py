"""The command that trains a recipe: its options are the recipe's settings."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from geocnn.console import legible, make_console
from geocnn.errors import GeocnnError
from geocnn.train.devices import is_main_process
from geocnn.train.folders import handed_down, open_run
from geocnn.train.recipe import Recipe
from geocnn.train.runs import train


def train_command(recipe: Recipe) -> Callable[..., None]:
    """Return a function whose signature has the recipe's settings as options, for typer to read."""
    import typer

    def command(preset: str | None, run: Path | None, resume: bool, **options: Any) -> None:
        start(recipe, preset, run, resume, given_settings(recipe, options))

    parameters = {
        "preset": (
            str | None,
            typer.Option(
                "--preset",
                help=f"settings to start from: {', '.join(recipe.presets)}",
                show_default=next(iter(recipe.presets)),
            ),
        ),
        "run": (
            Path | None,
            typer.Option("--run", help="run folder", show_default=f"runs/{recipe.name}-<n>"),
        ),
        "resume": (bool, typer.Option("--resume", help="continue a run that was stopped or killed")),
    } | setting_options(recipe)
    about = f"Train: {recipe.summary}. The options overrule the preset, whose values are their defaults."
    return with_options(command, parameters, about)


def with_options(
    command: Callable[..., None], options: Mapping[str, tuple[Any, Any]], about: str
) -> Callable[..., None]:
    """Give a function options, (type, typer's description) by name, and its help."""
    annotations = {name: Annotated[kind, option] for name, (kind, option) in options.items()}
    command.__annotations__ = annotations
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_unset(*options[name]),
                annotation=annotation,
            )
            for name, annotation in annotations.items()
        ]
    )
    command.__doc__ = about
    return command


def _unset(kind: Any, described: Any) -> Any:
    """Return the default of an option that is not given; arguments have none."""
    if type(described).__name__ == "ArgumentInfo":
        return inspect.Parameter.empty
    return False if kind is bool else None


def start(recipe: Recipe, preset: str | None, run: Path | None, resume: bool, chosen: dict[str, Any]) -> None:
    """Train a recipe in a new run folder, or go on in one; say where everything is.

    Raises GeocnnError where a library is missing, names are no names, or the run cannot start.
    """
    from rich.text import Text

    for module in ("lightning", "tensorboard", "matplotlib"):
        if importlib.util.find_spec(module) is None:
            raise GeocnnError(f"training needs {module}: pip install 'geocnn[train,plot]'")
    if run is not None and legible(str(run)) != str(run):
        raise GeocnnError(f"TensorBoard cannot write to {run}: name the run folder in letters of utf-8")
    if resume and preset is not None:
        raise GeocnnError("a resumed run keeps its settings; leave out --preset")
    preset = preset or next(iter(recipe.presets))
    if preset not in recipe.presets:
        raise GeocnnError(f"there is no preset '{preset}'; choose one of {', '.join(recipe.presets)}")
    folder, settings = open_run(recipe, preset, chosen, run, resume)
    console = make_console(quiet=not is_main_process())
    bold = (str(folder), "bold")
    console.print(
        Text.assemble(
            "run folder: ", bold, f" (to continue it later: --run {shlex.quote(str(folder))} --resume)"
        ),
        soft_wrap=True,
    )
    with handed_down(folder):
        train(recipe, settings, folder, console)
    console.print(
        Text.assemble("everything is in ", bold, ": results.json, metrics.csv, pictures, model"),
        soft_wrap=True,
    )


def given_settings(recipe: Recipe, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were given on the command line. Raises GeocnnError where one has no value."""
    return {name: _parse(recipe, name, value) for name, value in options.items() if value is not None}


def setting_options(recipe: Recipe) -> dict[str, tuple[Any, Any]]:
    import typer

    kinds = get_type_hints(type(recipe.default))
    options: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(recipe.default):
        flag = field.metadata.get("option") or field.name.replace("_", "-")
        kind = kinds[field.name]
        names = f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}"
        options[field.name] = (
            (kind if kind in (int, float, bool, str) else str) | None,
            typer.Option(
                names,
                help=field.metadata["help"],
                show_default=_defaults(recipe, field.name),
                rich_help_panel="Settings",
            ),
        )
    return options


def _defaults(recipe: Recipe, name: str) -> str:
    """Show the value of a setting in each preset, once if they agree."""
    shown = {preset: _show(getattr(settings, name)) for preset, settings in recipe.presets.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{preset}: {value}" for preset, value in shown.items())


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value) or "chosen"
    if value == "":
        return "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _parse(recipe: Recipe, name: str, value: Any) -> Any:
    """Parse a value from the command line; several parts are separated by commas."""
    kind = get_type_hints(type(recipe.default))[name]
    if kind in (int, float, bool, str):
        return value
    part = int if kind == tuple[int, ...] else str
    try:
        return tuple(part(item.strip()) for item in value.split(",") if item.strip())
    except ValueError as error:
        raise GeocnnError(
            f"--{name.replace('_', '-')} takes whole numbers separated by commas, got '{value}'"
        ) from error
