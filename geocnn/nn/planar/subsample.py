"""Subsampling of pixel grids, with less aliasing or with exact equivariance."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64, Inexact, Int64
from torch import Tensor, nn

from geocnn.errors import GeometryError
from geocnn.nn.planar.canvas import Canvas, as_map, stored
from geocnn.nn.planar.full_conv import check_padding, padded_conv


class BlurPool2d(nn.Module):
    """Blur by a binomial kernel and keep every stride-th pixel: anti-aliased subsampling (Zhang 2019).

        x [B, ..., H, W]  ->  [B, ..., ⌈H/stride⌉, ⌈W/stride⌉]

    The blur's taps are the binomial coefficients of an even `order`, [1, 2, 1]/4 for 2. Shifts by less than
    the stride change the answer only by frequencies that the blur leaves above the coarse grid's band limit.

    Raises GeometryError for an odd order, an invalid stride or padding, and images without a batch axis.

    >>> BlurPool2d()(torch.ones(1, 3, 5, 6)).shape
    torch.Size([1, 3, 3, 3])
    """

    def __init__(self, stride: int = 2, order: int = 2, padding: str = "same", padding_mode: str = "reflect"):
        super().__init__()
        if order < 0 or order % 2:
            raise GeometryError(f"the blur is centred on a pixel: order must be even, got {order}")
        check_padding(padding, padding_mode)
        _check_stride(stride)
        self.stride, self.order, self.padding, self.padding_mode = stride, order, padding, padding_mode
        row = torch.tensor([math.comb(order, k) / 2**order for k in range(order + 1)], dtype=torch.float64)
        self.register_buffer("_blur", torch.outer(row, row), persistent=False)

    _blur: Tensor

    def forward(self, x: Tensor) -> Tensor:
        _check_images(x)
        images = x.flatten(1, -3)
        # one group per channel, since the background may differ from channel to channel
        taps = self._blur.to(x.dtype).expand(images.shape[1], 1, -1, -1)
        y = padded_conv(images, taps, None, self.padding, self.padding_mode, groups=images.shape[1])
        y = y[..., :: self.stride, :: self.stride]
        return y.unflatten(1, x.shape[1:-2])

    def extra_repr(self) -> str:
        return f"stride={self.stride}, order={self.order}, padding_mode={self.padding_mode!r}"


class EquivariantSubsample2d(nn.Module):
    """Keep every stride-th pixel of the grid that the image itself chooses (Xu et al. 2021, §3).

        x [B, ..., H, W]  ->  [B, ..., ⌈H/stride⌉, ⌈W/stride⌉]

    The grid passes through the place of highest score. A score is the norm of the features over all channels,
    summed over the pixels to the right and below with weights that fall off by different factors, so that
    no two places share it unless the image repeats itself. When the image moves by t pixels, so does the
    place, and the result moves by whole coarse pixels: this is exact for every integer shift.

    padding_mode describes the values beyond the border: "zeros" or "circular" (sides must be multiples of the
    stride). Content must stay inside unless the image is circular.

    Raises GeometryError for another padding mode, an invalid stride, circular sides that the stride does not
    divide, and images without a batch axis.

    >>> x = torch.zeros(1, 1, 9, 9); x[0, 0, 2, 3] = 1.0
    >>> pool = EquivariantSubsample2d(2)
    >>> pool(x).nonzero().tolist(), pool(x.roll(3, 3)).nonzero().tolist()
    ([[0, 0, 1, 1]], [[0, 0, 1, 3]])
    """

    FALL = (0.7, 0.8)

    def __init__(self, stride: int = 2, padding_mode: str = "zeros"):
        super().__init__()
        if padding_mode not in ("zeros", "circular"):
            raise GeometryError(
                f"padding_mode must be zeros or circular, got {padding_mode!r}: a mirror image does not move "
                "with the image"
            )
        _check_stride(stride)
        self.stride, self.padding_mode = stride, padding_mode

    def place(self, x: Inexact[Tensor, "b *channels h w"]) -> Int64[Tensor, "b 2"]:
        """Return the (row, column) of highest score of each image."""
        size = x.detach().flatten(1, -3).to(torch.float64).norm(dim=1)
        rows, columns = (self._falling(n, f, x.device) for n, f in zip(x.shape[-2:], self.FALL, strict=True))
        best = (rows @ size @ columns.mT).flatten(1).argmax(1)
        return torch.stack([best // x.shape[-1], best % x.shape[-1]], 1)

    def forward(self, x: Tensor) -> Tensor:
        _check_images(x)
        if isinstance(x, Canvas):
            values, around = stored(x)
            # one more coarse pixel before the first, which lies in the background on every grid
            y = self._subsampled(values - around, self.stride) + around
            return as_map(y, x.axes, [a // self.stride - 1 for a in x.start])
        if self.padding_mode == "circular" and any(n % self.stride for n in x.shape[-2:]):
            raise GeometryError(
                f"a circular grid of {x.shape[-2]} x {x.shape[-1]} pixels has no subgrid of stride "
                f"{self.stride}; use sides that are multiples of it"
            )
        return self._subsampled(x, 0)

    def _subsampled(self, x: Tensor, before: int) -> Tensor:
        """Subsample images, padded by `before` zeros before each axis and as many as needed after it."""
        y = nn.functional.pad(x, (before, self.stride - 1) * 2)
        for axis, offset in zip((-2, -1), (self.place(x) % self.stride).unbind(1), strict=True):
            steps = (
                torch.arange(math.ceil((x.shape[axis] + before) / self.stride), device=x.device) * self.stride
            )
            index = (offset[:, None] + steps).view(len(x), *[1] * (x.ndim - 2), len(steps))
            index = index if axis == -1 else index.mT
            shape = list(y.shape)
            shape[axis] = len(steps)
            y = y.gather(axis, index.expand(shape))
        return y

    def _falling(self, n: int, factor: float, device: torch.device) -> Float64[Tensor, "{n} {n}"]:
        """Return factor^(q − p) from place p to place q after it, around the circle if the image is one."""
        place = torch.arange(n, device=device)
        distance = place - place[:, None]
        after = distance % n if self.padding_mode == "circular" else distance
        return torch.where(after >= 0, factor ** after.to(torch.float64), 0.0)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, padding_mode={self.padding_mode!r}"


def _check_stride(stride: int) -> None:
    if not isinstance(stride, int) or stride < 1:
        raise GeometryError(f"stride must be a whole number of pixels, 1 or more, got {stride!r}")


def _check_images(x: Tensor) -> None:
    if x.ndim < 4:
        raise GeometryError(f"the layer takes [B, ..., rows, columns], got {list(x.shape)}")
