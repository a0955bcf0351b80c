"""Feature maps on an unbounded canvas: their stored pixels, the place of these, and the value beyond.

A network on bounded images counts pixels from 0. Its maps here keep that count, from −∞ to ∞, and store the
part where values vary. Everywhere else, each channel of an image has one value, the background. The first
stored pixel along each axis, the margin, belongs to the background and so holds its value: a layer that
treats all pixels of an image alike updates it with the others, and a layer that needs pixels beyond copies
it.

    b b b b b b b …      x  stored pixels, which vary
    b m m m m m b …      m  the margin: stored pixels that hold the background
    b m x x x x b …      b  background, which is not stored
    b m x x x x b …
    b b b b b b b …

The rules of torch functions on such maps are in `canvas_rules` and `canvas_windows`, beside this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from geocnn.errors import GeometryError
from geocnn.nn.planar.uncompiled import uncompiled

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


class Canvas(Tensor):
    """A tensor of feature maps on an unbounded canvas.

    The result of a torch function is a Canvas as long as it has pixels; reducing all pixels gives a plain
    tensor.
    """

    axes: tuple[int, ...]
    """The dimensions of the pixels."""
    start: tuple[int, ...]
    """The number of the first stored pixel along each of them."""
    size_read: bool = False
    """Whether code of the network has asked for the size."""
    replaced: bool = False
    """Whether an operation in place needed more pixels, so that its result is another tensor."""

    @classmethod
    @uncompiled
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            kwargs = kwargs or {}
            if any(m.replaced for m in maps_in((args, kwargs))):
                raise GeometryError(
                    f"{caller()} uses a map after an operation in place that had to enlarge it; "
                    "write x = x + y in place of x.add_(y)"
                )
            name = function_name(func)
            rule = RULES.get(name, RULES["pointwise"] if is_pointwise(name) else None)
            if rule is not None:
                return rule(func, *args, **kwargs)
            result = func(*args, **kwargs)
            if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
                raise refusal(func, "is not known on an unbounded canvas")
            return result


def rule(*names: str):
    """Decorate the rule by which functions of these names act on maps: (function, *arguments) -> result."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def place(x: Float[Tensor, "b c *pixels"], background: Float[Tensor, " #c"]) -> Canvas:
    """Place images on a canvas of value `background`."""
    n = x.ndim - 2
    margin = background.to(x).view(1, -1, *[1] * n)
    shape = [a + 1 for a in x.shape[2:]]
    values = margin.expand(*x.shape[:2], *shape).clone()
    values[(..., *[slice(1, None)] * n)] = x
    return as_map(values, tuple(range(2, x.ndim)), (-1,) * n)


def as_map(values: Tensor, axes: Sequence[int], start: Sequence[int]) -> Canvas:
    """Return stored values, whose first pixel along each axis is the margin, as a map."""
    x = values.as_subclass(Canvas)
    x.axes, x.start = tuple(axes), tuple(start)
    return x


def beyond(x: Canvas) -> Tensor:
    """Return the background of each map, of size 1 along every pixel axis."""
    for axis in x.axes:
        x = x.narrow(axis, 0, 1)  # type: ignore[assignment]
    return x


def stored(x: Canvas) -> tuple[Tensor, Tensor]:
    """Return the stored values and the background as plain tensors."""
    with torch._C.DisableTorchFunctionSubclass():
        return x.as_subclass(Tensor), beyond(x).as_subclass(Tensor)


def inner(x: Canvas, axes: Sequence[int] | None = None) -> Tensor:
    """Return the stored values without their margin along `axes`, by default along all."""
    values = x.as_subclass(Tensor)
    for axis in x.axes if axes is None else axes:
        values = values.narrow(axis, 1, values.shape[axis] - 1)
    return values


def extended(x: Canvas, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Return the stored values with more pixels before and after along each axis, fewer if `after` < 0."""
    if not any(before) and not any(after):
        return x.as_subclass(Tensor)
    pads, outside = [0] * 2 * x.ndim, torch.zeros((), dtype=torch.bool, device=x.device)
    for axis, a, b in zip(x.axes, before, after, strict=True):
        pads[2 * axis : 2 * axis + 2] = b, a  # `pad` counts axes from the last, so this is reversed below
        index = torch.arange(x.shape[axis] + a + b, device=x.device)
        row = (index < a) | (index >= a + x.shape[axis])
        outside = outside | row.view(-1, *[1] * (x.ndim - axis - 1))
    return torch.where(outside, beyond(x), F.pad(x.as_subclass(Tensor), pads[::-1]))


def aligned(maps: Sequence[Canvas]) -> tuple[list[Tensor], tuple[int, ...]]:
    """Return the values of several maps over all pixels that one of them stores, and the first pixel."""
    starts = torch.tensor([m.start for m in maps])
    ends = starts + torch.tensor([[m.shape[axis] for axis in m.axes] for m in maps])
    start, end = starts.amin(0), ends.amax(0)
    before, after = (starts - start).tolist(), (end - ends).tolist()
    return [extended(m, a, b) for m, a, b in zip(maps, before, after, strict=True)], tuple(start.tolist())


def maps_in(values: Any) -> list[Canvas]:
    """Return all maps among nested arguments."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Canvas)]


def function_name(func: Any) -> str:
    """Return the plain name of a function, method, operator or property of tensors: `add` of Tensor.add_."""
    name = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__
    return name.strip("_")


def last_axes(func: Any, x: Any, n: int | None = None) -> Canvas:
    """Return x, which must be a map whose last n axes are its pixels."""
    if not isinstance(x, Canvas):
        raise refusal(func, "takes its weights from a map")
    n = len(x.axes) if n is None else n
    if x.axes != tuple(range(x.ndim - n, x.ndim)):
        raise refusal(func, f"takes maps with {n} pixel axes at the end, but this one has pixels in {x.axes}")
    return x


@cache
def is_pointwise(name: str) -> bool:
    """Return whether torch computes each entry of the result from the entries at its place alone."""
    # the names of a + b, b - a and a += b are add, rsub and iadd
    for candidate in (name, name[1:]):
        operator = getattr(torch.ops.aten, candidate, None)
        if operator is not None:
            return any(torch.Tag.pointwise in getattr(operator, o).tags for o in operator.overloads())
    return False


def refusal(func: Any, reason: str) -> GeometryError:
    """Return the error of a function that cannot act on a map for that reason."""
    return GeometryError(
        f"{caller()} calls {function_name(func)}, which {reason}; convert the part of the network before it, "
        "or use another layer"
    )


def caller() -> str:
    """Return the name, within the network, of the module whose forward runs."""
    modules, frame = [], sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            modules.append(owner)
        frame = frame.f_back
    for outer in reversed(modules):
        for name, module in outer.named_modules():
            if module is modules[0] and name:
                return f"{name} ({type(module).__name__})"
    return type(modules[0]).__name__ if modules else "code outside a module"
