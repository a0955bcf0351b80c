"""A surface in space with lines and arrows on it, painted from back to front on a matplotlib axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Lines(NamedTuple):
    """K segments on a surface: ends [K, 2, 3], its normals there [K, 3], colour, width in points."""

    ends: Tensor
    normals: Tensor
    colour: str
    width: float = 1.0


def oblique(turn: float, down: float = 0.35) -> Tensor:
    """Right, up and towards the viewer, rows, for one who looks down by `down`, turned about +y, in radians.

    >>> oblique(0.0, 0.0)[2].tolist()
    [0.0, 0.0, 1.0]
    """
    c, s = math.cos(turn), math.sin(turn)
    right = torch.tensor([c, 0, -s], dtype=torch.float64)
    towards = torch.tensor([s * math.cos(down), math.sin(down), c * math.cos(down)], dtype=torch.float64)
    return torch.stack([right, torch.linalg.cross(towards, right, dim=0), towards])


def arrows(points: Tensor, vectors: Tensor, normals: Tensor, colour: str, width: float = 1.0) -> Lines:
    """Arrows along vectors [K, 3] at points [K, 3], their heads in the tangent planes."""
    tip, aside = points + vectors, torch.linalg.cross(normals, vectors, dim=1)
    barbs = [tip - 0.32 * vectors + 0.18 * side for side in (aside, -aside)]
    ends = torch.stack([torch.stack([tip, start], 1) for start in (points, *barbs)], 1)
    return Lines(ends.flatten(0, 1), normals.repeat_interleave(3, 0), colour, width)


def polyline(points: Tensor, normals: Tensor, colour: str, width: float = 1.0) -> Lines:
    """Draw lines through points [..., K, 3] in their order, with the normals [..., K, 3] there."""
    ends = torch.stack([points[..., :-1, :], points[..., 1:, :]], -2)
    return Lines(ends.reshape(-1, 2, 3), normals[..., :-1, :].reshape(-1, 3), colour, width)


def subdivided(corners: Tensor, values: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Cut faces into n² alike: corners [F, 3, 3] -> [F · n², 3, 3], and values at the corners [F, 3],
    complex perhaps, interpolated in the middle of each part [F · n²].

    >>> corners, values = torch.eye(3)[None], torch.tensor([[0.0, 3.0, 6.0]])
    >>> subdivided(corners, values, 1)[1], len(subdivided(corners, values, 4)[0])
    (tensor([3.]), 16)
    """
    at = torch.stack(torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij"), -1)
    # parts that lie like the face, and those that lie upside down between them
    upright, over = at[at.sum(-1) < n], at[at.sum(-1) < n - 1] + 1
    step = torch.tensor([[0, 0], [1, 0], [0, 1]])
    grid = torch.cat([upright[:, None] + step, over[:, None] - step]).to(corners) / n
    share = torch.cat([1 - grid.sum(-1, keepdim=True), grid], -1)
    parts = torch.einsum("sbc,fcd->fsbd", share, corners).flatten(0, 1)
    return parts, torch.einsum("sc,fc->fs", share.mean(1).to(values), values).flatten()


def paint(axis: Axes, view: Tensor, corners: Tensor, colours: Tensor, lines: Sequence[Lines] = ()) -> None:
    """Faces with corners [F, 3, 3] in colours [F, 3], shaded by how squarely they look at the viewer, and
    lines on them.

    `view` is as `oblique` gives it. What lies nearer hides what lies farther; lines where the surface turns
    away are left out.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    axis.axis("off")
    axis.set_aspect("equal")
    visible = corners @ view.T
    side = visible.roll(-1, 1) - visible
    normal = normalize(torch.linalg.cross(side[:, 0], side[:, 1], dim=-1), dim=1)
    shades = colours * (0.55 + 0.45 * normal[:, 2:].abs())
    # a line lies before the face it is on, whose middle may be nearer to the viewer by less than a side
    lift = float(side.norm(dim=-1).amax(1).mean()) / 2
    shapes, depth, colour = list(visible[..., :2].numpy()), [visible[..., 2].mean(1)], [shades]
    width = [torch.full((len(visible),), 0.3)]
    for each in lines:
        ends = (each.ends @ view.T)[each.normals @ view[2] > 0.1]
        shapes += list(ends[..., :2].numpy())
        depth.append(ends[..., 2].mean(1) + lift)
        colour.append(torch.tensor([to_rgb(each.colour)], dtype=torch.float64).expand(len(ends), 3))
        width.append(torch.full((len(ends),), each.width))
    order = torch.cat(depth).argsort()
    # edges in the face's colour hide the seams between faces
    painted, widths = torch.cat(colour)[order].clamp(0, 1).numpy(), torch.cat(width)[order].numpy()
    axis.add_collection(
        PolyCollection(
            [shapes[k] for k in order.tolist()],
            facecolors=painted,
            edgecolors=painted,
            linewidths=widths,
            joinstyle="round",
        )
    )
    axis.autoscale_view()
