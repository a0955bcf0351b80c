"""What is no surface is refused, by the doctor's verdict, with the repairs that mend it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.doctor.defects import fatal_defects
from geocnn.geometry.doctor.repairs import plan
from geocnn.geometry.io import RawMesh
from geocnn.geometry.io.raw import listed

CUT = 'repair(raw_mesh(vertices, faces), ["triangulate"]) cuts polygons into triangles'


def check_triangles(vertices: ArrayLike | Tensor, faces: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
    """Copies of vertices and faces that are known to form a 2-manifold, perhaps with boundary, wound alike.

    Several components, boundaries and isolated vertices are fine. A component with one side only, like a
    Möbius band, cannot be wound alike and may be wound in any way. Nothing is repaired.

    Args:
        vertices: [N, 3] numbers: a tensor, an array or nested lists; any length unit.
        faces: [F, 3] whole numbers: the vertex ids of each triangle's corners.

    Returns:
        vertices [N, 3] float64 and faces [F, 3] int64, detached, on the device of `vertices`.

    Raises:
        GeometryError: wrong shape or type, or a defect that forbids a surface (those of `diagnose` that are
            fatal). It names the elements and all repairs that are needed.

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
    """Raises GeometryError for a mesh that is no surface, with all repairs that it needs: as a call on
    `given`, what it is in the caller's words, and as a command where it is what the file `path` holds.
    """
    found = fatal_defects(raw)
    if not found:
        return
    what = found[0].what
    if len(found) > 1:
        what += f" (and {', '.join(defect.kind for defect in found[1:])})"
    if path is not None:
        what = f"{path}: {what}"
    # repairs are made where files are read, on the CPU
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
    """The command that mends a file.

    >>> mending("scans/hand.obj", ["split", "orient"])
    'geocnn inspect scans/hand.obj --repair scans/hand.mended.ply --fix split --fix orient'
    """
    path = Path(path)
    words = ["geocnn", "inspect", str(path), "--repair", str(path.with_name(f"{path.stem}.mended.ply"))]
    return shlex.join([*words, *(word for name in repairs for word in ("--fix", name))])


def _numbers(values: ArrayLike | Tensor, name: str, expected: str) -> Tensor:
    """A detached copy as a tensor of real numbers."""
    if isinstance(values, Tensor):
        if values.is_complex() or values.dtype == torch.bool or values.layout != torch.strided:
            raise GeometryError(f"{name} must be {expected}, got a tensor of {values.dtype}, {values.layout}")
        return values.detach().clone()
    try:
        array = np.array(values)
    except (ValueError, TypeError) as ragged:  # of different lengths
        raise GeometryError(
            f"{name} must be {expected}; got rows of different lengths, or no numbers"
            + (f"; {CUT}" if name == "faces" else "")
        ) from ragged
    if array.dtype.kind not in "iuf":
        raise GeometryError(f"{name} must be {expected}, got {array.dtype} of shape {list(array.shape)}")
    return torch.from_numpy(array.astype(np.float64 if array.dtype.kind == "f" else np.int64))


def _whole(f: Tensor) -> Tensor:
    if f.is_floating_point():
        broken = ((f != f.round()) | ~f.isfinite()).any(1)
        if broken.any():
            raise GeometryError(
                f"faces with vertex ids that are no whole numbers: {listed(broken)}; give integers"
            )
    return f.to(torch.int64)
