"""A pretend device, to test where tensors lie on machines without a GPU.

Inside `pretending()` the device "xla:0" exists. Its tensors compute on the CPU, but like those of a real
device they refuse CPU tensors beside them, except scalars and indices, and conversion to NumPy: a tensor left
behind raises MixedDevices. Products under autocast to that device are rounded as on a real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("xla:0")

# autograd knows meta, which computes nothing, and no xla: what C++ is told
STAND_IN = torch.device("meta")
CPU = torch.device("cpu")

# what autocast computes in half precision; everything else stays as it is, or is left to promotion
HALVED = {
    torch.nn.functional.linear, torch.nn.functional.conv1d, torch.nn.functional.conv2d,
    torch.nn.functional.conv3d, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__,
    torch.Tensor.__rmatmul__, torch.bmm, torch.einsum,
}  # fmt: skip


class MixedDevices(RuntimeError):
    """A tensor of the pretend device met one of the CPU."""


class PretendTensor(Tensor):
    """A tensor on the pretend device; `held` is the CPU tensor that has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> PretendTensor:
        # a view of a normal tensor is one, in inference mode too
        with torch.inference_mode(held.is_inference()):
            # numbers that are only marked as conjugate or negative would lose the mark
            held = held.resolve_conj().resolve_neg()
            made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                held.size(),
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=STAND_IN,
            )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in HALVED and "out" not in kwargs and torch.is_autocast_enabled(DEVICE.type):
            dtype = torch.get_autocast_dtype(DEVICE.type)
            args, kwargs = tree_map(lambda a: _halved(a, dtype), (args, kwargs))
        # results are what dispatch made them; those that left the device are no tensors of it
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @property
    def device(self) -> torch.device:
        return DEVICE

    def __getitem__(self, index):
        return super().__getitem__(_moved_lists(index))

    def __setitem__(self, index, value):
        super().__setitem__(_moved_lists(index), value)

    def tolist(self):
        return self.held.tolist()

    def numpy(self, **_):
        raise TypeError("can't convert xla:0 device type tensor to numpy")

    def __repr__(self) -> str:
        return f"PretendTensor({self.held})"


class _Pretending(TorchDispatchMode):
    """Also sees the calls in which no tensor of the device takes part, such as torch.zeros(3, device=...)."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs or {})


@contextmanager
def pretending() -> Iterator[None]:
    """While this lasts, the pretend device exists."""
    made, shared = torch.tensor, torch.as_tensor

    def tensor(data, *, device=None, **options):
        return _placed(made(getattr(data, "held", data), **options), device)

    def as_tensor(data, dtype=None, device=None):
        if isinstance(data, Tensor):
            return data.to(device=data.device if device is None else device, dtype=dtype)
        return _placed(shared(data, dtype=dtype), device)

    def new_tensor(self, data, dtype=None, device=None):
        return _placed(made(data, dtype=dtype or self.dtype), self.device if device is None else device)

    with (
        _Pretending(),
        mock.patch.object(torch, "tensor", tensor),
        mock.patch.object(torch, "as_tensor", as_tensor),
        mock.patch.object(PretendTensor, "new_tensor", new_tensor),
    ):
        yield


def _compute(func, args, kwargs):
    """Runs an operation on what its tensors hold; its results are on the device if one of these is, or it is
    told so.
    """
    leaves = tree_leaves((args, kwargs))
    ours = [a for a in leaves if isinstance(a, PretendTensor)]
    told = [a for a in leaves if isinstance(a, torch.device)]
    here = _is_ours(told[0]) if told else bool(ours)
    if ours and func.overloadpacket is not torch.ops.aten.copy_:
        _refuse_mixed(func, args, leaves)
    by_held = {id(a.held): a for a in ours}

    def wrapped(value):
        if not isinstance(value, Tensor) or not here:
            return value
        # what was changed in place is the tensor that was given
        return by_held[id(value)] if id(value) in by_held else PretendTensor(value)

    held_args, held_kwargs = tree_map(_held, (args, kwargs))
    return tree_map(wrapped, func(*held_args, **held_kwargs))


def _refuse_mixed(func, args, leaves) -> None:
    index = torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_
    if func.overloadpacket in index:
        # CPU indices are moved along, by torch itself
        leaves = [args[0], *args[2:3]]
    for leaf in leaves:
        if isinstance(leaf, Tensor) and not isinstance(leaf, PretendTensor) and leaf.ndim:
            raise MixedDevices(f"{func}: a CPU tensor of shape {list(leaf.shape)} beside one on {DEVICE}")


def _held(value):
    if isinstance(value, PretendTensor):
        return value.held
    return CPU if _is_ours(value) else value


def _is_ours(device: object) -> bool:
    return isinstance(device, torch.device) and device in (DEVICE, STAND_IN)


def _placed(made: Tensor, device) -> Tensor:
    return PretendTensor(made) if device is not None and _is_ours(torch.device(device)) else made


def _moved_lists(index):
    if isinstance(index, list):
        return PretendTensor(torch.tensor(index))
    return tuple(map(_moved_lists, index)) if isinstance(index, tuple) else index


def _halved(value, dtype: torch.dtype):
    return value.to(dtype) if isinstance(value, Tensor) and value.dtype == torch.float32 else value
