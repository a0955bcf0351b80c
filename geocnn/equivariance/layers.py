"""Which layer breaks a symmetry: each module is given what it should have got, and must give what it should.

First the model runs on the field as it is, and what goes into and comes out of every module is kept. Then it
runs on the moved field, and on the way each module's input is replaced by the kept one moved, and its output
likewise, so that no error is passed on: what a module's output is off by is its own doing, and what arrives
off at a module is the doing of the module that called it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geocnn.equivariance.errors import relative
from geocnn.equivariance.trials import Trial
from geocnn.groups.field_type import FieldType


class Call(NamedTuple):
    """What went into a module and came out; their types, None where unknown."""

    x: Tensor
    y: Tensor
    in_type: FieldType | None
    out_type: FieldType | None


class State(NamedTuple):
    """A tensor, and its values at the time: layers may write into what they are given."""

    tensor: Tensor
    then: Tensor


Calls = dict[tuple[str, int], Call]
"""By the module's name, and the number of the call."""


def run(model: Any, x: Tensor, where: Any) -> Tensor:
    """The answer to a copy of x, which models may write into."""
    with torch.no_grad():
        return model(x.clone()) if where is None else model(x.clone(), where)


def layer_errors(model: nn.Module, trial: Trial, calls: Calls) -> dict[str, float]:
    """The relative error of each module by itself, by its name, in the order in which they run; a module that
    is called several times counts with its largest. `name (before other)` is what a module does itself,
    without its children, before it calls another.

    Modules are passed over where a field's type is unknown: it is a module's in_type or out_type, or that of
    the neighbour that makes or takes the very tensor.
    """
    found: dict[str, float] = {}
    moved: dict[int, Tensor | None] = {}

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        if id(y) not in moved:
            moved[id(y)] = trial.act(y, t)
        return moved[id(y)]

    def note(name: str, y: Tensor, expected: Tensor) -> None:
        size = torch.linalg.vector_norm(
            expected.to("cpu", torch.promote_types(expected.dtype, torch.float64))
        )
        if 0 < size < torch.inf:  # a mask may hold −∞
            found[name] = max(float(relative(y, expected)), found.get(name, 0.0))

    names = {module: name for name, module in model.named_modules()}
    count = dict.fromkeys(names.values(), 0)
    callers: list[str] = []

    def before(module: nn.Module, args: tuple) -> tuple | None:
        name = names[module]
        caller = callers[-1] if callers else ""
        callers.append(name)
        call = calls.get((name, count[name]))
        if call is None or not args or not isinstance(args[0], Tensor):
            return None
        expected = act(call.x, call.in_type)
        if expected is None or expected.shape != args[0].shape:
            return None
        if name:
            note(f"{caller or type(model).__name__} (before {name})", args[0], expected)
        return (expected.clone(), *args[1:])

    def after(module: nn.Module, args: tuple, y: Any) -> Tensor | None:
        name = names[module]
        call = calls.get((name, count[name]))
        count[name] += 1
        callers.pop()
        if call is None or not isinstance(y, Tensor):
            return None
        expected = act(call.y, call.out_type)
        if expected is None or expected.shape != y.shape:
            return None
        if act(call.x, call.in_type) is not None:
            note(name or type(model).__name__, y, expected)
        return expected.clone()

    with _hooked(model, before, after):
        run(model, trial.moved_x, trial.moved_where)
    return found


def recorded(
    model: Any, trial: Trial, in_type: FieldType, out_type: FieldType | None
) -> tuple[Tensor, Calls]:
    """The answer to the field as it is, and what each module did on the way."""
    if not isinstance(model, nn.Module):
        y = run(model, trial.x, trial.where)
        trial.follow(model, trial.x, y)
        return y, {}
    kept: list[tuple[tuple[str, int], nn.Module, State, State]] = []
    names = {module: name for name, module in model.named_modules()}
    count = dict.fromkeys(names.values(), 0)
    states: dict[tuple[int, int], State] = {}
    entered: list[State | None] = []

    def state(y: Any) -> State | None:
        if not isinstance(y, Tensor):
            return None
        written = 0 if y.is_inference() else y._version
        if (id(y), written) not in states:
            states[id(y), written] = State(y, y.clone())
        return states[id(y), written]

    def before(module: nn.Module, args: tuple) -> None:
        entered.append(state(args[0]) if args else None)

    def after(module: nn.Module, args: tuple, y: Any) -> None:
        into, out, name = entered.pop(), state(y), names[module]
        if into is not None and out is not None:
            kept.append(((name, count[name]), module, into, out))
            trial.follow(module, into.then, out.then)
        count[name] += 1

    with _hooked(model, before, after):
        y = run(model, trial.x, trial.where)
    types: dict[int, FieldType] = {}
    for (name, _), module, into, out in kept:
        for tensor, own in ((into.tensor, "in_type"), (out.tensor, "out_type")):
            if isinstance(getattr(module, own, None), FieldType):
                types[id(tensor)] = getattr(module, own)
        if not name:
            types.setdefault(id(into.tensor), in_type)
            if out_type is not None:
                types.setdefault(id(out.tensor), out_type)
    calls = {
        call: Call(into.then, out.then, types.get(id(into.tensor)), types.get(id(out.tensor)))
        for call, _, into, out in kept
    }
    return y, calls


@contextmanager
def _hooked(model: nn.Module, before: Any, after: Any) -> Iterator[None]:
    handles = []
    for module in model.modules():
        if before is not None:
            handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
