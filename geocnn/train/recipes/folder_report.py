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

    train, test = run.data("train"), run.data("test")
    assert isinstance(train, FolderBatches) and isinstance(test, FolderBatches)
    truths = truths_of(test)
    metrics: dict[str, SurfaceMetric] = {}
    for training in run.trainings:
        metric = metrics.setdefault(training.title, metric_of(card))
        if training.seed != run.settings.seed:
            continue
        for output, known in zip(run.answers[training.folder, ""], truths, strict=True):
            metric.update(output, *known)
    trivial, name = metric_of(card), "majority" if card.is_classes else "mean of the training samples"
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
    for line in lines:
        run.console.print(line, highlight=False, markup=False, soft_wrap=True)
    return {"measures": entries}


def draw(run: Run, card: Card) -> None:
    """Draw the confusion of classes, or the answers against the truth."""
    from geocnn import viz

    test = run.data("test")
    assert isinstance(test, FolderBatches)
    known = truths_of(test)
    output = torch.cat(run.answers[run.main.folder, ""])
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
