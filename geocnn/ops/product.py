"""The product of a stencil's operator with features, as PyTorch's transforms see it.

With a cotangent g the product is one form ⟨g, F(x, W)⟩, linear in g, in x and in the weights W. Its three
derivatives are custom operators, `gather_forward`, `gather_transpose` and `gather_mix`; `gather_both` is the
latter two together, for which a step of training asks. Compilers and exporters see nothing inside: these are
given the tensors of the stencil and the name of the plan, and find or make the stencil's operator when they
run. So no graph depends on how a stencil is tiled.

Outside of compilers, `Product` wraps them for reverse and forward derivatives of any order and for `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from geocnn.geometry.core.recognised import recognised
from geocnn.geometry.core.stencil import Stencil
from geocnn.ops.adjoint import has_fewer_operations
from geocnn.ops.plan import GatherPlan, plan_of
from geocnn.ops.terms import Terms, walk, walk_back, walk_both

MOMENT_BYTES = 2**24
"""Moments of at most so many bytes are kept for the backward pass: a processor's cache holds them."""


class Product(NamedTuple):
    """The product over a stencil by a plan: x [B, n_source, D], weights -> [B, n_target, D']."""

    stencil: Stencil
    plan: GatherPlan

    def __call__(self, x: Tensor, mix: Sequence[Tensor]) -> Tensor:
        if torch.compiler.is_compiling():
            return gather_forward(x, list(mix), *self.where)
        y = _Gather.apply(_Over(self, keeps=self._keeps(x, mix)), x, *mix)
        return y if isinstance(y, Tensor) else y[0]

    def _keeps(self, x: Tensor, mix: Sequence[Tensor]) -> bool:
        """Return whether the moments of x are few, and serve the backward pass."""
        if not (torch.is_grad_enabled() and any(w.requires_grad for w in mix)):
            return False
        size = x.shape[0] * self.stencil.n_target * self.plan.n_moments * x.element_size()
        # other tensors stand for what is traced or mapped over
        is_plain = type(x) in (Tensor, torch.nn.Parameter)
        if not is_plain or not 0 < size <= MOMENT_BYTES or Terms(self.stencil, self.plan).ranges(x.dtype):
            return False
        return not (x.requires_grad and has_fewer_operations(self.stencil, self.plan))

    @property
    def where(self) -> tuple:
        """Return what the custom operators take beside the factors of the form."""
        s = self.stencil
        return *s.places, s.radius, s.n_source, self.plan.name


# The operators, each linear in two factors of the form. The name of the plan stands for what is no tensor.

WHERE = (
    "Tensor row_ptr, Tensor source, Tensor r, Tensor theta, Tensor weight, Tensor angle, Tensor? flip, "
    "Tensor? count, Tensor? target_orbits, Tensor? source_orbits, float radius, SymInt n_source, str plan"
)


def _terms(where: Sequence[Any]) -> Terms:
    """Return the terms of the product that `Product.where` describes."""
    *tensors, radius, n_source, name = where
    plan = plan_of(name)

    def make(*own: Tensor) -> Stencil:
        return Stencil.from_places(own, radius, n_source, plan.source.group)

    return Terms(recognised(tensors, tensors[4], (radius, n_source), make), plan)


@torch.library.custom_op(
    "geocnn::gather", mutates_args=(), schema=f"(Tensor x, Tensor[] mix, {WHERE}) -> Tensor"
)
def gather_forward(x: Tensor, mix: Sequence[Tensor], *where: Any) -> Tensor:
    """Return the moments of x [B, n_source, D], mixed by the weights: [B, n_target, D']."""
    return walk(_terms(where), x, mix, None)[0]


@torch.library.custom_op(
    "geocnn::gather_transpose", mutates_args=(), schema=f"(Tensor g, Tensor[] mix, {WHERE}) -> Tensor"
)
def gather_transpose(g: Tensor, mix: Sequence[Tensor], *where: Any) -> Tensor:
    """Return the derivative of the form by x, [B, n_source, D], from g [B, n_target, D']."""
    return walk_back(_terms(where), g, mix)


@torch.library.custom_op(
    "geocnn::gather_mix", mutates_args=(), schema=f"(Tensor x, Tensor g, {WHERE}) -> Tensor[]"
)
def gather_mix(x: Tensor, g: Tensor, *where: Any) -> list[Tensor]:
    """Return the derivatives of the form by the weights, from x [B, n_source, D] and g [B, n_target, D']."""
    return walk(_terms(where), x, None, g)[1]


