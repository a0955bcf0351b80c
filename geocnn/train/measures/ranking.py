"""ROC AUC and average precision: how well a score ranks what is positive before what is not.

Both are undefined (NaN) where there is nothing positive or nothing negative. A surface without points of both
classes has no ROC AUC and is left out of means and medians over surfaces, as for proteins without a binding
site (Gainza et al. 2020, Nature Methods 17:184).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64, Int64, Real
from torch import Tensor

from geocnn.errors import GeocnnError
from geocnn.lasting import lasting
from geocnn.train.measures.inputs import KnownLabels, known_labels
from geocnn.train.measures.tally import Counts, Sample, Tally, mean_over, median_over, once, shares

BINS = 2048
"""Bins of a resample's scores."""

Bins = Float64[Tensor, "*many bins"]
"""Weights in bins of rising score; a bin's entries count as equal."""


def roc_auc(
    score: Real[Tensor, " n"], positive: Bool[Tensor, " n"], weight: Real[Tensor, " n"] | None = None
) -> Float64[Tensor, ""]:
    """Return the probability that something positive has a higher score than something negative, equal scores
    counting half. It is exact, by sorting.

    Raises as `known_labels`, for a NaN for instance.

    >>> roc_auc(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True]))
    tensor(0.7500, dtype=torch.float64)
    """
    return area_under_roc(*distinct(score, positive, weight))


def average_precision(
    score: Real[Tensor, " n"], positive: Bool[Tensor, " n"], weight: Real[Tensor, " n"] | None = None
) -> Float64[Tensor, ""]:
    """Return the mean precision over the recall that each threshold adds, Σ (R_k − R_k₋₁) P_k.

    Raises as `known_labels`, for a NaN for instance.

    >>> average_precision(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True]))
    tensor(0.8333, dtype=torch.float64)
    """
    return mean_precision(*distinct(score, positive, weight))


def distinct(
    score: Real[Tensor, " n"], positive: Bool[Tensor, " n"], weight: Real[Tensor, " n"] | None = None
) -> tuple[Bins, Bins]:
    """Return positive and negative weight in one bin per distinct score."""
    answer = torch.stack([torch.zeros_like(score, dtype=torch.float64), score.double()], 1)
    known = known_labels(answer, positive.long(), weight)
    scores, places = known.answer[:, 1].unique(return_inverse=True)
    return _in_bins(known.truth == 1, known.weight, places, len(scores))


def _in_bins(
    positive: Bool[Tensor, " n"], weight: Float64[Tensor, " n"], places: Int64[Tensor, " n"], bins: int
) -> tuple[Bins, Bins]:
    found, wrong = weight.new_zeros(bins), weight.new_zeros(bins)
    found.index_add_(0, places[positive], weight[positive])
    return found, wrong.index_add_(0, places[~positive], weight[~positive])


def area_under_roc(positive: Bins, negative: Bins) -> Float64[Tensor, "*many"]:
    """Return ROC AUC from weights in bins of rising score; NaN where one kind has no weight."""
    below = negative.cumsum(-1) - negative / 2
    return (positive * below).sum(-1) / (positive.sum(-1) * negative.sum(-1))


def mean_precision(positive: Bins, negative: Bins) -> Float64[Tensor, "*many"]:
    """Return average precision from weights in bins of rising score; NaN where one kind has no weight."""
    positive, negative = positive.flip(-1), negative.flip(-1)
    found, wrong = positive.cumsum(-1), negative.cumsum(-1)
    gained = (positive * (found / (found + wrong)).nan_to_num(0.0)).sum(-1)
    return (gained / found[..., -1]).where(wrong[..., -1] > 0, torch.nan)


