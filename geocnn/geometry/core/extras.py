"""Optional libraries are imported when a function needs them; messages name the smallest extra of each."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from geocnn.errors import GeometryError

EXTRAS = {"nibabel": "neuro"}
"""Libraries of an extra smaller than `mesh`, which has all that geometry may need."""


def extra(module: str, task: str) -> ModuleType:
    """Import a module that a task needs. Raises GeometryError, which says how to install it, without it."""
    try:
        return import_module(module)
    except ImportError as missing:
        name = module.partition(".")[0]
        raise GeometryError(f"{task} needs {name}: {installing(name)}") from missing


def installing(library: str) -> str:
    """Return the command that installs a library, with the extra that has it.

    >>> installing("nibabel"), installing("trimesh")
    ("pip install 'geocnn[neuro]'", "pip install 'geocnn[mesh]'")
    """
    return f"pip install 'geocnn[{EXTRAS.get(library, 'mesh')}]'"
