"""The product of a stencil's operator with features, and its derivatives, term by term.

An operator is one term, from all sources to all targets. One that is too large to keep is formed in ranges of
targets, one after another, and each range is a term.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geocnn.geometry.core.stencil import Stencil
from geocnn.ops.adjoint import adjoint, has_fewer_operations, transposed
from geocnn.ops.blocks import convolve, convolve_transpose, n_targets
from geocnn.ops.operators import (
    Operator,
    mean_operator,
    operator,
    place_of_targets,
    range_operator,
    ranges,
)
from geocnn.ops.plan import GatherPlan
from geocnn.ops.tiles import Range


class Terms(NamedTuple):
    """The terms of the product over a stencil by a plan."""

    stencil: Stencil
    plan: GatherPlan

    def each(self, dtype: torch.dtype, parts: list[Range]) -> Iterator[Term]:
        """Yield the operator; where it is too large, those of ranges of targets, one after another."""
        basis = self.plan.basis
        if basis is None:
            yield Term(mean_operator(self.stencil, self.plan.source, dtype), None, None)
        elif not parts:
            yield Term(operator(self.stencil, basis, dtype), None, None)
        else:
            start = 0
            for part in parts:
                targets = slice(start, start + n_targets(part.index.member, part.index.k))
                yield Term(range_operator(self.stencil, part, basis, dtype), part.source, targets)
                start = targets.stop

    def joined(self, y: list[Tensor], parts: list[Range]) -> Tensor:
        """Return the results of all terms, [B, n_target, n], in the stencil's order."""
        if not parts:
            return y[0]
        whole, order = torch.cat(y, 1), place_of_targets(self.stencil)
        return whole if order is None else whole.index_select(1, order)

    def parted(self, g: Tensor, parts: list[Range]) -> Tensor:
        """Return the transpose of `joined`, in the order of the terms' targets."""
        if not parts or (order := place_of_targets(self.stencil)) is None:
            return g
        count = sum(n_targets(part.index.member, part.index.k) for part in parts)
        return g.new_zeros(g.shape[0], count, g.shape[2]).index_copy_(1, order, g)

    def ranges(self, dtype: torch.dtype) -> list[Range]:
        """Return the ranges of an operator that is too large to keep, none for others."""
        basis = self.plan.basis
        return [] if basis is None else ranges(self.stencil, basis, dtype) or []


class Term(NamedTuple):
    """An operator from some sources to some targets, None for all."""

    operator: Operator
    source: Tensor | None
    targets: slice | None

    def part(self, g: Any) -> Any:
        """Return g at the targets."""
        return g if g is None or self.targets is None else g[:, self.targets].contiguous()

    def read(self, fields: list[Tensor]) -> list[Tensor]:
        return fields if self.source is None else [field.index_select(1, self.source) for field in fields]


def walk(
    product: Terms,
    x: Tensor,
    mix: Sequence[Tensor] | None,
    g: Tensor | None,
    moments: list[Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Return the product if weights are given, and the derivatives by the weights if g is; `moments` is that
    of `ops.blocks.convolve`.
    """
    plan, parts = product.plan, product.ranges(x.dtype)
    if not len(x):
        nothing = x.new_zeros(0, product.stencil.n_target, plan.target.dim)
        return nothing, [] if g is None else [x.new_zeros(shape) for shape in plan.shapes]
    with torch.autocast(x.device.type, enabled=False):
        fields, y, total = plan.split(x), [], []
        matrices = None if mix is None else plan.matrices(mix)
        g = None if g is None else product.parted(plan.grouped(g), parts)
        for term in product.each(x.dtype, parts):
            o = term.operator
            factors = term.read(fields), matrices, term.part(g)
            one, own = convolve(*factors, o.block, *o.index, plan.n_out, plan.runs, moments)
            y.append(one)
            total = [a.add_(b) for a, b in zip(total, own, strict=True)] if total else own
        return plan.ordered(product.joined(y, parts)), plan.derivatives(total)


def walk_back(product: Terms, g: Tensor, mix: Sequence[Tensor]) -> Tensor:
    """Return the derivative of the form by x, [B, n_source, D], from g [B, n_target, D']."""
    plan, parts = product.plan, product.ranges(g.dtype)
    with torch.autocast(g.device.type, enabled=False):
        g, matrices, total = product.parted(plan.grouped(g), parts), plan.matrices(mix, conjugate=True), None
        for term in product.each(g.dtype, parts):
            o = term.operator
            x = plan.joined(convolve_transpose(term.part(g), matrices, o.block, *o.index, plan.runs))
            if term.source is None:
                return x
            if total is None:
                total = x.new_zeros(x.shape[0], product.stencil.n_source, x.shape[2])
            # the sources of a range are distinct, so the sum has a fixed order on every device
            total[:, term.source] += x
    assert total is not None
    return total


def walk_both(product: Terms, g: Tensor, x: Tensor, mix: Sequence[Tensor]) -> list[Tensor]:
    """Return the derivatives of the form by x and by the weights, in fewer operations if there is a way."""
    if product.ranges(g.dtype) or not has_fewer_operations(product.stencil, product.plan):
        return [walk_back(product, g, mix), *walk(product, x, None, g)[1]]
    other = adjoint(product.plan.name)
    over, rings = Terms(transposed(product.stencil), other.plan), other.rings
    with torch.autocast(g.device.type, enabled=False):
        dx, found = walk(over, g, [change.of(mix, rings) for change in other.there], x)
        return [dx, *(change.of(found, rings) for change in other.back)]
