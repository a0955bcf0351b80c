"""A recipe is data, a network, a score, metrics, and functions that draw.

Everything else is written once in this room, for every recipe: settings from the command line (`settings`),
the run folder (`folders`), training, repeated seeds and baselines (`loop`, `runs`), tables, results.json and
the model card (`reporting`), and predictions (`prediction`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn
from torch.utils.data import Dataset

from geocnn.train.files import check_json, load_model, save_model
from geocnn.train.memory import Need
from geocnn.train.score import Answer, Scorer, answer_pair
from geocnn.train.settings import RecipeSettings

if TYPE_CHECKING:
    from rich.console import Console
    from torchmetrics import Metric

    from geocnn.geometry import Surface
    from geocnn.train.prediction import Prediction
    from geocnn.train.runs import Run


@dataclass(frozen=True, kw_only=True)
class Training:
    """One of a run's trainings."""

    folder: str
    """Its folder in the run folder; "{seed}" in it stands for the random seed. Where a run has several seeds
    and the folder does not name them, "-{seed}" is appended."""
    title: str
    """Its row in tables; trainings with the same title share one."""
    description: Mapping[str, Any]
    """The network, as plain values that JSON holds: what `Recipe.build` makes it from."""
    train: str = "train"
    """The name of its training set, for `Recipe.data`."""
    validation: str = "val"
    tests: Mapping[str, str] = field(default_factory=lambda: {"": "test"})
    """The names of its test sets, by the column of the table that they fill."""
    start: str | None = None
    """The folder of an earlier training, from whose weights this one starts."""
    begin: Callable[[nn.Module], None] | None = None
    """Changes the first weights of the network otherwise, such as to those of another run."""
    seeds: int = 0
    """How many networks of this kind there are, with seeds one after another; 0: `settings.seeds`."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings in which this training differs from the run's."""
    seed: int = 0
    """Random seed of the weights and of the order of examples; the run sets it."""


class Request(NamedTuple):
    """What a user asks of a trained network."""

    model: Path
    """A folder with model.json and model.safetensors."""
    file: Path | None
    """The user's own input; None: test inputs of the recipe."""
    examples: int
    """How many test inputs; 0 where none were asked for."""
    nested: bool | None
    """Whether a map's pixels are in nested order, or in ring order; None: the user did not say."""
    out: Path | None
    """Folder of what is written; None: that of the file, or of the model."""
    fill: tuple[float, ...] = ()
    """Numbers that stand for no value in a map."""

    @property
    def folder(self) -> Path:
        return self.out or (self.model if self.file is None else self.file.parent)


class Inputs(NamedTuple):
    """What a network is asked to answer."""

    batches: Sequence[Any]
    """Batches as `Recipe.answer` takes them; what is true may be None in them."""
    shown: Any = None
    """What else `Recipe.present` needs to show the answers, such as titles."""


