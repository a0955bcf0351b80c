"""Motions: isometries of a surface that take its points to its points, and carry fields along.

Those of a flat surface are slides by whole cells, mirrors and turns about the centre; of a sphere the
rotations that permute its grid; of a mesh the maps of half-edges to half-edges of the same length.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry.core.half_edges import following
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.flat.rectangles import Flat
from geocnn.geometry.meshes.surface import Mesh
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.geometry.spheres.rings import Rings
from geocnn.geometry.spheres.surfaces import HealpixGrid, Sphere
from geocnn.groups.field_type import FieldType
from geocnn.groups.planar import Element, Group, compose, inverse, smallest_group


class Motion(NamedTuple):
    """Point i goes to target[i] [N]; components there are (angle, flip) [N] acting on those at i."""

    target: Tensor
    angle: Tensor
    flip: Tensor | None

    def carry(self, y: Tensor, field_type: FieldType) -> Tensor:
        """A field y [..., N, D] moved."""
        flip = None if self.flip is None else self.flip.to(y.device)
        carried = field_type.act(y, self.angle.to(y.device), flip)
        return torch.empty_like(carried).index_copy_(-2, self.target.to(y.device), carried)


def motions(surface: Surface, group: Group) -> list[str]:
    """The names of its motions that a model of that structure group should commute with, slides apart.

    >>> from geocnn.geometry import torus
    >>> from geocnn.groups import SO2
    >>> motions(torus((4, 4)), SO2)
    ['half turn', 'quarter turn']
    """
    if isinstance(surface, Flat):
        square = surface.shape[0] == surface.shape[1] and surface.glued[0] == surface.glued[1]
        names = [name for name in _TURNS if name != "quarter turn" or (square and not surface.mirrored)]
        return [name for name in names if group.contains(_group_of(name))]
    if isinstance(surface, Sphere):
        return list(_rotations(surface))
    if (
        isinstance(surface, Mesh)
        and surface.reading is None
        and not bool(surface.triangulation.boundary.any())
    ):
        return [f"half-edge 0 to {h}" for h in _automorphisms(surface.triangulation)[:4]]
    return []


def motion(surface: Surface, name: str) -> Motion:
    """The motion of that name, which `motions` gives; also of the surface's coarser grids."""
    if isinstance(surface, Flat):
        return _turned(surface, name)
    if isinstance(surface, Sphere):
        return _rotated(surface, _rotations(surface)[name])
    assert isinstance(surface, Mesh)
    return _mapped(surface, int(name.rsplit(" ", 1)[1]))


def _seen(surface: Surface, target: Tensor, g: Element) -> Motion:
    """The motion that acts by g between the axes, as it acts between the frames."""
    flipped = surface.flipped
    there = surface.anchor[target], None if flipped is None else flipped[target]
    return Motion(target, *compose(there, compose(g, inverse((surface.anchor, flipped)))))


# --------------------------------------------------------------------------------------------- flat surfaces

_TURNS = {
    "half turn": (math.pi, False),
    "quarter turn": (math.pi / 2, False),
    "mirror y": (0.0, True),
    "mirror x": (math.pi, True),
}


def _group_of(name: str) -> Group:
    angle, flip = _TURNS[name]
    # z ↦ −z̄ and z ↦ z̄ are both mirrors, but together they make the half turn too
    return smallest_group(torch.tensor([angle], dtype=torch.float64), torch.tensor([flip]))


def turn_of(name: str, group: Group) -> int | None:
    """The element of a finite group that a flat surface's motion is, None where it is none.

    >>> from geocnn.groups.planar import cyclic
    >>> turn_of("quarter turn", cyclic(8)), turn_of("mirror x", cyclic(8))
    (2, None)
    """
    wanted, mirrors = _TURNS[name]
    angle, flip = group.elements()
    same = (angle - wanted).abs() < 1e-9
    same &= torch.zeros_like(same) == mirrors if flip is None else flip == mirrors
    found = same.nonzero()
    return int(found[0]) if len(found) else None


def _turned(s: Flat, name: str) -> Motion:
    (h, w), (angle, flip) = s.shape, _TURNS[name]
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    to = {
        "half turn": (h - 1 - row, w - 1 - column),
        "quarter turn": (column, w - 1 - row),
        "mirror y": (h - 1 - row, column),
        "mirror x": (row, w - 1 - column),
    }[name]
    target = (to[0] * w + to[1]).flatten()
    flips = torch.ones_like(target, dtype=torch.bool) if flip else None
    return _seen(s, target, (torch.full((h * w,), angle, dtype=torch.float64), flips))


