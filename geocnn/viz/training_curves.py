"""How the loss and the error fall while networks train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geocnn.viz.colours import INK, TRAINING_COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves(trainings: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Draw training curves: loss (training faint, validation strong) and validation error over the steps.

    Args:
        trainings: name: rows with "step" and any of "train_loss", "val_loss", "val_accuracy".
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, (name, rows) in enumerate(trainings.items()):
        colour = TRAINING_COLOURS[k % len(TRAINING_COLOURS)]
        left.plot(*_series(rows, "train_loss"), color=colour, alpha=0.3, linewidth=0.8)
        steps, loss = _series(rows, "val_loss")
        left.plot(steps, loss, "o-", color=colour, label=name, markersize=3, linewidth=1.4)
        steps, accuracy = _series(rows, "val_accuracy")
        error = [100 * (1 - value) for value in accuracy]
        right.plot(steps, error, "o-", color=colour, label=name, markersize=3, linewidth=1.4)
    for axis, label in ((left, "loss (faint: training)"), (right, "validation error, %")):
        # an error of 0 everywhere has no logarithm
        if any((np.asarray(line.get_ydata(), dtype=float) > 0).any() for line in axis.get_lines()):
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_xlabel("step")
        axis.set_title(label, fontsize=10, loc="left", color=INK)
        axis.grid(which="both", alpha=0.2, linewidth=0.5)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    right.legend(frameon=False, fontsize=9)
    return figure


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    chosen = [row for row in rows if name in row]
    return [row["step"] for row in chosen], [row[name] for row in chosen]
