"""Real winds on ring grids, some with reference values of vector calculus; shipped in `datasets/winds`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geocnn.data.store import dataset_file
from geocnn.errors import DatasetError
from geocnn.harmonics.grid import RingGrid, equiangular, gauss_legendre

RADIUS = 6371220.0
"""Of the reference's sphere, in metres."""


class Winds(NamedTuple):
    """u, v [..., n_points]: the eastward and northward component in m/s on a grid; values [n_points] of the
    derived fields by name, as `datasets/winds/dataset.toml` explains them. All float64.
    """

    grid: RingGrid
    u: Tensor
    v: Tensor
    values: dict[str, Tensor]


def read_winds(kind: str) -> Winds:
    """Winds of the Earth.

    Args:
        kind: "monthly": means of the twelve months, u and v [12, n_points], on 73 latitudes with the poles,
            without derived fields. "regular", "gaussian": one wind on the same latitudes, or on 72 of Gauss
            and Legendre, with vorticity vrt (vrt_trunc: up to degree 21) and divergence div in 1/s, stream
            function psi and velocity potential chi in m²/s, and the components in m/s of its divergent part
            (uchi, vchi), its rotational part (upsi, vpsi) and the gradient of chi (chigradu, chigradv),
            computed by SPHEREPACK (Dawson 2016).

    Raises:
        DatasetError: another kind, or the file is missing or damaged.

    >>> read_winds("monthly").u.shape
    torch.Size([12, 10512])
    """
    files = {"monthly": "wind_mean", "regular": "reference_regular", "gaussian": "reference_gaussian"}
    if kind not in files:
        raise DatasetError(f"no winds are called '{kind}'; there are: {', '.join(files)}")
    grid = gauss_legendre(72, 144) if kind == "gaussian" else equiangular(73, 144, poles=True)
    with np.load(dataset_file("winds", f"{files[kind]}.npz")) as arrays:
        fields = {
            name: torch.from_numpy(arrays[name].astype(np.float64).squeeze()).flatten(-2)
            for name in arrays
            if arrays[name].ndim > 1
        }
    ending = "" if kind == "monthly" else "wnd"
    return Winds(grid, fields.pop(f"u{ending}"), fields.pop(f"v{ending}"), fields)
