"""Triangle meshes, each face in the colour of its label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geocnn.viz.colours import INK, LABEL_COLOURS

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
    """Draw a page of triangle meshes, each face in the colour of its corners' label, with a legend.

    Args:
        meshes: n pairs of vertices [N, 3] and faces [F, 3]; seen from far along −z, with +y up and +x on the
            right. Faces wound counter-clockwise from outside are shown from outside.
        labels: n times [N] int64, places in `classes`; at most as many as LABEL_COLOURS.
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
        [Patch(color=colour) for colour, _ in zip(LABEL_COLOURS, classes, strict=False)], classes,
        loc="outside lower center", ncols=min(len(classes), max(2, 2 * columns)), frameon=False, fontsize=8,
    )  # fmt: skip
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure


def _draw_mesh(axis: Axes, vertices: Tensor, faces: Tensor, labels: Tensor) -> None:
    """The faces that look at the viewer, the farthest first, shaded by how squarely they do."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    a, b, c = (corners := vertices.double()[faces]).unbind(1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a, dim=-1), dim=1)
    shown = (normal[:, 2] > 0).nonzero()[:, 0]
    shown = shown[corners[shown, :, 2].mean(1).argsort()]
    # two corners that agree outvote the third
    first, second, third = labels[faces[shown]].unbind(1)
    label = torch.where(second == third, second, first)
    colours = torch.tensor([to_rgb(colour) for colour in LABEL_COLOURS], dtype=torch.float64)[label]
    colours = (colours * (0.45 + 0.55 * normal[shown, 2:])).numpy()
    # edges in the face's colour hide the seams between faces
    axis.add_collection(
        PolyCollection(
            list(corners[shown, :, :2].numpy()), facecolors=colours, edgecolors=colours, linewidths=0.2
        )
    )
    axis.autoscale_view()
    axis.set_aspect("equal")
