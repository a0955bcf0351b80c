"""Trials: a field and its geometry, before and after a symmetry acts, and how all fields move with it.

If a model is equivariant, model(moved_x, moved_where) is act(model(x, where)); so is each of its layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
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
"""(field, its type or None where unknown) -> the moved field, or None where that is unknown."""


@dataclass(frozen=True)
class Trial:
    """A field x on `where`, the same field moved, and the action on all fields; `where` is None for a model
    of one argument.

    For pictures, `strides` gives by shape [h, w] how many of the input's cells one cell spans, down and
    across, and `groups` gives by its number of elements the group of regular fields [..., C, |G|, h, w].
    Entries for layers are added as layers run.
    """

    x: Tensor
    where: Where | None
    moved_x: Tensor
    moved_where: Where | None
    act: Act
    strides: dict[tuple[int, int], tuple[float, float]] | None = None
    groups: dict[int, Group] | None = None

    def follow(self, layer: object, x: Tensor, y: Tensor) -> None:
        """Record the group and the stride of a layer's output y for a picture x [..., h, w]."""
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
    """Return the cells before per cell after: a whole number, or one over a whole number."""
    return round(before / after) if before > after else 1 / round(after / before)


REDRAW = 10_000
"""The distance between the seeds of two draws; trials use some numbers above a seed."""


@dataclass(frozen=True)
class Setup:
    """A surface, the geometry that the model takes, and fields with waves of `wavelength` or longer.

    `build` makes the stencil, the hierarchy or the grids of transforms. It is None where the model takes only
    a field: on a flat surface a picture [B, C, h, w], elsewhere [B, N, C].
    """

    surface: Surface
    build: Callable[[Surface], Where] | None
    in_type: FieldType
    wavelength: float
    seed: int = 0

    @cached_property
    def where(self) -> Where | None:
        """The geometry that the model takes."""
        return None if self.build is None else self.build(self.surface)

    @cached_property
    def levels(self) -> list[Surface]:
        """The surface and the coarser ones that `where` uses, finest first."""
        return levels(self.surface, self.where)

    @property
    def is_picture(self) -> bool:
        """Whether the model takes pictures [B, C, h, w]."""
        return self.build is None and isinstance(self.surface, Flat)

    @property
    def has_smooth(self) -> bool:
        """Whether the surface has smooth fields and a finer grid."""
        s = self.surface
        flat = isinstance(s, Flat) and not s.mirrored and not self.is_picture
        return flat or isinstance(s, Sphere) or (isinstance(s, Mesh) and s.reading is None)

    @cached_property
    def finer(self) -> Setup:
        """The same setup on a surface with four times the points."""
        return replace(self, surface=finer(self.surface))

    @property
    def redrawn(self) -> Setup:
        """The same setup with other fields, frames, numbers and rotations."""
        again = replace(self, seed=self.seed + REDRAW)
        # the geometry stays, since it does not depend on the seed
        vars(again).update(where=self.where, levels=self.levels)
        return again

    def field(self) -> Float[Tensor, "1 n d"]:
        """Draw a smooth field where that is possible, and noise elsewhere."""
        if self.has_smooth:
            return smooth(self.surface, self.in_type, self.wavelength, self.seed)
        return noise(self.surface.n_points, self.in_type, self.seed)

    def random(self, salt: int = 0) -> torch.Generator:
        """Return a new generator; each salt gives another."""
        return torch.Generator().manual_seed(self.seed + 1 + salt)
