"""Spheres have exp, log and parallel transport in closed form, on HEALPix and icosahedral points.

Frames are e₁ = ∂_θ (south), e₂ = ∂_φ (east), with the limit φ = 0 at a pole; the anchor is e₁.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError, ResolutionError
from geocnn.geometry.core.connection import Connection, pairs_once
from geocnn.geometry.core.near import logs_of, near_pairs
from geocnn.geometry.core.radius import check_radius
from geocnn.geometry.core.results import Disc, Exp, Log, Placed
from geocnn.geometry.core.scaling import scale_factor
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.geometry.spheres.pixels import (
    bilinear_weights,
    check_nside,
    cubic_weights,
    neighbours,
    nested_to_ring,
    npix,
    pixel_to_vector,
)
from geocnn.groups.planar import SO2
from geocnn.lasting import one_thread


class Grid(Protocol):
    """Points of the sphere that a field can be interpolated from."""

    def interpolate(
        self, points: Float64[Tensor, "k 3"]
    ) -> tuple[Int64[Tensor, "k s"], Float64[Tensor, "k s"]]:
        """Return sources and weights, which sum to 1, for unit vectors."""
        ...

    def edges(self) -> tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]]:
        """Return the ids of neighbouring points, each pair once."""
        ...

    def coarser(self) -> Sphere:
        """Return the unit sphere of half the resolution; raise ResolutionError at the coarsest."""
        ...

    def finer(self) -> Sphere:
        """Return the unit sphere of twice the resolution; raise GeometryError where there is none."""
        ...

    def orbits(self) -> Int64[Tensor, "d n"] | None:
        """Return the points that successive equal turns about the axis take to each other, or None."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class Sphere(Surface):
    """A sphere, discretised by a grid; lengths are in the unit of `radius`, in radians on the unit sphere."""

    grid: Grid
    radius: float = 1.0

    @property
    def conjugate(self) -> float:
        return math.pi * self.radius

    @property
    def extent(self) -> float:
        return math.pi * self.radius

    def is_same_as(self, other: Surface) -> bool:
        return isinstance(other, Sphere) and self.radius == other.radius

    @property
    def directions(self) -> Float64[Tensor, "n 3"]:
        """Return the points as unit vectors."""
        return self.points / self.radius

    def _exp(self, base: Placed, vectors: Float64[Tensor, "k 2"], reflect: bool = False) -> Exp:
        p, vectors = base.points / self.radius, vectors / self.radius
        r = vectors.norm(dim=-1)
        v = (vectors[..., None] * base.frames).sum(1)
        q = torch.cos(r)[:, None] * p + _sinc(r)[:, None] * v
        q = q / q.norm(dim=-1, keepdim=True)
        # transport of the frame along the way: e ↦ e + (e·d)((cos r − 1) d − sin r p), d = v/r
        lean = -0.5 * _sinc(r / 2)[:, None] ** 2 * v - _sinc(r)[:, None] * p
        frame = base.frames + vectors[..., None] * lean[:, None]
        source, weight = self.grid.interpolate(q)
        source, weight = source.to(p.device), weight.to(p)
        angle, flip = self._read(source, q[:, None], frame[:, None], base.flipped)
        inside = torch.ones_like(r, dtype=torch.bool)
        return Exp(q * self.radius, source, weight, angle, flip, inside, r * self.radius)

    def _read(
        self,
        source: Int64[Tensor, "k s"],
        q: Float64[Tensor, "k 1 3"],
        frame: Float64[Tensor, "k 1 2 3"],
        flipped: Bool[Tensor, " k"] | None,
    ) -> tuple[Float64[Tensor, "k s"], Bool[Tensor, "k s"] | None]:
        """Return (angle, flip) from the gauge at each source to the frame at q, along the great circle."""
        carried = great_circle_transport(self.points[source] / self.radius, q, self.frames[source, 0])
        along = (frame * carried[..., None, :]).sum(-1)
        flip = None
        if self.flipped is not None or flipped is not None:
            here = (
                torch.zeros_like(source, dtype=torch.bool) if self.flipped is None else self.flipped[source]
            )
            flip = here if flipped is None else here ^ flipped[:, None]
        return torch.atan2(along[..., 1], along[..., 0]), flip

    def _log(self, base: Placed, target: Placed) -> Log:
        p, q = base.points / self.radius, target.points / self.radius
        cosine = (p * q).sum(-1)
        toward = q - cosine[:, None] * p
        sine = torch.linalg.cross(p, q, dim=-1).norm(dim=-1)
        # atan2 is precise at every distance, unlike the arccosine
        r = torch.atan2(sine, cosine)[:, None]
        # near antipodes, below the square root of float64 rounding, the direction is undetermined
        reached = (sine > 1e-8) | (cosine > 0)
        along = (base.frames * toward[:, None]).sum(-1)
        size = along.norm(dim=-1, keepdim=True)
        vectors = r * torch.where(size > 0, along / size.clamp_min(1e-300), along.new_tensor([1.0, 0.0]))
        carried = great_circle_transport(q, p, target.frames[:, 0])
        along = (base.frames * carried[:, None]).sum(-1)
        flip = None
        if base.flipped is not None or target.flipped is not None:
            none = torch.zeros_like(reached)
            flip = (none if base.flipped is None else base.flipped) ^ (
                none if target.flipped is None else target.flipped
            )
        return Log(vectors * self.radius, torch.atan2(along[:, 1], along[:, 0]), flip, reached)

    def _disc(self, base: Placed, radius: float) -> Disc:
        if radius >= self.conjugate:
            least = "π" if self.radius == 1 else f"π times the sphere's, {self.conjugate:.6g},"
            raise GeometryError(
                f"a log disc of radius {radius} reaches the antipode; use a radius below {least} or "
                "kind='exp'"
            )
        # 5e-13 is the rounding of a dot product, so that points exactly at the radius stay in
        # a millionth, squared, is far above rounding, so that points exactly at the radius stay in
        chord = math.hypot(2 * math.sin(radius / self.radius / 2), 1e-6)
        target, source = near_pairs(base.points / self.radius, self.directions, chord)
        log = logs_of(self, base, (target, source))
        return Disc(target, source, log, _sinc(log.vectors.norm(dim=-1) / self.radius))

    def connection(self) -> Connection:
        """Connect pixels that share an edge, or corners of triangles, by transport along great circles."""
        return self._joined(*(ids.to(self.points.device) for ids in self.grid.edges()))

    def _curvature(self) -> Float64[Tensor, " n"]:
        return torch.full_like(self.areas, self.radius**-2)

    def _orbits(self) -> Int64[Tensor, "d ..."] | None:
        orbits = self.grid.orbits()
        return None if orbits is None else orbits.to(self.points.device)

    def scaled(self, factor: float | None = None, *, area: float | None = None) -> Sphere:
        """Return the sphere of another radius: all lengths times a factor, or of a total area; frames stay.

        Raises GeometryError unless one of both is given, as a positive number.

        >>> icosphere(1).scaled(6371.0).radius
        6371.0
        """
        factor = scale_factor(self, factor, area)
        radius = check_radius(self.radius * factor)
        return replace(self, points=self.points * factor, areas=self.areas * factor**2, radius=radius)

    def coarser(self) -> Sphere:
        return scaled(self.grid.coarser(), self.radius)

    def finer(self) -> Sphere:
        """Return the same sphere with about four times the points; `coarser` is the inverse."""
        return scaled(self.grid.finer(), self.radius)


