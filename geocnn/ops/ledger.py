"""A ledger of the memory that tensors take and of the operations that are done on them.

Nothing has to be computed: on fake tensors, which have shapes and no numbers, it finds what real ones would
take. What happens inside of a custom operator it cannot see; `inside` tells it.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from geocnn.lasting import untraced


class Work(NamedTuple):
    """What an operator does inside.

    scratch: bytes that it takes at every call, beside its results.
    making: bytes that it takes while it makes what it leaves, which is included.
    left: bytes that it leaves, and will not make again.
    operations: floating-point operations.
    held: bytes that are held from now on, for a backward pass; negative where they are held no more.
    stays: whether the results are part of what it leaves.
    """

    scratch: float = 0
    making: float = 0
    left: float = 0
    operations: float = 0
    held: float = 0
    stays: bool = False


Inside = Callable[[Any, tuple, Any], "Work | None"]
"""(operator, its arguments, its results) -> its work, None for operators that are not known."""


class Ledger(TorchDispatchMode):
    """Counts bytes of tensors made while it is entered: those `alive`, and the most that ever were, `peak`.

    `later` would be the peak if nothing had to be made that operators leave, and `left` are its bytes.

    >>> with Ledger() as ledger:
    ...     x = torch.zeros(1000, dtype=torch.float64); x = (x + 1).sum()
    >>> ledger.peak, ledger.alive
    (16008, 8)
    """

    def __init__(self, inside: Inside = lambda operator, given, results: None):
        super().__init__()
        self.inside = inside
        self.alive, self.peak, self.later, self.left, self.operations = 0, 0, 0, 0, 0.0
        self._known: set[int] = set()

    def ignore(self, value: Any) -> None:
        """Do not count the tensors of a value, nor views of them."""
        for t in _tensors(value):
            self._know(t, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        results = func(*args, **(kwargs or {}))
        # what it computes, and may store for later, has numbers
        with untraced():
            work = self.inside(func, args, results)
        if work is None:
            counted = operations_of(func, args, kwargs or {}, results)
            work = Work(_sorting(func, args), operations=counted)
        self.operations += work.operations
        # what is made is there before the results are
        self.peak = max(self.peak, self.alive + self.left + round(work.making))
        for t in _tensors(results):
            self._know(t, 0 if work.stays else t.untyped_storage().nbytes())
        self.left += round(work.left)
        now = self.alive + max(0, round(work.scratch))
        self.peak, self.later = max(self.peak, now + self.left), max(self.later, now)
        self.alive += round(work.held)
        return results

    def _know(self, t: Tensor, size: int) -> None:
        """Count so many bytes while the tensor's memory lives, unless it is known already."""
        storage = t.untyped_storage()
        if (at := storage._cdata) in self._known:
            return
        self._known.add(at)
        self.alive += size
        weakref.finalize(storage, self._forget, at, size)

    def _forget(self, at: int, size: int) -> None:
        self._known.discard(at)
        self.alive -= size


def operations_of(func: Any, args: tuple, kwargs: dict, results: Any) -> float:
    """Return the floating-point operations of a matrix product or a Fourier transform, 0 for others."""
    name = func._overloadpacket.__name__
    formula = flop_registry.get(getattr(torch.ops.aten, name.removesuffix("_"), None))
    if formula is not None:
        # a complex product is four real ones
        is_complex = any(t.is_complex() for t in _tensors(results))
        return (4 if is_complex else 1) * formula(*args, **kwargs, out_val=results)
    if func._overloadpacket in _FOURIER:
        sizes = [max(args[0].shape[d], results.shape[d]) for d in args[1]]
        n = math.prod(sizes)
        rows = max(args[0].numel(), results.numel()) // max(n, 1)
        return (5 if func is torch.ops.aten._fft_c2c.default else 2.5) * rows * n * math.log2(max(n, 2))
    return 0


_FOURIER = (torch.ops.aten._fft_r2c, torch.ops.aten._fft_c2r, torch.ops.aten._fft_c2c)
_COPIES = {torch.ops.aten._unique2: 2, torch.ops.aten.sort: 1}
"""Copies of values, or of their places, that sorting makes inside."""


def _sorting(func: Any, args: tuple) -> float:
    return _COPIES[func._overloadpacket] * args[0].nbytes if func._overloadpacket in _COPIES else 0


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
