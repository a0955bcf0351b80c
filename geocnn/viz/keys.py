"""What colours mean: a colour bar for numbers, a legend for classes and for places without a value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from geocnn.viz.colours import LABEL_COLOURS, MISSING
from geocnn.viz.fields import ReadField, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMES = 40
"""So many classes are named in a legend."""


def colour_bar(figure: Figure, axes: Sequence[Axes], read: ReadField, label: str) -> None:
    """Draw the colour bar of numbers beside the axes that show them."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(*read.limits), read.colour_map)
    bar = figure.colorbar(scale, ax=list(axes), shrink=0.75, extend=read.beyond, aspect=25, pad=0.02)
    bar.set_label(label, parse_math=False)


def legend(figure: Figure, reads: Sequence[ReadField]) -> None:
    """Name the classes that occur below the picture, and count places without a value; the figure grows."""
    from matplotlib.patches import Patch

    names: dict[int, str] = {}
    for read in reads:
        if read.kind == "labels":
            names |= {label: read.class_name(label) for label in read.counts}
    keys = [
        Patch(color=LABEL_COLOURS[k % len(LABEL_COLOURS)], label=shortened(names[k]))
        for k in sorted(names)[:MOST_NAMES]
    ]
    if len(names) > MOST_NAMES:
        keys.append(Patch(color="none", label=f"and {len(names) - MOST_NAMES} more"))
    missing = sum(read.missing for read in reads)
    if missing:
        rows = sum(len(read.levels) for read in reads)
        keys.append(Patch(color=MISSING, label=f"no value ({missing:,} of {rows:,})"))
    if not keys:
        return
    most = max(len(str(key.get_label())) for key in keys)
    columns = max(1, min(len(keys), int(figure.get_figwidth() * 11 / (most + 5))))
    drawn = figure.legend(handles=keys, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    for text in drawn.get_texts():
        text.set_parse_math(False)
    figure.set_figheight(figure.get_figheight() + 0.18 * math.ceil(len(keys) / columns))
