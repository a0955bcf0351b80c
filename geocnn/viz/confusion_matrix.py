"""Which classes a classifier confuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from geocnn.viz.colours import INK
from geocnn.viz.fields import shortened

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
    counts = torch.bincount(truth * n + predicted, weights, minlength=n * n).cpu().reshape(n, n)
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1e-12)).numpy()
    side = min(max(5.4, 1.5 + 0.4 * n), 14.0)
    figure = Figure(figsize=(side, side + 0.2), layout="constrained")
    axis = figure.subplots()
    # The square root shows the few errors beside the many hits.
    axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    texts = [
        (row, column, str(count) if weights is None else f"{100 * share[row, column]:.1f}")
        for (row, column), count in np.ndenumerate(counts.numpy())
        if count
    ]
    # a letter is about 0.6 of its size wide, and a point 1/72 inch; names take a fifth of the side
    widest = max((len(text) for *_, text in texts), default=1)
    size = min(8.0, 72 * 0.75 * side / n / (0.65 * max(widest, 2)))
    for row, column, text in texts:
        colour = "white" if share[row, column] > 0.35 else INK
        axis.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
    names = [shortened(name, 24) for name in classes]
    longest = max(map(len, names))
    upright = longest * n > 60
    axis.set_xticks(range(n), names, rotation=90 if upright else 0, fontsize=9 if n <= 16 else 7)
    axis.set_yticks(range(n), names, fontsize=9 if n <= 16 else 7)
    for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        label.set_parse_math(False)
    axis.tick_params(length=0)
    axis.set_xlabel("answer")
    axis.set_ylabel("truth" if weights is None else "truth (% of its weight)")
    accuracy = 100 * float(counts.diagonal().sum() / counts.sum())
    axis.set_title(f"{title}\n{accuracy:.2f} % right".strip(), fontsize=10, color=INK, parse_math=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure
