"""A gauge convolution on the plane as taps: what it is there, an ordinary convolution of images."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.flat.rectangles import plane
from geocnn.lasting import lasting
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
    weight = next(iter(layer.weight.values()))
    on = _apart(radius, kind, samples, weight.dtype, weight.device)
    # one pixel for each channel, that one 1 and all else 0
    impulses = torch.eye(layer.in_type.dim, dtype=weight.dtype, device=weight.device)[:, None]
    y = layer(impulses, on) - layer(torch.zeros_like(impulses[:1]), on)
    return y.permute(2, 0, 1).unflatten(-1, 2 * [2 * math.ceil(radius) + 1])


@lru_cache(maxsize=16)
@lasting()
def _apart(
    radius: float,
    kind: Literal["exp", "log"],
    samples: tuple[int, int] | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Stencil:
    """What the central pixel gathers from k x k, each pixel's entries gathered for themselves, from one that
    stands for all."""
    k = 2 * math.ceil(radius) + 1
    whole = plane((k, k)).stencil(radius, kind, samples, targets=torch.tensor([k * k // 2]))
    order = torch.argsort(whole.source, stable=True)
    counts = torch.bincount(whole.source, minlength=k * k)
    entries = {name: getattr(whole, name)[order] for name in ("r", "theta", "weight", "angle")}
    row_ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    apart = replace(whole, row_ptr=row_ptr, source=torch.zeros_like(order), n_source=1, **entries)
    return apart.to(device, dtype)
