"""Several surfaces on one sheet, each with its field and its caption, with one key for fields of one name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from geocnn.errors import GeometryError
from geocnn.geometry import RawMesh, Surface
from geocnn.viz.colours import INK
from geocnn.viz.field_pictures import Up, draw_sky, is_sky, sides, view_colours
from geocnn.viz.fields import Field, ReadField, read_field, shortened
from geocnn.viz.keys import colour_bar, legend
from geocnn.viz.seeing import look, show
from geocnn.viz.skins import Skin, in_memory, skin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST_CAPTION = 34
"""Characters of a line of a caption."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One surface of a sheet.

    Attributes:
        surface: what `viz.field` draws.
        field: the values on it; None draws the shape alone. Vectors are shown by their sizes.
        caption: the lines above it.
        name: of the field; panels of one name share limits and a colour bar.
    """

    surface: Surface | RawMesh
    field: Field | None = None
    caption: str = ""
    name: str = ""


def sheet(panels: Sequence[Panel], title: str = "", columns: int = 4, up: Up = "y") -> Figure:
    """Draw several surfaces in one figure, row by row.

    Each is seen from one side; HEALPix maps and ring grids are drawn whole. Numbers of one name share a
    colour bar. All labels share one legend, so the labels of a sheet belong to the same classes. A surface
    that several panels show is prepared once.

    Args:
        panels: at least one.
        title: of the sheet.
        columns: surfaces beside one another, at most.
        up: the axis of space that points up.

    Raises:
        GeometryError: there is no panel, or `field` refuses one.

    >>> from geocnn.geometry import icosphere
    >>> ball = icosphere(2)
    >>> figure = sheet([Panel(ball, Field(ball.points[:, k]), "xyz"[k], "place") for k in range(3)])
    >>> [axis.get_title() for axis in figure.axes]
    ['x', 'y', 'z', '']
    """
    from matplotlib.figure import Figure

    if not panels:
        raise GeometryError("a sheet has at least one panel")
    reads = _read(panels)
    sky = is_sky(panels[0].surface)
    width, height = (3.6, 2.1) if sky else (2.5, 2.7)
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(width * columns + 0.9, height * rows + 0.5), layout="constrained")
    axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).ravel())
    skins: dict[tuple[int, int | None], Skin] = {}
    for axis in axes:
        axis.axis("off")
    for axis, panel, read in zip(axes, panels, reads, strict=False):
        lines = [shortened(line, WIDEST_CAPTION) for line in panel.caption.splitlines()]
        axis.set_title("\n".join(lines), fontsize=8, color=INK, pad=3, parse_math=False)
        if is_sky(panel.surface):
            draw_sky(axis, panel.surface, read, 700)
            continue
        key = (id(panel.surface), None if read is None else len(read.levels))
        shown = skins[key] if key in skins else skin(in_memory(panel.surface), key[1])
        skins[key] = shown
        seen = look(shown, sides(shown, up)[0], 500)
        show(axis, seen, view_colours(seen, read))
    for name in dict.fromkeys(panel.name for panel in panels):
        own = [k for k, panel in enumerate(panels) if panel.name == name]
        numbers = [(k, read) for k in own if (read := reads[k]) is not None and read.kind != "labels"]
        if numbers:
            unit = f"({numbers[0][1].unit})" if numbers[0][1].unit else ""
            colour_bar(figure, [axes[k] for k, _ in numbers], numbers[0][1], f"{name} {unit}".strip())
    legend(figure, [read for read in reads if read is not None])
    figure.suptitle(title, fontsize=11, color=INK, parse_math=False)
    return figure


def _read(panels: Sequence[Panel]) -> list[ReadField | None]:
    """Return the fields of panels; numbers of one name have one pair of limits."""
    reads = [None if p.field is None else read_field(p.field, p.name or "values") for p in panels]
    for name in dict.fromkeys(panel.name for panel in panels):
        own = {
            k: read
            for k, (panel, read) in enumerate(zip(panels, reads, strict=True))
            if read is not None and read.kind != "labels" and panel.name == name
        }
        given = [field.limits for k in own if (field := panels[k].field) is not None and field.limits]
        if not own:
            continue
        kind = next(iter(own.values())).kind
        levels = torch.cat([read.levels for read in own.values()])
        low, high = given[0] if given else read_field(Field(levels, "scalar"), name or "values").limits
        limits = (0.0, high) if kind == "vector" and not given else (low, high)
        for k, read in own.items():
            reads[k] = dataclasses.replace(read, limits=limits)
    return reads
