"""HEALPix maps in FITS files: the values as they are stored, and their description in the header."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geocnn.errors import BadValueError, MapError
from geocnn.geometry.spheres.pixels import npix
from geocnn.wording import counted

FITS_NAME = re.compile(r"\.(fits|fit|fts)(\.(gz|bz2|xz|zip|z|fz))?$", re.IGNORECASE)
"""Names of FITS files, plain or compressed; the content, not the name, says which."""

NOT_SKY = re.compile(
    r"(^|[^a-z])(hits?|n_?hits?|n_?obs|[a-z]{0,2}cov(ariance)?|var(iance)?|std|sigma|err(or)?s?|weights?"
    r"|mask|flags?)($|[^a-z])",
    re.IGNORECASE,
)
"""Names of columns, as whole words, that describe the precision of others: counts, covariances,
errors, weights, masks.
"""

COORDINATES = {
    **dict.fromkeys(("G", "GAL", "GALACTIC"), "galactic"),
    **dict.fromkeys(("E", "ECL", "ECLIPTIC"), "ecliptic"),
    **dict.fromkeys(("C", "Q", "CEL", "CELESTIAL", "EQU", "EQUATORIAL", "ICRS"), "equatorial"),
}


@dataclass
class Column:
    """One column: its values [npix] in the file's order, and the header's entries for it alone."""

    name: str
    unit: str
    values: np.ndarray
    fill: dict[str, float]
    """Numbers that mean "no value", by the name of their keyword."""


@dataclass
class Table:
    """The maps of one extension, and the header's entries for all of them; None where an entry is absent."""

    columns: list[Column]
    nested: bool | None
    coordinates: str | None
    convention: str | None
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def sky(self) -> list[Column]:
        """The columns that are maps of the sky, or all columns where none is."""
        return [column for column in self.columns if not NOT_SKY.search(column.name)] or self.columns


