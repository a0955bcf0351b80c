"""A stencil is recognised by its tensors.

Compiled and exported programs hand on tensors alone. What is derived from a stencil must be found by them, or
it would be made anew at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from weakref import ref

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

if TYPE_CHECKING:
    from geocnn.geometry.core.stencil import Stencil

_stencils: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""For the weights of stencils, functions that return the stencils with these weights as long as they live."""


def remember(stencil: Stencil) -> None:
    """Let a stencil be recognised as long as it lives."""
    if isinstance(stencil.weight, Tensor):
        _add(stencil.weight, ref(stencil))


def recognised(
    tensors: Sequence[Tensor | None], weight: Tensor, radius: float, make: Callable[..., Stencil]
) -> Stencil:
    """Return the stencil with these tensors, `weight` among them.

    If there is none, `make` makes one of other tensors in the same memory, which lives as long as `weight`.
    """
    for known in _known(weight):
        stencil = known()
        if stencil is not None and stencil.radius == radius and _same(stencil.places, tensors):
            return stencil
    # the tensor `weight` itself would keep itself alive
    made = make(*(None if t is None else t.detach() for t in tensors))
    _add(weight, lambda: made)
    return made


def _known(weight: Tensor) -> list[Callable[[], Stencil | None]]:
    return _stencils.get(weight) or []


def _add(weight: Tensor, stencil: Callable[[], Stencil | None]) -> None:
    alive = [known for known in _known(weight) if known() is not None]
    _stencils[weight] = [*alive, stencil]


def _same(tensors: Sequence[Tensor | None], others: Sequence[Tensor | None]) -> bool:
    return all(a is b or _place(a) == _place(b) for a, b in zip(tensors, others, strict=True))


def _place(t: Tensor | None) -> tuple:
    return () if t is None else (t.data_ptr(), t.shape, t.dtype)
