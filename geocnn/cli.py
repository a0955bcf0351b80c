"""The command line: geocnn recipes | train | predict | equivariance | inspect | cache.

Bad input, and output that cannot be written, end with one red line and exit code 2, never a traceback.
"""

from __future__ import annotations

import os

# Threads that wait by spinning starve one another on a busy machine: with one other process on two cores a
# training step took 45 times as long, with this bound 3 times; on an idle machine the bound costs nothing.
# Read when torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import contextlib
import dataclasses
import importlib.util
import inspect
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

try:
    import typer
    from rich.table import Table
    from rich.text import Text
except ImportError as error:
    raise SystemExit(f"the geocnn command needs {error.name}: pip install 'geocnn[train,plot]'") from None

from geocnn.console import flush_output, legible, make_console, spell_on_output
from geocnn.doctor import inspect_file, show_cache
from geocnn.equivariance import SYMMETRIES, report
from geocnn.errors import CheckpointError, GeocnnError
from geocnn.geometry.doctor.repairs import REPAIRS
from geocnn.train.files import MODEL, read_description
from geocnn.train.loop import is_main_process
from geocnn.train.recipe import SETTINGS, Recipe, Request, handed_down, open_run
from geocnn.train.recipes import RECIPES, find_recipe
from geocnn.train.settings import load_settings

app = typer.Typer(
    name="geocnn",
    help="Gauge-equivariant networks on the sphere and other surfaces.",
    epilog="Start with: geocnn train spherical-digits --baseline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
training = typer.Typer(
    help="Train a recipe; checkpoints, tables and pictures land in its run folder.",
    epilog="Example: geocnn train spherical-digits --preset quick --baseline",
    no_args_is_help=True,
)
app.add_typer(training, name="train")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `geocnn`; `arguments` default to the process's own."""
    spell_on_output()
    try:
        try:
            app(args=None if arguments is None else list(arguments))
        finally:
            flush_output()
    except GeocnnError as error:
        _fail(str(error))
    except UnicodeEncodeError as error:
        _fail(f"a library cannot take the name {legible(error.object)}; write it in {error.encoding} letters")
    except OSError as error:
        # a disc that is full, a folder that may not be written, a name that is taken by a file
        _fail(f"cannot read or write {error.filename or 'the output'}: {error.strerror or error}")


def _fail(reason: str) -> NoReturn:
    line = " ".join(part.strip() for part in reason.splitlines())
    with contextlib.suppress(OSError):
        make_console(stderr=True).print(f"Error: {line}", style="red", soft_wrap=True)
    raise SystemExit(2) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        from geocnn import __version__

        typer.echo(f"geocnn {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="print the version")
    ] = False,
) -> None:
    pass


@app.command("recipes")
def list_recipes() -> None:
    """List the recipes that `geocnn train` knows."""
    table = Table("recipe", "what it trains", "presets")
    for recipe in RECIPES.values():
        table.add_row(recipe.name, recipe.summary, ", ".join(recipe.presets))
    make_console().print(table)


@app.command(
    "predict",
    epilog="Examples: geocnn predict runs/spherical-digits-1 map.fits; "
    "geocnn predict runs/body-parts-1 scan.ply; instead of a file: --examples 8",
)
def predict(
    model: Annotated[
        Path, typer.Argument(help="run folder, or any folder with model.json and model.safetensors")
    ],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="digits: HEALPix map, .npy (npix, or n rows of npix) or .fits; bodies: triangle mesh, "
            ".ply .obj .off .npz",
        ),
    ] = None,
    examples: Annotated[
        int,
        typer.Option(
            "--examples", "--digits", min=0, help="use this many of the recipe's own test inputs, not FILE"
        ),
    ] = 0,
    nested: Annotated[
        bool | None,
        typer.Option(
            "--nested/--ring",
            help="the pixels of a map are in nested, or in ring order; a FITS header that tells it decides",
            show_default="seen in smooth maps",
        ),
    ] = None,
    fill: Annotated[
        list[float] | None,
        typer.Option(help="a number that stands for no value in a map, may be repeated", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="folder for what is written; default: beside FILE, or the model's"),
    ] = None,
) -> None:
    """Let a trained network read a file: prints what it finds, writes it beside the file and draws it."""
    recipe = find_recipe(str(_describe(model).get("recipe")))
    recipe.predict(Request(model, file, examples, nested, out, tuple(fill or ())), make_console())


