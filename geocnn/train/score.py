"""Two functions of a batch: the score, which the loop minimises, and the answer, which tests measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torchmetrics import Metric

Scorer = Callable[[nn.Module, Any], tuple[Float[Tensor, ""], Mapping[str, Float[Tensor, ""]]]]
"""(network, batch) -> the loss that is minimised, and further figures by name. All are means over the
examples of the batch."""

Answer = tuple[Tensor, Tensor | None, Tensor | None]
"""The network's output, what is true (None where nobody knows), and the weight of each part of the output
(None where all weigh the same)."""


def classify(
    network: nn.Module, batch: tuple[Tensor, Tensor]
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Return cross-entropy and accuracy of a network x -> logits [B, classes] on a batch (x, y [B] int64).

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
    """Answer a batch (x, y) without weights.

    >>> import torch
    >>> answer_pair(nn.Identity(), (torch.ones(1), torch.zeros(1)))
    (tensor([1.]), tensor([0.]), None)
    """
    x, y = batch
    return network(x).float(), y, None


def accuracy() -> dict[str, Metric]:
    """Make the metrics of a classifier, for `Recipe.metrics`: the share of labels that are right."""
    from geocnn.train.measures.metrics import Accuracy

    return {"accuracy": Accuracy()}
