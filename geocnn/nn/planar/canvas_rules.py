"""The rules of torch functions on feature maps on an unbounded canvas (`geocnn.nn.planar.canvas`).

Maps that are added or concatenated are first extended to the same pixels. Functions that treat all pixels of
an image alike act on the stored ones. Functions that reduce all pixels leave out the margin. Windows are in
`geocnn.nn.planar.canvas_windows`. All other functions are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from geocnn.nn.planar.canvas import (
    RULES,
    Canvas,
    Rule,
    aligned,
    as_map,
    inner,
    last_axes,
    maps_in,
    refusal,
    rule,
)

# ---------------------------------------------------------------------------------- every pixel by itself


@rule("pointwise", "multiply", "subtract", "divide", "true_divide", "floor_divide", "rdiv", "type_as")
def _pointwise(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Act entry by entry on one map or several; other tensors broadcast."""
    maps = maps_in((args, kwargs))
    first = maps[0]
    values, start = _together(func, maps)
    for other in tree_leaves((args, kwargs)):
        if isinstance(other, Tensor) and not isinstance(other, Canvas):
            _same_everywhere(func, other, first)
    has_grown = any(v.shape != m.shape for v, m in zip(values, maps, strict=True))
    if has_grown:
        by_map = {id(m): v for m, v in zip(maps, values, strict=True)}
        args, kwargs = tree_map(lambda leaf: by_map.get(id(leaf), leaf), (args, kwargs))
    result = func(*args, **kwargs)
    if has_grown and func.__name__.endswith("_"):
        first.replaced = True
    return _maps(result, lambda y: [axis + y.ndim - first.ndim for axis in first.axes], start)


_ALIKE = """
batch_norm group_norm instance_norm local_response_norm prelu hardswish log_sigmoid logsigmoid softsign
tanhshrink dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout channel_shuffle
native_channel_shuffle contiguous detach data fill zero ones_like zeros_like to type cpu cuda float double
half bfloat16 requires_grad
"""


@rule(*_ALIKE.split())
def _pixelwise(func: Any, x: Canvas, *args: Any, **kwargs: Any) -> Any:
    """Treat all pixels of an image alike."""
    return _maps(func(x, *args, **kwargs), lambda _: x.axes, x.start)


def _together(func: Any, maps: Sequence[Canvas]) -> tuple[Sequence[Tensor], tuple[int, ...]]:
    first = maps[0]
    if any((m.ndim, m.axes) != (first.ndim, first.axes) for m in maps):
        raise refusal(func, "joins maps whose dimensions are in different orders")
    boxes = {(m.start, tuple(m.shape[axis] for axis in m.axes)) for m in maps}
    return (maps, first.start) if len(boxes) == 1 else aligned(maps)


def _same_everywhere(func: Any, other: Tensor, x: Canvas) -> None:
    for axis in (axis - x.ndim for axis in x.axes):
        if other.ndim >= -axis and other.shape[axis] != 1:
            raise refusal(func, "brings values that differ from place to place")


def _maps(result: Any, axes: Callable[[Tensor], Sequence[int]], start: Sequence[int]) -> Any:
    """Return results as maps; results of operations in place are maps already."""

    def to_map(y: Any) -> Any:
        is_plain = isinstance(y, Tensor) and not isinstance(y, Canvas)
        return as_map(y, axes(y), start) if is_plain else y

    return tree_map(to_map, result)


# --------------------------------------------------------------------------------- dimensions in order


@rule("shape", "size")
def _size(func, x, *args, **kwargs):
    x.size_read = True
    return func(x, *args, **kwargs)


@rule("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze")
def _reshape(func, x, *args, **kwargs):
    try:
        y = func(x.as_subclass(Tensor), *args, **kwargs)
    except RuntimeError as error:
        raise refusal(func, "cuts a map into parts of fixed sizes") from error
    # a dimension survives if its size, and the number of entries between its neighbours, are as before
    before, after = (list(zip(z.shape, _steps(z.shape), strict=True)) for z in (x, y))
    if any(before[axis] not in after for axis in x.axes):
        raise refusal(func, "flattens pixels, whose number depends on the canvas; pool them first")
    return as_map(y, [after.index(before[axis]) for axis in x.axes], x.start)


def _steps(shape: Sequence[int]) -> list[int]:
    return list(accumulate(reversed(shape[1:]), mul, initial=1))[::-1]


