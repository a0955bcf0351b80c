"""HEALPix pixels as functions of tensors: indexing, neighbours, interpolation.

Górski et al. 2005, ApJ 622:759, give the equations numbered below. The sphere is cut into twelve base faces
of nside x nside pixels of equal area, whose centres lie on 4 nside - 1 rings of constant latitude:

- ring order (the default everywhere here) counts pixels eastward along the rings, from the north pole down;
- nested order counts face by face along a quadtree: pixel p of nside holds pixels 4p to 4p + 3 of 2 nside.

Colatitude theta increases from 0 (north pole) to pi, longitude phi eastward; both are in radians, never
latitude, never degrees. Angles and weights are float64 and indices int64, on the device of the input.
"""

from __future__ import annotations

import math
import operator
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from geocnn.errors import GeometryError, MapError
from geocnn.geometry.spheres.healpix_cells import (
    angle_to_face,
    cell_to_pixel,
    floor_inside,
    pixel_to_cell,
    ring_column,
    ring_layout,
    ring_pair,
    ring_position,
    ring_theta,
    ring_z,
    unit_vector,
    wrap_cell,
)

__all__ = [
    "HealpixRings",
    "angle_to_pixel",
    "bilinear_weights",
    "check_nside",
    "cubic_weights",
    "neighbours",
    "nested_to_ring",
    "npix",
    "nside_of",
    "pixel_to_angle",
    "pixel_to_vector",
    "ring_to_nested",
    "rings",
    "vector_to_pixel",
]

MAX_NSIDE = 8192
CHUNK = 1 << 15  # cubic_weights fits so many directions at once, in about 150 MB of work space


# ----------------------------------------------------------------------------------------------------- sizes


def check_nside(nside: int) -> int:
    """Return nside as an int; raise GeometryError unless it is a power of two from 1 to 8192.

    Ring order alone would allow any nside, but nested order and the hierarchies built on it halve nside level
    by level.

    >>> check_nside(64)
    64
    """
    try:
        value = operator.index(nside)
    except TypeError:
        raise GeometryError(
            f"nside must be an integer, got {nside!r} of type {type(nside).__name__}"
        ) from None
    if 1 <= value <= MAX_NSIDE and value & (value - 1) == 0:
        return value
    below = 1 << (min(max(value, 1), MAX_NSIDE).bit_length() - 1)
    suggestion = f"{below} or {2 * below}" if 1 < value < MAX_NSIDE else str(below)
    raise GeometryError(
        f"nside must be a power of two from 1 to {MAX_NSIDE}, since nested order and hierarchies halve it "
        f"level by level; got {value}, use {suggestion}"
    )


def npix(nside: int) -> int:
    """Return the number of pixels, 12 nside^2. Raises GeometryError for an nside that `check_nside` refuses.

    >>> npix(16)
    3072
    """
    return 12 * check_nside(nside) ** 2


def nside_of(npix: int) -> int:
    """Return the nside of a map with npix pixels. Raises MapError, naming the nearest valid sizes.

    >>> nside_of(3072)
    16
    """
    nsides = {12 * 4**k: 2**k for k in range(MAX_NSIDE.bit_length())}
    if npix in nsides:
        return nsides[npix]
    nearest = [s for s in nsides if s < npix][-1:] + [s for s in nsides if s > npix][:1]
    names = " or ".join(f"{size} (nside {nsides[size]})" for size in nearest)
    raise MapError(
        f"a HEALPix map has 12 nside^2 values with nside a power of two up to {MAX_NSIDE}; "
        f"got {npix} values, the nearest valid sizes are {names}"
    )


class HealpixRings(NamedTuple):
    """The iso-latitude rings of a HEALPix grid from north to south; there are 4 nside - 1."""

    theta: Float64[Tensor, " rings"]
    """Colatitude in radians."""
    z: Float64[Tensor, " rings"]
    """cos(theta) (eqs. 4 and 8)."""
    n_phi: Int64[Tensor, " rings"]
    """Number of pixels on each ring."""
    start: Int64[Tensor, " rings"]
    """First pixel in ring order."""
    phi0: Float64[Tensor, " rings"]
    """Longitude of the first pixel in radians; the others follow at steps of 2 pi / n_phi."""


def rings(nside: int, device: torch.device | str | None = None) -> HealpixRings:
    """Return the rings of the grid, as a spherical harmonic transform needs them (eqs. 2 to 9).

    >>> rings(2).n_phi.tolist()
    [4, 8, 8, 8, 8, 8, 4]
    >>> rings(2).start.tolist()
    [0, 4, 12, 20, 28, 36, 44]
    """
    nside = check_nside(nside)
    ring = torch.arange(1, 4 * nside, device=device, dtype=torch.int64)
    quarter, shifted, start = ring_layout(nside, ring)
    phi0 = shifted.double() * (math.pi / 4) / quarter
    return HealpixRings(ring_theta(nside, ring), ring_z(nside, ring), 4 * quarter, start, phi0)


