"""What a recipe says of a batch: the score, which the loop minimises, and the answer, which tests measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torchmetrics import Metric

Scorer = Callable[[nn.Module, Any], tuple[Tensor, Mapping[str, Tensor]]]
"""(network, batch) -> the loss that is minimised, and further figures by name. All are scalars, and means
over the examples of the batch."""

Answer = tuple[Tensor, Tensor | None, Tensor | None]
"""The network's output, what is true (None where nobody knows), and the weight of each part of the output
(None where all weigh the same)."""


def classify(network: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The cross-entropy and the accuracy of a network x -> logits [B, classes] on (x, y), y [B] int64.

    >>> import torch
    >>> x, y = torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1])
    >>> loss, figures = classify(nn.Identity(), (x, y))
    >>> float(figures["accuracy"])
    0.5
    """
    x, y = batch
    logits = network(x)
    return F.cross_entropy(logits.float(), y), {"accuracy": (logits.argmax(-1) == y).float().mean()}


def answer_pair(network: nn.Module, batch: tuple[Tensor, Tensor | None]) -> Answer:
    """The answer to a batch (x, y), where nothing has a weight.

    >>> import torch
    >>> answer_pair(nn.Identity(), (torch.ones(1), torch.zeros(1)))
    (tensor([1.]), tensor([0.]), None)
    """
    x, y = batch
    return network(x).float(), y, None


def accuracy() -> dict[str, Metric]:
    """The metrics of a classifier, for `Recipe.metrics`: the share of labels that are right."""
    from geocnn.train.metrics import Accuracy

    return {"accuracy": Accuracy()}