@dataclass(frozen=True)
class PointRanks(Tally):
    """Scores of two classes at points. They take 17 bytes per point, and 120 while they are
    measured.
    """

    UNDEFINED: ClassVar = {
        "ROC AUC": "no surface has known points of both classes",
        "ROC AUC median": "no surface has known points of both classes",
        "ROC AUC pooled": "the known points are all of one class",
        "average precision": "the known points are all of one class",
    }

    score: Float64[Tensor, " points"]
    positive: Bool[Tensor, " points"]
    share: Float64[Tensor, " points"]
    size: Int64[Tensor, " surfaces"]
    own: Float64[Tensor, " surfaces"]
    """ROC AUC of each surface."""

    @classmethod
    def of(cls, known: KnownLabels) -> PointRanks:
        """Tally one surface; the score of a point is the answer for class 1 less that for class 0."""
        score, positive, share = score_of(known.answer), known.truth == 1, shares(known.weight)
        own = roc_auc(score, positive, share)
        return cls(score, positive, share, torch.tensor([len(score)]), own[None])

    @property
    def truth(self) -> Float64[Tensor, "surfaces sums"]:
        mass = self.share.new_zeros(len(self.size), 2)
        mass.index_put_((self._surface, self.positive.long()), self.share, accumulate=True)
        return torch.cat([mass, self.size.unsqueeze(1).double()], 1)

    @property
    def _surface(self) -> Int64[Tensor, " points"]:
        return torch.repeat_interleave(torch.arange(len(self.size)), self.size)

    @cached_property
    @lasting()
    def _scores(self) -> tuple[Int64[Tensor, " points"], Bins, Bins]:
        """Return the rank of each point's score among distinct ones, and the weights of these."""
        scores, places = self.score.unique(return_inverse=True)
        return places, *_in_bins(self.positive, self.share, places, len(scores))

    def sample(self, counts: Counts | None) -> Sample:
        drawn = once(len(self.size)) if counts is None else counts
        if counts is None:
            bins = tuple(part[None] for part in self._scores[1:])
        else:
            bins = torch.tensordot(counts, self.binned(), 1).unbind(1)
        values = {
            "ROC AUC": mean_over(self.own, drawn),
            "ROC AUC median": median_over(self.own, drawn),
            "ROC AUC pooled": area_under_roc(*bins),
            "average precision": mean_precision(*bins),
        }
        return Sample(values, {})

    def binned(self, bins: int = BINS) -> Float64[Tensor, "surfaces two bins"]:
        """Return positive and negative weight of each surface in common bins of rising score.

        A bin holds at most a share 1/bins of p + n, the mean of the shares of positive and negative weight in
        it, unless one score alone has more. Pairs within a bin count half, so ROC AUC is wrong by Σ p n / 2
        at most: 1/(2·bins) for distinct scores, 2.5/bins in any case.
        """
        places, *kinds = self._scores
        mass = sum(kind / kind.sum().clamp(min=1e-300) / 2 for kind in kinds)
        assert isinstance(mass, Tensor)
        bin_of = ((mass.cumsum(0) - mass) * bins).long().clamp(max=bins - 1)
        cells = (self._surface * 2 + ~self.positive) * bins + bin_of[places]
        table = torch.bincount(cells, self.share, len(self.size) * 2 * bins)
        return table.reshape(-1, 2, bins)


def score_of(answer: Float64[Tensor, "k two"]) -> Float64[Tensor, " k"]:
    """Return the answer for class 1 less that for class 0. It ranks as the probability of class 1 does,
    whether answers are logits or probabilities.

    Raises GeocnnError where both are infinite.
    """
    score = answer[:, 1] - answer[:, 0]
    if bool(score.isnan().any()):
        raise GeocnnError(
            f"both answers are infinite at row {int(score.isnan().nonzero()[0, 0])}, which has no rank then"
        )
    return score


def surface_auc(
    score: Float64[Tensor, " surfaces"],
    positive: Bool[Tensor, " surfaces"],
    weight: Float64[Tensor, " surfaces"],
    counts: Counts,
) -> Float64[Tensor, " resamples"]:
    """Return the ROC AUC of a score per surface, in each resample."""
    ordered, order = score.sort()
    negative = (counts * (weight * ~positive))[:, order].cumsum(1)
    negative = torch.cat([torch.zeros_like(negative[:, :1]), negative], 1)
    own = score[positive]
    below, upto = (negative[:, torch.searchsorted(ordered, own, right=right)] for right in (False, True))
    found = (counts * weight)[:, positive]
    return (found * (below + upto) / 2).sum(1) / (found.sum(1) * negative[:, -1])
