"""The projective plane is the HEALPix sphere with antipodes identified."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.quotient import Quotient
from geocnn.geometry.core.results import Exp, Placed
from geocnn.geometry.spheres.pixels import nside_of, vector_to_pixel
from geocnn.geometry.spheres.surfaces import Sphere, healpix, sphere_frames
from geocnn.groups.planar import REFLECTION, compose
from geocnn.lasting import one_thread


@dataclass(frozen=True, eq=False, repr=False)
class ProjectivePlane(Quotient):
    """The unit sphere with antipodes identified; lengths are in radians. Its points lie in the upper half."""

    cover: Sphere

    def _image(self, placed: Placed) -> Placed:
        half = torch.full_like(placed.anchor, math.pi)
        anchor, flipped = compose((placed.anchor, placed.flipped), (half, torch.ones_like(half).bool()))
        points = -placed.points
        return Placed(points, -placed.frames, sphere_frames(points), anchor, flipped)

    def _folded(self, e: Exp) -> Exp:
        return e._replace(points=torch.where(_is_upper(e.points)[:, None], e.points, -e.points))

    @one_thread()
    def connection(self) -> Connection:
        """Connect the pixels that share an edge."""
        c = self.cover.connection()
        # an edge and its antipode count once: the upper one, or on the equator the one that comes first
        other = torch.stack([self.other[c.tail], self.other[c.head]])
        low, high = self.point[c.tail], self.point[c.head]
        once = ~other.any(0) | (other[0] != other[1]) & ((low < high) == other[1])
        return self._below(c.take(once))

    def coarser(self) -> ProjectivePlane:
        return _projective_plane(self.cover.coarser())


def _is_upper(points: Float64[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
    """Choose one of each two antipodes: where z > 0; where z is 0, y > 0; where y is 0 too, x > 0."""
    decided = points.abs() > 1e-9
    x, y, z = (points > 0).unbind(-1)
    return torch.where(decided[:, 2], z, torch.where(decided[:, 1], y, x))


def _projective_plane(cover: Sphere) -> ProjectivePlane:
    n = cover.n_points
    upper = _is_upper(cover.points)
    chosen = upper.nonzero()[:, 0]
    point = torch.zeros(n, dtype=torch.int64)
    point[chosen] = torch.arange(n // 2)
    antipode = vector_to_pixel(nside_of(n), -cover.points)
    point = torch.where(upper, point, point[antipode])
    # the isometry takes north to the antipode's south, and east to its east
    turn = math.pi * (~upper).double()
    return ProjectivePlane(
        *(t[chosen] for t in (cover.points, cover.frames, cover.axes, cover.areas, cover.anchor)),
        flipped=None,
        group=cover.group.join(REFLECTION),
        cover=cover,
        point=point,
        turn=turn,
        other=~upper,
    )


@one_thread()
def projective_plane(nside: int) -> ProjectivePlane:
    """Return the projective plane: the HEALPix sphere with antipodes identified, 6·nside² points, area 2π.

    Features need the group O(2): a straight path of length π returns to its start, mirrored. Raises
    GeometryError unless nside is a power of two.

    >>> s = projective_plane(4); s.n_points, s.group
    (96, group('O2'))
    >>> e = s.exp(torch.tensor([0]), torch.tensor([[torch.pi, 0.0]], dtype=torch.float64))
    >>> int(e.source[0, e.weight[0].argmax()]), bool(e.flip[0, e.weight[0].argmax()])
    (0, True)
    """
    return _projective_plane(healpix(nside))
