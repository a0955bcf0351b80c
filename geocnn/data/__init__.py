"""Data sets that ship with the package, readers for users' own maps, and data folders of users' own files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geocnn.data.fits_writing import write_map_file
from geocnn.data.maps import MapFile, read_map_file, read_maps
from geocnn.data.spherical_digits import SphericalDigits
from geocnn.data.store import dataset_file, datasets_folder, describe
from geocnn.data.winds import Winds, read_winds
from geocnn.data.wmap import read_wmap

if TYPE_CHECKING:
    from geocnn.data.dataset import SurfaceDataset, open_dataset
    from geocnn.data.surface_data import SurfaceData
    from geocnn.data.to_surface import ToSurface

__all__ = [
    "MapFile",
    "SphericalDigits",
    "SurfaceData",
    "SurfaceDataset",
    "ToSurface",
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

NEED_PYG = {
    "SurfaceData": "surface_data",
    "SurfaceDataset": "dataset",
    "ToSurface": "to_surface",
    "open_dataset": "dataset",
}
"""Names that need PyG, and their modules."""


def __getattr__(name: str) -> Any:
    if name not in NEED_PYG:
        raise AttributeError(f"geocnn.data has no '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(f"geocnn.data.{NEED_PYG[name]}"), name)
