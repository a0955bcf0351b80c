"""HEALPix maps from users' files: NumPy arrays, or FITS read by healpy (an optional extra)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocnn.errors import MapError
from geocnn.geometry.healpix_maps import check_map, detect_order, reorder


def read_maps(file: str | Path, nested: bool = False) -> Tensor:
    """The maps of a file, checked and in ring order.

    Args:
        file: `.npy` with an array [npix] or [n, npix] (pickled objects are refused), or `.fits` / `.fits.gz`,
            whose columns become n maps.
        nested: the pixels of the file are in nested order; a FITS header that states its ORDERING overrules
        this.

    Returns:
        [n, npix] float32, ring order.

    Raises:
        MapError: not such a file, not numbers, a wrong number of pixels, NaN, infinity or UNSEEN, or values
            that plainly lie in the other order; healpy is needed and missing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/map.npy", np.ones(192))
    ...     read_maps(f"{folder}/map.npy").shape
    torch.Size([1, 192])
    """
    file = Path(file)
    if not file.is_file():
        what = f"{file} is a folder" if file.is_dir() else f"there is no file {file}"
        raise MapError(f"{what}; give a .npy or .fits file with a HEALPix map")
    if file.suffix == ".npy":
        values = _read_npy(file)
    elif file.name.endswith((".fits", ".fits.gz", ".fit")):
        values = _read_fits(file, nested)
    else:
        raise MapError(f"{file} is neither .npy nor .fits; save the map with numpy.save or healpy.write_map")
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiub":
        raise MapError(
            f"{file} holds {values.dtype} of shape {values.shape}; expected numbers [npix] or [n, npix]"
        )
    if not values.size:
        raise MapError(f"{file} holds no map, an array of shape {values.shape}")
    maps = torch.from_numpy(np.atleast_2d(values).astype(np.float32))
    check_map(maps)
    if nested:
        return reorder(maps, to="ring")
    if detect_order(maps) == "nested":
        raise MapError(
            f"the values of {file} look like nested order; pass nested=True (--nested on the command line)"
        )
    return maps


def _read_npy(file: Path) -> np.ndarray:
    try:
        # Pickles can run code; a map never needs one.
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise MapError(
            f"{file} is not a plain NumPy array ({error}); save it with numpy.save, without objects"
        ) from error


def _read_fits(file: Path, nested: bool) -> np.ndarray:
    try:
        import healpy
    except ImportError as error:
        raise MapError(f"reading {file} needs healpy: pip install 'geocnn[healpy]'") from error
    try:
        columns = healpy.read_map(file, field=None, nest=nested, dtype=np.float64)  # pyright: ignore[reportArgumentType]
        return np.asarray(columns)
    except Exception as error:  # healpy and astropy raise many kinds for files that hold no map
        raise MapError(f"healpy cannot read a HEALPix map from {file}: {error}") from error
