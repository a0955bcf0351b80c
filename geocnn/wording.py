"""Words of messages."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, in the singular or in the plural.

    >>> counted(1, "face"), counted(0, "face"), counted(2, "vertex")
    ('1 face', '0 faces', '2 vertices')
    """
    plural = {"vertex": "vertices", "mesh": "meshes", "entry": "entries", "class": "classes"}.get(
        noun, f"{noun}s"
    )
    return f"{n} {noun if n == 1 else plural}"


def sized(n: float) -> str:
    """Return a number of bytes in a unit that is read.

    >>> sized(512), sized(57_600_000)
    ('512 B', '57.6 MB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f} B"
