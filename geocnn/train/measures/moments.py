"""Measures of numbers: RMSE, MAE, R² and Pearson's correlation, from weighted means, variances and errors.

Means and centred squares are kept rather than plain sums: temperatures of 300 K that vary by 0.01 K lose
nothing. Every number is in the target's own unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Real
from torch import Tensor

from geocnn.train.measures.inputs import KnownNumbers, known_numbers
from geocnn.train.measures.tally import Counts, Sample, Tally, mean_over, once, shares, surface_weight

Column = Float64[Tensor, "*many targets"]


class Moments(NamedTuple):
    """Weighted means over points or surfaces, per target."""

    truth: Column
    """Mean."""
    answer: Column
    """Mean."""
    truth_variance: Column
    answer_variance: Column
    covariance: Column
    squared_error: Column
    """Mean."""
    absolute_error: Column
    """Mean."""


def moments(
    answer: Float[Tensor, "*n_targets"],
    truth: Real[Tensor, "*n_targets"],
    weight: Real[Tensor, " n"] | None = None,
    mask: Bool[Tensor, " n"] | None = None,
) -> Moments:
    """Return the moments of answers [n, targets] or [n]; arguments and errors are those of `known_numbers`.

    >>> answer, truth = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 6.0])
    >>> m = moments(answer, truth, torch.tensor([2.0, 1.0, 1.0]))
    >>> float(rmse(m)), float(mae(m))
    (1.5, 0.75)
    """
    return Moments(*point_moments(known_numbers(answer, truth, weight, mask))[0])


def rmse(m: Moments) -> Column:
    """Return the root of the mean squared error."""
    return m.squared_error.sqrt()


def mae(m: Moments) -> Column:
    """Return the mean absolute error."""
    return m.absolute_error


def r_squared(m: Moments) -> Column:
    """Return 1 − mean squared error / variance of the truth: 1 is exact, 0 as good as the mean of the truth.

    It is NaN where the truth is the same everywhere.

    >>> float(r_squared(moments(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 6.0]))))
    0.3571428571428571
    """
    return (1 - m.squared_error / m.truth_variance).where(m.truth_variance > 0, torch.nan)


def pearson(m: Moments) -> Column:
    """Return Pearson's correlation; NaN where the truth or the answer is the same everywhere."""
    # two roots: the product of two small variances may not be a number above 0
    return m.covariance / (m.truth_variance.sqrt() * m.answer_variance.sqrt())


def point_moments(known: KnownNumbers) -> Float64[Tensor, "one moments targets"]:
    """Return the moments of the points of one surface, in the order of `Moments`."""
    answer, truth, share = known.answer, known.truth, shares(known.weight)
    mean_t, mean_a = share @ truth, share @ answer
    t, a, error = truth - mean_t, answer - mean_a, answer - truth
    squares = _cleared(share @ (t * t), mean_t), _cleared(share @ (a * a), mean_a)
    errors = share @ (error * error), share @ error.abs()
    return torch.stack(Moments(mean_t, mean_a, *squares, share @ (t * a), *errors))[None]


def surface_moments(known: KnownNumbers) -> Float64[Tensor, "surfaces moments targets"]:
    """Return the moments of surfaces with one number per target each, in the order of `Moments`."""
    zero, error = torch.zeros_like(known.truth), known.answer - known.truth
    return torch.stack(Moments(known.truth, known.answer, zero, zero, zero, error * error, error.abs()), 1)


def _cleared(variance: Column, mean: Column) -> Column:
    """Return 0 for a variance that comes of rounding the mean."""
    return variance.where(variance > (4 * torch.finfo(torch.float64).eps * mean) ** 2, 0.0)


def pooled(each: Moments, weight: Float64[Tensor, " surfaces"], counts: Counts) -> Moments:
    """Return the moments of all drawn surfaces together, from those of each, [surfaces, targets]."""
    drawn = counts * weight
    drawn = drawn / drawn.sum(1, keepdim=True)
    centre_t, centre_a = (once(len(weight)) * shares(weight) @ mean for mean in (each.truth, each.answer))
    t, a = each.truth - centre_t, each.answer - centre_a
    mean_t, mean_a = drawn @ t, drawn @ a

    def variance(own: Column, offset: Column, mean: Column) -> Column:
        square = drawn @ (own + offset * offset)
        return (square - mean * mean).where(square - mean * mean > 1e-13 * square, 0.0)

    return Moments(
        truth=centre_t + mean_t,
        answer=centre_a + mean_a,
        truth_variance=variance(each.truth_variance, t, mean_t),
        answer_variance=variance(each.answer_variance, a, mean_a),
        covariance=drawn @ (each.covariance + t * a) - mean_t * mean_a,
        squared_error=drawn @ each.squared_error,
        absolute_error=drawn @ each.absolute_error,
    )


COLUMNS = {"RMSE": rmse, "MAE": mae, "R²": r_squared, "Pearson": pearson}
UNDEFINED = {
    "R²": "the truth is the same everywhere",
    "Pearson": "the truth or the answer is the same everywhere",
    "Pearson per surface": "the truth or the answer is the same everywhere on each surface",
}


@dataclass(frozen=True)
class Numbers(Tally):
    """The moments of each surface; areas of points are scaled to the sum 1 per surface."""

    UNDEFINED: ClassVar = UNDEFINED

    weight: Float64[Tensor, " surfaces"]
    each: Float64[Tensor, "surfaces moments targets"]

    @classmethod
    def of(cls, known: KnownNumbers, per_point: bool) -> Numbers:
        """Tally the points of one surface, or surfaces, one per row."""
        moments = (point_moments if per_point else surface_moments)(known)
        return cls(surface_weight(known.weight, per_point), moments)

    @property
    def truth(self) -> Float64[Tensor, "surfaces sums"]:
        own = Moments(*self.each.unbind(1))
        return torch.cat([self.weight.unsqueeze(1), own.truth, own.truth_variance], 1)

    def sample(self, counts: Counts | None) -> Sample:
        """Errors of several targets have units of their own, so only R² and correlation have means."""
        counts = once(len(self)) if counts is None else counts
        m = pooled(Moments(*self.each.unbind(1)), self.weight, counts)
        rows = {name: column(m) for name, column in COLUMNS.items()}
        shown = list(COLUMNS) if m.truth.shape[-1] == 1 else ["R²", "Pearson"]
        return Sample({name: rows[name].nanmean(-1) for name in shown}, rows)


@dataclass(frozen=True)
class Correlations(Tally):
    """Pearson's correlation over the points of each surface."""

    UNDEFINED: ClassVar = {
        "Pearson per surface": "on each surface the truth or the answer is the same everywhere"
    }

    own: Float64[Tensor, "surfaces targets"]
    mean: Float64[Tensor, "surfaces targets"]
    """Mean of the truth."""

    @classmethod
    def of(cls, known: KnownNumbers) -> Correlations:
        """Tally one surface."""
        m = Moments(*point_moments(known).unbind(1))
        return cls(pearson(m), m.truth)

    @property
    def truth(self) -> Float64[Tensor, "surfaces sums"]:
        return self.mean

    def sample(self, counts: Counts | None) -> Sample:
        within = mean_over(self.own, once(len(self)) if counts is None else counts)
        return Sample({"Pearson per surface": within.nanmean(1)}, {"Pearson per surface": within})
