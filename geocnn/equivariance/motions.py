"""Motions: isometries of a surface that take its points to its points, and carry fields along.

Motions of a flat surface are slides by whole cells, mirrors and turns about the centre; those of a sphere are
the rotations that permute its grid; those of a mesh map half-edges to half-edges of the same length.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
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
    """Point i goes to target[i]; the components there are those at i, acted on by (angle, flip)."""

    target: Int64[Tensor, " n"]
    angle: Float64[Tensor, " n"]
    flip: Bool[Tensor, " n"] | None

    def carry(self, y: Float[Tensor, "*batch n d"], field_type: FieldType) -> Float[Tensor, "*batch n d"]:
        """Move a field."""
        flip = None if self.flip is None else self.flip.to(y.device)
        carried = field_type.act(y, self.angle.to(y.device), flip)
        return torch.empty_like(carried).index_copy_(-2, self.target.to(y.device), carried)


def motions(surface: Surface, group: Group) -> list[str]:
    """Return the names of the motions, other than slides, with which a model of that group should commute.

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
    """Return the motion with a name from `motions`, which the surface's coarser grids may have too."""
    if isinstance(surface, Flat):
        return _turned(surface, name)
    if isinstance(surface, Sphere):
        return _rotated(surface, _rotations(surface)[name])
    assert isinstance(surface, Mesh)
    return _mapped(surface, int(name.rsplit(" ", 1)[1]))


def _in_frames(surface: Surface, target: Int64[Tensor, " n"], g: Element) -> Motion:
    """Express a motion that acts by g between the surface's axes in its frames."""
    flipped = surface.flipped
    anchors = surface.anchor[target], None if flipped is None else flipped[target]
    return Motion(target, *compose(anchors, compose(g, inverse((surface.anchor, flipped)))))


# --------------------------------------------------------------------------------------------- flat surfaces

_TURNS = {
    "half turn": (math.pi, False),
    "quarter turn": (math.pi / 2, False),
    "mirror y": (0.0, True),
    "mirror x": (math.pi, True),
}


def _group_of(name: str) -> Group:
    angle, flip = _TURNS[name]
    # z ↦ −z̄ and z ↦ z̄ are both mirrors, but together they also generate the half turn
    return smallest_group(torch.tensor([angle], dtype=torch.float64), torch.tensor([flip]))


def turn_of(name: str, group: Group) -> int | None:
    """Return the number of the group element that acts as a flat surface's motion, None where none does.

    >>> from geocnn.groups.planar import cyclic
    >>> turn_of("quarter turn", cyclic(8)), turn_of("mirror x", cyclic(8))
    (2, None)
    """
    turn, mirrors = _TURNS[name]
    angle, flip = group.elements()
    matches = (angle - turn).abs() < 1e-9
    matches &= torch.zeros_like(matches) == mirrors if flip is None else flip == mirrors
    elements = matches.nonzero()
    return int(elements[0]) if len(elements) else None


def _turned(s: Flat, name: str) -> Motion:
    (h, w), (angle, flip) = s.shape, _TURNS[name]
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    image = {
        "half turn": (h - 1 - row, w - 1 - column),
        "quarter turn": (column, w - 1 - row),
        "mirror y": (h - 1 - row, column),
        "mirror x": (row, w - 1 - column),
    }[name]
    target = (image[0] * w + image[1]).flatten()
    flips = torch.ones_like(target, dtype=torch.bool) if flip else None
    return _in_frames(s, target, (torch.full((h * w,), angle, dtype=torch.float64), flips))


def slide(s: Flat, columns: int, rows: int) -> Motion:
    """Slide along a flat surface by whole cells; values that pass a mirrored seam come back upside down.

    Open sides are treated as if they were glued, so a field must vanish near them.
    """
    h, w = s.shape
    row, column = torch.meshgrid(torch.arange(h) + rows, torch.arange(w) + columns, indexing="ij")
    odd = (column.div(w, rounding_mode="floor") % 2 == 1) & s.mirrored
    row, column = row % h, column % w
    target = (torch.where(odd, h - 1 - row, row) * w + column).flatten()
    flip = odd.flatten() if s.mirrored else None
    return _in_frames(s, target, (torch.zeros(h * w, dtype=torch.float64), flip))


