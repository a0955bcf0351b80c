"""The verdict refuses a mesh that is not a surface, and names the repairs that mend it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64, Real
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.doctor.defects import fatal_defects
from geocnn.geometry.doctor.repairs import plan
from geocnn.geometry.io import RawMesh
from geocnn.geometry.io.raw import listed

CUT = 'repair(raw_mesh(vertices, faces), ["triangulate"]) cuts polygons into triangles'


def check_triangles(
    vertices: ArrayLike | Tensor, faces: ArrayLike | Tensor
) -> tuple[Float64[Tensor, "n 3"], Int64[Tensor, "f 3"]]:
    """Return copies of vertices and faces, checked to form a surface: a 2-manifold, wound alike.

    Several components, boundaries and isolated vertices are allowed. A component with only one side, like a
    Möbius band, cannot be wound alike and may be wound in any way. Nothing is repaired.

    Args:
        vertices: [N, 3] numbers: a tensor, an array or nested lists; any length unit.
        faces: [F, 3] whole numbers: the vertex ids of each triangle's corners.

    Returns:
        Vertices and faces, detached, on the device of `vertices`.

    Raises:
        GeometryError: The shape or type is wrong, or a defect forbids a surface (one that `diagnose` calls
            fatal). The message names the elements and all repairs that are needed.

    >>> square = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    >>> check_triangles(square, [[0, 1, 2], [0, 2, 3]])[1].dtype
    torch.int64
    >>> check_triangles(square, [[0, 1, 2], [2, 3, 4]])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    geocnn.errors.GeometryError: 1 face: ids of vertices that do not exist (1); mend it by ...
    """
    v = _numbers(vertices, "vertices", "[N, 3] coordinates")
    f = _numbers(faces, "faces", "[F, 3] vertex ids").to(v.device)
    if f.numel() == 0:
        raise GeometryError("there are no faces: a surface needs at least one triangle, faces [F, 3]")
    if v.ndim != 2 or v.shape[1] != 3:
        raise GeometryError(f"vertices are [N, 3] coordinates, got {list(v.shape)}")
    if f.ndim != 2 or f.shape[1] != 3:
        raise GeometryError(f"faces are [F, 3] vertex ids, got {list(f.shape)}; {CUT}")
    v, f = v.to(torch.float64), _whole(f)
    every = torch.arange(len(f), device=f.device)
    check_surface(RawMesh(v, f, every, every[:0]), "raw_mesh(vertices, faces)")
    return v, f


def check_surface(raw: RawMesh, given: str = "raw", path: str | Path | None = None) -> None:
    """Raise GeometryError for a mesh that is not a surface, with all repairs that it needs.

    The message gives them as a call on `given`, the caller's expression for the mesh, and, where the mesh
    comes from the file `path`, as a command.
    """
    defects = fatal_defects(raw)
    if not defects:
        return
    what = defects[0].what
    if len(defects) > 1:
        what += f" (and {', '.join(defect.kind for defect in defects[1:])})"
    if path is not None:
        what = f"{path}: {what}"
    # repairs work on the CPU, as readers do
    here = RawMesh(raw.vertices.cpu(), raw.faces.cpu(), raw.face_map.cpu(), raw.skipped.cpu())
    repairs, left = plan(here)
    if left:
        raise GeometryError(f"{what}; no repair makes a surface of it: {left[0].what}; {left[0].remedy}")
    names = ", ".join(f'"{name}"' for name in repairs)
    call = f"repair({given}, [{names}])"
    if path is not None:
        call = f"{mending(path, repairs)}, or in Python by {call}"
    raise GeometryError(f"{what}; mend it by {call}")


def mending(path: str | Path, repairs: Sequence[str]) -> str:
    """Return the command that mends a file.

    >>> mending("scans/hand.obj", ["split", "orient"])
    'geocnn inspect scans/hand.obj --repair scans/hand.mended.ply --fix split --fix orient'
    """
    path = Path(path)
    words = ["geocnn", "inspect", str(path), "--repair", str(path.with_name(f"{path.stem}.mended.ply"))]
    return shlex.join([*words, *(word for name in repairs for word in ("--fix", name))])


def _numbers(values: ArrayLike | Tensor, name: str, expected: str) -> Real[Tensor, "*shape"]:
    """Return a detached copy as a tensor of real numbers."""
    if isinstance(values, Tensor):
        if values.is_complex() or values.dtype == torch.bool or values.layout != torch.strided:
            raise GeometryError(f"{name} must be {expected}, got a tensor of {values.dtype}, {values.layout}")
        return values.detach().clone()
    try:
        array = np.array(values)
    except (ValueError, TypeError) as error:
        raise GeometryError(
            f"{name} must be {expected}; got rows of different lengths, or no numbers"
            + (f"; {CUT}" if name == "faces" else "")
        ) from error
    if array.dtype.kind not in "iuf":
        raise GeometryError(f"{name} must be {expected}, got {array.dtype} of shape {list(array.shape)}")
    return torch.from_numpy(array.astype(np.float64 if array.dtype.kind == "f" else np.int64))


def _whole(f: Real[Tensor, "f 3"]) -> Int64[Tensor, "f 3"]:
    if f.is_floating_point():
        broken = ((f != f.round()) | ~f.isfinite()).any(1)
        if broken.any():
            raise GeometryError(
                f"faces have vertex ids that are not whole numbers: {listed(broken)}; give integers"
            )
    return f.to(torch.int64)