def _sinc(r: Float64[Tensor, "*k"]) -> Float64[Tensor, "*k"]:
    """Return sin(r)/r."""
    return torch.sinc(r / math.pi)


def great_circle_transport(
    start: Float64[Tensor, "*#k 3"], end: Float64[Tensor, "*#k 3"], vector: Float64[Tensor, "*#k 3"]
) -> Float64[Tensor, "*k 3"]:
    """Carry tangent vectors at `start` along the shorter great circle to `end`, both unit vectors.

    This is the rotation that takes start to end and fixes their normal. At antipodes it is undetermined, and
    the vector is returned unchanged.

    >>> e = torch.eye(3, dtype=torch.float64); great_circle_transport(e[0], e[1], e[1])
    tensor([-1.,  0.,  0.], dtype=torch.float64)
    """
    lean = (vector * end).sum(-1, keepdim=True)
    scale = 1 + (start * end).sum(-1, keepdim=True)
    return vector - torch.where(scale > 1e-14, lean / scale.clamp_min(1e-14), torch.zeros_like(scale)) * (
        start + end
    )


def sphere_frames(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 2 3"]:
    """Return (∂_θ, ∂_φ) at unit vectors; at a pole the limit along φ = 0.

    >>> sphere_frames(torch.tensor([[1.0, 0.0, 0.0]])).tolist()
    [[[0.0, 0.0, -1.0], [-0.0, 1.0, 0.0]]]
    """
    x, y, z = points.unbind(-1)
    rho = torch.hypot(x, y)
    at_pole = rho == 0
    cos_phi = torch.where(at_pole, torch.ones_like(x), x / torch.where(at_pole, torch.ones_like(rho), rho))
    sin_phi = torch.where(at_pole, torch.zeros_like(y), y / torch.where(at_pole, torch.ones_like(rho), rho))
    south = torch.stack([z * cos_phi, z * sin_phi, -rho], -1)
    east = torch.stack([-sin_phi, cos_phi, torch.zeros_like(x)], -1)
    return torch.stack([south, east], -2)


def sphere_at(points: Float64[Tensor, "n 3"], areas: Float64[Tensor, " n"], grid: Grid) -> Sphere:
    """Return the unit sphere with points at unit vectors, in frames (south, east)."""
    frames, anchor = sphere_frames(points), torch.zeros(len(points), dtype=torch.float64)
    return Sphere(points, frames, frames, areas, anchor, None, SO2, grid)


def scaled(unit: Sphere, radius: float) -> Sphere:
    """Scale the unit sphere to another radius. Raises GeometryError unless that is positive and finite."""
    radius = check_radius(radius)
    return replace(unit, points=unit.points * radius, areas=unit.areas * radius**2, radius=radius)


@dataclass(frozen=True)
class HealpixGrid:
    """HEALPix pixels, interpolated bilinearly or cubically."""

    nside: int
    nested: bool
    interpolation: str

    def interpolate(
        self, points: Float64[Tensor, "k 3"]
    ) -> tuple[Int64[Tensor, "k s"], Float64[Tensor, "k s"]]:
        theta = torch.atan2(torch.hypot(points[..., 0], points[..., 1]), points[..., 2])
        phi = torch.atan2(points[..., 1], points[..., 0])
        weights = cubic_weights if self.interpolation == "cubic" else bilinear_weights
        return weights(self.nside, theta, phi, nested=self.nested)

    def edges(self) -> tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]]:
        pixel = torch.arange(npix(self.nside))
        across = neighbours(self.nside, pixel, nested=self.nested)[:, ::2]
        return pairs_once(pixel[:, None].expand_as(across), across, len(pixel))

    def coarser(self) -> Sphere:
        if self.nside == 1:
            raise ResolutionError(
                "nside 1 is the coarsest HEALPix sphere; ask for fewer levels or a finer start"
            )
        return healpix(self.nside // 2, self.nested, self.interpolation)  # type: ignore[arg-type]

    def finer(self) -> Sphere:
        return healpix(2 * self.nside, self.nested, self.interpolation)  # type: ignore[arg-type]

    def orbits(self) -> Int64[Tensor, "d n"]:
        # three belts of four base pixels each, which a quarter turn takes to each other
        nested = torch.arange(npix(self.nside)).view(3, 4, -1).transpose(1, 2).reshape(-1, 4)
        return nested if self.nested else nested_to_ring(self.nside, nested)


@one_thread()
def healpix(
    nside: int,
    nested: bool = False,
    interpolation: Literal["bilinear", "cubic"] = "bilinear",
    radius: float = 1.0,
) -> Sphere:
    """Return the HEALPix sphere of 12·nside² equal-area pixels (Górski et al. 2005), in ring or nested order.

    `interpolation` says how `exp` reads between pixels: bilinear (4 pixels, second order) or cubic (fourth
    order). Lengths are in the unit of `radius`, in radians on the unit sphere. Raises GeometryError unless
    nside is a power of two and the radius is positive and finite.

    >>> s = healpix(4); s.n_points, round(float(s.areas.sum() / torch.pi), 12)
    (192, 4.0)
    """
    nside = check_nside(nside)
    if interpolation not in ("bilinear", "cubic"):
        raise GeometryError(f"interpolation must be 'bilinear' or 'cubic', got {interpolation!r}")
    n = npix(nside)
    points = pixel_to_vector(nside, torch.arange(n), nested=nested)
    areas = torch.full((n,), 4 * math.pi / n, dtype=torch.float64)
    return scaled(sphere_at(points, areas, HealpixGrid(nside, nested, interpolation)), radius)


@one_thread()
def icosphere(level: int, radius: float = 1.0) -> Sphere:
    """Return the icosahedron with faces quartered `level` times: 10·4^level + 2 points, coarser levels first.

    Areas are a third of the adjacent spherical triangles; lengths are in the unit of `radius`, in radians on
    the unit sphere. Raises GeometryError unless 0 ≤ level ≤ 9 and the radius is positive and finite.

    >>> s = icosphere(2); s.n_points, round(float(s.areas.sum() / torch.pi), 12)
    (162, 4.0)
    """
    if not isinstance(level, int) or not 0 <= level <= 9:
        raise GeometryError(f"icosphere level must be an integer from 0 to 9, got {level!r}")
    solid = Icosahedron(level)
    return scaled(sphere_at(solid.points, solid.point_areas(), IcosphereGrid(solid)), radius)


@dataclass(frozen=True, eq=False)
class IcosphereGrid:
    """The icosphere's points, interpolated linearly in the triangle that contains a direction."""

    solid: Icosahedron

    def interpolate(
        self, points: Float64[Tensor, "k 3"]
    ) -> tuple[Int64[Tensor, "k 3"], Float64[Tensor, "k 3"]]:
        return self.solid.locate(points)

    def edges(self) -> tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]]:
        faces = self.solid.faces[-1]
        return pairs_once(faces, faces.roll(-1, 1), len(self.solid.points))

    def coarser(self) -> Sphere:
        if self.solid.level == 0:
            raise ResolutionError("level 0 is the coarsest icosphere; ask for fewer levels or a finer start")
        return icosphere(self.solid.level - 1)

    def finer(self) -> Sphere:
        return icosphere(self.solid.level + 1)

    def orbits(self) -> None:
        return None