# --------------------------------------------------------------------------------------------------- spheres


def _rotations(s: Sphere) -> dict[str, Tensor]:
    """Return generators of the rotations that permute the grid: HEALPix, rings or an icosphere."""
    if isinstance(s.grid, HealpixGrid | Rings):
        z, x = torch.eye(3, dtype=torch.float64)[[2, 0]]
        rotations = {"quarter turn about z": about(z, math.pi / 2), "half turn about x": about(x, math.pi)}
        if isinstance(s.grid, Rings) and s.grid.n_lon % 4:
            del rotations["quarter turn about z"]
        return rotations
    # the coarsest points, which are the icosahedron's corners, come first
    corners = s.directions[:12]
    near = (corners @ corners[0] > 0.4).nonzero()[1:, 0]
    third = near[(corners[near] @ corners[near[0]]).sub(corners[near[0]] @ corners[0]).abs().argmin()]
    face = corners[0] + corners[near[0]] + corners[third]
    return {
        "fifth of a turn about a corner": about(corners[0], 2 * math.pi / 5),
        "third of a turn about a face": about(face / face.norm(), 2 * math.pi / 3),
    }


def about(axis: Float64[Tensor, " 3"], angle: float) -> Float64[Tensor, "3 3"]:
    """Return the rotation by an angle about a unit vector."""
    k = torch.linalg.cross(axis.expand(3, 3), torch.eye(3, dtype=torch.float64), dim=-1).mT
    return torch.linalg.matrix_exp(angle * k)


def _rotated(s: Sphere, rotation: Tensor) -> Motion:
    source, weight = s.grid.interpolate(s.points @ rotation.mT)
    target = source.gather(1, weight.argmax(1, keepdim=True))[:, 0]
    e1 = s.axes[:, 0] @ rotation.mT
    along = (s.axes[target] * e1[:, None]).sum(-1)
    return _in_frames(s, target, (torch.atan2(along[:, 1], along[:, 0]), None))


# ---------------------------------------------------------------------------------------------------- meshes


def _automorphisms(t: Triangulation) -> list[int]:
    """Return the other half-edges to which an isometry of the mesh can take half-edge 0.

    Lengths may change by 1e-9 of themselves. The mesh has no boundary.
    """
    turns = torch.stack([t.length.view(-1, 3).roll(-k, 1) for k in range(3)])
    is_like_first = ((turns - t.length[:3]).abs() < 1e-9 * t.length[:3]).all(-1)
    k, face = is_like_first.nonzero(as_tuple=True)
    image = _follow(t, 3 * face + k)
    lengths = t.length[image.clamp_min(0)]
    is_isometry = ((lengths - t.length).abs() < 1e-9 * t.length).all(1) & (image >= 0).all(1)
    is_isometry &= (t.twin[image] == image[:, t.twin]).all(1) & (image[:, 0] != 0)
    return image[is_isometry, 0].tolist()


def _follow(t: Triangulation, first: Int64[Tensor, " k"]) -> Int64[Tensor, "k h"]:
    """Return the image of every half-edge if half-edge 0 goes to each of `first`; −1 in other components."""
    h = torch.arange(len(t.twin))
    image = torch.full((len(first), len(h)), -1)
    image[:, 0] = first
    while True:
        n_known = (image[0] >= 0).sum()
        for step in (following(h), t.twin):
            after = step[h]
            new = step[image.clamp_min(0)]
            fill = torch.full_like(image, -1)
            fill[:, after] = torch.where(image >= 0, new, -1)
            image = torch.where(image < 0, fill, image)
        if (image[0] >= 0).sum() == n_known:
            return image


def _mapped(s: Mesh, first: int) -> Motion:
    t = s.triangulation
    image = _follow(t, torch.tensor([first]))[0]
    h = t.fan[t.fan_ptr[:-1]]  # one half-edge of each vertex
    return _in_frames(s, t.tail[image[h]], (t.polar[image[h]] - t.polar[h], None))
