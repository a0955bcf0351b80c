"""A network over an unbounded canvas, where images and all feature maps have no border.

A bias changes the value of an empty background, and so does the nonlinearity after it; a layer that pads with
zeros then sees the border again. So each map carries the value beyond its pixels through the network
(`geocnn.nn.planar.canvas`), and layers that read beyond the pixels use this value.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import geocnn.nn.planar.canvas_rules
import geocnn.nn.planar.canvas_windows  # noqa: F401  # registers rules of torch functions
from geocnn.errors import GeometryError
from geocnn.nn.planar.canvas import Canvas, inner, place

_PERIODIC = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.PixelShuffle)
_ATTENTION = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_UNKNOWN = (nn.Fold, nn.Unfold, nn.LPPool1d, nn.LPPool2d, nn.LPPool3d, nn.FractionalMaxPool2d)
_UNKNOWN += (nn.FractionalMaxPool3d, nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d)
_REFUSED = {
    _PERIODIC: "turns an empty image into a pattern, which has more than one value; use nn.Upsample and a "
    "convolution",
    _ATTENTION: "weighs every place of a canvas against every other; convert the part before it",
    _UNKNOWN: "is not known on an unbounded canvas; use another layer",
    (torch.jit.ScriptModule,): "is compiled, so its maps cannot be followed; give the original module",
}


def to_full(module: nn.Module, background: float | Sequence[float] = 0.0) -> nn.Module:
    """Return a copy of a network that treats its images as parts of an unbounded canvas, without borders.

    The images lie on an empty canvas of value `background` (one number, or one per channel). Beyond a map's
    pixels, every layer reads the value that the layers before it give to this background, so neither padding
    nor biases create a border. With a global pooling at its end, the network is invariant, except for
    rounding, to every integer shift that keeps the content inside the image. Parameters keep their names and
    shapes. Strides stay, and break the symmetry as before.

    Each pixel of a map has the value that it would have far inside a huge image, at the same place of the
    same grid. Convolutions and pooling compute all pixels whose windows see more than background, so maps
    grow. Maps that are added or concatenated are extended to the same pixels. Slicing or padding pixels only
    moves a map. A network whose answer is a map returns all pixels of the grown map. Layers that depend on
    places, for example a pooling to several values per channel, use the places of the grown map.

    In training, one background row and column of each map count in the statistics of a BatchNorm, and Dropout
    of single pixels also draws the background.

    Raises:
        GeometryError: a module does not work on a canvas (transposed convolutions, attention, interpolation
            that depends on the size, compiled code) or belongs to a converted network; at the call, a
            function does not work on a canvas, for example a flattening of pixels before they are pooled.
            The message names the module.

    >>> layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1)]
    >>> network, x = to_full(nn.Sequential(*layers)), torch.zeros(1, 1, 9, 9)
    >>> x[..., :3, :3] = torch.randn(3, 3)
    >>> torch.allclose(network(x), network(x.roll((6, 5), (2, 3))), atol=1e-6)
    True
    """
    for name, part in module.named_modules(remove_duplicate=False):
        _check(name or type(part).__name__, part)
    copied = copy.deepcopy(module)
    copied.register_forward_pre_hook(partial(_enter, background=background))
    copied.register_forward_hook(_leave)
    return copied


def _check(name: str, part: nn.Module) -> None:
    if _leave in part._forward_hooks.values():
        raise GeometryError(f"{name} belongs to a network that to_full has converted; give the original one")
    for kinds, reason in _REFUSED.items():
        if isinstance(part, kinds):
            raise GeometryError(f"{name} ({type(part).__name__}) {reason}")
    if isinstance(part, nn.Upsample) and (part.size is not None or part.align_corners):
        raise GeometryError(
            f"{name} ({type(part).__name__}) depends on the size; give a whole scale_factor, no align_corners"
        )


def _enter(module: nn.Module, inputs: tuple, background: float | Sequence[float]) -> tuple[Canvas]:
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or inputs[0].ndim < 3:
        raise GeometryError("a network over an unbounded canvas takes one batch of images [B, C, *pixels]")
    (x,) = inputs
    value = torch.as_tensor(background, dtype=x.dtype, device=x.device)
    if value.ndim and value.shape != (x.shape[1],):
        raise GeometryError(
            f"background has {len(value)} values, the images {x.shape[1]} channels; give one number or one "
            "per channel"
        )
    return (place(x, value.view(-1)),)


def _leave(module: nn.Module, inputs: tuple, output: Any) -> Any:
    def plain(y: Any) -> Any:
        if not isinstance(y, Canvas):
            return y
        with torch._C.DisableTorchFunctionSubclass():
            return inner(y)

    return tree_map(plain, output)
