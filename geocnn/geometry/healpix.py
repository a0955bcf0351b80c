r"""HEALPix pixels as functions of tensors: indexing, neighbours, interpolation, map order.

Górski et al. 2005, ApJ 622:759; equation numbers below are that paper's. The sphere is cut into twelve base
faces of nside x nside pixels of equal area, whose centres lie on 4 nside - 1 rings of constant latitude:

- ring order (the default everywhere here) counts pixels eastward along the rings, from the north pole down;
- nested order counts face by face along a quadtree: pixel p of nside holds pixels 4p to 4p + 3 of 2 nside.

Everything passes through the cell (face, x, y) of a pixel, x running to the north-east, y to the north-west:

            N             row 0:  faces  0  1  2  3, around the north pole
        y  / \  x         row 1:  faces  4  5  6  7, on the equator, face 4 centred on phi = 0
          /   \           row 2:  faces  8  9 10 11, around the south pole
        W       E
          \   /           ring   = F1 nside - x - y - 1              F1 = row + 2
           \ /            column = (F2 quarter + x - y) / 2          F2 = 2 (face mod 4) + 1 - (row mod 2)
            S

`quarter` is the number of pixels in a quarter of the ring: eq. 18 prints nside, which holds only in the belt
|cos(theta)| <= 2/3. Counted from 0 and in halves like this, the column gives the longitude of a pixel centre,
column pi / (2 quarter), on every ring; `column2` below is twice the column, an integer.

Colatitude theta runs from 0 (north pole) to pi, longitude phi eastward; both are radians, never latitude,
never degrees. Angles and weights are float64 and indices int64, on the device of the input.
"""

from __future__ import annotations

import math
import operator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from geocnn.errors import GeometryError, MapError

__all__ = [
    "Rings",
    "angle_to_pixel",
    "bilinear_weights",
    "check_map",
    "check_nside",
    "cubic_weights",
    "detect_order",
    "neighbours",
    "nested_to_ring",
    "npix",
    "nside_of",
    "pixel_to_angle",
    "pixel_to_vector",
    "reorder",
    "ring_to_nested",
    "rings",
    "vector_to_pixel",
]

MAX_NSIDE = 8192
CHUNK = 1 << 15  # directions that cubic_weights fits at once, in about 150 MB of work space
UNSEEN = -1.6375e30  # the value healpy and the HEALPix FITS convention write where nothing was observed

Order = Literal["ring", "nested"]


# ----------------------------------------------------------------------------------------------------- sizes


def check_nside(nside: int) -> int:
    """Returns nside as an int, or raises GeometryError unless it is a power of two from 1 to 8192.

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
    """Number of pixels, 12 nside^2. Raises GeometryError for an nside `check_nside` refuses.

    >>> npix(16)
    3072
    """
    return 12 * check_nside(nside) ** 2


def nside_of(npix: int) -> int:
    """The nside of a map of npix pixels. Raises MapError, naming the nearest valid sizes, if there is none.

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


class Rings(NamedTuple):
    """The iso-latitude rings of a HEALPix grid from north to south; there are R = 4 nside - 1."""

    theta: Tensor
    """[R] float64, colatitude in radians."""
    z: Tensor
    """[R] float64, cos(theta) (eqs. 4 and 8)."""
    n_phi: Tensor
    """[R] int64, number of pixels."""
    start: Tensor
    """[R] int64, first pixel in ring order."""
    phi0: Tensor
    """[R] float64, longitude of the first pixel in radians; the others follow at steps of 2 pi / n_phi."""


def rings(nside: int, device: torch.device | str | None = None) -> Rings:
    """The rings of the grid, as a spherical harmonic transform needs them (eqs. 2 to 9).

    >>> rings(2).n_phi.tolist()
    [4, 8, 8, 8, 8, 8, 4]
    >>> rings(2).start.tolist()
    [0, 4, 12, 20, 28, 36, 44]
    """
    nside = check_nside(nside)
    ring = torch.arange(1, 4 * nside, device=device, dtype=torch.int64)
    quarter, shifted, start = _ring_layout(nside, ring)
    phi0 = shifted.double() * (math.pi / 4) / quarter
    return Rings(_ring_theta(nside, ring), _ring_z(nside, ring), 4 * quarter, start, phi0)


