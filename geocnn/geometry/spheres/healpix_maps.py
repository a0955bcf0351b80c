"""Whole HEALPix maps are checked, reordered, and their order is detected."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from geocnn.errors import GeometryError, MapError
from geocnn.geometry.core.values import UNSEEN, Fill, check_values
from geocnn.geometry.spheres.pixels import (
    check_nside,
    neighbours,
    nested_to_ring,
    npix,
    nside_of,
    ring_to_nested,
)

__all__ = ["UNSEEN", "check_map", "detect_order", "reorder"]

Order = Literal["ring", "nested"]

EVIDENCE = 6.0
"""The evidence required, in standard deviations if the pixels' advantages are independent."""

SMOOTHER = 1.5
"""With as much noise as signal the right reading's sum is hardly less than the wrong one's: undecided."""

ALIKE = 4.0
"""The ratio is 0.8 to 1.7 for maps in nested order, 2 for a step on each ring, 10 to 10^30 for zonal maps."""


def reorder(values: Shaped[Tensor, "*shape"], to: Order, dim: int = -1) -> Shaped[Tensor, "*shape"]:
    """Return a map in the order `to`, "nested" or "ring"; its values must be in the other order along `dim`.

    Raises MapError if `dim` does not hold a whole map, GeometryError if `to` is neither name.

    >>> ring_map = torch.arange(48)
    >>> reorder(ring_map, to="nested")[:4].tolist()
    [13, 5, 4, 0]
    >>> bool((reorder(reorder(ring_map, to="nested"), to="ring") == ring_map).all())
    True
    """
    nside = nside_of(values.shape[dim])
    every = torch.arange(npix(nside), device=values.device, dtype=torch.int64)
    if to == "nested":
        return values.index_select(dim, nested_to_ring(nside, every))
    if to == "ring":
        return values.index_select(dim, ring_to_nested(nside, every))
    raise GeometryError(f'a map is reordered to "ring" or to "nested", not to {to!r}')


def check_map(
    values: Shaped[Tensor, "*shape"], nside: int | None = None, dim: int = -1, fill: Fill = ()
) -> int:
    """Return the nside of a map whose pixels lie along `dim`, or raise MapError.

    It refuses a number of values that is not 12 nside^2, NaN, infinity, and the numbers that mean "missing"
    (`values.FILLS`: healpy's UNSEEN, 1e20, ..., and what `fill` names). These would silently spoil every
    pixel within reach of a convolution.

    >>> check_map(torch.zeros(3, 192))
    4
    """
    own = nside_of(values.shape[dim])
    if nside is not None and own != check_nside(nside):
        raise MapError(
            f"the map has {values.shape[dim]} values (nside {own}), not {npix(nside)} (nside {nside}); "
            "average or interpolate it to that resolution, with healpy.ud_grade for example"
        )
    check_values(values, dim, "pixels", fill)
    return own


def detect_order(values: Shaped[Tensor, "*shape"], dim: int = -1) -> Order | None:
    """Return the order a map is stored in, judged by its smoothness; None where the evidence is too weak.

    In the right order neighbouring pixels differ little. For up to 8192 pixels, read in either order, the
    squared differences between each and its neighbours are summed. One reading is smoother if its sum is less
    by a factor SMOOTHER, and if the sum of the pixels' advantages is EVIDENCE times the root of their sum of
    squares: a few pixels, such as sources on an empty sky, are no evidence. In either order pixels with close
    numbers are neighbours, so a map that only depends on latitude looks smooth in nested order too, along its
    runs of numbers. Hence in nested order differences between blocks of pixels must be as small as those
    within blocks, up to a factor ALIKE. In ring order pixels must
    differ along many places of the rings. Constant maps, white noise, a few sources, maps of a few pixels
    and belts of latitude are undecided. Raises MapError for the maps that `check_map` refuses.

    >>> from geocnn.geometry.spheres.pixels import pixel_to_angle
    >>> theta, phi = pixel_to_angle(8, torch.arange(768), nested=True)
    >>> detect_order(torch.cos(theta))
    'nested'
    """
    nside = check_map(values, dim=dim)
    maps = values.movedim(dim, 0).reshape(values.shape[dim], -1).double()
    maps = maps - maps.mean(0)
    maps = maps / maps.abs().amax(0).clamp_min(torch.finfo(torch.float64).tiny)  # all of one scale
    count = min(npix(nside), 8192)
    sample = torch.arange(count, device=values.device, dtype=torch.int64) * npix(nside) // count
    around = {order: neighbours(nside, sample, nested=order == "nested") for order in ("ring", "nested")}
    ring, each_ring = _differences(maps, sample, around["ring"])
    nested, each_nested = _differences(maps, sample, around["nested"])
    advantage = ring - nested
    if not _is_widespread(advantage):
        return None
    # runs of numbers are blocks of the sphere in nested order; read as rings they are caps and
    # belts, which differ along few rings, and look smooth
    along = each_ring.masked_fill((around["ring"] - sample[:, None]).abs() != 1, 0).sum(1)
    if SMOOTHER * ring.sum() < nested.sum() and _is_widespread(along):
        return "ring"
    within = around["nested"] // 4 == sample[:, None] // 4
    beyond = (around["nested"] >= 0) & (around["nested"] // 16 != sample[:, None] // 16)
    if SMOOTHER * nested.sum() < ring.sum() and (
        each_nested[beyond].mean() < ALIKE * each_nested[within].mean()
    ):
        return "nested"
    return None


def _differences(
    maps: Float64[Tensor, "npix maps"], sample: Int64[Tensor, " k"], around: Int64[Tensor, "k 8"]
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, "k 8"]]:
    """Return the squared differences of pixels to their neighbours: the sum per pixel, and each of them."""
    each = (maps[around.clamp(min=0)] - maps[sample][:, None]).square().sum(-1).masked_fill(around < 0, 0)
    return each.sum(1), each


def _is_widespread(terms: Float64[Tensor, " k"]) -> bool:
    """Return whether many terms of a sum count: it is EVIDENCE times the root of their sum of squares."""
    return bool(terms.sum().abs() > EVIDENCE * terms.square().sum().sqrt())
