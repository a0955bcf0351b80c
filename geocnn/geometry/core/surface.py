"""A Surface has points, frames, areas, exp, log and transport; it makes stencils and hierarchies.

A concrete surface implements `_exp`, `_log`, `_disc` and `coarser`; this class implements the rest.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import torch
from jaxtyping import Bool, Float64, Int64, Real
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError, RadiusWarning
from geocnn.geometry.core.connection import Connection, pairs_once
from geocnn.geometry.core.defaults import KIND, Kind, default_radius
from geocnn.geometry.core.inputs import base_vectors, check_double, ids_below, read_gauge, real_numbers
from geocnn.geometry.core.placement import Device, mapped
from geocnn.geometry.core.radius import check_radius, doubt
from geocnn.geometry.core.results import Disc, Exp, Log, Placed, SurfacePoint, exp_of_parts, geodesics_at_once
from geocnn.geometry.core.sampling import disc_stencil, interpolation, polar_samples
from geocnn.geometry.core.shifts import shifts_of
from geocnn.geometry.core.stencil import Stencil, gauge_change
from geocnn.geometry.core.stencil_costs import check_unit
from geocnn.groups.planar import Group, compose
from geocnn.lasting import keep_normal, one_thread
from geocnn.wording import counted

if TYPE_CHECKING:
    from geocnn.geometry.core.hierarchy import Hierarchy

Boundary = Literal["zero", "normalise"]


@dataclass(frozen=True, eq=False)
class Surface(ABC):
    """N points in R^d, each with a frame (an orthonormal basis of its tangent plane) and an area.

    `axes` are frames that turn_frames does not change: sampling grids are aligned with them. `anchor` is the
    angle (radians) of the axes' e₁ in the present frame; `flipped` marks frames mirrored against the axes.
    """

    points: Float64[Tensor, "n d"]
    frames: Float64[Tensor, "n 2 d"]
    axes: Float64[Tensor, "n 2 d"]
    areas: Float64[Tensor, " n"]
    anchor: Float64[Tensor, " n"]
    flipped: Bool[Tensor, " n"] | None
    group: Group

    def __post_init__(self) -> None:
        check_double(self, "points", "frames", "axes", "areas", "anchor")
        keep_normal(self)

    def __len__(self) -> int:
        return self.n_points

    def to(self, device: Device) -> Self:
        """Return the same surface on another device; it stays float64, for only stencils are cast."""
        if torch.device(device) == self.points.device:
            return self
        return mapped(self, lambda t: t.to(device))

    @property
    def n_points(self) -> int:
        return self.points.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({counted(self.n_points, 'point')}, area {float(self.areas.sum()):.4g})"

    @property
    @one_thread()
    def spacing(self) -> float:
        """Return the point spacing: the side of a square of the mean area per point, in surface units."""
        return math.sqrt(float(self.areas.mean()))

    @property
    def conjugate(self) -> float:
        """Return the distance at which all geodesics from a point meet again; infinite where they do not."""
        return math.inf

    @property
    @one_thread()
    def extent(self) -> float:
        """Return about the longest distance between two points along the surface, in its units.

        It is π on the unit sphere. Elsewhere it is twice the diagonal of the box around the points, which
        suffices unless the surface is rolled up.
        """
        used = self.points[self.areas > 0]
        return 2 * float((used.amax(0) - used.amin(0)).norm()) if len(used) else 0.0

    @property
    def placed(self) -> Placed:
        """Return the points with their gauge."""
        return Placed(self.points, self.frames, self.axes, self.anchor, self.flipped)

    @abstractmethod
    def _exp(self, base: Placed, vectors: Float64[Tensor, "k 2"], reflect: bool = False) -> Exp: ...

    @abstractmethod
    def _log(self, base: Placed, target: Placed) -> Log: ...

    @abstractmethod
    def _disc(self, base: Placed, radius: float) -> Disc:
        """Return all pairs (base, point of the surface) no farther apart than the radius.

        Raises GeometryError for a radius so large that discs overlap themselves, wherever they lie.
        """

    def _check_disc(self, radius: float) -> None:
        """Raise GeometryError where `_disc` does; one disc shows it for all."""
        self._disc(self.placed.take(self._ids([0], "base")), radius)

    @abstractmethod
    def coarser(self) -> Surface:
        """Return the same surface at half the resolution, in its own (unturned) frames.

        Raises ResolutionError where the resolution cannot be halved.
        """

    @property
    def _pads(self) -> bool:
        """Return whether exp fills rows of `source` up with arbitrary points of weight 0."""
        return False

    def is_same_as(self, other: Surface) -> bool:
        """Return whether both discretise one surface, so that stencils may lead from one to the other."""
        return type(other) is type(self)

    @one_thread()
    def exp(
        self,
        base: ArrayLike | Tensor | SurfacePoint,
        vectors: ArrayLike | Tensor,
        at_boundary: Literal["stop", "reflect"] = "stop",
    ) -> Exp:
        """Follow geodesics from points base [K] (ids) along vectors [K, 2] in the base's frame to their ends.

        On a mesh the base may also be K SurfacePoints, on edges and at corners too: vectors and transporters
        are then in the gauge of the face's plane, whose e₁ lies along the face's first edge, as in
        `transport`. At a corner a vector that leads out of the face is read with the faces laid flat around
        the vertex. `at_boundary`: geodesics stop there, or are reflected.

        Law: log(p, exp_p(v)) = v while v stays short of the cut locus, on a mesh where `met` holds. Raises
        GeometryError for ids out of range, points outside their faces, shapes that do not fit, vectors that
        are not finite, or another word for `at_boundary`.

        >>> import geocnn.geometry as geometry
        >>> e = geometry.torus((4, 4)).exp(torch.tensor([0]), torch.tensor([[1.0, 0.0]]))
        >>> e.points, int(e.source[0, e.weight[0].argmax()])
        (tensor([[1., 0.]], dtype=torch.float64), 1)
        """
        if at_boundary not in ("stop", "reflect"):
            raise GeometryError(f"at_boundary must be 'stop' or 'reflect', got {at_boundary!r}")
        reflect = at_boundary == "reflect"
        if isinstance(base, SurfacePoint):
            return self._exp_in_faces(base, real_numbers(vectors, "vectors", self.points), reflect)
        base = self._ids(base, "base")
        vectors = base_vectors(vectors, len(base), self.points)
        most = geodesics_at_once(base.device)
        blocks = zip(base.split(most), vectors.split(most), strict=True)
        return exp_of_parts((self._exp(self.placed.take(b), v, reflect) for b, v in blocks), len(base))

    def _exp_in_faces(self, base: SurfacePoint, vectors: Real[Tensor, "k 2"], reflect: bool) -> Exp:
        """Follow geodesics from points in faces, in their faces' gauges; only a mesh can."""
        raise GeometryError(f"only a mesh has points in faces, not a {type(self).__name__}; give point ids")

    @one_thread()
    def log(
        self, base: ArrayLike | Tensor, target: ArrayLike | Tensor, method: Literal["heat"] | None = None
    ) -> Log:
        """Return the vectors at base [K] that lead to target [K] (ids), and the transport back along them.

        The result has a closed form; on a mesh it describes the exact shortest path over the faces. exp
        follows that path where `met` holds, as it does for most pairs within about ten spacings. For longer
        distances on a mesh use `method="heat"`, the affine heat log map (Sharp, Soliman & Crane 2019, by
        potpourri3d): it takes one factorisation per mesh and two solves per distinct base. `met` is then
        None. The result is smooth but approximate: on spheres with 2,500 vertices the median error of
        vectors is 0.5 % of their length up to 2 radians and 5 % at 2.7; within 0.2 of the antipode they are
        useless; the error of transporters is 0.01 radians up to 2.5. On coarse, strongly curved meshes, like
        the bunny with 1,241 vertices, it is 2 % within four rings. At a corner of the boundary angles err by
        up to 0.3 radians.

        Raises GeometryError for ids out of range, for unequal numbers of bases and targets, and for "heat"
        on a surface other than a mesh or without potpourri3d.

        >>> import geocnn.geometry as geometry
        >>> geometry.torus((4, 4)).log(torch.tensor([0]), torch.tensor([3])).vectors
        tensor([[-1.,  0.]], dtype=torch.float64)
        """
        base, target = self._ids(base, "base"), self._ids(target, "target")
        if len(base) != len(target):
            both = f"{counted(len(base), 'base')} and {counted(len(target), 'target')}"
            raise GeometryError(f"one target per base is required, got {both}")
        if method not in (None, "heat"):
            raise GeometryError(f"method must be 'heat', or None for the surface's own, got {method!r}")
        return (self._log_by_heat if method else self._log)(self.placed.take(base), self.placed.take(target))

    def _log_by_heat(self, base: Placed, target: Placed) -> Log:
        """Compute the log by the vector heat method; only a mesh can."""
        raise GeometryError(
            f"method='heat' is for meshes; on a {type(self).__name__} log is exact without it: leave it out"
        )

    def disc(self, radius: float, base: ArrayLike | Tensor | None = None) -> Disc:
        """Pair each point of base [K] (ids, by default all) with the points no farther away than the radius.

        The radius is in surface units; each point is also paired with itself. The result holds ids, logs,
        distances (`log.distance`) and transporters. Pairs come in the order of the bases; a mesh's vertices
        without a face have none. Where several geodesics lead to a point, on a cone or a projective plane,
        each makes a pair. On a mesh, paths across more than 48 faces may be wrong by 1e-4 of their length.
        Raises GeometryError for ids out of range, and for a radius that is not positive and finite, or so
        large that discs overlap themselves; warns (RadiusWarning) of an unusual radius, as `stencil` does.

        >>> import geocnn.geometry as geometry
        >>> d = geometry.torus((4, 6)).disc(1.0, torch.tensor([7])); d.source, d.log.distance
        (tensor([ 1,  6,  7,  8, 13]), tensor([1., 1., 0., 1., 1.], dtype=torch.float64))
        """
        radius = check_radius(radius)
        placed = self.placed
        if base is not None:
            base = self._ids(base, "base")
            placed = placed.take(base)
        warning = doubt(self, radius, everywhere=base is None)
        if warning is not None:
            warnings.warn(warning.message, RadiusWarning, stacklevel=2)
        with one_thread():
            pairs = self._disc(placed, radius)
        return pairs if base is None else pairs._replace(base=base[pairs.base])

    def connection(self) -> Connection:
        """Return the pairs of neighbouring points and the transporters between them, in the present gauge.

        >>> import geocnn.geometry as geometry
        >>> c = geometry.plane((2, 2)).connection(); list(zip(c.tail.tolist(), c.head.tolist()))
        [(0, 1), (2, 3), (0, 2), (1, 3)]
        """
        # this radius exceeds the diagonal of a square grid, so every point has neighbours
        near = self._disc(self.placed, 1.6 * self.spacing)
        return self._joined(*pairs_once(near.base, near.source, self.n_points))

    def _curvature(self) -> Float64[Tensor, " n"]:
        """Return the Gaussian curvature at each point."""
        raise GeometryError(f"the curvature of a {type(self).__name__} is not known; make it a mesh")

    def _joined(self, tail: Int64[Tensor, " e"], head: Int64[Tensor, " e"]) -> Connection:
        """Return these edges with the transporters of log."""
        l = self.log(tail, head)
        return Connection(tail, head, l.angle, l.flip)

    def _ids(self, ids: ArrayLike | Tensor, name: str) -> Int64[Tensor, " k"]:
        return ids_below(self.n_points, ids, name, self.points.device)

    def turn_frames(self, alpha: ArrayLike | Tensor, flip: ArrayLike | Tensor | None = None) -> Self:
        """Return the same surface, its frames turned by alpha [N] radians, then e₂ mirrored where `flip` [N].

        Components of a frequency-n field change by e^{−inα}; anchors do not move on the surface. Raises
        GeometryError unless each point has one finite angle (and one flip).

        >>> import geocnn.geometry as geometry
        >>> geometry.plane((1, 1)).turn_frames([torch.pi / 2]).frames[0].round().int().tolist()
        [[0, 1], [-1, 0]]
        """
        alpha, flip, turned_by = read_gauge("surface", self.n_points, alpha, flip, self.points)
        c, s = torch.cos(alpha)[:, None], torch.sin(alpha)[:, None]
        e1, e2 = self.frames.unbind(1)
        frames = torch.stack([c * e1 + s * e2, c * e2 - s * e1], 1)
        anchor, flipped = compose(gauge_change(alpha, flip), (self.anchor, None))[0], self.flipped
        if flip is not None:
            frames[:, 1] *= torch.where(flip, -1.0, 1.0).to(alpha)[:, None]
            flipped = flip if flipped is None else flipped ^ flip
        return replace(self, frames=frames, anchor=anchor, flipped=flipped, group=self.group.join(turned_by))

    def stencil(
        self,
        radius: float | None = None,
        kind: Kind = KIND,
        samples: tuple[int, int] | None = None,
        targets: ArrayLike | Tensor | Surface | None = None,
        boundary: Boundary = "zero",
    ) -> Stencil:
        """Return the stencil a layer gathers by: for every target, the disc of a radius (surface units).

        kind "exp" (the default): a polar grid of `samples` = (rings, angles) tangent vectors, by default at
        most one point spacing apart, interpolated where they land. kind "log": the points within the radius
        where they lie; it has about an eighth of the entries, and rotations of the surface disturb the answer
        of a network several times as much (`core/defaults.py`). `radius`: by default 2.5 point spacings.
        `targets`: ids, or another point set of the same surface (a coarser level); by default the points
        themselves. `boundary`: beyond an edge the feature is zero, or weights are renormalised.

        Raises GeometryError for a radius that is not positive and finite, shorter than a tenth of the point
        spacing, longer than the surface, or too large for its log; for samples that are no polar grid; for
        targets of another surface; for another kind or boundary. Warns (RadiusWarning) of a radius shorter
        than one spacing, and of one of more than 25, as mistakes of the unit make them, or of 10 where all
        discs together have 2 million points or samples. It tells what such a stencil costs.

        >>> import geocnn.geometry as geometry
        >>> st = geometry.healpix(4).stencil(radius=0.6, samples=(2, 7))
        >>> st.n_target, st.n_entries // (2 * 7 * 192)
        (192, 4)
        """
        radius = default_radius(self) if radius is None else check_radius(radius)
        check_unit(self, radius, kind, samples, everywhere=targets is None)
        with one_thread():
            return self._stencil(radius, kind, samples, targets, boundary)

    def _stencil(
        self,
        radius: float,
        kind: Kind,
        samples: tuple[int, int] | None,
        targets: ArrayLike | Tensor | Surface | None,
        boundary: Boundary,
    ) -> Stencil:
        """Return the stencil of a valid radius; beside a coarse level's point spacing it may be unusual."""
        if boundary not in ("zero", "normalise"):
            raise GeometryError(f"boundary must be 'zero' or 'normalise', got {boundary!r}")
        placed, joined = self._targets(targets)
        if len(placed.points) == 0:
            raise GeometryError("targets is empty: give at least one point, or leave it out for all")
        shifts = shifts_of(self, targets)
        return disc_stencil(self, radius, kind, samples, placed, boundary, joined, shifts)

    def _orbits(self) -> Int64[Tensor, "d ..."] | None:
        """Return all points as `Shifts` orders them, along with their frames; None without any shifts."""
        return None

    def _targets(self, targets: ArrayLike | Tensor | Surface | None) -> tuple[Placed, Group]:
        """Return the targets in their gauge, and the group that transporters to them live in."""
        if targets is None:
            return self.placed, self.group
        if not isinstance(targets, Surface):
            return self.placed.take(self._ids(targets, "targets")), self.group
        if not self.is_same_as(targets):
            raise GeometryError(
                f"targets must lie on this very surface, a {type(self).__name__} of area "
                f"{float(self.areas.sum()):.6g}, as coarser() gives them; got a {type(targets).__name__} "
                f"of area {float(targets.areas.sum()):.6g}"
            )
        return targets.placed, self.group.join(targets.group)

    def default_samples(self, radius: float) -> tuple[int, int]:
        """Return (rings, angles) of the polar grid whose neighbours are at most one point spacing apart."""
        return polar_samples(check_radius(radius), self.spacing)

    @one_thread()
    def interpolation(self, targets: ArrayLike | Tensor | Surface) -> Stencil:
        """Return the stencil that reads a field at other points of the surface, by weights that sum to 1.

        `targets` are ids, or another point set of the same surface. All entries lie at r = 0, so the radius,
        1, has no meaning. Raises GeometryError for targets of another surface.

        >>> import geocnn.geometry as geometry
        >>> fine = geometry.torus((4, 4)); st = fine.coarser().interpolation(fine); st.n_source, st.n_target
        (4, 16)
        """
        base, joined = self._targets(targets)
        return interpolation(self, base, joined).with_shifts(shifts_of(self, targets))

    def hierarchy(
        self,
        levels: int | None = None,
        radius: float | None = None,
        kind: Kind = KIND,
        samples: tuple[int, int] | None = None,
        boundary: Boundary = "zero",
        oversample: bool = False,
    ) -> Hierarchy:
        """Return levels of halved resolution with stencils within and between them; radii double per level.

        `levels`: by default the resolution is halved while the next level has at least 40 points, twice as
        many as a kernel of 2.5 spacings holds, so that two layers there see the whole surface; while it can
        be halved (an odd grid cannot); and while a kernel of the doubled radius does not overlap itself.
        `radius` is that of the finest level, by default 2.5 point spacings. `kind` and `samples` are those of
        `stencil`. Coarser levels are in their own frames. `core/defaults.py` gives reasons.

        With `oversample` the radii stay, and each level but the finest has four times as many points: what a
        convolution gives is interpolated to them before nonlinearities act. These widen its band, and on
        points as few as suffice for the convolution they would alias (Karras et al. 2021, section 3). The
        same weights serve both; rotations disturb the answer less, and it takes longer.

        Raises GeometryError for fewer than one level or more than fit; raises and warns as `stencil` does.

        >>> import geocnn.geometry as geometry
        >>> [st.n_target for st in geometry.icosphere(3).hierarchy().stencils]
        [642, 162, 42]
        """
        from geocnn.geometry.core.hierarchy import build

        radius = default_radius(self) if radius is None else check_radius(radius)
        check_unit(self, radius, kind, samples)
        with one_thread():
            return build(self, levels, radius, kind, samples, boundary, oversample)
