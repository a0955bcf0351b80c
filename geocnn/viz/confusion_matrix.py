"""Which classes a classifier confuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from geocnn.viz.colours import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion(
    predicted: Tensor, truth: Tensor, classes: Sequence[str], title: str = "", weights: Tensor | None = None
) -> Figure:
    """Draw the confusion matrix of counts, shaded by share of the row; truth in rows, answers in columns.

    With weights (areas, say) [n] of the answers, each field tells the weight's share of its row in per cent.
    """
    from matplotlib.figure import Figure

    n = len(classes)
    counts = torch.bincount(truth * n + predicted, weights, minlength=n * n).reshape(n, n)
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1e-12)).numpy()
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    axis = figure.subplots()
    # The square root shows the few errors beside the many hits.
    axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts.numpy()):
        if count:
            axis.text(
                column, row, str(count) if weights is None else f"{100 * share[row, column]:.1f}",
                ha="center", va="center", fontsize=8,
                color="white" if share[row, column] > 0.35 else INK,
            )  # fmt: skip
    axis.set_xticks(range(n), classes, rotation=0 if max(map(len, classes)) < 4 else 30)
    axis.set_yticks(range(n), classes)
    axis.tick_params(length=0)
    axis.set_xlabel("answer")
    axis.set_ylabel("truth" if weights is None else "truth (% of its weight)")
    accuracy = 100 * float(counts.diagonal().sum() / counts.sum())
    axis.set_title(f"{title}\n{accuracy:.2f} % right".strip(), fontsize=10, color=INK)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure
