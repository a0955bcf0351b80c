"""The measures of a test set, with intervals over its surfaces (Efron & Tibshirani 1993, chapter 13).

A resample draws as many surfaces as there are, with replacement; points of one surface are alike, so they are
never drawn by themselves. Drawing is not stratified by class: an interval says how a measure varies with
other surfaces from where these came, and how many of each class these have varies too. It takes the surfaces
as independent, and does not say how a measure varies with the seed of the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float64
from torch import Tensor

from geocnn.errors import GeocnnError
from geocnn.lasting import lasting
from geocnn.train.measures.tally import Counts, Sample, Tally
from geocnn.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

RESAMPLES = 1000
LEVEL = 0.95
"""Share of the resamples within an interval; as much lies below as above."""

COUNTS = {"points", "surfaces", "share"}
"""Columns that count the test set; they have no interval."""


@dataclass(frozen=True)
class Measured:
    """One measure: its value and its interval."""

    value: float | None
    """None where it is undefined."""
    low: float | None = None
    high: float | None = None
    """None where there is no interval."""
    reason: str = ""
    """Why there is no value or no interval."""

    def __str__(self) -> str:
        """Return the value with its interval.

        >>> print(Measured(0.5, 0.25, 0.75), Measured(None, reason="no points"), sep="; ")
        0.5 (0.25 to 0.75); -
        """
        if self.value is None:
            return "-"
        return f"{self.value:.4g}" + ("" if self.low is None else f" ({self.low:.4g} to {self.high:.4g})")

    def to_dict(self) -> dict[str, float | str | None]:
        """Return plain values for JSON, with `reason` where one is None."""
        known = {"value": self.value, "low": self.low, "high": self.high}
        return known | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True)
class Measures:
    """The measures of a test set. A console of rich prints them as tables."""

    headline: str
    """The name, in `values`, of the measure by which models are compared."""
    values: Mapping[str, Measured]
    rows: Mapping[str, Mapping[str, Measured]]
    """By class, target or bin of confidence, then by column."""
    surfaces: int
    resamples: int
    seed: int
    """Random seed of the resamples."""

    @property
    def first(self) -> Measured:
        """The measure by which models are compared."""
        return self.values[self.headline]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; None stands beside its reason, and no number is NaN."""
        return {
            "headline": self.headline,
            "values": {name: value.to_dict() for name, value in self.values.items()},
            "rows": {
                row: {name: v.to_dict() for name, v in cells.items()} for row, cells in self.rows.items()
            },
            "surfaces": self.surfaces,
            "resamples": self.resamples,
            "seed": self.seed,
        }

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        values, rows = Table(), Table()
        for column in ("measure", "value", f"{100 * LEVEL:g} % interval"):
            values.add_column(column, justify="left" if column == "measure" else "right")
        others = [name for name in self.values if name != self.headline]
        for name in [self.headline, *others]:
            one = self.values[name]
            interval = "-" if one.low is None else f"{one.low:.4g} to {one.high:.4g}"
            values.add_row(name, _shown(one), interval, style="bold" if name == self.headline else "")
        columns = list(next(iter(self.rows.values()), {}))
        for column in ("", *columns):
            rows.add_column(column, justify="right" if column else "left")
        for row, cells in self.rows.items():
            # units in brackets are no markup
            rows.add_row(Text(row), *(_shown(cells[column]) for column in columns))
        note = f"{counted(self.surfaces, 'surface')}; intervals from {self.resamples:,} resamples of them"
        note = note if self.surfaces > 1 else "one surface: no interval over surfaces"
        return Group(values, Text(note), *([rows] if columns else []))


def _shown(measured: Measured) -> str:
    return "-" if measured.value is None else f"{measured.value:.4g}"


