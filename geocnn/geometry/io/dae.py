"""pycollada reads COLLADA, .dae: trimesh would give every corner its own vertex and merge them again."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from geocnn.errors import GeometryError
from geocnn.geometry.io.libraries import library, reading_with
from geocnn.geometry.io.pieces import joined
from geocnn.geometry.io.raw import Polygons


def read_dae(content: bytes, path: Path) -> Polygons:
    """Read all polygons where the scene places them; the face attribute `part` is an index into the names.

    pycollada reads numbers as float32. Materials, normals, uv and lines are left out.
    """
    collada = library("collada")
    with reading_with("pycollada"):
        scene = collada.Collada(BytesIO(content)).scene
        shapes = list(scene.objects("geometry")) if scene is not None else []
        pieces = [_part(k, shape) for k, shape in enumerate(shapes)]
    if not any(len(piece.counts) for piece in pieces):
        raise GeometryError("it holds no triangles; give a file of a surface")
    polygons = joined(pieces)
    polygons.parts = [str(shape.original.name or shape.original.id) for shape in shapes]
    return polygons


def _part(k: int, shape: Any) -> Polygons:
    """Read a geometry that a scene places; its lists of polygons, one per material, may share vertices."""
    vertices: list[np.ndarray] = []
    first: dict[int, int] = {}
    counts, corners, left_out = [np.empty(0, int)], [np.empty(0, int)], ["materials, normals and uv"]
    for source, placed in zip(shape.original.primitives, shape.primitives(), strict=True):
        sides = _sides(source)
        if sides is None or placed.vertex is None:
            left_out.append(f"a {type(source).__name__}")
            continue
        if id(source.vertex) not in first:
            first[id(source.vertex)] = sum(map(len, vertices))
            vertices.append(np.asarray(placed.vertex, np.float64))
        counts.append(sides)
        corners.append(np.ravel(placed.vertex_index).astype(np.int64) + first[id(source.vertex)])
    m = np.concatenate(counts)
    points = np.concatenate([np.empty((0, 3)), *vertices])
    part = {"part": np.full(len(m), k)}
    return Polygons(points, m, np.concatenate(corners), face=part, left_out=left_out)


def _sides(source: Any) -> Int[np.ndarray, " polygons"] | None:
    """Return the number of corners of each polygon of a list; None for lines."""
    if type(source).__name__ == "TriangleSet":
        return np.full(len(source.vertex_index), 3)
    return np.asarray(source.vcounts) if hasattr(source, "vcounts") else None
