"""Hierarchy: the levels of a network, and the stencils within and between them."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64, Real
from torch import Tensor
from torch.utils._pytree import GetAttrKey, register_pytree_node

from geocnn.errors import GeometryError, ResolutionError
from geocnn.geometry.core.defaults import FEWEST, Kind
from geocnn.geometry.core.placement import Movable
from geocnn.geometry.core.stencil import Stencil, load_tensors, save_tensors
from geocnn.groups.planar import Group
from geocnn.lasting import keep_normal
from geocnn.wording import counted

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Boundary, Surface


@dataclass(frozen=True, eq=False)
class Hierarchy(Movable):
    """The levels of a network on one surface or on a batch of several; level 0 is the finest.

    stencils[i] gathers within level i, down[i] from level i to i+1, up[i] from level i+1 to i. areas[i] holds
    the areas of the points; the points from ptr[i][k] to ptr[i][k+1] belong to surface k of the batch. Where
    readings[i] is given, what stencils[i] gathers lies on fewer points than the level has; readings[i] reads
    it at the level's points, before anything nonlinear acts (`oversample` of `Surface.hierarchy`).

    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(4).hierarchy(levels=2)
    >>> h.n_levels, h.down[0].n_source, h.down[0].n_target
    (2, 192, 48)
    """

    stencils: list[Stencil]
    down: list[Stencil]
    up: list[Stencil]
    areas: list[Float[Tensor, " n"]]
    ptr: list[Int64[Tensor, " surfaces_and_one"]]
    readings: list[Stencil | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        keep_normal(self)
        if not self.readings:
            self.readings.extend([None] * self.n_levels)

    def __repr__(self) -> str:
        points = " -> ".join(str(len(a)) for a in self.areas)
        return f"Hierarchy({points} points, {counted(self.n_surfaces, 'surface')}, {self.areas[0].device})"

    @property
    def n_levels(self) -> int:
        return len(self.stencils)

    @property
    def n_surfaces(self) -> int:
        return self.ptr[0].shape[0] - 1

    @property
    def group(self) -> Group:
        """Return the smallest group that holds all transporters."""
        joined = self.stencils[0].group
        for s in [*self.stencils, *self.down, *self.up, *self.readings]:
            joined = joined if s is None else joined.join(s.group)
        return joined

    def turn_frames(
        self, alpha: Sequence[Real[Tensor, " _"]], flip: Sequence[Bool[Tensor, " _"] | None] | None = None
    ) -> Hierarchy:
        """Return the same hierarchy in another gauge.

        Per level, give one tensor of angles [N_i] in radians (and one of flips [N_i], bool). Raises
        GeometryError where the number of levels or a level's number of points does not fit.
        """
        for name, given in (("angles", alpha), ("flips", flip)):
            if given is not None and len(given) != self.n_levels:
                raise GeometryError(
                    f"one tensor of {name} per level is required: {self.n_levels}, got {len(given)}"
                )
        flips = [None] * self.n_levels if flip is None else list(flip)
        gauges = list(zip(alpha, flips, strict=True))
        # the points between a stencil and its reading keep their frames: no layer's answer lies there
        return replace(
            self,
            stencils=[
                s.turn_frames(a, b) if r is None else s.turn_frames(a, b, *_still(s.n_target, a))
                for s, r, (a, b) in zip(self.stencils, self.readings, gauges, strict=True)
            ],
            readings=[
                None if r is None else r.turn_frames(*_still(r.n_source, a), a, b)
                for r, (a, b) in zip(self.readings, gauges, strict=True)
            ],
            down=[s.turn_frames(*a, *b) for s, (a, b) in zip(self.down, pairwise(gauges), strict=True)],
            up=[s.turn_frames(*b, *a) for s, (a, b) in zip(self.up, pairwise(gauges), strict=True)],
        )

    @staticmethod
    def cat(hierarchies: Sequence[Hierarchy]) -> Hierarchy:
        """Return one hierarchy for several surfaces side by side; their numbers of points may differ.

        Raises GeometryError for an empty list, for different numbers of levels, radii, dtypes or devices, and
        where only some are oversampled.
        """
        if not hierarchies:
            raise GeometryError("nothing to concatenate: give at least one hierarchy")
        depths = {h.n_levels for h in hierarchies}
        if len(depths) > 1:
            raise GeometryError(
                f"hierarchies of {sorted(depths)} levels cannot be batched; build them with the same number"
            )
        levels = range(hierarchies[0].n_levels)
        return Hierarchy(
            [Stencil.cat([h.stencils[i] for h in hierarchies]) for i in levels],
            [Stencil.cat([h.down[i] for h in hierarchies]) for i in levels[:-1]],
            [Stencil.cat([h.up[i] for h in hierarchies]) for i in levels[:-1]],
            [torch.cat([h.areas[i] for h in hierarchies]) for i in levels],
            [_cat_ptr([h.ptr[i] for h in hierarchies]) for i in levels],
            [_cat_readings([h.readings[i] for h in hierarchies]) for i in levels],
        )

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, whole or not at all."""
        groups = {"stencils": self.stencils, "down": self.down, "up": self.up, "readings": self.readings}
        named = {
            f"{name}.{i}": s for name, group in groups.items() for i, s in enumerate(group) if s is not None
        }
        tensors = {f"{name}.{part}": t for name, s in named.items() for part, t in s.tensors().items()}
        for i, (areas, ptr) in enumerate(zip(self.areas, self.ptr, strict=True)):
            tensors |= {f"areas.{i}": areas, f"ptr.{i}": ptr}
        save_tensors(path, tensors, {"hierarchy": {name: s.metadata() for name, s in named.items()}})

    @staticmethod
    def load(path: str | Path) -> Hierarchy:
        """Read what `save` wrote. Raises GeometryError when the file is truncated or holds no hierarchy."""
        tensors, metadata = load_tensors(path, "hierarchy")

        def stencil(name: str) -> Stencil:
            start = f"{name}."
            parts = {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}
            return Stencil.from_parts(parts, metadata[name])

        levels = range(sum(key.startswith("areas.") for key in tensors))
        return Hierarchy(
            [stencil(f"stencils.{i}") for i in levels],
            [stencil(f"down.{i}") for i in levels[:-1]],
            [stencil(f"up.{i}") for i in levels[:-1]],
            [tensors[f"areas.{i}"] for i in levels],
            [tensors[f"ptr.{i}"] for i in levels],
            [stencil(f"readings.{i}") if f"readings.{i}" in metadata else None for i in levels],
        )


