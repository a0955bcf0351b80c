"""Which layer breaks a symmetry: each module receives the input that it should, and its output is compared.

The model runs twice: first on the original field, while every module's input and output are recorded, and
then on the moved field, while each module's input and output are replaced by the recorded ones, moved. So no
error propagates: the error of a module's output is that module's own, and the error of a module's input
belongs to the module that called it.
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
    """A module's input and output in one call; their types are None where unknown."""

    x: Tensor
    y: Tensor
    in_type: FieldType | None
    out_type: FieldType | None


class OutputState(NamedTuple):
    """A tensor, and a copy of its values at that time, since layers may write into their input."""

    tensor: Tensor
    then: Tensor


Calls = dict[tuple[str, int], Call]
"""Calls by the module's name and the number of the call."""


def run(model: Any, x: Tensor, where: Any) -> Tensor:
    """Return the model's answer to a copy of x, since models may write into their input."""
    with torch.no_grad():
        return model(x.clone()) if where is None else model(x.clone(), where)


def layer_errors(model: nn.Module, trial: Trial, calls: Calls) -> dict[str, float]:
    """Return the relative error of each module alone, by its name, in the order in which modules run.

    A module that is called several times counts with its largest error. `name (before other)` is what a
    module itself computes, without its children, before it calls another.

    A field's type is a module's in_type or out_type, or that of the module that returns or takes the same
    tensor. Where it is unknown, the module is skipped.
    """
    errors: dict[str, float] = {}
    moved_tensors: dict[int, Tensor | None] = {}

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        if id(y) not in moved_tensors:
            moved_tensors[id(y)] = trial.act(y, t)
        return moved_tensors[id(y)]

    def note(name: str, y: Tensor, expected: Tensor) -> None:
        size = torch.linalg.vector_norm(
            expected.to("cpu", torch.promote_types(expected.dtype, torch.float64))
        )
        if 0 < size < torch.inf:  # a mask may hold −∞
            errors[name] = max(float(relative(y, expected)), errors.get(name, 0.0))

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
    return errors


def recorded(
    model: Any, trial: Trial, in_type: FieldType, out_type: FieldType | None
) -> tuple[Tensor, Calls]:
    """Return the answer to the original field, and each module's input and output on the way."""
    if not isinstance(model, nn.Module):
        y = run(model, trial.x, trial.where)
        trial.follow(model, trial.x, y)
        return y, {}
    ends: list[tuple[tuple[str, int], nn.Module, OutputState, OutputState]] = []
    names = {module: name for name, module in model.named_modules()}
    count = dict.fromkeys(names.values(), 0)
    states: dict[tuple[int, int], OutputState] = {}
    inputs: list[OutputState | None] = []

    def state(y: Any) -> OutputState | None:
        if not isinstance(y, Tensor):
            return None
        written = 0 if y.is_inference() else y._version
        if (id(y), written) not in states:
            states[id(y), written] = OutputState(y, y.clone())
        return states[id(y), written]

    def before(module: nn.Module, args: tuple) -> None:
        inputs.append(state(args[0]) if args else None)

    def after(module: nn.Module, args: tuple, y: Any) -> None:
        x, out, name = inputs.pop(), state(y), names[module]
        if x is not None and out is not None:
            ends.append(((name, count[name]), module, x, out))
            trial.follow(module, x.then, out.then)
        count[name] += 1

    with _hooked(model, before, after):
        y = run(model, trial.x, trial.where)
    types: dict[int, FieldType] = {}
    for (name, _), module, x, out in ends:
        for tensor, own in ((x.tensor, "in_type"), (out.tensor, "out_type")):
            if isinstance(getattr(module, own, None), FieldType):
                types[id(tensor)] = getattr(module, own)
        if not name:
            types.setdefault(id(x.tensor), in_type)
            if out_type is not None:
                types.setdefault(id(out.tensor), out_type)
    calls = {
        call: Call(x.then, out.then, types.get(id(x.tensor)), types.get(id(out.tensor)))
        for call, _, x, out in ends
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