# ----------------------------------------------------------------------------------------- pixels and angles


def pixel_to_angle(
    nside: int, pixel: Int[Tensor, "*k"], *, nested: bool = False
) -> tuple[Float64[Tensor, "*k"], Float64[Tensor, "*k"]]:
    """Return colatitude and longitude (radians, phi in [0, 2 pi)) of pixel centres (eqs. 2 to 9).

    Raises GeometryError if a pixel does not exist.

    >>> theta, phi = pixel_to_angle(1, torch.tensor([4, 5]))
    >>> (theta / math.pi).tolist(), (phi / math.pi).tolist()
    ([0.5, 0.5], [0.0, 0.5])
    """
    nside = check_nside(nside)
    ring, column2 = ring_column(nside, _checked_pixel(nside, pixel), nested)
    quarter, _, _ = ring_layout(nside, ring)
    return ring_theta(nside, ring), column2.double() * (math.pi / 4) / quarter


def angle_to_pixel(
    nside: int, theta: Float[Tensor, "*#k"], phi: Float[Tensor, "*#k"], *, nested: bool = False
) -> Int64[Tensor, "*k"]:
    """Return the pixel that contains each direction; theta and phi broadcast. phi may be any real number.

    Raises GeometryError if theta leaves [0, pi] or either angle is not finite.

    >>> angle_to_pixel(4, torch.tensor([0.0, math.pi]), torch.tensor([0.1, 0.1])).tolist()
    [0, 188]
    """
    nside = check_nside(nside)
    face, x, y = angle_to_face(*_checked_angles(theta, phi))
    return cell_to_pixel(nside, face, floor_inside(x, nside), floor_inside(y, nside), nested)


def pixel_to_vector(nside: int, pixel: Int[Tensor, "*k"], *, nested: bool = False) -> Float64[Tensor, "*k 3"]:
    """Return unit vectors of pixel centres: north is +z, phi = 0 is +x.

    Raises GeometryError if a pixel does not exist.

    >>> pixel_to_vector(1, torch.tensor(4)).round(decimals=12).tolist()
    [1.0, 0.0, 0.0]
    """
    return unit_vector(*pixel_to_angle(nside, pixel, nested=nested))


def vector_to_pixel(
    nside: int, vectors: Float[Tensor, "*k 3"], *, nested: bool = False
) -> Int64[Tensor, "*k"]:
    """Return the pixel that contains each direction; vectors need not have unit length.

    Raises GeometryError if a vector is zero or not finite.

    >>> vector_to_pixel(1, torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).tolist()
    [4, 5]
    """
    if vectors.shape[-1:] != (3,):
        raise GeometryError(f"vectors must have shape [..., 3], got {list(vectors.shape)}")
    vectors = vectors.double()
    bad = ~torch.isfinite(vectors).all(-1) | (vectors == 0).all(-1)
    if bad.any():
        where = bad.reshape(-1).nonzero()[0].item()
        raise GeometryError(
            f"vector {where} is zero or not finite ({int(bad.sum())} in all); give it a direction"
        )
    x, y, z = vectors.unbind(-1)
    return angle_to_pixel(nside, torch.atan2(torch.hypot(x, y), z), torch.atan2(y, x), nested=nested)


def ring_to_nested(nside: int, pixel: Int[Tensor, "*k"]) -> Int64[Tensor, "*k"]:
    """Return nested indices of pixels given in ring order. Raises GeometryError if a pixel does not exist.

    >>> ring_to_nested(2, torch.arange(6)).tolist()
    [3, 7, 11, 15, 2, 1]
    """
    nside = check_nside(nside)
    return cell_to_pixel(
        nside, *pixel_to_cell(nside, _checked_pixel(nside, pixel), nested=False), nested=True
    )


def nested_to_ring(nside: int, pixel: Int[Tensor, "*k"]) -> Int64[Tensor, "*k"]:
    """Return ring indices of pixels given in nested order. Raises GeometryError if a pixel does not exist.

    >>> nested_to_ring(2, torch.tensor([3, 7, 11, 15, 2, 1])).tolist()
    [0, 1, 2, 3, 4, 5]
    """
    nside = check_nside(nside)
    return cell_to_pixel(
        nside, *pixel_to_cell(nside, _checked_pixel(nside, pixel), nested=True), nested=False
    )


