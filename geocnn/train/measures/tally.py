"""A tally keeps, per surface, sums from which all measures follow, for any resample of the surfaces.

So an interval needs no second look at points: a resample is how often each surface is drawn, and sums over
the drawn surfaces are one matrix product.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

Counts = Float64[Tensor, "resamples surfaces"]
"""How often each surface is drawn."""


class Sample(NamedTuple):
    """Measures, one value per resample; NaN where one is undefined."""

    values: dict[str, Float64[Tensor, " resamples"]]
    rows: dict[str, Float64[Tensor, "resamples rows"]]
    """By the column of a table whose rows are classes, targets or bins."""


@dataclass(frozen=True)
class Tally:
    """The fields of a tally are tensors; the first axis counts surfaces, or points of one surface after
    another. Tallies of several surfaces are joined by concatenation.
    """

    UNDEFINED: ClassVar[Mapping[str, str]] = {}
    """Why a measure, or a column, can be undefined."""
    WITHOUT_INTERVAL: ClassVar[Mapping[str, str]] = {}
    """Measures that have no interval, and why."""

    @property
    def truth(self) -> Float64[Tensor, "surfaces sums"]:
        """Sums of truths and weights only: equal in tallies of two models on the same surfaces."""
        raise NotImplementedError

    def sample(self, counts: Counts | None) -> Sample:
        """Return the measures of each resample, or, for None, of all surfaces once (one value each)."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.truth)

    @classmethod
    def names(cls) -> list[str]:
        """List the fields."""
        return [field.name for field in dataclasses.fields(cls)]


def once(surfaces: int) -> Float64[Tensor, "one surfaces"]:
    """Return the counts in which each surface is drawn once."""
    return torch.ones(1, surfaces, dtype=torch.float64)


def shares(weight: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Scale the weights of a surface to the sum 1, so that surfaces count the same, in any unit.

    >>> shares(torch.tensor([1.0, 3.0], dtype=torch.float64)).tolist()
    [0.25, 0.75]
    """
    return weight / weight.sum()


def per_surface(
    values: Float64[Tensor, "k ..."], weight: Float64[Tensor, " k"], per_point: bool
) -> Float64[Tensor, "surfaces ..."]:
    """Return means over the points of one surface, as one row, or rows of surfaces as they are."""
    return torch.tensordot(shares(weight), values, 1)[None] if per_point else values


def surface_weight(weight: Float64[Tensor, " k"], per_point: bool) -> Float64[Tensor, " surfaces"]:
    """Return 1 for the points of one surface, or the weights of surfaces."""
    return torch.ones(1, dtype=torch.float64) if per_point else weight


def mean_over(values: Float64[Tensor, "surfaces ..."], counts: Counts) -> Float64[Tensor, "resamples ..."]:
    """Return the mean over drawn surfaces; a surface whose value is NaN is left out.

    >>> mean_over(torch.tensor([1.0, 4.0, torch.nan]).double(), torch.tensor([[1.0, 2.0, 9.0]]).double())
    tensor([3.], dtype=torch.float64)
    """
    has = ~values.isnan()
    total = torch.tensordot(counts, values.nan_to_num(0.0), 1)
    return total / torch.tensordot(counts, has.double(), 1)


def median_over(values: Float64[Tensor, " surfaces"], counts: Counts) -> Float64[Tensor, " resamples"]:
    """Return the median over drawn surfaces; a surface whose value is NaN is left out.

    >>> counts = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).double()
    >>> median_over(torch.tensor([4.0, 1.0, 2.0]).double(), counts)
    tensor([2.0000, 2.5000], dtype=torch.float64)
    """
    has = ~values.isnan()
    ordered, order = values[has].sort()
    if not len(ordered):
        return torch.full((len(counts),), torch.nan, dtype=torch.float64)
    drawn = counts[:, has][:, order].cumsum(1).contiguous()
    n = drawn[:, -1:]
    middle = torch.cat([((n + 1) / 2).floor(), (n / 2).floor() + 1], 1)
    places = torch.searchsorted(drawn, middle).clamp(max=len(ordered) - 1)
    return ordered[places].mean(1).where(n[:, 0] > 0, torch.nan)
