"""Confusion matrices and what follows from them, as scikit-learn computes it with sample weights.

Every measure takes matrices [..., classes, classes] whose entry (t, a) is the weight of what is t and was
answered a. A class that is neither in the truth nor among the answers is left out of means over classes
(scikit-learn's default); one that is only among the answers counts with 0. Sums over a test set come first,
then the ratio (the benchmarks PASCAL VOC, Cityscapes and ScanNet), unless a name says "per surface".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64, Real
from torch import Tensor

from geocnn.train.measures.inputs import KnownLabels, are_probabilities, known_labels
from geocnn.train.measures.ranking import score_of, surface_auc
from geocnn.train.measures.tally import Counts, Sample, Tally, mean_over, once, shares

Matrices = Float64[Tensor, "*many classes classes"]


def confusion(
    answer: Float[Tensor, "n classes"],
    truth: Int[Tensor, " n"],
    weight: Real[Tensor, " n"] | None = None,
    mask: Bool[Tensor, " n"] | None = None,
) -> Float64[Tensor, "classes classes"]:
    """Return the confusion matrix: rows are true classes, columns the classes with the largest answer.

    Arguments and errors are those of `known_labels`: labels −1 and masked points are left out.

    >>> answer, truth = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, -1])
    >>> confusion(answer, truth, torch.tensor([0.5, 2.0, 7.0])).tolist()
    [[0.5, 0.0], [2.0, 0.0]]
    """
    known = known_labels(answer, truth, weight, mask)
    return _counted(known.truth, known.answer.argmax(-1), known.weight, answer.shape[-1])


def _counted(
    truth: Int64[Tensor, " k"], answered: Int64[Tensor, " k"], weight: Float64[Tensor, " k"], classes: int
) -> Float64[Tensor, "classes classes"]:
    cells = torch.bincount(truth * classes + answered, weight, classes * classes)
    return cells.reshape(classes, classes)


def share_answered(matrix: Matrices) -> Float64[Tensor, "*many"]:
    """Return the share of the weight that is answered right.

    >>> float(share_answered(torch.tensor([[3.0, 1.0], [0.0, 0.0]]).double()))
    0.75
    """
    return _hits(matrix).sum(-1) / matrix.sum((-2, -1))


def recall(matrix: Matrices) -> Float64[Tensor, "*many classes"]:
    """Return, per class, the share of it that is answered right; NaN for a class not in the truth."""
    return _hits(matrix) / matrix.sum(-1)


def precision(matrix: Matrices) -> Float64[Tensor, "*many classes"]:
    """Return, per class, the share of its answers that are right; NaN for a class never answered."""
    return _hits(matrix) / matrix.sum(-2)


def f1(matrix: Matrices) -> Float64[Tensor, "*many classes"]:
    """Return, per class, the harmonic mean of precision and recall, 2·hits / (true + answered).

    >>> f1(torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).double())
    tensor([0.8000, 0.6667,    nan], dtype=torch.float64)
    """
    return 2 * _hits(matrix) / (matrix.sum(-1) + matrix.sum(-2))


def iou(matrix: Matrices) -> Float64[Tensor, "*many classes"]:
    """Return, per class, intersection over union (Jaccard index), hits / (true + answered − hits)."""
    hits = _hits(matrix)
    return hits / (matrix.sum(-1) + matrix.sum(-2) - hits)


def mean_of_present(per_class: Float64[Tensor, "*many classes"]) -> Float64[Tensor, "*many"]:
    """Return the mean over the classes that have a value: mean IoU of `iou`, macro F1 of `f1`, balanced
    accuracy of `recall`.
    """
    return per_class.nanmean(-1)


def _hits(matrix: Matrices) -> Float64[Tensor, "*many classes"]:
    return matrix.diagonal(dim1=-2, dim2=-1)


COLUMNS: dict[str, Callable[[Matrices], Float64[Tensor, "*many classes"]]] = {
    "precision": precision,
    "recall": recall,
    "F1": f1,
    "IoU": iou,
}
UNDEFINED = {
    "precision": "the class is never answered",
    "recall": "the class is not in the truth",
    "F1": "the class is neither in the truth nor among the answers",
    "IoU": "the class is neither in the truth nor among the answers",
}


@dataclass(frozen=True)
class PointLabels(Tally):
    """The confusion of each surface by area; a surface's areas are scaled to the sum 1."""

    UNDEFINED: ClassVar = UNDEFINED
    WITHOUT_INTERVAL: ClassVar = {
        "worst surface": "a resample holds no surface that is worse than the worst",
    }

    matrix: Float64[Tensor, "surfaces classes classes"]
    points: Float64[Tensor, "surfaces classes"]
    """Number of points of each true class."""
    right: Float64[Tensor, "surfaces classes"]
    """How many of them are answered right."""

    @classmethod
    def of(cls, known: KnownLabels) -> PointLabels:
        """Tally one surface."""
        classes, answered = known.answer.shape[-1], known.answer.argmax(-1)
        matrix = _counted(known.truth, answered, shares(known.weight), classes)
        points = _counted(known.truth, answered, torch.ones_like(known.weight), classes)
        return cls(matrix[None], points.sum(1)[None], points.diagonal()[None])

    @property
    def truth(self) -> Float64[Tensor, "surfaces sums"]:
        return torch.cat([self.matrix.sum(2), self.points], 1)

    def sample(self, counts: Counts | None) -> Sample:
        counts = once(len(self)) if counts is None else counts
        total = torch.tensordot(counts, self.matrix, 1)
        points = counts @ self.points
        own = share_answered(self.matrix)
        values = {
            "accuracy": share_answered(total),
            "accuracy per point": (counts @ self.right).sum(1) / points.sum(1),
            "mean IoU": mean_of_present(iou(total)),
            "mean IoU per surface": mean_over(mean_of_present(iou(self.matrix)), counts),
            "macro F1": mean_of_present(f1(total)),
            "balanced accuracy": mean_of_present(recall(total)),
            "worst surface": own.where(counts > 0, torch.inf).amin(1),
        }
        rows = {name: column(total) for name, column in COLUMNS.items()}
        rows["share"] = total.sum(2) / total.sum((1, 2)).unsqueeze(1)
        return Sample(values, rows | {"points": points})


