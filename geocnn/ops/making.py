"""What products over stencils make and keep, and the work of each of them, for a ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from geocnn.ops import kept, product
from geocnn.ops.adjoint import adjoint, takes_fewer
from geocnn.ops.joint import LARGE
from geocnn.ops.ledger import Work
from geocnn.ops.operators import CHUNK, RANGE_BYTES, Size, are_kept
from geocnn.ops.plan import plan_of
from geocnn.ops.product import gather_both, gather_forward, gather_mix, gather_transpose
from geocnn.ops.sizes import ClassSize, TilingSize
from geocnn.ops.work import Shape, operations, transpose_numbers, walk_numbers

COLUMNS = 12
"""Numbers per entry while coefficients are computed: the columns of its rows, its places, its angles."""

FORWARD, TRANSPOSE, MIX, BOTH = (
    getattr(torch.ops.geocnn, op._name.removeprefix("geocnn::")).default
    for op in (gather_forward, gather_transpose, gather_mix, gather_both)
)


class GatherWork:
    """Tells a Ledger what products over stencils take; `sizes` are by the ids of the stencils' weights.

    The first product over a stencil makes its tiling and its operator, and leaves them. With `gradients`, of
    x and of weights, few moments are held from the product to its backward pass.
    """

    def __init__(self, sizes: Mapping[int, TilingSize], gradients: bool):
        self.sizes, self.gradients, self.kept = sizes, gradients, 0.0
        self._made: set[tuple] = set()

    def __call__(self, func: Any, args: tuple, results: Any) -> Work | None:
        if func not in (FORWARD, TRANSPOSE, MIX, BOTH):
            return None
        x, weight, plan = args[0], args[-9], plan_of(args[-1])
        shape = Shape(self.sizes[id(weight)], plan, x.shape[0], x.dtype, x.device)
        there = sum(t.nbytes for t in ([results] if isinstance(results, Tensor) else results))
        if func is BOTH and (back := _adjoint(shape)) is not None:
            before = self._transposed(shape, weight.dtype)
            making, left = self._operator(back, weight.dtype)
            scratch = x.element_size() * walk_numbers(back, True) - there
            return Work(scratch, making + before, left + before, operations(back, 2))
        making, left = self._operator(shape, weight.dtype)
        held, work = self._held(func, shape), operations(shape) * (2 if func is BOTH else 1)
        if held and func is BOTH:
            work = operations(shape) + operations(shape, 1) - operations(shape, 0)
            scratch = x.element_size() * _numbers(func, shape, held=True)
            return Work(scratch - there, making, left, work, -held)
        scratch = held
        if not is_kept(shape):
            # the ranges' results lie side by side before they are joined
            scratch = x.element_size() * (shape.split + shape.by_tile)
            shape = shape._replace(size=range_size(shape))
            scratch += forming(shape, weight.dtype)
        scratch += x.element_size() * _numbers(func, shape)
        return Work(scratch - there, making, left, work, held)

    def _held(self, func: Any, shape: Shape) -> float:
        """Return the bytes of the moments that a product holds for its backward pass."""
        size = shape.batch * shape.size.n_target * shape.plan.n_moments * shape.dtype.itemsize
        if not self.gradients or func not in (FORWARD, BOTH) or not 0 < size <= product.MOMENT_BYTES:
            return 0.0
        return size if is_kept(shape) and _adjoint(shape) is None else 0.0

    def _transposed(self, shape: Shape, own: torch.dtype) -> float:
        """Return the bytes of the transposed stencil, 0 where it is there already."""
        if not self._first(shape.size, "transposed"):
            return 0.0
        entries = sum(part.entries * part.copies for part in shape.size.parts or (shape.size,))
        size = entries * (8 + 4 * own.itemsize) + 8 * shape.size.n_source
        # a batch has copies of its parts'
        size *= 2 if shape.size.parts else 1
        self.kept += size
        return size

    def _operator(self, shape: Shape, own: torch.dtype) -> tuple[float, float]:
        """Return the most bytes that making the stencil's operator takes, and those that are left of it."""
        peak = left = 0.0
        key = shape.plan.basis or shape.plan.source.irreps
        for size in shape.size.parts or (shape.size,):
            one = shape._replace(size=size)
            if self._first(size, "tiling"):
                peak, left = max(peak, left + size.making), left + size.bytes
            if is_kept(shape) and self._first(size, key, shape.dtype):
                peak = max(peak, left + forming(one, own))
                left += bytes_of_operator(one)
        if shape.size.parts and self._first(shape.size, "index"):
            left += shape.size.bytes
        if shape.size.parts and is_kept(shape) and self._first(shape.size, key, shape.dtype):
            left += bytes_of_joint(shape)
        if not is_kept(shape) and self._first(shape.size, "ranges", shape.numbers):
            left += 12 * shape.size.slots + 12 * shape.size.n_source
        # the oldest are dropped where the bound is reached
        left = min(left, max(0.0, kept.KEPT_BYTES - self.kept))
        self.kept += left
        return max(peak, left), left

    def _first(self, *key: Any) -> bool:
        is_first = key not in self._made
        self._made.add(key)
        return is_first


