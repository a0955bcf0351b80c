"""Losses on surfaces: every surface of a batch counts the same, and within it a point counts by its area.

Points of unknown truth are left out: label −1, or `known` false where the batch has such an attribute. So
what is minimised is what `geocnn.train.measures` measures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float, Float64, Int64, Real
from torch import Tensor, nn
from torch.nn import functional as F

from geocnn.errors import GeocnnError
from geocnn.lasting import lasting
from geocnn.train.measures.inputs import known_numbers
from geocnn.train.measures.tally import shares
from geocnn.train.score import Answer, Scorer

if TYPE_CHECKING:
    from geocnn.data.surface_data import SurfaceData

CAP = 10.0
"""How much more the rarest class weighs than the most frequent one, at most."""


def class_weights(counts: Real[Tensor, " classes"], cap: float = CAP) -> Float64[Tensor, " classes"]:
    """Return weights of classes that are inverse to how often these occur in training, up to a cap.

    Without the cap a class of three points in a million would weigh so much that a step with one of them
    undoes many others. The mean weight of an example is 1, so the loss and a good learning rate keep their
    size. A class that does not occur gets the largest weight; nothing is multiplied by it.

    Args:
        counts: how often each class occurs, or its share of the area.
        cap: largest ratio of two weights; 1 makes all equal.

    Raises:
        GeocnnError: a count is negative, none is positive, or the cap is below 1.

    >>> class_weights(torch.tensor([90, 30, 1]))
    tensor([0.6368, 1.9105, 6.3684], dtype=torch.float64)
    """
    counts = counts.detach().double().cpu()
    if bool((counts < 0).any()) or not float(counts.sum()) > 0:
        raise GeocnnError(f"counts of classes must not be negative, and some positive; got {counts.tolist()}")
    if not cap >= 1:
        raise GeocnnError(f"cap must be 1 at least, got {cap}")
    weights = (counts.max() / counts).clamp(max=cap)
    return weights * counts.sum() / (weights * counts).sum()


def batch_shares(
    areas: Float[Tensor, " n"], surface: Int64[Tensor, " n"], known: Bool[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return the share of each point in the mean over a batch: by area in the known part of its surface, the
    same for each surface with a known point. They sum to 1, or are all 0 where nothing is known.

    >>> areas, surface = torch.tensor([1.0, 3.0, 5.0, 9.0]), torch.tensor([0, 0, 1, 1])
    >>> batch_shares(areas, surface, torch.tensor([True, True, True, False]))
    tensor([0.1250, 0.3750, 0.5000, 0.0000])
    """
    area = areas.double() * known  # sums of thousands of terms in a row
    total = area.new_zeros(int(surface[-1]) + 1).index_add_(0, surface, area)
    surfaces = (total > 0).sum().clamp(min=1)
    return (area / total.clamp(min=1e-300)[surface] / surfaces).to(areas.dtype)


