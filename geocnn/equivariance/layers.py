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

from geocnn.equivariance.trials import Trial
from geocnn.groups.field_type import FieldType


class Call(NamedTuple):
    """What went into a module and came out; their types, None where unknown."""

    x: Tensor
    y: Tensor
    in_type: FieldType | None
    out_type: FieldType | None


Calls = dict[tuple[str, int], Call]
"""By the module's name, and the number of the call."""


def run(model: Any, x: Tensor, where: Any) -> Tensor:
    with torch.no_grad():
        return model(x) if where is None else model(x, where)


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
        size = torch.linalg.vector_norm(expected.double())
        if size > 0:
            error = float(torch.linalg.vector_norm(y.double() - expected.double()) / size)
            found[name] = max(error, found.get(name, 0.0))

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
        return (expected, *args[1:])

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
        return expected

    with _hooked(model, before, after):
        run(model, trial.moved_x, trial.moved_where)
    return found


def recorded(
    model: Any, trial: Trial, in_type: FieldType, out_type: FieldType | None
) -> tuple[Tensor, Calls]:
    """The answer to the field as it is, and what each module did on the way."""
    if not isinstance(model, nn.Module):
        return run(model, trial.x, trial.where), {}
    kept: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    names = {module: name for name, module in model.named_modules()}

    def after(module: nn.Module, args: tuple, y: Any) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(y, Tensor):
            kept.append((names[module], module, args[0], y))
            trial.follow(module, args[0], y)

    with _hooked(model, None, after):
        y = run(model, trial.x, trial.where)
    types = {id(trial.x): in_type}
    if out_type is not None:
        types[id(y)] = out_type
    for _, module, x, y in kept:
        for tensor, own in ((x, "in_type"), (y, "out_type")):
            if isinstance(getattr(module, own, None), FieldType):
                types[id(tensor)] = getattr(module, own)
    calls: Calls = {}
    count: dict[str, int] = {}
    for name, _, x, y in kept:
        number = count.setdefault(name, 0)
        calls[name, number] = Call(x, y, types.get(id(x)), types.get(id(y)))
        count[name] += 1
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
