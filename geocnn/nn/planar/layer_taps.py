"""A gauge convolution on the plane as taps: there it is an ordinary convolution of images."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
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
) -> Float[Tensor, "d_out d_in k k"]:
    """Return the taps, k = 2⌈radius⌉ + 1, by which the layer acts on stencils of a plane.

    On `plane(shape).stencil(radius, kind, samples)` the layer equals conv2d with these taps, zero padding
    ⌈radius⌉ and its bias on invariant channels: for kind "log" everywhere, and for "exp" farther than the
    radius from the border. Nearer, the stencil drops samples that leave the plane, whereas conv2d drops the
    pixels beyond the border between which they lie. Rows of taps are rows of the image (y), columns its
    columns (x). The layer's weights get gradients through the taps.

    Errors are those of `GaugeConv` and `Surface.stencil`.

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
    where = _apart(radius, kind, samples, weight.dtype, weight.device)
    # one pixel per channel, where that channel is 1 and all others are 0
    impulses = torch.eye(layer.in_type.dim, dtype=weight.dtype, device=weight.device)[:, None]
    y = layer(impulses, where) - layer(torch.zeros_like(impulses[:1]), where)
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
    """Return the central pixel's stencil on k x k pixels, with one target per pixel and one common source.

    A target has the entries of its pixel alone, so an impulse at the source gives each pixel's tap.
    """
    k = 2 * math.ceil(radius) + 1
    whole = plane((k, k)).stencil(radius, kind, samples, targets=torch.tensor([k * k // 2]))
    order = torch.argsort(whole.source, stable=True)
    counts = torch.bincount(whole.source, minlength=k * k)
    entries = {name: getattr(whole, name)[order] for name in ("r", "theta", "weight", "angle")}
    row_ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    apart = replace(whole, row_ptr=row_ptr, source=torch.zeros_like(order), n_source=1, **entries)
    return apart.to(device, dtype)