def build(
    surface: Surface,
    levels: int | None,
    radius: float,
    kind: Kind,
    samples: tuple[int, int] | None,
    boundary: Boundary,
    oversample: bool,
) -> Hierarchy:
    """Build the hierarchy of `Surface.hierarchy`."""
    surfaces = resolutions(surface, levels, radius, kind)
    points = [surface, *surfaces[:-1]] if oversample else surfaces

    def gathered(level: int, source: Surface, target: Surface) -> Stencil:
        to = None if target is source else target
        try:
            return source._stencil(radius * 2**level, kind, samples, to, boundary)
        except GeometryError as fault:
            raise GeometryError(f"level {level} of the hierarchy: {fault}") from fault

    def between(level: int, source: Surface, target: Surface) -> Stencil:
        rows = _places_among(source, target) if kind == "log" else None
        return gathered(level, source, target) if rows is None else _some_rows(stencils[level], rows)

    stencils = [gathered(i, p, s) for i, (p, s) in enumerate(zip(points, surfaces, strict=True))]
    return Hierarchy(
        stencils,
        stencils[:-1] if oversample else [between(i, p, q) for i, (p, q) in enumerate(pairwise(points))],
        [q.interpolation(p) for p, q in pairwise(points)],
        [p.areas for p in points],
        [torch.tensor([0, p.n_points], device=p.points.device) for p in points],
        [None, *(s.interpolation(p) for p, s in pairwise(surfaces))] if oversample else [],
    )


def _places_among(surface: Surface, coarser: Surface) -> Int64[Tensor, " n"] | None:
    """Return which points of a surface those of a coarser level are; None unless they have the same gauge."""
    ours, theirs = surface.placed, coarser.placed
    if ours.vertex is None or theirs.vertex is None or surface.group != coarser.group:
        return None
    place = torch.searchsorted(ours.vertex, theirs.vertex).clamp_max(len(ours.vertex) - 1)
    same = ours.take(place)
    gauges = zip(
        (same.vertex, same.anchor, same.flipped), (theirs.vertex, theirs.anchor, theirs.flipped), strict=True
    )
    alike = all(x is y or (x is not None and y is not None and torch.equal(x, y)) for x, y in gauges)
    return place if alike else None


def _some_rows(stencil: Stencil, which: Int64[Tensor, " n"]) -> Stencil:
    """Return the stencil of some of the targets."""
    rows = stencil.rows(which)
    counts = torch.bincount(rows.row, minlength=rows.n)
    return Stencil(
        row_ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        source=rows.source,
        r=rows.r,
        theta=rows.theta,
        weight=rows.weight,
        angle=rows.angle,
        flip=rows.flip,
        radius=stencil.radius,
        n_source=stencil.n_source,
        group=stencil.group,
        samples=stencil.samples,
    )


