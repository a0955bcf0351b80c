"""A recipe for every data folder: its network, the control beside it, and the answers of its task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geocnn.data.folders.card import SURFACE, Card, DataFolder, open_folder, save_sample
from geocnn.data.folders.samples import in_type_of
from geocnn.errors import DatasetError, RecipeError
from geocnn.nn.presets import Preset, preset
from geocnn.train.recipe import Recipe, Training
from geocnn.train.recipes.folder_answers import answer_rows, inputs, present
from geocnn.train.recipes.folder_batches import Answering, Score
from geocnn.train.recipes.folder_networks import StartFrom, build_folder_network, description_in, join
from geocnn.train.recipes.folder_report import draw, examine, metric_of
from geocnn.train.recipes.folder_samples import Samples, validating
from geocnn.train.reporting import per_cent
from geocnn.train.settings import BELOW_ONE, Range, RecipeSettings, setting

if TYPE_CHECKING:
    from torchmetrics import Metric

NAME = "data-folder"


CHOSEN = "chosen"


@dataclass(frozen=True, kw_only=True)
class FolderSettings(RecipeSettings):
    """The settings of a data folder; the data choose what is not given (`geocnn.nn.preset`)."""

    size: str = setting(CHOSEN, "size of the network", (CHOSEN, "small", "base", "large"))
    smoothing: float = setting(0.0, "label smoothing of classes", BELOW_ONE)
    balanced: bool = setting(False, "let rare classes weigh more in the loss, up to 10 times")
    baseline: bool = setting(True, "train also the control, which sees each point by itself")
    folds: int = setting(
        0,
        "parts of a cross-validation: each part in turn is the test set, the next one validates; columns "
        "'split' are left aside; 0: no cross-validation",
        Range(0, 1000),
    )
    members: int = setting(
        1, "networks, alike but for their seed, that answer together; their spread is told", Range(1, 1000)
    )
    start: str = setting(
        "", "run folder of a trained network to start from, in place of random weights", option="from"
    )
    processes: int = setting(
        0, "processes that compute geometry at once; 0: one per core", Range(0, 1000), may_change=True
    )

    def conflicts(self) -> list[str]:
        if self.folds in (1, 2):
            return ["the setting folds is 0 or at least 3: one part tests, one validates, the others teach"]
        return []

    @property
    def answers_together(self) -> bool:
        return self.members > 1 or self.folds > 0

    @property
    def test_batch(self) -> int:
        return 1

    @property
    def validation_batch(self) -> int:
        return self.batch_size


def preset_of(card: Card, n_train: int, size: str = CHOSEN) -> Preset:
    """Return the network and the training for a data folder, on as many levels as its surfaces have."""
    chosen: Any = None if size == CHOSEN else size
    found = preset(card.task, n_train, card.points, in_type_of(card), card.n_out, chosen)
    widths = found.network["arguments"]["widths"][: card.levels]
    arguments = found.network["arguments"] | {"widths": widths}
    return dataclasses.replace(found, network=found.network | {"arguments": arguments})


def settings_for(data: DataFolder) -> FolderSettings:
    """Return settings that need no tuning, from the numbers of samples and points of a data folder."""
    counts = {name: len(data.of(name)) for name in ("train", "test")}
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        raise DatasetError(f"{data.path} has no {empty[0]} samples; edit the column 'split' of its table")
    weightless = [name for name in counts if counts[name] and not any(r.weight for r in data.of(name))]
    if weightless:
        raise DatasetError(
            f"all {weightless[0]} samples of {data.path} have the weight 0; give some more weight"
        )
    n = counts["train"]
    training = preset_of(data.card, n).training
    steps = training["epochs"] * max(1, n // training["batch_size"])
    return FolderSettings(
        train_size=n,
        val_size=len(validating(data)),
        test_size=counts["test"],
        check_every=max(1, round(steps / 25)),
        # the loss of classes rises with sureness long before answers get worse
        keep="last" if data.card.is_classes or not data.of("val") else "best",
        **training,
    )


def folder_recipe(path: Path) -> Recipe:
    """Return the recipe of a data folder. Raises DatasetError where it is none."""
    data = open_folder(path)
    card, samples = data.card, Samples(data)
    shown = per_cent if card.is_classes else "{:.4g}".format
    return dataclasses.replace(
        RECIPE,
        summary=_summary(card),
        presets={"default": settings_for(data)},
        trainings=lambda settings: trainings(settings, card),
        data=samples.batches,
        score=Score(card),
        answer=Answering(card),
        metrics=lambda: metrics(card),
        headline=f"{_headline(card)}, on the test samples",
        show=shown,
        examine=lambda run: examine(run, card),
        draw=lambda run: draw(run, samples),
        model_entries=lambda settings: {
            "card": _plain(card),
            "data": data.digest,
            "origin": data.origin,
            "folds": settings.folds,
        },
        join=lambda networks, description: join(networks, description, card.is_classes),
        attach=lambda folder: _attach(data, folder),
    )


def _summary(card: Card) -> str:
    what = {"meshes": "meshes", "one mesh": "fields on one mesh", "healpix": "HEALPix maps"}[card.surfaces]
    learnt = ", ".join(card.classes[:8]) if card.is_classes else ", ".join(card.target)
    place = "per point" if card.per_point else "of each"
    return f"{card.name}: {what}; {learnt} {place}"


def _headline(card: Card) -> str:
    if card.is_classes:
        return "Share of the area labelled right" if card.per_point else "Accuracy"
    return f"Error of {', '.join(card.target)} (root mean square)"


def trainings(settings: FolderSettings, card: Card) -> list[Training]:
    """List the network and its control, for each part of a cross-validation."""
    chosen = preset_of(card, settings.train_size, settings.size)
    network, begin = chosen.network, None
    if settings.start:
        run = Path(settings.start)
        answers = {name: chosen.network["arguments"][name] for name in ("n_out", "out_type")
                   if name in chosen.network["arguments"]}  # fmt: skip
        network = description_in(run, str(in_type_of(card)), card.levels, answers)
        begin = StartFrom(run, RECIPE.format)
    seeds = settings.members if settings.members > 1 else 0
    kinds = [("network", "geocnn", network, begin, seeds)]
    if settings.baseline and chosen.control is not None:
        kinds.append(("control", "without the surface", chosen.control, None, 0))
    several = seeds > 1 or settings.seeds > 1
    result = []
    for fold in range(1, settings.folds + 1) if settings.folds else [0]:
        names = [f"{name} {fold}" if fold else name for name in ("train", "val", "test")]
        result += [
            Training(
                folder=name + (f"-fold{fold}" if fold else "") + ("" if fold and not several else "-{seed}"),
                title=title, description=description, train=names[0], validation=names[1],
                tests={"": names[2]}, begin=begin, seeds=count,
            )
            for name, title, description, begin, count in kinds
        ]  # fmt: skip
    return result


def metrics(card: Card) -> dict[str, Metric]:
    """Make the headline of a task."""
    metric = metric_of(card)
    return {metric.headline: metric}


def _plain(card: Card) -> dict[str, Any]:
    """Return a card as plain values, without the checksums of its sources."""
    values = dataclasses.asdict(card)
    del values["sources"]
    return values


def _attach(data: DataFolder, folder: Path) -> None:
    """Write the one surface of all samples beside the model."""
    if data.card.surfaces == "one mesh":
        save_sample(folder / SURFACE, data.surface())


def _only_from_a_folder(*_: Any) -> Any:
    raise RecipeError(f"the recipe '{NAME}' trains on a folder: geocnn train FOLDER")


RECIPE = Recipe(
    name=NAME,
    summary="meshes, fields or maps of your own: geocnn train FOLDER",
    presets={"default": FolderSettings()},
    trainings=_only_from_a_folder,
    build=build_folder_network,
    data=_only_from_a_folder,
    score=_only_from_a_folder,
    metrics=_only_from_a_folder,
    answer=answer_rows,
    inputs=inputs,
    present=present,
)
