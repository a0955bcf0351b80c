"""The command line: geocnn recipes, prepare, train, predict, evaluate, equivariance, inspect, view, cache.

Bad input, and output that cannot be written, end with one red line and exit code 2, never a traceback;
Ctrl-C ends with one line and exit code 130.
"""

from __future__ import annotations

import os

# Threads that wait by spinning starve one another on a busy machine: with one other process on two cores a
# training step took 45 times as long, with this bound 3 times; on an idle machine the bound costs nothing.
# Read when torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import contextlib
import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

try:
    import typer
    from rich.table import Table
except ImportError as error:
    raise SystemExit(f"the geocnn command needs {error.name}: pip install 'geocnn[train,plot]'") from None

from geocnn.console import flush_output, legible, make_console, spell_on_output
from geocnn.doctor import inspect_file, show_cache
from geocnn.equivariance import SYMMETRIES, report
from geocnn.errors import GeocnnError, RecipeError
from geocnn.geometry.doctor.repairs import REPAIRS
from geocnn.looking import Up, Wish, view_file
from geocnn.train.folder_command import evaluate_command, prepare_command
from geocnn.train.model_recipes import recipe_of_model
from geocnn.train.prediction import measured
from geocnn.train.prediction import predict as answer
from geocnn.train.recipe import Request
from geocnn.train.recipe_commands import RecipeCommands
from geocnn.train.recipes import find_recipe, recipe_names
from geocnn.train.run_view import is_run, view_run
from geocnn.train.shipped import model_folder

app = typer.Typer(
    name="geocnn",
    help="Gauge-equivariant networks on the sphere and other surfaces.",
    epilog="Start with: geocnn train spherical-digits --baseline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


training = typer.Typer(
    cls=RecipeCommands,
    help="Train on a FOLDER of your own, or a recipe; checkpoints, tables and pictures land in a run folder.",
    epilog="Examples: geocnn train scans/; geocnn train spherical-digits --preset quick --baseline; "
    "geocnn train my_recipe.py",
    no_args_is_help=True,
)
app.add_typer(training, name="train")
app.command(
    "prepare",
    epilog="Examples: geocnn prepare scans scans-data; geocnn prepare scans scans-data --labels table.csv",
)(prepare_command())
app.command("evaluate", epilog="Example: geocnn evaluate runs/scans-1 runs/scans-data --split test")(
    evaluate_command()
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `geocnn`; `arguments` default to the process's own."""
    spell_on_output()
    if arguments is None:
        warnings.showwarning = _warn
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
    except SystemExit as end:
        if end.code == 130:
            make_console(stderr=True).print("interrupted", style="yellow")
        raise


def _warn(message: Warning | str, *_: object) -> None:
    """Show a warning as a line, without the place in the code that gave it."""
    line = " ".join(part.strip() for part in str(message).splitlines())
    make_console(stderr=True).print(f"Warning: {line}", style="yellow", markup=False, soft_wrap=True)


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
    """List the recipes that `geocnn train` knows by name."""
    table = Table("recipe", "what it trains", "presets")
    for name in recipe_names():
        try:
            recipe = find_recipe(name)
            table.add_row(recipe.name, recipe.summary, ", ".join(recipe.presets))
        except RecipeError as error:
            table.add_row(name, str(error), "")
    make_console().print(table)


RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        metavar="FILE.py",
        help="the recipe's file, where the recipe is not installed",
        show_default=False,
    ),
]


Nested = Annotated[
    bool | None,
    typer.Option(
        "--nested/--ring",
        help="the pixels of a map are in nested, or in ring order; a FITS header that tells it decides",
        show_default="seen in smooth maps",
    ),
]

Fills = Annotated[
    list[float] | None,
    typer.Option(help="a number that stands for no value in a map, may be repeated", show_default=False),
]


@app.command(
    "predict",
    epilog="Examples: geocnn predict runs/spherical-digits-1 map.fits; "
    "geocnn predict body-parts scan.ply; instead of a file: --examples 8",
)
def predict(
    model: Annotated[
        Path,
        typer.Argument(
            help="run folder, or any folder with model.json and model.safetensors; or the recipe's name of a "
            "model that ships with geocnn: body-parts"
        ),
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
    nested: Nested = None,
    fill: Fills = None,
    out: Annotated[
        Path | None,
        typer.Option(help="folder for what is written; default: beside FILE, or the model's"),
    ] = None,
    recipe: RecipeFile = None,
) -> None:
    """Let a trained network answer a file: print the answer, write it beside the file and draw it."""
    folder = model_folder(model)
    if folder != model and file is None:
        out = out or Path()  # the shipped model's folder is not the user's
    request = Request(folder, file, examples, nested, out, tuple(fill or ()))
    answer(recipe_of_model(folder, recipe), request, make_console())


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
            help="run folder, any folder with model.json and model.safetensors, another .safetensors or "
            ".ckpt file in one, or the recipe's name of a shipped model",
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
    recipe: RecipeFile = None,
) -> None:
    """Measure a trained network under every symmetry of its surface, layer by layer.

    Ends with exit code 0 if none is broken, 1 if one is.
    """
    if page is not None and importlib.util.find_spec("matplotlib") is None:
        raise GeocnnError("the page's plots need matplotlib: pip install 'geocnn[plot]'")
    model = model_folder(model)
    s = measured(recipe_of_model(model, recipe), model)
    steps = s.refinements if refinements is None else refinements
    console = make_console(stderr=True)
    result = report(
        s.model, s.surface, s.build, s.in_type, None, only or s.symmetries, steps, console=console
    )
    if as_json:
        print(result.json())
    else:
        result.show()
    if page is not None:
        result.html(page)
    if result.broken:
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


@app.command(
    "view",
    epilog="Examples: geocnn view scan.ply --field thickness; geocnn view lh.pial --values lh.aparc.annot "
    "--html brain.html; geocnn view map.fits --limits -300 300",
)
def view(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|RUN",
            help="a mesh, as for geocnn inspect; HEALPix maps, .fits .npy; or the folder of a finished run",
        ),
    ],
    field: Annotated[
        str | None,
        typer.Option(help="the field to show; of a RUN the test sample", show_default="the first"),
    ] = None,
    values: Annotated[
        list[Path] | None,
        typer.Option(help="a file of values per vertex beside the mesh, may be repeated", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PNG", help="the picture; default: FILE-view.png beside FILE")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="HTML", help="write a page that turns in a browser")
    ] = None,
    limits: Annotated[
        tuple[float, float] | None, typer.Option(help="the values at the ends of the colour bar")
    ] = None,
    up: Annotated[
        Up | None,
        typer.Option(help="the axis that points up", show_default="y; z of brains"),
    ] = None,
    nested: Nested = None,
    fill: Fills = None,
) -> None:
    """Look at a mesh or a map: print its fields, and draw one or write a page with all of them.

    Of a RUN it prints what was learnt and how well, and draws a test sample with its answer.
    """
    if is_run(file):
        view_run(file, field, out, page, make_console())
        return
    wish = Wish(
        file,
        field,
        values or (),
        out,
        page,
        up,
        limits,
        nested,
        tuple(fill or ()),
    )
    view_file(wish, make_console())


@app.command("cache", epilog="Examples: geocnn cache; geocnn cache --clear")
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="remove the cache's files; foreign ones stay")
    ] = False,
) -> None:
    """List the geometry kept on disk: where, how much of how much, and which files are not whole.

    GEOCNN_CACHE names another folder, GEOCNN_CACHE_BYTES another limit.
    """
    show_cache(clear, make_console())


if __name__ == "__main__":
    main()