@app.command(
    "equivariance",
    epilog="Examples: geocnn equivariance runs/spherical-digits-1 --html report.html; "
    "geocnn equivariance runs/spherical-digits-1/nr/last.ckpt --only gauge --only rotation",
)
def equivariance(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_CHECKPOINT",
            help="run folder, any folder with model.json and model.safetensors, or another .safetensors or "
            ".ckpt file in one",
        ),
    ],
    only: Annotated[
        list[str] | None,
        typer.Option(
            help=f"a symmetry, may be repeated: {', '.join(SYMMETRIES)}", show_default="the recipe's"
        ),
    ] = None,
    refinements: Annotated[
        int | None,
        typer.Option(
            min=0, help="finer grids to try; each takes many times as long", show_default="the recipe's"
        ),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="HTML", help="write a page with plots and all layers")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of a table")] = False,
) -> None:
    """Measure a trained network under every symmetry of its surface, layer by layer.

    Ends with exit code 0 if none is broken, 1 if one is.
    """
    if page is not None and importlib.util.find_spec("matplotlib") is None:
        raise GeocnnError("the page's plots need matplotlib: pip install 'geocnn[plot]'")
    s = find_recipe(str(_describe(model).get("recipe"))).subject(model)
    steps = s.refinements if refinements is None else refinements
    said = make_console(stderr=True)
    found = report(s.model, s.surface, s.build, s.in_type, None, only or s.symmetries, steps, console=said)
    if as_json:
        print(found.json())
    else:
        found.show()
    if page is not None:
        found.html(page)
    if found.broken:
        raise typer.Exit(1)


@app.command(
    "inspect",
    epilog="Examples: geocnn inspect scan.ply; geocnn inspect part.stl --repair part.ply --fix merge; "
    "geocnn inspect scan.obj --repair sound.npz --fix degenerate --fix duplicates --fix split --fix orient",
)
def inspect_mesh(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="mesh: .ply .obj .off .stl .vtp .gii .npz .glb .gltf .3mf .dae; polygons are cut",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--repair",
            metavar="NEW",
            help="write the mesh here, with the repairs named by --fix and no others: .ply .obj .off .npz; "
            "NEW.repair.json beside it says where each vertex and face went",
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(help=f"a repair to make, may be repeated: {', '.join(REPAIRS)}", show_default=False),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="PNG", help="draw curvature, frames and defects")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
) -> None:
    """Say what a mesh file holds and all that is wrong with it; mend what is named.

    Ends with exit code 0 if a surface can be made of it (of NEW, with --repair), 1 if its defects forbid
    that, 2 if it cannot be read.
    """
    if not inspect_file(file, out, fix or [], picture, as_json, make_console()):
        raise typer.Exit(1)


@app.command("cache", epilog="Examples: geocnn cache; geocnn cache --clear")
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="remove the cache's files; foreign ones stay")
    ] = False,
) -> None:
    """List the geometry kept on disk: where, how much, and which files are not whole."""
    show_cache(clear, make_console())


# --------------------------------------------------------------------------------- one train command a recipe


def _train_command(recipe: Recipe) -> Callable[..., None]:
    """A function whose signature has the recipe's settings as options, for typer to read."""

    def command(preset: str | None, run: Path | None, resume: bool, **options: Any) -> None:
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
        chosen = {name: _parse(recipe, name, value) for name, value in options.items() if value is not None}
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
            recipe.train(settings, folder, console)
        console.print(
            Text.assemble("everything is in ", bold, ": results.json, metrics.csv, pictures, model"),
            soft_wrap=True,
        )

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
    } | _setting_options(recipe)
    annotations = {name: Annotated[kind, option] for name, (kind, option) in parameters.items()}
    command.__annotations__ = annotations
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if name == "resume" else None,
                annotation=annotation,
            )
            for name, annotation in annotations.items()
        ]
    )
    command.__doc__ = (
        f"Train: {recipe.summary}. The options overrule the preset, whose values are their defaults."
    )
    return command


def _setting_options(recipe: Recipe) -> dict[str, tuple[Any, Any]]:
    kinds = get_type_hints(type(recipe.default))
    options: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(recipe.default):
        flag = field.name.replace("_", "-")
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
    """The value of a setting in each preset, once if they agree."""
    shown = {preset: _show(getattr(settings, name)) for preset, settings in recipe.presets.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{preset}: {value}" for preset, value in shown.items())


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value) or "chosen"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _parse(recipe: Recipe, name: str, value: Any) -> Any:
    """A value from the command line; several parts are separated by commas."""
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


for _recipe in RECIPES.values():
    training.command(_recipe.name, epilog=f"Example: geocnn train {_recipe.name} --baseline --devices gpu:0")(
        _train_command(_recipe)
    )


def _describe(model: Path) -> dict[str, Any]:
    model = model.parent if model.is_file() else model
    if not (model / MODEL).is_file():
        raise GeocnnError(_unfinished(model) or _no_model(model))
    return read_description(model / MODEL, check_files=False)


def _no_model(folder: Path) -> str:
    return f"there is no {MODEL} in {folder}; name the folder of a finished run (geocnn train prints it)"


def _unfinished(folder: Path) -> str:
    """What to do about a run folder, or a training's folder in one, that has no model yet; or ""."""
    for run in (folder, folder.parent):
        for recipe in RECIPES.values():
            try:
                load_settings(type(recipe.default), run / SETTINGS)
            except CheckpointError:
                continue
            command = f"geocnn train {recipe.name} --run {shlex.quote(str(run))} --resume"
            return f"there is no {MODEL} in {folder} yet, the run was stopped early; go on with it: {command}"
    return ""


if __name__ == "__main__":
    main()
