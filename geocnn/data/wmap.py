"""The microwave sky and its polarisation, seen by WMAP; shipped in `datasets/wmap`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geocnn.data.store import dataset_file
from geocnn.errors import DatasetError


def read_wmap(band: str) -> Tensor:
    """Stokes I, Q and U of seven years, [3, 12288] float32 in mK (thermodynamic): HEALPix nside 32, ring
    order, Galactic coordinates, Q and U in the COSMO convention.

    Args:
        band: "V" (61 GHz) or "W" (94 GHz).

    Raises:
        DatasetError: another band, or the file is missing or damaged.

    >>> read_wmap("V").shape
    torch.Size([3, 12288])
    """
    with np.load(dataset_file("wmap", "wmap.npz")) as maps:
        if band not in maps:
            raise DatasetError(f"no band is called '{band}'; there are: {', '.join(maps)}")
        return torch.from_numpy(maps[band])
