"""Metrics for `Recipe.metrics`: each is updated with answer, truth and, if there is one, the weight.

A metric of points is updated once per surface, a metric of surfaces with any number of them, one per row.
`compute` gives the measure that it is asked for; `measures` gives all, with intervals. Import this file
inside functions: torchmetrics is slow to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int64, Real
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.aggregation import MeanMetric
from torchmetrics.utilities.data import dim_zero_cat

from geocnn.errors import GeocnnError
from geocnn.lasting import lasting
from geocnn.train.measures.inputs import KnownLabels, KnownNumbers, known_labels, known_numbers
from geocnn.train.measures.labels import PointLabels, SurfaceLabels
from geocnn.train.measures.measured import RESAMPLES, Measures, measure, measure_difference
from geocnn.train.measures.moments import Correlations, Numbers
from geocnn.train.measures.ranking import PointRanks
from geocnn.train.measures.tally import Tally
from geocnn.wording import counted


class Accuracy(MeanMetric):
    """The share of all labels that are right; all weigh the same, and labels −1 are left out.

    >>> metric = Accuracy()
    >>> metric.update(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1, -1]))
    >>> float(metric.compute())
    0.5
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_dtype(torch.float64)

    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, answer: Float[Tensor, "n classes"], truth: Int64[Tensor, " n"]
    ) -> None:
        super().update((answer.argmax(-1) == truth)[truth >= 0].double())


