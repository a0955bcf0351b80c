"""Whole HEALPix maps: is it one, in which order is it stored, and the same in the other order."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from geocnn.errors import GeometryError, MapError
from geocnn.geometry.healpix import check_nside, neighbours, nested_to_ring, npix, nside_of, ring_to_nested

__all__ = ["check_map", "detect_order", "reorder"]

UNSEEN = -1.6375e30  # the value healpy and the HEALPix FITS convention write where nothing was observed

Order = Literal["ring", "nested"]


def reorder(values: Tensor, to: Order, dim: int = -1) -> Tensor:
    """The same map in the order `to`, "nested" or "ring"; its values must be in the other order, along `dim`.

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


def check_map(values: Tensor, nside: int | None = None, dim: int = -1) -> int:
    """Returns the nside of a map whose pixels lie along `dim`, or raises MapError.

    Refused are a number of values that is not 12 nside^2, NaN, infinity, and healpy's UNSEEN (-1.6375e30),
    which would silently poison every pixel a convolution can reach from them.

    >>> check_map(torch.zeros(3, 192))
    4
    """
    found = nside_of(values.shape[dim])
    if nside is not None and found != check_nside(nside):
        raise MapError(
            f"the map has {values.shape[dim]} values (nside {found}), not {npix(nside)} (nside {nside}); "
            "average or interpolate it to that resolution, with healpy.ud_grade for example"
        )
    by_pixel = values.movedim(dim, 0).reshape(values.shape[dim], -1)
    # UNSEEN may have passed through float32 on its way here.
    unseen = torch.isclose(by_pixel.double(), by_pixel.new_tensor(UNSEEN, dtype=torch.float64))
    for name, bad in (
        ("NaN", by_pixel.isnan()),
        ("infinite", by_pixel.isinf()),
        ("UNSEEN (-1.6375e30)", unseen),
    ):
        pixels = bad.any(-1).nonzero().squeeze(-1)
        if len(pixels):
            raise MapError(
                f"{len(pixels)} of {values.shape[dim]} pixels are {name}, first at {pixels[:5].tolist()}; "
                "fill or mask them before using the map"
            )
    return found


def detect_order(values: Tensor, dim: int = -1) -> Order | None:
    """The order a map is stored in, judged by its smoothness; None when undecided.

    In the right order neighbouring pixels differ little. The squared differences between up to 4096 pixels
    and their neighbours are summed under either reading, and the smoother reading wins if its sum is less
    than half the other. Constant maps, white noise and nside 1 (where the orders coincide) are undecided.
    Raises MapError for the maps `check_map` refuses.

    >>> from geocnn.geometry.healpix import pixel_to_angle
    >>> theta, phi = pixel_to_angle(8, torch.arange(768), nested=True)
    >>> detect_order(torch.cos(theta))
    'nested'
    """
    nside = check_map(values, dim=dim)
    by_pixel = values.movedim(dim, 0).reshape(values.shape[dim], -1).double()
    count = min(npix(nside), 4096)
    sample = torch.arange(count, device=values.device, dtype=torch.int64) * npix(nside) // count
    roughness: dict[Order, Tensor] = {}
    for order in ("ring", "nested"):
        around = neighbours(nside, sample, nested=order == "nested")
        difference = by_pixel[around.clamp(min=0)] - by_pixel[sample][:, None]
        roughness[order] = (difference**2)[around >= 0].sum()
    if roughness["ring"] < 0.5 * roughness["nested"]:
        return "ring"
    if roughness["nested"] < 0.5 * roughness["ring"]:
        return "nested"
    return None
