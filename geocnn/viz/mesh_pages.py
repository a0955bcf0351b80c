"""Pages of triangle meshes in the colours of their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geocnn.geometry import raw_mesh
from geocnn.viz.colours import INK, LABEL_COLOURS
from geocnn.viz.fields import Field, blended, read_field
from geocnn.viz.seeing import look, show
from geocnn.viz.skins import skin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def mesh_page(
    meshes: Sequence[tuple[Tensor, Tensor]],
    labels: Sequence[Tensor],
    classes: Sequence[str],
    titles: Sequence[str],
    title: str = "",
    columns: int = 6,
) -> Figure:
    """Draw a page of triangle meshes in the colours of their vertices' labels, with a legend.

    Args:
        meshes: n pairs of vertices [N, 3] and faces [F, 3]; seen from far along −z, with +y up and +x on the
            right.
        labels: n times [N] int64, places in `classes`.
        titles: n captions.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = min(columns, len(meshes))
    rows = math.ceil(len(meshes) / columns)
    figure = Figure(figsize=(1.8 * columns + 0.6, 2.5 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for k, axis in enumerate(axes):
        axis.axis("off")
        if k < len(meshes):
            _draw_mesh(axis, *meshes[k], labels[k])
            axis.set_title(titles[k], color=INK, fontsize=9, pad=2)
    figure.legend(
        [Patch(color=LABEL_COLOURS[k % len(LABEL_COLOURS)]) for k in range(len(classes))], classes,
        loc="outside lower center", ncols=min(len(classes), max(2, 2 * columns)), frameon=False, fontsize=8,
    )  # fmt: skip
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure


def _draw_mesh(axis: Axes, vertices: Tensor, faces: Tensor, labels: Tensor) -> None:
    """Draw a mesh from +z; each place has the colour of the nearest corner's label."""
    seen = look(skin(raw_mesh(vertices, faces)), torch.eye(3, dtype=torch.float64), 500)
    read = read_field(Field(labels, kind="labels"))
    show(axis, seen, read.colours(blended(read.levels, seen.rows, seen.weights, "labels")))
