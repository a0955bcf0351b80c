"""A decorator for functions that torch.compile does not trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

Wrapped = TypeVar("Wrapped", bound=Callable[..., Any])


def uncompiled(function: Wrapped) -> Wrapped:
    """Return the function such that it runs uncompiled inside a compiled function.

    Compilers cannot follow the rules of a tensor subclass. The code before and after is compiled.
    `torch.compiler.disable` does the same, but its import takes seconds, which this saves everyone who does
    not compile.
    """

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return cast(Wrapped, wrapper)