def neighbours(nside: int, pixel: Int[Tensor, "*k"], *, nested: bool = False) -> Int64[Tensor, "*k 8"]:
    """Return the pixels around a pixel, in the order SW, W, NW, N, NE, E, SE, S; -1 where there is none.

    At the eight points where three base faces meet, a pixel has one neighbour less: 24 pixels have seven
    neighbours, and at nside 1 all twelve have six. Raises GeometryError if a pixel does not exist.

    >>> neighbours(2, torch.tensor(0)).tolist()
    [4, 11, 3, 2, 1, 6, 5, 13]
    """
    nside = check_nside(nside)
    face, x, y = pixel_to_cell(nside, _checked_pixel(nside, pixel), nested)
    dx = torch.tensor([-1, -1, 0, 1, 1, 1, 0, -1], device=x.device, dtype=torch.int64)
    dy = torch.tensor([0, 1, 1, 1, 0, -1, -1, -1], device=x.device, dtype=torch.int64)
    face, x, y, exists = wrap_cell(nside, face[..., None], x[..., None] + dx, y[..., None] + dy)
    return torch.where(exists, cell_to_pixel(nside, face, x, y, nested), -1)


# --------------------------------------------------------------------------------------------- interpolation


def bilinear_weights(
    nside: int, theta: Float[Tensor, "*#k"], phi: Float[Tensor, "*#k"], *, nested: bool = False
) -> tuple[Int64[Tensor, "*k 4"], Float64[Tensor, "*k 4"]]:
    """Return four pixels and weights per direction, linear in phi, then in theta.

    These are the weights of healpy's `get_interp_weights`: beyond the outermost rings the pole takes the mean
    of its four pixels. Weights are non-negative and sum to 1. They are second-order accurate away from the
    poles; on ring i of a polar cap the pixels are pi / (2 i) apart in longitude, so within a few rings of a
    pole the error is only of first order (`cubic_weights` has no such defect). Raises GeometryError if theta
    leaves [0, pi] or an angle is not finite.

    >>> pixel, weight = bilinear_weights(4, torch.tensor(0.0), torch.tensor(0.0))
    >>> sorted(pixel.tolist()), weight.tolist()
    ([0, 1, 2, 3], [0.25, 0.25, 0.25, 0.25])
    """
    nside = check_nside(nside)
    theta, phi = _checked_angles(theta, phi)
    above = ring_position(nside, theta).floor().long().clamp(0, 4 * nside - 1)
    theta_above = ring_theta(nside, above)
    down = ((theta - theta_above) / (ring_theta(nside, above + 1) - theta_above)).clamp(0, 1)
    # Rings 0 and 4 nside are the poles: they use the two pixels of the outermost ring that remain.
    north, south = above == 0, above == 4 * nside - 1
    upper, east_upper = ring_pair(nside, above + north.long(), phi, 2 * north)
    lower, east_lower = ring_pair(nside, above + 1 - south.long(), phi, 2 * south)
    up = torch.where(north, 0.0, 1 - down)
    weight_upper = up[..., None] * torch.stack([1 - east_upper, east_upper], -1)
    weight_lower = torch.where(south, 0.0, down)[..., None] * torch.stack([1 - east_lower, east_lower], -1)
    pole = torch.where(north, 1 - down, torch.where(south, down, 0.0)) / 4
    pixel = torch.cat([upper, lower], -1)
    weight = torch.cat([weight_upper, weight_lower], -1) + pole[..., None]
    return (ring_to_nested(nside, pixel) if nested else pixel), weight


def cubic_weights(
    nside: int, theta: Float[Tensor, "*#k"], phi: Float[Tensor, "*#k"], *, nested: bool = False
) -> tuple[Int64[Tensor, "*k 16"], Float64[Tensor, "*k 16"]]:
    """Return sixteen pixels and weights per direction, which interpolate with fourth-order accuracy.

    The method is moving least squares (Lancaster & Salkauskas 1981, Math. Comp. 37:141). A cubic polynomial
    in the sample's tangent plane is fitted to the 4 x 4 block of pixels around it, where near pixels count
    most; the weights give its value at the sample. Coordinates of the tangent plane do not depend on the
    poles or the seams between caps and belt, so the order is the same there, and the weights serve any field
    that is smooth once carried to the sample's tangent plane.

    Weights sum to 1; some are negative, and sum |w| stays below 2.3. Where only three base faces meet, a
    block has up to four pixels less: those columns hold the sample's own pixel with weight 0. Raises
    GeometryError at nside 1, whose twelve pixels cannot hold a block, and for the angles that
    `angle_to_pixel` refuses.

    >>> pixel, weight = cubic_weights(16, torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]))
    >>> z = pixel_to_vector(16, pixel)[..., 2]
    >>> (weight * z).sum(-1).round(decimals=4).tolist()  # cos(0) and cos(1)
    [1.0, 0.5403]
    """
    nside = check_nside(nside)
    if nside == 1:
        raise GeometryError("cubic interpolation needs nside >= 2 (nside 1 has 12 pixels, a block 16)")
    theta, phi = _checked_angles(theta, phi)
    shape = theta.shape
    parts = [
        _cubic_block(nside, t, p)
        for t, p in zip(theta.reshape(-1).split(CHUNK), phi.reshape(-1).split(CHUNK), strict=True)
    ]
    pixel, weight = (torch.cat(part).reshape(*shape, 16) for part in zip(*parts, strict=True))
    return (ring_to_nested(nside, pixel) if nested else pixel), weight


