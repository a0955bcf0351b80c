"""How well a network does on a batch: the one thing the loop does not know of what it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class Score(NamedTuple):
    """Means over a batch: the loss that is minimised, and the share of right answers; how many it is of."""

    loss: Tensor
    accuracy: Tensor
    examples: int


Scorer = Callable[[nn.Module, Any], Score]
"""(network, batch) -> Score."""


def classify(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Score:
    """The cross-entropy of a network x -> logits [B, classes] on a batch (x, y), y [B] int64.

    >>> import torch
    >>> score = classify(nn.Identity(), (torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1])))
    >>> float(score.accuracy), score.examples
    (0.5, 2)
    """
    x, y = batch
    logits = network(x)
    return Score(F.cross_entropy(logits.float(), y), (logits.argmax(-1) == y).float().mean(), len(y))
