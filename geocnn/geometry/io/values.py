"""VertexValues are values of vertices from a separate file beside the mesh."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from geocnn.errors import GeometryError
from geocnn.geometry.io.raw import Attributes

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, each from 0 to 1."""

Colours = Mapping[int, Sequence[float] | str] | Sequence[Sequence[float] | str]
"""Colours of labels by number: three or four numbers from 0 to 1, or #rrggbb."""


@dataclass(frozen=True, eq=False)
class VertexValues:
    """Values [N, …] by name, one row per vertex; the names and the colours of labels by number."""

    values: Attributes
    names: dict[int, str] = field(default_factory=dict)
    colours: dict[int, Colour] = field(default_factory=dict)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in self.values.items())
        return f"VertexValues({shapes})"


def with_every_label(values: VertexValues, labels: np.ndarray) -> tuple[dict[int, str], dict[int, Colour]]:
    """Return names and colours of the named labels and of all that occur; those that lack one get one."""
    keys = sorted({*values.names, *values.colours, *np.unique(labels).tolist()})
    names = {key: values.names.get(key, "none" if key < 0 else f"label {key}") for key in keys}
    return names, {key: values.colours.get(key, _own_colour(key)) for key in keys}


def _own_colour(label: int) -> Colour:
    """Return a colour unlike those of the labels nearby; negative labels mean none and are transparent."""
    if label < 0:
        return 0.5, 0.5, 0.5, 0.0
    # steps of irrational length never come back to where they were
    hue, saturation, value = (label * step % 1 for step in (0.6180339887, 0.7548776662, 0.5698402910))
    return *colorsys.hsv_to_rgb(hue, 0.9 - 0.4 * saturation, 0.95 - 0.35 * value), 1.0


def numbered(items: Mapping | Sequence | None) -> dict:
    """Return items by number; those of a sequence are numbered from 0."""
    if items is None:
        return {}
    return dict(items) if isinstance(items, Mapping) else dict(enumerate(items))


def as_colour(label: int, colour: Sequence[float] | str) -> Colour:
    """Return a colour as four numbers. Raises GeometryError for anything else.

    >>> as_colour(0, "#ff0000"), as_colour(1, (0, 0.5, 1))
    ((1.0, 0.0, 0.0, 1.0), (0.0, 0.5, 1.0, 1.0))
    """
    try:
        if isinstance(colour, str):
            found = re.fullmatch("#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", colour.lower())
            parts = [int(part, 16) / 255 for part in found.groups()] if found else []
        else:
            parts = [float(part) for part in colour]
    except (TypeError, ValueError):
        parts = []
    if len(parts) not in (3, 4) or not all(0 <= part <= 1 for part in parts):
        raise GeometryError(
            f"the colour of label {label} is {colour!r}: give red, green, blue from 0 to 1, or '#rrggbb'"
        )
    red, green, blue, *rest = parts
    return red, green, blue, rest[0] if rest else 1.0
