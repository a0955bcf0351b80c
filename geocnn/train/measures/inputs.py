"""Answers, truths and weights are checked once, where they enter; what is unknown is left out here."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64, Real, Shaped
from torch import Tensor

from geocnn.errors import BadValueError, GeocnnError
from geocnn.geometry.core.values import find_bad
from geocnn.wording import counted


class KnownLabels(NamedTuple):
    """The entries of an answer whose label is known, on the CPU."""

    answer: Float64[Tensor, "*members k classes"]
    truth: Int64[Tensor, " k"]
    weight: Float64[Tensor, " k"]


class KnownNumbers(NamedTuple):
    """The entries of an answer whose numbers are known, on the CPU."""

    answer: Float64[Tensor, "*members k targets"]
    truth: Float64[Tensor, "k targets"]
    weight: Float64[Tensor, " k"]


def known_labels(
    answer: Float[Tensor, "*members n classes"],
    truth: Int[Tensor, " n"],
    weight: Real[Tensor, " n"] | None = None,
    mask: Bool[Tensor, " n"] | None = None,
) -> KnownLabels:
    """Leave out the entries whose label is −1, whose weight is 0 or that the mask excludes; no answer is read
    there.

    Args:
        answer: a number per class, the largest for the class that is answered; any dtype.
        weight: for instance areas; None weighs all the same.
        mask: true where the label is known.

    Raises:
        BadValueError: an answer is NaN, or a weight is not finite.
        GeocnnError: a label is not one of the classes, or a weight is negative.

    >>> answer, truth = torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([-1, 1])
    >>> known_labels(answer, truth).answer
    tensor([[0., 3.]], dtype=torch.float64)
    """
    classes, truth = answer.shape[-1], truth.detach().long().cpu()
    if classes < 2:
        raise GeocnnError(
            f"an answer needs one number per class, but has {counted(classes, 'column')}; answers of two "
            "classes have two columns, such as [1 − p, p]"
        )
    inside = truth >= 0 if mask is None else (truth >= 0) & mask.cpu()
    read = truth if mask is None else truth[mask.cpu()]
    if bool(((read < -1) | (read >= classes)).any()):
        wrong = read[(read < -1) | (read >= classes)]
        raise GeocnnError(
            f"labels must lie between 0 and {classes - 1} (−1: unknown), but {counted(len(wrong), 'label')} "
            f"do not, such as {int(wrong[0])}"
        )
    inside, weights = _weighed(weight, inside)
    answer = answer.detach().double().cpu()[..., inside, :]
    _check(answer.isnan(), answer, "NaN", "answer")
    return KnownLabels(answer, truth[inside], weights)


def known_numbers(
    answer: Float[Tensor, "*members_n_targets"],
    truth: Real[Tensor, "*n_targets"],
    weight: Real[Tensor, " n"] | None = None,
    mask: Bool[Tensor, " n"] | None = None,
) -> KnownNumbers:
    """Leave out the entries whose weight is 0 or that the mask excludes; no number is read there.

    Args:
        answer, truth: [n, targets], or [n] for one target. Answers of an ensemble have an axis more, the
            first.
        weight, mask: as in `known_labels`.

    Raises:
        BadValueError: an answer, truth or weight is NaN, infinite or another value that means "no value".
        GeocnnError: the shapes differ, or a weight is negative.

    >>> known_numbers(torch.tensor([1.0, 2.0]), torch.tensor([1, 3])).truth
    tensor([[1.],
            [3.]], dtype=torch.float64)
    """
    if answer.shape[answer.ndim - truth.ndim :] != truth.shape or truth.ndim not in (1, 2):
        raise GeocnnError(
            f"the answer has shape {list(answer.shape)} and the truth {list(truth.shape)}; both must be "
            "[n, targets] or [n]"
        )
    answer, truth = answer.detach().double().cpu(), truth.detach().double().cpu()
    if truth.ndim == 1:
        answer, truth = answer.unsqueeze(-1), truth.unsqueeze(-1)
    inside = torch.ones(len(truth), dtype=torch.bool) if mask is None else mask.cpu()
    inside, weights = _weighed(weight, inside)
    answer, truth = answer[..., inside, :], truth[inside]
    for name, values in (("answer", answer), ("truth", truth)):
        if (bad := find_bad(values)) is not None:
            _check(bad[1], values, bad[0], name)
    return KnownNumbers(answer, truth, weights)


def are_probabilities(answer: Float64[Tensor, "*members k classes"]) -> Bool[Tensor, "*members k"]:
    """Return for each row whether its numbers are probabilities: none below 0, their sum 1 to within 1 %.

    >>> are_probabilities(torch.tensor([[0.25, 0.75], [2.0, -1.0]], dtype=torch.float64)).tolist()
    [True, False]
    """
    return (answer >= 0).all(-1) & ((answer.sum(-1) - 1).abs() < 0.01)


def check_probabilities(answer: Float64[Tensor, "*members k classes"]) -> None:
    """Raise GeocnnError unless every row holds probabilities."""
    wrong = ~are_probabilities(answer)
    if bool(wrong.any()):
        row = answer[wrong][0]
        raise GeocnnError(
            f"{int(wrong.sum())} of {wrong.numel()} rows of the answer are no probabilities: the first has "
            f"the sum {float(row.sum()):.4g} and the least entry {float(row.min()):.4g}; answer with "
            "logits.softmax(-1)"
        )


def _weighed(
    weight: Real[Tensor, " n"] | None, inside: Bool[Tensor, " n"]
) -> tuple[Bool[Tensor, " n"], Float64[Tensor, " k"]]:
    """Leave out what has no weight; return where it is not, and the weights there."""
    if weight is None:
        return inside, torch.ones(int(inside.sum()), dtype=torch.float64)
    weight = weight.detach().double().cpu()
    known = weight[inside]
    if (bad := find_bad(known)) is not None:
        _check(bad[1], known, bad[0], "weight")
    if bool((known < 0).any()):
        raise GeocnnError(f"weights must not be negative, but the least is {float(known.min()):.4g}")
    inside = inside & (weight > 0)
    return inside, weight[inside]


def _check(bad: Bool[Tensor, "*shape"], values: Shaped[Tensor, "*shape"], kind: str, name: str) -> None:
    if bool(bad.any()):
        advice = "a training that diverged answers so" if name == "answer" else "mask what is unknown"
        raise BadValueError(
            f"{int(bad.sum())} of {bad.numel()} known values of {name} {list(values.shape)} are {kind}, "
            f"first at {bad.nonzero()[:3].tolist()}; {advice}"
        )
