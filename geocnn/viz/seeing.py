"""What each pixel of a picture shows: the rows of values there, their weights, and how bright it is.

A picture of triangles is made by a depth buffer, so that parts that pass through one another hide the right
pixels, and a hundred thousand faces take about half a second. Each triangle is cut into the rows of the
picture it meets, and each row into pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from geocnn.lasting import one_thread
from geocnn.viz.skins import Skin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_AT_ONCE = 4_000_000
"""So many pixels of triangles are examined at once."""

MOST_PIXELS = 100_000_000
"""If triangles cover more, in layers one behind the other, the picture gets coarser: some ten seconds."""

SIDEWAYS = 1e-6
"""Twice the area, in pixels, below which a face is seen as a line."""


class Seen(NamedTuple):
    """A picture of h rows from the top, w columns, in which a pixel shows s rows of values, -1 for nothing.

    `extent` are left, right, bottom and top of the picture in the units of the view; `depth` is how near to
    the viewer each pixel is, -inf where there is nothing.
    """

    rows: Int64[Tensor, "h w s"]
    weights: Float[Tensor, "h w s"]
    shade: Float[Tensor, "h w"]
    depth: Float64[Tensor, "h w"]
    extent: tuple[float, float, float, float]


@one_thread()
def look(skin: Skin, view: Float64[Tensor, "3 3"], size: int = 800) -> Seen:
    """Return what is seen of a skin from far away; `view` has the rows right, up and towards the viewer.

    The longer side of the picture has `size` pixels. Faces are shaded by how squarely they look at the
    viewer, from either side; flat skins are not.
    """
    corners = skin.vertices[skin.faces] @ view.T
    low, high = corners.amin((0, 1)), corners.amax((0, 1))
    span = (high - low)[:2]
    step = float(span.amax().clamp_min(1e-300)) / size
    width, height = ((span / step).ceil().long() + 2).tolist()
    left, top = float(low[0]) - step, float(high[1]) + step
    at = torch.stack([(corners[..., 0] - left) / step, (top - corners[..., 1]) / step], -1)
    covered = float(_doubled_areas(at).abs().sum()) / 2
    if covered > MOST_PIXELS and size > 100:
        return look(skin, view, max(100, int(size * math.sqrt(MOST_PIXELS / covered))))
    depth, nearest = _nearest(at, corners[..., 2], height, width)
    shown = nearest >= 0
    face = nearest[shown]
    rows = torch.full((height * width, 3), -1)
    rows[shown] = skin.shows[face]
    weights = torch.zeros(height * width, 3, dtype=torch.float64)
    weights[shown] = _barycentric(at, face, shown.nonzero()[:, 0], width)
    shade = torch.ones(height * width, dtype=torch.float64)
    if not skin.flat:
        side = corners.roll(-1, 1) - corners
        normals = normalize(torch.linalg.cross(side[:, 0], side[:, 1], dim=-1), dim=1, eps=1e-300)
        shade[shown] = (0.55 + 0.45 * normals[:, 2].abs())[face]
    extent = (left, left + width * step, top - height * step, top)
    return Seen(
        rows.view(height, width, 3),
        weights.view(height, width, 3),
        shade.view(height, width),
        depth.view(height, width),
        extent,
    )


def show(axis: Axes, seen: Seen, colours: Float64[Tensor, "h w 3"]) -> None:
    """Draw what is seen in some colours, from 0 to 1, shaded; two by two pixels become their mean."""
    shown = (seen.rows[..., :1] >= 0).double()
    whole = torch.cat([colours * seen.shade[..., None] * shown, shown], -1).float().permute(2, 0, 1)[None]
    fine = avg_pool2d(whole, 2, ceil_mode=True, count_include_pad=False)[0].permute(1, 2, 0)
    opacity = fine[..., 3:]
    image = torch.cat([fine[..., :3] / opacity.clamp_min(1e-9), opacity], -1).clamp(0, 1)
    axis.imshow(image.numpy(), extent=seen.extent, interpolation="antialiased")
    axis.axis("off")
    axis.set_aspect("equal")


def _nearest(
    at: Float64[Tensor, "f 3 2"], depth: Float64[Tensor, "f 3"], height: int, width: int
) -> tuple[Float64[Tensor, " pixels"], Int64[Tensor, " pixels"]]:
    """Return the depth of each pixel, and the face that is nearest there, -1 for none."""
    row, face, first, count = _spans(at, height, width)
    # depth is an affine function of the place in the picture
    slope, level = _affine(at, depth)
    best = torch.full((height * width,), -math.inf, dtype=torch.float64)
    nearest = torch.full((height * width,), -1, dtype=torch.int64)
    ends = count.cumsum(0)
    start = 0
    while start < len(count):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(torch.searchsorted(ends, before + MOST_AT_ONCE, right=True)))
        part = slice(start, stop)
        span = torch.arange(start, stop).repeat_interleave(count[part])
        column = first[span] + torch.arange(len(span)) - (ends[span] - count[span] - before)
        pixel, here = row[span] * width + column, face[span]
        x, y = column.double() + 0.5, row[span].double() + 0.5
        z = level[here] + slope[here, 0] * x + slope[here, 1] * y
        nearer = best.scatter_reduce(0, pixel, z, "amax")
        wins = torch.where((z == nearer[pixel]) & (z > best[pixel]), here, -1)
        best = nearer
        new = torch.full_like(nearest, -1).scatter_reduce_(0, pixel, wins, "amax")
        nearest = torch.where(new >= 0, new, nearest)
        start = stop
    return best, nearest


def _spans(
    at: Float64[Tensor, "f 3 2"], height: int, width: int
) -> tuple[Int64[Tensor, " k"], Int64[Tensor, " k"], Int64[Tensor, " k"], Int64[Tensor, " k"]]:
    """Return the runs of pixels whose middles lie in faces: row, face, first column and number."""
    y = at[..., 1]
    top = (y.amin(1) - 0.5).ceil().clamp(0, height).long()
    rows = ((y.amax(1) - 0.5).ceil().clamp(0, height).long() - top).clamp_min(0)
    face = torch.arange(len(at)).repeat_interleave(rows)
    row = top[face] + torch.arange(len(face)) - (rows.cumsum(0) - rows)[face]
    middle = row.double() + 0.5
    low, high = torch.full_like(middle, math.inf), torch.full_like(middle, -math.inf)
    for k in range(3):
        a, b = at[:, k], at[:, (k + 1) % 3]
        # from the upper end to the lower: two faces find the same place on their common side
        swap = (a[:, 1] > b[:, 1])[:, None]
        a, b = torch.where(swap, b, a), torch.where(swap, a, b)
        slope = (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
        meets = (a[face, 1] <= middle) & (middle < b[face, 1])
        x = a[face, 0] + (middle - a[face, 1]) * slope[face]
        low = torch.where(meets, torch.minimum(low, x), low)
        high = torch.where(meets, torch.maximum(high, x), high)
    first = (low - 0.5).ceil().clamp(0, width).long()
    count = (high - 0.5).ceil().clamp(0, width).long() - first
    some = count > 0
    return row[some], face[some], first[some], count[some]


def _affine(
    at: Float64[Tensor, "f 3 2"], values: Float64[Tensor, "f 3"]
) -> tuple[Float64[Tensor, "f 2"], Float64[Tensor, " f"]]:
    """Return slope and value at the origin of the affine functions with these values at three places."""
    (x1, y1), (x2, y2) = ((at[:, k] - at[:, 0]).unbind(1) for k in (1, 2))
    z1, z2 = ((values[:, k] - values[:, 0]) for k in (1, 2))
    area = x1 * y2 - x2 * y1
    slope = torch.stack([z1 * y2 - z2 * y1, x1 * z2 - x2 * z1], 1) / area[:, None]
    # seen from the side a face is a line: no slope, the depth of its nearest corner
    sideways = (area.abs() < SIDEWAYS)[:, None]
    slope = torch.where(sideways, 0.0, slope)
    level = torch.where(sideways[:, 0], values.amax(1), values[:, 0] - (slope * at[:, 0]).sum(1))
    return slope, level


def _barycentric(
    at: Float64[Tensor, "f 3 2"], face: Int64[Tensor, " k"], pixel: Int64[Tensor, " k"], width: int
) -> Float64[Tensor, "k 3"]:
    """Return the weights of the corners of faces in the middles of pixels."""
    a, b, c = at.unbind(1)
    area = _doubled_areas(at)
    flat = area.abs() < SIDEWAYS
    x = (pixel % width).double() + 0.5 - a[face, 0]
    y = (pixel // width).double() + 0.5 - a[face, 1]
    to_b, to_c = (b - a)[face], (c - a)[face]
    second = (x * to_c[:, 1] - y * to_c[:, 0]) / area[face]
    third = (to_b[:, 0] * y - to_b[:, 1] * x) / area[face]
    weights = torch.stack([1 - second - third, second, third], 1)
    weights = torch.where(flat[face][:, None], 1 / 3, weights).clamp(0, 1)
    return weights / weights.sum(1, keepdim=True)


def _doubled_areas(at: Float64[Tensor, "f 3 2"]) -> Float64[Tensor, " f"]:
    return _cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0])


def _cross(a: Float64[Tensor, "*k 2"], b: Float64[Tensor, "*k 2"]) -> Float64[Tensor, "*k"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
