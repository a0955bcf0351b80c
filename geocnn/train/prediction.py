"""Predictions: a trained network answers a user's file or test inputs, for any recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from geocnn.console import progress
from geocnn.errors import GeocnnError
from geocnn.files import replacing
from geocnn.train.recipe import Inputs, Recipe, Request, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console


@dataclass(frozen=True)
class Prediction:
    """A network's answers, for `Recipe.present`."""

    request: Request
    model: dict[str, Any]
    """The content of model.json."""
    inputs: Inputs
    outputs: list[Tensor]
    """One tensor per batch, on the CPU."""
    console: Console

    @property
    def stem(self) -> str:
        """What names of written files begin with."""
        return "examples" if self.request.file is None else self.request.file.name.split(".")[0]

    def wrote(self, file: Path) -> None:
        """Name a written file to the user."""
        self.console.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)

    def save(self, figure: Figure, name: str) -> None:
        """Write a picture into the folder of the answers."""
        file = self.request.folder / name
        figure.savefig(file, dpi=150)
        self.wrote(file)


@torch.no_grad()
def predict(recipe: Recipe, request: Request, console: Console) -> None:
    """Answer a user's file, or test inputs of the recipe; write what the recipe makes of the answers.

    Raises:
        CheckpointError: the folder holds no network of this recipe.
        GeocnnError: both a file and a number of examples are given, or the recipe cannot read the file.
    """
    if request.file is not None and request.examples:
        raise GeocnnError("give either a FILE or --examples N (the recipe's own test inputs), not both")
    network, model = recipe.load(request.model)
    inputs = (recipe.inputs or _examples(recipe))(request, model, console)
    outputs = []
    with progress(console, "answering", len(inputs.batches)) as advance:
        for batch in inputs.batches:
            output, _, _ = recipe.answer(network, batch)
            outputs.append(output)
            advance(1)
    request.folder.mkdir(parents=True, exist_ok=True)
    (recipe.present or _write_array)(Prediction(request, model, inputs, outputs, console))


def measured(recipe: Recipe, model: Path) -> Subject:
    """Return what `geocnn equivariance` measures of the network in a folder, or of a checkpoint beside its
    model.json.

    Raises CheckpointError if there is none, GeocnnError if the recipe names no surface.
    """
    if recipe.subject is None:
        raise GeocnnError(f"the recipe '{recipe.name}' does not say on which surface to measure its networks")
    return recipe.subject(*recipe.load(model))


def _examples(recipe: Recipe) -> Any:
    """Make the `inputs` of recipes that read no file: from the first test set of the default settings."""

    def inputs(request: Request, model: dict[str, Any], console: Console) -> Inputs:
        if request.file is not None:
            raise GeocnnError(f"the recipe '{recipe.name}' reads no files; give --examples N instead of one")
        settings = recipe.default
        data = recipe.data(settings, next(iter(recipe.trainings(settings)[0].tests.values())))
        n = min(request.examples or 4, len(data))  # pyright: ignore[reportArgumentType]
        batches = [list(range(k, min(k + settings.test_batch, n))) for k in range(0, n, settings.test_batch)]
        return Inputs([data.__getitems__(batch) for batch in batches])  # pyright: ignore[reportAttributeAccessIssue]

    return inputs


def _write_array(prediction: Prediction) -> None:
    file = prediction.request.folder / f"{prediction.stem}-predictions.npy"
    outputs = torch.cat(prediction.outputs).numpy()
    with replacing(file) as new, new.open("wb") as stream:
        np.save(stream, outputs)
    prediction.console.print(f"{len(outputs)} answers of shape {outputs.shape[1:]}")
    prediction.wrote(file)
