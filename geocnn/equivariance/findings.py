"""Findings and reports: the errors of a model under each symmetry, as values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from geocnn.errors import GeocnnError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

Verdict = Literal["exact", "converging", "broken", "undecided"]

EXACT = {torch.float64: 1e-10, torch.float32: 3e-5, torch.float16: 3e-3, torch.bfloat16: 3e-2}
"""Relative errors up to these are rounding: some hundred units in the last place, through many layers."""


@dataclass(frozen=True)
class Measured:
    """Relative errors of the whole model or of a layer, one per grid, and the verdict on them.

    `order` is that of the last refinement: error ~ spacing^order.
    """

    name: str
    errors: list[float]
    order: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Finding:
    """The measurements under one symmetry.

    `layers` are in the order in which they end. `own_error` is the error in the model's own number format,
    and `own_verdict` says whether it is rounding. `training` is the model in training mode, None where it
    answers as in evaluation. `layer` is the first that breaks the symmetry.
    """

    symmetry: str
    meaning: str
    model: Measured
    layers: list[Measured]
    own_error: float | None
    own_verdict: Verdict | None
    training: Measured | None
    layer: str | None

    @property
    def broken(self) -> bool:
        """Whether the symmetry is broken in float64, in the model's own format or in training mode."""
        training = None if self.training is None else self.training.verdict
        return "broken" in (self.model.verdict, self.own_verdict, training)


EXPLANATION = (
    "exact: the error is rounding. converging: it falls as the grid is refined, at the given order; that "
    "is discretisation. broken: it is not rounding and does not fall; no finer grid mends that. "
    "undecided: no finer grid was tried, or the error falls but not that of the layer named. Errors are "
    "relative, for random fields no finer than the coarsest level resolves; four more are drawn before a "
    "symmetry is called broken. A broken symmetry shows almost surely, but a fault smaller than the error "
    "of the grid may hide below it, until a finer grid is tried."
)


@dataclass(frozen=True)
class Report:
    """All findings on a model.

    `points` and `spacings` describe the grids, one entry per grid; `dtype` is the model's own. `left_out`
    names symmetries that do not apply. `untrained` says why training mode was not measured, if it was not.

    >>> from geocnn.equivariance import report
    >>> from geocnn.geometry import torus
    >>> from geocnn.nn import GaugeConv
    >>> measured = report(GaugeConv("1x0", "1x1"), torus((8, 8)))
    >>> measured["gauge"].model.verdict, measured.broken
    ('exact', [])
    """

    explanation: ClassVar[str] = EXPLANATION

    model: str
    surface: str
    points: list[int]
    spacings: list[float]
    dtype: str
    findings: list[Finding]
    left_out: list[str]
    untrained: str | None = None

    def __getitem__(self, symmetry: str) -> Finding:
        """Return the finding on a symmetry. Raises GeocnnError where it was not measured."""
        for f in self.findings:
            if f.symmetry == symmetry:
                return f
        measured = ", ".join(f.symmetry for f in self.findings)
        raise GeocnnError(f"{symmetry!r} was not measured; measured are: {measured or 'none'}")

    @property
    def broken(self) -> list[Finding]:
        """The findings on broken symmetries."""
        return [f for f in self.findings if f.broken]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary that JSON can hold."""
        return asdict(self) | {"explanation": self.explanation}

    def json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def show(self, console: Console | None = None) -> None:
        """Print the report as a table (rich), by default to the terminal."""
        from geocnn.console import make_console
        from geocnn.equivariance.report_page import print_report

        print_report(self, console or make_console())

    def html(self, path: str | Path) -> None:
        """Write the report as one self-contained page with plots."""
        from geocnn.equivariance.report_page import write_html

        write_html(self, path)
