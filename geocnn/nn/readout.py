"""Readout: from the features of all points of a surface to one list of numbers per surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep
from geocnn.nn.pool import surface_mean
from geocnn.ops.gather import single_under_autocast
from geocnn.wording import counted

ReadoutKind = Literal["mean", "mean and max", "attention"]
KINDS = ("mean", "mean and max", "attention")


class Readout(nn.Module):
    """Reads the invariant channels of features at some levels, per surface: [..., surfaces, n_features].

    `kind` "mean" takes means weighted by area; "mean and max" adds the largest value of each channel;
    "attention" weighs a mean by area times the exponential of a learnt linear function of the channels, whose
    weights start at 0, so that it starts as the mean. `types[i]` is the feature type at level i, None where
    that level is not read. Levels whose type has no invariant channel add nothing.

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
        used = [t for t in self.types if t is not None]
        self.scalar = Irrep(0, "e" if used[-1].group.flips else "")
        copies = [0 if t is None else t.multiplicity(self.scalar) for t in self.types]
        if not any(copies):
            raise FieldTypeError(
                f"the last width {used[-1]} has no invariant channel to read out; add some of {self.scalar}"
            )
        self.levels = [level for level, n in enumerate(copies) if n]
        self.n_features = sum(copies) * (2 if kind == "mean and max" else 1)
        self.score = nn.ParameterList()
        if kind == "attention":
            self.score.extend(nn.Parameter(torch.zeros(n)) for n in copies if n)

    def forward(
        self, features: Sequence[Float[Tensor, "*batch _ _"]], hierarchy: Hierarchy
    ) -> Float[Tensor, "*batch surfaces {self.n_features}"]:
        parts = []
        for number, level in enumerate(self.levels):
            field_type = self.types[level]
            assert field_type is not None
            x = single_under_autocast(field_type.select(features[level], self.scalar).flatten(-2))
            if self.kind == "attention":
                parts.append(_attended(x, x @ self.score[number].to(x.dtype), hierarchy, level))
                continue
            parts.append(surface_mean(x, hierarchy, level))
            if self.kind == "mean and max":
                parts.append(surface_max(x, hierarchy, level))
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]

    def extra_repr(self) -> str:
        return f"{self.kind} of {counted(self.n_features, 'channel')} from levels {self.levels}"


def surface_max(
    x: Float[Tensor, "*batch n c"], hierarchy: Hierarchy, level: int
) -> Float[Tensor, "*batch {hierarchy.n_surfaces} c"]:
    """Return the largest value of each channel at a level, per surface; points without area do not count.

    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(2).hierarchy(levels=1); surface_max(torch.arange(48.0)[:, None], h, 0)
    tensor([[47.]])
    """
    x = x.masked_fill((hierarchy.areas[level] <= 0)[:, None], -math.inf)
    surface = _surface_of_points(hierarchy, level)[:, None].expand(x.shape)
    none = x.new_full((*x.shape[:-2], hierarchy.n_surfaces, x.shape[-1]), -math.inf)
    return none.scatter_reduce(-2, surface, x, "amax")


def _attended(
    x: Float[Tensor, "*batch n c"], score: Float[Tensor, "*batch n"], hierarchy: Hierarchy, level: int
) -> Float[Tensor, "*batch surfaces c"]:
    """Return the means of x over each surface, weighted by area · exp(score)."""
    # the same summand in all scores changes no mean; it makes the largest exponential 1
    largest = surface_max(score.detach()[..., None], hierarchy, level)
    share = (score[..., None] - largest[..., _surface_of_points(hierarchy, level), :]).exp()
    return surface_mean(share * x, hierarchy, level) / surface_mean(share, hierarchy, level)


def _surface_of_points(hierarchy: Hierarchy, level: int) -> Int64[Tensor, " n"]:
    ptr = hierarchy.ptr[level]
    surfaces = torch.arange(hierarchy.n_surfaces, device=ptr.device)
    return torch.repeat_interleave(surfaces, ptr.diff(), output_size=len(hierarchy.areas[level]))
