"""Where too many faces meet at an edge or vertex, they are parted so that each fan has its own vertex."""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.geometry.core import half_edges
from geocnn.geometry.doctor import faults

CUT = 2
"""0 and 1 are the two ways to pair the faces around an edge; this third way does not join them at all."""

Pairs = tuple[Int64[Tensor, " h"], Int64[Tensor, " h"], Int64[Tensor, " h"]]
"""The half-edges of crowded edges, in their order around each edge; their rank there; and a shift.

The shift is 1 where the last pairs with the first in the better of the two ways, the one that parts solids.
"""


def parted(
    points: Float64[Tensor, "n 3"], faces: Int64[Tensor, "f 3"], edges: half_edges.Edges
) -> Int64[Tensor, " 3*f"]:
    """Return the fan of each corner, where the faces around an edge of more than two are joined in pairs.

    Around the edge they are paired with their neighbours, so that a solid that touches itself or another one
    stays closed. Where their number is odd, or no pairing parts them, they are not joined, and the surface is
    open there.
    """
    way = torch.where((edges.count > 2) & (edges.count % 2 == 0), 0, CUT)
    first = _pairs(points, faces, edges)
    while True:
        joined = _joined(edges, first, way)
        fans = half_edges.fans_of(faces, joined, most=2)
        crowded = _still_crowded(edges, fans)
        crowded = crowded[way[crowded] < CUT]
        if not len(crowded):
            return fans
        way[crowded] += 1


def _pairs(points: Float64[Tensor, "n 3"], faces: Int64[Tensor, "f 3"], edges: half_edges.Edges) -> Pairs:
    """Order and pair the half-edges of edges with 4, 6 … faces."""
    at = ((edges.count > 2) & (edges.count % 2 == 0))[edges.edge].nonzero()[:, 0]
    edge, place = edges.edge[at], at % 3
    f = faces[at // 3]
    ahead = f.gather(1, place[:, None])[:, 0] == edges.ends[edge, 0]
    low, high = points[edges.ends[edge]].unbind(1)
    axis = faults.unit(high - low)
    out = points[f.gather(1, ((place + 2) % 3)[:, None])[:, 0]] - low
    least = torch.nn.functional.one_hot(axis.abs().argmin(1), 3).to(points.dtype)
    x = faults.unit(torch.linalg.cross(least, axis, dim=-1))
    y = torch.linalg.cross(axis, x, dim=-1)
    angle = torch.atan2((out * y).sum(1), (out * x).sum(1))
    order = angle.argsort(stable=True)
    order = order[edge[order].argsort(stable=True)]
    at, edge, ahead = at[order], edge[order], ahead[order]
    _, group, many = edge.unique_consecutive(return_inverse=True, return_counts=True)
    begin = many.cumsum(0) - many
    rank = torch.arange(len(at), device=at.device) - begin[group]
    after = begin[group] + (rank + 1) % many[group]
    # The solid lies before a face that runs ahead and after one that runs back: between the two.
    fits = torch.where(~ahead & ahead[after], 3, torch.where(ahead & ~ahead[after], 2, 0))
    score = torch.zeros(2 * len(many), dtype=torch.int64, device=at.device)
    score = score.scatter_add_(0, 2 * group + rank % 2, fits).view(-1, 2)
    return at, rank, (score[:, 1] > score[:, 0]).long()[group]


def _joined(edges: half_edges.Edges, pairs: Pairs, way: Int64[Tensor, " e"]) -> half_edges.Edges:
    """Return edges where each pair of faces has an edge of its own."""
    at, rank, shift = pairs
    edge = edges.edge[at]
    shift = (shift + way[edge]) % 2
    # ranks 0 1, 2 3, … or 1 2, …, last 0
    number = ((rank - shift) % edges.count[edge]) // 2
    paired = way[edge] < CUT
    widest = int(edges.count.max()) if len(edges.count) else 1
    name = edges.edge * widest
    name[at[paired]] += 1 + number[paired]
    _, edge, count = name.unique(return_inverse=True, return_counts=True)
    return half_edges.Edges(edges.ends, count, edge)


def _still_crowded(edges: half_edges.Edges, fans: Int64[Tensor, " h"]) -> Int64[Tensor, " k"]:
    """Return the edges more than two of whose faces are in one fan at both ends."""
    h = torch.arange(len(fans), device=fans.device)
    after = half_edges.following(h)
    n = len(fans)
    low, high = torch.minimum(fans[h], fans[after]), torch.maximum(fans[h], fans[after])
    _, place, count = (low * n + high).unique(return_inverse=True, return_counts=True)
    return edges.edge[count[place] > 2].unique()
