"""Metrics of doubt: are probabilities calibrated, and does the spread of an ensemble tell its error?

Import this file inside functions: torchmetrics is slow to load.
"""

from __future__ import annotations

from collections.abc import Sequence

from geocnn.train.measures.calibration import BINS, Calibration
from geocnn.train.measures.ensembles import MemberLabels, MemberNumbers, ensemble
from geocnn.train.measures.inputs import KnownLabels, KnownNumbers
from geocnn.train.measures.metrics import LabelMetric, NumberMetric
from geocnn.train.measures.tally import Tally

BIN_NAMES = [f"{k / BINS:.2f} to {(k + 1) / BINS:.2f}" for k in range(BINS)]


class ClassCalibration(LabelMetric):
    """Calibration of classes: answers are probabilities [n, classes].

    Measures: ECE (expected calibration error), NLL (negative log likelihood), Brier score. Per bin of
    confidence: mean confidence, accuracy, share.

    Args:
        classes, headline, is_per_point: as for `LabelMetric`.

    >>> import torch
    >>> metric = ClassCalibration(2, is_per_point=False)
    >>> metric.update(torch.tensor([[0.75, 0.25]]).expand(4, -1), torch.tensor([0, 0, 1, 1]))
    >>> float(metric.compute())
    0.25
    """

    def __init__(
        self, classes: Sequence[str] | int, headline: str | None = None, *, is_per_point: bool
    ) -> None:
        super().__init__(classes, headline, is_per_point)
        self.rows = BIN_NAMES

    def kept(self, known: KnownLabels) -> list[Tally]:
        return [Calibration.of(known, self.is_per_point)]


class ClassEnsemble(LabelMetric):
    """An ensemble of classes: answers are the members' probabilities, stacked: [members, n, classes].

    Measures: accuracy of the mean and of one member (on average), NLL of both, disagreement (share of the
    members that answer another class than their mean), and those of `ClassCalibration` for the mean.

    Args:
        classes, headline, is_per_point: as for `LabelMetric`.

    >>> import torch
    >>> metric = ClassEnsemble(2, "disagreement", is_per_point=False)
    >>> metric.update(torch.tensor([[[0.9, 0.1]], [[0.4, 0.6]]]), torch.tensor([0]))
    >>> float(metric.compute())
    0.5
    """

    members = (2,)

    def __init__(
        self, classes: Sequence[str] | int, headline: str | None = None, *, is_per_point: bool
    ) -> None:
        super().__init__(classes, headline, is_per_point)
        self.rows = BIN_NAMES

    def kept(self, known: KnownLabels) -> list[Tally]:
        together = known._replace(answer=ensemble(known.answer).mean)
        per_point = self.is_per_point
        return [MemberLabels.of(known, per_point), Calibration.of(together, per_point)]


class NumberEnsemble(NumberMetric):
    """An ensemble of numbers: answers are those of the members, stacked, [members, n, targets] or, for one
    target, [members, n].

    Measures per target: RMSE of the mean; spread (of a further member about the mean); spread-skill, their
    ratio, 1 where the spread is as large as the error; spread and error, the correlation of both, above 0
    where a larger spread goes with a larger error; within 95 %, the share within 1.96 spreads, 0.95 where the
    spread is right; NLL, the negative log likelihood of a normal distribution with this spread.

    Args:
        targets, headline, is_per_point: as for `NumberMetric`.

    >>> import torch
    >>> metric = NumberEnsemble(headline="RMSE", is_per_point=False)
    >>> metric.update(torch.tensor([[1.0, 2.0], [3.0, 2.0]]), torch.tensor([1.0, 3.0]))
    >>> float(metric.compute())
    1.0
    """

    members = (2,)

    def __init__(
        self, targets: Sequence[str] | int = 1, headline: str | None = None, *, is_per_point: bool
    ) -> None:
        super().__init__(targets, headline, is_per_point)

    def kept(self, known: KnownNumbers) -> list[Tally]:
        return [MemberNumbers.of(known, self.is_per_point)]
