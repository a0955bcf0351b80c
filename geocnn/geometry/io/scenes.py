"""trimesh reads scenes of several parts, .glb .gltf .3mf."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np

from geocnn.errors import GeometryError
from geocnn.geometry.io.libraries import library, reading_with, refuse_bomb
from geocnn.geometry.io.pieces import joined
from geocnn.geometry.io.raw import Attributes, Polygons

SCENES = (".glb", ".gltf", ".3mf")


def read_scene(content: bytes, path: Path) -> Polygons:
    """Read all parts where the scene places them, as one mesh; the face attribute `part` numbers them.

    No vertex is merged or dropped. Colours, texture coordinates and numbers of vertices are attributes where
    all parts have them; materials, normals, points and lines are left out.
    """
    trimesh = library("trimesh")
    with reading_with("trimesh"):
        if is_zipfile(BytesIO(content)):
            refuse_bomb(
                len(content), sum(member.file_size for member in ZipFile(BytesIO(content)).infolist())
            )
        scene = trimesh.load_scene(str(path), file_type=path.suffix[1:].lower(), process=False)
        order = list(scene.geometry)
        shapes = sorted(scene.dump(), key=lambda g: (order.index(g.metadata["name"]), g.metadata["node"]))
        parts = [shape for shape in shapes if isinstance(shape, trimesh.Trimesh)]
        pieces = [_part(k, shape) for k, shape in enumerate(parts)]
    if not pieces:
        raise GeometryError("it holds no triangles; give a file of a surface")
    polygons = joined(pieces)
    polygons.parts = [str(shape.metadata["node"]) for shape in parts]
    kinds = {type(shape).__name__ for shape in shapes} - {"Trimesh"}
    polygons.left_out += [f"parts that are a {kind}" for kind in sorted(kinds)]
    return polygons


def _part(k: int, shape: Any) -> Polygons:
    polygons = trimesh_polygons(shape)
    polygons.face = {"part": np.full(len(polygons.counts), k)} | polygons.face
    return polygons


def trimesh_polygons(shape: Any) -> Polygons:
    """Return a mesh of trimesh with its attributes, colours and texture coordinates."""
    faces = np.asarray(shape.faces)
    vertex = {name.lstrip("_") or name: np.asarray(a) for name, a in shape.vertex_attributes.items()}
    face: Attributes = {name: np.asarray(a) for name, a in shape.face_attributes.items()}
    polygons = Polygons(np.asarray(shape.vertices, np.float64), np.full(len(faces), 3), faces.ravel())
    visual = shape.visual
    if visual.kind == "vertex":
        vertex["colour"] = np.asarray(visual.vertex_colors)
    elif visual.kind == "face":
        face["colour"] = np.asarray(visual.face_colors)
    elif visual.kind == "texture":
        vertex |= {"uv": np.asarray(visual.uv)} if visual.uv is not None else {}
        polygons.left_out.append("materials")
    polygons.vertex = {name: a for name, a in vertex.items() if len(a) == len(shape.vertices)}
    polygons.face = {name: a for name, a in face.items() if len(a) == len(faces)}
    return polygons