@dataclass(frozen=True)
class Subject:
    """What `geocnn equivariance` measures of a trained network; the fields are arguments of
    `equivariance.report`.
    """

    model: Any
    surface: Surface
    build: Callable[[Surface], Any] | None
    in_type: str | None = None
    symmetries: tuple[str, ...] | None = None
    refinements: int = 1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete training. The fields without a default make one; docs/recipes.md writes one step by step."""

    name: str
    summary: str
    """One line."""
    presets: Mapping[str, Any]
    """Settings (a RecipeSettings) by name; the first is the default."""
    trainings: Callable[[Any], Sequence[Training]]
    """(settings) -> what is trained, baselines included if `settings.baseline`."""
    build: Callable[[dict[str, Any]], nn.Module]
    """(description) -> the untrained network."""
    data: Callable[[Any, str], Dataset[Any]]
    """(settings, name) -> the data set of that name. Its `__getitems__` takes a list of numbers and returns a
    whole batch; `settings.train_size`, `val_size` and `test_size` say how many examples are wanted."""
    score: Scorer
    """(network, batch) -> the loss, and further figures that are logged."""
    metrics: Callable[[], Mapping[str, Metric]]
    """The metrics of the test sets, by name; the first is the headline."""

    answer: Callable[[nn.Module, Any], Answer] = answer_pair
    """(network, batch) -> (output, truth, weight), which update the metrics."""
    draw: Callable[[Run], None] | None = None
    """(run) draws further pictures into the run folder."""
    examine: Callable[[Run], dict[str, Any]] | None = None
    """(run) -> further entries of results.json; it prints them too."""
    headline: str = ""
    """Title of the table; without, it is the name of the first metric."""
    show: Callable[[float], str] = "{:.4g}".format
    """How a value of the first metric is printed."""
    join: Callable[[list[nn.Module], Mapping[str, Any]], tuple[nn.Module, dict[str, Any]]] | None = None
    """(networks, their description) -> one network that answers for all of them, with its description: the
    run's model where `settings.answers_together`."""
    about: str = ""
    """For the model card: what the data are, where they come from, what the model is not for."""
    needs: Callable[[Any], Need] | None = None
    """(settings) -> the memory that the largest of the run's trainings needs."""
    model_entries: Callable[[Any], dict[str, Any]] = lambda settings: {}
    """(settings) -> further entries of model.json, which `inputs`, `present` and `subject` read."""
    attach: Callable[[Path], None] | None = None
    """(folder) writes further files there, beside a model, which `inputs` and `present` read."""
    inputs: Callable[[Request, dict[str, Any], Console], Inputs] | None = None
    """(request, model.json, console) -> the user's file or test inputs; without, only test inputs."""
    present: Callable[[Prediction], None] | None = None
    """(prediction) writes files and tables; without, an array of the outputs is written."""
    subject: Callable[[nn.Module, dict[str, Any]], Subject] | None = None
    """(network, model.json) -> what `geocnn equivariance` measures."""
    file: Path | None = None
    """The file that holds the recipe, where the path of the file found it; the command sets it."""

    @property
    def default(self) -> RecipeSettings:
        return next(iter(self.presets.values()))

    @property
    def format(self) -> str:
        return f"geocnn {self.name} 1"

    def load(self, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
        """Return a trained network, in evaluation mode, and its model.json.

        Instead of the folder, a file of other weights in it may be named. Raises CheckpointError if the
        folder holds no network of this recipe.
        """
        return load_model(folder, self.format, self.build)

    def save(self, network: nn.Module, description: Mapping[str, Any], settings: Any, folder: Path) -> None:
        """Write model.json and model.safetensors, from which `load` makes the network again."""
        model = {"format": self.format, "recipe": self.name, **self.model_entries(settings)}
        if self.attach is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.attach(folder)
        save_model(network, model | {"network": dict(description)}, folder)


def planned(recipe: Recipe, settings: RecipeSettings) -> list[Training]:
    """List the trainings of a run, each with all its seeds before the next.

    Raises RecipeError where a description, or an entry for model.json, is nothing that JSON holds: otherwise
    the network could be trained but not written.
    """

    def named(folder: str, seed: int, count: int) -> str:
        own = count == 1 or "{seed}" in folder
        return (folder if own else folder + "-{seed}").format(seed=seed)

    trainings = recipe.trainings(settings)
    for training in trainings:
        check_json(training.description, f"the recipe '{recipe.name}': description of '{training.folder}'")
    check_json(recipe.model_entries(settings), f"the recipe '{recipe.name}': model_entries")
    return [
        dataclasses.replace(
            training,
            folder=named(training.folder, seed, count),
            start=training.start and named(training.start, seed, count),
            seed=seed,
        )
        for training in trainings
        for count in (training.seeds or settings.seeds,)
        for seed in range(settings.seed, settings.seed + count)
    ]


def main_training(trainings: Sequence[Training]) -> Training:
    """Return the training whose network is the run's model: the first that is not the start of another."""
    starts = {training.start for training in trainings}
    return next(training for training in trainings if training.folder not in starts)
