"""The arrays of wmap.npz from the FITS files: columns as they are, in native byte order. Needs astropy.

python make.py FOLDER_WITH_THE_FITS_FILES .
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

source, target = map(Path, sys.argv[1:])
maps = {}
for band in "VW":
    with fits.open(source / f"wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits") as file:
        table = file[1].data
        columns = [table[f"{name}_STOKES"].ravel() for name in "IQU"]
        maps[band] = np.stack(columns).astype(np.float32)
np.savez_compressed(target / "wmap.npz", **maps)
