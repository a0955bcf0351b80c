"""Values of points are read from files beside meshes, from properties of mesh files, from rows of arrays."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from geocnn.data.folders.field_tables import is_field_table, read_field_table
from geocnn.data.folders.files import is_mesh
from geocnn.data.folders.found import Source
from geocnn.errors import DatasetError, GeometryError
from geocnn.geometry.io import read_mesh, read_vertex_values
from geocnn.geometry.io.raw import RawMesh

MOST_CLASSES = 1000
"""Whole numbers with more different values than this are numbers, not labels."""


class Values(NamedTuple):
    """Values [rows, …] of vertices or faces, and the names of labels by number where the file has some."""

    array: np.ndarray
    names: dict[int, str]


Arrays = dict[tuple[Path, str | None], np.ndarray]


def read_values(
    source: Source, raw: RawMesh | None = None, opened: Arrays | None = None, n: int = 0
) -> Values:
    """Read the values at a source.

    `raw` is the mesh where it was read already and the source is a property. `opened` holds arrays of several
    samples, so that an archive is unpacked once for all of them. `n` is the number of points, by
    which tables of fields are read.

    Raises DatasetError where there is no such array or property, or several and none is named; and
    GeometryError where the file cannot be read.
    """
    if source.row is not None:
        opened = {} if opened is None else opened
        if source[:2] not in opened:
            table = is_field_table(source.path)
            opened[source[:2]] = (
                read_field_table(source.path, n)[1] if table else array_of(source.path, source.name)
            )
        return Values(np.asarray(opened[source[:2]][source.row]), {})
    if is_property(source):
        raw = read_mesh(source.path) if raw is None else raw
        properties = raw.vertex_attributes | raw.face_attributes
        # .ply files hold a vector as columns NAME_0, NAME_1, …
        columns = [f"{source.name}_{k}" for k in range(len(properties)) if f"{source.name}_{k}" in properties]
        if source.name not in properties and columns:
            return Values(np.stack([properties[name] for name in columns], 1), {})
        if source.name not in properties:
            raise DatasetError(
                f"{source.path} has no property '{source.name}', only {', '.join(properties) or 'none'}"
            )
        return Values(properties[source.name], {})
    try:
        values = read_vertex_values(source.path)
    except GeometryError as error:
        if source.path.suffix.lower() not in (".txt", ".csv"):
            raise
        remark = "values of points are numbers, and their classes whole numbers"
        raise DatasetError(f"{error} ({remark})") from error
    if source.name is not None and source.name in values.values:
        return Values(values.values[source.name], values.names)
    if len(values.values) != 1:
        raise DatasetError(
            f"{source.path} has several columns, {', '.join(values.values)}; keep the one that is meant"
        )
    return Values(next(iter(values.values.values())), values.names)


def is_property(source: Source) -> bool:
    """Return whether a source is a property of a mesh file."""
    return source.name is not None and is_mesh(source.path)


def holds_classes(values: Values) -> bool:
    """Return whether values are labels: named ones, or whole numbers of few different values.

    >>> holds_classes(Values(np.array([0, 3, 3]), {})), holds_classes(Values(np.array([0.5, 3.0]), {}))
    (True, False)
    """
    array = values.array
    if values.names:
        return True
    if array.dtype.kind in "SUb":
        return True
    if array.ndim > 1 and array.shape[1:] != (1,):
        return False
    if array.dtype.kind not in "iu" and not bool(np.all(array == np.round(array))):
        return False
    return len(np.unique(array)) <= MOST_CLASSES


def array_of(path: Path, name: str | None) -> np.ndarray:
    """Return an array of a .npy file, mapped into memory, or one of a .npz file by name.

    Raises DatasetError where it is damaged or holds objects.
    """
    try:
        stored = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored
        with stored:
            return stored[name if name is not None else stored.files[0]]
    except (ValueError, OSError, EOFError, KeyError, IndexError) as error:
        raise DatasetError(f"{path} is no plain NumPy file ({error}); save it without objects") from error
