"""The law of every layer and network: turn the frames of input and output, and nothing but their components
changes.

With y = f(x) the layer in one gauge, y' = f'(x') the same layer in another, x' = act(x): y' = act(y); and for
a cotangent g' = act(g) the derivatives by weights, which know no gauge, are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from geocnn.groups import FieldType
from tests.laws import random_gauge

# A few thousand float operations along the deepest path; what the project promises (1e-10, 1e-5) is looser
# for float64 and just above what float32 can give.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}

Gauge = tuple[Tensor, Tensor | None]


def gauge_of(n: int, field_type: FieldType, seed: int = 0) -> Gauge:
    """Random frames, with flips where the type's group has them, within the group where it is finite."""
    group = field_type.group
    if group.is_finite:
        return group.sample(n, torch.Generator().manual_seed(seed))
    return random_gauge(n, group.flips, seed)


def act(field_type: FieldType, x: Tensor, gauge: Gauge) -> Tensor:
    """Components x after frames are turned by the gauge's angles, then mirrored where it flips."""
    alpha, flip = gauge
    return field_type.act(x, -alpha if flip is None else torch.where(flip, alpha, -alpha), flip)


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm())


def assert_gauge_equivariant(
    module: nn.Module,
    x: Tensor,
    in_type: FieldType,
    out_type: FieldType,
    call: Callable[[Tensor], Tensor],
    turned_call: Callable[[Tensor], Tensor],
    in_gauge: Gauge,
    out_gauge: Gauge,
) -> None:
    """`call` applies the module in the first gauge, `turned_call` in the second; out_gauge is ignored for
    invariants.
    """
    invariant = all(out_type.is_invariant(i) for i in out_type.irreps)

    def outward(y: Tensor) -> Tensor:
        return y if invariant else act(out_type, y, out_gauge)

    y = call(x)
    turned = turned_call(act(in_type, x, in_gauge))
    tolerance = TOLERANCE[x.dtype]
    assert relative(turned, outward(y)) < tolerance
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(y.dtype)
    parameters = [p for p in module.parameters() if p.numel()]
    if parameters:
        before = torch.autograd.grad(y, parameters, g)
        after = torch.autograd.grad(turned, parameters, outward(g))
        size = math.sqrt(sum(float(b.square().sum()) for b in before))
        assert size > 0
        for a, b in zip(after, before, strict=True):
            assert float((a - b).norm()) < tolerance * size
