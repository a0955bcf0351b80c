"""A run of a recipe: rehearse it, train its networks, and let them answer the test sets."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from geocnn.console import progress
from geocnn.train.devices import inference_device, is_main_process
from geocnn.train.files import WEIGHTS, load_weights
from geocnn.train.loop import Outcome, fit, fit_each, try_step
from geocnn.train.recipe import Recipe, Training, main_training, planned
from geocnn.train.reporting import report
from geocnn.train.settings import RecipeSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console


@dataclass(frozen=True)
class Run:
    """A run whose trainings have ended: the argument of `Recipe.draw` and `Recipe.examine`."""

    recipe: Recipe
    settings: Any
    folder: Path
    console: Console
    trainings: list[Training]
    data: Callable[[str], Dataset[Any]]
    """The data set of that name."""
    outcomes: dict[str, Outcome]
    """How each training ended, by its folder."""
    started: float
    """When this session began, by time.perf_counter."""
    answers: dict[tuple[str, str], list[Tensor]] = dataclasses.field(default_factory=dict)
    """By folder and column of the table: the network's outputs for the test set, one tensor per batch."""
    metrics: dict[tuple[str, str], dict[str, float]] = dataclasses.field(default_factory=dict)
    """By folder and column: the metrics of the test set."""

    @property
    def main(self) -> Training:
        """The training whose network is the run's model."""
        return main_training(self.trainings)

    @property
    def members(self) -> list[Training]:
        """The trainings whose networks are the run's model: the main one, or all of its title."""
        alike = [training for training in self.trainings if training.title == self.main.title]
        return alike if self.settings.answers_together and self.recipe.join else [self.main]

    def model(self) -> tuple[nn.Module, Mapping[str, Any]]:
        """Return the run's model and its description."""
        networks = [self.network(training) for training in self.members]
        if len(networks) == 1 or self.recipe.join is None:
            return networks[0], self.main.description
        return self.recipe.join(networks, self.main.description)

    def network(self, training: Training) -> nn.Module:
        """Load the trained network of one training, in evaluation mode."""
        return self.recipe.load(self.folder / training.folder)[0]

    def save(self, figure: Figure, name: str) -> None:
        """Write a picture into the run folder."""
        figure.savefig(self.folder / name, dpi=150)


def rehearse(recipe: Recipe, settings: Any) -> None:
    """Take one step of each of the run's networks, on one batch. Raises GeocnnError where it fails."""
    short = dataclasses.replace(
        settings,
        seeds=1,
        train_size=min(settings.train_size, settings.batch_size),
        val_size=min(settings.val_size, settings.batch_size),
    )
    rehearsed = []
    for training in planned(recipe, short):
        if training.description not in rehearsed:
            rehearsed.append(training.description)
            train, validation = (recipe.data(short, name) for name in (training.train, training.validation))
            try_step(recipe.build(dict(training.description)), recipe.score, train, validation, short)


def train(recipe: Recipe, settings: Any, folder: Path, console: Console) -> None:
    """Train what is not yet trained, then answer the test sets and report; everything lands in `folder`."""
    started = time.perf_counter()
    trainings = {training.folder: training for training in planned(recipe, settings)}
    data = cache(lambda name: recipe.data(settings, name))
    outcomes = fit_each(
        list(trainings),
        folder,
        console,
        lambda name: _train_one(recipe, trainings[name], settings, data, folder, console),
        settings.max_minutes,
    )
    if is_main_process():
        run = Run(recipe, settings, folder, console, list(trainings.values()), data, outcomes, started)
        network, description = run.model()
        recipe.save(network, description, settings, folder)
        answer_tests(run)
        report(run)


def _train_one(
    recipe: Recipe,
    training: Training,
    settings: RecipeSettings,
    data: Callable[[str], Dataset[Any]],
    folder: Path,
    console: Console,
) -> Outcome:
    home = folder / training.folder
    console.print(
        f"training {training.title}, seed {training.seed} ({training.folder})",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    train, validation = data(training.train), data(training.validation)
    torch.manual_seed(training.seed)
    network = recipe.build(dict(training.description))
    if training.start is not None:
        load_weights(network, folder / training.start / WEIGHTS)
    if training.begin is not None:
        training.begin(network)
    return fit(
        network,
        recipe.score,
        train,
        validation,
        dataclasses.replace(settings, seed=training.seed, **training.changes),
        home,
        console,
        settings.validation_batch,
        save=lambda trained: recipe.save(trained, training.description, settings, home),
    )


@torch.no_grad()
def answer_tests(run: Run) -> None:
    """Fill the run's answers and metrics."""
    from lightning.fabric.utilities import move_data_to_device
    from torchmetrics import MetricCollection

    device = inference_device(run.settings.devices)
    for training in run.trainings:
        network = run.network(training).to(device)
        for column, name in training.tests.items():
            metrics = run.recipe.metrics()
            collection = MetricCollection(dict(metrics), compute_groups=False)
            outputs = run.answers[training.folder, column] = []
            data, at_once = run.data(name), run.settings.test_batch
            n = len(data)  # pyright: ignore[reportArgumentType]
            with progress(run.console, f"{training.folder}: answering the {name} examples", n) as advance:
                for first in range(0, n, at_once):
                    chosen = list(range(first, min(first + at_once, n)))
                    batch = data.__getitems__(chosen)  # pyright: ignore[reportAttributeAccessIssue]
                    batch = move_data_to_device(batch, device)
                    output, *rest = run.recipe.answer(network, batch)
                    truth, weight = (part if part is None else part.cpu() for part in rest)
                    outputs.append(output.cpu())
                    collection.update(outputs[-1], truth, **({} if weight is None else {"weight": weight}))
                    advance(len(chosen))
            values = collection.compute()
            run.metrics[training.folder, column] = {name: float(values[name]) for name in metrics}
