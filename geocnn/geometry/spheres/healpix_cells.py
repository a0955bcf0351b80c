r"""HEALPix pixels lie on rings, in columns, and in cells of the twelve base faces. Nothing is checked here.

Equation numbers are those of Górski et al. 2005, ApJ 622:759. Every conversion uses the cell (face, x, y) of
a pixel, where x increases to the north-east and y to the north-west:

            N             row 0:  faces  0  1  2  3, around the north pole
        y  / \  x         row 1:  faces  4  5  6  7, on the equator, face 4 centred on phi = 0
          /   \           row 2:  faces  8  9 10 11, around the south pole
        W       E
          \   /           ring   = F1 nside - x - y - 1              F1 = row + 2
           \ /            column = (F2 quarter + x - y) / 2          F2 = 2 (face mod 4) + 1 - (row mod 2)
            S

`quarter` is the number of pixels in a quarter of the ring: eq. 18 prints nside, which holds only in the belt
|cos(theta)| <= 2/3. Columns count from 0 and may be half-integers, so the longitude of a pixel centre is
column pi / (2 quarter) on every ring; `column2` below is twice the column, an integer.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

Cell = tuple[Int64[Tensor, "*k"], Int64[Tensor, "*k"], Int64[Tensor, "*k"]]
"""(face, x, y) of pixels."""


def unit_vector(theta: Float64[Tensor, "*k"], phi: Float64[Tensor, "*k"]) -> Float64[Tensor, "*k 3"]:
    sine = torch.sin(theta)
    return torch.stack([sine * torch.cos(phi), sine * torch.sin(phi), torch.cos(theta)], -1)


def ring_layout(
    nside: int, ring: Int64[Tensor, "*k"]
) -> tuple[Int64[Tensor, "*k"], Bool[Tensor, "*k"], Int64[Tensor, "*k"]]:
    """Return, for rings 1 to 4 nside - 1, the pixels per quarter and whether and where the first is shifted.

    The first pixel lies half a step east of phi = 0 where the second result holds; the third is its index.
    """
    quarter = torch.minimum(ring, 4 * nside - ring).clamp(max=nside)
    shifted = (quarter < nside) | ((ring - nside) % 2 == 0)
    north = 2 * ring * (ring - 1)
    belt = 2 * nside * (nside - 1) + 4 * nside * (ring - nside)
    south = 12 * nside * nside - 2 * quarter * (quarter + 1)
    return quarter, shifted, torch.where(ring < nside, north, torch.where(ring <= 3 * nside, belt, south))


def ring_z(nside: int, ring: Int64[Tensor, "*k"]) -> Float64[Tensor, "*k"]:
    """Return cos(theta) of rings 0 (north pole) to 4 nside (south pole)."""
    from_pole = torch.minimum(ring, 4 * nside - ring).double()
    cap = 1 - from_pole**2 / (3 * nside**2)
    belt = (2 * nside - ring).double() / (1.5 * nside)
    return torch.where(ring < nside, cap, torch.where(ring <= 3 * nside, belt, -cap))


def ring_theta(nside: int, ring: Int64[Tensor, "*k"]) -> Float64[Tensor, "*k"]:
    """Return the colatitude of rings 0 (north pole) to 4 nside (south pole)."""
    # 1 - z = 2 sin^2(theta / 2) turns eq. 4 into a form that keeps all digits near the poles.
    from_pole = torch.minimum(ring, 4 * nside - ring).double()
    cap = 2 * torch.asin(from_pole / (nside * math.sqrt(6)))
    belt = torch.acos(ring_z(nside, ring))
    return torch.where(ring < nside, cap, torch.where(ring <= 3 * nside, belt, math.pi - cap))


def ring_position(nside: int, theta: Float64[Tensor, "*k"]) -> Float64[Tensor, "*k"]:
    """Solve eqs. 4 and 8 for the ring i, a real number between rings."""
    z = torch.cos(theta)
    cap = nside * _pole_distance(theta)
    return torch.where(z.abs() <= 2 / 3, nside * (2 - 1.5 * z), torch.where(z > 0, cap, 4 * nside - cap))


def _pole_distance(theta: Float64[Tensor, "*k"]) -> Float64[Tensor, "*k"]:
    """Return sqrt(3 (1 - |z|)) without cancellation: 0 at the nearer pole, 1 where the caps end."""
    return math.sqrt(6) * torch.sin(torch.minimum(theta, math.pi - theta) / 2)


def ring_pair(
    nside: int, ring: Int64[Tensor, "*k"], phi: Float64[Tensor, "*k"], turn: Int64[Tensor, "*k"]
) -> tuple[Int64[Tensor, "*k 2"], Float64[Tensor, "*k"]]:
    """Return a ring's pixels west and east of phi, moved `turn` columns east, and phi's place, 0 to 1."""
    quarter, shifted, start = ring_layout(nside, ring)
    column = phi * quarter / (math.pi / 2) - 0.5 * shifted.double()
    west = column.floor()
    west_east = torch.stack([west, west + 1], -1).long() + turn[..., None]
    return start[..., None] + west_east % (4 * quarter[..., None]), column - west


def ring_column(
    nside: int, pixel: Int64[Tensor, "*k"], nested: bool
) -> tuple[Int64[Tensor, "*k"], Int64[Tensor, "*k"]]:
    """Return the ring and twice the column (see the module's docstring) of pixels in either order."""
    if nested:
        face, x, y = pixel_to_cell(nside, pixel, nested)
        return _cell_to_ring_column(nside, face, x, y)
    cap_size = 2 * nside * (nside - 1)
    from_south = 12 * nside * nside - 1 - pixel
    # 2 i (i - 1) pixels precede ring i; float64 separates the roots of integers below 2^31, so this is exact.
    north = ((1 + torch.sqrt(1 + 2 * pixel.double())) / 2).long()
    south = 4 * nside - ((1 + torch.sqrt(1 + 2 * from_south.double())) / 2).long()
    belt = nside + torch.div(pixel - cap_size, 4 * nside, rounding_mode="floor")
    ring = torch.where(pixel < cap_size, north, torch.where(from_south < cap_size, south, belt))
    _, shifted, start = ring_layout(nside, ring)
    return ring, 2 * (pixel - start) + shifted


def pixel_to_cell(nside: int, pixel: Int64[Tensor, "*k"], nested: bool) -> Cell:
    """Return (face, x, y) of pixels in either order."""
    if nested:
        within = pixel % (nside * nside)
        return pixel // (nside * nside), _gather_bits(within), _gather_bits(within >> 1)
    ring, column2 = ring_column(nside, pixel, nested)
    quarter, _, _ = ring_layout(nside, ring)
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


def _cell_to_ring_column(
    nside: int, face: Int64[Tensor, "*k"], x: Int64[Tensor, "*k"], y: Int64[Tensor, "*k"]
) -> tuple[Int64[Tensor, "*k"], Int64[Tensor, "*k"]]:
    row = face // 4
    ring = (row + 2) * nside - x - y - 1
    quarter, _, _ = ring_layout(nside, ring)
    f2 = 2 * (face % 4) + 1 - row % 2
    return ring, (f2 * quarter + x - y) % (8 * quarter)


def cell_to_pixel(
    nside: int, face: Int64[Tensor, "*k"], x: Int64[Tensor, "*k"], y: Int64[Tensor, "*k"], nested: bool
) -> Int64[Tensor, "*k"]:
    if nested:
        return face * (nside * nside) + _spread_bits(x) + 2 * _spread_bits(y)
    ring, column2 = _cell_to_ring_column(nside, face, x, y)
    _, _, start = ring_layout(nside, ring)
    return start + column2 // 2


def _face_at(f1: Int64[Tensor, "*k"], f2: Int64[Tensor, "*k"]) -> Int64[Tensor, "*k"]:
    """Return the face with the given F1 and F2 (see the module's docstring), F2 taken modulo 8."""
    row = f1 - 2
    return 4 * row + (f2 - 1 + row % 2) // 2 % 4


def angle_to_face(
    theta: Float64[Tensor, "*k"], phi: Float64[Tensor, "*k"]
) -> tuple[Int64[Tensor, "*k"], Float64[Tensor, "*k"], Float64[Tensor, "*k"]]:
    """Return the base face of a direction and its position x, y in [0, 1] there."""
    quadrant = torch.remainder(phi, 2 * math.pi) / (math.pi / 2)
    z = torch.cos(theta)
    # In the belt, lines quadrant + 3z/4 = const and quadrant - 3z/4 = const bound the pixels.
    north_east, south_east = quadrant + 0.75 * z - 0.5, quadrant - 0.75 * z + 0.5
    p, q = north_east.floor(), -south_east.floor() - 1
    f1 = 1 - p - q
    q = q + f1 - f1.clamp(2, 4)  # at a corner of the belt rounding may lead to a row that does not exist
    belt_face = _face_at((1 - p - q).long(), (p - q).long())
    # In a cap, curves of constant `west` and `east` do: the sector's two parts, shrinking towards the pole.
    distance, north = _pole_distance(theta), z > 0
    sector = quadrant.floor().clamp(max=3)
    west, east = (1 - (quadrant - sector)) * distance, (quadrant - sector) * distance
    belt = z.abs() <= 2 / 3
    face = torch.where(belt, belt_face, sector.long() + torch.where(north, 0, 8))
    x = torch.where(belt, north_east - p, torch.where(north, 1 - west, east))
    y = torch.where(belt, -south_east - q, torch.where(north, 1 - east, west))
    return face, x, y


def floor_inside(position: Float64[Tensor, "*k"], nside: int) -> Int64[Tensor, "*k"]:
    """Return the cell's coordinate of a position in [0, 1]."""
    return (position * nside).floor().long().clamp(0, nside - 1)


def wrap_cell(
    nside: int, face: Int64[Tensor, "*#k"], x: Int64[Tensor, "*#k"], y: Int64[Tensor, "*#k"]
) -> tuple[Int64[Tensor, "*k"], Int64[Tensor, "*k"], Int64[Tensor, "*k"], Bool[Tensor, "*k"]]:
    """Move cells that lie up to nside beyond their face to the face that holds them; return if they exist.

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


def _spread_bits(x: Int64[Tensor, "*k"]) -> Int64[Tensor, "*k"]:
    """Move bit k to bit 2k, for numbers below 2^16 (nested order interleaves x and y)."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        x = (x | (x << shift)) & mask
    return x


def _gather_bits(x: Int64[Tensor, "*k"]) -> Int64[Tensor, "*k"]:
    """Move bit 2k to bit k and drop odd bits: the inverse of `_spread_bits`."""
    x = x & 0x55555555
    for shift, mask in ((1, 0x33333333), (2, 0x0F0F0F0F), (4, 0x00FF00FF), (8, 0x0000FFFF)):
        x = (x | (x >> shift)) & mask
    return x
