"""The whole sphere in one flat picture, by the equal-area projection of Mollweide 1805, east on the right.

The point of longitude λ and latitude φ lies at x = 2√2/π λ cos t, y = √2 sin t with 2t + sin 2t = π sin φ.
The picture is the ellipse x²/8 + y²/2 ≤ 1.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from geocnn.geometry.spheres.pixels import vector_to_pixel
from geocnn.geometry.spheres.surfaces import HealpixGrid, Sphere
from geocnn.viz.seeing import Seen

EXTENT = (-2 * math.sqrt(2), 2 * math.sqrt(2), -math.sqrt(2), math.sqrt(2))


def see_whole(sphere: Sphere, size: int = 1400) -> Seen:
    """Return which point of a sphere each pixel of its Mollweide picture shows, `size` pixels wide.

    A HEALPix pixel is shown as it is; on a ring grid each place shows the point that counts most there.
    """
    height = size // 2
    x = (torch.arange(size, dtype=torch.float64) + 0.5) * (2 * EXTENT[1] / size) + EXTENT[0]
    y = EXTENT[3] - (torch.arange(height, dtype=torch.float64) + 0.5) * (2 * EXTENT[3] / height)
    directions, inside = unprojected(*torch.meshgrid(x, y, indexing="xy"))
    rows = torch.full((height, size), -1, dtype=torch.int64)
    grid = sphere.grid
    if isinstance(grid, HealpixGrid):
        rows[inside] = vector_to_pixel(grid.nside, directions[inside], nested=grid.nested)
    else:
        source, weight = grid.interpolate(directions[inside])
        rows[inside] = source.gather(1, weight.argmax(1, keepdim=True))[:, 0]
    one = torch.ones(height, size, dtype=torch.float64)
    depth = torch.where(inside, 0.0, -math.inf).double()
    return Seen(rows[..., None], one[..., None], one, depth, EXTENT)


def unprojected(
    x: Float64[Tensor, "*k"], y: Float64[Tensor, "*k"]
) -> tuple[Float64[Tensor, "*k 3"], Bool[Tensor, "*k"]]:
    """Return the directions at places of the picture, and whether these lie inside the ellipse.

    >>> unprojected(torch.zeros(1).double(), torch.zeros(1).double())[0].tolist()
    [[1.0, 0.0, 0.0]]
    """
    inside = x**2 / 8 + y**2 / 2 < 1
    t = torch.asin((y / math.sqrt(2)).clamp(-1, 1))
    longitude = math.pi * x / (2 * math.sqrt(2) * torch.cos(t).clamp_min(1e-12))
    z = ((2 * t + torch.sin(2 * t)) / math.pi).clamp(-1, 1)
    rho = (1 - z**2).sqrt()
    return torch.stack([rho * longitude.cos(), rho * longitude.sin(), z], -1), inside


def projected(directions: Float64[Tensor, "*k 3"]) -> Float64[Tensor, "*k 2"]:
    """Return the places of unit vectors in the picture; the inverse of `unprojected`.

    >>> projected(torch.tensor([0.0, 0.0, 1.0]).double()).round(decimals=6).tolist()
    [0.0, 1.414214]
    """
    longitude = torch.atan2(directions[..., 1], directions[..., 0])
    goal = math.pi * directions[..., 2].clamp(-1, 1)
    # 2t + sin 2t grows from -π to π; halving the interval is exact to rounding even where its slope is zero
    low = torch.full_like(goal, -math.pi / 2)
    high = -low
    for _ in range(54):
        t = (low + high) / 2
        below = 2 * t + torch.sin(2 * t) < goal
        low, high = torch.where(below, t, low), torch.where(below, high, t)
    t = (low + high) / 2
    x = 2 * math.sqrt(2) / math.pi * longitude * torch.cos(t)
    return torch.stack([x, math.sqrt(2) * torch.sin(t)], -1)
