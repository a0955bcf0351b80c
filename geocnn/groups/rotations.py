"""Rotations of space, SO(3), as float64 matrices; Euler angles are ZYZ, R = Rz(alpha) Ry(beta) Rz(gamma).

A rotation acts on points by p -> R p, counter-clockwise about its axis seen from the axis' tip. Conversions
use unit quaternions (w, x, y, z) = (cos(angle/2), sin(angle/2) axis), which are nowhere singular.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from geocnn.errors import GroupError


def matrix_from_zyz(
    alpha: Float[Tensor, "*#batch"], beta: Float[Tensor, "*#batch"], gamma: Float[Tensor, "*#batch"]
) -> Float64[Tensor, "*batch 3 3"]:
    """Return rotation matrices Rz(alpha) Ry(beta) Rz(gamma).

    Args:
        alpha, beta, gamma: angles in radians, any real values, which broadcast with each other.

    Source: Varshalovich et al. 1988, *Quantum Theory of Angular Momentum*, 1.4.5.

    >>> quarter, zero = torch.tensor([torch.pi / 2, 0.0], dtype=torch.float64)
    >>> matrix_from_zyz(quarter, zero, zero)[:2, 0].round().tolist()           # x goes to y
    [0.0, 1.0]
    """
    alpha, beta, gamma = torch.broadcast_tensors(*(angle.to(torch.float64) for angle in (alpha, beta, gamma)))
    half_sum, half_difference = 0.5 * (alpha + gamma), 0.5 * (alpha - gamma)
    cos, sin = torch.cos(0.5 * beta), torch.sin(0.5 * beta)
    quaternion = torch.stack(
        [
            cos * torch.cos(half_sum),
            -sin * torch.sin(half_difference),
            sin * torch.cos(half_difference),
            cos * torch.sin(half_sum),
        ],
        dim=-1,
    )
    return _matrix_from_quaternion(quaternion)


def zyz_from_matrix(
    rotation: Float[Tensor, "*batch 3 3"],
) -> tuple[Float64[Tensor, "*batch"], Float64[Tensor, "*batch"], Float64[Tensor, "*batch"]]:
    """Return Euler angles of rotation matrices, accurate for every beta.

    At beta = 0 only alpha + gamma and at beta = pi only alpha - gamma is determined; the three angles still
    reproduce the matrix.

    Returns:
        alpha, beta, gamma: radians, beta in [0, pi].

    Raises:
        GroupError: the last two dimensions are not 3 by 3, or a matrix is no rotation.

    >>> angles = torch.tensor([0.3, 1e-9, -0.1], dtype=torch.float64)
    >>> alpha, beta, gamma = zyz_from_matrix(matrix_from_zyz(*angles))
    >>> round(float(alpha + gamma), 12), float(beta)
    (0.2, 1e-09)
    """
    w, x, y, z = _quaternion_from_matrix(rotation).unbind(-1)
    half_sum, half_difference = torch.atan2(z, w), torch.atan2(-x, y)
    beta = 2.0 * torch.atan2(torch.hypot(x, y), torch.hypot(w, z))
    return half_sum + half_difference, beta, half_sum - half_difference


def matrix_from_axis_angle(
    axis: Float[Tensor, "*#batch 3"], angle: Float[Tensor, "*#batch"]
) -> Float64[Tensor, "*batch 3 3"]:
    """Return rotation matrices about `axis` by `angle`, counter-clockwise seen from the axis' tip.

    Args:
        axis: vectors of any positive length.
        angle: radians; leading dimensions broadcast with those of axis.

    Raises:
        GroupError: an axis has length zero, or the last dimension is not 3.

    >>> up = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    >>> matrix_from_axis_angle(up, torch.tensor(torch.pi)).diagonal().round(decimals=12).tolist()
    [-1.0, -1.0, 1.0]
    """
    if axis.shape[-1] != 3:
        raise GroupError(f"axis has shape {tuple(axis.shape)}; give vectors [..., 3]")
    axis = axis.to(torch.float64)
    length = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    if not bool((length > 0).all()):
        raise GroupError("an axis has length zero or is NaN; give a direction even where the angle is 0")
    half = 0.5 * angle.to(torch.float64).unsqueeze(-1)
    vector = torch.sin(half) * axis / length
    return _matrix_from_quaternion(torch.cat([torch.cos(half).expand_as(vector[..., :1]), vector], dim=-1))


def axis_angle_from_matrix(
    rotation: Float[Tensor, "*batch 3 3"],
) -> tuple[Float64[Tensor, "*batch 3"], Float64[Tensor, "*batch"]]:
    """Return axis and angle of rotation matrices, accurate for every angle.

    Returns:
        axis: unit vectors; (0, 0, 1) where the angle is exactly 0.
        angle: radians in [0, pi].

    Raises:
        GroupError: the last two dimensions are not 3 by 3, or a matrix is no rotation.

    >>> axis, angle = axis_angle_from_matrix(torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)))
    >>> axis.tolist(), round(float(angle), 6)
    ([1.0, 0.0, 0.0], 3.141593)
    """
    quaternion = _quaternion_from_matrix(rotation)
    # q and -q are the same rotation; w >= 0 makes the angle at most pi
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    w, vector = quaternion[..., 0], quaternion[..., 1:]
    length = torch.linalg.vector_norm(vector, dim=-1)
    north = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64, device=rotation.device)
    axis = torch.where(length.unsqueeze(-1) > 0, vector / length.unsqueeze(-1), north)
    return axis, 2.0 * torch.atan2(length, w)


def random_rotations(n: int, generator: torch.Generator) -> Float64[Tensor, "{n} 3 3"]:
    """Draw independent rotations from the Haar (uniform) measure of SO(3), on the generator's device.

    Source: a normal 4-vector has a uniform direction on S^3, which covers SO(3) twice (Shoemake 1992).

    >>> random_rotations(2, torch.Generator().manual_seed(0)).det().round(decimals=12).tolist()
    [1.0, 1.0]
    """
    normal = torch.randn(n, 4, dtype=torch.float64, device=generator.device, generator=generator)
    return _matrix_from_quaternion(normal / torch.linalg.vector_norm(normal, dim=-1, keepdim=True))


def _matrix_from_quaternion(quaternion: Float64[Tensor, "*batch 4"]) -> Float64[Tensor, "*batch 3 3"]:
    """Return the rotation matrices of unit quaternions."""
    w, x, y, z = quaternion.unbind(-1)
    rows = [
        w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z,
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def _quaternion_from_matrix(rotation: Tensor) -> Float64[Tensor, "*batch 4"]:
    """Return unit quaternions of matrices [..., 3, 3] by their largest component (Shepperd 1978)."""
    if rotation.shape[-2:] != (3, 3):
        raise GroupError(f"rotation has shape {tuple(rotation.shape)}; give matrices [..., 3, 3]")
    r = rotation.to(torch.float64)
    error = (r @ r.mT - torch.eye(3, dtype=r.dtype, device=r.device)).abs().amax((-2, -1))
    # 1e-3, so that products of many rotations in single precision still pass
    bad = ~(error < 1e-3) | (torch.linalg.det(r) < 0)
    if bool(bad.any()):
        raise GroupError(
            f"matrices {bad.flatten().nonzero()[:8, 0].tolist()} are no rotations; give matrices with rows "
            "of length 1 at right angles and determinant 1"
        )
    xx, yy, zz = r.diagonal(dim1=-2, dim2=-1).unbind(-1)
    wx, wy, wz = (r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1])
    xy, xz, yz = (r[..., 1, 0] + r[..., 0, 1], r[..., 0, 2] + r[..., 2, 0], r[..., 2, 1] + r[..., 1, 2])
    four_outer = [
        1 + xx + yy + zz, wx, wy, wz,
        wx, 1 + xx - yy - zz, xy, xz,
        wy, xy, 1 - xx + yy - zz, yz,
        wz, xz, yz, 1 - xx - yy + zz,
    ]  # fmt: skip
    outer = torch.stack(four_outer, dim=-1).unflatten(-1, (4, 4))
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = outer.take_along_dim(largest[..., None, None], dim=-2).squeeze(-2)
    return row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
