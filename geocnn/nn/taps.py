"""A gauge convolution on the plane as taps: what it is there, an ordinary convolution of images."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from geocnn.geometry.flat import plane
from geocnn.nn.gauge_conv import GaugeConv


def taps(
    layer: GaugeConv,
    radius: float,
    kind: Literal["exp", "log"] = "exp",
    samples: tuple[int, int] | None = None,
) -> Tensor:
    """The taps [D_out, D_in, k, k], k = 2⌈radius⌉ + 1, by which the layer acts on
    plane(shape).stencil(radius, kind, samples): conv2d with these, zero padding ⌈radius⌉ and the layer's
    bias on invariant channels.

    The two agree everywhere for kind "log". For "exp" they do farther than the radius from the border: there
    the stencil drops samples that leave the plane, conv2d the pixels beyond it that they lie between.
    Rows are rows of the image (y), columns its columns (x). The layer's weights get gradients through them.
    Raises what `GaugeConv` and `Surface.stencil` raise.

    >>> import geocnn.geometry as geometry
    >>> layer = GaugeConv("trivial: 1x0", "trivial: 4x0", max_frequency=2)
    >>> image = torch.randn(1, 1, 9, 12)
    >>> y = layer(image.flatten(2).mT, geometry.plane((9, 12)).stencil(2.0, "log"))
    >>> y = y.mT.unflatten(2, (9, 12))
    >>> z = torch.nn.functional.conv2d(image, taps(layer, 2.0, "log"), layer.bias, padding=2)
    >>> torch.allclose(y, z, atol=1e-5)
    True
    """
    reach = math.ceil(radius)
    k, d = 2 * reach + 1, layer.in_type.dim
    weight = next(iter(layer.weight.values()))
    centre = torch.tensor([k * k // 2])
    stencil = plane((k, k)).stencil(radius, kind, samples, targets=centre)
    # one image for each pixel and channel, that one 1 and all else 0
    impulses = torch.eye(k * k * d, dtype=weight.dtype, device=weight.device).unflatten(1, (k * k, d))
    silent = impulses.new_zeros(1, k * k, d)
    on = stencil.to(weight.device, weight.dtype)
    y = layer(impulses, on) - layer(silent, on)
    return y[:, 0].mT.unflatten(1, (k, k, d)).movedim(-1, 1)