def cross_entropy(
    logits: Float[Tensor, "n classes"],
    truth: Int64[Tensor, " n"],
    share: Float[Tensor, " n"],
    weights: Real[Tensor, " classes"] | None = None,
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the sum over points of share · weight of the class · cross entropy; labels −1 add nothing.

    Args:
        share: as from `batch_shares`.
        weights: as from `class_weights`.
        smoothing: part of the target that is spread evenly over the classes (Szegedy et al. 2016), as in
            torch's cross entropy.

    >>> loss = cross_entropy(torch.zeros(2, 4), torch.tensor([0, -1]), torch.tensor([0.5, 0.0]))
    >>> round(float(loss), 4)
    0.6931
    """
    weights = None if weights is None else weights.to(logits.device, torch.float32)
    each = F.cross_entropy(
        logits.float(), truth, weights, ignore_index=-1, reduction="none", label_smoothing=smoothing
    )
    return (each * share).sum()


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of targets in training. Networks answer in these; plain numbers, so that
    model.json holds them.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def normalise(self, numbers: Real[Tensor, "n targets"]) -> Float[Tensor, "n targets"]:
        """Return the numbers in standard deviations from the mean.

        >>> Standard((10.0,), (2.0,)).normalise(torch.tensor([[14.0]]))
        tensor([[2.]])
        """
        mean, deviation = self._like(numbers)
        # in double precision: pressures of 101,325 Pa that differ by 1 Pa
        return ((numbers.double() - mean) / deviation).to(torch.float32)

    def restore(self, numbers: Float[Tensor, "n targets"]) -> Float64[Tensor, "n targets"]:
        """Return numbers in the target's own unit, the inverse of `normalise`.

        >>> Standard((10.0,), (2.0,)).restore(torch.tensor([[2.0]]))
        tensor([[14.]], dtype=torch.float64)
        """
        mean, deviation = self._like(numbers)
        return numbers.double() * deviation + mean

    def _like(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = (
            torch.tensor(part, dtype=torch.float64, device=numbers.device)
            for part in (self.mean, self.deviation)
        )
        return mean, deviation


@lasting()
def standard(train: Iterable[tuple[Tensor, Tensor | None, Tensor | None]], per_point: bool) -> Standard:
    """Return mean and standard deviation of the targets of a training set.

    Args:
        train: (truth, weight, mask) as metrics take them: one surface, or several, one per row.
        per_point: whether the rows are the points of one surface, which then count by area and each surface
            the same, or surfaces.

    Raises:
        GeocnnError: nothing is known, or a target is the same everywhere.

    >>> standard([(torch.tensor([1.0, 3.0]), None, None)], per_point=False)
    Standard(mean=(2.0,), deviation=(1.0,))
    """
    parts = [known_numbers(torch.zeros_like(t, dtype=torch.float64), t, w, m) for t, w, m in train]
    parts = [(part.truth, part.weight) for part in parts if len(part.weight)]
    if not parts:
        raise GeocnnError("no number of the training set is known, so that there is no mean")
    truth = torch.cat([truth for truth, _ in parts])
    share = shares(torch.cat([shares(weight) if per_point else weight for _, weight in parts]))
    mean = share @ truth
    deviation = (share @ (truth - mean).square()).sqrt()
    if bool((deviation <= 1e-12 * mean.abs()).any()):
        place = int((deviation <= 1e-12 * mean.abs()).nonzero()[0, 0])
        raise GeocnnError(
            f"target {place} is {float(mean[place]):.6g} everywhere in the training set; leave it out"
        )
    return Standard(tuple(mean.tolist()), tuple(deviation.tolist()))


def score_classes(
    *, per_point: bool, weights: Real[Tensor, " classes"] | None = None, smoothing: float = 0.0
) -> Scorer:
    """Return the score of a network SurfaceData -> logits: cross entropy, and accuracy.

    Args:
        per_point: whether logits and labels are of points, [n, classes], or of surfaces, [surfaces, classes].
        weights, smoothing: as for `cross_entropy`.
    """

    def score(network: nn.Module, data: SurfaceData) -> tuple[Tensor, dict[str, Tensor]]:
        truth = _truth(data)
        share = _shares(data, _known(data) & (truth >= 0), per_point)
        logits = network(data).float()
        loss = cross_entropy(logits, truth, share, weights, smoothing)
        return loss, {"accuracy": ((logits.argmax(-1) == truth) * share).sum()}

    return score


def score_numbers(
    standard: Standard, *, per_point: bool, loss: Literal["huber", "squared"] = "huber"
) -> Scorer:
    """Return the score of a network SurfaceData -> normalised numbers [n, targets]: the mean loss of points,
    or surfaces, and targets; and the mean absolute error of each target in its own unit.

    Args:
        standard: how targets are normalised.
        per_point: whether the numbers are of points or of surfaces.
        loss: "huber" grows as the square up to one standard deviation and then linearly, so that a few
            outliers do not rule the weights; "squared" aims at the mean whatever they are.

    Raises GeocnnError for another loss.
    """
    if loss not in ("huber", "squared"):
        raise GeocnnError(f'loss must be "huber" or "squared", got {loss!r}')
    function = F.huber_loss if loss == "huber" else F.mse_loss
    names = ["mae"] if len(standard.mean) == 1 else [f"mae_{k}" for k in range(len(standard.mean))]

    def score(network: nn.Module, data: SurfaceData) -> tuple[Tensor, dict[str, Tensor]]:
        share = _shares(data, _known(data), per_point).unsqueeze(1)
        target = standard.normalise(_truth(data).reshape(len(share), -1))
        answer = network(data).float()
        each = function(answer, target, reduction="none")
        errors = ((answer - target).detach().abs() * share).sum(0)
        unit = torch.tensor(standard.deviation, dtype=errors.dtype, device=errors.device)
        return (each.mean(1, keepdim=True) * share).sum(), dict(zip(names, errors * unit, strict=True))

    return score


def answer_classes(network: nn.Module, data: SurfaceData) -> Answer:
    """Return probabilities, labels and, where these are of points, areas: `Recipe.answer` of classes."""
    probabilities = network(data).double().softmax(-1)
    return probabilities, data.y, _weights(data, len(probabilities))


@dataclass(frozen=True)
class AnswerNumbers:
    """Return numbers in their own units, truths and, where these are of points, areas: `Recipe.answer` of
    numbers. What is not known has weight 0.
    """

    standard: Standard

    def __call__(self, network: nn.Module, data: SurfaceData) -> Answer:
        answer = self.standard.restore(network(data))
        truth = None if data.y is None else data.y.reshape(answer.shape)
        return answer, truth, _weights(data, len(answer))


def _truth(data: SurfaceData) -> Tensor:
    assert data.y is not None
    return data.y


def _known(data: SurfaceData) -> Bool[Tensor, " n"]:
    truth, known = _truth(data), getattr(data, "known", None)
    return torch.ones(len(truth), dtype=torch.bool, device=truth.device) if known is None else known


def _shares(data: SurfaceData, known: Bool[Tensor, " n"], per_point: bool) -> Float[Tensor, " n"]:
    if per_point:
        return batch_shares(data.areas, data.batch, known)
    return known.to(data.areas.dtype) / known.sum().clamp(min=1)


def _weights(data: SurfaceData, rows: int) -> Float[Tensor, " n"] | None:
    """Return areas of points, or 1 for surfaces; 0 where the truth is not known."""
    known = getattr(data, "known", None)
    if rows == len(data.areas):
        return data.areas if known is None else data.areas * known
    return None if known is None else known.to(data.areas.dtype)
