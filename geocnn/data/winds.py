"""Real winds on ring grids, some with reference values of vector calculus; `datasets/winds` has the files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from geocnn.data.store import dataset_file
from geocnn.errors import DatasetError
from geocnn.harmonics.grid import RingGrid, equiangular, gauss_legendre

RADIUS = 6371220.0
"""The radius of the reference's sphere, in metres."""


class Winds(NamedTuple):
    """The eastward component u and the northward component v of a wind in m/s on a grid.

    `values` has the derived fields [n] by name, which `datasets/winds/dataset.toml` explains.
    """

    grid: RingGrid
    u: Float64[Tensor, "*batch n"]
    v: Float64[Tensor, "*batch n"]
    values: dict[str, Tensor]


def read_winds(kind: str) -> Winds:
    """Read winds of the Earth.

    Args:
        kind: "monthly" gives means of the twelve months, u and v [12, n], on 73 latitudes with the poles,
            without derived fields. "regular" and "gaussian" give one wind, on the same latitudes or on 72 of
            Gauss and Legendre, with derived fields by SPHEREPACK (Dawson 2016): vorticity vrt (vrt_trunc: up
            to degree 21) and divergence div in 1/s, stream function psi and velocity potential chi in m²/s,
            and the components in m/s of the divergent part (uchi, vchi), of the rotational part (upsi, vpsi)
            and of the gradient of chi (chigradu, chigradv).

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
