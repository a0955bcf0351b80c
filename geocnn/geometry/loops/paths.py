"""Parallel transport along paths, through points joined by edges or geodesics, or through the faces of a
mesh.

The element (angle, flip) of a path takes components in the gauge at its start to components in the gauge at
its end. An entry of a stencil does the same from source to target. Paths that follow each other compose:

    transport(p → q → r) = transport(q → r) ∘ transport(p → q)
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.inputs import point_ids
from geocnn.geometry.core.results import SurfacePoint
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.meshes.edges import hinge
from geocnn.geometry.meshes.face_points import ON_EDGE, check_face_points
from geocnn.geometry.meshes.surface import Mesh
from geocnn.groups.planar import Element, product, wrapped
from geocnn.lasting import one_thread


@one_thread()
def transport(surface: Surface, path: Tensor | SurfacePoint) -> Element:
    """Transport along paths of point ids [L], or [P, L] for several paths of one length, from start to end.

    Return (angle, flip), angle [] or [P] in radians, from −π up to π. Consecutive ids are joined by an edge
    of `surface.connection()`, of several by the first, or else by the geodesic of log; the same id twice is
    no step. On a mesh the path may also be K SurfacePoints, with each segment inside one face. Then the
    element is between the planes of the first and the last face, each with e₁ along its first edge.

    Raises GeometryError for ids or points that do not exist, and for points that no geodesic or no common
    face joins; it names the steps.

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
            f"give a path as point ids [L], several as [P, L], with at least one id; got {list(path.shape)}"
        )
    surface._ids(path.reshape(-1), "path")
    angle, flip = _steps(surface, path[..., :-1].reshape(-1), path[..., 1:].reshape(-1), path.shape[-1] - 1)
    shape = (*path.shape[:-1], path.shape[-1] - 1)
    # the last step is applied last
    steps = angle.view(shape).flip(-1), None if flip is None else flip.view(shape).flip(-1)
    angle, flip = product(steps)
    return wrapped(angle), flip


def _steps(surface: Surface, start: Int64[Tensor, " k"], end: Int64[Tensor, " k"], length: int) -> Element:
    """Return the elements of single steps; messages count them in paths of `length` steps."""
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
            steps = ", ".join(
                f"step {k % length} of path {k // length}, {int(start[k])} to {int(end[k])}"
                for k in lost[:8].tolist()
            )
            raise GeometryError(
                f"no shortest geodesic joins {steps}; give a path whose points lie closer together"
            )
        angle[far] = l.angle
        has_flips = has_flips or l.flip is not None
        flips[far] = l.flip if l.flip is not None else False
    return angle, flips if has_flips else None


def _across_faces(surface: Surface, path: SurfacePoint) -> Element:
    """Transport along a polyline between the planes of its end faces: the sum of the hinges of the edges that
    it crosses.
    """
    if not isinstance(surface, Mesh):
        raise GeometryError(
            f"a path through faces needs a mesh, got a {type(surface).__name__}; give point ids"
        )
    t = surface.triangulation
    path = check_face_points(path, len(t.faces), t.vertices)
    here, there = path.face[:-1], path.face[1:]
    h = 3 * here[:, None] + torch.arange(3, device=here.device)
    twin = t.twin[h]
    common = (twin >= 0) & (twin // 3 == there[:, None])
    # on the common edge, the coordinate of the opposite corner vanishes in either face
    leaves = path.barycentric[:-1].roll(1, 1) < ON_EDGE
    enters = path.barycentric[1:].gather(1, (twin.clamp_min(0) + 2) % 3) < ON_EDGE
    crosses = common & (leaves | enters)
    torn = ((here != there) & ~crosses.any(1)).nonzero()[:, 0]
    if len(torn):
        raise GeometryError(
            f"the segments after points {torn[:8].tolist()} lie in no single face: end each on the edge to "
            "the next face"
        )
    step = here != there
    over = h.gather(1, crosses.long().argmax(1, keepdim=True))[step, 0]
    # a hinge leads into the face of its half-edge
    return wrapped(-hinge(t, over).sum()), None