def read_table(file: Path, gaps: bool = False) -> Table:
    """Read the first HEALPix map, of one or more columns, in a FITS file.

    With `gaps`, pixels that the file does not have are NaN.

    Raises:
        MapError: the file has no HEALPix map, is damaged, compressed by fpack or not a FITS file; or astropy,
            which the extra `fits` brings, is missing.
        BadValueError: the file has only a part of the sky, without `gaps`.
    """
    try:
        from astropy.io import fits
        from astropy.utils.exceptions import AstropyWarning
    except ImportError as error:
        raise MapError(f"reading {file} needs astropy: pip install 'geocnn[fits]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            warnings.filterwarnings("error", message=".*truncated")
            with fits.open(file, memmap=False) as extensions:
                return _table(_healpix_extension(list(extensions)), gaps)
    except MapError as error:
        raise type(error)(f"{file}: {error}") from error
    except Exception as error:  # astropy raises many kinds for damaged files and for other formats
        raise MapError(
            f"healpy cannot read a HEALPix map from {file}: {error}; write it again, with healpy.write_map"
        ) from error


def _healpix_extension(extensions: list[Any]) -> Any:
    """Return the first extension whose header declares a HEALPix map, else the first with as many values."""
    for extension in extensions:
        if extension.header.get("ZTABLE"):
            raise MapError(
                "its table is compressed by fpack; decompress it with funpack, and read the result"
            )
    declared = [e for e in extensions if str(e.header.get("PIXTYPE", "")).strip().upper() == "HEALPIX"]
    for extension in declared or extensions:
        if _arrays(extension):
            return extension
    raise MapError(
        f"none of its {len(extensions)} extensions holds a HEALPix map, 12 nside² values in a column or image"
    )


def _arrays(extension: Any) -> list[tuple[str, str, np.ndarray, dict[str, float]]]:
    """Return name, unit, values and own fill values per column of numbers or row of an image; [] if none is a
    map.
    """
    if extension.data is None or not extension.size:
        return []
    header = extension.header
    if extension.is_image:
        rows = np.atleast_2d(np.asarray(extension.data))
        unit, blank = str(header.get("BUNIT", "")), header.get("BLANK")
        arrays = [("", unit, row.ravel(), {} if blank is None else {"BLANK": float(blank)}) for row in rows]
    else:
        arrays = []
        for k, column in enumerate(extension.columns):
            values = np.asarray(extension.data.field(k)).ravel()
            null = {}
            if column.null is not None:
                # TNULL is one of the stored whole numbers, which TSCAL and TZERO turn into the values
                scale, zero = (
                    float(one or default) for one, default in ((column.bscale, 1), (column.bzero, 0))
                )
                null = {"TNULL": float(column.null) * scale + zero}
            arrays.append((column.name, column.unit or "", values, null))
    arrays = [each for each in arrays if each[2].dtype.kind in "fiub"]
    explicit = str(header.get("INDXSCHM", "")).strip().upper() == "EXPLICIT"
    is_map = explicit or any(_is_size(len(values)) for _, _, values, _ in arrays)
    return arrays if is_map else []


def _is_size(n: int) -> bool:
    nside = round((n / 12) ** 0.5)
    return n > 0 and 12 * nside**2 == n and nside & (nside - 1) == 0


def _table(extension: Any, gaps: bool) -> Table:
    header, arrays = extension.header, _arrays(extension)

    def word(*keys: str) -> str:
        return next((str(header[key]).strip().upper() for key in keys if key in header), "")

    if word("INDXSCHM") == "EXPLICIT" or word("OBJECT") == "PARTIAL":
        arrays = _whole_sky(arrays, header.get("NSIDE"), gaps)
    sizes = {len(values) for _, _, values, _ in arrays}
    size = npix(int(header["NSIDE"])) if "NSIDE" in header else max(filter(_is_size, sizes))
    if sizes != {size}:
        raise MapError(f"its columns have {sorted(sizes)} values, but a map of its resolution has {size}")
    ordering, coordinates = word("ORDERING"), word("COORDSYS", "COORDTYP", "SKYCOORD")
    if ordering not in ("", "RING", "NESTED", "NEST"):
        raise MapError(f"its header has ORDERING = {ordering!r}; write RING or NESTED there")
    missing = {f"BAD_DATA ({bad:g})": float(bad) for bad in [header.get("BAD_DATA")] if bad is not None}
    columns = [
        Column(name.strip(), unit.strip(), values.astype(values.dtype.newbyteorder("=")), missing | fill)
        for name, unit, values, fill in arrays
    ]
    return Table(
        columns,
        None if not ordering else ordering != "RING",
        COORDINATES.get(coordinates, coordinates.lower()) or None,
        word("POLCCONV", "POLCONV") or None,
        dict(header),
    )


def _whole_sky(arrays: list[tuple[str, str, np.ndarray, dict[str, float]]], nside: Any, gaps: bool) -> list:
    """Return the other columns of a table whose first column has pixel numbers, sorted by pixel."""
    if nside is None:
        raise MapError("it lists pixels by number (INDXSCHM = EXPLICIT), but its header has no NSIDE")
    (_, _, pixel, _), *rest = arrays
    n, given = npix(int(nside)), pixel
    fractional = given[given != np.floor(given)]
    if len(fractional):
        raise MapError(f"its first column has pixel numbers that are not whole, first {fractional[0]:g}")
    pixel = given.astype(np.int64)
    if len(pixel) and not (0 <= pixel.min() and pixel.max() < n):
        raise MapError(f"it has pixels {pixel.min()} to {pixel.max()}, but nside {nside} has {n} pixels")
    count = np.bincount(pixel, minlength=n)
    if (count > 1).any():
        twice = (count > 1).nonzero()[0]
        raise MapError(f"it lists {counted(len(twice), 'pixel')} more than once, first {twice[:5].tolist()}")
    known = count > 0
    if not known.all() and not gaps:
        absent = (~known).nonzero()[0]
        raise BadValueError(
            f"{len(absent)} of {n} pixels are not in the file, which has only a part of the sky, first at "
            f"{absent[:5].tolist()}; fill them before the map is used"
        )
    at = np.full(n, -1)
    at[pixel] = np.arange(len(pixel))
    whole = [(name, unit, values[at], fill) for name, unit, values, fill in rest]
    if known.all():
        return whole
    return [(name, unit, np.where(known, values, np.nan), fill) for name, unit, values, fill in whole]
