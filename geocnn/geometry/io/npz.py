"""An .npz archive holds `vertices` and `faces` (or `v` and `f`), and attributes under any other name."""

from __future__ import annotations

import math
from io import BytesIO
from tokenize import TokenError
from typing import IO
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.lib import format as npy

from geocnn.geometry.io.libraries import refuse_bomb
from geocnn.geometry.io.raw import Attributes, Polygons, RawMesh, damaged, place_by_rows

PLACES = ("vertex", "face", "corner")

BROKEN = (
    *(ValueError, TypeError, KeyError, SyntaxError, TokenError, OverflowError),
    *(OSError, EOFError, RuntimeError, NotImplementedError, BadZipFile, ZlibError),
)
"""What numpy, which reads headers as Python, and zipfile raise for damaged files."""


def read_npz(content: bytes) -> Polygons:
    """Read arrays; those named vertex_…, face_… and corner_… are attributes, as are others of N or F rows."""
    stored = arrays_of(content)
    arrays = {name: array for name, array in stored.items() if isinstance(array, np.ndarray)}
    left_out = [f"array {name} of {dtype}" for name, dtype in stored.items() if isinstance(dtype, np.dtype)]
    names = ("vertices", "faces") if "vertices" in stored else ("v", "f")
    v, f = (arrays.pop(name, None) for name in names)
    if v is None or f is None:
        present = ", ".join(stored) or "none"
        raise damaged(f"it needs arrays vertices and faces (or v and f) of numbers, it has {present}")
    if v.ndim != 2 or v.shape[1] != 3 or f.ndim != 2 or {v.dtype.kind, f.dtype.kind} - set("iuf"):
        raise damaged(f"vertices are numbers [N, 3] and faces [F, 3], got {list(v.shape)}, {list(f.shape)}")
    polygons = Polygons(v.astype(np.float64), np.full(len(f), f.shape[1]), f.ravel())
    polygons.left_out = left_out
    for name, values in arrays.items():
        _place(polygons, name, values, f.shape)
    return polygons


def npz_bytes(raw: RawMesh) -> bytes:
    """Return the archive; it holds every attribute."""
    arrays = {"vertices": raw.vertices.numpy(), "faces": raw.faces.numpy()}
    attributes = (raw.vertex_attributes, raw.face_attributes, raw.corner_attributes)
    for place, values in zip(PLACES, attributes, strict=True):
        arrays |= {f"{place}_{name}": array for name, array in values.items()}
    return archive_bytes(arrays)


def archive_bytes(arrays: Attributes) -> bytes:
    """Return an archive of the arrays."""
    stream = BytesIO()
    # np.savez takes names as keywords, but an attribute may be called file
    with ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                npy.write_array(member, np.asarray(array), allow_pickle=False)
    return stream.getvalue()


def arrays_of(content: bytes) -> dict[str, np.ndarray | np.dtype]:
    """Return the arrays of numbers in an archive by name, or their dtype where they hold anything else."""
    try:
        with ZipFile(BytesIO(content)) as archive:
            refuse_bomb(len(content), sum(part.file_size for part in archive.infolist()))
            stored: dict[str, np.ndarray | np.dtype] = {}
            for part in archive.infolist():
                with archive.open(part) as stream:
                    stored[part.filename.removesuffix(".npy")] = plain_array(
                        stream, part.file_size, part.filename
                    )
            return stored
    except BROKEN as broken:
        raise damaged(f"not an archive of plain arrays ({broken})") from broken


def plain_array(stream: IO[bytes], available: int, name: str) -> np.ndarray | np.dtype:
    """Read an array of numbers, or the dtype of anything else; allocate memory only for existing bytes.

    Raises what `BROKEN` lists where the stream holds no whole array.
    """
    version = npy.read_magic(stream)
    header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"{name} is written in version {version}")
    shape, in_columns, dtype = header(stream)
    if dtype.kind not in "iufb":
        return dtype
    size = math.prod(shape) * dtype.itemsize
    if size > available:
        raise ValueError(f"{name} is shorter than its shape {shape}")
    content = stream.read(size)
    if len(content) < size:
        raise ValueError(f"{name} is shorter than its shape {shape}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if in_columns else "C").copy()


def _place(polygons: Polygons, name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    n, (m, k) = len(polygons.vertices), shape
    place, _, rest = name.partition("_")
    rows = len(values) if values.ndim else -1
    if place == "corner" and values.ndim == 3 and values.shape[:2] == (m, k):
        polygons.corner[rest] = values.reshape(m * k, values.shape[2])
    elif place in PLACES and rest and rows == {"vertex": n, "face": m}.get(place):
        getattr(polygons, place)[rest] = values
    else:
        place_by_rows(polygons, name, values)
