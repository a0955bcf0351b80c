"""The symmetries: each is a function that makes trials from a setup, or none where it does not apply."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from geocnn.equivariance.errors import reanchored
from geocnn.equivariance.fields import noise, random_spectrum, rotated, shifted, smooth
from geocnn.equivariance.grids import Where, remeshed, sizes, stencils, transform_grid, turn_between
from geocnn.equivariance.motions import Motion, motion, motions, slide, turn_of
from geocnn.equivariance.trials import Act, Setup, Trial
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.stencil import Stencil, gauge_change
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.flat.rectangles import Flat
from geocnn.geometry.meshes.build import mesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep
from geocnn.groups.planar import TRIVIAL, Group, dihedral
from geocnn.groups.rotations import random_rotations
from geocnn.nn.planar.group_conv import moved
from geocnn.ops.gather import transported_mean

# --------------------------------------------------------------- frames, numbers and anchors: of any surface


def gauge(s: Setup) -> list[Trial]:
    """Turn every point's frame at random, and mirror it where the group mirrors."""
    if not isinstance(s.where, Stencil | Hierarchy) or s.in_type.group == TRIVIAL:
        return []
    turns = {n: s.in_type.group.sample(n, s.random(n)) for n in sizes(s.where)}
    x = noise(s.surface.n_points, s.in_type, s.seed)

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        return None if t is None else t.act(y, *gauge_change(*turns[y.shape[-2]]))

    def in_new_frames(stencil: Stencil) -> Stencil:
        return stencil.turn_frames(*turns[stencil.n_source], *turns[stencil.n_target])

    return [_trial(x, s.where, _on(turns, act), _each(s.where, in_new_frames), s.in_type)]


def relabelling(s: Setup) -> list[Trial]:
    """Number the points of every level anew at random."""
    if not isinstance(s.where, Stencil | Hierarchy):
        return []
    order = {n: torch.randperm(n, generator=s.random(n)) for n in sizes(s.where)}
    x = noise(s.surface.n_points, s.in_type, s.seed)

    def act(y: Tensor, t: FieldType | None) -> Tensor:
        return y[..., order[y.shape[-2]].to(y.device), :]

    renumbered = _each(s.where, lambda st: _renumbered(st, order[st.n_source], order[st.n_target]))
    if isinstance(renumbered, Hierarchy):
        renumbered = replace(renumbered, areas=[a[order[len(a)]] for a in renumbered.areas])
    return [_trial(x, s.where, _on(order, act), renumbered, s.in_type)]


def _renumbered(s: Stencil, sources: Int64[Tensor, " n"], targets: Int64[Tensor, " k"]) -> Stencil:
    """Return a stencil whose target i is old target targets[i], and source j old source sources[j]."""
    counts = s.row_ptr.diff()[targets]
    row_ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    inner = torch.arange(s.n_entries) - row_ptr[:-1].repeat_interleave(counts)
    e = s.row_ptr[:-1][targets].repeat_interleave(counts) + inner
    own = {name: getattr(s, name)[e] for name in ("r", "theta", "weight", "angle")}
    flip = None if s.flip is None else s.flip[e]
    return replace(s, row_ptr=row_ptr, source=sources.argsort()[s.source[e]], flip=flip, **own)


def anchor(s: Setup) -> list[Trial]:
    """Turn every sampling grid at random; the frames stay."""
    if s.build is None or not isinstance(s.where, Stencil | Hierarchy):
        return []
    if all(st.samples is None for st in stencils(s.where)) or not s.has_smooth or isinstance(s.surface, Mesh):
        return []
    turned_grids = s.build(reanchored(s.surface, s.random()))
    return [_trial(s.field(), s.where, lambda y, t: y, turned_grids, s.in_type)]


# ------------------------------------------------------------------------------------------------ isometries


