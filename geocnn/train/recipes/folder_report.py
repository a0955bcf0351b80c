"""What a run on a data folder says at its end: all measures with intervals, the control, what is trivial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from geocnn.data.folders.card import Card, DataFolder, Row
from geocnn.data.folders.samples import in_units, shared_surface
from geocnn.train.recipes.folder_batches import FolderBatches
from geocnn.train.recipes.folder_examples import (
    ANSWERS,
    MOST_EXAMPLES,
    MOST_POINTS,
    Example,
    caption_of,
    chosen,
    error_of,
    examples_figure,
    save_examples,
    stored,
    write_answers,
)

if TYPE_CHECKING:
    from geocnn.train.measures.metrics import SurfaceMetric
    from geocnn.train.recipes.folder_samples import Samples
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


def draw(run: Run, samples: Samples) -> None:
    """Draw the test answers: confusion, curves and calibration of classes, or numbers against the truth.

    Also write a table of all answers, draw some test samples with theirs, and keep those for `geocnn view`.
    """
    tests, data = tests_of(run), samples.data
    rows = [row for name in tests for row in samples.rows(run.settings, name)]
    answers = [answer for name in tests for answer in answers_of(run, run.main.title, name)]
    known = [part for test in tests.values() for part in truths_of(test)]
    truths = [truth for truth, *_ in known]
    shares = [torch.ones(len(truth)) if share is None else share for truth, share, _ in known]
    if data.card.is_classes:
        _draw_classes(run, data.card, torch.cat(answers), torch.cat(truths), torch.cat(shares).double())
    else:
        _draw_numbers(run, data.card, torch.cat(answers), torch.cat(truths))
    _keep_examples(run, data, rows, answers, truths, shares)


def _draw_classes(run: Run, card: Card, answer: Tensor, truth: Tensor, weight: Tensor) -> None:
    from geocnn import viz

    there = truth >= 0
    answer, truth, weight = answer[there], truth[there], weight[there]
    title = "on the test samples" + (", by area" if card.per_point else "")
    share = f"share of each class, {title}"
    run.save(viz.confusion(answer.argmax(-1), truth, card.classes, share, weight), "confusion.png")
    run.save(viz.calibration_curve(answer, truth, title, weight), "calibration.png")
    if len(truth.unique()) > 1:
        # of two classes, one curve tells what both would
        scores = answer[:, 1] if len(card.classes) == 2 else answer
        run.save(viz.roc_curves(scores, truth, card.classes, title, weight), "roc.png")
        figure = viz.precision_recall_curves(scores, truth, card.classes, title, weight)
        run.save(figure, "precision-recall.png")


def _draw_numbers(run: Run, card: Card, answer: Tensor, truth: Tensor) -> None:
    from geocnn import viz

    for k, name in enumerate(card.target):
        figure = viz.predicted_against_true(answer[:, k], truth[:, k], name)
        run.save(figure, f"{_file_name(name)}.png")


def _keep_examples(
    run: Run,
    data: DataFolder,
    rows: Sequence[Row],
    answers: Sequence[Tensor],
    truths: Sequence[Tensor],
    shares: Sequence[Tensor],
) -> None:
    """Write the table of all test answers, the file of some test samples with theirs, and their picture."""
    card = data.card
    parts = list(zip(answers, truths, shares, strict=True))
    errors = [error_of(*part, card) for part in parts]
    names = [row.name for row in rows]
    write_answers(names, answers, truths, errors, card, run.folder / ANSWERS)
    most = max(2, min(MOST_EXAMPLES, MOST_POINTS // max(1, card.points)))
    worst, median = chosen(torch.tensor(errors, dtype=torch.float64), most)
    examples = [
        Example(
            names[k],
            "worst" if k in worst else "median",
            caption_of(answers[k], truths[k], errors[k], card),
            stored(answers[k], truths[k], data.tensors(rows[k]), card),
        )
        for k in (*worst, *median)
    ]
    save_examples(examples, run.folder)
    shared = None if card.surfaces == "meshes" else shared_surface(data)
    run.save(examples_figure(card, examples, len(rows), shared), "examples.png")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "numbers"
