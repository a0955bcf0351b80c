"""The recipes: complete trainings, each from one command.

A recipe is a `Recipe` value. The package has two, and one for every folder of a user's. Others are found by
the path of a Python file in which the value is called RECIPE, or by their name among the entry points
"geocnn.recipes" of installed packages.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path

from geocnn.errors import RecipeError
from geocnn.train.faults import place_of
from geocnn.train.recipe import Recipe
from geocnn.train.recipes import body_parts, data_folder, spherical_digits

GROUP = "geocnn.recipes"
"""The group of entry points. An entry's name is the recipe's name, its value leads to a `Recipe`."""

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (spherical_digits.RECIPE, body_parts.RECIPE, data_folder.RECIPE)
}
"""The recipes of the package."""


def recipe_names() -> list[str]:
    """Return the names of the package's recipes and of installed ones."""
    return [*RECIPES, *sorted({point.name for point in entry_points(group=GROUP)} - set(RECIPES))]


def is_recipe_file(name: str) -> bool:
    """Return whether this is the path of a recipe's file rather than the name of a recipe."""
    return name.endswith(".py")


def find_recipe(name: str) -> Recipe:
    """Find the recipe of that name, or run the file of that path, which holds one.

    Raises:
        RecipeError: there is none, or its file fails or holds none.

    >>> find_recipe("spherical-digits").name
    'spherical-digits'
    """
    if is_recipe_file(name):
        return _recipe_in(Path(name))
    if name in RECIPES:
        return RECIPES[name]
    for point in entry_points(group=GROUP, name=name):
        try:
            value = point.load()
        except Exception as error:  # whatever a foreign package raises
            raise RecipeError(f"the recipe '{name}' ({point.value}) cannot be loaded: {error}") from error
        return _checked(value, f"the entry point {point.value}")
    raise RecipeError(
        f"there is no recipe '{name}'; there are: {', '.join(recipe_names())}. "
        "A recipe in a file of its own is named by the path of the file, which ends in .py"
    )


def _recipe_in(file: Path) -> Recipe:
    """Run a recipe's file. As a script does, it may import what lies beside it. Its module stays in
    sys.modules: dataclasses look for it there.
    """
    if not file.is_file():
        raise RecipeError(f"there is no recipe file {file}")
    name = f"recipe_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        parts = "; ".join(part for part in (f"{type(error).__name__}: {error}", place_of(error)) if part)
        raise RecipeError(f"the recipe file {file} fails ({parts})") from error
    return dataclasses.replace(_checked(getattr(module, "RECIPE", None), str(file)), file=file)


def _checked(recipe: object, where: str) -> Recipe:
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"{where} holds no geocnn.train.recipe.Recipe; a recipe's file calls it RECIPE")
    return recipe
