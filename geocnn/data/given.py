"""What a user holds in memory is written as a folder, in the forms that `prepare_folder` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from geocnn.data.folders.files import SPLITS
from geocnn.data.folders.table import write_table
from geocnn.errors import DatasetError
from geocnn.geometry.io import RawMesh, raw_mesh, write_mesh
from geocnn.wording import counted

FIELDS = "fields"
"""The name of the array of fields; sample k is called fields-k."""


def write_meshes(
    folder: Path,
    meshes: Sequence[Any],
    y: Any,
    split: Sequence[str] | None = None,
    fields: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write meshes, one file each, and what is true of them: a table, or a file per mesh where y has values
    of vertices or faces.

    Raises DatasetError where the numbers of meshes, targets, splits and fields differ, GeometryError where a
    field has not one row per vertex.
    """
    _check_counts(len(meshes), "mesh", y, split)
    if fields is not None and len(fields) != len(meshes):
        raise DatasetError(f"there are {counted(len(meshes), 'mesh')}, but fields of {len(fields)}")
    raws = [_raw(given) for given in meshes]
    names = [f"mesh-{k:0{len(str(len(meshes) - 1))}}" for k in range(len(meshes))]
    for k, (name, raw) in enumerate(zip(names, raws, strict=True)):
        if fields is not None:
            raw = raw.with_attributes({name: _array(value) for name, value in fields[k].items()})
        write_mesh(folder / f"{name}.npz", raw)
    rows = [_array(own) for own in y]
    sizes = (len(raws[0].vertices), len(raws[0].faces))
    if rows[0].ndim and len(rows[0]) in sizes:
        for name, own in zip(names, rows, strict=True):
            np.save(folder / f"{name}.npy", own)
        _write_lists(folder, names, split)
    else:
        _write_table(folder, "file", [f"{name}.npz" for name in names], rows, split)


def write_fields(folder: Path, mesh: Any, fields: Any, y: Any, split: Sequence[str] | None = None) -> None:
    """Write a mesh and fields on it, [samples, vertices] or [samples, vertices, channels], with targets.

    Raises DatasetError where the numbers of vertices, samples, targets and splits differ.
    """
    raw, values = _raw(mesh), _array(fields)
    if values.ndim not in (2, 3) or values.shape[1] != len(raw.vertices):
        n = len(raw.vertices)
        raise DatasetError(
            f"fields on this mesh are [samples, {n}] or [samples, {n}, channels], got {list(values.shape)}"
        )
    write_mesh(folder / "surface.npz", raw)
    _write_samples(folder, values, y, split)


def write_maps(folder: Path, maps: Any, y: Any, split: Sequence[str] | None = None) -> None:
    """Write HEALPix maps, [samples, pixels] or [samples, pixels, channels], with targets.

    Raises DatasetError where the numbers of samples, targets and splits differ.
    """
    values = _array(maps)
    if values.ndim not in (2, 3):
        raise DatasetError(
            f"maps are [samples, pixels] or [samples, pixels, channels], got {list(values.shape)}"
        )
    _write_samples(folder, values, y, split)


def _write_samples(
    folder: Path, values: Shaped[np.ndarray, "samples n *c"], y: Any, split: Sequence[str] | None
) -> None:
    """Write an array of fields, and an array of targets of points or a table of targets."""
    _check_counts(len(values), "field", y, split)
    np.save(folder / f"{FIELDS}.npy", values)
    names = [f"{FIELDS}-{k:0{len(str(len(values) - 1))}}" for k in range(len(values))]
    rows = [_array(own) for own in y]
    if rows[0].ndim and len(rows[0]) == values.shape[1]:
        np.save(folder / "y.npy", np.stack(rows))
        _write_lists(folder, names, split)
    else:
        _write_table(folder, "sample", names, rows, split)


def _check_counts(n: int, what: str, y: Any, split: Sequence[str] | None) -> None:
    if n == 0 or len(y) != n:
        raise DatasetError(
            f"given are {counted(n, what)}, but {counted(len(y), 'target')}; give one per {what}"
        )
    if split is not None and len(split) != n:
        raise DatasetError(f"given are {counted(n, what)}, but splits of {len(split)}; give one per {what}")
    for name in split or ():
        if SPLITS.get(name) != name:
            raise DatasetError(f"the split '{name}' is none of train, val, test")


def _raw(mesh: Any) -> RawMesh:
    return raw_mesh(*mesh) if isinstance(mesh, tuple) else raw_mesh(mesh)


def _array(value: Any) -> Shaped[np.ndarray, "*shape"]:
    """Return numbers or words as an array on the CPU."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _write_table(
    folder: Path,
    key: str,
    names: Sequence[str],
    rows: Sequence[Shaped[np.ndarray, "*k"]],
    split: Sequence[str] | None,
) -> None:
    """Write a row per sample: its class, or its numbers."""
    cells = [own.ravel().tolist() for own in rows]
    count = len(cells[0])
    if any(len(own) != count for own in cells):
        raise DatasetError(f"targets have {sorted({len(own) for own in cells})} numbers; give each as many")
    columns = [f"number_{k}" for k in range(count)]
    if count == 1:
        # whole numbers that come again are classes
        whole = all(own.dtype.kind in "iub" for own in rows)
        repeated = len({own[0] for own in cells}) < len(cells)
        columns = ["label" if rows[0].dtype.kind in "US" or (whole and repeated) else "number"]
        cells = [[int(own[0]) if isinstance(own[0], bool) else own[0]] for own in cells]
    columns, cells = [key, *columns], [[name, *own] for name, own in zip(names, cells, strict=True)]
    if split is not None:
        columns, cells = [*columns, "split"], [[*own, s] for own, s in zip(cells, split, strict=True)]
    write_table(folder / "labels.csv", columns, cells)


def _write_lists(folder: Path, names: Sequence[str], split: Sequence[str] | None) -> None:
    for chosen in sorted(set(split or ())):
        own = [name for name, s in zip(names, split or (), strict=True) if s == chosen]
        (folder / f"{chosen}.txt").write_text("\n".join(own), encoding="utf-8")
