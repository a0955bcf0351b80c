"""A data folder as a PyG data set: each item is a surface with its features, its truth and its geometry.

This module imports PyG, so import it only where it is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch_geometric.data import Dataset

from geocnn.data.folders.card import Card, DataFolder, Row, is_data_folder, open_folder
from geocnn.data.folders.changes import Options
from geocnn.data.folders.found import Wishes
from geocnn.data.folders.items import items_of
from geocnn.data.folders.preparing import prepare_folder
from geocnn.data.folders.samples import in_type_of, surface_of
from geocnn.data.given import write_fields, write_maps, write_meshes
from geocnn.data.surface_data import SurfaceData
from geocnn.errors import DatasetError
from geocnn.geometry import Mesh, OneSidedMesh
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
        y: Sequence[Any] | Tensor,
        out: str | Path,
        *,
        fields: Sequence[Mapping[str, Any]] | None = None,
        split: Sequence[str] | None = None,
        wishes: Wishes | None = None,
        options: Options | None = None,
        **other: Any,
    ) -> SurfaceDataset:
        """Write a data folder of meshes in memory, and open it.

        Args:
            meshes: surfaces of this package, of trimesh, pyvista or PyG, or pairs (vertices, faces).
            y: per mesh the name of its class, a number or several; or values of its vertices [N] or [N, k],
                or of its faces. Whole numbers are classes where they come again.
            out: the data folder to write.
            fields: per mesh, fields by name: [N] or [N, channels]; three channels are a vector in space.
            split: per mesh, "train", "val" or "test"; by default at random.
            wishes: what is to be done otherwise, such as `Wishes(task="regress")`.
            other: arguments of the class, such as `processes`.

        Raises DatasetError and GeometryError as `prepare_folder` does.

        >>> from geocnn.geometry import icosphere
        >>> ball, solid = icosphere(1), icosphere(1).grid.solid
        >>> shapes = [(ball.points * (1 + k / 9), solid.faces[-1]) for k in range(6)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = SurfaceDataset.from_meshes(shapes, [1.0 + k for k in range(6)], f"{folder}/balls")
        >>> len(data), data.card.task, data[0].x.shape
        (6, 'regress', torch.Size([42, 23]))
        """
        wishes = wishes or Wishes()
        if fields is not None:
            unlike = [k for k, own in enumerate(fields) if set(own) != set(fields[0])]
            if unlike:
                raise DatasetError(f"mesh {unlike[0]} has other fields than mesh 0; give all the same")
            wishes = replace(wishes, inputs=tuple(fields[0]) if len(fields) else ())

        def write(folder: Path) -> None:
            write_meshes(folder, meshes, y, split, fields)

        return cls._written(write, out, wishes, options, other)

    @classmethod
    def from_fields(
        cls,
        mesh: Any,
        fields: Any,
        y: Sequence[Any] | Tensor,
        out: str | Path,
        *,
        split: Sequence[str] | None = None,
        wishes: Wishes | None = None,
        options: Options | None = None,
        **other: Any,
    ) -> SurfaceDataset:
        """Write a data folder of fields in memory that lie on one mesh, and open it.

        Args:
            mesh: one of those that `from_meshes` takes.
            fields: [samples, N] or [samples, N, channels]; three channels are a vector in space.
            y: per sample the name of its class, a number or several; or values of the vertices, [N] or
                [N, k]. Whole numbers are classes where they come again.
            out, split, wishes, options, other: as of `from_meshes`.

        Raises DatasetError and GeometryError as `prepare_folder` does.

        >>> import torch
        >>> from geocnn.geometry import icosphere
        >>> heat = torch.randn(6, 42, generator=torch.Generator().manual_seed(0))
        >>> ball = (icosphere(1).points, icosphere(1).grid.solid.faces[-1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = SurfaceDataset.from_fields(ball, heat, heat.mean(1), f"{folder}/heat")
        >>> len(data), data.card.task, data[0].x.shape
        (6, 'regress', torch.Size([42, 1]))
        """

        def write(folder: Path) -> None:
            write_fields(folder, mesh, fields, y, split)

        return cls._written(write, out, wishes or Wishes(), options, other)

    @classmethod
    def from_maps(
        cls,
        maps: Any,
        y: Sequence[Any] | Tensor,
        out: str | Path,
        *,
        nested: bool = False,
        split: Sequence[str] | None = None,
        wishes: Wishes | None = None,
        options: Options | None = None,
        **other: Any,
    ) -> SurfaceDataset:
        """Write a data folder of HEALPix maps in memory, and open it.

        Args:
            maps: [samples, pixels] or [samples, pixels, channels], 12 nside² pixels.
            y: per map the name of its class, a number or several; or maps of targets, [samples, pixels] or
                [samples, pixels, k], in the same order. Whole numbers are classes: those of maps where they
                come again, those of pixels always.
            out, split, wishes, options, other: as of `from_meshes`.
            nested: whether pixels of maps and targets are in nested order; the data set has them in ring
                order.

        Raises DatasetError and GeometryError as `prepare_folder` does, MapError where the maps have another
        number of pixels, or show another order.

        >>> import torch
        >>> sky = torch.randn(6, 48, generator=torch.Generator().manual_seed(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = SurfaceDataset.from_maps(sky, ["a", "b"] * 3, f"{folder}/sky")
        >>> len(data), data.card.task, data[0].x.shape
        (6, 'classify', torch.Size([48, 1]))
        """

        def write(folder: Path) -> None:
            write_maps(folder, maps, y, split)

        return cls._written(write, out, replace(wishes or Wishes(), nested=nested), options, other)

    @classmethod
    def _written(
        cls,
        write: Callable[[Path], None],
        out: str | Path,
        wishes: Wishes,
        options: Options | None,
        other: dict[str, Any],
    ) -> SurfaceDataset:
        """Prepare a user's folder that is there only meanwhile, and open the data folder."""
        out = Path(out)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / out.resolve().name
            folder.mkdir()
            write(folder)
            prepare_folder(folder, out, wishes, options)
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


def open_dataset(folder: str | Path, **other: Any) -> SurfaceDataset:
    """Open a data folder that `geocnn prepare` wrote.

    Raises DatasetError where the folder is none or is damaged.
    """
    return SurfaceDataset(folder, **other)
