"""A stencil is recognised by its tensors, and by its name.

Compiled and exported programs hand on tensors alone, and a DataLoader's workers send copies of them. What is
derived from a stencil must be found by these, or it would be made anew at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4
from weakref import WeakValueDictionary, ref

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from geocnn.errors import GeometryError

if TYPE_CHECKING:
    from geocnn.geometry.core.shifts import Shifts
    from geocnn.geometry.core.stencil import Stencil

_stencils: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""For the weights of stencils, functions that return the stencils with these weights as long as they live."""


_named: WeakValueDictionary[str, Stencil] = WeakValueDictionary()
"""The stencils that live, by name."""


def new_name() -> str:
    """Return a name that no stencil has in any process."""
    return uuid4().hex


def known_or_made(name: str, make: Callable[[], Stencil], shifts: Shifts | None) -> Stencil:
    """Return the stencil of this name if it lives here, else what `make` makes, with this name."""
    if name in _named:
        return _named[name]
    new = make()
    object.__setattr__(new, "shifts", shifts)
    object.__setattr__(new, "name", name)
    _named[name] = new
    return new


def remember(stencil: Stencil) -> None:
    """Let a stencil be recognised as long as it lives; one without entries, as long as its row_ptr does."""
    _named[stencil.name] = stencil
    key, alive = stencil.places[4], ref(stencil)
    if not isinstance(key, Tensor):
        return
    if key is stencil.row_ptr:
        make, again = _maker(stencil), []

        def known() -> Stencil:
            # a backward pass holds only row_ptr, of which no entries can be formed
            if alive() is None and not again:
                again.append(make())
            return alive() or again[0]

        _add(key, known)
    else:
        _add(key, alive)


def recognised(
    tensors: Sequence[Tensor | None], weight: Tensor, sizes: tuple[float, int], make: Callable[..., Stencil]
) -> Stencil:
    """Return the stencil with these tensors, `weight` among them.

    If there is none, `make` makes one of other tensors in the same memory, which lives as long as `weight`.
    Raises GeometryError for one without entries that is not known here.
    """
    bare = weight is tensors[0]
    for known in _known(weight):
        stencil = known()
        if stencil is None or (stencil.radius, stencil.n_source) != sizes:
            continue
        if bare or _same(stencil.places, tensors):
            return stencil
    if bare:
        raise GeometryError(
            "a program met a stencil whose entries were not formed, and which is not known here; ask for its "
            "entries, for example stencil.weight, before the program is compiled or exported"
        )
    # the tensor `weight` itself would keep itself alive
    made = make(*(None if t is None else t.detach() for t in tensors))
    _add(weight, lambda: made)
    return made


def changes(stencil: Stencil) -> tuple[int, ...]:
    """Return how often each tensor of the entries has been changed in place, as a state dict changes them."""
    if stencil.stored is not None:
        return ()
    return tuple(0 if t is None or t.is_inference() else t._version for t in stencil.places)


def _maker(stencil: Stencil) -> Callable[[], Stencil]:
    """Return a function that makes the same stencil again, and does not keep this one alive."""
    rest = stencil.stored, stencil.radius, stencil.n_source, stencil.group, stencil.samples
    return partial(type(stencil).deferred, *rest)


def _known(weight: Tensor) -> list[Callable[[], Stencil | None]]:
    return _stencils.get(weight) or []


def _add(weight: Tensor, stencil: Callable[[], Stencil | None]) -> None:
    alive = [known for known in _known(weight) if known() is not None]
    _stencils[weight] = [*alive, stencil]


def _same(tensors: Sequence[Tensor | None], others: Sequence[Tensor | None]) -> bool:
    return all(a is b or _place(a) == _place(b) for a, b in zip(tensors, others, strict=True))


def _place(t: Tensor | None) -> tuple:
    return () if t is None else (t.data_ptr(), t.shape, t.dtype)
