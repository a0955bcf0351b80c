"""Outlines of stencils and hierarchies that do not exist yet: their sizes, from a sample of their targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from geocnn.geometry.core.defaults import Kind
from geocnn.geometry.core.hierarchy import resolutions
from geocnn.geometry.core.polar import Polar
from geocnn.geometry.core.sampling import disc_stencil, interpolation
from geocnn.geometry.core.shifts import shifts_of
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.ops.adjoint import MOST_ENTRIES
from geocnn.ops.sizes import FINDING, ClassSize, TilingSize, runs, size_from, tiling_size
from geocnn.ops.tiles import BLOCK

SAMPLE = 1024
"""Targets whose entries are computed, for each stencil."""

READ, WIDER = 8.4, 1.6
"""Vertices that a coarse level of a mesh reads a point from; how many more sources a disc then has."""


@dataclass(frozen=True, eq=False)
class Outline:
    """What is known of a stencil: its size and that of its tiling, its own bytes, and some of its rows."""

    like: Stencil
    flips: bool
    n_source: int
    n_target: int
    n_entries: int
    bytes: float
    size: TilingSize

    def stencil(self) -> Stencil:
        """Return a stencil of this size with arbitrary content; on fake tensors it takes no memory."""
        like, columns = self.like, ("r", "theta", "weight", "angle")
        return Stencil(
            row_ptr=torch.empty(self.n_target + 1, dtype=torch.int64),
            source=torch.empty(self.n_entries, dtype=torch.int64),
            flip=torch.empty(self.n_entries, dtype=torch.bool) if self.flips else None,
            radius=like.radius,
            n_source=self.n_source,
            group=like.group,
            samples=like.samples,
            **{name: torch.empty(self.n_entries, dtype=like.dtype) for name in columns},
        )


def outline_of(stencil: Stencil) -> Outline:
    """Return the outline of a stencil that exists."""
    size, n = tiling_size(stencil), stencil.n_target
    return Outline(stencil, False, stencil.n_source, n, stencil.n_entries, stencil_bytes(stencil), size)


def stencil_bytes(stencil: Stencil) -> float:
    """Return the bytes of a stencil's tensors, and of those that its entries are formed of."""
    if stencil.parts:
        return 8 * (stencil.n_target + 1) + sum(map(stencil_bytes, stencil.parts))
    shifts = 0 if stencil.shifts is None else 8 * (stencil.n_target + stencil.n_source)
    if isinstance(stencil.stored, Polar):
        own = sum(t.nbytes for t in stencil.stored.tensors().values())
        return own + 8 * (stencil.n_target + 1) + shifts
    return sum(t.nbytes for t in stencil.places if t is not None) + shifts


def stencil_outline(source: Surface, target: Surface, radius: float | None, kind: Kind) -> Outline:
    """Return the outline of the stencil from one surface to the points of another; without a radius that of
    the interpolation.
    """
    outline = _sampled(source, target, radius, kind)
    if radius is None or outline.size.share > MOST_ENTRIES:
        return outline
    # a disc holds the points whose discs hold its centre
    back = outline if target is source else _sampled(target, source, radius, kind)
    return replace(outline, size=replace(outline.size, back=back.size))


def _sampled(source: Surface, target: Surface, radius: float | None, kind: Kind) -> Outline:
    n = target.n_points
    shifts = shifts_of(source, None if target is source else target)
    first = torch.arange(n) if shifts is None else shifts.target.flatten(1)[:, 0]
    chosen = runs(len(first), SAMPLE)
    base = target.placed.take(first[chosen].to(target.points.device))
    group = source.group.join(target.group)
    if radius is None:
        rows = interpolation(source, base, group)
    else:
        rows = disc_stencil(source, radius, kind, None, base, "zero", group, None)
    copies, is_formed, own = n // len(first), rows.stored is not None, stencil_bytes(rows)
    entries, some = round(rows.n_entries * n / len(chosen)), rows.rows(slice(0, len(chosen)))
    size = size_from(some.row, some.source, len(chosen), source.n_points, n, copies, is_formed)
    # an exp stencil stores one target per orbit
    own *= n / len(chosen) / (copies if is_formed else 1)
    own += 8 * (n + source.n_points) if copies > 1 else 0
    return Outline(rows, some.flip is not None, source.n_points, n, entries, own, size)


def hierarchy_outline(surface: Surface, levels: int, radius: float, kind: Kind) -> list[list[Outline]]:
    """Return the outlines of a hierarchy's stencils, in its order: within levels, down, up."""
    if isinstance(surface, Mesh | OneSidedMesh):
        return _mesh_outline(surface, levels, radius, kind)
    points = resolutions(surface, levels, radius, kind)
    pairs = list(pairwise(points))
    return [
        [stencil_outline(p, p, radius * 2**i, kind) for i, p in enumerate(points)],
        [stencil_outline(p, q, radius * 2**i, kind) for i, (p, q) in enumerate(pairs)],
        [stencil_outline(q, p, None, kind) for p, q in pairs],
    ]


def _mesh_outline(surface: Surface, levels: int, radius: float, kind: Kind) -> list[list[Outline]]:
    """Return the same for a mesh, whose coarser levels take long to choose. Their discs are like those of the
    finest, but targets that follow one another are no neighbours.
    """
    finest = stencil_outline(surface, surface, radius, kind)
    rows = finest.like
    order = torch.randperm(rows.n_target, generator=torch.Generator().manual_seed(0))
    target, by_target = order[rows.target].sort(stable=True)
    alone = size_from(target, rows.source[by_target], rows.n_target, surface.n_points, rows.n_target)
    per_target, cells = rows.n_entries / rows.n_target, alone.cells / rows.n_target
    # samples of a coarse level are each read from several vertices, which an exp stencil sums
    read, wider = (READ, WIDER) if kind == "exp" else (1.0, 1.0)

    def like(n_source: int, n_target: int, u: float, entries: float, share: float) -> TilingSize:
        """Return the size for so many cells and entries per target."""
        finding = FINDING[0] * min(BLOCK, entries * n_target)
        making = max(finding, alone.making / alone.keys * u * n_target)
        tiles, n = (ClassSize(n_target, 1, math.ceil(u)),), u * n_target
        return TilingSize(tiles, 1, n_source, n_target, True, n, entries * n_target, share, making)

    def disc(n_source: int, n_target: int, level: int) -> Outline:
        many, wide = (read, wider) if level else (1.0, 1.0)
        share = alone.share * many / wide
        size = like(n_source, n_target, wide * cells, many * per_target, share)
        if share <= MOST_ENTRIES:
            fewer = n_target / n_source
            size = replace(size, back=like(n_target, n_source, fewer * cells, fewer * per_target, share))
        own = finest.bytes / finest.n_entries * size.entries
        return Outline(rows, finest.flips, n_source, n_target, round(size.entries), own, size)

    def reading(n_source: int, n_target: int) -> Outline:
        size = like(n_source, n_target, 1.25 * READ, READ, 1.0)
        own = finest.bytes / finest.n_entries * size.entries
        return Outline(rows, finest.flips, n_source, n_target, round(size.entries), own, size)

    points = [surface.n_points // 4**i for i in range(levels)]
    pairs = list(pairwise(points))
    return [
        [finest, *(disc(n, n, i + 1) for i, n in enumerate(points[1:]))],
        [disc(p, q, i) for i, (p, q) in enumerate(pairs)],
        [reading(q, p) for p, q in pairs],
    ]
