"""OnSurface: a module and the geometry it is called with, as one module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from geocnn.geometry.core.placement import mapped, named_tensors


class OnSurface(nn.Module):
    """A module that holds the geometry it is called with: x -> module(x, *geometry).

    The tensors of stencils and hierarchies become buffers, also those in lists, and single tensors such as
    areas. So `.to`, `.cuda`, `.double`, `state_dict`, checkpoints and Lightning move weights and geometry
    together, and nn.Sequential can hold layers of several stencils. Anything else, such as a RingGrid or
    None, is passed on as it is. Geometry stays in float32 where the module is cast to half precision.

    A state dict has the geometry beside the weights; those alone, which fit any surface, are
    `on_surface.module.state_dict()`. What the caller gives is not written to, and under
    DistributedDataParallel, which sends all buffers at every step, give `broadcast_buffers=False`.

    >>> import geocnn.geometry as geometry
    >>> from geocnn.nn import GaugeConv
    >>> stencil = geometry.healpix(4).stencil(radius=0.6)
    >>> layers = nn.Sequential(
    ...     OnSurface(GaugeConv("1x0", "4x1"), stencil), OnSurface(GaugeConv("4x1", "2x0"), stencil)
    ... )
    >>> layers.double()(torch.randn(5, 192, 1, dtype=torch.float64)).shape
    torch.Size([5, 192, 2])
    """

    def __init__(self, module: nn.Module, *geometry: Any):
        super().__init__()
        self.module = module
        self._geometry = geometry
        for name, tensor in named_tensors(geometry, "geometry"):
            self.register_buffer(name, tensor)

    @property
    def geometry(self) -> tuple[Any, ...]:
        """What the module is called with, as it is placed now."""
        return self._geometry

    def forward(self, *x: Tensor) -> Tensor:
        return self.module(*x, *self._geometry)

    def _settle(self, moved: bool = True) -> None:
        """Make the geometry of the buffers, which were moved, or else have other values.

        Those of what occurs in it twice become one again.
        """
        # of several names of one tensor the first
        names = {id(tensor): name for name, tensor in reversed([*named_tensors(self._geometry, "geometry")])}

        def placed(tensor: Tensor) -> Tensor:
            return self.get_buffer(names[id(tensor)]) if id(tensor) in names else tensor

        self._geometry = mapped(self._geometry, placed, moved)
        self._buffers.update(named_tensors(self._geometry, "geometry"))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OnSurface:
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, tensor in list(self.named_buffers(recurse=False)):
            # three digits of an angle are too few
            if tensor.dtype in (torch.float16, torch.bfloat16):
                self._buffers[name] = before[name].to(tensor.device, torch.float32)
        self._settle()
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        # loading writes into the tensors, which may be the caller's; operators made of them are outdated
        before = dict(self.named_buffers(recurse=False))
        for name, tensor in before.items():
            self._buffers[name] = tensor.clone()
        super()._load_from_state_dict(*args)
        self._settle(moved=all(torch.equal(self.get_buffer(name), old) for name, old in before.items()))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._settle()

    def extra_repr(self) -> str:
        return ", ".join(map(repr, self._geometry))