@rule("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "mT", "T")
def _permute(func, x, *args, **kwargs):
    steps = [2**k for k in range(x.ndim)]
    order = func(torch.empty_strided([2] * x.ndim, steps, device="meta"), *args, **kwargs).stride()
    return as_map(
        func(x.as_subclass(Tensor), *args, **kwargs), [order.index(steps[axis]) for axis in x.axes], x.start
    )


@rule("cat", "concat", "concatenate")
def _cat(func, tensors, dim=0):
    return _joined(func, tensors, dim, 0)


@rule("stack")
def _stack(func, tensors, dim=0):
    return _joined(func, tensors, dim, 1)


def _joined(func: Any, tensors: Sequence[Tensor], dim: int, added: int) -> Canvas:
    maps = maps_in(tensors)
    if len(maps) != len(tensors):
        raise refusal(func, "joins maps with a tensor that is none")
    values, start = _together(func, maps)
    dim = dim % (maps[0].ndim + added)
    if dim in maps[0].axes and not added:
        raise refusal(func, "puts images side by side")
    joined = func([v.as_subclass(Tensor) for v in values], dim)
    return as_map(joined, [axis + (added and dim <= axis) for axis in maps[0].axes], start)


def _along(position: int, default: int, removes: bool = False) -> Rule:
    """Return the rule of functions along one dimension `dim`, which must not be one of pixels."""

    def along(func, x, *args, **kwargs):
        dim = kwargs.get("dim", args[position] if len(args) > position else default)
        dim = (default if dim is None else dim) % x.ndim
        if dim in x.axes:
            raise refusal(func, "mixes pixels along an axis or counts them from the border")
        result = func(x.as_subclass(Tensor), *args, **kwargs)
        return _maps(result, lambda _: [axis - (removes and dim < axis) for axis in x.axes], x.start)

    return along


rule("softmax", "log_softmax", "softmin", "cumsum", "cumprod", "narrow", "index_select")(_along(0, 1))
rule("glu")(_along(0, -1))
rule("normalize")(_along(1, 1))
rule("chunk", "split", "tensor_split", "split_with_sizes")(_along(1, 0))
rule("unbind", "select")(_along(0, 0, removes=True))


@rule("linear")
def _linear(func, input, weight, bias=None):
    if input.ndim - 1 in input.axes:
        raise refusal(func, "mixes pixels")
    return as_map(func(input.as_subclass(Tensor), weight, bias), input.axes, input.start)


@rule("layer_norm")
def _layer_norm(func, input, normalized_shape, *args, **kwargs):
    if any(axis >= input.ndim - len(normalized_shape) for axis in input.axes):
        raise refusal(func, "has a weight for every place")
    return as_map(func(input.as_subclass(Tensor), normalized_shape, *args, **kwargs), input.axes, input.start)


# ------------------------------------------------------------------------------------- pixels reduced


@rule("mean", "sum", "amax", "amin", "std", "var", "prod", "logsumexp", "argmax", "argmin")
def _reduce(func, x, dim=None, *args, **kwargs):
    dims = range(x.ndim) if dim is None else [d % x.ndim for d in tree_leaves(dim)]
    kept_axes = [axis for axis in x.axes if axis not in dims]
    values = inner(x, [axis for axis in x.axes if axis in dims])
    reduced = func(values, *(() if dim is None else (dim,)), *args, **kwargs)
    if not kept_axes:
        return reduced
    start = [a for axis, a in zip(x.axes, x.start, strict=True) if axis in kept_axes]
    removed = [] if tree_leaves(reduced)[0].ndim == x.ndim else dims
    return _maps(reduced, lambda _: [axis - sum(d < axis for d in removed) for axis in kept_axes], start)


@rule("max", "min")
def _extreme(func, *args, **kwargs):
    binary = isinstance(kwargs.get("other"), Tensor) or any(isinstance(a, Tensor) for a in args[1:])
    return (_pointwise if binary else _reduce)(func, *args, **kwargs)


@rule(*(f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)))
def _adaptive(func, input, *args, **kwargs):
    return func(inner(last_axes(func, input, int(func.__name__[-2]))), *args, **kwargs)


# ------------------------------------------------------------------------------------- and what remains


@rule("base", "grad", "new_empty", "new_zeros", "new_ones", "new_full", "new_tensor")
def _plain(func, *args, **kwargs):
    return func(*args, **kwargs)


@rule("setitem")
def _setitem(func, *args):
    raise refusal(func, "writes to pixels by their place")


@rule("iter")
def _iter(func, x):
    return iter(RULES["unbind"](torch.unbind, x))
