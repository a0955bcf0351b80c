"""Where values of geometry lie: moved from device to device as torch moves modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields, is_dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

Device = torch.device | str | int


class Movable(ABC):
    """The short forms of `to`, as tensors and modules have them."""

    @abstractmethod
    def to(
        self, device: Device | torch.dtype | Tensor | None = None, dtype: torch.dtype | None = None
    ) -> Self: ...

    def cpu(self) -> Self:
        return self.to("cpu")

    def cuda(self, device: Device = "cuda") -> Self:
        return self.to(device)

    def float(self) -> Self:
        return self.to(dtype=torch.float32)

    def double(self) -> Self:
        return self.to(dtype=torch.float64)


def destination(
    device: Device | torch.dtype | Tensor | None, dtype: torch.dtype | None
) -> tuple[Device | None, torch.dtype | None]:
    """The device and the dtype of `to(device, dtype)`, `to(dtype)` or `to(tensor)`.

    >>> destination(torch.float32, None), destination(torch.zeros(1), None)
    ((None, torch.float32), (device(type='cpu'), torch.float32))
    """
    if isinstance(device, torch.dtype):
        return None, device
    if isinstance(device, Tensor):
        return device.device, device.dtype
    return device, dtype


def moved(value: Any, device: Device) -> Any:
    """A value with all its tensors on a device, in tuples, lists and dataclasses too."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(part, device) for part in value))
    if isinstance(value, list):
        return [moved(part, device) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: moved(getattr(value, f.name), device) for f in fields(value) if f.init}
        )
    return value
