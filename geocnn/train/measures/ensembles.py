"""Ensembles: several networks, alike but for their seed, answer together; where they disagree, doubt is due.

The answer of an ensemble is the mean of its members' (Lakshminarayanan et al. 2017, NeurIPS). Its spread is
their standard deviation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from geocnn.errors import GeocnnError
from geocnn.train.measures.calibration import negative_log_likelihood
from geocnn.train.measures.inputs import KnownLabels, KnownNumbers, check_probabilities
from geocnn.train.measures.moments import Moments, pearson, point_moments, pooled, rmse, surface_moments
from geocnn.train.measures.tally import Counts, Sample, Tally, once, per_surface, surface_weight
from geocnn.wording import counted


class Ensemble(NamedTuple):
    """What members answer together."""

    mean: Float[Tensor, "*shape"]
    spread: Float[Tensor, "*shape"]
    """Standard deviation over members, of the sample (members − 1)."""


def ensemble(answers: Float[Tensor, "members ..."]) -> Ensemble:
    """Return mean and spread of the members' answers: numbers, or probabilities of classes.

    Raises GeocnnError for fewer than two members.

    >>> ensemble(torch.tensor([[1.0], [3.0]]))
    Ensemble(mean=tensor([2.]), spread=tensor([1.4142]))
    """
    if len(answers) < 2:
        raise GeocnnError(f"an ensemble needs two members at least, got {counted(len(answers), 'member')}")
    return Ensemble(answers.mean(0), answers.std(0))


@dataclass(frozen=True)
class MemberNumbers(Tally):
    """How well the spread of members tells their error."""

    UNDEFINED: ClassVar = {
        "NLL": "the members agree exactly somewhere, so that the likelihood has no value",
        "spread-skill": "the mean of the members is exact",
        "spread and error": "the spread, or the error, is the same everywhere",
    }

    weight: Float64[Tensor, " surfaces"]
    each: Float64[Tensor, "surfaces moments targets"]
    """Moments of the members' mean against the truth."""
    doubt: Float64[Tensor, "surfaces moments targets"]
    """Moments of the spread against the size of the error."""
    sums: Float64[Tensor, "surfaces three targets"]
    """Squared spread, negative log likelihood, and whether the truth lies within 1.96 spreads."""

    @classmethod
    def of(cls, known: KnownNumbers, per_point: bool) -> MemberNumbers:
        """Tally the points of one surface, or surfaces, one per row; answers are [members, n, targets]."""
        members = len(known.answer)
        mean, spread = ensemble(known.answer)
        # a new member, and so the truth if it is like one, lies about the mean with this variance
        variance = spread.square() * (1 + 1 / members)
        error = (mean - known.truth).abs()
        nll = 0.5 * (error.square() / variance + (2 * math.pi * variance).log())
        inside = (error <= 1.96 * variance.sqrt()).double()
        moments = point_moments if per_point else surface_moments
        return cls(
            surface_weight(known.weight, per_point),
            moments(known._replace(answer=mean)),
            moments(KnownNumbers(spread, error, known.weight)),
            per_surface(torch.stack([variance, nll, inside], 1), known.weight, per_point),
        )

    @property
    def truth(self) -> Float64[Tensor, "surfaces sums"]:
        own = Moments(*self.each.unbind(1))
        return torch.cat([self.weight.unsqueeze(1), own.truth, own.truth_variance], 1)

    def sample(self, counts: Counts | None) -> Sample:
        drawn = once(len(self)) if counts is None else counts
        each, doubt = (
            pooled(Moments(*part.unbind(1)), self.weight, drawn) for part in (self.each, self.doubt)
        )
        weight = drawn * self.weight
        sums = torch.tensordot(weight, self.sums, 1) / weight.sum(1)[:, None, None]
        variance, nll, inside = sums.unbind(1)
        rows = {
            "RMSE": rmse(each),
            "spread": variance.sqrt(),
            "spread-skill": variance.sqrt() / rmse(each),
            "spread and error": pearson(doubt),
            "within 95 %": inside,
            "NLL": nll,
        }
        one = each.truth.shape[-1] == 1
        shown = rows if one else ("spread-skill", "spread and error", "within 95 %")
        return Sample({name: rows[name].mean(-1) for name in shown}, rows)


@dataclass(frozen=True)
class MemberLabels(Tally):
    """How far members disagree, and what their mean gains."""

    weight: Float64[Tensor, " surfaces"]
    sums: Float64[Tensor, "surfaces four"]

    @classmethod
    def of(cls, known: KnownLabels, per_point: bool) -> MemberLabels:
        """Tally the points of one surface, or surfaces, one per row; answers are [members, n, classes]."""
        check_probabilities(known.answer)
        together, each = ensemble(known.answer).mean.argmax(-1), known.answer.argmax(-1)
        measures = [
            (together == known.truth).double(),
            (each == known.truth).double().mean(0),
            negative_log_likelihood(known).mean(0),
            (each != together).double().mean(0),
        ]
        sums = per_surface(torch.stack(measures, 1), known.weight, per_point)
        return cls(surface_weight(known.weight, per_point), sums)

    @property
    def truth(self) -> Float64[Tensor, "surfaces one"]:
        return self.weight.unsqueeze(1)

    def sample(self, counts: Counts | None) -> Sample:
        drawn = (once(len(self)) if counts is None else counts) * self.weight
        means = drawn @ self.sums / drawn.sum(1, keepdim=True)
        names = ("accuracy", "accuracy of one member", "NLL of one member", "disagreement")
        return Sample(dict(zip(names, means.unbind(1), strict=True)), {})
