"""HEALPix maps as spheres, seen from far outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from geocnn.geometry.spheres.healpix_maps import check_map
from geocnn.geometry.spheres.pixels import vector_to_pixel
from geocnn.viz.colours import INK, RIGHT, WRONG

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def orthographic(values: Tensor, centre: Tensor, size: int = 240) -> tuple[Tensor, Tensor]:
    """Draw a HEALPix map (ring order), seen from far outside, around `centre`; north is up, east right.

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
    """Draw a page of spheres, one HEALPix map each, turned to its centre, with graticule and north pole.

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
    for line in graticule():
        x, y, depth = (frame @ line).numpy()
        axis.plot(np.where(depth > 0, x, np.nan), y, color="white", alpha=0.22, linewidth=0.5)
    x, y, depth = (float(part) for part in frame[:, 2])
    axis.plot(
        [x], [y], "o", color=WRONG, markersize=3.5, fillstyle="full" if depth >= 0 else "none", clip_on=False
    )
    axis.set_xlim(-1.06, 1.06)
    axis.set_ylim(-1.06, 1.06)
    axis.set_aspect("equal")


def graticule() -> list[Tensor]:
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
