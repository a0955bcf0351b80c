"""Fake geometry: stencils and hierarchies whose tensors have shapes and no numbers, with the sizes of their
tilings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from geocnn.geometry.core.defaults import Kind, default_radius
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.radius import check_radius
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.nn.outlines import Outline, hierarchy_outline, outline_of, stencil_outline
from geocnn.ops.sizes import TilingSize


class Fakes:
    """Makes fake geometry, while a mode makes tensors fake.

    `sizes` are those of the stencils' tilings, by the ids of their weights, and `bytes` is what the real
    geometry takes.
    """

    def __init__(self, fake: Callable[[Tensor], Tensor]):
        self.fake, self.bytes = fake, 0.0
        self.sizes: dict[int, TilingSize] = {}
        self._made: dict[int, Stencil] = {}

    def tensor(self, t: Tensor) -> Tensor:
        self.bytes += t.nbytes
        return self.fake(t)

    def stencil(self, outline: Outline) -> Stencil:
        """Return a stencil of the outline's size."""
        if id(outline) not in self._made:
            made = self._made[id(outline)] = outline.stencil()
            self.bytes += outline.bytes
            self.sizes[id(made.weight)] = outline.size
        return self._made[id(outline)]

    def hierarchy(
        self,
        outlines: Iterable[list[Outline | None]],
        areas: list[Tensor] | None = None,
        ptr: list[Tensor] | None = None,
    ) -> Hierarchy:
        """Return a hierarchy of the sizes of its stencils: within levels, down, up, and readings if any."""
        made = [[None if o is None else self.stencil(o) for o in own] for own in outlines]
        if areas is None or ptr is None:
            areas = [torch.empty(s.n_target, dtype=torch.float64) for s in made[0] if s is not None]
            ptr = [torch.empty(2, dtype=torch.int64) for _ in made[0]]
        within, down, up, *readings = made
        return Hierarchy(
            within,  # type: ignore[arg-type]
            down,  # type: ignore[arg-type]
            up,  # type: ignore[arg-type]
            [self.tensor(t) for t in areas],
            [self.tensor(t) for t in ptr],
            *readings,
        )


def prepared(value: Any, levels: int | None, radius: float | None, kind: Kind) -> Callable[[Fakes], Any]:
    """Return what makes the fake of a value, a surface's being that of its hierarchy or stencil.

    What takes numbers to know is found here, before tensors are fake.
    """
    if isinstance(value, Surface):
        radius = default_radius(value) if radius is None else check_radius(radius)
        if levels is None:
            outline = stencil_outline(value, value, radius, kind)
            return lambda fakes: fakes.stencil(outline)
        outlines = hierarchy_outline(value, levels, radius, kind)
        return lambda fakes: fakes.hierarchy(outlines)  # type: ignore[arg-type]
    if isinstance(value, Stencil):
        own = outline_of(value)
        return lambda fakes: fakes.stencil(own)
    if isinstance(value, Hierarchy):
        known: dict[int, Outline] = {}

        def outline_once(s: Stencil | None) -> Outline | None:
            if s is None:
                return None
            if id(s) not in known:
                known[id(s)] = outline_of(s)
            return known[id(s)]

        groups = value.stencils, value.down, value.up, value.readings
        all_of = [[outline_once(s) for s in group] for group in groups]
        return lambda fakes: fakes.hierarchy(all_of, value.areas, value.ptr)
    if isinstance(value, list | tuple):
        parts = [prepared(part, levels, radius, kind) for part in value]
        return lambda fakes: [part(fakes) for part in parts]
    if isinstance(value, Tensor):
        return lambda fakes: fakes.tensor(value)
    # grids and such are told apart by their values
    return lambda fakes: value
