"""Transforms that torch.compile leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def uncompiled(function: Function) -> Function:
    """The same, run as written inside a compiled function: tables that are kept from call to call, and
    complex numbers, are not for compilers. What comes before and after is compiled.

    `torch.compiler.disable` does this, and takes seconds to import; here only those wait who compile.
    """

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return cast(Function, called)
