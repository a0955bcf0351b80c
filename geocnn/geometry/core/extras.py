"""Libraries of the extra `mesh`, imported when a function needs them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from geocnn.errors import GeometryError


def extra(module: str, task: str) -> ModuleType:
    """Import a module that a task needs. Raises GeometryError, which says how to install it, without it."""
    try:
        return import_module(module)
    except ImportError as missing:
        name = module.partition(".")[0]
        raise GeometryError(f"{task} needs {name}: pip install 'geocnn[mesh]'") from missing
