"""The same shape in two splits makes a test set say too much: it is found by its rounded geometry."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from geocnn.geometry.io import RawMesh

QUANTILES = 64

ALIKE = 1e-4
"""Relative edge lengths that differ by less at all quantiles are those of one shape."""


def outline(raw: RawMesh) -> Float64[Tensor, " k"]:
    """Return a description that meshes share which differ only by order, motion, mirroring or scale.

    It holds the numbers of vertices and faces, and quantiles of the edge lengths over their mean.

    >>> from geocnn.geometry.io import raw_mesh
    >>> a, b = raw_mesh(torch.eye(3), [[0, 1, 2]]), raw_mesh(5 * torch.eye(3).flip(0), [[2, 1, 0]])
    >>> bool((outline(a) - outline(b)).abs().max() < ALIKE)
    True
    """
    v, f = raw.vertices, raw.faces
    side = (v[f.roll(-1, 1)] - v[f]).norm(dim=-1).flatten().sort().values
    place = torch.linspace(0, len(side) - 1, QUANTILES).long()
    size = torch.tensor([float(len(v)), float(len(f))], dtype=torch.float64)
    return torch.cat([size, side[place] / side.mean().clamp_min(1e-300)])


def repeated(outlines: Sequence[Float64[Tensor, " k"]]) -> list[tuple[int, int]]:
    """Return the pairs (first, later) of meshes with one shape, the first being that of the least number.

    >>> repeated([torch.full((66,), x, dtype=torch.float64) for x in (0, 1, 0)])
    [(0, 2)]
    """
    if not outlines:
        return []
    every, pairs = torch.stack(list(outlines)), []
    for start in range(0, len(every), 512):
        block = every[start : start + 512]
        like = torch.cdist(block, every, p=torch.inf) < ALIKE
        first = like.byte().argmax(1)
        later = (first < torch.arange(start, start + len(block))).nonzero()[:, 0]
        pairs += [(int(first[k]), start + int(k)) for k in later]
    return pairs
