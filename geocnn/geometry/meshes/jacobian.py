"""How much exp stretches areas, from the curvature that a disc encloses."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.meshes.windows import Unfolded


def exp_jacobian(t: Triangulation, paths: Unfolded) -> Float64[Tensor, " p"]:
    """Return J = L(r) / 2πr per pair, L(r) being the length of the circle around the base at the pair's
    distance.

    By Gauss and Bonnet L grows with r by 2π minus the enclosed curvature. So J(r) = 1 − Σ δ (1 − r'/r) / 2π,
    summed over the angle defects δ at distances r' < r. J is limited to 1/2 … 2: on discs that wrap around a
    limb it means little.
    """
    r = paths.vector.abs()
    defect = (t.defect * ~t.boundary)[paths.vertex]
    # directions at the base itself are rescaled, at an interior vertex by its defect
    own = (r == 0).nonzero()[:, 0]
    defect[own] = 2 * math.pi * (1 - 1 / t.scale[paths.vertex[own]])
    order = torch.argsort(r, stable=True)
    order = order[torch.argsort(paths.base[order], stable=True)]
    d, rs = defect[order], r[order]
    # sums over the nearer pairs of the same base
    enclosed, moment = d.cumsum(0) - d, (d * rs).cumsum(0) - d * rs
    counts = torch.bincount(paths.base)
    first = (counts.cumsum(0) - counts)[paths.base[order]]
    enclosed, moment = enclosed - enclosed[first], moment - moment[first]
    j = 1 - (enclosed - moment / rs.clamp_min(1e-300)) / (2 * math.pi)
    out = torch.ones_like(j)
    out[order] = torch.where(rs > 0, j, torch.ones_like(j)).clamp(0.5, 2)
    return out
