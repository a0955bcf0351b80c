"""Test samples with their answers: the worst and those around the median, kept in the run folder, drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from geocnn.data.folders.card import Card
from geocnn.data.folders.table import write_table
from geocnn.errors import CheckpointError
from geocnn.files import write_safetensors
from geocnn.geometry import RawMesh, Surface, raw_mesh
from geocnn.train.recipes.folder_pictures import answer_text, input_field, numbers_text
from geocnn.train.reporting import per_cent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from geocnn.viz import Field, Panel

EXAMPLES, ANSWERS = "examples.safetensors", "test-answers.csv"
FORMAT = "geocnn examples 1"

MOST_EXAMPLES = 8
"""Half of them are the worst, half lie around the median."""

MOST_POINTS = 400_000
"""Of all examples together, about 20 MB."""


@dataclass(frozen=True, eq=False)
class Example:
    """A test sample with its answer.

    `tensors` are truth and answer: classes [N], numbers [N, k], or one row where the answer is one per
    surface; probability [N] of the answered classes; field.NAME [N, channels]; and where each sample has its
    own mesh, vertices [N, 3] less their mean, and faces [F, 3].
    """

    name: str
    rank: str
    """"worst" or "median"."""
    caption: str
    """What is true and what was answered, or how well its points were answered."""
    tensors: Mapping[str, Tensor]

    def surface(self, shared: Surface | None) -> Surface | RawMesh:
        """Return the sample's own mesh, or the surface of all samples."""
        return raw_mesh(self.tensors["vertices"], self.tensors["faces"]) if shared is None else shared

    @property
    def fields(self) -> dict[str, Tensor]:
        """The fields that came in, by name."""
        return {name[6:]: value for name, value in self.tensors.items() if name.startswith("field.")}


def error_of(answer: Float[Tensor, "n k"], truth: Tensor, share: Float[Tensor, " n"], card: Card) -> float:
    """Return how bad the answer to a sample is, by which samples are ranked.

    It is the share of the area (or, of one answer, the probability) that is not the true class, or the root
    mean square error of numbers in units of their standard deviation; NaN where nothing is known.
    """
    if not card.is_classes:
        std = torch.tensor(card.std, dtype=torch.float64)
        squares = ((answer.double() - truth) / std).square().mean(1)
        return float((squares * share / share.sum()).sum().sqrt())
    known = truth >= 0
    place = truth.clamp_min(0)
    right = (answer.argmax(1) == place).double() if card.per_point else answer.gather(1, place[:, None])[:, 0]
    weight = share.double() * known
    return 1 - float((right * weight).sum() / weight.sum())


def chosen(errors: Float64[Tensor, " n"], most: int = MOST_EXAMPLES) -> tuple[list[int], list[int]]:
    """Return the numbers of the worst samples, and of others around the median; all are worst where few.

    >>> chosen(torch.tensor([0.1, 0.9, 0.3, 0.2, 0.8, 0.0, 0.4]).double(), 4)
    ([1, 4], [6, 2])
    """
    order = errors.nan_to_num(-1).argsort(descending=True, stable=True).tolist()
    if len(order) <= most:
        return order, []
    worst, median = most - most // 2, most // 2
    first = max(worst, len(order) // 2 - median // 2)
    return order[:worst], order[first : first + median]


def caption_of(answer: Float[Tensor, "n k"], truth: Tensor, error: float, card: Card) -> str:
    """Return what is true and what was answered, or how well the points were answered."""
    if card.per_point:
        if error != error:
            return "nothing known"
        return (
            f"{per_cent(1 - error)} of the area right"
            if card.is_classes
            else f"error {error:.3g} standard deviations"
        )
    known = card.classes[int(truth[0])] if card.is_classes else numbers_text(truth[0], card)
    return f"true: {known}\nanswer: {answer_text(answer[0], card)}"


def stored(
    answer: Float[Tensor, "n k"], truth: Tensor, sample: Mapping[str, Tensor], card: Card
) -> dict[str, Tensor]:
    """Return the tensors of an example from those of its sample, small enough to keep."""
    result = {name: value.float() for name, value in sample.items() if name.startswith("field.")}
    if "vertices" in sample:
        vertices = sample["vertices"].double()
        result |= {"vertices": (vertices - vertices.mean(0)).float(), "faces": sample["faces"].int()}
    if card.is_classes:
        best, place = answer.max(1)
        return result | {"truth": truth.int(), "answer": place.int(), "probability": best.float()}
    return result | {"truth": truth.float(), "answer": answer.float()}


def save_examples(examples: Sequence[Example], folder: Path) -> None:
    """Write the examples of a run into its folder."""
    tensors = {
        f"{k}.{name}": value.contiguous().clone()
        for k, example in enumerate(examples)
        for name, value in example.tensors.items()
    }
    described = [{"name": e.name, "rank": e.rank, "caption": e.caption} for e in examples]
    write_safetensors(tensors, folder / EXAMPLES, {"format": FORMAT, "examples": json.dumps(described)})


def load_examples(folder: Path) -> list[Example]:
    """Read the examples of a run. Raises CheckpointError where there are none, or their file is damaged."""
    from safetensors import SafetensorError, safe_open

    file = folder / EXAMPLES
    try:
        with safe_open(file, "pt") as opened:
            described: list[dict[str, Any]] = json.loads(opened.metadata()["examples"])
            tensors: list[dict[str, Tensor]] = [{} for _ in described]
            for key in opened.keys():
                k, name = key.split(".", 1)
                tensors[int(k)][name] = opened.get_tensor(key)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{file} cannot be read ({error}); geocnn train FOLDER --run {folder} --resume writes it anew"
        ) from error
    return [Example(**one, tensors=own) for one, own in zip(described, tensors, strict=True)]


