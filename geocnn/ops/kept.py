"""What is derived from stencils is kept with them, within a bound on the bytes of all together.

A stencil that is no longer used takes its own along. Beyond the bound, what was made first is dropped first,
and made again when it is needed again.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from geocnn.geometry.core.stencil import Stencil

KEPT_BYTES = 2**32
"""The bound. What is larger is kept alone."""

_ages: WeakKeyDictionary[Stencil, dict[Hashable, tuple[int, int]]] = WeakKeyDictionary()
"""Per stencil and key when the value was made, counted on, and its bytes."""
_count = count()


def keep(stencil: Stencil, key: Hashable, value: Any) -> None:
    """Keep a value with a stencil, and drop the oldest of others beyond KEPT_BYTES."""
    stencil.operators[key] = value
    _ages.setdefault(stencil, {})[key] = next(_count), _nbytes(value)
    oldest_first = sorted(_alive(), key=lambda kept: kept[2])
    total = sum(size for _, _, _, size in oldest_first)
    for owner, k, _, size in oldest_first[:-1]:
        if total <= KEPT_BYTES:
            break
        del owner.operators[k]
        total -= size


def kept_bytes() -> int:
    """Return the bytes of all operators and tilings that are kept with stencils.

    >>> import torch, geocnn.geometry as geometry
    >>> from geocnn.nn import GaugeConv
    >>> forget(); stencil = geometry.healpix(2).stencil(1.0)
    >>> y = GaugeConv("1x0", "1x0")(torch.zeros(48, 1), stencil); kept_bytes() > 0
    True
    """
    return sum(size for _, _, _, size in _alive())


def forget() -> None:
    """Drop all operators and tilings that are kept with stencils; they are made again when needed."""
    for stencil in list(_ages):
        stencil.operators.clear()
    _ages.clear()


def _alive() -> list[tuple[Stencil, Hashable, int, int]]:
    """Return what is kept: the stencil, the key, the age and the bytes."""
    return [
        (stencil, key, age, size)
        for stencil, own in list(_ages.items())
        for key, (age, size) in own.items()
        if key in stencil.operators
    ]


def _nbytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(_nbytes(part) for part in value) if isinstance(value, list | tuple) else 0