class SurfaceMetric(Metric):
    """A metric that keeps tallies. Its states lie on the CPU, in float64, with rows per surface.

    Surfaces of which nothing is known are left out.
    """

    full_state_update = False

    headline: str
    """The measure that `compute` gives."""
    rows: list[str]
    """Names of the table's rows: classes, targets, or bins of confidence."""
    columns: int
    """Numbers per answer: classes or targets."""
    is_per_point: bool
    """Whether answers are of points of one surface, or of surfaces."""

    def __init__(self, names: Sequence[str], headline: str | None, is_per_point: bool) -> None:
        super().__init__()
        self.rows, self.columns, self.is_per_point = list(names), len(names), is_per_point
        with lasting():
            tallies = self.tallied(*self.example())
            samples = [tally.sample(None) for tally in tallies]
        self.kinds = [type(tally) for tally in tallies]
        for kind in self.kinds:
            for name in kind.names():
                self.add_state(f"{kind.__name__}_{name}", [], dist_reduce_fx="cat")
        known = [name for sample in samples for name in sample.values]
        self.headline = known[0] if headline is None else headline
        if self.headline not in known:
            raise GeocnnError(f"there is no measure '{headline}' here; there are: {', '.join(known)}")

    def example(self) -> tuple[Tensor, Tensor]:
        """Return an answer and a truth; their tallies show what is measured."""
        raise NotImplementedError

    def tallied(
        self, answer: Tensor, truth: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> list[Tally]:
        """Return tallies of what is known, or none where nothing is."""
        raise NotImplementedError

    @lasting()
    def update(
        self,
        answer: Float[Tensor, "*members_n_columns"],
        truth: Real[Tensor, "*n_columns"],
        weight: Real[Tensor, " n"] | None = None,
        mask: Bool[Tensor, " n"] | None = None,
    ) -> None:
        """Tally one surface, or surfaces, one per row.

        Args:
            answer, truth: as the metric says.
            weight: areas of the points, or weights of the surfaces; None weighs all the same.
            mask: true where the truth is known. Nothing is read elsewhere.

        Raises:
            BadValueError: a known answer or truth is NaN, or a weight is not finite.
            GeocnnError: shapes, labels or weights are not as the metric says.
        """
        for tally in self.tallied(answer, truth, weight, mask):
            for name in tally.names():
                getattr(self, f"{type(tally).__name__}_{name}").append(getattr(tally, name))

    def tallies(self) -> list[Tally]:
        """Return the tallies of all surfaces so far. Raises GeocnnError where there are none."""

        def joined(kind: type[Tally], name: str) -> Tensor:
            state: Any = getattr(self, f"{kind.__name__}_{name}")
            if len(state) == 0:
                raise GeocnnError("nothing was measured: no surface of the test set has a known truth")
            return dim_zero_cat(state).cpu()

        return [kind(**{name: joined(kind, name) for name in kind.names()}) for kind in self.kinds]

    @lasting()
    def compute(self) -> Float64[Tensor, ""]:
        """Return the measure of the headline; NaN where it is undefined."""
        for tally in self.tallies():
            values = tally.sample(None).values
            if self.headline in values:
                return values[self.headline][0]
        raise AssertionError("the constructor refuses other headlines")

    def measures(self, resamples: int = RESAMPLES, seed: int = 0) -> Measures:
        """Return all measures with their intervals over surfaces."""
        return measure(self.tallies(), self.headline, self.rows, resamples, seed)


def difference(
    network: SurfaceMetric, control: SurfaceMetric, resamples: int = RESAMPLES, seed: int = 0
) -> Measures:
    """Return by how much a network's measures exceed those of a control on the same surfaces, with intervals.

    Raises GeocnnError where the metrics or the surfaces are not the same (`measure_difference`).

    >>> network, control = PointClasses(2), PointClasses(2)
    >>> for answer in torch.eye(2):
    ...     network.update(answer[None], answer.argmax()[None])
    ...     control.update(torch.eye(2)[:1], answer.argmax()[None])
    >>> difference(network, control).values["accuracy"].value
    0.5
    """
    return measure_difference(
        network.tallies(), control.tallies(), network.headline, network.rows, resamples, seed
    )


class LabelMetric(SurfaceMetric):
    """A metric of classes; derived ones say which tallies it keeps.

    answer [n, classes], or [members, n, classes] of an ensemble; truth [n], −1 where unknown; weight [n].

    Args:
        classes: their names, or how many there are.
        headline: the measure that `compute` gives; without, the first.
        is_per_point: whether rows of an answer are points of one surface, or surfaces.
    """

    members: tuple[int, ...] = ()
    """Leading axes of the example."""

    def __init__(self, classes: Sequence[str] | int, headline: str | None, is_per_point: bool) -> None:
        super().__init__(named(classes, "class"), headline, is_per_point)

    def example(self) -> tuple[Tensor, Tensor]:
        answer = torch.eye(self.columns, dtype=torch.float64)
        return answer.expand(*self.members, -1, -1), torch.arange(self.columns)

    def tallied(
        self, answer: Tensor, truth: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> list[Tally]:
        if answer.ndim != 2 + len(self.members) or answer.shape[-1] != self.columns:
            raise GeocnnError(
                f"the metric is of {counted(self.columns, 'class')}, but the answer has shape "
                f"{list(answer.shape)}; it must be [{'members, ' * len(self.members)}n, {self.columns}]"
            )
        known = known_labels(answer, truth, weight, mask)
        return self.kept(known) if len(known.truth) else []

    def kept(self, known: KnownLabels) -> list[Tally]:
        """Return the tallies of known labels."""
        raise NotImplementedError


class NumberMetric(SurfaceMetric):
    """A metric of numbers; derived ones say which tallies it keeps.

    answer and truth [n, targets], or [n] for one target; answers of an ensemble [members, n, targets];
    weight [n].

    Args:
        targets: their names, or how many there are.
        headline, is_per_point: as for `LabelMetric`.
    """

    members: tuple[int, ...] = ()
    """Leading axes of the example."""

    def __init__(self, targets: Sequence[str] | int, headline: str | None, is_per_point: bool) -> None:
        super().__init__(named(targets, "target"), headline, is_per_point)

    def example(self) -> tuple[Tensor, Tensor]:
        truth = torch.zeros(2, self.columns, dtype=torch.float64)
        return truth.expand(*self.members, -1, -1), truth

    def tallied(
        self, answer: Tensor, truth: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> list[Tally]:
        columns = 1 if truth.ndim == 1 else truth.shape[-1]
        if answer.ndim != truth.ndim + len(self.members) or columns != self.columns:
            raise GeocnnError(
                f"the metric is of {counted(self.columns, 'target')}, but the truth has shape "
                f"{list(truth.shape)} and the answer {list(answer.shape)}; they must be [n, {self.columns}] "
                f"and [{'members, ' * len(self.members)}n, {self.columns}]"
            )
        known = known_numbers(answer, truth, weight, mask)
        return self.kept(known) if len(known.truth) else []

    def kept(self, known: KnownNumbers) -> list[Tally]:
        """Return the tallies of known numbers."""
        raise NotImplementedError


def named(names: Sequence[str] | int, noun: str) -> list[str]:
    """Return names, or numbered ones. Raises GeocnnError where two are the same: they would share a row.

    >>> named(2, "class"), named(["head", "hand"], "class")
    (['class 0', 'class 1'], ['head', 'hand'])
    """
    found = [f"{noun} {k}" for k in range(names)] if isinstance(names, int) else list(names)
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise GeocnnError(f"the name '{twice[0]}' stands for more than one {noun}; give each its own")
    return found


class PointClasses(LabelMetric):
    """One class of several per point, such as parts of a body; `weight` holds areas.

    Measures: accuracy (share of the area), accuracy per point, mean IoU, mean IoU per surface, macro F1,
    balanced accuracy, worst surface; for two classes also ROC AUC (mean over surfaces, median, pooled) and
    average precision. Per class: precision, recall, F1, IoU, share of the area, points.

    Args:
        classes, headline: as for `LabelMetric`. Answers are logits or probabilities.

    >>> metric = PointClasses(["head", "hand"], "mean IoU")
    >>> metric.update(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]))
    >>> round(float(metric.compute()), 6), metric.measures().rows["hand"]["recall"].value
    (0.5, 0.5)
    """

    def __init__(self, classes: Sequence[str] | int, headline: str | None = None) -> None:
        super().__init__(classes, headline, is_per_point=True)

    def kept(self, known: KnownLabels) -> list[Tally]:
        return [PointLabels.of(known), *([PointRanks.of(known)] if self.columns == 2 else [])]


class SurfaceClasses(LabelMetric):
    """One class of several per surface, such as the kind of a shape.

    Measures: accuracy, balanced accuracy, macro F1, ROC AUC (for several classes the mean of each against the
    rest, by its probability). Per class: precision, recall, F1, ROC AUC, surfaces.

    Args:
        classes, headline: as for `LabelMetric`. Answers are logits or, for ROC AUC of more than two classes,
            probabilities.

    >>> metric = SurfaceClasses(3, "balanced accuracy")
    >>> metric.update(torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 2]))
    >>> round(float(metric.compute()), 4)
    0.6667
    """

    def __init__(self, classes: Sequence[str] | int, headline: str | None = None) -> None:
        super().__init__(classes, headline, is_per_point=False)

    def kept(self, known: KnownLabels) -> list[Tally]:
        return [SurfaceLabels.of(known)]


class PointNumbers(NumberMetric):
    """One or several numbers per point, such as temperature and pressure, in their own units; `weight` holds
    areas.

    Measures per target: RMSE, MAE, R², Pearson (all points together), Pearson per surface (mean). Of several
    targets R² and correlations have a mean over targets; errors have not, for their units differ.

    Args:
        targets, headline: as for `NumberMetric`.

    >>> metric = PointNumbers(["pressure [Pa]"])
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]), torch.tensor([3.0, 1.0]))
    >>> float(metric.compute())
    1.0
    """

    def __init__(self, targets: Sequence[str] | int = 1, headline: str | None = None) -> None:
        super().__init__(targets, headline, is_per_point=True)

    def kept(self, known: KnownNumbers) -> list[Tally]:
        return [Numbers.of(known, self.is_per_point), Correlations.of(known)]


class SurfaceNumbers(NumberMetric):
    """One or several numbers per surface, such as volume and age, in their own units.

    Measures per target: RMSE, MAE, R², Pearson; see `PointNumbers`.

    Args:
        targets, headline: as for `NumberMetric`.

    >>> metric = SurfaceNumbers(headline="MAE")
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> float(metric.compute())
    1.0
    """

    def __init__(self, targets: Sequence[str] | int = 1, headline: str | None = None) -> None:
        super().__init__(targets, headline, is_per_point=False)

    def kept(self, known: KnownNumbers) -> list[Tally]:
        return [Numbers.of(known, self.is_per_point)]
