"""The microwave sky and its polarisation as WMAP observed them; `datasets/wmap` has the file."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from geocnn.data.store import dataset_file
from geocnn.errors import DatasetError


def read_wmap(band: str) -> Float32[Tensor, "3 12288"]:
    """Read Stokes I, Q and U of seven years in mK (thermodynamic).

    The maps are HEALPix nside 32 in ring order and Galactic coordinates; Q and U have the COSMO convention.

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
