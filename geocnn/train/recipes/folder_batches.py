"""Batches of a data folder: several meshes side by side, or several fields on one surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from geocnn.data.folders.card import Card
from geocnn.data.folders.samples import in_units
from geocnn.geometry import Hierarchy
from geocnn.train.losses import class_weights, cross_entropy
from geocnn.train.score import Answer

if TYPE_CHECKING:
    from geocnn.data.surface_data import SurfaceData


class FolderBatch(NamedTuple):
    """Samples as networks take them: x [N, D] on meshes side by side, or [samples, N, D] on one surface."""

    x: Float[Tensor, "*samples n d"]
    hierarchy: Hierarchy
    truth: Tensor | None
    """Classes [rows], or numbers [rows, k]; a row per sample, or per point of one sample after another."""
    share: Float[Tensor, " rows"]
    """The weight of each row; those of a sample sum to the sample's weight."""
    weights: Float[Tensor, " classes"] | None = None
    """Of classes in the loss."""
    smoothing: float = 0.0
    """Part of the target that is spread over all classes."""


class FolderBatches(Dataset[FolderBatch]):
    """Samples that are fetched as whole batches, the way the training loop does it."""

    def __init__(
        self, items: Sequence[SurfaceData], card: Card, balanced: bool = False, smoothing: float = 0.0
    ) -> None:
        self.items, self.card, self.smoothing = items, card, smoothing
        self.weights = class_weights(self.counts()).float() if balanced and card.is_classes else None

    def counts(self) -> Float[Tensor, " classes"]:
        """Return how many samples of each class there are, or its area in units of a sample's."""
        given = batch(self.items, self.card)
        assert given.truth is not None
        known = given.truth >= 0
        counts = given.share.new_zeros(len(self.card.classes))
        return counts.index_add_(0, given.truth[known], given.share[known])

    def __len__(self) -> int:
        return len(self.items)

    def __getitems__(self, index: Sequence[int]) -> FolderBatch:
        return batch([self.items[k] for k in index], self.card)._replace(
            weights=self.weights, smoothing=self.smoothing
        )


def batch(items: Sequence[SurfaceData], card: Card) -> FolderBatch:
    """Join samples to one batch."""
    if card.surfaces == "meshes":
        x = torch.cat([item.x for item in items])
        hierarchy = Hierarchy.cat([item.hierarchy for item in items])
    else:
        x, hierarchy = torch.stack([item.x for item in items]), items[0].hierarchy
    truths = [item.y for item in items if item.y is not None]
    truth = torch.cat(truths) if truths else None
    weights = [item.weight if "weight" in item else torch.ones(1) for item in items]
    if card.per_point:
        shares = [w * item.areas / item.areas.sum() for w, item in zip(weights, items, strict=True)]
        return FolderBatch(x, hierarchy, truth, torch.cat(shares).float())
    return FolderBatch(x, hierarchy, truth, torch.cat(weights).float())


def rows_of(network: nn.Module, given: FolderBatch) -> Float[Tensor, "rows k"]:
    """Return the network's answers, a row per sample or per point."""
    y = network(given.x, given.hierarchy).float()
    return y.reshape(-1, y.shape[-1])


class Score:
    """The loss of a task and what is logged: cross-entropy and accuracy of classes, or the squared error of
    numbers, in units of their standard deviation. Rows weigh by their share.
    """

    def __init__(self, card: Card) -> None:
        self.card = card

    def __call__(self, network: nn.Module, given: FolderBatch) -> tuple[Tensor, dict[str, Tensor]]:
        answer, truth = rows_of(network, given), given.truth
        assert truth is not None
        if not self.card.is_classes:
            share = given.share / given.share.sum().clamp_min(1e-12)
            loss = ((answer - truth).square().mean(-1) * share).sum()
            return loss, {"error": loss.sqrt()}
        share = given.share * (truth >= 0)
        share = share / share.sum().clamp_min(1e-12)
        loss = cross_entropy(answer, truth, share, given.weights, given.smoothing)
        return loss, {"accuracy": ((answer.argmax(-1) == truth) * share).sum()}


class Answering:
    """The answers of a task for its metrics: probabilities of classes, or numbers in their own units."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def __call__(self, network: nn.Module, given: FolderBatch) -> Answer:
        rows = rows_of(network, given)
        if self.card.is_classes:
            return rows.softmax(-1), given.truth, given.share
        truth = None if given.truth is None else in_units(given.truth.cpu(), self.card)
        return in_units(rows.cpu(), self.card), truth, given.share
