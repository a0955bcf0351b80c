"""Convolutions on pixel grids, with a say over what lies beyond the border.

    padding   output pixels     sees the border
    full      n + k − 1         never, once it knows what lies beyond
    same      n                 yes: what is made up there depends on how near it is
    valid     n − k + 1         yes: what lies near it counts less often

Beyond the border lie zeros, the image again ("circular"), its mirror image ("reflect"), or the background:
what the network makes of an empty image, which then travels as the last one of every batch
(`geocnn.nn.background`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geocnn.errors import GeometryError

Size = int | tuple[int, ...]
PADDINGS = ("full", "same", "valid")
PADDING_MODES = ("zeros", "circular", "reflect", "background")
_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def each(size: Size, n: int) -> tuple[int, ...]:
    """One number for each of n axes."""
    return (size,) * n if isinstance(size, int) else tuple(size)


def full_padding(kernel_size: Size, dilation: Size, n: int) -> tuple[int, ...]:
    """Pixels on either side for which every overlap of kernel and image counts: dilation · (k − 1)."""
    return tuple(d * (k - 1) for k, d in zip(each(kernel_size, n), each(dilation, n), strict=True))


def check_padding(padding: object, padding_mode: str) -> None:
    """Raises GeometryError unless a layer can pad so."""
    if isinstance(padding, str) and padding not in PADDINGS:
        raise GeometryError(f"padding must be one of {', '.join(PADDINGS)}, got {padding!r}")
    if padding == "full" and padding_mode not in ("zeros", "background"):
        raise GeometryError(
            f"a full convolution continues the image by one value, padding_mode={padding_mode!r} by others; "
            "give padding='same', or padding_mode='zeros'"
        )
    if padding != "full" and padding_mode == "background":
        raise GeometryError(f"padding_mode='background' goes with padding='full', not {padding!r}")


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: str, padding_mode: str, groups: int = 1
) -> Tensor:
    """x [B, C, *pixels] correlated with taps [O, C / groups, *k], k odd where padding is "same"."""
    n = weight.ndim - 2
    k = tuple(weight.shape[2:])
    if padding_mode == "background":
        return over_background(x, weight, bias, groups=groups)
    if padding == "full":
        return _CONVOLVE[n](x, weight, bias, padding=full_padding(k, 1, n), groups=groups)
    if padding == "same" and padding_mode != "zeros":
        x, padding = F.pad(x, [a // 2 for a in reversed(k) for _ in "lr"], padding_mode), "valid"
    return _CONVOLVE[n](x, weight, bias, padding=padding, groups=groups)


def background_of(x: Tensor, n: int) -> Tensor:
    """The value of the empty image, last of the batch x [B, ..., *n pixels]: [..., 1, ..., 1]."""
    return x[-1][(..., *[slice(1)] * n)]


def over_background(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Size = 1, dilation: Size = 1, groups: int = 1
) -> Tensor:
    """The full convolution of images on an unbounded canvas: beyond the border of each goes on what the last
    one, an empty image, holds.

    By linearity that is the zero-padded one of x − background, plus what becomes of the background alone.
    """
    n = weight.ndim - 2
    if x.ndim != n + 2:
        raise GeometryError(
            f"the background is the last image of a batch [B, C, {n} axes of pixels], got {list(x.shape)}; "
            "add a batch axis with x[None]"
        )
    background = background_of(x, n)
    padding = full_padding(tuple(weight.shape[2:]), dilation, n)
    y = _CONVOLVE[n](
        x - background, weight, None, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    total = weight.flatten(2).sum(-1).unflatten(0, (groups, -1))
    level = (total @ background.view(groups, -1, 1)).flatten()
    level = level if bias is None else level + bias
    return y + level.view(-1, *[1] * n)


class _Full:
    """What the three layers share: torch's own with one more padding and one more padding mode."""

    axes: int
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: str | Size = "full",
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        check_padding(padding, padding_mode)
        pixels = full_padding(kernel_size, dilation, self.axes) if padding == "full" else padding
        mode = "zeros" if padding_mode == "background" else padding_mode
        sizes = kernel_size, stride, pixels, dilation
        arguments = in_channels, out_channels, *sizes, groups, bias, mode, device, dtype
        super().__init__(*arguments)  # type: ignore[call-arg]  # of torch's layer, the next in line
        self.padding_mode = padding_mode

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode != "background":
            return super().forward(input)  # type: ignore[misc]
        stride, dilation, groups = self.stride, self.dilation, self.groups  # type: ignore[attr-defined]
        return over_background(input, self.weight, self.bias, stride, dilation, groups)


class FullConv1d(_Full, nn.Conv1d):
    """torch.nn.Conv1d, its arguments, parameters and state dict, with padding="full" as the default.

        x [B, C, n]  ->  [B, C', n + dilation · (kernel_size − 1)]

    Other paddings are torch's ("same", "valid", pixels), as are their padding modes.
    padding_mode="background" continues every image by what the last one of the batch holds: see
    `geocnn.nn.to_full`.

    Raises GeometryError for an unknown padding, and a padding mode that does not go with it.

    >>> FullConv1d(1, 4, 3)(torch.randn(2, 1, 10)).shape
    torch.Size([2, 4, 12])
    """

    axes = 1


class FullConv2d(_Full, nn.Conv2d):
    """torch.nn.Conv2d with padding="full" as the default, as `FullConv1d`.

    >>> FullConv2d(1, 4, 3, dilation=2)(torch.randn(2, 1, 10, 10)).shape
    torch.Size([2, 4, 14, 14])
    """

    axes = 2


class FullConv3d(_Full, nn.Conv3d):
    """torch.nn.Conv3d with padding="full" as the default, as `FullConv1d`.

    >>> FullConv3d(1, 4, (1, 3, 3))(torch.randn(2, 1, 5, 6, 7)).shape
    torch.Size([2, 4, 5, 8, 9])
    """

    axes = 3
