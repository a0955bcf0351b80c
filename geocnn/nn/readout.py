"""Readout: from the features of all points of a surface to one list of numbers per surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep
from geocnn.nn.pool import surface_mean
from geocnn.ops.gather import single_under_autocast

ReadoutKind = Literal["mean", "mean and max", "attention"]
KINDS = ("mean", "mean and max", "attention")


class Readout(nn.Module):
    """The invariant channels of features at some levels, per surface: [..., surfaces, n_features].

    `kind` "mean": weighted by area. "mean and max": the largest value of each channel beside it.
    "attention": a mean whose weights are area times the exponential of a learnt linear function of the
    channels; its weights start at 0, so it starts as the mean. `types[i]` is the feature type at level
    i, None where that level is not read. Levels whose type has no invariant channel give none.

    Raises FieldTypeError for another kind, and where no level has an invariant channel.

    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(4).hierarchy(levels=2)
    >>> readout = Readout([None, FieldType("3x0 + 1x1")], "mean and max")
    >>> readout([torch.randn(192, 1), torch.randn(48, 5)], h).shape
    torch.Size([1, 6])
    """

    def __init__(self, types: Sequence[FieldType | None], kind: ReadoutKind = "mean"):
        super().__init__()
        if kind not in KINDS:
            raise FieldTypeError(f"readout must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
        self.types, self.kind = list(types), kind
        given = [t for t in self.types if t is not None]
        self.scalar = Irrep(0, "e" if given[-1].group.flips else "")
        copies = [0 if t is None else t.multiplicity(self.scalar) for t in self.types]
        if not any(copies):
            raise FieldTypeError(
                f"the last width {given[-1]} has no invariant channel to read out; add some of {self.scalar}"
            )
        self.levels = [level for level, n in enumerate(copies) if n]
        self.n_features = sum(copies) * (2 if kind == "mean and max" else 1)
        self.score = nn.ParameterList()
        if kind == "attention":
            self.score.extend(nn.Parameter(torch.zeros(n)) for n in copies if n)

    def forward(self, features: Sequence[Tensor], hierarchy: Hierarchy) -> Tensor:
        parts = []
        for number, level in enumerate(self.levels):
            held = self.types[level]
            assert held is not None
            x = single_under_autocast(held.select(features[level], self.scalar).flatten(-2))
            if self.kind == "attention":
                parts.append(_attended(x, x @ self.score[number].to(x.dtype), hierarchy, level))
                continue
            parts.append(surface_mean(x, hierarchy, level))
            if self.kind == "mean and max":
                parts.append(surface_max(x, hierarchy, level))
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]

    def extra_repr(self) -> str:
        return f"{self.kind} of {self.n_features} channels from levels {self.levels}"


def surface_max(x: Tensor, hierarchy: Hierarchy, level: int) -> Tensor:
    """The largest value of each channel on each surface of a batch: x [..., N, C] at a level ->
    [..., surfaces, C]. Points without area do not count.

    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(2).hierarchy(levels=1); surface_max(torch.arange(48.0)[:, None], h, 0)
    tensor([[47.]])
    """
    x = x.masked_fill((hierarchy.areas[level] <= 0)[:, None], -math.inf)
    surface = _surface_of_points(hierarchy, level)[:, None].expand(x.shape)
    none = x.new_full((*x.shape[:-2], hierarchy.n_surfaces, x.shape[-1]), -math.inf)
    return none.scatter_reduce(-2, surface, x, "amax")


def _attended(x: Tensor, score: Tensor, hierarchy: Hierarchy, level: int) -> Tensor:
    """Means of x [..., N, C] over each surface, weighted by area · exp(score [..., N])."""
    # a constant changes no weight, and the largest exponential is 1
    largest = surface_max(score.detach()[..., None], hierarchy, level)
    share = (score[..., None] - largest[..., _surface_of_points(hierarchy, level), :]).exp()
    return surface_mean(share * x, hierarchy, level) / surface_mean(share, hierarchy, level)


def _surface_of_points(hierarchy: Hierarchy, level: int) -> Tensor:
    ptr = hierarchy.ptr[level]
    surfaces = torch.arange(hierarchy.n_surfaces, device=ptr.device)
    return torch.repeat_interleave(surfaces, ptr.diff(), output_size=len(hierarchy.areas[level]))
