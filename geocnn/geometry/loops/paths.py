"""Parallel transport along paths: of points, joined by edges or geodesics, and of places in a mesh's faces.

The element (angle, flip) of a path takes components in the gauge at its start to components in the gauge at
its end, as an entry's takes its source's to its target's. One path after another composes:

    transport(p → q → r) = transport(q → r) ∘ transport(p → q)
"""

from __future__ import annotations

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.inputs import point_ids
from geocnn.geometry.core.results import SurfacePoint
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.meshes.edges import hinge
from geocnn.geometry.meshes.face_points import ON_EDGE, check_face_points
from geocnn.geometry.meshes.surface import Mesh
from geocnn.groups.planar import Element, product, wrapped


def transport(surface: Surface, path: Tensor | SurfacePoint) -> Element:
    """Parallel transport along paths of point ids [L], or [P, L] at once, from start to end: (angle, flip),
    angle [] or [P] from −π up to π.

    Ids that follow each other are joined by an edge of `surface.connection()` (of several the first), else by
    the geodesic of log; the same id twice is no step. On a mesh the path may also be K SurfacePoints, each
    segment within one face: then the element is between the planes of the first and the last face, e₁ along
    each face's first edge.

    Raises GeometryError for ids or points that do not exist, and, naming the steps, where no geodesic or no
    common face joins two points.

    >>> import geocnn.geometry as geometry
    >>> pole, octant = geometry.icosphere(0), torch.tensor([0, 2, 3, 0])
    >>> transport(pole, octant)[0].div(torch.pi).round(decimals=6)       # a twentieth of the sphere
    tensor(0.2000, dtype=torch.float64)
    """
    if isinstance(path, SurfacePoint):
        return _across_faces(surface, path)
    path = point_ids(path, "path", surface.points.device)
    if path.ndim not in (1, 2) or path.shape[-1] == 0:
        raise GeometryError(
            f"a path is point ids [L], several are [P, L], with at least one id; got {list(path.shape)}"
        )
    surface._ids(path.reshape(-1), "path")
    angle, flip = _steps(surface, path[..., :-1].reshape(-1), path[..., 1:].reshape(-1), path.shape[-1] - 1)
    shape = (*path.shape[:-1], path.shape[-1] - 1)
    # the last step is applied last
    steps = angle.view(shape).flip(-1), None if flip is None else flip.view(shape).flip(-1)
    angle, flip = product(steps)
    return wrapped(angle), flip


def _steps(surface: Surface, start: Tensor, end: Tensor, length: int) -> Element:
    """The elements [K] of steps from start [K] to end [K], in paths of `length` steps."""
    connection = surface.connection()
    edge, forward = connection.between(start, end)
    moves = start != end
    known = moves & (edge >= 0)
    angle = surface.areas.new_zeros(len(start))
    flips = torch.zeros_like(moves)
    angle[known], flip = connection.along(edge[known], forward[known])
    has_flips = flip is not None
    flips[known] = flip if flip is not None else False
    far = (moves & (edge < 0)).nonzero()[:, 0]
    if len(far):
        l = surface.log(end[far], start[far])
        lost = far[~l.reached]
        if len(lost):
            named = ", ".join(
                f"step {k % length} of path {k // length}, {int(start[k])} to {int(end[k])}"
                for k in lost[:8].tolist()
            )
            raise GeometryError(
                f"no shortest geodesic joins {named}; give a path whose points lie closer together"
            )
        angle[far] = l.angle
        has_flips = has_flips or l.flip is not None
        flips[far] = l.flip if l.flip is not None else False
    return angle, flips if has_flips else None


def _across_faces(surface: Surface, path: SurfacePoint) -> Element:
    """The transport of a polyline between the planes of its end faces: the hinges of the edges it crosses."""
    if not isinstance(surface, Mesh):
        raise GeometryError(
            f"points in faces are points of a mesh, not of a {type(surface).__name__}; give point ids"
        )
    t = surface.triangulation
    path = check_face_points(path, len(t.faces), t.vertices)
    here, there = path.face[:-1], path.face[1:]
    h = 3 * here[:, None] + torch.arange(3, device=here.device)
    twin = t.twin[h]
    common = (twin >= 0) & (twin // 3 == there[:, None])
    # the coordinates of the corners opposite the edge, in either face
    leaves = path.barycentric[:-1].roll(1, 1) < ON_EDGE
    enters = path.barycentric[1:].gather(1, (twin.clamp_min(0) + 2) % 3) < ON_EDGE
    crosses = common & (leaves | enters)
    torn = ((here != there) & ~crosses.any(1)).nonzero()[:, 0]
    if len(torn):
        raise GeometryError(
            f"the segments after points {torn[:8].tolist()} lie in no one face: end each on the edge to the "
            "next face"
        )
    step = here != there
    over = h.gather(1, crosses.long().argmax(1, keepdim=True))[step, 0]
    # a hinge leads into the face of its half-edge
    return wrapped(-hinge(t, over).sum()), None
