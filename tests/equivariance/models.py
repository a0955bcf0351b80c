"""A small network, its stencils, and the verdicts on it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from geocnn.groups import FieldType
from geocnn.nn import (
    GaugeConv,
)


def log(radius: float):
    return lambda s: s.stencil(radius, kind="log")


class Layers(nn.Module):
    """GaugeConv layers; `between` acts after the first, and the second is given `seen` by it."""

    def __init__(self, *types: str, between=None, seen=None, max_frequency=None):
        super().__init__()
        self.in_type, self.out_type = FieldType(types[0]), FieldType(types[-1])
        self.layers = nn.ModuleList(GaugeConv(a, b, 2, max_frequency) for a, b in pairwise(types))
        self.between, self.seen = between, seen

    def forward(self, x, stencil):
        x = self.layers[0](x, stencil)
        x = x if self.between is None else self.between(x)
        return self.layers[1](x, stencil if self.seen is None else self.seen(stencil))


class VectorBias(nn.Module):
    """A bias on every component, also of vectors."""

    def forward(self, x):
        return x + torch.linspace(0.1, 1, x.shape[-1]).to(x)


def verdicts(found) -> dict[str, str]:
    return {f.symmetry: f.model.verdict for f in found.findings}
