"""Tensors that outlive the call that makes them: alike whatever mode that call was made in.

Inference mode makes tensors that autograd refuses for ever; autocast computes in half precision; `with
torch.device(...)` puts new tensors elsewhere. What is kept for later calls must know of none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import wraps

import torch
from torch import Tensor


@contextmanager
def lasting() -> Iterator[None]:
    """While this lasts, new tensors are normal ones, in the precision asked for, on the CPU unless told
    otherwise. Also a decorator, for what a cache or a property keeps.

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
        modes.enter_context(torch.device("cpu"))
        for kind in kinds:
            modes.enter_context(torch.autocast(kind, enabled=False))
        yield


def normal(t: Tensor) -> Tensor:
    """The tensor itself; of one made in inference mode a copy that autograd takes."""
    if not t.is_inference():
        return t
    with torch.inference_mode(False):
        return t.clone()


def keep_normal(value: object) -> None:
    """Makes the tensors in the fields of a frozen dataclass normal ones, those in lists too; for
    `__post_init__`.
    """
    for field in fields(value):  # type: ignore[arg-type]
        held = getattr(value, field.name)
        if isinstance(held, Tensor):
            object.__setattr__(value, field.name, normal(held))
        elif isinstance(held, list):
            held[:] = [normal(part) if isinstance(part, Tensor) else part for part in held]


def kept(most: int) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Keeps the tensors that a function last returned, up to so many bytes of them.

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
        held: dict[tuple, Tensor] = {}  # the last used last

        @wraps(make)
        def found(*key) -> Tensor:
            if key in held:
                held[key] = held.pop(key)
                return held[key]
            with lasting():
                value = make(*key)
            held[key] = value
            total = sum(t.nbytes for t in held.values())
            while total > most:
                total -= held.pop(next(iter(held))).nbytes
            return value

        return found

    return decorate