def _cubic_block(
    nside: int, theta: Float64[Tensor, " k"], phi: Float64[Tensor, " k"]
) -> tuple[Int64[Tensor, "k 16"], Float64[Tensor, "k 16"]]:
    """Return `cubic_weights` in ring order."""
    face, x, y = angle_to_face(theta, phi)
    # The block starts one pixel before the last pixel centre to the south-west of the sample.
    offset = torch.arange(-1, 3, device=theta.device, dtype=torch.int64)
    block_x = ((x * nside - 0.5).floor().long()[:, None] + offset).repeat_interleave(4, -1)
    block_y = ((y * nside - 0.5).floor().long()[:, None] + offset).repeat(1, 4)
    *block, exists = wrap_cell(nside, face[:, None], block_x, block_y)
    own = cell_to_pixel(nside, face, floor_inside(x, nside), floor_inside(y, nside), nested=False)
    pixel = torch.where(exists, cell_to_pixel(nside, *block, nested=False), own[:, None])

    spacing = math.sqrt(math.pi / 3) / nside
    quarter_turn = math.pi / 2
    south = unit_vector(theta + quarter_turn, phi)
    east = unit_vector(torch.full_like(theta, quarter_turn), phi + quarter_turn)
    centre = pixel_to_vector(nside, pixel)
    a, b = ((centre * axis[:, None]).sum(-1) / spacing for axis in (south, east))
    distance2 = ((centre - unit_vector(theta, phi)[:, None]) ** 2).sum(-1) / spacing**2
    # This is nearly singular at 0, so a sample on a pixel centre takes that pixel's value (to 1e-5 of the
    # others). Of the inverse powers and Gaussians tried, it has the least error without larger weights.
    closeness = exists / (distance2 + 1e-3) ** 2
    powers = torch.stack([a**i * b**j for i in range(4) for j in range(4 - i)], -1)
    weighted = closeness[..., None] * powers
    value_at_sample = torch.eye(10, 1, device=theta.device, dtype=torch.float64).expand(len(theta), 10, 1)
    coefficient = torch.linalg.solve(powers.mT @ weighted, value_at_sample)
    return pixel, (weighted @ coefficient).squeeze(-1)


def _checked_pixel(nside: int, pixel: Int[Tensor, "*k"]) -> Int64[Tensor, "*k"]:
    if pixel.is_floating_point() or pixel.is_complex() or pixel.dtype == torch.bool:
        raise GeometryError(f"pixels are integers, got {pixel.dtype}")
    pixel = pixel.long()
    bad = (pixel < 0) | (pixel >= 12 * nside * nside)
    if bad.any():
        raise GeometryError(
            f"pixels of nside {nside} run from 0 to {12 * nside * nside - 1}; "
            f"{int(bad.sum())} do not exist, the first is {pixel[bad][0].item()}"
        )
    return pixel


def _checked_angles(
    theta: Float[Tensor, "*#k"], phi: Float[Tensor, "*#k"]
) -> tuple[Float64[Tensor, "*k"], Float64[Tensor, "*k"]]:
    """Return both angles as float64 of one shape."""
    theta, phi = torch.broadcast_tensors(theta.double(), phi.double())
    # float32 rounds pi up, so a south pole given in float32 lies 9e-8 beyond it.
    bad = ~((theta >= 0) & (theta <= math.pi + 1e-7) & torch.isfinite(phi))
    if bad.any():
        raise GeometryError(
            "theta must be a colatitude in radians, 0 (north) to pi (south), and phi finite; "
            f"{int(bad.sum())} directions are not, the first has theta {theta[bad][0].item()} "
            f"and phi {phi[bad][0].item()}"
        )
    return theta.clamp(max=math.pi), phi
