"""Metrics that torchmetrics lacks: they weigh the parts of an answer, by area for instance, in float64.

A recipe may use these and every metric of torchmetrics side by side. Each is updated once per batch with the
answer, what is true, and the keyword `weight` if its `update` takes one. Import this file inside functions:
torchmetrics is slow to load.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64, Real
from torch import Tensor
from torchmetrics.aggregation import MeanMetric, MinMetric


def share_right(
    answer: Float[Tensor, "n classes"], truth: Int64[Tensor, " n"], weight: Real[Tensor, " n"] | None = None
) -> Float64[Tensor, ""]:
    """Return the share of the weight on which the largest entry of an answer's row is at the truth.

    Args:
        weight: none below zero, some above; None weighs all the same.

    >>> answer, truth = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    >>> float(share_right(answer, truth)), float(share_right(answer, truth, torch.tensor([3.0, 1.0])))
    (0.5, 0.75)
    """
    right = answer.argmax(-1) == truth
    weight = torch.ones_like(right, dtype=torch.float64) if weight is None else weight.double()
    return (right * weight).sum() / weight.sum()


class Accuracy(MeanMetric):
    """The share of all labels that are right; all weigh the same.

    >>> metric = Accuracy()
    >>> metric.update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    >>> float(metric.compute())
    0.5
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_dtype(torch.float64)

    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, answer: Float[Tensor, "n classes"], truth: Int64[Tensor, " n"]
    ) -> None:
        super().update((answer.argmax(-1) == truth).double())


class SurfaceAccuracy(MeanMetric):
    """The mean over surfaces of the weighted share of each that is right (`share_right`); one update per
    surface, every surface counting the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_dtype(torch.float64)

    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        answer: Float[Tensor, "n classes"],
        truth: Int64[Tensor, " n"],
        weight: Real[Tensor, " n"] | None = None,
    ) -> None:
        super().update(share_right(answer, truth, weight))


class WorstSurface(MinMetric):
    """The lowest, over surfaces, of the weighted share that is right; one update per surface."""

    def __init__(self) -> None:
        super().__init__()
        self.set_dtype(torch.float64)

    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        answer: Float[Tensor, "n classes"],
        truth: Int64[Tensor, " n"],
        weight: Real[Tensor, " n"] | None = None,
    ) -> None:
        super().update(share_right(answer, truth, weight))
