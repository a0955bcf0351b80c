"""HEALPix maps in FITS files: the values as they are stored, and what the header says of them."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geocnn.errors import BadValueError, MapError
from geocnn.geometry.spheres.pixels import npix

FITS_NAME = re.compile(r"\.(fits|fit|fts)(\.(gz|bz2|xz|zip|z|fz))?$", re.IGNORECASE)
"""Names of FITS files, plain or compressed; which of them a file is, its content tells."""

NOT_SKY = re.compile(r"hits?|n_?obs|cov(ariance)?$|var(iance)?$|weights?$", re.IGNORECASE)
"""Names of columns that tell how well the others are known: counts of observations, covariances, weights."""

COORDINATES = {
    **dict.fromkeys(("G", "GAL", "GALACTIC"), "galactic"),
    **dict.fromkeys(("E", "ECL", "ECLIPTIC"), "ecliptic"),
    **dict.fromkeys(("C", "Q", "CEL", "CELESTIAL", "EQU", "EQUATORIAL", "ICRS"), "equatorial"),
}


@dataclass
class Column:
    """One column: [npix] numbers in the file's order, and what the header says of it alone."""

    name: str
    unit: str
    values: np.ndarray
    fill: dict[str, float]
    """Numbers that stand for no value, by the name of their keyword."""


@dataclass
class Table:
    """The maps of one extension, and what its header says of them all; None where it says nothing."""

    columns: list[Column]
    nested: bool | None
    coordinates: str | None
    convention: str | None
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def sky(self) -> list[Column]:
        """The columns that are maps of the sky; all, where none is."""
        return [column for column in self.columns if not NOT_SKY.search(column.name)] or self.columns


def read_table(file: Path) -> Table:
    """The first HEALPix map, of one or more columns, in a FITS file.

    Raises MapError where there is none, or the file is damaged, compressed by fpack, or not of this format,
    BadValueError where it has only a part of the sky; and where astropy, which comes with healpy, is missing.
    """
    try:
        from astropy.io import fits
        from astropy.utils.exceptions import AstropyWarning
    except ImportError as error:
        raise MapError(f"reading {file} needs healpy and astropy: pip install 'geocnn[healpy]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            warnings.filterwarnings("error", message=".*truncated")
            with fits.open(file, memmap=False) as extensions:
                return _table(_healpix_extension(list(extensions)))
    except MapError as error:
        raise type(error)(f"{file}: {error}") from error
    except Exception as error:  # astropy raises many kinds for files that are damaged or no FITS files
        raise MapError(
            f"healpy cannot read a HEALPix map from {file}: {error}; write it again, with healpy.write_map"
        ) from error


def _healpix_extension(extensions: list[Any]) -> Any:
    """The first that says it is a HEALPix map, else the first that has as many values as one."""
    for extension in extensions:
        if extension.header.get("ZTABLE"):
            raise MapError("its table is compressed by fpack; restore it with funpack, and give the result")
    shown = [e for e in extensions if str(e.header.get("PIXTYPE", "")).strip().upper() == "HEALPIX"]
    for extension in shown or extensions:
        if _arrays(extension):
            return extension
    raise MapError(
        f"none of its {len(extensions)} extensions holds a HEALPix map, 12 nside² values in a column or image"
    )


def _arrays(extension: Any) -> list[tuple[str, str, np.ndarray, dict[str, float]]]:
    """Of each column of numbers, or row of an image: name, unit, values and fill of its own; [] if none is a
    map.
    """
    if extension.data is None or not extension.size:
        return []
    header = extension.header
    if extension.is_image:
        rows = np.atleast_2d(np.asarray(extension.data))
        unit, blank = str(header.get("BUNIT", "")), header.get("BLANK")
        found = [("", unit, row.ravel(), {} if blank is None else {"BLANK": float(blank)}) for row in rows]
    else:
        found = []
        for k, column in enumerate(extension.columns):
            values = np.asarray(extension.data.field(k)).ravel()
            null = {} if column.null is None else {"TNULL": float(column.null)}
            found.append((column.name, column.unit or "", values, null))
    found = [each for each in found if each[2].dtype.kind in "fiub"]
    explicit = str(header.get("INDXSCHM", "")).strip().upper() == "EXPLICIT"
    is_map = explicit or any(_is_size(len(values)) for _, _, values, _ in found)
    return found if is_map else []


def _is_size(n: int) -> bool:
    nside = round((n / 12) ** 0.5)
    return n > 0 and 12 * nside**2 == n and nside & (nside - 1) == 0


def _table(extension: Any) -> Table:
    header, found = extension.header, _arrays(extension)

    def word(*keys: str) -> str:
        return next((str(header[key]).strip().upper() for key in keys if key in header), "")

    if word("INDXSCHM") == "EXPLICIT" or word("OBJECT") == "PARTIAL":
        found = _whole_sky(found, header.get("NSIDE"))
    sizes = {len(values) for _, _, values, _ in found}
    wanted = npix(int(header["NSIDE"])) if "NSIDE" in header else max(filter(_is_size, sizes))
    if sizes != {wanted}:
        raise MapError(f"its columns have {sorted(sizes)} values, a map of its resolution has {wanted}")
    ordering, coordinates = word("ORDERING"), word("COORDSYS", "COORDTYP", "SKYCOORD")
    if ordering not in ("", "RING", "NESTED", "NEST"):
        raise MapError(f"its header says ORDERING = {ordering!r}; RING and NESTED are known")
    missing = {f"BAD_DATA ({bad:g})": float(bad) for bad in [header.get("BAD_DATA")] if bad is not None}
    columns = [
        Column(name.strip(), unit.strip(), values.astype(values.dtype.newbyteorder("=")), missing | fill)
        for name, unit, values, fill in found
    ]
    return Table(
        columns,
        None if not ordering else ordering != "RING",
        COORDINATES.get(coordinates, coordinates.lower()) or None,
        word("POLCCONV", "POLCONV") or None,
        dict(header),
    )


def _whole_sky(found: list[tuple[str, str, np.ndarray, dict[str, float]]], nside: Any) -> list:
    """The columns of a table whose first column names the pixels, each pixel at its place."""
    if nside is None:
        raise MapError("it lists pixels by number (INDXSCHM = EXPLICIT), but its header has no NSIDE")
    (_, _, pixel, _), *rest = found
    n, pixel = npix(int(nside)), pixel.astype(np.int64)
    if len(pixel) and not (0 <= pixel.min() and pixel.max() < n):
        raise MapError(f"it names pixels from {pixel.min()} to {pixel.max()}, nside {nside} has {n}")
    known = np.bincount(pixel, minlength=n) > 0
    if not known.all():
        absent = (~known).nonzero()[0]
        raise BadValueError(
            f"{len(absent)} of {n} pixels are not in the file, which has a part of the sky, first at "
            f"{absent[:5].tolist()}; fill them before the map is used"
        )
    at = np.empty(n, np.int64)
    at[pixel] = np.arange(len(pixel))
    return [(name, unit, values[at], fill) for name, unit, values, fill in rest]
