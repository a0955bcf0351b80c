"""The recipes: complete trainings on shipped data, each from one command.

A recipe is a `Recipe` value in a module of its own; to add one, write the module and name it in `RECIPES`.
"""

from __future__ import annotations

from geocnn.errors import GeocnnError
from geocnn.train.recipe import Recipe
from geocnn.train.recipes import body_parts, spherical_digits

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (spherical_digits.RECIPE, body_parts.RECIPE)}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises GeocnnError naming those that exist.

    >>> find_recipe("spherical-digits").name
    'spherical-digits'
    """
    if name not in RECIPES:
        raise GeocnnError(f"there is no recipe '{name}'; there are: {', '.join(RECIPES)}")
    return RECIPES[name]