# ----------------------------------------------------------------------------------------- pixels and angles


def pixel_to_angle(nside: int, pixel: Tensor, *, nested: bool = False) -> tuple[Tensor, Tensor]:
    """Colatitude and longitude (radians, float64, phi in [0, 2 pi)) of pixel centres (eqs. 2 to 9).

    Raises GeometryError if a pixel does not exist.

    >>> theta, phi = pixel_to_angle(1, torch.tensor([4, 5]))
    >>> (theta / math.pi).tolist(), (phi / math.pi).tolist()
    ([0.5, 0.5], [0.0, 0.5])
    """
    nside = check_nside(nside)
    ring, column2 = _ring_column(nside, _checked_pixel(nside, pixel), nested)
    quarter, _, _ = _ring_layout(nside, ring)
    return _ring_theta(nside, ring), column2.double() * (math.pi / 4) / quarter


def angle_to_pixel(nside: int, theta: Tensor, phi: Tensor, *, nested: bool = False) -> Tensor:
    """The pixel that contains each direction; theta and phi broadcast. phi may be any real number of radians.

    Raises GeometryError if theta leaves [0, pi] or either angle is not finite.

    >>> angle_to_pixel(4, torch.tensor([0.0, math.pi]), torch.tensor([0.1, 0.1])).tolist()
    [0, 188]
    """
    nside = check_nside(nside)
    face, x, y = _angle_to_face(*_checked_angles(theta, phi))
    return _cell_to_pixel(nside, face, _floor_inside(x, nside), _floor_inside(y, nside), nested)


def pixel_to_vector(nside: int, pixel: Tensor, *, nested: bool = False) -> Tensor:
    """Unit vectors [..., 3] (float64) of pixel centres: north is +z, phi = 0 is +x.

    Raises GeometryError if a pixel does not exist.

    >>> pixel_to_vector(1, torch.tensor(4)).round(decimals=12).tolist()
    [1.0, 0.0, 0.0]
    """
    return _unit_vector(*pixel_to_angle(nside, pixel, nested=nested))


