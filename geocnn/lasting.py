"""Tensors that outlive the call that makes them must not depend on the mode of that call.

Inference mode makes tensors that autograd refuses for ever; autocast computes in half precision; `with
torch.device(...)` puts new tensors on another device; torch.func wraps them. Tensors that later calls use
must avoid all of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import wraps

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes


@contextmanager
def lasting() -> Iterator[None]:
    """Make new tensors normal ones, in their declared precision, and on the CPU unless a device is given.

    It is also a decorator, for functions whose result a cache or a property stores.

    >>> with torch.inference_mode(), lasting():
    ...     t = torch.zeros(2)
    >>> t.is_inference()
    False
    """
    kinds = ["cpu"]
    if torch.accelerator.is_available():
        kinds.append(torch.accelerator.current_accelerator().type)  # type: ignore[union-attr]
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        if torch._C._functorch.peek_interpreter_stack() is not None:  # type: ignore[attr-defined]
            modes.enter_context(temporarily_clear_interpreter_stack())
        modes.enter_context(torch.device("cpu"))
        for kind in kinds:
            modes.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute the same bits whatever the number of torch's threads is; also a decorator.

    Torch gives each thread a share of a long tensor. The last numbers of a share, too few for a vector
    register, are computed by other instructions, by which complex products, atan2, hypot and pow round
    differently.

    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def untraced() -> Iterator[None]:
    """Compute at once, also where a program is being traced: its operations are not recorded.

    >>> with untraced():
    ...     int(torch.ones(1))
    1
    """
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        yield


_are_shapes = False


@contextmanager
def shapes_only() -> Iterator[None]:
    """Say that tensors have shapes and no numbers, so that nothing made of them is stored for later calls."""
    global _are_shapes
    before, _are_shapes = _are_shapes, True
    try:
        yield
    finally:
        _are_shapes = before


def is_traced() -> bool:
    """Return whether tensors may have no numbers: in compilers, exporters and `shapes_only`."""
    return torch.compiler.is_compiling() or _are_shapes


def normal(t: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Return the tensor itself, or a copy that autograd accepts if inference mode made it."""
    if not t.is_inference():
        return t
    with torch.inference_mode(False):
        return t.clone()


@torch.library.custom_op("geocnn::snapshot", mutates_args=())
def snapshot(t: Tensor) -> Tensor:
    """Return a copy for the backward pass of a compiled graph. Instead of keeping an ordinary copy, that
    pass copies t again, though t may have changed since.
    """
    return t.clone()


@snapshot.register_fake
def _(t):
    return torch.empty_like(t)


def keep_normal(value: object) -> None:
    """Make the tensors in the fields of a frozen dataclass normal, in lists too; for `__post_init__`."""
    for field in fields(value):  # type: ignore[arg-type]
        content = getattr(value, field.name)
        if isinstance(content, Tensor):
            object.__setattr__(value, field.name, normal(content))
        elif isinstance(content, list):
            content[:] = [normal(part) if isinstance(part, Tensor) else part for part in content]


def kept(most: int) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Cache the tensors that a function last returned, up to `most` bytes in all.

    >>> calls = []
    >>> @kept(most=64)
    ... def zeros(n):
    ...     calls.append(n)
    ...     return torch.zeros(n)
    >>> _ = [zeros(n) for n in (1, 1, 12, 8, 12)]
    >>> calls
    [1, 12, 8, 12]
    """

    def decorate(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        cache: dict[tuple, Tensor] = {}  # in the order of their last use

        @wraps(make)
        def cached(*key) -> Tensor:
            if key in cache:
                cache[key] = cache.pop(key)
                return cache[key]
            with lasting():
                value = make(*key)
            cache[key] = value
            total = sum(t.nbytes for t in cache.values())
            while total > most:
                total -= cache.pop(next(iter(cache))).nbytes
            return value

        return cached

    return decorate
