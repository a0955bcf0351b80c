"""Trials: a field and the geometry it lies on, before and after a symmetry acts, and how all fields follow.

If a model is equivariant, model(moved_x, moved_where) is act(model(x, where)); so is each of its layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from geocnn.equivariance.fields import noise, smooth
from geocnn.equivariance.grids import Where, finer, levels
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.flat.rectangles import Flat
from geocnn.geometry.meshes.surface import Mesh
from geocnn.geometry.spheres.surfaces import Sphere
from geocnn.groups.field_type import FieldType
from geocnn.groups.planar import Group

Act = Callable[[Tensor, FieldType | None], Tensor | None]
"""(field, its type or None where unknown) -> the field moved, or None where that cannot be said."""


@dataclass(frozen=True)
class Trial:
    """`where` is None for a model of one argument. Of pictures, `strides` is how many of the input's cells a
    cell of [..., h, w] spans, down and across, `groups` the group of regular fields [..., C, |G|, h, w] by
    its number of elements; those of layers are found as they run.
    """

    x: Tensor
    where: Where | None
    moved_x: Tensor
    moved_where: Where | None
    act: Act
    strides: dict[tuple[int, int], tuple[float, float]] | None = None
    groups: dict[int, Group] | None = None

    def follow(self, layer: object, x: Tensor, y: Tensor) -> None:
        """Notes the group and the stride of what a layer has made of a picture x [..., h, w]."""
        group = getattr(layer, "group", None)
        if self.groups is not None and isinstance(group, Group) and y.ndim > 4:
            self.groups[y.shape[-3]] = group
        if self.strides is None or x.ndim < 4 or y.ndim < 4:
            return
        before, after = (x.shape[-2], x.shape[-1]), (y.shape[-2], y.shape[-1])
        if before in self.strides and after not in self.strides:
            own = getattr(layer, "stride", None)
            if own is None:
                own = tuple(_ratio(b, a) for b, a in zip(before, after, strict=True))
            down, across = (own, own) if isinstance(own, int) else own[-2:]
            if getattr(layer, "transposed", False):
                down, across = 1 / down, 1 / across
            y_span, x_span = self.strides[before]
            self.strides[after] = y_span * down, x_span * across


def _ratio(before: int, after: int) -> float:
    """Cells before to a cell after: a whole number, or one over one where there are more after."""
    return round(before / after) if before > after else 1 / round(after / before)


REDRAW = 10_000
"""Between the seeds of two draws; trials use some numbers above a seed."""


@dataclass(frozen=True)
class Setup:
    """A surface, what the model is given of it, and the fields to try: no wave is shorter than `wavelength`.

    `build` makes the stencil, the hierarchy or the grids of transforms; None where the model takes a field
    alone: on a flat surface as a picture [B, C, h, w], elsewhere as [B, N, C].
    """

    surface: Surface
    build: Callable[[Surface], Where] | None
    in_type: FieldType
    wavelength: float
    seed: int = 0

    @cached_property
    def where(self) -> Where | None:
        return None if self.build is None else self.build(self.surface)

    @cached_property
    def levels(self) -> list[Surface]:
        return levels(self.surface, self.where)

    @property
    def is_picture(self) -> bool:
        return self.build is None and isinstance(self.surface, Flat)

    @property
    def has_smooth(self) -> bool:
        """Whether smooth fields are known there, and a finer grid."""
        s = self.surface
        flat = isinstance(s, Flat) and not s.mirrored and not self.is_picture
        return flat or isinstance(s, Sphere) or (isinstance(s, Mesh) and s.reading is None)

    @cached_property
    def finer(self) -> Setup:
        return replace(self, surface=finer(self.surface))

    @property
    def redrawn(self) -> Setup:
        """The same with other fields, frames, numbers and rotations."""
        again = replace(self, seed=self.seed + REDRAW)
        # what is known of the surface is kept
        vars(again).update(where=self.where, levels=self.levels)
        return again

    def field(self) -> Tensor:
        """Smooth where that is possible, [1, N, D]; noise where not."""
        if self.has_smooth:
            return smooth(self.surface, self.in_type, self.wavelength, self.seed)
        return noise(self.surface.n_points, self.in_type, self.seed)

    def random(self, salt: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed + 1 + salt)
