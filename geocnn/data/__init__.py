"""Data sets that ship with the repository, and readers for users' own maps."""

from geocnn.data.maps import read_maps
from geocnn.data.spherical_digits import SphericalDigits
from geocnn.data.store import dataset_file, datasets_folder, describe

__all__ = ["SphericalDigits", "dataset_file", "datasets_folder", "describe", "read_maps"]
