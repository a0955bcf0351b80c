"""HEALPix maps are written to FITS files, with names, units, the order of pixels and coordinates."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.data.fits import COORDINATES
from geocnn.data.maps import MapFile
from geocnn.errors import MapError
from geocnn.files import replacing
from geocnn.geometry.spheres.pixels import nside_of

WRITTEN = re.compile(r"\.(fits|fit|fts)(\.gz)?$", re.IGNORECASE)

FORMATS = {"u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
"""FITS's letters for number types."""

WIDER = {"b1": "u1", "i1": "i2", "u2": "i4", "u4": "i8", "f2": "f4"}
"""Types that FITS lacks, and those that hold the same numbers."""

LONGEST = 68
"""A word in a FITS header may have so many characters."""


def write_map_file(
    file: str | Path,
    maps: MapFile | Tensor | ArrayLike,
    names: Sequence[str] | None = None,
    units: Sequence[str] | str | None = None,
    nested: bool = False,
    coordinates: str | None = None,
    convention: str | None = None,
    other: Mapping[str, Tensor | ArrayLike] | None = None,
) -> None:
    """Write HEALPix maps to a FITS file that `read_map_file` and healpy read, whole or not at all.

    Args:
        file: its name ends in `.fits`, `.fit` or `.fts`, or in these with `.gz`; its folder exists.
        maps: [npix] or [n, npix]; float32 and float64 stay as they are, as do whole numbers. Or a `MapFile`,
            whose names, units, coordinates, convention and other columns are written unless given here.
        names: of the n maps; by default MAP, or MAP_0, MAP_1, …
        units: of the n maps, or one for all.
        nested: whether the pixels of `maps` and `other` are in nested order. The file has them in the same.
        coordinates: "galactic", "ecliptic", "equatorial" or another word.
        convention: the sign of Stokes U, "COSMO" or "IAU".
        other: further columns [npix] by name, for example counts of observations. `read_map_file` returns in
            `other` what its name calls a count, an error, a weight or a mask.

    Values are not checked: pixels without one may be UNSEEN (−1.6375e30), which readers take for missing.

    Raises:
        MapError: the name or the folder, the number of pixels, or the numbers of names and units do not fit;
            a name stands twice or is no plain word; or astropy is missing.

    >>> import tempfile, torch
    >>> from geocnn.data import read_map_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     maps = torch.arange(48.0)
    ...     write_map_file(f"{folder}/sky.fits", maps, ["TEMPERATURE"], "K", coordinates="galactic")
    ...     found = read_map_file(f"{folder}/sky.fits")
    >>> found.names, found.units, found.coordinates, found.values.dtype
    (('TEMPERATURE',), ('K',), 'galactic', torch.float32)
    """
    file = Path(file)
    if not WRITTEN.search(file.name) or not file.parent.is_dir():
        raise MapError(
            f"cannot write {file}: give a name that ends in .fits or .fits.gz, in a folder that exists"
        )
    if isinstance(maps, MapFile):
        if nested:
            raise MapError("the maps of a MapFile are in ring order: leave nested out")
        names, units = names or maps.names, maps.units if units is None else units
        coordinates, convention = coordinates or maps.coordinates, convention or maps.convention
        other, maps = maps.other if other is None else other, maps.values
    rows = _numbers("maps", maps)
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not len(rows):
        raise MapError(f"maps are [npix] or [n, npix], got {list(rows.shape)}")
    nside = nside_of(rows.shape[1])
    columns = _named(rows, names, units)
    columns += [(name, "", _numbers(name, values)) for name, values in (other or {}).items()]
    for k, (name, unit, values) in enumerate(columns):
        if values.shape != rows.shape[1:]:
            raise MapError(
                f"column {name} has shape {list(values.shape)}, the maps have {rows.shape[1]} pixels"
            )
        _check_word(name, "name of a column")
        _check_word(unit or "-", "unit")
        if name.upper() in [earlier.upper() for earlier, *_ in columns[:k]]:
            raise MapError(
                f"two columns have the name {name}; FITS does not tell capitals from small letters"
            )
    words = {
        "PIXTYPE": "HEALPIX",
        "ORDERING": "NESTED" if nested else "RING",
        "NSIDE": nside,
        "FIRSTPIX": 0,
        "LASTPIX": rows.shape[1] - 1,
        "INDXSCHM": "IMPLICIT",
        "OBJECT": "FULLSKY",
    }
    letters = {frame: word for word, frame in COORDINATES.items() if word in "GEC"}
    if coordinates is not None:
        _check_word(coordinates, "word for coordinates")
        words["COORDSYS"] = letters.get(coordinates.lower(), coordinates.upper())
    if convention is not None:
        _check_word(convention, "convention")
        words["POLCCONV"] = convention.upper()
    content = _content(file, columns, words)
    try:
        with replacing(file) as new:
            new.write_bytes(content)
    except OSError as fault:
        raise MapError(f"{file} cannot be written ({fault.strerror})") from fault


def _numbers(name: str, values: Tensor | ArrayLike) -> Shaped[np.ndarray, "*shape"]:
    """Return numbers in a type of the format."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    array = np.asarray(values)
    code = array.dtype.str[1:]
    if WIDER.get(code, code) not in FORMATS:
        raise MapError(f"{name} must be real numbers of up to 64 bits, got {array.dtype}")
    return array.astype(WIDER.get(code, code))


def _named(
    rows: Shaped[np.ndarray, "n npix"], names: Sequence[str] | None, units: Sequence[str] | str | None
) -> list[tuple[str, str, np.ndarray]]:
    """Return (name, unit, values) of the maps; those without a name get one."""
    names = [""] * len(rows) if names is None else names
    units = [units or ""] * len(rows) if units is None or isinstance(units, str) else units
    if isinstance(names, str) or not len(names) == len(units) == len(rows):
        raise MapError(f"{len(rows)} maps need as many names and units, got {names!r} and {units!r}")
    chosen = ["MAP"] if len(rows) == 1 else [f"MAP_{k}" for k in range(len(rows))]
    return [
        (name or own, unit, values)
        for name, own, unit, values in zip(names, chosen, units, rows, strict=True)
    ]


def _check_word(word: str, what: str) -> None:
    if not re.fullmatch(rf"[!-~]([ -~]{{0,{LONGEST - 2}}}[!-~])?", word):
        raise MapError(f"{word!r} is no {what}: FITS takes 1 to {LONGEST} plain characters, no accents")


def _content(file: Path, columns: list[tuple[str, str, np.ndarray]], words: dict[str, str | int]) -> bytes:
    try:
        from astropy.io import fits
    except ImportError as error:
        raise MapError(f"writing {file} needs astropy: pip install 'geocnn[fits]'") from error
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name=name, unit=unit or None, array=values, format=FORMATS[values.dtype.str[1:]])
            for name, unit, values in columns
        ]
    )
    table.header.update(words)
    stream = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    content = stream.getvalue()
    # without the time, so that equal maps are equal files
    return gzip.compress(content, mtime=0) if file.suffix.lower() == ".gz" else content
