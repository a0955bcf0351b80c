"""Read and write values of vertices in files beside their mesh; the end of a file's name says its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.io.freesurfer import annot_bytes, freesurfer_values, is_overlay, overlay_bytes
from geocnn.geometry.io.gifti import gifti_value_bytes, gifti_values
from geocnn.geometry.io.npz import archive_bytes
from geocnn.geometry.io.opening import content_of, naming, unpacked_name, write_whole
from geocnn.geometry.io.raw import Attributes, as_array, owned
from geocnn.geometry.io.tables import (
    ALONE,
    csv_bytes,
    npy_bytes,
    read_csv,
    read_npy,
    read_npz_values,
    read_txt,
    txt_bytes,
)
from geocnn.geometry.io.values import Colours, VertexValues, as_colour, numbered

TABLES: dict[str, tuple[Callable[[bytes], Attributes], Callable[[Attributes], bytes]]] = {
    ".csv": (read_csv, csv_bytes),
    ".txt": (read_txt, txt_bytes),
    ".npy": (read_npy, npy_bytes),
    ".npz": (read_npz_values, archive_bytes),
}
"""Reader and writer of each format that needs no library."""

WHAT = (
    "values, one row per vertex: .csv .txt .npy .npz, .gii (.func.gii, .shape.gii, .label.gii), or "
    "FreeSurfer's (.annot, lh.thickness, lh.curv, …)"
)
PACKED_VALUES = (".gii.gz", ".csv.gz", ".txt.gz", ".npy.gz", ".npz.gz")


def read_vertex_values(path: str | Path) -> VertexValues:
    """Read values of vertices from a file beside their mesh, in the order of its vertices.

    It reads tables: `.csv` with names of columns in its first line, `.txt` (numbers between spaces), `.npy`
    and `.npz`; an array without a name is called `values`. With nibabel it reads GIFTI (`.func.gii`,
    `.shape.gii`, `.label.gii`), FreeSurfer's values (`lh.thickness`, `lh.curv`, `lh.sulc`, …) and `.annot`,
    whose values are regions, −1 meaning none; `names` and `colours` describe labels and regions. Tables and
    `.gii` may be packed (`.csv.gz`).

    Raises:
        GeometryError: The file does not exist, is damaged, or has another format; something in it is no
            number, or a row has another length than the first (the message names the line); its arrays have
            different numbers of rows; or nibabel is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/scan.csv").write_text("label,depth\\n3,0.5\\n1,0.25\\n")
    ...     beside = read_vertex_values(f"{folder}/scan.csv")
    >>> beside.values["label"].tolist(), beside.values["depth"].tolist()
    ([3, 1], [0.5, 0.25])
    """
    path = Path(path)
    content, suffix = content_of(path, PACKED_VALUES, WHAT, (*TABLES, ".gii", ".annot"))
    with naming(path):
        if suffix in TABLES:
            found = VertexValues(TABLES[suffix][0](content))
        else:
            found = (gifti_values if suffix == ".gii" else freesurfer_values)(content, path)
        _check_rows(found.values)
    arrays = {name: owned(array) for name, array in found.values.items()}
    return VertexValues(arrays, found.names, found.colours)


def write_vertex_values(
    path: str | Path,
    values: VertexValues | Mapping[str, ArrayLike | Tensor] | ArrayLike | Tensor,
    names: Mapping[int, str] | Sequence[str] | None = None,
    colours: Colours | None = None,
) -> list[str]:
    """Write values of vertices to a file that `read_vertex_values` reads, whole or not at all.

    Args:
        path: The end of its name says the format. `.csv` and `.txt`: a line per vertex. `.npy`: one array.
            `.npz`: all arrays. `.func.gii`, `.shape.gii` and `.gii`: numbers of up to 32 bits, and doubles
            where floats are not exact; `.label.gii`: whole numbers, with a table of their names and colours.
            `.annot`: regions, −1 for none. `.curv .thickness .sulc .area .volume`, and `lh.…` and `rh.…`
            with any other end: FreeSurfer's values, rounded to float32. Tables and `.gii` may have .gz after
            it.
        values: arrays [N, …] by name, or one array. k numbers per vertex become columns name_0 … name_k−1,
            except in `.npy` and `.npz` files.
        names, colours: of labels by number; by default those of `values` where these were read from a file.
            Labels without a colour get one.

    Returns:
        What the file cannot hold: "names of labels", "colours of labels", "names of columns".

    Raises:
        GeometryError: The extension is unknown, the folder does not exist, values are no numbers or have
            different numbers of rows, the format cannot hold them, or nibabel is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_vertex_values(f"{folder}/scan.txt", [2, 0, 1])
    ...     Path(f"{folder}/scan.txt").read_text()
    []
    '2\\n0\\n1\\n'
    """
    path = Path(path)
    plain = unpacked_name(path)
    suffix = plain.suffix.lower()
    whole = plain == path and (suffix == ".annot" or is_overlay(path))
    if not path.parent.is_dir() or not (suffix in (*TABLES, ".gii") or whole):
        raise GeometryError(f"cannot write {path}: give a name for {WHAT}, in a folder that exists")
    with naming(path):
        given = _gathered(values, names, colours)
        left_out: list[str] = []
        if suffix in TABLES:
            content = TABLES[suffix][1](given.values)
            if suffix in (".txt", ".npy") and [*given.values] != [ALONE]:
                left_out.append("names of columns")
        elif suffix == ".gii":
            content = gifti_value_bytes(given, plain)
        else:
            content = annot_bytes(given) if suffix == ".annot" else overlay_bytes(given)
        if suffix not in (".gii", ".annot"):
            left_out += [f"{what} of labels" for what in ("names", "colours") if getattr(given, what)]
        write_whole(path, content)
    return left_out


def _gathered(
    values: VertexValues | Mapping[str, ArrayLike | Tensor] | ArrayLike | Tensor,
    names: Mapping[int, str] | Sequence[str] | None,
    colours: Colours | None,
) -> VertexValues:
    known = values if isinstance(values, VertexValues) else VertexValues({})
    arrays = values.values if isinstance(values, VertexValues) else values
    by_name = arrays if isinstance(arrays, Mapping) else {ALONE: arrays}
    held = {str(name): as_array(str(name), array) for name, array in by_name.items()}
    _check_rows(held)
    shades = numbered(known.colours if colours is None else colours)
    return VertexValues(
        {name: owned(array) for name, array in held.items()},
        {int(key): str(name) for key, name in numbered(known.names if names is None else names).items()},
        {int(key): as_colour(int(key), shade) for key, shade in shades.items()},
    )


def _check_rows(values: Attributes) -> None:
    rows = {len(array) if array.ndim and np.prod(array.shape[1:]) else None for array in values.values()}
    if len(rows) != 1 or None in rows:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in values.items()) or "no array"
        raise GeometryError(f"values are a row per vertex, it has {shapes}")
