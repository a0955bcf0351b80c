"""Pictures. Every function returns a matplotlib Figure for the caller to save; matplotlib is imported inside.

Figures are made without pyplot, so nothing depends on a display or on global state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from geocnn.errors import GeocnnError
from geocnn.geometry.spheres.healpix_maps import check_map
from geocnn.geometry.spheres.pixels import vector_to_pixel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RIGHT, WRONG, INK, FAINT = "#1a7f5a", "#c4372b", "#22252b", "#8a8f98"
TRAINING_COLOURS = ("#2b5fa8", "#d9822b", "#8a8f98", "#1a7f5a")
LABEL_COLOURS = ("#e0a030", "#3d6fb6", "#58a05c", "#b9c94a", "#c4372b", "#7b5ea7", "#46b0b8", "#d97ba6")
"""Of the labels 0 to 7."""


def orthographic(values: Tensor, centre: Tensor, size: int = 240) -> tuple[Tensor, Tensor]:
    """A HEALPix map (ring order) seen from far outside, looking at `centre`; north is up, east on the right.

    Args:
        values: [npix].
        centre: [3], the direction in the middle of the picture, of any length; at a pole, +y is on the right.
        size: pixels of the square picture.

    Returns:
        picture [size, size], first row on top, NaN beside the sphere; points [size, size, 3], the direction
        each picture pixel shows.

    >>> picture, points = orthographic(torch.arange(12.0), torch.tensor([1.0, 0.0, 0.0]), size=3)
    >>> float(picture[1, 1]), points[1, 2].round(decimals=3).tolist()
    (4.0, [0.745, 0.667, 0.0])
    """
    nside = check_map(values)
    right, up, towards = _screen_frame(centre)
    step = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
    v, u = torch.meshgrid(-step, step, indexing="ij")
    depth2 = 1 - u**2 - v**2
    depth = depth2.clamp(min=0).sqrt()
    points = u.unsqueeze(-1) * right + v.unsqueeze(-1) * up + depth.unsqueeze(-1) * towards
    picture = values.to(torch.float64)[vector_to_pixel(nside, points)]
    return picture.masked_fill(depth2 <= 0, math.nan), points


def sphere_page(
    maps: Tensor,
    titles: Sequence[str],
    centres: Tensor,
    wrong: Sequence[bool] | None = None,
    title: str = "",
    columns: int = 4,
) -> Figure:
    """A page of spheres, one HEALPix map each, turned to its centre, with graticule and north pole.

    Args:
        maps: [n, npix], ring order.
        titles: n captions.
        centres: [n, 3] the direction each sphere is seen from.
        wrong: marks captions in red (True) or green (False); None leaves them black.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(maps))
    rows = math.ceil(len(maps) / columns)
    figure = Figure(figsize=(2.15 * columns, 2.4 * rows + (0.4 if title else 0.0)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    low, high = float(maps.min()), float(maps.max())
    for k, axis in enumerate(axes):
        axis.axis("off")
        if k < len(maps):
            _draw_sphere(axis, maps[k], centres[k].to(torch.float64), low, high)
            colour = INK if wrong is None else WRONG if wrong[k] else RIGHT
            mark = "" if wrong is None else "✗ " if wrong[k] else "✓ "
            axis.set_title(mark + titles[k], color=colour, fontsize=10, pad=3)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure


def confusion(
    predicted: Tensor, truth: Tensor, classes: Sequence[str], title: str = "", weights: Tensor | None = None
) -> Figure:
    """The confusion matrix: rows are the truth, columns the answer; counts, shaded by share of the row.

    With weights (areas, say) [n] of the answers, each field tells the weight's share of its row in per cent.
    """
    from matplotlib.figure import Figure

    n = len(classes)
    counts = torch.bincount(truth * n + predicted, weights, minlength=n * n).reshape(n, n)
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1e-12)).numpy()
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    axis = figure.subplots()
    # The square root shows the few errors beside the many hits.
    axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts.numpy()):
        if count:
            axis.text(
                column, row, str(count) if weights is None else f"{100 * share[row, column]:.1f}",
                ha="center", va="center", fontsize=8,
                color="white" if share[row, column] > 0.35 else INK,
            )  # fmt: skip
    axis.set_xticks(range(n), classes, rotation=0 if max(map(len, classes)) < 4 else 30)
    axis.set_yticks(range(n), classes)
    axis.tick_params(length=0)
    axis.set_xlabel("answer")
    axis.set_ylabel("truth" if weights is None else "truth (% of its weight)")
    accuracy = 100 * float(counts.diagonal().sum() / counts.sum())
    axis.set_title(f"{title}\n{accuracy:.2f} % right".strip(), fontsize=10, color=INK)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def curves(trainings: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Training curves: loss (training faint, validation strong) and validation error over the steps.

    Args:
        trainings: name: rows with "step" and any of "train_loss", "val_loss", "val_accuracy".
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, (name, rows) in enumerate(trainings.items()):
        colour = TRAINING_COLOURS[k % len(TRAINING_COLOURS)]
        left.plot(*_series(rows, "train_loss"), color=colour, alpha=0.3, linewidth=0.8)
        steps, loss = _series(rows, "val_loss")
        left.plot(steps, loss, "o-", color=colour, label=name, markersize=3, linewidth=1.4)
        steps, accuracy = _series(rows, "val_accuracy")
        error = [100 * (1 - value) for value in accuracy]
        right.plot(steps, error, "o-", color=colour, label=name, markersize=3, linewidth=1.4)
    for axis, label in ((left, "loss (faint: training)"), (right, "validation error, %")):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("step")
        axis.set_title(label, fontsize=10, loc="left", color=INK)
        axis.grid(which="both", alpha=0.2, linewidth=0.5)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    right.legend(frameon=False, fontsize=9)
    return figure


def mesh_page(
    meshes: Sequence[tuple[Tensor, Tensor]],
    labels: Sequence[Tensor],
    classes: Sequence[str],
    titles: Sequence[str],
    title: str = "",
    columns: int = 6,
) -> Figure:
    """A page of triangle meshes, each face in the colour of its corners' label, with a legend.

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


def mollweide(values: Tensor, title: str = "", nested: bool = False) -> Figure:
    """The whole HEALPix map in Mollweide projection, east on the right, drawn by healpy (an optional extra).

    Raises:
        GeocnnError: healpy is not installed.
        MapError: not a HEALPix map.
    """
    try:
        import healpy
        from healpy.projector import MollweideProj
    except ImportError as error:
        raise GeocnnError("the Mollweide picture needs healpy: pip install 'geocnn[healpy]'") from error
    from matplotlib.figure import Figure

    check_map(values)
    projector = MollweideProj(xsize=900, flipconv="geo")
    nside = healpy.npix2nside(len(values))
    pixel_of = partial(healpy.vec2pix, nside, nest=nested)
    picture = projector.projmap(values.double().numpy(), pixel_of)
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(
        np.where(np.isfinite(picture), picture, np.nan),
        extent=projector.get_extent(),
        origin="lower",
        cmap="viridis",
    )
    axis.axis("off")
    axis.set_title(title, fontsize=11, color=INK)
    figure.colorbar(shown, ax=axis, orientation="horizontal", shrink=0.5, pad=0.03)
    return figure


def _screen_frame(centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Right, up and towards the viewer: a right-handed frame, so with north up, east is on the right."""
    towards = torch.nn.functional.normalize(centre.to(torch.float64), dim=0)
    north = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    right = torch.linalg.cross(north, towards, dim=0)
    if right.norm() < 1e-6:
        right = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    right = torch.nn.functional.normalize(right, dim=0)
    return right, torch.linalg.cross(towards, right, dim=0), towards


def _draw_sphere(axis: Axes, values: Tensor, centre: Tensor, low: float, high: float) -> None:
    """One shaded sphere with a graticule of 30 degrees; a red dot is the north pole, hollow when behind."""
    from matplotlib import colormaps

    picture, points = orthographic(values, centre)
    frame = torch.stack(_screen_frame(centre))
    shade = 0.62 + 0.38 * (points @ frame[2]).clamp(min=0).sqrt()
    level = ((picture - low) / max(high - low, 1e-12)).nan_to_num(0)
    colour = torch.from_numpy(colormaps["cividis"](level.numpy())[..., :3]) * shade.unsqueeze(-1)
    image = torch.cat([colour.clamp(0, 1), (~picture.isnan()).double().unsqueeze(-1)], dim=-1)
    axis.imshow(image.numpy(), extent=(-1, 1, -1, 1), interpolation="bilinear")
    for line in _graticule():
        x, y, depth = (frame @ line).numpy()
        axis.plot(np.where(depth > 0, x, np.nan), y, color="white", alpha=0.22, linewidth=0.5)
    x, y, depth = (float(part) for part in frame[:, 2])
    axis.plot(
        [x], [y], "o", color=WRONG, markersize=3.5, fillstyle="full" if depth >= 0 else "none", clip_on=False
    )
    axis.set_xlim(-1.06, 1.06)
    axis.set_ylim(-1.06, 1.06)
    axis.set_aspect("equal")


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


def _graticule() -> list[Tensor]:
    """Meridians and parallels every 30 degrees, each [3, K]."""
    turn = torch.linspace(0, 2 * torch.pi, 121, dtype=torch.float64)
    half = torch.linspace(-torch.pi / 2, torch.pi / 2, 61, dtype=torch.float64)
    lines: list[Tensor] = []
    for k in range(12):
        longitude = torch.tensor(k * torch.pi / 6, dtype=torch.float64)
        lines.append(torch.stack([half.cos() * longitude.cos(), half.cos() * longitude.sin(), half.sin()]))
    for k in range(-2, 3):
        latitude = torch.tensor(k * torch.pi / 6, dtype=torch.float64)
        lines.append(
            torch.stack(
                [latitude.cos() * turn.cos(), latitude.cos() * turn.sin(), latitude.sin().expand_as(turn)]
            )
        )
    return lines


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    chosen = [row for row in rows if name in row]
    return [row["step"] for row in chosen], [row[name] for row in chosen]
