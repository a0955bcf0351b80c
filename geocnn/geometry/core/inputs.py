"""What callers give, as tensors or arrays or lists: read in one way, refused in words."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.groups.planar import Group, exact_rotations


def real_numbers(values: ArrayLike | Tensor, name: str, like: Tensor) -> Tensor:
    """Numbers, as a tensor, an array or lists, on the device of `like`; those of lists in float64. Raises
    GeometryError where they are none.
    """
    own = isinstance(values, Tensor | np.ndarray)
    try:
        numbers = torch.as_tensor(values, dtype=None if own else torch.float64, device=like.device)
    except (TypeError, ValueError, RuntimeError) as no_numbers:
        raise GeometryError(f"{name} must be real numbers: {no_numbers}") from None
    if numbers.is_complex():
        raise GeometryError(f"{name} must be real numbers, got {numbers.dtype}; give two components each")
    return numbers


def base_vectors(vectors: ArrayLike | Tensor, n: int, like: Tensor) -> Tensor:
    """Vectors [n, 2] in the dtype of `like`. Raises GeometryError for another shape or an infinite length."""
    read = real_numbers(vectors, "vectors", like).to(like)
    if read.shape != (n, 2):
        raise GeometryError(
            f"one vector of 2 components per base point is required, got {list(read.shape)} for {n} points"
        )
    bad = (~read.norm(dim=-1).isfinite()).nonzero()[:, 0]
    if len(bad):
        raise GeometryError(
            f"vectors {bad[:8].tolist()} have no finite length; drop them or set them to zero"
        )
    return read


def point_ids(ids: ArrayLike | Tensor, name: str, device: torch.device) -> Tensor:
    """Ids as a tensor, an array or lists: int64, of at least one axis. Raises GeometryError for others."""
    try:
        found = torch.as_tensor(ids, device=device)
    except (TypeError, ValueError, RuntimeError) as no_numbers:
        raise GeometryError(f"{name} must be point ids, whole numbers: {no_numbers}") from None
    if found.numel() == 0 and not isinstance(ids, Tensor):
        found = found.long()
    if found.dtype == torch.bool or found.is_floating_point() or found.is_complex():
        raise GeometryError(
            f"{name} must be point ids, whole numbers (int64), got {found.dtype}; of a mask give "
            "mask.nonzero()[:, 0]"
        )
    if found.ndim == 0:
        raise GeometryError(
            f"{name} must be a list of point ids, got the number {found.item()}: write [{found.item()}]"
        )
    return found.long()


def read_gauge(
    points: str, n: int, alpha: ArrayLike | Tensor, flip: ArrayLike | Tensor | None, like: Tensor
) -> tuple[Tensor, Tensor | None, Group]:
    """Angles [n] in the dtype of `like`, flips [n] or None, and the smallest group that holds them.

    Raises GeometryError unless there are n angles, all finite, and, if any, n flips.
    """
    angle = real_numbers(alpha, "alpha", like)
    flip = None if flip is None else torch.as_tensor(flip, dtype=torch.bool, device=like.device)
    if angle.shape != (n,) or (flip is not None and flip.shape != (n,)):
        got = f"{list(angle.shape)} angles" + ("" if flip is None else f" and {list(flip.shape)} flips")
        raise GeometryError(f"one angle (and one flip) per {points} point is required, {n} in all, got {got}")
    bad = (~angle.isfinite()).nonzero()[:, 0]
    if len(bad):
        raise GeometryError(
            f"the angles of {points} points {bad[:8].tolist()} are not finite; give 0 where nothing turns"
        )
    exact, group = exact_rotations(angle, flip)
    return exact.to(like), flip, group
