"""Data sets that ship with the package, and readers for users' own maps."""

from geocnn.data.fits_writing import write_map_file
from geocnn.data.maps import MapFile, read_map_file, read_maps
from geocnn.data.spherical_digits import SphericalDigits
from geocnn.data.store import dataset_file, datasets_folder, describe
from geocnn.data.winds import Winds, read_winds
from geocnn.data.wmap import read_wmap

__all__ = [
    "MapFile",
    "SphericalDigits",
    "Winds",
    "dataset_file",
    "datasets_folder",
    "describe",
    "read_map_file",
    "read_maps",
    "read_winds",
    "read_wmap",
    "write_map_file",
]
