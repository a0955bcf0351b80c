"""Points inside the faces of a mesh: check that they lie there, and find their place in the face's plane."""

from __future__ import annotations

import torch
from jaxtyping import Complex128
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.results import SurfacePoint
from geocnn.geometry.meshes.triangulation import Triangulation

ON_EDGE = 1e-6
"""A point of a face counts as on an edge if its barycentric coordinate for the opposite corner is below this:
float32 has seven digits.
"""


def check_face_points(points: SurfacePoint, n_faces: int, like: Tensor) -> SurfacePoint:
    """Return the points as float64 tensors on the device of `like`, with coordinates ≥ 0 that sum to 1.

    Raises GeometryError if a face is not among the first n_faces, or a point lies outside its face.
    """
    try:
        face = torch.as_tensor(points.face, device=like.device)
        barycentric = torch.as_tensor(points.barycentric, device=like.device)
    except (TypeError, ValueError, RuntimeError) as no_numbers:
        raise GeometryError(
            f"give points in faces as face [K] and barycentric [K, 3]: {no_numbers}"
        ) from None
    sizes = face.ndim == 1 and barycentric.shape == (len(face), 3)
    if not sizes or face.dtype != torch.int64 or barycentric.is_complex():
        raise GeometryError(
            "give points in faces as face [K] int64 and barycentric [K, 3], real; got "
            f"{list(face.shape)} {face.dtype} and {list(barycentric.shape)} {barycentric.dtype}"
        )
    barycentric = barycentric.to(like)
    wrong = face[(face < 0) | (face >= n_faces)]
    if len(wrong):
        raise GeometryError(f"faces outside 0..{n_faces - 1}: {wrong[:8].tolist()}")
    outside = ~((barycentric > -ON_EDGE).all(1) & ((barycentric.sum(1) - 1).abs() < ON_EDGE))
    if bool(outside.any()):
        raise GeometryError(
            f"points {outside.nonzero()[:8, 0].tolist()} lie outside their faces: barycentric coordinates "
            "are not negative and sum to 1"
        )
    inside = barycentric.clamp_min(0)
    return SurfacePoint(face, inside / inside.sum(1, keepdim=True))


def in_plane(t: Triangulation, points: SurfacePoint) -> Complex128[Tensor, " k"]:
    """Return the places of points in the planes of their faces, as complex numbers."""
    return (points.barycentric * t.place.view(-1, 3)[points.face]).sum(1)