def isometry(s: Setup) -> list[Trial]:
    """Rotate, turn and mirror so that points go to points, for models whose group contains the motion."""
    if isinstance(s.surface, Mesh) and len(s.levels) > 1:
        return []  # the farthest points of a symmetric mesh are not symmetric
    coarser = [motions(level, s.in_type.group) for level in s.levels[1:]]
    names = [n for n in motions(s.surface, s.in_type.group) if all(n in others for others in coarser)]
    if s.is_picture:
        return [_moved_picture(s, name) for name in names]
    return [_moved(s, {level.n_points: motion(level, name) for level in s.levels}) for name in names]


def _moved(s: Setup, moves: dict[int, Motion]) -> Trial:
    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        return None if t is None else moves[y.shape[-2]].carry(y, t)

    return _trial(s.field(), s.where, _on(moves, act), s.where, s.in_type)


def _moved_picture(s: Setup, name: str) -> Trial:
    """If the input is scalars, pictures [B, C, h, w] of unknown type are too, and those of shape
    [B, C, |G|, h, w] are regular fields.
    """
    assert isinstance(s.surface, Flat)
    shape, move, scalars = s.surface.shape, motion(s.surface, name), _only_scalars(s.in_type)
    groups: dict[int, Group] = {}

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        if y.ndim < 4:
            return y
        if t is not None and tuple(y.shape[-2:]) == shape and y.shape[-3] == t.dim:
            return move.carry(y.flatten(-2).mT, t).mT.unflatten(-1, shape)
        if not scalars:
            return None
        group = dihedral(4) if y.ndim == 4 else groups.get(y.shape[-3])
        element = None if group is None else turn_of(name, group)
        return None if group is None or element is None else moved(y, group, element, fibre=y.ndim > 4)

    trial = _trial(as_picture(s, s.field()), None, act, None, s.in_type)
    return replace(trial, groups=groups)


def _only_scalars(t: FieldType) -> bool:
    return all(irrep in (Irrep(0), Irrep(0, "e")) for irrep in t.irreps)


def rotation(s: Setup) -> list[Trial]:
    """Rotate the sphere at random, exactly in the spectrum; on rings, in their own frames."""
    grids = {level.n_points: transform_grid(level) for level in s.levels}
    grid = grids[s.surface.n_points]
    if grid is None:
        return []
    r = random_rotations(1, s.random())[0]
    degree = max(1, round(2 * torch.pi / s.wavelength))
    x, moved_x = random_spectrum(grid, s.in_type, degree, r, s.seed)

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        there = grids[y.shape[-2]]
        return None if t is None or there is None else rotated(y, t, r, there)

    return [Trial(x, s.where, moved_x, s.where, _on(set(grids), act))]


def rigid_motion(s: Setup) -> list[Trial]:
    """Turn and move a mesh in space, and compute its geometry again."""
    if not isinstance(s.surface, Mesh) or s.build is None:
        return []
    r = random_rotations(1, s.random())[0]
    offset = s.surface.points.new_tensor([0.3, -0.7, 0.2]) * s.surface.points.std()
    new = mesh(s.surface.triangulation.vertices @ r.mT + offset, s.surface.faces)
    assert isinstance(new, Mesh)
    moved_setup = replace(s, surface=new)
    turn = {a.n_points: _same_vertices(a, b) for a, b in zip(s.levels, moved_setup.levels, strict=True)}
    return [_trial(s.field(), s.where, _turning(turn), moved_setup.where, s.in_type)]


def _same_vertices(a: Surface, b: Surface) -> Tensor | None:
    """Return how components turn from one mesh's points to the same points of a moved copy; None where the
    levels have different vertices.
    """
    assert isinstance(a, Mesh) and isinstance(b, Mesh)
    if not torch.equal(a.vertex, b.vertex):
        return None
    h = a.triangulation.fan[a.triangulation.fan_ptr[:-1]][a.vertex]
    turn = b.triangulation.polar[h] - a.triangulation.polar[h]
    return turn + b.anchor - a.anchor


def _turning(turn: dict[int, Tensor | None]) -> Act:
    """Return the action that turns components by one angle per point; fields on other points are unknown."""

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        angle = turn[y.shape[-2]]
        return None if t is None or angle is None else t.act(y[..., : len(angle), :], angle.to(y.device))

    return _on(turn, act)


