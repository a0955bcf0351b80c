"""Values on a mesh become the colours of its file, which MeshLab and ParaView show as they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.io import MeshObject, RawMesh, raw_mesh
from geocnn.geometry.io.raw import Attributes
from geocnn.viz.fields import Field, read_field


def painted(mesh: MeshObject, field: str | Field | Tensor | ArrayLike) -> RawMesh:
    """Return a mesh, to be written, with the colours of a field as its attributes `red`, `green`, `blue`.

    These bytes are the colours of `field` pictures: a colour map for numbers and for sizes of vectors, the
    label colours for labels, grey where there is no value. Numbers of vertices are also the attribute
    `quality` (float32), by which MeshLab colours with limits of one's own. Other attributes stay.

    Args:
        mesh: what `raw_mesh` takes.
        field: the name of an attribute of vertices or faces, or values of them, one row each.

    Raises:
        GeometryError: there is no such attribute, values have another number of rows, or they are no field.

    >>> from geocnn.geometry import raw_mesh
    >>> raw = raw_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> painted(raw, [0.0, 0.5, 1.0]).vertex_attributes["red"].tolist()
    [68, 33, 253]
    """
    raw = raw_mesh(mesh)
    name = field if isinstance(field, str) else "values"
    if isinstance(field, str):
        attributes = raw.face_attributes | raw.vertex_attributes
        if field not in attributes:
            raise GeometryError(
                f"the mesh has no '{field}'; it has {', '.join(attributes) or 'no attributes'}"
            )
        field = attributes[field]
    read = read_field(field, name)
    n, m = len(raw.vertices), len(raw.faces)
    if len(read.levels) not in (n, m):
        raise GeometryError(
            f"{name} has {len(read.levels)} rows; one per vertex ({n}) or per face ({m}) is required"
        )
    shades = (255 * read.colours(read.levels)).round().numpy().astype(np.uint8)
    colours: Attributes = dict(zip(("red", "green", "blue"), shades.T, strict=True))
    if len(read.levels) != n:
        return raw.with_attributes(face=colours)
    if read.missing == 0:
        colours["quality"] = read.levels.float().numpy()
    return raw.with_attributes(colours)