def resolutions(surface: Surface, levels: int | None, radius: float, kind: Kind) -> list[Surface]:
    """Return the surface at each level of a hierarchy whose finest level has kernels of this radius and kind.

    Without `levels` there are as many as `Surface.hierarchy` says. Raises GeometryError for fewer than one
    level and for more than fit.

    >>> from geocnn.geometry import plane
    >>> [s.shape for s in resolutions(plane((28, 36)), None, 2.5, "exp")]
    [(28, 36), (14, 18), (7, 9)]
    """
    wanted = math.inf if levels is None else _at_least_one(levels)
    if kind == "log":
        surface._check_disc(radius)
    surfaces, fault = [surface], None
    while len(surfaces) < wanted:
        if levels is None and not _fits(surface, radius * 2 ** len(surfaces), kind):
            break
        try:
            if kind == "log":
                surfaces[-1] = _knowing(surfaces[-1], radius * 2 ** (len(surfaces) - 1))
            coarser = surfaces[-1].coarser()
        except ResolutionError as error:
            fault = error
            break
        if levels is None and coarser.n_points < FEWEST:
            break
        surfaces.append(coarser)
    if levels is None:
        return surfaces
    fit = next((k for k in range(1, len(surfaces)) if not _fits(surface, radius * 2**k, kind)), len(surfaces))
    if fit == levels:
        return surfaces
    many = f"{counted(fit, 'level')} {'fits' if fit == 1 else 'fit'}"
    why = fault if fit == len(surfaces) else _too_wide(surface, radius, kind, fit, len(surfaces))
    raise GeometryError(f"{why}; {many} this surface, got levels={levels}") from fault


@runtime_checkable
class _Knowing(Protocol):
    def knowing(self, radius: float) -> Surface: ...


def _knowing(surface: Surface, radius: float) -> Surface:
    """Return the surface with its discs, if it can share them between its coarser level and its stencil."""
    return surface.knowing(radius) if isinstance(surface, _Knowing) else surface


def _at_least_one(levels: int) -> int:
    try:
        levels = operator.index(levels)
    except TypeError:
        raise GeometryError(f"levels is a whole number, at least one, got {levels!r}") from None
    if levels < 1:
        raise GeometryError(f"a hierarchy has at least one level, got {levels}")
    return levels


def _fits(surface: Surface, radius: float, kind: Kind) -> bool:
    """Return whether kernels of this radius do not overlap themselves on the surface."""
    if radius > surface.conjugate * (1 + 1e-9):
        return False
    try:
        if kind == "log":
            surface._check_disc(radius)
    except GeometryError:
        return False
    return True


def _too_wide(surface: Surface, radius: float, kind: Kind, level: int, levels: int) -> str:
    """Say that the radius does not fit at a level, and which radius would allow all the levels there are."""
    least, most = 0.0, radius * 2**level
    for _ in range(48):
        middle = (least + most) / 2
        least, most = (middle, most) if _fits(surface, middle, kind) else (least, middle)
    advice = least / 2 ** (levels - 1)
    # four digits, rounded down
    digit = 10.0 ** (math.floor(math.log10(advice)) - 3)
    advice = math.floor(advice * (1 + 1e-9) / digit) * digit
    return (
        f"the radius {radius:.6g} doubles with every level, to {radius * 2**level:.4g} at level {level}, and "
        f"kernels of kind {kind!r} overlap themselves here beyond {least:.4g}; give at most {advice:.4g} for "
        f"{levels} levels, or fewer levels"
    )


def _still(n: int, like: Tensor) -> tuple[Tensor, None]:
    """Return the gauge that turns none of n frames."""
    return like.new_zeros(n), None


def _cat_readings(readings: Sequence[Stencil | None]) -> Stencil | None:
    given = [r for r in readings if r is not None]
    if len(given) not in (0, len(readings)):
        raise GeometryError("some of the hierarchies are oversampled and some are not; build them alike")
    return Stencil.cat(given) if given else None


def _cat_ptr(ptrs: list[Tensor]) -> Tensor:
    parts, start = [ptrs[0][:1]], 0
    for ptr in ptrs:
        parts.append(ptr[1:] + start)
        start += int(ptr[-1])
    return torch.cat(parts)


_PARTS = ("stencils", "down", "up", "areas", "ptr", "readings")


def _with_keys(h: Hierarchy) -> tuple[list, None]:
    return [(GetAttrKey(name), getattr(h, name)) for name in _PARTS], None


register_pytree_node(
    Hierarchy,
    lambda h: ([getattr(h, name) for name in _PARTS], None),
    lambda parts, _: Hierarchy(*parts),
    flatten_with_keys_fn=_with_keys,
    serialized_type_name="geocnn.Hierarchy",
)
torch.serialization.add_safe_globals([Hierarchy])