# ---------------------------------------------------------------------------------------------------- shifts

SHIFTS = ((1, 0), (-3, 1))
"""Shifts by columns and rows; both numbers are odd, so that a stride along either axis shows."""


def shift(s: Setup) -> list[Trial]:
    """Shift a flat surface by whole cells; where a side is glued mirrored, by cells of the coarsest grid."""
    if not isinstance(s.surface, Flat):
        return []
    if s.is_picture:
        return [_slid_picture(s, by) for by in SHIFTS]
    if s.surface.mirrored:
        step = 2 ** (len(s.levels) - 1)
        return [_slid_mirrored(s, step), _slid_mirrored(s, 3 * step)]
    return [_slid(s, by) for by in SHIFTS]


def subpixel_shift(s: Setup) -> list[Trial]:
    """Shift along the glued sides of a flat surface by parts of a cell, a phase in the Fourier transform."""
    flat = s.surface
    if not isinstance(flat, Flat) or flat.mirrored or not any(flat.glued) or bool(flat.anchor.any()):
        return []
    by = (0.5 * flat.glued[0], 0.3 * flat.glued[1])
    return [_slid_picture(s, by) if s.is_picture else _slid(s, by)]


def _slid_mirrored(s: Setup, columns: int) -> Trial:
    moves, step = {}, s.surface.spacing
    for level in s.levels:
        assert isinstance(level, Flat)
        moves[level.n_points] = slide(level, round(columns * step / level.step), 0)
    return _moved(s, moves)


def _slid(s: Setup, by: tuple[float, float]) -> Trial:
    """Shift by cells of the finest grid; all frames are parallel, so components do not change."""
    assert isinstance(s.surface, Flat)
    glued, step = s.surface.glued, s.surface.step
    grids = {level.n_points: level for level in s.levels}

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        level = grids[y.shape[-2]]
        assert isinstance(level, Flat)
        cells = by[0] * step / level.step, by[1] * step / level.step
        return shifted(y.mT.unflatten(-1, level.shape), cells, glued).flatten(-2).mT

    return _trial(s.field(), s.where, _on(grids, act), s.where, s.in_type)


def _slid_picture(s: Setup, by: tuple[float, float]) -> Trial:
    assert isinstance(s.surface, Flat)
    glued, strides = s.surface.glued, {s.surface.shape: (1.0, 1.0)}

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        if y.ndim < 4:
            return y
        span = strides.get((y.shape[-2], y.shape[-1]))
        return None if span is None else shifted(y, (by[0] / span[1], by[1] / span[0]), glued)

    whole = all(float(b).is_integer() for b in by)
    window = smooth(s.surface, FieldType("1x0"), s.wavelength, s.seed) != 0
    x = noise(s.surface.n_points, s.in_type, s.seed) * window
    x = x if whole else smooth(s.surface, s.in_type, s.wavelength, s.seed)
    return _trial(as_picture(s, x), None, act, None, s.in_type, strides)


# ----------------------------------------------------------------------------------- other grids of the same


def refinement(s: Setup) -> list[Trial]:
    """Compare the answer on the finer grid, interpolated to the points of this one, with the answer here."""
    if s.build is None or not s.has_smooth:
        return []
    fine = s.finer
    if isinstance(s.surface, Mesh):
        assert isinstance(fine.surface, Mesh)
        turn: dict[int, Tensor | None] = {level.n_points: None for level in fine.levels}
        turn[fine.surface.n_points] = -turn_between(s.surface, fine.surface)
        return [_trial(fine.field(), fine.where, _turning(turn), s.where, s.in_type)]
    read = {a.n_points: a.interpolation(b) for a, b in zip(fine.levels, s.levels, strict=True)}

    def act(y: Tensor, t: FieldType | None) -> Tensor | None:
        if t is None:
            return None
        reading = read[y.shape[-2]].to(y.device, y.dtype)
        flat = transported_mean(y.reshape(-1, *y.shape[-2:]), reading, t)
        return flat.reshape(*y.shape[:-2], reading.n_target, t.dim)

    return [Trial(fine.field(), fine.where, s.field(), s.where, _on(read, act))]


