"""A RawMesh holds the content of a file unchanged, whether or not it is a surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float64, Int64, Real, Shaped
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.wording import counted

Attributes = dict[str, np.ndarray]
"""Values by name, as numpy arrays, for files hold types of numbers that torch cannot compute with."""

LARGEST_ID = 2.0**53
"""Text is read as float64, which does not distinguish all whole numbers beyond this."""


@dataclass(frozen=True, eq=False)
class RawMesh:
    """Triangles that may be defective: `diagnose` describes, `repair` mends, `mesh` takes sound ones.

    `faces` have the winding of the file; their ids may name no vertex. `face_map` says which of the file's
    faces each triangle came from; `skipped` lists those with fewer than three corners. Attributes are [N, …]
    of vertices, [F, …] of triangles, [F, 3, k] of corners. `left_out` names what else the file has. `parts`
    are the names of a scene's parts; the face attribute `part` is an index into them.
    """

    vertices: Float64[Tensor, "n 3"]
    faces: Int64[Tensor, "f 3"]
    face_map: Int64[Tensor, " f"]
    skipped: Int64[Tensor, " k"]
    vertex_attributes: Attributes = field(default_factory=dict)
    face_attributes: Attributes = field(default_factory=dict)
    corner_attributes: Attributes = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        names = [*self.vertex_attributes, *self.face_attributes, *self.corner_attributes]
        attributes = f", with {', '.join(names)}" if names else ""
        size = f"{counted(len(self.vertices), 'vertex')}, {counted(len(self.faces), 'triangle')}"
        return f"RawMesh({size}{attributes})"

    def with_attributes(
        self,
        vertex: Mapping[str, ArrayLike | Tensor] | None = None,
        face: Mapping[str, ArrayLike | Tensor] | None = None,
    ) -> RawMesh:
        """Return the mesh with further attributes of vertices [N, …] and of triangles [F, …], to be written.

        An attribute that it has is replaced. Raises GeometryError for another number of rows and for what is
        no number.

        >>> raw = RawMesh(torch.eye(3).double(), torch.tensor([[0, 1, 2]]), torch.arange(1), torch.arange(0))
        >>> raw.with_attributes({"heat": [0.1, 0.2, 0.3]}, {"part": [4]})
        RawMesh(3 vertices, 1 triangle, with heat, part)
        """
        return replace(
            self,
            vertex_attributes=self.vertex_attributes | _rows(vertex, len(self.vertices), "vertex"),
            face_attributes=self.face_attributes | _rows(face, len(self.faces), "triangle"),
        )


@dataclass
class Polygons:
    """The result of a reader, in the file's order: vertices, the number of corners of each face, all corners,
    and attributes of vertices, faces and corners.

    `left_out` names what else is in the file, `unknown` what its format does not define.
    """

    vertices: Real[np.ndarray, "n 3"]
    counts: Int64[np.ndarray, " f"]
    corners: Real[np.ndarray, " corners"]
    vertex: Attributes = field(default_factory=dict)
    face: Attributes = field(default_factory=dict)
    corner: Attributes = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)


def _rows(attributes: Mapping[str, ArrayLike | Tensor] | None, n: int, what: str) -> Attributes:
    arrays = {name: as_array(f"attribute '{name}'", values) for name, values in (attributes or {}).items()}
    for name, values in arrays.items():
        if not values.ndim or len(values) != n:
            shape = list(values.shape)
            raise GeometryError(
                f"one row per {what} is required, {n} in all; attribute '{name}' has shape {shape}"
            )
    return {name: owned(values.copy()) for name, values in arrays.items()}


def triangulated(polygons: Polygons) -> RawMesh:
    """Cut polygons into the fans of their first corners; drop those of fewer than three corners.

    Raises GeometryError for corners that are not whole numbers.
    """
    counts, corners = polygons.counts, polygons.corners
    whole = np.isfinite(corners) & (np.abs(corners) < LARGEST_ID) & (corners == np.floor(corners))
    polygon = np.repeat(np.arange(len(counts)), counts)
    if not whole.all():
        broken = np.bincount(polygon[~whole], minlength=len(counts)) > 0
        raise damaged(f"faces (counted from 0) with vertex ids that are no whole numbers: {listed(broken)}")
    pieces = np.maximum(counts - 2, 0)
    face_map = np.repeat(np.arange(len(counts)), pieces)
    step = np.arange(len(face_map)) - np.repeat(pieces.cumsum() - pieces, pieces)
    first = (counts.cumsum() - counts)[face_map]
    at = np.stack([first, first + step + 1, first + step + 2], 1)
    return RawMesh(
        torch.from_numpy(owned(polygons.vertices)),
        torch.from_numpy(corners.astype(np.int64)[at].reshape(-1, 3)),
        torch.from_numpy(face_map),
        torch.from_numpy((counts < 3).nonzero()[0]),
        {name: owned(values) for name, values in polygons.vertex.items()},
        {name: owned(values[face_map]) for name, values in polygons.face.items()},
        {name: owned(values[at]) for name, values in polygons.corner.items()},
        (*polygons.left_out, *polygons.unknown),
        tuple(polygons.parts),
    )


def triangle_faces(
    n: int, counts: Int64[np.ndarray, " f"], corners: Real[np.ndarray, " corners"]
) -> Int64[np.ndarray, "f 3"]:
    """Return faces from a list of corners; raise GeometryError for polygons and ids of none of n vertices.

    Messages count faces from 0, as vertices.
    """
    if (counts != 3).any():
        raise GeometryError(
            f"faces that have not three corners: {listed(counts != 3)}; only triangles are read: triangulate "
            "the mesh where it was made, or with geocnn inspect FILE --repair NEW --fix triangulate"
        )
    faces = corners.reshape(-1, 3)
    lost = ~((faces >= 0) & (faces < n) & (faces == np.floor(faces))).all(1)
    if lost.any():
        raise GeometryError(
            f"faces (counted from 0) with ids of none of the {n} vertices: {listed(lost)}; correct the file"
        )
    return faces.astype(np.int64)


def place_by_rows(polygons: Polygons, name: str, values: np.ndarray) -> None:
    """Store an array as an attribute of vertices if it has one row per vertex, else of faces, else not."""
    rows = len(values) if values.ndim else -1
    if rows == len(polygons.vertices):
        attributes = polygons.vertex
    elif rows == len(polygons.counts):
        attributes = polygons.face
    else:
        polygons.left_out.append(f"array {name} {list(values.shape)}")
        return
    while name in attributes:
        name += "_"
    attributes[name] = values


def damaged(what: str, line: int | None = None) -> GeometryError:
    """Return the error for a file that cannot be read; `line` counts from 1."""
    where = "" if line is None else f"line {line}: "
    return GeometryError(
        f"{where}{what}; it is truncated, damaged or in another format: write the file again"
    )


def owned(values: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Convert values for torch: this machine's byte order, contiguous, writable, at most 64 bits."""
    dtype = values.dtype.newbyteorder("=")
    dtype = np.dtype(np.float64) if dtype.kind == "f" and dtype.itemsize > 8 else dtype
    values = np.ascontiguousarray(values, dtype)
    return values if values.flags.writeable else values.copy()


def listed(where: np.ndarray | Tensor) -> str:
    """List the first eight of some ids, or of the places that a mask marks; edges as (a, b)."""
    ids = np.asarray(where)
    ids = ids.nonzero()[0] if ids.dtype == bool else ids
    shown = [str(tuple(i) if isinstance(i, list) else i) for i in ids[:8].tolist()]
    return ", ".join(shown) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")


def as_array(name: str, values: ArrayLike | Tensor) -> np.ndarray:
    """Return numbers of any kind as an array; raise GeometryError for anything else."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        array = np.asarray(values)
    except ValueError as ragged:
        raise GeometryError(f"{name} has rows of different lengths; give an array of numbers") from ragged
    if array.dtype.kind not in "iufb":
        raise GeometryError(f"{name} must be numbers, got {array.dtype}")
    return array
