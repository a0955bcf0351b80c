"""Values of geometry move from device to device and are cast as tensors and modules are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from geocnn.errors import GeometryError

Device = torch.device | str | int
T = TypeVar("T")


class Movable:
    """A dataclass that is moved and cast as tensors and modules are, with all the tensors in its fields."""

    def to(
        self,
        device: Device | torch.dtype | Tensor | None = None,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
    ) -> Self:
        """Return a copy on another device or in another floating dtype, or in those of a tensor.

        Geometry is computed in float64 and cast here, once. Where nothing changes, the same object is
        returned, so that a stencil keeps its operators. Raises GeometryError for a
        dtype that is not a floating one.
        """
        device, dtype = destination(device, dtype)
        if dtype is not None and not dtype.is_floating_point:
            raise GeometryError(
                f"lengths, angles and weights need a floating dtype, got {dtype}; give e.g. torch.float32"
            )
        return mapped(self, lambda t: t.to(device, dtype if t.is_floating_point() else None, non_blocking))

    def cpu(self) -> Self:
        return self.to("cpu")

    def cuda(self, device: Device = "cuda", non_blocking: bool = False) -> Self:
        return self.to(device, non_blocking=non_blocking)

    def float(self) -> Self:
        return self.to(dtype=torch.float32)

    def double(self) -> Self:
        return self.to(dtype=torch.float64)

    def pin_memory(self) -> Self:
        """Return a copy in page-locked memory; only with a GPU, as for tensors.

        From there `to(device, non_blocking=True)` copies to a GPU while the program goes on. A DataLoader
        with `pin_memory=True` calls this.
        """
        return mapped(self, Tensor.pin_memory)

    def is_pinned(self) -> bool:
        pinned: list[bool] = []

        def look(t: Tensor) -> Tensor:
            pinned.append(t.is_pinned())
            return t

        mapped(self, look)
        return all(pinned)


def destination(
    device: Device | torch.dtype | Tensor | None, dtype: torch.dtype | None
) -> tuple[Device | None, torch.dtype | None]:
    """Return the device and the dtype meant by `to(device, dtype)`, `to(dtype)` or `to(tensor)`.

    >>> destination(torch.float32, None), destination(torch.zeros(1), None)
    ((None, torch.float32), (device(type='cpu'), torch.float32))
    """
    if isinstance(device, torch.dtype):
        return None, device
    if isinstance(device, Tensor):
        return device.device, device.dtype
    return device, dtype


def mapped(value: T, change: Callable[[Tensor], Tensor], moves: bool = True) -> T:
    """Return a value with all its tensors changed, in tuples, lists and dataclasses too.

    What occurs in it twice is changed once, and still occurs twice. A dataclass or a tuple in which nothing
    changes stays the same object. Fields that are no arguments of a dataclass are lost; but where `change`
    only moves and casts, those stay whose metadata say "follows".
    """
    return _mapped(value, change, moves, {})


def _mapped(value: Any, change: Callable[[Tensor], Tensor], moves: bool, changed: dict[int, Any]) -> Any:
    if id(value) in changed:
        return changed[id(value)]
    new = value
    if isinstance(value, Tensor):
        new = change(value)
    elif isinstance(value, list):
        new = [_mapped(part, change, moves, changed) for part in value]
    elif isinstance(value, tuple):
        parts = [_mapped(part, change, moves, changed) for part in value]
        if any(part is not old for part, old in zip(parts, value, strict=True)):
            new = type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    elif isinstance(stored := getattr(value, "stored", None), Movable):
        # the fields of a stencil are formed of this when asked for
        moved = _mapped(stored, change, moves, changed)
        new = value if moved is stored else value.restored(moved)
    elif is_dataclass(value) and not isinstance(value, type):
        own = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        parts = {name: _mapped(part, change, moves, changed) for name, part in own.items()}
        if any(part is not own[name] for name, part in parts.items()):
            new = replace(value, **parts)
            for f in fields(value):
                if moves and "follows" in f.metadata:
                    object.__setattr__(new, f.name, getattr(value, f.name))
    changed[id(value)] = new
    return new


def named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a Movable, or of a list of them, named by their fields and places.

    >>> from geocnn.geometry import healpix
    >>> from geocnn.geometry.core.placement import named_tensors
    >>> h = healpix(2).hierarchy(levels=2, radius=1.0)
    >>> [name for name, _ in named_tensors(h, "h") if "weight" in name]
    ['h_stencils_0_weight', 'h_stencils_1_weight', 'h_down_0_weight', 'h_up_0_weight']
    """
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from named_tensors(part, f"{name}_{number}")
    elif isinstance(value, Movable):
        for f in fields(value):  # type: ignore[arg-type]
            if f.init:
                yield from named_tensors(getattr(value, f.name), f"{name}_{f.name}")
