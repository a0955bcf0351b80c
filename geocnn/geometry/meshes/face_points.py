"""Points inside the faces of a mesh: that they lie there, and where in the plane of their face."""

from __future__ import annotations

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.results import SurfacePoint
from geocnn.geometry.meshes.triangulation import Triangulation

ON_EDGE = 1e-6
"""The barycentric coordinate below which a point of a face counts as on the edge opposite: float32 has seven
digits.
"""


def check_face_points(points: SurfacePoint, n_faces: int, like: Tensor) -> SurfacePoint:
    """The points as tensors on the device of `like`, float64, rounding below 0 or off the sum 1 removed.

    Raises GeometryError unless the faces are among the first n_faces and each point lies in its own.
    """
    try:
        face = torch.as_tensor(points.face, device=like.device)
        barycentric = torch.as_tensor(points.barycentric, device=like.device)
    except (TypeError, ValueError, RuntimeError) as no_numbers:
        raise GeometryError(f"points in faces are face [K] and barycentric [K, 3]: {no_numbers}") from None
    sizes = face.ndim == 1 and barycentric.shape == (len(face), 3)
    if not sizes or face.dtype != torch.int64 or barycentric.is_complex():
        raise GeometryError(
            "points in faces are face [K] int64 and barycentric [K, 3], real; got "
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


def in_plane(t: Triangulation, points: SurfacePoint) -> Tensor:
    """The points' places [K] (complex) in the planes of their faces."""
    return (points.barycentric * t.place.view(-1, 3)[points.face]).sum(1)
