"""A data folder as a PyG data set: each item is a surface with its features, its truth and its geometry.

This module imports PyG, so import it only where it is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch_geometric.data import Dataset

from geocnn.data.folders.card import Card, DataFolder, Row, is_data_folder, open_folder
from geocnn.data.folders.found import Wishes
from geocnn.data.folders.items import items_of
from geocnn.data.folders.preparing import Options, prepare_folder
from geocnn.data.folders.samples import in_type_of, surface_of
from geocnn.data.folders.table import write_table
from geocnn.data.surface_data import SurfaceData
from geocnn.errors import DatasetError
from geocnn.geometry import Mesh, OneSidedMesh
from geocnn.geometry.io import raw_mesh, write_mesh
from geocnn.groups.field_type import FieldType

if TYPE_CHECKING:
    from rich.console import Console


class SurfaceDataset(Dataset):
    """The samples of a data folder, or of one of its splits, as SurfaceData. Geometry is computed once.

    Items have x [N, D] of type `in_type`, y (classes [1] or [N], −1 where nobody knows; numbers [1, k] or
    [N, k], less their mean and over their standard deviation), areas [N] and a hierarchy. Lengths are counted
    in the folder's unit. PyG's loaders and transforms work on it, and `split` selects.

    Raises DatasetError where the folder is none or is damaged.
    """

    def __init__(
        self,
        folder: DataFolder | str | Path,
        *,
        processes: int = 0,
        console: Console | None = None,
        transform: Any = None,
    ) -> None:
        super().__init__(None, transform)
        self.folder = folder if isinstance(folder, DataFolder) else open_folder(Path(folder))
        self.rows: list[Row] = [row for row in self.folder.rows if row.split]
        self.items: list[SurfaceData] = items_of(self.folder, self.rows, processes, console)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        out: str | Path | None = None,
        *,
        wishes: Wishes | None = None,
        options: Options | None = None,
        **other: Any,
    ) -> SurfaceDataset:
        """Open a data folder; or prepare a user's folder first, in `out` (by default beside it, NAME-data).

        Raises DatasetError and GeometryError as `prepare_folder` does.
        """
        folder = Path(folder)
        if is_data_folder(folder):
            return cls(folder, **other)
        place = Path(out) if out is not None else folder.with_name(f"{folder.resolve().name}-data")
        if not is_data_folder(place):
            prepare_folder(folder, place, wishes, options)
        return cls(place, **other)

    @classmethod
    def from_meshes(
        cls,
        meshes: Sequence[Any],
        y: Sequence[Any],
        out: str | Path,
        *,
        split: Sequence[str] | None = None,
        options: Options | None = None,
        **other: Any,
    ) -> SurfaceDataset:
        """Write a data folder of meshes in memory, and open it.

        Args:
            meshes: surfaces of this package, of trimesh, pyvista or PyG, or pairs (vertices, faces).
            y: per mesh, the name of its class, a number or several, or values of its vertices: whole numbers
                are labels.
            out: the data folder to write.
            split: per mesh, "train", "val" or "test"; by default at random.

        Raises DatasetError and GeometryError as `prepare_folder` does.

        >>> from geocnn.geometry import icosphere
        >>> ball, solid = icosphere(1), icosphere(1).grid.solid
        >>> shapes = [(ball.points * (1 + k / 9), solid.faces[-1]) for k in range(6)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = SurfaceDataset.from_meshes(shapes, [1.0 + k for k in range(6)], f"{folder}/balls")
        >>> len(data), data.card.task, data[0].x.shape
        (6, 'regress', torch.Size([42, 23]))
        """
        if len(meshes) != len(y) or (split is not None and len(split) != len(meshes)):
            raise DatasetError(f"given are {len(meshes)} meshes, but {len(y)} targets; give one per mesh")
        out = Path(out)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / out.resolve().name
            folder.mkdir()
            _write_given(folder, meshes, y, split)
            prepare_folder(folder, out, Wishes(), options)
        return cls(out, **other)

    @property
    def card(self) -> Card:
        """Return what is learnt and how."""
        return self.folder.card

    @property
    def in_type(self) -> FieldType:
        """Return the type of x."""
        return in_type_of(self.card)

    def split(self, name: str) -> SurfaceDataset:
        """Return the samples of "train", "val" or "test"."""
        chosen = [k for k, row in enumerate(self.rows) if row.split == name]
        return self.index_select(chosen)  # pyright: ignore[reportReturnType]

    def mesh(self, idx: int) -> Mesh | OneSidedMesh:
        """Return the mesh of a sample, in the unit of the files."""
        return surface_of(self.folder.tensors(self.rows[idx]), 1.0)

    def len(self) -> int:
        """Return the number of samples, as PyG asks for it."""
        return len(self.rows)

    def get(self, idx: int) -> SurfaceData:
        """Return a sample, as PyG asks for it."""
        return self.items[idx]


def _write_given(folder: Path, meshes: Sequence[Any], y: Sequence[Any], split: Sequence[str] | None) -> None:
    """Write meshes and what is true of them as a user's folder."""
    digits, rows = len(str(len(meshes) - 1)), []
    per_point = getattr(y[0], "ndim", 0) == 1 and len(y[0]) > 1
    for k, (given, own) in enumerate(zip(meshes, y, strict=True)):
        raw = raw_mesh(*given) if isinstance(given, tuple) else raw_mesh(given)
        name = f"mesh-{k:0{digits}}"
        write_mesh(folder / f"{name}.npz", raw)
        if per_point:
            np.save(folder / f"{name}.npy", np.asarray(own))
        else:
            rows.append([f"{name}.npz", *(own if isinstance(own, tuple | list) else [own])])
    if not per_point:
        count = len(rows[0]) - 1
        names = (
            ["label" if isinstance(rows[0][1], str) else "number"]
            if count == 1
            else [f"number_{k}" for k in range(count)]
        )
        if split is not None:
            names, rows = [*names, "split"], [[*row, s] for row, s in zip(rows, split, strict=True)]
        write_table(folder / "labels.csv", ["file", *names], rows)
        return
    for name in ("train", "val", "test") if split is not None else ():
        chosen = [f"mesh-{k:0{digits}}" for k, s in enumerate(split or ()) if s == name]
        (folder / f"{name}.txt").write_text("\n".join(chosen))


def open_dataset(folder: str | Path, **other: Any) -> SurfaceDataset:
    """Open a data folder that `geocnn prepare` wrote.

    Raises DatasetError where the folder is none or is damaged.
    """
    return SurfaceDataset(folder, **other)
