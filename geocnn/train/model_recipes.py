"""The recipe that trained a model, and what to do where a folder holds no model."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from geocnn.errors import CheckpointError, GeocnnError, RecipeError
from geocnn.train.files import MODEL, read_description
from geocnn.train.folders import SETTINGS
from geocnn.train.recipe import Recipe
from geocnn.train.recipes import RECIPES, find_recipe, recipe_names
from geocnn.train.settings import load_settings, recipe_of
from geocnn.train.shipped import shipped_models


def recipe_of_model(model: Path, recipe: Path | None) -> Recipe:
    """Return the recipe that a model names, or the one in a file.

    Code is loaded only from where the user says: a model names its recipe, never the recipe's file. Raises
    GeocnnError where there is no model, RecipeError where its recipe is not installed or fails.
    """
    model = model.parent if model.is_file() else model
    if not (model / MODEL).is_file():
        raise GeocnnError(_unfinished(model) or _no_model(model))
    name = str(read_description(model / MODEL, check_files=False).get("recipe"))
    if recipe is None and name not in recipe_names():
        raise RecipeError(
            f"the model in {model} was trained by the recipe '{name}', which is not installed; "
            "name the recipe's file with --recipe"
        )
    return find_recipe(name if recipe is None else str(recipe))


def _no_model(folder: Path) -> str:
    return (
        f"there is no {MODEL} in {folder}; name the folder of a finished run (geocnn train prints it), "
        f"or a model that ships with geocnn: {', '.join(shipped_models())}"
    )


def _unfinished(folder: Path) -> str:
    """Say how to finish a run folder, or a training's folder in one, that has no model; or return ""."""
    for run in (folder, folder.parent):
        with contextlib.suppress(CheckpointError):
            recipe = recipe_of(run / SETTINGS) or _recipe_by_settings(run / SETTINGS)
            recipe = "FOLDER" if recipe == "data-folder" else recipe
            command = f"geocnn train {recipe} --run {shlex.quote(str(run))} --resume"
            return (
                f"there is no {MODEL} in {folder} yet: the run is not finished. It is still running, or it "
                f"was interrupted; then continue it with {command}"
            )
    return ""


def _recipe_by_settings(file: Path) -> str:
    """Return the recipe whose settings a file of an older version holds, which does not name it."""
    for recipe in RECIPES.values():
        with contextlib.suppress(CheckpointError):
            load_settings(type(recipe.default), file)
            return recipe.name
    raise CheckpointError(f"{file} holds the settings of no recipe")
