"""Trivial answers, measured as networks are: the most frequent class and the mean number in training.

A network that is not better than these has learnt nothing that helps. Import this file inside functions:
torchmetrics is slow to load.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
from jaxtyping import Float64
from torch import Tensor

from geocnn.errors import GeocnnError
from geocnn.train.measures.inputs import known_labels, known_numbers
from geocnn.train.measures.metrics import LabelMetric, NumberMetric
from geocnn.train.measures.tally import shares

Known = tuple[Tensor, Tensor | None, Tensor | None]
"""(truth, weight, mask) as `SurfaceMetric.update` takes them: one surface, or several, one per row."""


def class_shares(metric: LabelMetric, known: Iterable[Known]) -> Float64[Tensor, " classes"]:
    """Return the share of each class: of the area, every surface counting the same, or of the surfaces.

    Raises GeocnnError where no label is known.
    """
    total = torch.zeros(metric.columns, dtype=torch.float64)
    for truth, weight, mask in known:
        _, labels, weights = known_labels(torch.zeros(len(truth), metric.columns), truth, weight, mask)
        own = shares(weights) if metric.is_per_point else weights
        total += torch.bincount(labels, own, metric.columns)
    if not float(total.sum()):
        raise GeocnnError("no label of the training set is known, so that no class is the most frequent")
    return total / total.sum()


def target_means(metric: NumberMetric, known: Iterable[Known]) -> Float64[Tensor, " targets"]:
    """Return the mean of each target: by area, every surface counting the same, or over surfaces.

    Raises GeocnnError where no number is known.
    """
    total, mass = torch.zeros(metric.columns, dtype=torch.float64), 0.0
    for truth, weight, mask in known:
        _, numbers, weights = known_numbers(torch.zeros_like(truth, dtype=torch.float64), truth, weight, mask)
        own = shares(weights) if metric.is_per_point else weights
        total += own @ numbers
        mass += float(own.sum())
    if not mass:
        raise GeocnnError("no number of the training set is known, so that there is no mean")
    return total / mass


L = TypeVar("L", bound=LabelMetric)
N = TypeVar("N", bound=NumberMetric)


def majority(metric: L, train: Iterable[Known], test: Iterable[Known]) -> L:
    """Measure the answer that knows only how frequent classes are in training: everywhere their shares.

    The class that it answers is the most frequent one; its ROC AUC is 1/2.

    Args:
        metric: a new one, such as the network's; it is updated with the test set and returned.
        train, test: the known truths.

    >>> from geocnn.train.measures.metrics import SurfaceClasses
    >>> train, test = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1, 1])
    >>> float(majority(SurfaceClasses(2), [(train, None, None)], [(test, None, None)]).compute())
    0.75
    """
    answer = class_shares(metric, train)
    for truth, weight, mask in test:
        metric.update(answer.expand(*metric.members, len(truth), -1), truth, weight, mask)
    return metric


def mean(metric: N, train: Iterable[Known], test: Iterable[Known]) -> N:
    """Measure the answer that knows only the mean in training: everywhere that.

    Arguments as for `majority`. R² is 0 where the test set has the same mean, and below 0 otherwise.

    >>> from geocnn.train.measures.metrics import SurfaceNumbers
    >>> train, test = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 5.0])
    >>> float(mean(SurfaceNumbers(headline="MAE"), [(train, None, None)], [(test, None, None)]).compute())
    2.0
    """
    answer = target_means(metric, train)
    for truth, weight, mask in test:
        answers = answer.expand(*truth.shape) if truth.ndim == 2 else answer.expand(len(truth))
        metric.update(answers.expand(*metric.members, *truth.shape), truth, weight, mask)
    return metric
