"""A network over an unbounded canvas: every layer knows what the ones before it make of an empty image.

A bias gives an empty background a value, and the nonlinearity after it another; a layer that pads with zeros
then sees the border again. So an empty image goes through the network with the others, as the last of the
batch, and each full convolution continues all images by what that one holds. It costs one image a batch, and
serves whatever lies between the convolutions as long as that treats all pixels and all images alike.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from geocnn.errors import GeometryError
from geocnn.nn.group_conv import GroupConv, IsotropicConv2d, LiftingConv
from geocnn.nn.planar_conv import FullConv1d, FullConv2d, FullConv3d
from geocnn.nn.subsample import BlurPool2d, EquivariantSubsample2d

_FULL = {nn.Conv1d: FullConv1d, nn.Conv2d: FullConv2d, nn.Conv3d: FullConv3d}
_OURS = (LiftingConv, GroupConv, IsotropicConv2d, BlurPool2d, EquivariantSubsample2d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_PADDING = tuple(
    getattr(nn, f"{kind}Pad{n}d")
    for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")
    for n in (1, 2, 3)
)
_OWN_STATISTICS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def to_full(module: nn.Module, background: float | Sequence[float] = 0.0) -> nn.Module:
    """A copy of a network whose convolutions are full ones over an unbounded canvas.

    The images lie on an empty canvas of value `background` (one number, or one a channel). Each layer is
    padded with what the layers before it make of that, so that biases and nonlinearities do not bring the
    border back: followed by a global pooling the network is invariant to every integer shift that
    keeps the content inside the image, to rounding. Parameters keep their names and shapes; strides stay,
    and break what they broke. Converted are Conv1d to Conv3d, and this package's planar layers.

    In training the empty image is one more of the batch in a BatchNorm's statistics.

    Raises GeometryError for what would see the border or treat the empty image differently: transposed
    convolutions, pooling with padding, layers that pad, interpolation, norms over an image's own statistics;
    for convolutions with a parametrisation, hooks or a class of their own, which would be lost; for networks
    converted before; and for answers that are not one tensor.

    >>> layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1)]
    >>> network, x = to_full(nn.Sequential(*layers)), torch.zeros(1, 1, 9, 9)
    >>> x[..., :3, :3] = torch.randn(3, 3)
    >>> torch.allclose(network(x), network(x.roll((6, 5), (2, 3))), atol=1e-6)
    True
    """
    made = copy.deepcopy(module)
    replaced: dict[int, nn.Module] = {}
    for name, part in list(made.named_modules(remove_duplicate=False)):
        _check(name or type(part).__name__, part)
        if isinstance(part, _OURS):
            part.padding, part.padding_mode = "full", "background"
        elif isinstance(part, tuple(_FULL)):
            # a layer used in several places stays one layer
            full = replaced.setdefault(id(part), _converted(part))  # type: ignore[arg-type]
            if not name:
                made = full
                continue
            parent, _, child = name.rpartition(".")
            setattr(made.get_submodule(parent), child, full)
    made.register_forward_pre_hook(partial(_add_empty, background=background))
    made.register_forward_hook(_drop_empty)
    return made


def _check(name: str, part: nn.Module) -> None:
    if getattr(part, "padding_mode", None) == "background":
        raise GeometryError(f"{name} belongs to a network that to_full has converted; give the original")
    if isinstance(part, _POOLS) and any(torch.tensor(part.padding).flatten().tolist()):
        raise GeometryError(f"{name} is a pooling with padding, which sees the border; give it padding=0")
    if isinstance(part, _TRANSPOSED):
        raise GeometryError(
            f"{name} is a transposed convolution, at whose border fewer pixels count; use nn.Upsample and a "
            "convolution"
        )
    if isinstance(part, _PADDING):
        raise GeometryError(
            f"{name} pads, which makes a border; leave it out, full convolutions pad themselves"
        )
    if isinstance(part, nn.Upsample) and not part.mode.startswith("nearest"):
        raise GeometryError(f"{name} interpolates, otherwise at the border than within; use mode='nearest'")
    if isinstance(part, _OWN_STATISTICS):
        raise GeometryError(
            f"{name} normalises each image by its own statistics, an empty one unlike others; use BatchNorm"
        )
    if isinstance(part, tuple(_FULL)):
        if is_parametrized(part):
            raise GeometryError(
                f"{name} is parametrised; call torch.nn.utils.parametrize.remove_parametrizations"
            )
        if part._forward_hooks or part._forward_pre_hooks:
            raise GeometryError(f"{name} has hooks, which its full convolution would not have; remove them")
        if type(part) not in (*_FULL, *_FULL.values()):
            raise GeometryError(
                f"{name} is a {type(part).__name__}, no plain convolution; what it does besides would be lost"
            )


def _converted(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> nn.Module:
    kind = next(full for plain, full in _FULL.items() if isinstance(conv, plain))
    made = kind(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode="background",
        device="meta",
    )
    made.weight, made.bias = conv.weight, conv.bias
    return made.train(conv.training)


def _add_empty(module: nn.Module, inputs: tuple, background: float | Sequence[float]) -> tuple[Tensor]:
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or inputs[0].ndim < 3:
        raise GeometryError("a network over an unbounded canvas takes one batch of images [B, C, *pixels]")
    (x,) = inputs
    value = torch.as_tensor(background, dtype=x.dtype, device=x.device)
    if value.ndim and value.shape != (x.shape[1],):
        raise GeometryError(
            f"background has {len(value)} values, the images {x.shape[1]} channels; give one number or one a "
            "channel"
        )
    empty = value.view(-1, *[1] * (x.ndim - 2)).expand(1, *x.shape[1:])
    return (torch.cat([x, empty]),)


def _drop_empty(module: nn.Module, inputs: tuple, output: object) -> Tensor:
    if not isinstance(output, Tensor):
        raise GeometryError(
            f"the network answers with a {type(output).__name__}; convert the part that gives one tensor"
        )
    return output[:-1]
