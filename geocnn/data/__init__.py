"""Data sets that ship with the package, readers for users' own maps, and data folders of users' own files."""

from typing import TYPE_CHECKING, Any

from geocnn.data.fits_writing import write_map_file
from geocnn.data.maps import MapFile, read_map_file, read_maps
from geocnn.data.spherical_digits import SphericalDigits
from geocnn.data.store import dataset_file, datasets_folder, describe
from geocnn.data.winds import Winds, read_winds
from geocnn.data.wmap import read_wmap

if TYPE_CHECKING:
    from geocnn.data.dataset import SurfaceDataset, open_dataset

__all__ = [
    "MapFile",
    "SphericalDigits",
    "SurfaceDataset",
    "Winds",
    "dataset_file",
    "datasets_folder",
    "describe",
    "open_dataset",
    "read_map_file",
    "read_maps",
    "read_winds",
    "read_wmap",
    "write_map_file",
]


def __getattr__(name: str) -> Any:
    # these need PyG
    if name not in ("SurfaceDataset", "open_dataset"):
        raise AttributeError(f"geocnn.data has no '{name}'; it has {', '.join(__all__)}")
    from geocnn.data import dataset

    return getattr(dataset, name)
