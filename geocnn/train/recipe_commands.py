"""The commands `geocnn train NAME` and `geocnn train FOLDER`, one per recipe or folder of the user's.

This module imports typer, so import it only for the command line.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from geocnn.errors import GeocnnError, RecipeError
from geocnn.train.command import train_command
from geocnn.train.folder_command import folder_command, is_user_folder
from geocnn.train.recipes import find_recipe, is_recipe_file, recipe_names


class RecipeCommands(TyperGroup):
    """A command per recipe: of the package, of installed packages, and of the file whose path is given."""

    def list_commands(self, ctx: Any) -> list[str]:
        return recipe_names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if is_user_folder(cmd_name):
            return folder_command(Path(cmd_name))
        if is_recipe_file(cmd_name):
            return _command(cmd_name)
        with contextlib.suppress(RecipeError):  # the list of commands leaves out what cannot be loaded
            return _command(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in recipe_names():
            find_recipe(args[0])  # raises what keeps it from being loaded
        elif args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise GeocnnError(
                f"there is no folder '{args[0]}' here, and no recipe of that name; recipes are "
                f"{', '.join(recipe_names())}"
            )
        return super().resolve_command(ctx, args)


def _command(recipe: str) -> Any:
    single = typer.Typer(add_completion=False)
    epilog = f"Example: geocnn train {recipe} --baseline --devices gpu:0"
    single.command(recipe, epilog=epilog)(train_command(find_recipe(recipe)))
    return typer.main.get_command(single)