def slide(s: Flat, columns: int, rows: int) -> Motion:
    """Along a flat surface by whole cells; what passes a mirrored seam comes back upside down.

    Sides that are open are treated as if they were glued: nothing may reach them.
    """
    h, w = s.shape
    row, column = torch.meshgrid(torch.arange(h) + rows, torch.arange(w) + columns, indexing="ij")
    odd = (column.div(w, rounding_mode="floor") % 2 == 1) & s.mirrored
    row, column = row % h, column % w
    target = (torch.where(odd, h - 1 - row, row) * w + column).flatten()
    flip = odd.flatten() if s.mirrored else None
    return _seen(s, target, (torch.zeros(h * w, dtype=torch.float64), flip))


# --------------------------------------------------------------------------------------------------- spheres


def _rotations(s: Sphere) -> dict[str, Tensor]:
    """Rotations that permute the grid: those that generate others, of HEALPix, rings or the icosahedron."""
    if isinstance(s.grid, HealpixGrid | Rings):
        z, x = torch.eye(3, dtype=torch.float64)[[2, 0]]
        found = {"quarter turn about z": about(z, math.pi / 2), "half turn about x": about(x, math.pi)}
        if isinstance(s.grid, Rings) and s.grid.n_lon % 4:
            del found["quarter turn about z"]
        return found
    # the coarsest points come first: the icosahedron's corners
    corners = s.points[:12]
    near = (corners @ corners[0] > 0.4).nonzero()[1:, 0]
    next_to = near[(corners[near] @ corners[near[0]]).sub(corners[near[0]] @ corners[0]).abs().argmin()]
    face = corners[0] + corners[near[0]] + corners[next_to]
    return {
        "fifth of a turn about a corner": about(corners[0], 2 * math.pi / 5),
        "third of a turn about a face": about(face / face.norm(), 2 * math.pi / 3),
    }


def about(axis: Tensor, angle: float) -> Tensor:
    """The rotation [3, 3] by an angle about a unit vector."""
    k = torch.linalg.cross(axis.expand(3, 3), torch.eye(3, dtype=torch.float64), dim=-1).mT
    return torch.linalg.matrix_exp(angle * k)


def _rotated(s: Sphere, rotation: Tensor) -> Motion:
    source, weight = s.grid.interpolate(s.points @ rotation.mT)
    target = source.gather(1, weight.argmax(1, keepdim=True))[:, 0]
    e1, there = s.axes[:, 0] @ rotation.mT, s.axes[target]
    along = (there * e1[:, None]).sum(-1)
    return _seen(s, target, (torch.atan2(along[:, 1], along[:, 0]), None))


# ---------------------------------------------------------------------------------------------------- meshes


def _automorphisms(t: Triangulation) -> list[int]:
    """The half-edges, other than itself, that half-edge 0 may go to so that the whole mesh follows and keeps
    its lengths, to 1e-9 of them. Of a mesh without boundary.
    """
    turns = torch.stack([t.length.view(-1, 3).roll(-k, 1) for k in range(3)])
    same = ((turns - t.length[:3]).abs() < 1e-9 * t.length[:3]).all(-1)
    k, face = same.nonzero(as_tuple=True)
    image = _follow(t, 3 * face + k)
    lengths = t.length[image.clamp_min(0)]
    kept = ((lengths - t.length).abs() < 1e-9 * t.length).all(1) & (image >= 0).all(1)
    kept &= (t.twin[image] == image[:, t.twin]).all(1) & (image[:, 0] != 0)
    return image[kept, 0].tolist()


def _follow(t: Triangulation, first: Tensor) -> Tensor:
    """Where every half-edge goes if half-edge 0 goes to each of first [C], [C, H]; −1 in other components."""
    h = torch.arange(len(t.twin))
    image = torch.full((len(first), len(h)), -1)
    image[:, 0] = first
    while True:
        known = (image[0] >= 0).sum()
        for step in (following(h), t.twin):
            come = step[h]
            new = step[image.clamp_min(0)]
            fill = torch.full_like(image, -1)
            fill[:, come] = torch.where(image >= 0, new, -1)
            image = torch.where(image < 0, fill, image)
        if (image[0] >= 0).sum() == known:
            return image


def _mapped(s: Mesh, first: int) -> Motion:
    t = s.triangulation
    image = _follow(t, torch.tensor([first]))[0]
    h = t.fan[t.fan_ptr[:-1]]  # one half-edge of each vertex
    to = image[h]
    return _seen(s, t.tail[to], (t.polar[to] - t.polar[h], None))