def vector_to_pixel(nside: int, vectors: Tensor, *, nested: bool = False) -> Tensor:
    """The pixel that contains each direction [..., 3]; vectors need not have unit length.

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
            f"vector {where} is zero or not finite ({int(bad.sum())} in all): it points nowhere"
        )
    x, y, z = vectors.unbind(-1)
    return angle_to_pixel(nside, torch.atan2(torch.hypot(x, y), z), torch.atan2(y, x), nested=nested)


def ring_to_nested(nside: int, pixel: Tensor) -> Tensor:
    """Nested indices of pixels given in ring order. Raises GeometryError if a pixel does not exist.

    >>> ring_to_nested(2, torch.arange(6)).tolist()
    [3, 7, 11, 15, 2, 1]
    """
    nside = check_nside(nside)
    return _cell_to_pixel(
        nside, *_pixel_to_cell(nside, _checked_pixel(nside, pixel), nested=False), nested=True
    )


def nested_to_ring(nside: int, pixel: Tensor) -> Tensor:
    """Ring indices of pixels given in nested order. Raises GeometryError if a pixel does not exist.

    >>> nested_to_ring(2, torch.tensor([3, 7, 11, 15, 2, 1])).tolist()
    [0, 1, 2, 3, 4, 5]
    """
    nside = check_nside(nside)
    return _cell_to_pixel(
        nside, *_pixel_to_cell(nside, _checked_pixel(nside, pixel), nested=True), nested=False
    )


def neighbours(nside: int, pixel: Tensor, *, nested: bool = False) -> Tensor:
    """The pixels around a pixel, [..., 8], in the order SW, W, NW, N, NE, E, SE, S; -1 where there is none.

    At the eight points where three base faces meet, a pixel has one neighbour less: that is 24 pixels with
    seven neighbours, and at nside 1 all twelve with six. Raises GeometryError if a pixel does not exist.

    >>> neighbours(2, torch.tensor(0)).tolist()
    [4, 11, 3, 2, 1, 6, 5, 13]
    """
    nside = check_nside(nside)
    face, x, y = _pixel_to_cell(nside, _checked_pixel(nside, pixel), nested)
    dx = torch.tensor([-1, -1, 0, 1, 1, 1, 0, -1], device=x.device, dtype=torch.int64)
    dy = torch.tensor([0, 1, 1, 1, 0, -1, -1, -1], device=x.device, dtype=torch.int64)
    face, x, y, exists = _wrap_cell(nside, face[..., None], x[..., None] + dx, y[..., None] + dy)
    return torch.where(exists, _cell_to_pixel(nside, face, x, y, nested), -1)


# --------------------------------------------------------------------------------------------- interpolation


def bilinear_weights(
    nside: int, theta: Tensor, phi: Tensor, *, nested: bool = False
) -> tuple[Tensor, Tensor]:
    """Four pixels and weights per direction, ([..., 4] int64, [..., 4] float64): linear in phi, then theta.

    These are the weights of healpy's `get_interp_weights`: beyond the outermost rings the pole takes the mean
    of its four pixels. Weights are non-negative and sum to 1. Second-order accurate away from the poles; on
    ring i of a polar cap the pixels are pi / (2 i) apart in longitude, so within a few rings of a pole the
    error is only of first order (`cubic_weights` has no such defect). Raises GeometryError if theta leaves
    [0, pi] or an angle is not finite.

    >>> pixel, weight = bilinear_weights(4, torch.tensor(0.0), torch.tensor(0.0))
    >>> sorted(pixel.tolist()), weight.tolist()
    ([0, 1, 2, 3], [0.25, 0.25, 0.25, 0.25])
    """
    nside = check_nside(nside)
    theta, phi = _checked_angles(theta, phi)
    above = _ring_position(nside, theta).floor().long().clamp(0, 4 * nside - 1)
    theta_above = _ring_theta(nside, above)
    down = ((theta - theta_above) / (_ring_theta(nside, above + 1) - theta_above)).clamp(0, 1)
    # Rings 0 and 4 nside are the poles: they borrow the two pixels that the outermost ring leaves over.
    north, south = above == 0, above == 4 * nside - 1
    upper, east_upper = _ring_pair(nside, above + north.long(), phi, 2 * north)
    lower, east_lower = _ring_pair(nside, above + 1 - south.long(), phi, 2 * south)
    up = torch.where(north, 0.0, 1 - down)
    weight_upper = up[..., None] * torch.stack([1 - east_upper, east_upper], -1)
    weight_lower = torch.where(south, 0.0, down)[..., None] * torch.stack([1 - east_lower, east_lower], -1)
    pole = torch.where(north, 1 - down, torch.where(south, down, 0.0)) / 4
    pixel = torch.cat([upper, lower], -1)
    weight = torch.cat([weight_upper, weight_lower], -1) + pole[..., None]
    return (ring_to_nested(nside, pixel) if nested else pixel), weight


def cubic_weights(nside: int, theta: Tensor, phi: Tensor, *, nested: bool = False) -> tuple[Tensor, Tensor]:
    """Sixteen pixels and weights per direction, ([..., 16] int64, [..., 16] float64), fourth-order accurate.

    Moving least squares (Lancaster & Salkauskas 1981, Math. Comp. 37:141): the value at the sample of the
    cubic polynomial in its tangent plane that best fits the 4 x 4 block of pixels around it, near pixels
    counting most. Tangent-plane coordinates know nothing of the poles or of the seams between caps and belt,
    so the order is the same there, and the weights serve any field that is smooth once carried to the
    sample's tangent plane.

    Weights sum to 1; some are negative, and sum |w| stays below 2.3. Where only three base faces meet, a
    block has up to four pixels less: those columns hold the sample's own pixel with weight 0. Raises
    GeometryError at nside 1, whose twelve pixels cannot hold a block, and for the angles `angle_to_pixel`
    refuses.

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


