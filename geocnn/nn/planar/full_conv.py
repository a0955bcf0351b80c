"""Convolutions on pixel grids with a choice of paddings.

    padding   output pixels     sees the border
    full      n + k − 1         never, if the values beyond it are right
    same      n                 yes: outputs near it depend on padded values
    valid     n − k + 1         yes: pixels near it count less often

The values beyond the border are zero, the image again ("circular") or its mirror image ("reflect"). In a
network that `geocnn.nn.to_full` has converted, no map has a border and layers do not pad.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geocnn.errors import GeometryError

Size = int | tuple[int, ...]
PADDINGS = ("full", "same", "valid")
_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def each(size: Size, n: int) -> tuple[int, ...]:
    """Return one number for each of n axes."""
    return (size,) * n if isinstance(size, int) else tuple(size)


def full_padding(kernel_size: Size, dilation: Size, n: int) -> tuple[int, ...]:
    """Return the padding for which every overlap of kernel and image counts: dilation · (k − 1) per side."""
    return tuple(d * (k - 1) for k, d in zip(each(kernel_size, n), each(dilation, n), strict=True))


def check_padding(padding: object, padding_mode: str) -> None:
    """Raise GeometryError unless a layer can have this padding."""
    if isinstance(padding, str) and padding not in PADDINGS:
        raise GeometryError(f"padding must be one of {', '.join(PADDINGS)}, got {padding!r}")
    if padding == "full" and padding_mode != "zeros":
        raise GeometryError(
            f"a full convolution continues the image by one value, but padding_mode={padding_mode!r} by "
            "others; give padding='same', or padding_mode='zeros'"
        )


def padded_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: str, padding_mode: str, groups: int = 1
) -> Tensor:
    """Correlate x [B, C, *pixels] with taps [O, C / groups, *k]; k is odd where padding is "same"."""
    n = weight.ndim - 2
    k = tuple(weight.shape[2:])
    if padding == "full":
        return _CONVOLVE[n](x, weight, bias, padding=full_padding(k, 1, n), groups=groups)
    if padding == "same" and padding_mode != "zeros":
        x, padding = F.pad(x, [a // 2 for a in reversed(k) for _ in "lr"], padding_mode), "valid"
    return _CONVOLVE[n](x, weight, bias, padding=padding, groups=groups)


class _Full:
    """The part that the three layers share: torch's own layer with one more padding."""

    axes: int

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
        sizes = kernel_size, stride, pixels, dilation
        arguments = in_channels, out_channels, *sizes, groups, bias, padding_mode, device, dtype
        super().__init__(*arguments)  # type: ignore[call-arg]  # the next class is torch's layer


class FullConv1d(_Full, nn.Conv1d):
    """torch.nn.Conv1d, its arguments, parameters and state dict, with padding="full" as the default.

        x [B, C, n]  ->  [B, C', n + dilation · (kernel_size − 1)]

    Other paddings ("same", "valid", pixels) and their padding modes are torch's. Values beyond the border are
    zero here; in a network converted by `geocnn.nn.to_full` they are the network's values on an empty image.

    Raises GeometryError for an unknown padding and for a padding mode that does not fit it.

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