@torch.library.custom_op(
    "geocnn::gather_both",
    mutates_args=(),
    schema=f"(Tensor g, Tensor x, Tensor[] mix, {WHERE}) -> Tensor[]",
)
def gather_both(g: Tensor, x: Tensor, mix: Sequence[Tensor], *where: Any) -> list[Tensor]:
    """Return the derivatives of the form by x and by the weights, in fewer operations if there is a way."""
    return walk_both(_terms(where), g, x, mix)


@gather_forward.register_fake
def _(x, mix, *where):
    return x.new_empty(x.shape[0], where[0].shape[0] - 1, plan_of(where[-1]).target.dim)


@gather_transpose.register_fake
def _(g, mix, *where):
    return g.new_empty(g.shape[0], where[-2], plan_of(where[-1]).source.dim)


@gather_both.register_fake
def _(g, x, mix, *where):
    return [torch.empty_like(x, memory_format=torch.contiguous_format), *map(torch.empty_like, mix)]


@gather_mix.register_fake
def _(x, g, *where):
    return [g.new_empty(shape) for shape in plan_of(where[-1]).shapes]


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, mix, *where = inputs
    ctx.places, ctx.rest = len(where) - 3, where[-3:]
    ctx.save_for_backward(x, *where[:-3], *mix)


def _differentiate(ctx: Any, g: Tensor) -> tuple:
    x, *saved = ctx.saved_tensors
    where, mix = (*saved[: ctx.places], *ctx.rest), saved[ctx.places :]
    needs_x, needs_mix = ctx.needs_input_grad[:2]
    needs_mix = any(needs_mix) if isinstance(needs_mix, list | tuple) else needs_mix
    if needs_x and needs_mix and not torch.is_grad_enabled():
        dx, *dmix = gather_both(g, x, mix, *where)
        return dx, dmix, *[None] * len(where)
    dx = gather_transpose(g, mix, *where) if needs_x else None
    dmix = gather_mix(x, g, *where) if needs_mix else [None] * len(mix)
    return dx, dmix, *[None] * len(where)


gather_forward.register_autograd(_differentiate, setup_context=_keep)


def _map_gather(
    product: Callable,
    info: Any,
    dim: int | None,
    dims: Sequence[int | None],
    x: Tensor,
    mix: Sequence[Tensor],
) -> tuple[Tensor, int]:
    """Apply a product to examples that lie along these dimensions of its factors."""
    if dim is not None and all(other is None for other in dims):
        # further examples of one batch
        x = x.movedim(dim, 0)
        return product(x.flatten(0, 1), mix).unflatten(0, x.shape[:2]), 0
    each = _examples(info, [dim, *dims], [x, *mix])
    return torch.stack([product(own, matrices) for own, *matrices in each]), 0


def _map_lists(
    product: Callable, info: Any, dims: Sequence[int | None], *factors: Tensor
) -> tuple[list[Tensor], list[int]]:
    """Apply what gives several tensors to examples that lie along these dimensions of its factors."""
    each = [product(*own) for own in _examples(info, dims, factors)]
    stacked = [torch.stack(tensors) for tensors in zip(*each, strict=True)]
    return stacked, [0] * len(stacked)