def _cubic_block(nside: int, theta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """`cubic_weights` in ring order for angles [K]."""
    face, x, y = _angle_to_face(theta, phi)
    # The block starts one pixel before the last pixel centre to the south-west of the sample.
    offset = torch.arange(-1, 3, device=theta.device, dtype=torch.int64)
    block_x = ((x * nside - 0.5).floor().long()[:, None] + offset).repeat_interleave(4, -1)
    block_y = ((y * nside - 0.5).floor().long()[:, None] + offset).repeat(1, 4)
    *block, exists = _wrap_cell(nside, face[:, None], block_x, block_y)
    own = _cell_to_pixel(nside, face, _floor_inside(x, nside), _floor_inside(y, nside), nested=False)
    pixel = torch.where(exists, _cell_to_pixel(nside, *block, nested=False), own[:, None])

    spacing = math.sqrt(math.pi / 3) / nside
    quarter_turn = math.pi / 2
    south = _unit_vector(theta + quarter_turn, phi)
    east = _unit_vector(torch.full_like(theta, quarter_turn), phi + quarter_turn)
    centre = pixel_to_vector(nside, pixel)
    a, b = ((centre * axis[:, None]).sum(-1) / spacing for axis in (south, east))
    distance2 = ((centre - _unit_vector(theta, phi)[:, None]) ** 2).sum(-1) / spacing**2
    # Nearly singular at 0, so that a sample on a pixel centre takes that pixel's value (to 1e-5 of the
    # others). Of the inverse powers and Gaussians tried, this has the least error without larger weights.
    closeness = exists / (distance2 + 1e-3) ** 2
    powers = torch.stack([a**i * b**j for i in range(4) for j in range(4 - i)], -1)
    weighted = closeness[..., None] * powers
    value_at_sample = torch.eye(10, 1, device=theta.device, dtype=torch.float64).expand(len(theta), 10, 1)
    coefficient = torch.linalg.solve(powers.mT @ weighted, value_at_sample)
    return pixel, (weighted @ coefficient).squeeze(-1)


# ------------------------------------------------------------------------------------------------ whole maps


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


# ------------------------------------------------------------------------------------------------- internals


def _checked_pixel(nside: int, pixel: Tensor) -> Tensor:
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


def _checked_angles(theta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """Both angles as float64 of one shape."""
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


def _unit_vector(theta: Tensor, phi: Tensor) -> Tensor:
    sine = torch.sin(theta)
    return torch.stack([sine * torch.cos(phi), sine * torch.sin(phi), torch.cos(theta)], -1)


def _ring_layout(nside: int, ring: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For rings 1 to 4 nside - 1: pixels per quarter, is the first half a step east of phi = 0, its index."""
    quarter = torch.minimum(ring, 4 * nside - ring).clamp(max=nside)
    shifted = (quarter < nside) | ((ring - nside) % 2 == 0)
    north = 2 * ring * (ring - 1)
    belt = 2 * nside * (nside - 1) + 4 * nside * (ring - nside)
    south = 12 * nside * nside - 2 * quarter * (quarter + 1)
    return quarter, shifted, torch.where(ring < nside, north, torch.where(ring <= 3 * nside, belt, south))


def _ring_z(nside: int, ring: Tensor) -> Tensor:
    """cos(theta) of rings 0 (north pole) to 4 nside (south pole)."""
    from_pole = torch.minimum(ring, 4 * nside - ring).double()
    cap = 1 - from_pole**2 / (3 * nside**2)
    belt = (2 * nside - ring).double() / (1.5 * nside)
    return torch.where(ring < nside, cap, torch.where(ring <= 3 * nside, belt, -cap))


def _ring_theta(nside: int, ring: Tensor) -> Tensor:
    """Colatitude of rings 0 (north pole) to 4 nside (south pole)."""
    # 1 - z = 2 sin^2(theta / 2) turns eq. 4 into a form that keeps all digits near the poles.
    from_pole = torch.minimum(ring, 4 * nside - ring).double()
    cap = 2 * torch.asin(from_pole / (nside * math.sqrt(6)))
    belt = torch.acos(_ring_z(nside, ring))
    return torch.where(ring < nside, cap, torch.where(ring <= 3 * nside, belt, math.pi - cap))


def _ring_position(nside: int, theta: Tensor) -> Tensor:
    """The real number whose integer values are the rings: eqs. 4 and 8 solved for i."""
    z = torch.cos(theta)
    cap = nside * _pole_distance(theta)
    return torch.where(z.abs() <= 2 / 3, nside * (2 - 1.5 * z), torch.where(z > 0, cap, 4 * nside - cap))


def _pole_distance(theta: Tensor) -> Tensor:
    """sqrt(3 (1 - |z|)) without cancellation: 0 at the nearer pole, 1 where the caps end."""
    return math.sqrt(6) * torch.sin(torch.minimum(theta, math.pi - theta) / 2)


def _ring_pair(nside: int, ring: Tensor, phi: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [..., 2] of a ring on either side of phi, moved `turn` columns east; and phi's place, 0 to 1."""
    quarter, shifted, start = _ring_layout(nside, ring)
    column = phi * quarter / (math.pi / 2) - 0.5 * shifted.double()
    west = column.floor()
    west_east = torch.stack([west, west + 1], -1).long() + turn[..., None]
    return start[..., None] + west_east % (4 * quarter[..., None]), column - west


def _ring_column(nside: int, pixel: Tensor, nested: bool) -> tuple[Tensor, Tensor]:
    """Ring and twice the column (see the module's docstring) of pixels in either order."""
    if nested:
        face, x, y = _pixel_to_cell(nside, pixel, nested)
        return _cell_to_ring_column(nside, face, x, y)
    cap_size = 2 * nside * (nside - 1)
    from_south = 12 * nside * nside - 1 - pixel
    # 2 i (i - 1) pixels precede ring i; float64 separates the roots of integers below 2^31, so this is exact.
    north = ((1 + torch.sqrt(1 + 2 * pixel.double())) / 2).long()
    south = 4 * nside - ((1 + torch.sqrt(1 + 2 * from_south.double())) / 2).long()
    belt = nside + torch.div(pixel - cap_size, 4 * nside, rounding_mode="floor")
    ring = torch.where(pixel < cap_size, north, torch.where(from_south < cap_size, south, belt))
    _, shifted, start = _ring_layout(nside, ring)
    return ring, 2 * (pixel - start) + shifted


def _pixel_to_cell(nside: int, pixel: Tensor, nested: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(face, x, y) of pixels in either order."""
    if nested:
        within = pixel % (nside * nside)
        return pixel // (nside * nside), _gather_bits(within), _gather_bits(within >> 1)
    ring, column2 = _ring_column(nside, pixel, nested)
    quarter, _, _ = _ring_layout(nside, ring)
    # The module's equations solved for the face: 2x = column2 - ring - 1 + (F1 - F2) nside and
    # 2y = -column2 - ring - 1 + (F1 + F2) nside lie in [0, 2 nside), and F1 - F2 and F1 + F2 are odd, which
    # fixes both in the belt. In a cap every quarter of a ring is one face.
    p = torch.div(column2 - ring - 1 + nside, 2 * nside, rounding_mode="floor")
    q = torch.div(-column2 - ring - 1 + nside, 2 * nside, rounding_mode="floor")
    belt = (ring >= nside) & (ring <= 3 * nside)
    f1 = torch.where(belt, 1 - p - q, torch.where(ring < nside, 2, 4))
    f2 = torch.where(belt, p - q, 2 * (column2 // (2 * quarter)) + 1)
    v, h = f1 * nside - ring - 1, column2 - f2 * quarter
    return _face_at(f1, f2), (v + h) // 2, (v - h) // 2


def _cell_to_ring_column(nside: int, face: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    row = face // 4
    ring = (row + 2) * nside - x - y - 1
    quarter, _, _ = _ring_layout(nside, ring)
    f2 = 2 * (face % 4) + 1 - row % 2
    return ring, (f2 * quarter + x - y) % (8 * quarter)


def _cell_to_pixel(nside: int, face: Tensor, x: Tensor, y: Tensor, nested: bool) -> Tensor:
    if nested:
        return face * (nside * nside) + _spread_bits(x) + 2 * _spread_bits(y)
    ring, column2 = _cell_to_ring_column(nside, face, x, y)
    _, _, start = _ring_layout(nside, ring)
    return start + column2 // 2


def _face_at(f1: Tensor, f2: Tensor) -> Tensor:
    """The face with the given F1 and F2 (see the module's docstring), F2 taken modulo 8."""
    row = f1 - 2
    return 4 * row + (f2 - 1 + row % 2) // 2 % 4


def _angle_to_face(theta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The base face of a direction and its position x, y in [0, 1] there."""
    quadrant = torch.remainder(phi, 2 * math.pi) / (math.pi / 2)
    z = torch.cos(theta)
    # In the belt pixels are bounded by lines quadrant + 3z/4 = const and quadrant - 3z/4 = const.
    north_east, south_east = quadrant + 0.75 * z - 0.5, quadrant - 0.75 * z + 0.5
    p, q = north_east.floor(), -south_east.floor() - 1
    f1 = 1 - p - q
    q = q + f1 - f1.clamp(2, 4)  # at a corner of the belt rounding may step over into a row that is not there
    belt_face = _face_at((1 - p - q).long(), (p - q).long())
    # In a cap by curves of constant `west` and `east`: the sector's two parts, shrinking towards the pole.
    distance, north = _pole_distance(theta), z > 0
    sector = quadrant.floor().clamp(max=3)
    west, east = (1 - (quadrant - sector)) * distance, (quadrant - sector) * distance
    belt = z.abs() <= 2 / 3
    face = torch.where(belt, belt_face, sector.long() + torch.where(north, 0, 8))
    x = torch.where(belt, north_east - p, torch.where(north, 1 - west, east))
    y = torch.where(belt, -south_east - q, torch.where(north, 1 - east, west))
    return face, x, y


def _floor_inside(position: Tensor, nside: int) -> Tensor:
    return (position * nside).floor().long().clamp(0, nside - 1)


def _wrap_cell(nside: int, face: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells that left their face by up to nside, on the face where they really lie; and whether they exist.

    One step across the edge x = nside or y = nside changes F1 by -1 and F2 by +1 or -1, and back on the other
    side: the faces form a checkerboard, except that the caps are cut open along meridians. There the
    neighbour is turned by a quarter about the pole, and the wedge behind a corner of three faces holds no
    cells.
    """
    dx, dy = torch.div(x, nside, rounding_mode="floor"), torch.div(y, nside, rounding_mode="floor")
    x, y = x - nside * dx, y - nside * dy
    row = face // 4
    f1, f2 = row + 2 - dx - dy, 2 * (face % 4) + 1 - row % 2 + dx - dy
    beyond = (f1 < 2) | (f1 > 4)
    exists = torch.where(row == 1, ~beyond, dx * dy != -1)
    turned = torch.where(dx * dy != 0, 2, dx - dy)
    polar_face = 4 * row + (face + turned) % 4
    last = nside - 1
    polar_x = torch.where(dx == 0, last - y, torch.where(dy == 0, y, last - x))
    polar_y = torch.where(dx == 0, x, torch.where(dy == 0, last - x, last - y))
    face = torch.where(beyond, polar_face, _face_at(f1, f2))
    return face, torch.where(beyond, polar_x, x), torch.where(beyond, polar_y, y), exists


def _spread_bits(x: Tensor) -> Tensor:
    """Moves bit k to bit 2k, for numbers below 2^16 (nested order interleaves x and y)."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        x = (x | (x << shift)) & mask
    return x


def _gather_bits(x: Tensor) -> Tensor:
    """Moves bit 2k to bit k and drops odd bits: the inverse of `_spread_bits`."""
    x = x & 0x55555555
    for shift, mask in ((1, 0x33333333), (2, 0x0F0F0F0F), (4, 0x00FF00FF), (8, 0x0000FFFF)):
        x = (x | (x >> shift)) & mask
    return x
