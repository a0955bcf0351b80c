"""The rules of windows on feature maps on an unbounded canvas: convolutions, pooling, strides, interpolation.

Wherever windows leave a map's pixels they read its background, whatever padding they have on a bounded image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves

from geocnn.nn.planar.canvas import Canvas, as_map, beyond, extended, inner, last_axes, refusal, rule


class _Grid(NamedTuple):
    """The windows of a layer that see more of a map than its background, described along each axis.

    `before` and `after` are the pixels that they need beyond the stored ones; `start` is the number of the
    first window, which becomes the margin.

        pixels     … b │ m x x x x x │ b …      m the margin, x other stored pixels, b background
        windows      [first]   …  [last]        the first window ends at the margin, the last begins at the
                                                last stored pixel
    """

    before: list[int]
    after: list[int]
    start: list[int]


def _grid(
    x: Canvas, size: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> _Grid:
    """Return the windows of a layer: window j starts at pixel stride · j − padding, as on a bounded image."""
    grid = _Grid([], [], [])
    for axis, a, k, s, p, d in zip(x.axes, x.start, size, stride, padding, dilation, strict=True):
        last, reach = a + x.shape[axis] - 1, d * (k - 1)
        low, high = (a + p - reach) // s, (last + p) // s
        grid.before.append(a + p - s * low)
        grid.after.append(s * high - p + reach - last)
        grid.start.append(low)
    return grid


def _windows(x: Canvas, apply: Callable[[Tensor], Tensor], *of_windows: Sequence[int]) -> Canvas:
    """Apply a layer without padding to a map; `of_windows` are the arguments of `_grid`."""
    grid = _grid(x, *of_windows)
    return as_map(apply(extended(x, grid.before, grid.after)), x.axes, grid.start)


@rule("conv1d", "conv2d", "conv3d")
def _conv(func, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    x = last_axes(func, input, weight.ndim - 2)
    size = tuple(weight.shape[2:])
    stride, dilation = (_each(x, value) for value in (stride, dilation))
    if isinstance(padding, str):
        is_same = padding == "same"
        padding = tuple(d * (k - 1) // 2 * is_same for k, d in zip(size, dilation, strict=True))
    grid = _grid(x, size, stride, _each(x, padding), dilation)
    # by linearity: the difference from the background, padded with zeros, plus the background's own image
    around = beyond(x)
    common = [max(0, min(a, b)) for a, b in zip(grid.before, grid.after, strict=True)]
    rest = [c for a, b, p in zip(*grid[:2], common, strict=True) for c in (b - p, a - p)][::-1]
    difference = F.pad(x - around, rest) if any(rest) else x - around
    y = func(difference, weight, None, stride, common, dilation, groups)
    total = weight.flatten(2).sum(-1).view(*weight.shape[:2], *[1] * len(size))
    return as_map(y + func(around, total, bias, 1, 0, 1, groups), x.axes, grid.start)


@rule("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(
    func, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    x = last_axes(func, input, int(func.__name__[-2]))
    size = _each(x, kernel_size)
    if _is_whole(x, size):
        return inner(x).amax(x.axes, keepdim=True)
    stride, dilation = _each(x, stride or size), _each(x, dilation)
    return _windows(
        x, lambda y: func(y, size, stride, 0, dilation), size, stride, _each(x, padding), dilation
    )


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(
    func,
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    x = last_axes(func, input, int(func.__name__[-2]))
    size = _each(x, kernel_size)
    if _is_whole(x, size):
        return inner(x).mean(x.axes, keepdim=True)
    stride = _each(x, stride or size)
    scale = 1 if divisor_override is None else prod(size) / divisor_override
    return _windows(x, lambda y: func(y, size, stride) * scale, size, stride, _each(x, padding), _each(x, 1))


@rule("pixel_unshuffle")
def _pixel_unshuffle(func, input, downscale_factor):
    x = last_axes(func, input, 2)
    r = _each(x, downscale_factor)
    return _windows(x, lambda y: func(y, downscale_factor), r, r, _each(x, 0), _each(x, 1))


# pixels on either side that each mode reads
_REACH = {"nearest": 0, "nearest-exact": 0, "linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 2}


@rule("interpolate", "upsample")
def _interpolate(func, input, size=None, scale_factor=None, mode="nearest", align_corners=None, *_, **__):
    reach = _REACH.get(mode)
    factors = tree_leaves(scale_factor)
    if size is not None or align_corners or reach is None or not factors or any(s != int(s) for s in factors):
        raise refusal(func, "depends on the size; give a whole scale_factor, and not align_corners")
    x = last_axes(func, input)
    factors = [int(s) for s in _each(x, scale_factor)]
    y = func(extended(x, *[[reach] * len(x.axes)] * 2), scale_factor=tuple(map(float, factors)), mode=mode)
    start = []
    for axis, a, s in zip(x.axes, x.start, factors, strict=True):
        y = y.narrow(axis, s - 1, y.shape[axis] - s + 1)
        start.append((a - reach) * s + s - 1)
    return as_map(y, x.axes, start)


@rule("pad")
def _pad(func, input, pad, mode="constant", value=None):
    """Pad other axes; along pixels only move the count, since a map has no border."""
    x, start, pads = input, list(input.start), [int(p) for p in pad]
    for k in range(len(pads) // 2):
        axis = x.ndim - 1 - k
        if axis in x.axes:
            start[x.axes.index(axis)] += pads[2 * k]
            pads[2 * k : 2 * k + 2] = 0, 0
    values = x.as_subclass(Tensor)
    return as_map(func(values, pads, mode, value) if any(pads) else values, x.axes, start)


@rule("getitem")
def _getitem(func, x, index):
    """Move the count, and stride, by slices of pixels: these cut nothing off."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [item for item in items if not isinstance(item, Tensor)]:
        at = next(k for k, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (x.ndim - sum(i is not None for i in items) + 1)
    items += [slice(None)] * (x.ndim - sum(i is not None for i in items))
    dim, axes, offsets, strides = 0, [], [], []
    for k, item in enumerate(items):
        if item is not None and dim in x.axes:
            offset, stride = _slice(func, item)
            axes.append(sum(not isinstance(i, int) for i in items[:k]))
            offsets.append(-offset)
            strides.append(stride)
            items[k] = slice(None)
        elif isinstance(item, Tensor | list) and torch.as_tensor(item).ndim != 1:
            raise refusal(func, "selects by a tensor of several dimensions")
        dim += item is not None
    y = as_map(func(x.as_subclass(Tensor), tuple(items)), axes, x.start)
    if not any(offsets) and set(strides) == {1}:
        return y
    ones = [1] * len(axes)
    steps = [slice(None)] * y.ndim
    for axis, stride in zip(axes, strides, strict=True):
        steps[axis] = slice(None, None, stride)
    return _windows(y, lambda z: z[tuple(steps)], ones, strides, offsets, ones)


def _slice(func: Any, item: Any) -> tuple[int, int]:
    if not isinstance(item, slice) or (item.start or 0) < 0:
        raise refusal(func, "picks pixels by their place or from the far end, which a canvas does not have")
    return int(item.start or 0), int(item.step or 1)


def _each(x: Canvas, value: Any) -> tuple[Any, ...]:
    value = tuple(value) if isinstance(value, Sequence) else (value,)
    return value * len(x.axes) if len(value) == 1 else value


def _is_whole(x: Canvas, size: Sequence[int]) -> bool:
    """Return whether pooling is over the whole map: windows of its size, in code that has read the size."""
    return x.size_read and tuple(size) == tuple(x.shape[axis] for axis in x.axes)