def _examples(info: Any, dims: Sequence[int | None], factors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the factors of one example after another."""
    for i in range(info.batch_size):
        yield [f if d is None else f.select(d, i) for f, d in zip(factors, dims, strict=True)]


def _register_map(op: Any) -> None:
    @op.register_vmap
    def _(info, in_dims, x, mix, *where):
        dims = in_dims[1] if isinstance(in_dims[1], list | tuple) else [in_dims[1]] * len(mix)
        return _map_gather(lambda x, mix: op(x, list(mix), *where), info, in_dims[0], dims, x, mix)


_register_map(gather_forward)
_register_map(gather_transpose)


@gather_both.register_vmap
def _(info, in_dims, g, x, mix, *where):
    dims = in_dims[2] if isinstance(in_dims[2], list | tuple) else [in_dims[2]] * len(mix)
    return _map_lists(
        lambda g, x, *mix: gather_both(g, x, list(mix), *where), info, [*in_dims[:2], *dims], g, x, *mix
    )


@gather_mix.register_vmap
def _(info, in_dims, x, g, *where):
    return _map_lists(lambda x, g: gather_mix(x, g, *where), info, in_dims[:2], x, g)


# The same for transforms of functions, which look into a Function and not into a custom operator.


class _Over:
    """The product by a plan over a stencil, or its transpose, as one value that no transform takes apart."""

    def __init__(self, product: Product, transposed: bool = False, keeps: bool = False):
        # the product keeps the stencil itself alive: one of the same tensors may have other tiles
        self.product, self.transposed, self.keeps = product, transposed, keeps

    @property
    def where(self) -> tuple:
        return self.product.where

    @property
    def transpose(self) -> _Over:
        return _Over(self.product, not self.transposed)

    @property
    def alone(self) -> _Over:
        """Return the same, which keeps no moments."""
        return _Over(self.product, self.transposed)

    @property
    def terms(self) -> Terms:
        return Terms(self.product.stencil, self.product.plan)


def _derivatives(
    over: _Over, g: Tensor, x: Tensor, mix: Sequence[Tensor], moments: Sequence[Tensor], needs_x: bool
) -> list[Tensor | None]:
    """Return the derivatives by x, if needed, and by the weights, from moments of x that may be kept."""
    where = over.where
    if moments:
        dx = gather_transpose(g, mix, *where) if needs_x else None
        return [dx, *walk(over.terms, x, None, g, list(moments))[1]]
    return gather_both(g, x, mix, *where) if needs_x else [None, *gather_mix(x, g, *where)]


class _Gather(Function):
    """The product x, weights -> y, or its transpose y, weights -> x; moments that are kept follow y."""

    @staticmethod
    def forward(over: _Over, x: Tensor, *mix: Tensor) -> Tensor | tuple[Tensor, ...]:
        if over.keeps:
            moments: list[Tensor] = []
            return walk(over.terms, x, mix, None, moments)[0], *moments
        return (gather_transpose if over.transposed else gather_forward)(x, mix, *over.where)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
        ctx.over, *factors = inputs
        moments = () if isinstance(output, Tensor) else output[1:]
        ctx.count, ctx.moments = len(factors), len(moments)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*moments)
        ctx.save_for_backward(*factors, *moments)
        ctx.save_for_forward(*factors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        g, needs = gradients[0], ctx.needs_input_grad
        if g is None:
            return (None,) * (1 + ctx.count)
        saved = ctx.saved_tensors  # checkpoints allow one look
        (x, *mix), moments = saved[: ctx.count], saved[ctx.count :]
        if any(needs[2:]) and not ctx.over.transposed and not torch.is_grad_enabled():
            return None, *_derivatives(ctx.over, g, x, mix, moments, needs[1])
        dx = _Gather.apply(ctx.over.transpose, g, *mix) if needs[1] else None
        ends = (g, x) if ctx.over.transposed else (x, g)
        over = _Over(ctx.over.product)
        dmix = _Mix.apply(over, *ends) if any(needs[2:]) else [None] * len(mix)
        return None, dx, *dmix

    @staticmethod
    def jvp(ctx: Any, _: None, dx: Tensor | None, *dmix: Tensor | None) -> Tensor | tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x, *mix), parts = ctx.saved_tensors[: ctx.count], []
        if dx is not None:
            parts.append(_Gather.apply(ctx.over.alone, dx, *mix))
        if any(d is not None for d in dmix):
            given = [torch.zeros_like(w) if d is None else d for w, d in zip(mix, dmix, strict=True)]
            parts.append(_Gather.apply(ctx.over.alone, x, *given))
        dy = sum(parts[1:], parts[0])
        return (dy, *[None] * ctx.moments) if ctx.over.keeps else dy

    @staticmethod
    def vmap(info: Any, in_dims: tuple, over: _Over, x: Tensor, *mix: Tensor) -> tuple[Tensor, int]:
        def product(x: Tensor, mix: Sequence[Tensor]) -> Tensor:
            return _Gather.apply(over.alone, x, *mix)

        return _map_gather(product, info, in_dims[1], in_dims[2:], x, mix)


class _Mix(Function):
    """The derivative of the form by the matrices: x, y -> matrices."""

    @staticmethod
    def forward(over: _Over, x: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        return tuple(gather_mix(x, g, *over.where))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.over, *factors = inputs
        ctx.save_for_backward(*factors)
        ctx.save_for_forward(*factors)

    @staticmethod
    def backward(ctx: Any, *dmix: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x, g), needs = ctx.saved_tensors, ctx.needs_input_grad
        dx = _Gather.apply(ctx.over.transpose, g, *dmix) if needs[1] else None
        dg = _Gather.apply(ctx.over, x, *dmix) if needs[2] else None
        return None, dx, dg

    @staticmethod
    def jvp(ctx: Any, _: None, dx: Tensor | None, dg: Tensor | None) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, g = ctx.saved_tensors
        pairs = [(a, b) for a, b in ((dx, g), (x, dg)) if a is not None and b is not None]
        parts = [_Mix.apply(ctx.over, *pair) for pair in pairs]
        return tuple(torch.stack(each).sum(0) for each in zip(*parts, strict=True))

    @staticmethod
    def vmap(info: Any, in_dims: tuple, over: _Over, x: Tensor, g: Tensor) -> tuple[tuple, tuple]:
        mix, dims = _map_lists(lambda x, g: _Mix.apply(over, x, g), info, in_dims[1:], x, g)
        return tuple(mix), tuple(dims)