def draw(surfaces: int, resamples: int = RESAMPLES, seed: int = 0) -> Counts:
    """Return how often each surface is drawn in each resample, a function of the arguments alone.

    >>> draw(3, 2).sum(1)
    tensor([3., 3.], dtype=torch.float64)
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(surfaces, (resamples, surfaces), generator=generator)
    return torch.zeros(resamples, surfaces, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(1, 1, dtype=torch.float64).expand_as(drawn)
    )


@lasting()
def measure(
    tallies: Sequence[Tally], headline: str, rows: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Measures:
    """Measure what tallies of the same surfaces hold together.

    Args:
        headline: the name of one of the measures.
        rows: names of the classes or targets.
        resamples: how many; 1,000 give bounds to about a twentieth of an interval's width.
    """
    full, drawn = _samples(tallies, resamples, seed)
    return _measures(tallies, headline, rows, full, drawn, resamples, seed)


@lasting()
def measure_difference(
    tallies: Sequence[Tally],
    others: Sequence[Tally],
    headline: str,
    rows: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Measures:
    """Measure by how much one model's measures exceed another's on the same surfaces.

    Both are measured on the same resamples (a paired bootstrap). So a surface that is hard for both widens
    nothing, and an interval without 0 tells the models apart even where their own intervals overlap.

    Raises:
        GeocnnError: the tallies are not of the same measures, or not of the same surfaces in the same order.
    """
    if [type(tally) for tally in tallies] != [type(other) for other in others]:
        raise GeocnnError("the two models were measured by different metrics; take the same for both")
    for tally, other in zip(tallies, others, strict=True):
        if len(tally) != len(other):
            raise GeocnnError(
                f"one model answered {counted(len(tally), 'surface')} and the other {len(other)}; a "
                "difference needs the same ones in the same order"
            )
        if tally.truth.shape != other.truth.shape or not torch.allclose(
            tally.truth, other.truth, rtol=1e-6, atol=1e-9
        ):
            raise GeocnnError(
                "the two models answered different surfaces, or the same in another order: their labels or "
                "areas differ"
            )
    one, two = (_samples(part, resamples, seed) for part in (tallies, others))
    full, drawn = (None if a is None or b is None else _less(a, b) for a, b in zip(one, two, strict=True))
    assert full is not None
    return _measures(tallies, headline, rows, full, drawn, resamples, seed)


def _samples(tallies: Sequence[Tally], resamples: int, seed: int) -> tuple[Sample, Sample | None]:
    """Return the measures of all surfaces, and of resamples where there are several."""
    surfaces = len(tallies[0])
    counts = draw(surfaces, resamples, seed) if surfaces > 1 else None
    return _joint(tallies, None), None if counts is None else _joint(tallies, counts)


def _joint(tallies: Sequence[Tally], counts: Counts | None) -> Sample:
    values, rows = {}, {}
    for tally in tallies:
        sample = tally.sample(counts)
        values |= sample.values
        rows |= sample.rows
    return Sample(values, rows)


def _less(one: Sample, other: Sample) -> Sample:
    """Return differences; a column that counts the test set stays."""
    return Sample(
        {name: value - other.values[name] for name, value in one.values.items()},
        {name: v if name in COUNTS else v - other.rows[name] for name, v in one.rows.items()},
    )


def _measures(
    tallies: Sequence[Tally],
    headline: str,
    rows: Sequence[str],
    full: Sample,
    drawn: Sample | None,
    resamples: int,
    seed: int,
) -> Measures:
    undefined = {name: why for tally in tallies for name, why in tally.UNDEFINED.items()}
    without = {name: why for tally in tallies for name, why in tally.WITHOUT_INTERVAL.items()}
    without |= dict.fromkeys(COUNTS, "it counts the test set")

    def measured(name: str, value: Tensor, several: Tensor | None) -> Measured:
        return _measured(value, several, undefined.get(name, "undefined here"), without.get(name, ""))

    values = {
        name: measured(name, value[0], None if drawn is None else drawn.values[name])
        for name, value in full.values.items()
    }
    cells = {
        row: {
            name: measured(name, column[0, k], None if drawn is None else drawn.rows[name][:, k])
            for name, column in full.rows.items()
        }
        for k, row in enumerate(rows)
    }
    return Measures(headline, values, cells, len(tallies[0]), resamples, seed)


def _measured(
    value: Float64[Tensor, ""], drawn: Float64[Tensor, " resamples"] | None, undefined: str, without: str
) -> Measured:
    number = float(value)
    if not math.isfinite(number):
        return Measured(None, reason=undefined)
    if without:
        return Measured(number, reason=f"no interval: {without}")
    if drawn is None:
        return Measured(number, reason="no interval: there is one surface")
    defined = drawn[drawn.isfinite()]
    if 2 * len(defined) < len(drawn):
        return Measured(number, reason=f"no interval: in most resamples {undefined}")
    low, high = torch.quantile(
        defined, torch.tensor([1 - LEVEL, 1 + LEVEL], dtype=torch.float64) / 2
    ).tolist()
    if float(defined.max() - defined.min()) <= 1e-12 * abs(number):
        return Measured(
            number, reason="no interval: all resamples agree, which does not mean that other surfaces would"
        )
    return Measured(number, low, high)
