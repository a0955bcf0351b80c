"""Calibration: is an answer right as often as its probability says? (Guo et al. 2017, ICML)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int, Real
from torch import Tensor
from torch.nn import functional as F

from geocnn.train.measures.inputs import KnownLabels, check_probabilities, known_labels
from geocnn.train.measures.tally import Counts, Sample, Tally, once, per_surface, surface_weight

BINS = 15
"""Bins of equal width (Guo et al. 2017)."""

LEAST = torch.finfo(torch.float32).eps
"""Least probability of which a logarithm is taken; a wrong answer costs 15.9 at most."""


class Reliability(NamedTuple):
    """What is in each bin of confidence, the largest probability of an answer."""

    confidence: Float64[Tensor, "*many bins"]
    """Mean; NaN in a bin without weight."""
    accuracy: Float64[Tensor, "*many bins"]
    """Share that is right; NaN in a bin without weight."""
    share: Float64[Tensor, "*many bins"]
    """Share of the weight in the bin."""

    @property
    def error(self) -> Float64[Tensor, "*many"]:
        """The expected calibration error: mean distance of accuracy and confidence over bins, by weight."""
        return (self.share * (self.accuracy - self.confidence).abs()).nansum(-1)


def reliability(
    answer: Float[Tensor, "n classes"],
    truth: Int[Tensor, " n"],
    weight: Real[Tensor, " n"] | None = None,
    mask: Bool[Tensor, " n"] | None = None,
    bins: int = BINS,
) -> Reliability:
    """Compare confidence and accuracy in bins of equal width from 0 to 1.

    Args:
        answer: probabilities; other arguments and errors are those of `known_labels`.

    Raises GeocnnError too where the answers are no probabilities.

    >>> answer, truth = torch.tensor([[0.9, 0.1], [0.9, 0.1]]), torch.tensor([0, 1])
    >>> round(float(reliability(answer, truth).error), 6)
    0.4
    """
    known = known_labels(answer, truth, weight, mask)
    return _reliability((known.weight[:, None, None] * _binned(known, bins)).sum(0))


def _reliability(sums: Float64[Tensor, "*many three bins"]) -> Reliability:
    share, confidence, right = sums.unbind(-2)
    return Reliability(confidence / share, right / share, share / share.sum(-1, keepdim=True))


def _binned(known: KnownLabels, bins: int) -> Float64[Tensor, "k three bins"]:
    """Return, per entry, (1, confidence, is right) in the bin of its confidence and 0 in the others."""
    check_probabilities(known.answer)
    confidence, answered = known.answer.max(-1)
    right = (answered == known.truth).double()
    # bins are closed above, as in Guo et al.: (k/bins, (k + 1)/bins]
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    entry = torch.stack([torch.ones_like(confidence), confidence, right], 1)
    return entry[:, :, None] * F.one_hot(place, bins)[:, None, :]


def negative_log_likelihood(known: KnownLabels) -> Float64[Tensor, "*members k"]:
    """Return −log of the probability of the true class, per entry and member."""
    place = known.truth.expand(known.answer.shape[:-1]).unsqueeze(-1)
    return -known.answer.gather(-1, place).squeeze(-1).clamp(min=LEAST).log()


@dataclass(frozen=True)
class Calibration(Tally):
    """Bins of confidence, negative log likelihood and Brier score, per surface."""

    UNDEFINED: ClassVar = dict.fromkeys(("confidence", "accuracy"), "no answer has such a confidence")
    WITHOUT_INTERVAL: ClassVar = {
        "ECE": "resampling adds noise to every bin, and its distances only grow by noise"
    }

    weight: Float64[Tensor, " surfaces"]
    mass: Float64[Tensor, "surfaces classes"]
    """Weight of each true class."""
    sums: Float64[Tensor, "surfaces three bins"]
    scores: Float64[Tensor, "surfaces two"]
    """Mean negative log likelihood and Brier score."""

    @classmethod
    def of(cls, known: KnownLabels, per_point: bool, bins: int = BINS) -> Calibration:
        """Tally the points of one surface, or surfaces, one per row."""
        binned, classes = _binned(known, bins), F.one_hot(known.truth, known.answer.shape[-1]).double()
        brier = (known.answer - classes).square().sum(-1)
        scores = torch.stack([negative_log_likelihood(known), brier], 1)
        parts = [per_surface(values, known.weight, per_point) for values in (classes, binned, scores)]
        return cls(surface_weight(known.weight, per_point), *parts)

    @property
    def truth(self) -> Float64[Tensor, "surfaces sums"]:
        return torch.cat([self.weight.unsqueeze(1), self.mass], 1)

    def sample(self, counts: Counts | None) -> Sample:
        drawn = (once(len(self)) if counts is None else counts) * self.weight
        bins = _reliability(torch.tensordot(drawn, self.sums, 1))
        nll, brier = (drawn @ self.scores / drawn.sum(1, keepdim=True)).unbind(1)
        return Sample({"ECE": bins.error, "NLL": nll, "Brier": brier}, bins._asdict())
