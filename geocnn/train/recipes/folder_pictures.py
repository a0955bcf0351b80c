"""Pictures of answers: fields of answers per point, or surfaces with the answer to each above it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from geocnn.data.folders.card import Card
from geocnn.files import replacing
from geocnn.geometry import RawMesh, Surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from geocnn.viz import Field

MOST_SURFACES = 8
"""On a sheet."""

MOST_NUMBERS = 3
"""So many numbers of each surface are shown."""

NO_PICTURE = "no picture is drawn, because matplotlib is missing: pip install 'geocnn[plot]'"


def can_draw() -> bool:
    """Return whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def save_picture(figure: Figure, file: Path) -> None:
    """Write a picture, whole or not at all."""
    with replacing(file) as new:
        figure.savefig(new, format=file.suffix[1:], dpi=150)


def answer_fields(answers: Float[Tensor, "n k"], card: Card) -> dict[str, Field]:
    """Return the answers for points as fields by name: the class and its probability, or the numbers."""
    from geocnn.viz import Field

    if not card.is_classes:
        return {name: Field(answers[:, k], "scalar") for k, name in enumerate(card.target)}
    best, place = answers.max(-1)
    return {
        "answer": Field(place, "labels", classes=card.classes),
        "probability": Field(best, "scalar", limits=(0.0, 1.0)),
    }


def input_field(fields: Mapping[str, Tensor]) -> tuple[str, Field | None]:
    """Return the name and the first channel of the first field [N, channels] that came in; vectors whole."""
    from geocnn.viz import Field

    for name, value in fields.items():
        return name, Field(value, "vector") if value.shape[1] == 3 else Field(value[:, 0], "scalar")
    return "", None


def answer_text(answer: Float[Tensor, " k"], card: Card) -> str:
    """Return the answer to a surface in few words: the class and its probability, or the numbers."""
    if card.is_classes:
        return f"{card.classes[int(answer.argmax())]} ({float(answer.max()):.2f})"
    return numbers_text(answer, card)


def numbers_text(numbers: Float[Tensor, " k"], card: Card) -> str:
    """Return numbers with their names, the first few of many."""
    named = zip(card.target, numbers.tolist(), strict=True)
    shown = [f"{name} {value:.4g}" for name, value in named][:MOST_NUMBERS]
    return ", ".join(shown) + (", …" if len(card.target) > MOST_NUMBERS else "")


def answers_figure(
    card: Card,
    names: Sequence[str],
    surfaces: Sequence[Surface | RawMesh],
    fields: Sequence[Mapping[str, Tensor]],
    answers: Sequence[Float[Tensor, "n k"]],
) -> Figure:
    """Draw the answers to some surfaces: one large, more of them on a sheet of the first few.

    Args:
        names, surfaces: one per sample.
        fields: those that came in by name, [N, channels]; shown where the answer is one per surface.
        answers: [N, k] per point, or [1, k] per surface: probabilities, or numbers in their own units.
    """
    from geocnn import viz

    count = min(len(names), MOST_SURFACES)
    title = "" if count == len(names) else f"the first {count} of {len(names):,}"
    if not card.per_point:
        panels = []
        for name, surface, own, answer in zip(names, surfaces, fields, answers, strict=True):
            shown, field = input_field(own)
            panels.append(viz.Panel(surface, field, f"{name}\n{answer_text(answer[0], card)}", shown))
        return viz.sheet(panels[:count], title)
    each = [
        {name: field for name, field in answer_fields(own, card).items() if name != "probability"}
        if card.is_classes
        else dict(list(answer_fields(own, card).items())[:MOST_NUMBERS])
        for own in answers[:count]
    ]
    if len(names) == 1 and len(each[0]) == 1:
        ((name, field),) = each[0].items()
        return viz.field(surfaces[0], field, f"{names[0]}: {name}")
    if len(each[0]) == 1:
        panels = [
            viz.Panel(surface, field, caption, name)
            for caption, surface, own in zip(names, surfaces, each, strict=False)
            for name, field in own.items()
        ]
        return viz.sheet(panels, title)
    # several numbers: a row each, so that fewer samples fit
    columns = min(count, 4)
    panels = [
        viz.Panel(surfaces[k], each[k][name], f"{names[k]}\n{name}", name)
        for name in each[0]
        for k in range(columns)
    ]
    title = "" if columns == len(names) else f"the first {columns} of {len(names):,}"
    return viz.sheet(panels, title, columns)
