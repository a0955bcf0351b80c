"""Hierarchy: the levels of a network, and the stencils within and between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.stencil import Stencil, load_tensors, save_tensors
from geocnn.groups.planar import Group

if TYPE_CHECKING:
    from geocnn.geometry.surface import Surface


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Level 0 is the finest. stencils[i]: within level i; down[i]: level i to i+1; up[i]: level i+1 to i.

    areas[i] [N_i] are the points' areas; ptr[i] [surfaces + 1] says which points belong to which surface of a
    batch.

    >>> import geocnn.geometry as geometry
    >>> h = geometry.healpix(4).hierarchy(levels=2)
    >>> h.n_levels, h.down[0].n_source, h.down[0].n_target
    (2, 192, 48)
    """

    stencils: list[Stencil]
    down: list[Stencil]
    up: list[Stencil]
    areas: list[Tensor]
    ptr: list[Tensor]

    def __repr__(self) -> str:
        points = " -> ".join(str(len(a)) for a in self.areas)
        return f"Hierarchy({points} points, {self.n_surfaces} surfaces, {self.areas[0].device})"

    @property
    def n_levels(self) -> int:
        return len(self.stencils)

    @property
    def n_surfaces(self) -> int:
        return self.ptr[0].shape[0] - 1

    @property
    def group(self) -> Group:
        """The smallest group that holds all transporters."""
        joined = self.stencils[0].group
        for s in [*self.stencils, *self.down, *self.up]:
            joined = joined.join(s.group)
        return joined

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Hierarchy:
        """A copy on another device or in another floating dtype (areas are cast too). Raises GeometryError as
        Stencil.to.
        """
        return Hierarchy(
            [s.to(device, dtype) for s in self.stencils],
            [s.to(device, dtype) for s in self.down],
            [s.to(device, dtype) for s in self.up],
            [a.to(device, dtype) for a in self.areas],
            [p.to(device) for p in self.ptr],
        )

    def turn_frames(self, alpha: Sequence[Tensor], flip: Sequence[Tensor] | None = None) -> Hierarchy:
        """The same hierarchy in another gauge: one tensor of angles [N_i] in radians (and of flips [N_i]) a
        level.

        Raises GeometryError when the number of levels or a level's number of points does not fit.
        """
        for name, given in (("angles", alpha), ("flips", flip)):
            if given is not None and len(given) != self.n_levels:
                raise GeometryError(
                    f"one tensor of {name} a level is needed: {self.n_levels}, got {len(given)}"
                )
        f = [None] * self.n_levels if flip is None else list(flip)
        pairs = range(self.n_levels - 1)
        return replace(
            self,
            stencils=[s.turn_frames(a, b) for s, a, b in zip(self.stencils, alpha, f, strict=True)],
            down=[self.down[i].turn_frames(alpha[i], f[i], alpha[i + 1], f[i + 1]) for i in pairs],
            up=[self.up[i].turn_frames(alpha[i + 1], f[i + 1], alpha[i], f[i]) for i in pairs],
        )

    @staticmethod
    def cat(hierarchies: Sequence[Hierarchy]) -> Hierarchy:
        """Several surfaces side by side, which may differ in their numbers of points.

        Raises GeometryError for an empty list, and for different numbers of levels or radii.
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
        )

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, whole or not at all."""
        groups = {"stencils": self.stencils, "down": self.down, "up": self.up}
        named = {f"{kind}.{i}": s for kind, stencils in groups.items() for i, s in enumerate(stencils)}
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
        )


def build(
    surface: Surface, levels: int, radius: float, kind: str, samples: tuple[int, int] | None, boundary: str
) -> Hierarchy:
    """The hierarchy of `Surface.hierarchy`. Raises GeometryError for less than one level or too many to
    halve.
    """
    if levels < 1:
        raise GeometryError(f"a hierarchy has at least one level, got {levels}")
    surfaces = [surface]
    for _ in range(levels - 1):
        surfaces.append(surfaces[-1].coarser())
    options = {"kind": kind, "samples": samples, "boundary": boundary}
    return Hierarchy(
        [s.stencil(radius * 2**i, **options) for i, s in enumerate(surfaces)],  # type: ignore[arg-type]
        [s.stencil(radius * 2**i, targets=t, **options) for i, (s, t) in enumerate(_pairs(surfaces))],  # type: ignore[arg-type]
        [t.interpolation(s) for s, t in _pairs(surfaces)],
        [s.areas for s in surfaces],
        [torch.tensor([0, s.n_points], device=s.points.device) for s in surfaces],
    )


def _pairs(surfaces: list[Surface]) -> list[tuple[Surface, Surface]]:
    return list(pairwise(surfaces))


def _cat_ptr(ptrs: list[Tensor]) -> Tensor:
    parts, start = [ptrs[0][:1]], 0
    for ptr in ptrs:
        parts.append(ptr[1:] + start)
        start += int(ptr[-1])
    return torch.cat(parts)
