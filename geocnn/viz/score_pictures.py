"""How good answers are, in pictures: ROC, precision and recall, calibration, predicted against true.

`geocnn.train.measures` gives the same numbers with intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float64, Int64, Real, Shaped
from torch import Tensor

from geocnn.errors import GeocnnError
from geocnn.viz.colours import FAINT, INK, LABEL_COLOURS, SEQUENTIAL, TRAINING_COLOURS
from geocnn.viz.fields import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DOTS = 5000
"""Beyond so many points a scatter is drawn as a histogram."""

BINS = 15
"""Bins of probability, of equal width (Guo et al. 2017)."""


class Ranking(NamedTuple):
    """Weights above each threshold, from the highest score on, beginning with none: K distinct scores."""

    found: Float64[Tensor, " k_plus_1"]
    """Weight of positives."""
    wrong: Float64[Tensor, " k_plus_1"]
    """Weight of negatives."""

    @property
    def recall(self) -> Float64[Tensor, " k_plus_1"]:
        return self.found / self.found[-1]

    @property
    def false_alarms(self) -> Float64[Tensor, " k_plus_1"]:
        return self.wrong / self.wrong[-1]

    @property
    def precision(self) -> Float64[Tensor, " k_plus_1"]:
        """At the highest threshold, which nothing passes, as at the next."""
        share = self.found[1:] / (self.found[1:] + self.wrong[1:])
        return torch.cat([share[:1], share])

    @property
    def area(self) -> float:
        """The area under the ROC curve; equal scores count half."""
        return float(torch.trapezoid(self.recall, self.false_alarms))

    @property
    def average_precision(self) -> float:
        """The mean precision over the recall that each threshold adds."""
        return float((self.recall.diff() * self.precision[1:]).sum())


def ranking(
    scores: Real[Tensor, " n"], positive: Bool[Tensor, " n"], weights: Real[Tensor, " n"] | None = None
) -> Ranking:
    """Count positives and negatives above each threshold.

    >>> result = ranking(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True]))
    >>> result.area, round(result.average_precision, 4)
    (0.75, 0.8333)
    """
    weight = torch.ones_like(positive, dtype=torch.float64) if weights is None else weights.double()
    levels, place = scores.double().unique(return_inverse=True)
    both = torch.zeros(2, len(levels), dtype=torch.float64)
    both.view(-1).index_add_(0, (~positive).long() * len(levels) + place, weight)
    found, wrong = torch.nn.functional.pad(both.flip(1).cumsum(1), (1, 0))
    return Ranking(found, wrong)


def roc_curves(
    scores: Real[Tensor, "n ..."],
    truth: Shaped[Tensor, " n"],
    classes: Sequence[str] | None = None,
    title: str = "",
    weights: Real[Tensor, " n"] | None = None,
) -> Figure:
    """Draw receiver operating characteristics, with the area under each in the legend.

    Args:
        scores: [n] of the positive class, or [n, classes], each class against the rest; any increasing
            function of a probability.
        truth: bool or 0 and 1 for scores [n], else the classes' numbers; below zero is unknown.
        classes: their names; for scores [n] of the negative and the positive class.
        weights: of the answers, areas for instance.

    Raises:
        GeocnnError: shapes do not fit, a score or weight is not finite, a class has no column, or the truth
            has one class only.

    >>> figure = roc_curves(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    >>> figure.axes[0].get_legend_handles_labels()[1]
    ['area 0.750']
    """
    figure, axis = _square("share of the negatives taken for positive", "share of the positives found", title)
    axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle="--")
    areas = []
    for name, colour, result in _rankings(scores, truth, classes, weights):
        areas.append(result.area)
        x, y = visible_points(result.false_alarms, result.recall)
        axis.plot(
            x.numpy(), y.numpy(), color=colour, linewidth=1.4, label=f"{name}area {result.area:.3f}"
        )  # fmt: skip
    _explain(figure, axis, areas, "area")
    return figure


def precision_recall_curves(
    scores: Real[Tensor, "n ..."],
    truth: Shaped[Tensor, " n"],
    classes: Sequence[str] | None = None,
    title: str = "",
    weights: Real[Tensor, " n"] | None = None,
) -> Figure:
    """Draw precision over recall, with the average precision of each curve in the legend.

    Dots at recall 1 are the shares of the classes, the precision of an answer by chance. Arguments and errors
    are those of `roc_curves`.

    >>> figure = precision_recall_curves(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    >>> figure.axes[0].get_legend_handles_labels()[1]
    ['average precision 0.833']
    """
    figure, axis = _square("recall: share of the positives found", "precision: share of the found", title)
    means = []
    for name, colour, result in _rankings(scores, truth, classes, weights):
        means.append(result.average_precision)
        x, y = visible_points(result.recall, result.precision)
        axis.step(
            x.numpy(), y.numpy(), where="pre", color=colour, linewidth=1.4,
            label=f"{name}average precision {result.average_precision:.3f}",
        )  # fmt: skip
        axis.plot(1, float(result.precision[-1]), "o", color=colour, markersize=3, clip_on=False)
    _explain(figure, axis, means, "average precision")
    return figure


def visible_points(
    x: Float64[Tensor, " k"], y: Float64[Tensor, " k"], cells: int = 1000
) -> tuple[Float64[Tensor, " m"], Float64[Tensor, " m"]]:
    """Return the points of a curve in the unit square without those that would not be seen: of points one
    after another in one square of a fine grid, the first, and the last of all.

    >>> visible_points(torch.linspace(0, 1, 1_000_001).double(), torch.ones(1_000_001).double())[0].shape
    torch.Size([1002])
    """
    cell = (x * cells).floor() * (cells + 1) + (y * cells).floor()
    kept = torch.cat([cell.diff() != 0, torch.ones(1, dtype=torch.bool)])
    kept[0] = True
    return x[kept], y[kept]


def calibration_curve(
    probabilities: Real[Tensor, "n classes"],
    truth: Int64[Tensor, " n"],
    title: str = "",
    weights: Real[Tensor, " n"] | None = None,
) -> Figure:
    """Draw how often answers are right over how sure they are, in 15 bins of equal width.

    The bars below are the shares of the answers in each bin. The title holds the expected calibration error,
    the mean distance from the diagonal by these shares.

    Args:
        probabilities: of the classes; rows sum to 1.
        truth: the classes' numbers; below zero is unknown.
        weights: of the answers, areas for instance.

    Raises GeocnnError where shapes do not fit or rows are no probabilities.
    """
    from matplotlib.figure import Figure

    answer, label, weight = _known(probabilities, truth, weights)
    if (answer < -1e-6).any() or ((answer.sum(1) - 1).abs() > 1e-3).any():
        raise GeocnnError("rows of probabilities are not below zero and sum to 1; apply a softmax to scores")
    sure, best = answer.max(1)
    place = (sure * BINS).ceil().long().clamp(1, BINS) - 1
    sums = torch.zeros(3, BINS, dtype=torch.float64).index_add_(
        1, place, torch.stack([weight, weight * sure, weight * (best == label)])
    )
    share, full = sums[0] / sums[0].sum(), sums[0] > 0
    confidence, accuracy = (sums[1:] / sums[0])[:, full]
    error = float((share[full] * (accuracy - confidence).abs()).sum())
    figure = Figure(figsize=(4.6, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle="--")
    upper.plot(confidence.numpy(), accuracy.numpy(), "o-", color=TRAINING_COLOURS[0], markersize=4)
    upper.set_ylabel("share that is right")
    upper.set_ylim(0, 1.02)
    edges = torch.arange(BINS).double() / BINS
    lower.bar(edges.numpy(), share.numpy(), 1 / BINS, align="edge", color=TRAINING_COLOURS[0], alpha=0.6)
    lower.set_xlabel("probability of the answer")
    lower.set_ylabel("share of answers")
    lower.set_xlim(0, 1)
    _tidy(upper, f"{title}\nexpected calibration error {error:.3f}".strip())
    _tidy(lower, "")
    return figure


def predicted_against_true(
    predicted: Real[Tensor, " n"],
    truth: Real[Tensor, " n"],
    name: str = "",
    unit: str = "",
    title: str = "",
) -> Figure:
    r"""Draw predicted over true numbers with the line where both are equal; the title holds R² and errors.

    Pairs that are not finite are left out and counted. More than 5,000 pairs are drawn as a histogram.

    Args:
        predicted, truth: in the same unit.
        name, unit: of the numbers, for the axes.

    Raises GeocnnError where lengths differ or no pair is finite.

    >>> predicted, truth = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 3.0]])
    >>> figure = predicted_against_true(predicted, truth, "age", "y")
    >>> figure.axes[0].get_title()
    'R² 0.500, mean absolute error 0.333 y\nroot mean square error 0.577 y'
    """
    from matplotlib.figure import Figure

    if predicted.ndim != 1 or predicted.shape != truth.shape:
        raise GeocnnError(f"predicted and true are [n], got {list(predicted.shape)} and {list(truth.shape)}")
    known = predicted.isfinite() & truth.isfinite()
    if not known.any():
        raise GeocnnError("no pair of a predicted and a true number is finite")
    x, y = (values.detach().cpu().double()[known.cpu()] for values in (truth, predicted))
    spread = float((x - x.mean()).square().sum())
    fit = f"R² {1 - float((y - x).square().sum()) / spread:.3f}" if spread > 0 else "R² undefined"
    of = f" {unit}" if unit else ""
    mean, root = float((y - x).abs().mean()), float((y - x).square().mean().sqrt())
    lines = [title, f"{fit}, mean absolute error {mean:.3g}{of}", f"root mean square error {root:.3g}{of}"]
    if len(x) < len(truth):
        lines.append(f"{len(truth) - len(x):,} of {len(truth):,} pairs are not finite and left out")
    figure = Figure(figsize=(5.2, 5.4), layout="constrained")
    axis = figure.subplots()
    low, high = float(torch.minimum(x, y).min()), float(torch.maximum(x, y).max())
    margin = 0.04 * (high - low) or 0.5
    ends = (low - margin, high + margin)
    if len(x) > MOST_DOTS:
        image = axis.hist2d(
            x.numpy(), y.numpy(), bins=120, range=(ends, ends), cmin=1, norm="log", cmap=SEQUENTIAL
        )
        figure.colorbar(image[3], ax=axis, shrink=0.7, label="pairs")
    else:
        size = 14.0 if len(x) < 500 else 5.0
        axis.scatter(x.numpy(), y.numpy(), size, color=TRAINING_COLOURS[0], alpha=0.5, linewidths=0)
    axis.plot(ends, ends, color=FAINT, linewidth=0.9, linestyle="--")
    axis.set_xlim(*ends)
    axis.set_ylim(*ends)
    axis.set_aspect("equal")
    label = f"{name} ({unit})" if name and unit else name or unit
    axis.set_xlabel(f"true {label}".strip(), parse_math=False)
    axis.set_ylabel(f"predicted {label}".strip(), parse_math=False)
    _tidy(axis, "\n".join(filter(None, lines)))
    return figure


def _known(
    scores: Real[Tensor, "n classes"], truth: Shaped[Tensor, " n"], weights: Real[Tensor, " n"] | None
) -> tuple[Float64[Tensor, "k classes"], Int64[Tensor, " k"], Float64[Tensor, " k"]]:
    """Return checked scores, truths and weights of what is known."""
    n = len(truth)
    if scores.ndim != 2 or len(scores) != n or truth.ndim != 1 or (weights is not None and len(weights) != n):
        shapes = [list(t.shape) for t in (scores, truth, weights) if t is not None]
        raise GeocnnError(f"scores are [n, classes], truth and weights [n], got {shapes}")
    weight = torch.ones(n) if weights is None else weights.detach().cpu()
    answer, label = scores.detach().cpu().double(), truth.detach().cpu().long()
    known = label >= 0
    answer, label, weight = answer[known], label[known], weight.double()[known]
    if not len(label):
        raise GeocnnError("no truth is known")
    if not (answer.isfinite().all() and weight.isfinite().all() and (weight >= 0).all()):
        raise GeocnnError("a score is not finite, or a weight is not a number of at least zero")
    if int(label.max()) >= scores.shape[1]:
        raise GeocnnError(
            f"the truth has class {int(label.max())}, but scores are of {scores.shape[1]} classes"
        )
    return answer, label, weight


def _rankings(
    scores: Real[Tensor, "n ..."],
    truth: Shaped[Tensor, " n"],
    classes: Sequence[str] | None,
    weights: Real[Tensor, " n"] | None,
) -> list[tuple[str, str, Ranking]]:
    """Return name, colour and ranking of the classes that the truth has; of scores [n] one ranking."""
    single = scores.ndim == 1
    rows = torch.stack([-scores, scores], 1) if single else scores
    answer, label, weight = _known(rows, truth, weights)
    if classes is not None and len(classes) != rows.shape[1]:
        raise GeocnnError(f"there are {len(classes)} names, but scores of {rows.shape[1]} classes")
    share = torch.zeros(rows.shape[1], dtype=torch.float64).index_add_(0, label, weight)
    shown = [k for k in range(len(share)) if 0 < share[k] < share.sum()]
    if not shown:
        raise GeocnnError("the truth has one class only, so nothing can be ranked before anything else")
    rankings = []
    for k in [1] if single else shown:
        name = str(k) if classes is None else classes[k]
        colour = TRAINING_COLOURS[0] if single else LABEL_COLOURS[k % len(LABEL_COLOURS)]
        prefix = "" if single and classes is None else f"{shortened(name)}: "
        rankings.append((prefix, colour, ranking(answer[:, k], label == k, weight)))
    return rankings


def _square(x: str, y: str, title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 5.2), layout="constrained")
    axis = figure.subplots()
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(-0.01, 1.01)
    axis.set_aspect("equal")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    _tidy(axis, title)
    return figure, axis


def _explain(figure: Figure, axis: Axes, each: list[float], what: str) -> None:
    """Place the legend in the picture where there are few curves, else beside it, with the mean of all."""
    few = len(each) <= 6
    heading = None if len(each) == 1 else f"mean {what} {sum(each) / len(each):.3f}"
    if few:
        legend = axis.legend(frameon=False, fontsize=8, title=heading, title_fontsize=8)
    else:
        columns = -(-len(each) // 20)
        figure.set_figwidth(5.0 + 2.9 * columns)
        handles, labels = axis.get_legend_handles_labels()
        legend = figure.legend(
            handles, labels, loc="outside right upper", ncols=columns, frameon=False, fontsize=8,
            title=heading, title_fontsize=8,
        )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _tidy(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=10, color=INK, parse_math=False)
    axis.grid(alpha=0.2, linewidth=0.5)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
