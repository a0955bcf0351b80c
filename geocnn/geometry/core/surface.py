"""Surface: points with frames, areas, exp, log and transport; it makes stencils and hierarchies.

A concrete surface gives `_exp`, `_log`, `_disc` and `coarser`; all else is here, once.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError, RadiusWarning
from geocnn.geometry.core.connection import Connection, pairs_once
from geocnn.geometry.core.inputs import base_vectors, point_ids, read_gauge, real_numbers
from geocnn.geometry.core.placement import Device, mapped
from geocnn.geometry.core.radius import USUAL, check_radius, check_unit, doubt
from geocnn.geometry.core.results import Disc, Exp, Log, Placed, SurfacePoint
from geocnn.geometry.core.sampling import (
    disc_stencil,
    interpolation,
    polar_samples,
    renormalised,
    without_empty,
)
from geocnn.geometry.core.stencil import Stencil, gauge_change
from geocnn.groups.planar import Group, compose
from geocnn.lasting import keep_normal

if TYPE_CHECKING:
    from geocnn.geometry.core.hierarchy import Hierarchy

Boundary = Literal["zero", "normalise"]


@dataclass(frozen=True, eq=False)
class Surface(ABC):
    """Points [N, d], frames [N, 2, d] (orthonormal bases of the tangent planes), areas [N], all float64.

    `axes` [N, 2, d] are frames that turn_frames leaves alone: sampling grids hang on them. `anchor` [N] is
    the angle of the axes' e₁ in the present frame, `flipped` [N] marks frames mirrored against the axes.
    """

    points: Tensor
    frames: Tensor
    axes: Tensor
    areas: Tensor
    anchor: Tensor
    flipped: Tensor | None
    group: Group

    def __post_init__(self) -> None:
        keep_normal(self)

    def __len__(self) -> int:
        return self.n_points

    def to(self, device: Device) -> Self:
        """The same surface on another device; itself where it is there already. Always float64: stencils and
        hierarchies are cast when they are moved.
        """
        if torch.device(device) == self.points.device:
            return self
        return mapped(self, lambda t: t.to(device))

    @property
    def n_points(self) -> int:
        return self.points.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_points} points, area {float(self.areas.sum()):.4g})"

    @property
    def spacing(self) -> float:
        """The side of a square of a point's mean area, in the surface's units."""
        return math.sqrt(float(self.areas.mean()))

    @property
    def conjugate(self) -> float:
        """The length at which the geodesics from a point all meet again; infinite where they do not."""
        return math.inf

    @property
    def extent(self) -> float:
        """About the longest way between two points: π on the unit sphere, elsewhere twice the diagonal of
        the box around the points, which suffices unless the surface is rolled up.
        """
        on = self.points[self.areas > 0]
        return 2 * float((on.amax(0) - on.amin(0)).norm()) if len(on) else 0.0

    @property
    def placed(self) -> Placed:
        return Placed(self.points, self.frames, self.axes, self.anchor, self.flipped)

    @abstractmethod
    def _exp(self, base: Placed, vectors: Tensor, reflect: bool = False) -> Exp: ...

    @abstractmethod
    def _log(self, base: Placed, target: Placed) -> Log: ...

    @abstractmethod
    def _disc(self, base: Placed, radius: float) -> Disc:
        """All pairs (base, point of the surface) no farther apart than the radius."""

    @abstractmethod
    def coarser(self) -> Surface:
        """The same surface at half the resolution, in its own (unturned) frames.

        Raises GeometryError where it cannot be halved.
        """

    @property
    def _pads(self) -> bool:
        """Whether exp fills up the rows of what it reads with entries of weight 0, of any point."""
        return False

    def is_same_as(self, other: Surface) -> bool:
        """Whether both discretise one surface, so that stencils may lead from one point set to the other."""
        return type(other) is type(self)

    def exp(
        self,
        base: ArrayLike | Tensor | SurfacePoint,
        vectors: ArrayLike | Tensor,
        at_boundary: Literal["stop", "reflect"] = "stop",
    ) -> Exp:
        """Follow geodesics from points base [K] (ids) along vectors [K, 2], given in the base's frame, to
        their ends.

        On a mesh the base may also be K SurfacePoints, on edges and at corners too: vectors and transporters
        are then in the gauge of the face's plane, e₁ along its first edge, as in `transport`. At a corner a
        vector that leads out of the face is meant as laid flat around the vertex.

        Law: log(p, exp_p(v)) = v while v stays short of the cut locus, on a mesh where log says met. Raises
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
            vectors = real_numbers(vectors, "vectors", self.points)
            return self._exp_in_faces(base, vectors, reflect)
        base = self._ids(base, "base")
        return self._exp(self.placed.take(base), base_vectors(vectors, len(base), self.points), reflect)

    def _exp_in_faces(self, base: SurfacePoint, vectors: Tensor, reflect: bool) -> Exp:
        """exp from points in faces, in their faces' gauges; a mesh has them."""
        raise GeometryError(
            f"points in faces are points of a mesh, not of a {type(self).__name__}; give point ids"
        )

    def log(
        self, base: ArrayLike | Tensor, target: ArrayLike | Tensor, method: Literal["heat"] | None = None
    ) -> Log:
        """The vectors at base [K] that lead to target [K] (ids), and the transport back along them.

        In closed form; on a mesh the shortest path over its faces, exact; exp follows it where log says met,
        as it does of most pairs within some ten spacings. For longer ways on a mesh there is `method="heat"`,
        the affine heat log map (Sharp, Soliman & Crane 2019, by potpourri3d): one factorisation a mesh, two
        solves for each distinct base. Nothing says met, and it is smooth rather than exact. Found on spheres
        of 2,500 vertices: vectors off by 0.5 % of their length in the median up to 2 radians, 5 % at 2.7, and
        of no use within 0.2 of the antipode; transporters by 0.01 radians up to 2.5. On coarse meshes of
        strong curvature, like the bunny of 1,241 vertices, 2 % within four rings; where the boundary has a
        corner, base or target there are off by up to 0.3 radians.

        Raises GeometryError for ids out of range, unless there are as many targets as bases, and for "heat"
        on another surface than a mesh or without potpourri3d.

        >>> import geocnn.geometry as geometry
        >>> geometry.torus((4, 4)).log(torch.tensor([0]), torch.tensor([3])).vectors
        tensor([[-1.,  0.]], dtype=torch.float64)
        """
        base, target = self._ids(base, "base"), self._ids(target, "target")
        if len(base) != len(target):
            raise GeometryError(
                f"one target a base is needed, got {len(base)} bases and {len(target)} targets"
            )
        if method not in (None, "heat"):
            raise GeometryError(f"method must be 'heat', or None for the surface's own, got {method!r}")
        find = self._log if method is None else self._log_by_heat
        return find(self.placed.take(base), self.placed.take(target))

    def _log_by_heat(self, base: Placed, target: Placed) -> Log:
        """The log by the vector heat method; a mesh has it."""
        raise GeometryError(
            f"method='heat' is for meshes; on a {type(self).__name__} log is exact without: leave it out"
        )

    def disc(self, radius: float, base: ArrayLike | Tensor | None = None) -> Disc:
        """All pairs of points base [K] (ids, by default all) and points no farther away than the radius, in
        surface units, themselves included: ids, logs, distances (`log.distance`) and transporters.

        Pairs come in the bases' order; a mesh's vertices of no face have none. Where several geodesics lead
        to a point, on a cone or a projective plane, each is a pair. Raises GeometryError for ids out of
        range, and for a radius that is not positive and finite, or so large that discs overlap themselves;
        warns (RadiusWarning) of one in another unit, as `stencil` does.

        >>> import geocnn.geometry as geometry
        >>> d = geometry.torus((4, 6)).disc(1.0, torch.tensor([7])); d.source, d.log.distance
        (tensor([ 1,  6,  7,  8, 13]), tensor([1., 1., 0., 1., 1.], dtype=torch.float64))
        """
        radius = check_radius(radius)
        placed = self.placed
        if base is not None:
            base = self._ids(base, "base")
            placed = placed.take(base)
        doubtful = doubt(self, radius, everywhere=base is None)
        if doubtful is not None:
            warnings.warn(doubtful.message, RadiusWarning, stacklevel=2)
        found = self._disc(placed, radius)
        return found if base is None else found._replace(base=base[found.base])

    def connection(self) -> Connection:
        """Neighbouring points and the transporters between them, in the present gauge.

        >>> import geocnn.geometry as geometry
        >>> c = geometry.plane((2, 2)).connection(); list(zip(c.tail.tolist(), c.head.tolist()))
        [(0, 1), (2, 3), (0, 2), (1, 3)]
        """
        # the diagonal of a square grid is within it, so no point is left alone
        near = self._disc(self.placed, 1.6 * self.spacing)
        return self._joined(*pairs_once(near.base, near.source, self.n_points))

    def _curvature(self) -> Tensor:
        """The Gaussian curvature at the points [N]."""
        raise GeometryError(f"the curvature of a {type(self).__name__} is not known; make it a mesh")

    def _joined(self, tail: Tensor, head: Tensor) -> Connection:
        """Those edges with the transporters of log."""
        l = self.log(tail, head)
        return Connection(tail, head, l.angle, l.flip)

    def _ids(self, ids: ArrayLike | Tensor, name: str) -> Tensor:
        ids = point_ids(ids, name, self.points.device)
        if ids.ndim != 1:
            raise GeometryError(f"{name} must be a list of point ids, one axis, got shape {list(ids.shape)}")
        wrong = ids[(ids < 0) | (ids >= self.n_points)]
        if len(wrong):
            raise GeometryError(f"{name} has ids outside 0..{self.n_points - 1}: {wrong[:8].tolist()}")
        return ids

    def turn_frames(self, alpha: ArrayLike | Tensor, flip: ArrayLike | Tensor | None = None) -> Self:
        """The same surface in another gauge: frames turned by alpha [N] radians, then e₂ mirrored where
        `flip` [N].

        Components of a frequency-n field change by e^{−inα}; anchors stay where they are on the surface.
        Raises GeometryError unless there is one angle, finite, (and one flip) a point.
        """
        alpha, flip, turned_by = read_gauge("surface", self.n_points, alpha, flip, self.points)
        c, s = torch.cos(alpha)[:, None], torch.sin(alpha)[:, None]
        e1, e2 = self.frames.unbind(1)
        turned = torch.stack([c * e1 + s * e2, c * e2 - s * e1], 1)
        anchor, flipped = compose(gauge_change(alpha, flip), (self.anchor, None))[0], self.flipped
        if flip is not None:
            turned[:, 1] *= torch.where(flip, -1.0, 1.0).to(alpha)[:, None]
            flipped = flip if flipped is None else flipped ^ flip
        return replace(
            self,
            frames=turned,
            anchor=anchor,
            flipped=flipped,
            group=self.group.join(turned_by),
        )

    def stencil(
        self,
        radius: float,
        kind: Literal["exp", "log"] = "exp",
        samples: tuple[int, int] | None = None,
        targets: ArrayLike | Tensor | Surface | None = None,
        boundary: Boundary = "zero",
    ) -> Stencil:
        """Where a layer gathers from: every target's disc of the given radius (surface units).

        kind "exp": a polar grid of `samples` = (rings, angles) tangent vectors, by default at most one point
        spacing apart, interpolated where they land. kind "log": the points within the radius where they lie.
        `targets`: ids, or another point set of the same surface (a coarser level); by default the points
        themselves. `boundary`: beyond an edge the feature is zero, or weights are renormalised.

        Raises GeometryError for a radius that is not positive and finite, shorter than a tenth of the point
        spacing, longer than the surface, or too large for its log; for samples that are no polar grid; for
        targets of another surface; for another kind or boundary. Warns (RadiusWarning) of a radius shorter
        than one spacing, and of one of more than 25, as mistakes of the unit make them.

        >>> import geocnn.geometry as geometry
        >>> st = geometry.healpix(4).stencil(radius=0.6, samples=(2, 7))
        >>> st.n_target, st.n_entries // (2 * 7 * 192)
        (192, 4)
        """
        radius = check_radius(radius)
        check_unit(self, radius, everywhere=targets is None)
        return self._stencil(radius, kind, samples, targets, boundary)

    def _stencil(
        self,
        radius: float,
        kind: Literal["exp", "log"],
        samples: tuple[int, int] | None,
        targets: ArrayLike | Tensor | Surface | None,
        boundary: Boundary,
    ) -> Stencil:
        """`stencil`, whatever the radius beside the point spacing: that of a coarse level may be odd."""
        if boundary not in ("zero", "normalise"):
            raise GeometryError(f"boundary must be 'zero' or 'normalise', got {boundary!r}")
        placed, joined = self._targets(targets)
        if len(placed.points) == 0:
            raise GeometryError("targets is empty: give at least one point, or leave it out for all")
        made = disc_stencil(self, radius, kind, samples, placed)
        made = replace(made, group=joined)
        made = without_empty(made) if self._pads else made
        return renormalised(made) if boundary == "normalise" else made

    def _targets(self, targets: ArrayLike | Tensor | Surface | None) -> tuple[Placed, Group]:
        """The targets in their gauge, and the group that transporters to them live in."""
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
        """(rings, angles) of the polar grid whose neighbours are at most one point spacing apart."""
        return polar_samples(check_radius(radius), self.spacing)

    def interpolation(self, targets: ArrayLike | Tensor | Surface) -> Stencil:
        """The stencil that reads a field at other points of the surface: entries at r = 0 whose weights sum
        to 1.

        `targets`: ids, or another point set of the same surface. Its radius, 1, has no meaning: all entries
        lie at 0. Raises GeometryError for targets of another surface.

        >>> import geocnn.geometry as geometry
        >>> fine = geometry.torus((4, 4)); st = fine.coarser().interpolation(fine); st.n_source, st.n_target
        (4, 16)
        """
        base, joined = self._targets(targets)
        return interpolation(self, base, joined)

    def hierarchy(
        self,
        levels: int = 3,
        radius: float | None = None,
        kind: Literal["exp", "log"] = "exp",
        samples: tuple[int, int] | None = None,
        boundary: Boundary = "zero",
        oversample: bool = False,
    ) -> Hierarchy:
        """Levels of halved resolution with stencils within and between them; the radius doubles with each
        level.

        `radius` is that of the finest level, by default 2.5 point spacings. Coarser levels are in their own
        frames. With `oversample` the radii stay, and each level but the finest has four times the points:
        what a convolution gives is interpolated to them before nonlinearities act. These widen its band, and
        on points as few as suffice for the convolution they would alias (Karras et al. 2021, section 3). The
        same weights serve both; rotations disturb the answer less, and it takes longer.

        Raises GeometryError for fewer than one level or more than the grid can be halved to, and raises and
        warns as `stencil` does.

        >>> import geocnn.geometry as geometry
        >>> [st.n_target for st in geometry.icosphere(2).hierarchy(levels=3).stencils]
        [162, 42, 12]
        """
        from geocnn.geometry.core.hierarchy import build

        radius = USUAL * self.spacing if radius is None else check_radius(radius)
        check_unit(self, radius)
        return build(self, levels, radius, kind, samples, boundary, oversample)