@dataclass(frozen=True)
class SurfaceLabels(Tally):
    """The answered and true class of each surface."""

    UNDEFINED: ClassVar = UNDEFINED | {
        "ROC AUC": "no class has surfaces in it and outside it, or answers of several classes are no "
        "probabilities; answer with logits.softmax(-1)"
    }

    answer: Float64[Tensor, "surfaces classes"]
    label: Int64[Tensor, " surfaces"]
    weight: Float64[Tensor, " surfaces"]

    @classmethod
    def of(cls, known: KnownLabels) -> SurfaceLabels:
        """Tally surfaces, one per row."""
        return cls(known.answer, known.truth, known.weight)

    @property
    def truth(self) -> Float64[Tensor, "surfaces sums"]:
        return torch.stack([self.label.double(), self.weight], 1)

    def sample(self, counts: Counts | None) -> Sample:
        counts = once(len(self)) if counts is None else counts
        classes = self.answer.shape[1]
        cells = self.label * classes + self.answer.argmax(1)
        total = counts.new_zeros(len(counts), classes * classes).index_add_(1, cells, counts * self.weight)
        total = total.reshape(-1, classes, classes)
        values = {
            "accuracy": share_answered(total),
            "balanced accuracy": mean_of_present(recall(total)),
            "macro F1": mean_of_present(f1(total)),
        }
        rows = {name: COLUMNS[name](total) for name in ("precision", "recall", "F1")}
        surfaces = counts.new_zeros(len(counts), classes).index_add_(1, self.label, counts)
        auc = self._auc(counts)
        values["ROC AUC"] = mean_of_present(auc)
        return Sample(values, rows | {"ROC AUC": auc, "surfaces": surfaces})

    def _auc(self, counts: Counts) -> Float64[Tensor, "resamples classes"]:
        """Return the ROC AUC of each class against the rest, by its probability."""
        classes = self.answer.shape[1]
        if classes == 2:
            one = surface_auc(score_of(self.answer), self.label == 1, self.weight, counts)
            return torch.stack([one, one], 1)
        if not bool(are_probabilities(self.answer).all()):
            return counts.new_full((len(counts), classes), torch.nan)
        columns = zip(range(classes), self.answer.unbind(1), strict=True)
        each = [surface_auc(score, self.label == k, self.weight, counts) for k, score in columns]
        return torch.stack(each, 1)