def title_of(examples: Sequence[Example], total: int) -> str:
    """Return which test samples are shown."""
    if len(examples) == total:
        return f"all {total} test samples, the worst first" if total > 1 else "the test sample"
    median = sum(example.rank == "median" for example in examples)
    then = f", then {median} around the median" if median else ""
    return f"the {len(examples) - median} worst of {total:,} test samples{then}"


def examples_figure(card: Card, examples: Sequence[Example], total: int, shared: Surface | None) -> Figure:
    """Draw test samples: truth above and answer below where answers are per point, else with both above each.

    `total` is the number of test samples, `shared` the surface of all of them, where there is one.
    """
    from geocnn import viz

    if not card.per_point:
        panels = []
        for example in examples:
            name, field = input_field(example.fields)
            panels.append(
                viz.Panel(example.surface(shared), field, f"{example.name}\n{example.caption}", name)
            )
        return viz.sheet(panels, title_of(examples, total))
    shown = fewer(examples, 4)
    surfaces = [example.surface(shared) for example in shown]
    rows: list[Panel] = []
    names = ["class"] if card.is_classes else list(card.target[:2])
    for k, name in enumerate(names):
        of = "" if len(names) == 1 else f" {name}"
        for what, place in (("truth", 0), ("answer", 1)):
            for surface, example in zip(surfaces, shown, strict=True):
                field = pair_of_fields(example, card, k)[place]
                caption = f"{example.name}\ntrue{of}" if place == 0 else f"{what}{of}\n{example.caption}"
                rows.append(viz.Panel(surface, field, caption, name))
    return viz.sheet(rows, f"truth above, answer below: {title_of(shown, total)}", len(shown))


def fewer(examples: Sequence[Example], most: int) -> list[Example]:
    """Return at most so many examples, as many of the worst as of the median."""
    median = [example for example in examples if example.rank == "median"]
    worst = [example for example in examples if example.rank != "median"]
    half = min(len(median), most // 2)
    return worst[: most - half] + median[:half]


def pair_of_fields(example: Example, card: Card, k: int) -> tuple[Field, Field]:
    """Return what is true of the points and what was answered; where numbers are learnt, of the k-th."""
    from geocnn.viz import Field

    truth, answer = example.tensors["truth"], example.tensors["answer"]
    if card.is_classes:
        return Field(truth, "labels", classes=card.classes), Field(answer, "labels", classes=card.classes)
    return Field(truth[:, k], "scalar"), Field(answer[:, k], "scalar")


def write_answers(
    names: Sequence[str],
    answers: Sequence[Float[Tensor, "n k"]],
    truths: Sequence[Tensor],
    errors: Sequence[float],
    card: Card,
    file: Path,
) -> None:
    """Write a table with a row per test sample, the worst first: truth, answer, and how bad it is."""
    columns = ["file"]
    if card.per_point:
        columns += ["points"]
    elif card.is_classes:
        columns += ["truth", "answer", *(f"probability of {name}" for name in card.classes)]
    else:
        columns += [f"{what}{name}" for name in card.target for what in ("true ", "")]
    rows: list[list[object]] = []
    for k in sorted(range(len(names)), key=lambda k: -errors[k] if errors[k] == errors[k] else 1.0):
        cells: list[object] = [names[k]]
        if card.per_point:
            cells.append(len(truths[k]))
        elif card.is_classes:
            best = card.classes[int(answers[k][0].argmax())]
            cells += [card.classes[int(truths[k][0])], best, *(f"{p:.6g}" for p in answers[k][0].tolist())]
        else:
            both = zip(truths[k][0].tolist(), answers[k][0].tolist(), strict=True)
            cells += [f"{value:.6g}" for pair in both for value in pair]
        rows.append([*cells, f"{errors[k]:.6g}"])
    write_table(file, [*columns, "error"], rows)
