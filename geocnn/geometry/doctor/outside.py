"""Find the closed pieces of a surface that are inside out."""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.geometry.core import half_edges


def inside_out(
    points: Float64[Tensor, "n 3"], faces: Int64[Tensor, "f 3"], edges: half_edges.Edges
) -> Int64[Tensor, " k"]:
    """Return the ids of faces of closed pieces, wound alike, whose volume is negative.

    A piece whose box lies in another closed piece's box may be a cavity, so it is not among them.
    """
    sides = half_edges.sides_of(faces, edges)
    label = half_edges.components(len(faces), sides.h // 3, sides.g // 3)
    pieces, piece = label.unique(return_inverse=True)
    k = len(pieces)
    opened = (edges.count[edges.edge].view(-1, 3) != 2).any(1)
    apart = torch.zeros_like(opened)
    apart[sides.h[sides.same] // 3] = True
    corners = points[faces]
    bad = opened | apart | ~corners.isfinite().all(-1).all(-1)
    closed = torch.bincount(piece[bad], minlength=k) == 0
    low = torch.full((k, 3), torch.inf, dtype=points.dtype, device=points.device)
    low.scatter_reduce_(0, piece[:, None].expand(-1, 3), corners.amin(1), "amin")
    high = -torch.full_like(low, torch.inf).scatter_reduce_(
        0, piece[:, None].expand(-1, 3), -corners.amax(1), "amin"
    )
    a, b, c = ((corners - low[piece][:, None]) / _size(low, high)[piece][:, None, None]).unbind(1)
    volume = torch.zeros(k, dtype=points.dtype, device=points.device)
    volume.scatter_add_(0, piece, (a * torch.linalg.cross(b, c, dim=-1)).sum(-1) / 6)
    # relative to the cube of the box's longest side; the sum's rounding is below it
    turned = (closed & (volume < -1e-12)).nonzero()[:, 0]
    others = closed.nonzero()[:, 0]
    within = (low[turned][:, None] >= low[others]) & (high[turned][:, None] <= high[others])
    within = within.all(-1) & (turned[:, None] != others)
    turned = turned[~within.any(1)]
    return torch.isin(piece, turned).nonzero()[:, 0]


def _size(low: Float64[Tensor, "pieces 3"], high: Float64[Tensor, "pieces 3"]) -> Float64[Tensor, " pieces"]:
    return (high - low).amax(1).clamp_min(torch.finfo(torch.float64).tiny)
