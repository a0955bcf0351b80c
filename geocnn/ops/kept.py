"""What is derived from stencils is kept with them, within a bound on the bytes of all together.

A stencil that is no longer used takes its own along. Beyond the bound, what was made first is dropped first,
and made again when it is needed again.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import count
from threading import RLock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from torch import Tensor

from geocnn.geometry.core.stencil import Stencil

KEPT_BYTES = 2**32
"""The bound. What is larger is kept alone."""

ROOM = 0.125
"""Where the bound is reached, so much of it is made free at once, since counting looks at everything."""


class _Made(NamedTuple):
    age: int
    memory: dict[int, int]
    """Bytes by address; stencils side by side share those of their parts."""


_made: WeakKeyDictionary[Stencil, dict[Hashable, _Made]] = WeakKeyDictionary()
_count = count()
_lock = RLock()
_at_most = 0
"""At least the bytes that are kept."""


def keep(stencil: Stencil, key: Hashable, value: Any) -> None:
    """Keep a value with a stencil, and drop the oldest of others beyond KEPT_BYTES."""
    global _at_most
    new = _Made(next(_count), _memory(value))
    with _lock:
        stencil.operators[key] = value
        _made.setdefault(stencil, {})[key] = new
        _at_most += sum(new.memory.values())
        if _at_most > KEPT_BYTES:
            _at_most = _drop_oldest()


def kept_bytes() -> int:
    """Return the bytes of all operators and tilings that are kept with stencils.

    >>> import torch, geocnn.geometry as geometry
    >>> from geocnn.nn import GaugeConv
    >>> forget(); stencil = geometry.healpix(2).stencil(1.0)
    >>> y = GaugeConv("1x0", "1x0")(torch.zeros(48, 1), stencil); kept_bytes() > 0
    True
    """
    return sum({at: size for _, _, made in _alive() for at, size in made.memory.items()}.values())


def forget() -> None:
    """Drop all operators and tilings that are kept with stencils; they are made again when needed."""
    global _at_most
    for stencil in list(_made):
        stencil.operators.clear()
    _made.clear()
    _at_most = 0


def _drop_oldest() -> int:
    """Drop the oldest values, never the newest, if all exceed the bound; return the bytes that are left."""
    if (total := kept_bytes()) <= KEPT_BYTES:
        return total
    users: dict[int, int] = {}
    oldest_first = sorted(_alive(), key=lambda kept: kept[2].age)
    for _, _, made in oldest_first:
        for at in made.memory:
            users[at] = users.get(at, 0) + 1
    for owner, key, made in oldest_first[:-1]:
        if total <= (1 - ROOM) * KEPT_BYTES:
            break
        owner.operators.pop(key, None)
        for at, size in made.memory.items():
            users[at] -= 1
            total -= size if users[at] == 0 else 0
    return total


def _alive() -> list[tuple[Stencil, Hashable, _Made]]:
    """Return what is kept."""
    return [
        (stencil, key, made)
        for stencil, own in list(_made.items())
        for key, made in own.items()
        if key in stencil.operators
    ]


def _memory(value: Any) -> dict[int, int]:
    """Return the bytes of the tensors in a value, by address."""
    if isinstance(value, Tensor):
        return {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()}
    if isinstance(value, Stencil):
        value = value.places
    parts = value if isinstance(value, list | tuple) else ()
    return {at: size for part in parts for at, size in _memory(part).items()}
