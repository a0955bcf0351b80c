"""Arguments that callers give as tensors, arrays or lists are read here, or refused with a reason."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.groups.planar import Group, exact_rotations


def real_numbers(values: ArrayLike | Tensor, name: str, like: Tensor) -> Tensor:
    """Return numbers as a tensor on the device of `like`; those of lists become float64.

    Raises GeometryError for anything but real numbers.
    """
    has_dtype = isinstance(values, Tensor | np.ndarray)
    try:
        numbers = torch.as_tensor(values, dtype=None if has_dtype else torch.float64, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GeometryError(f"{name} must be real numbers: {error}") from None
    if numbers.is_complex():
        raise GeometryError(f"{name} must be real numbers, got {numbers.dtype}; give two components each")
    return numbers


def point_ids(ids: ArrayLike | Tensor, name: str, device: torch.device) -> Int64[Tensor, "*k"]:
    """Return ids as an int64 tensor of at least one axis. Raises GeometryError for anything else."""
    try:
        numbers = torch.as_tensor(ids, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GeometryError(f"{name} must be point ids, whole numbers: {error}") from None
    if numbers.numel() == 0 and not isinstance(ids, Tensor):
        numbers = numbers.long()
    if numbers.dtype == torch.bool or numbers.is_floating_point() or numbers.is_complex():
        raise GeometryError(
            f"{name} must be point ids, whole numbers (int64), got {numbers.dtype}; for a mask give "
            "mask.nonzero()[:, 0]"
        )
    if numbers.ndim == 0:
        raise GeometryError(
            f"{name} must be a list of point ids, got the number {numbers.item()}: write [{numbers.item()}]"
        )
    return numbers.long()


def ids_below(n: int, ids: ArrayLike | Tensor, name: str, device: torch.device) -> Int64[Tensor, " k"]:
    """Return a list of point ids, all in 0..n − 1. Raises GeometryError for anything else."""
    numbers = point_ids(ids, name, device)
    if numbers.ndim != 1:
        raise GeometryError(f"{name} must be a list of point ids, one axis, got shape {list(numbers.shape)}")
    wrong = numbers[(numbers < 0) | (numbers >= n)]
    if len(wrong):
        raise GeometryError(f"{name} has ids outside 0..{n - 1}: {wrong[:8].tolist()}")
    return numbers


def base_vectors(
    vectors: ArrayLike | Tensor, n: int, like: Float64[Tensor, "points d"]
) -> Float64[Tensor, "{n} 2"]:
    """Return n tangent vectors in the dtype of `like`, on its device.

    Raises GeometryError for another shape, and for vectors without a finite length.
    """
    numbers = real_numbers(vectors, "vectors", like).to(like)
    if numbers.shape != (n, 2):
        raise GeometryError(
            f"one vector of 2 components per base point is required, got {list(numbers.shape)} for {n} points"
        )
    bad = (~numbers.norm(dim=-1).isfinite()).nonzero()[:, 0]
    if len(bad):
        raise GeometryError(
            f"vectors {bad[:8].tolist()} have no finite length; drop them or set them to zero"
        )
    return numbers


def read_gauge(
    points: str, n: int, alpha: ArrayLike | Tensor, flip: ArrayLike | Tensor | None, like: Tensor
) -> tuple[Float[Tensor, " {n}"], Bool[Tensor, " {n}"] | None, Group]:
    """Return angles in the dtype of `like`, flips or None, and the smallest group that holds them.

    `points` names the points in messages. Raises GeometryError unless there are n finite angles, and n flips
    or none.
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


def check_double(value: object, *names: str) -> None:
    """Raise GeometryError unless the tensors of these names are float64."""
    for name in names:
        dtype = getattr(value, name).dtype
        if dtype != torch.float64:
            raise GeometryError(
                f"geometry is computed in float64, but {name} of this {type(value).__name__} are {dtype}; "
                f"give {name}.double()"
            )