def remeshing(s: Setup) -> list[Trial]:
    """Compare the answers on two triangulations of the same mesh, both twice as fine."""
    if s.build is None or not isinstance(s.surface, Mesh) or s.surface.reading is not None:
        return []
    one, two = (replace(s, surface=m) for m in remeshed(s.surface, s.seed))
    assert isinstance(one.surface, Mesh) and isinstance(two.surface, Mesh)
    turn: dict[int, Tensor | None] = {level.n_points: None for level in one.levels}
    turn[one.surface.n_points] = turn_between(one.surface, two.surface)
    return [_trial(one.field(), one.where, _turning(turn), two.where, s.in_type)]


def _on(sizes: Collection[int], act: Act) -> Act:
    """Restrict an action to fields [..., N, C] with N among the sizes.

    A tensor without an axis of points stays. How one with points along another axis moves, as [B, C, N] or
    [B, N, N], is unknown.
    """

    def act_on_points(y: Tensor, t: FieldType | None) -> Tensor | None:
        if y.ndim < 2:
            return y
        others = [n for n in (*y.shape[1:-2], *y.shape[-1:]) if n in sizes]
        if y.shape[-2] in sizes:
            return None if t is None and y.shape[-2] in others else act(y, t)
        return None if others and y.ndim > 2 else y

    return act_on_points


def _trial(
    x: Tensor,
    where: Where | None,
    act: Act,
    moved_where: Where | None,
    in_type: FieldType,
    strides: dict[tuple[int, int], tuple[float, float]] | None = None,
) -> Trial:
    moved_x = act(x, in_type)
    assert moved_x is not None
    return Trial(x, where, moved_x, moved_where, act, strides)


def as_picture(s: Setup, x: Float[Tensor, "1 n d"]) -> Float[Tensor, "1 d h w"]:
    """Return a field as a picture."""
    assert isinstance(s.surface, Flat)
    return x.mT.unflatten(-1, s.surface.shape)


def _each(where: Stencil | Hierarchy, change: Callable[[Stencil], Stencil]) -> Stencil | Hierarchy:
    """Change every stencil."""
    if isinstance(where, Stencil):
        return change(where)
    return replace(
        where,
        stencils=[change(s) for s in where.stencils],
        down=[change(s) for s in where.down],
        up=[change(s) for s in where.up],
        readings=[None if r is None else change(r) for r in where.readings],
    )


class Symmetry(NamedTuple):
    """A function that makes trials, the meaning in words, and the least order of discretisation errors.

    Errors must fall with at least that order as the grid is refined. It is None where the grid causes no
    error: a grid does not depend on frames and numbers, except that rounding picks the points of a mesh's
    coarser levels where distances tie.
    """

    trials: Callable[[Setup], list[Trial]]
    meaning: str
    least_order: float | None


MOVED = 0.75
"""Errors of an interpolation fall with order 1 or more, those along an edge, in the mean square, with order
1/2; the error of a broken symmetry does not fall."""

COMPARED = 0.3
"""The errors of two grids may cancel, and then their difference falls late; along an edge it falls with order
1/2."""

SYMMETRIES: dict[str, Symmetry] = {
    "gauge": Symmetry(gauge, "frames turned at random", None),
    "relabelling": Symmetry(relabelling, "points numbered anew", None),
    "anchor": Symmetry(anchor, "sampling grids turned at random", MOVED),
    "isometry": Symmetry(isometry, "motions that take points to points", MOVED),
    "rotation": Symmetry(rotation, "the sphere turned by any angle", MOVED),
    "rigid motion": Symmetry(rigid_motion, "moved in space, geometry computed again", MOVED),
    "shift": Symmetry(shift, "shifted by whole cells", MOVED),
    "sub-pixel shift": Symmetry(subpixel_shift, "shifted by parts of a cell", MOVED),
    "refinement": Symmetry(refinement, "the answer compared on a grid twice as fine", COMPARED),
    "remeshing": Symmetry(remeshing, "the answer compared on other triangles", COMPARED),
}
