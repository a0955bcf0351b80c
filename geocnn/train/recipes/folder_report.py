"""What a run on a data folder says at its end: all measures with intervals, the control, what is trivial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from geocnn.data.folders.card import Card
from geocnn.data.folders.samples import in_units
from geocnn.train.recipes.folder_batches import FolderBatches

if TYPE_CHECKING:
    from geocnn.train.measures.metrics import SurfaceMetric
    from geocnn.train.runs import Run

Known = tuple[Tensor, Tensor | None, Tensor | None]


def metric_of(card: Card) -> SurfaceMetric:
    """Make the metric of a task."""
    from geocnn.train.measures.metrics import PointClasses, PointNumbers, SurfaceClasses, SurfaceNumbers

    if card.is_classes:
        return PointClasses(card.classes) if card.per_point else SurfaceClasses(card.classes)
    return PointNumbers(card.target) if card.per_point else SurfaceNumbers(card.target)


def truths_of(data: FolderBatches) -> list[Known]:
    """Return (truth, weight, None) of each sample, numbers in their own units."""
    result = []
    for k in range(len(data)):
        given = data.__getitems__([k])
        assert given.truth is not None
        truth = given.truth if data.card.is_classes else in_units(given.truth, data.card)
        result.append((truth, given.share, None))
    return result


def examine(run: Run, card: Card) -> dict[str, Any]:
    """Measure each network, its difference from the control, and the trivial answer; print them."""
    from geocnn.train.measures.baselines import majority, mean
    from geocnn.train.measures.metrics import LabelMetric, NumberMetric, difference

    metrics = {training.title: metric_of(card) for training in run.trainings}
    trivial, name = metric_of(card), "majority" if card.is_classes else "mean of the training samples"
    for part, test in tests_of(run).items():
        train, truths = run.data(train_of(run, part)), truths_of(test)
        assert isinstance(train, FolderBatches)
        for title, metric in metrics.items():
            for output, known in zip(answers_of(run, title, part), truths, strict=True):
                metric.update(output, *known)
        if isinstance(trivial, LabelMetric):
            majority(trivial, truths_of(train), truths)
        elif isinstance(trivial, NumberMetric):
            mean(trivial, truths_of(train), truths)
    measured = {title: metric.measures() for title, metric in metrics.items()}
    main = measured[run.main.title]
    run.console.print(main)
    entries: dict[str, Any] = {title: measures.to_dict() for title, measures in measured.items()}
    entries[name] = trivial.measures().to_dict()
    lines = [f"{name}: {main.headline} {trivial.measures().first}"]
    lines += [f"{title}: {main.headline} {one.first}" for title, one in measured.items()]
    if len(metrics) > 1:
        network, control = (metrics[title] for title in list(metrics)[:2])
        less = difference(network, control)
        entries["difference"] = less.to_dict()
        lines.append(f"{run.main.title} less {list(metrics)[1]}: {less.first}")
    if run.settings.members > 1:
        entries["members"], line = _members(run, card)
        lines.append(line)
    for line in lines:
        run.console.print(line, highlight=False, markup=False, soft_wrap=True)
    return {"measures": entries}


def tests_of(run: Run) -> dict[str, FolderBatches]:
    """Return the test sets of a run by name: one, or one per part of a cross-validation."""
    sets = {name: run.data(name) for training in run.trainings for name in training.tests.values()}
    return {name: data for name, data in sets.items() if isinstance(data, FolderBatches)}


def train_of(run: Run, test: str) -> str:
    """Return the name of the training set that goes with a test set."""
    return next(training.train for training in run.trainings if training.tests[""] == test)


def members_of(run: Run, title: str, test: str) -> list[list[Tensor]]:
    """Return the answers of each network of a title that are to be measured, one tensor per sample.

    These are all members of an ensemble, else the network of the first seed.
    """
    own = [t for t in run.trainings if t.title == title and t.tests[""] == test]
    together = run.settings.members > 1 and title == run.main.title
    return [run.answers[training.folder, ""] for training in (own if together else own[:1])]


def answers_of(run: Run, title: str, test: str) -> list[Tensor]:
    """Return the answers of a title to a test set, the mean of members, one tensor per sample."""
    members = members_of(run, title, test)
    return [torch.stack(one).mean(0) for one in zip(*members, strict=True)]


def _members(run: Run, card: Card) -> tuple[dict[str, Any], str]:
    """Measure how far members of an ensemble disagree, and whether that tells their error."""
    from geocnn.train.measures.doubt_metrics import ClassEnsemble, NumberEnsemble

    if card.is_classes:
        metric: SurfaceMetric = ClassEnsemble(card.classes, is_per_point=card.per_point)
    else:
        metric = NumberEnsemble(card.target, is_per_point=card.per_point)
    for part, test in tests_of(run).items():
        members = members_of(run, run.main.title, part)
        for known, *answers in zip(truths_of(test), *members, strict=True):
            metric.update(torch.stack(answers), *known)
    measures = metric.measures()
    shown = ", ".join(f"{name} {value}" for name, value in measures.values.items())
    return measures.to_dict(), f"{run.settings.members} members together: {shown}"


def draw(run: Run, card: Card) -> None:
    """Draw the confusion of classes, or the answers against the truth."""
    from geocnn import viz

    tests = tests_of(run)
    known = [part for test in tests.values() for part in truths_of(test)]
    output = torch.cat([part for name in tests for part in answers_of(run, run.main.title, name)])
    truth = torch.cat([part[0] for part in known])
    weight = torch.cat([part[1] for part in known if part[1] is not None])
    if card.is_classes:
        there = truth >= 0
        title = "share of each class, on the test samples"
        figure = viz.confusion(
            output.argmax(-1)[there], truth[there], card.classes, title, weight[there].double()
        )
        run.save(figure, "confusion.png")
        return
    for k, name in enumerate(card.target):
        figure = viz.predicted_against_true(output[:, k], truth[:, k], name)
        run.save(figure, f"{_file_name(name)}.png")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "numbers"