def _numbers(func: Any, s: Shape, held: bool = False) -> float:
    """Return the most numbers that live at once inside of an operator, its results included; moments may be
    held already.
    """
    weights = sum(math.prod(shape) for shape in s.plan.shapes)
    if func is FORWARD:
        return walk_numbers(s, False)
    if func is TRANSPOSE:
        return transpose_numbers(s)
    mix = weights + walk_numbers(s, True, held)
    dx = s.batch * s.size.n_source * s.plan.source.dim
    return mix if func is MIX else max(transpose_numbers(s), dx + mix)


def _adjoint(s: Shape) -> Shape | None:
    """Return the shape of the adjoint product if both derivatives take fewer operations that way."""
    size = s.size
    if s.plan.basis is None or size.back is None or not is_kept(s):
        return None
    if not takes_fewer(s.plan, Size(size.pairs, size.share), size.n_target, size.n_source):
        return None
    return s._replace(size=size.back, plan=adjoint(s.plan.name).plan)


def bytes_of_operator(shape: Shape) -> float:
    """Return the size of a stencil's operator."""
    return shape.size.cells * shape.numbers * shape.dtype.itemsize


def is_kept(shape: Shape) -> bool:
    """Return whether the operator is kept, and not formed in ranges at every call."""
    sizes = shape.size.parts or (shape.size,)
    each = [bytes_of_operator(shape._replace(size=size)) for size in sizes]
    return shape.plan.basis is None or are_kept(each)


def bytes_of_joint(shape: Shape) -> float:
    """Return the size of the small classes that stencils side by side copy from their parts' operators."""
    large = LARGE.get(shape.device.type, LARGE["cuda"])
    cells = [c.cells for part in shape.size.parts if part.copies == 1 for c in part.classes]
    return sum(n for n in cells if n < large) * shape.numbers * shape.dtype.itemsize


def range_size(shape: Shape) -> TilingSize:
    """Return the size of the largest range of tiles."""
    most = RANGE_BYTES.get(shape.device.type, RANGE_BYTES["cuda"])
    cells, copies = most / (shape.numbers * shape.dtype.itemsize), shape.size.copies

    def cut(c: ClassSize) -> ClassSize:
        return replace(c, tiles=min(c.tiles, copies * max(1, int(cells / (c.k * c.u)))))

    widest = max((cut(c) for c in shape.size.classes), key=lambda c: c.tiles * c.u)
    n_source = min(shape.size.n_source, widest.tiles * widest.u)
    return replace(shape.size, classes=(widest,), n_source=n_source, in_order=True, parts=())


def forming(shape: Shape, own: torch.dtype) -> float:
    """Return the most bytes that forming an operator takes, itself included. It is formed one class of tiles
    after another, in chunks of the stencil's own precision.
    """
    basis, most, blocks, size = shape.plan.basis, 0.0, 0.0, shape.size
    radial = 0 if basis is None else basis.rings * len({m.frequency for m in basis.moments})
    share = max(1.0, size.share)
    for c in size.classes:
        per_tile, shapes = c.k * c.u, c.tiles / size.copies
        cells = min(shapes, max(1, int(CHUNK / (per_tile * share)))) * per_tile
        # padding has no entries
        entries = cells * size.share * min(1.0, size.entries / max(1, size.share * size.cells))
        numbers = shape.numbers * (entries + cells) + (radial + COLUMNS) * entries
        blocks += shape.dtype.itemsize * shape.numbers * shapes * per_tile
        most = max(most, blocks + own.itemsize * numbers)
    return most
