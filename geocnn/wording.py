"""Words of messages."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, in the singular or in the plural.

    >>> counted(1, "face"), counted(0, "face"), counted(2, "vertex")
    ('1 face', '0 faces', '2 vertices')
    """
    plural = {"vertex": "vertices", "mesh": "meshes", "entry": "entries"}.get(noun, f"{noun}s")
    return f"{n} {noun if n == 1 else plural}"
