"""HEALPix maps from users' files: NumPy arrays, or FITS (healpy, an optional extra, brings what reads it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geocnn.data.fits import FITS_NAME, Column, Table, read_table
from geocnn.errors import BadValueError, MapError
from geocnn.geometry.core.values import Fill, check_values, named_fills
from geocnn.geometry.spheres.healpix_maps import detect_order, reorder
from geocnn.geometry.spheres.pixels import nside_of


@dataclass(frozen=True, eq=False)
class MapFile:
    """The maps of a file and what the file says of them: "" or None where it says nothing, as .npy does."""

    values: Tensor
    """[n, npix], ring order, float32 or, where the file has more digits, float64."""
    names: tuple[str, ...]
    """Of the n maps, as the file calls them."""
    units: tuple[str, ...]
    """Of the n maps."""
    coordinates: str | None = None
    """COORDSYS: "galactic", "ecliptic" or "equatorial", or another word of the file."""
    convention: str | None = None
    """POLCCONV, the sign of Stokes U: "COSMO" or "IAU", as `harmonics.spin_from_polarisation` takes it."""
    other: Mapping[str, Tensor] = field(default_factory=dict)
    """Columns [npix] that are no maps of the sky but tell how well it is known, as HITS does; ring order."""
    header: Mapping[str, Any] = field(default_factory=dict)
    """Every keyword of the FITS extension."""


def read_maps(file: str | Path, nested: bool | None = None, fill: Fill = ()) -> Tensor:
    """The values of `read_map_file`: [n, npix], checked and in ring order.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/map.npy", np.ones(192))
    ...     read_maps(f"{folder}/map.npy").shape
    torch.Size([1, 192])
    """
    return read_map_file(file, nested, fill).values


def read_map_file(
    file: str | Path,
    nested: bool | None = None,
    fill: Fill = (),
    columns: Sequence[str] | None = None,
) -> MapFile:
    """The maps of a file and what it says of them.

    Args:
        file: `.npy` with an array [npix] or [n, npix] (pickled objects are refused), or FITS (`.fits`,
            `.fit`, also `.gz`, `.bz2`, ...), whose columns of the first HEALPix extension are the maps.
        nested: are the pixels of the file in nested order? A FITS header that states its ORDERING decides.
            None where nobody knows: the order is then judged by the smoothness of the maps.
        fill: numbers that stand for no value, beside the known ones (`geometry.values.FILLS`).
        columns: names of the FITS columns that are the maps. By default all but those in `other`.

    Raises:
        MapError: not such a file, not numbers, a wrong number of pixels, no such column, or healpy is
            missing; or the order cannot be told from the values, or is plainly not what `nested` says.
        BadValueError: values that are NaN, infinite, UNSEEN, BAD_DATA or another number that stands for no
            value, or pixels that the file does not have.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/map.npy", np.ones((2, 192)))
    ...     read_map_file(f"{folder}/map.npy").units
    ('', '')
    """
    file = Path(file)
    if not file.is_file():
        what = f"{file} is a folder" if file.is_dir() else f"there is no file {file}"
        raise MapError(f"{what}; give a .npy or .fits file with a HEALPix map")
    if file.suffix.lower() == ".npy":
        table = _read_npy(file)
    elif FITS_NAME.search(file.name):
        table = read_table(file)
    else:
        raise MapError(f"{file} is neither .npy nor .fits; save the map with numpy.save or healpy.write_map")
    chosen = table.sky if columns is None else _named(table, columns, file)
    rest = [column for column in table.columns if not any(column is c for c in chosen)]
    values = _stacked(chosen)
    nside_of(values.shape[1])
    for row, column in zip(values, chosen, strict=True):
        _check(row, column, fill, file)
    nested = _is_nested(values, nested, file) if table.nested is None else table.nested
    in_ring_order = (lambda x: reorder(x, to="ring")) if nested else (lambda x: x)
    return MapFile(
        in_ring_order(values),
        tuple(column.name for column in chosen),
        tuple(column.unit for column in chosen),
        table.coordinates,
        table.convention,
        {column.name: in_ring_order(_stacked([column])[0]) for column in rest},
        table.header,
    )


def _read_npy(file: Path) -> Table:
    try:
        # Pickles can run code; a map never needs one.
        values = np.load(file, allow_pickle=False)
        if not isinstance(values, np.ndarray):
            raise ValueError("it is an archive of several")
    except Exception as error:  # of a damaged header numpy raises what its parser does
        raise MapError(
            f"{file} is not a plain NumPy array ({error}); save it with numpy.save, without objects"
        ) from error
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiub":
        raise MapError(
            f"{file} holds {values.dtype} of shape {values.shape}; expected numbers [npix] or [n, npix]"
        )
    if not values.size:
        raise MapError(f"{file} holds no map, an array of shape {values.shape}")
    return Table([Column("", "", row, {}) for row in np.atleast_2d(values)], None, None, None)


def _named(table: Table, names: Sequence[str], file: Path) -> list[Column]:
    by_name = {column.name: column for column in table.columns}
    absent = [name for name in names if name not in by_name]
    if absent:
        raise MapError(f"{file} has no column {', '.join(absent)}; it has {', '.join(by_name)}")
    return [by_name[name] for name in names]


def _stacked(columns: Sequence[Column]) -> Tensor:
    """[n, npix], in float32 where that has all digits of the stored numbers, else in float64."""
    kinds = [column.values.dtype for column in columns]
    dtype = np.float32 if np.result_type(np.float32, *kinds) == np.float32 else np.float64
    return torch.from_numpy(np.stack([column.values.astype(dtype) for column in columns]))


def _check(values: Tensor, column: Column, fill: Fill, file: Path) -> None:
    try:
        check_values(values, fill={**column.fill, **named_fills(fill)})
    except BadValueError as error:
        called = f", column {column.name}" if column.name else ""
        raise BadValueError(f"{file}{called}: {error}") from error


def _is_nested(maps: Tensor, said: bool | None, file: Path) -> bool:
    """The order of pixels of which the file says nothing, of what its user said and how its values look."""
    seen = detect_order(maps)
    if said is not None:
        if seen is not None and (seen == "nested") != said:
            raise MapError(
                f"the values of {file} look like {seen} order, not {'nested' if said else 'ring'}; pass "
                f"nested={seen == 'nested'} (--{seen} on the command line). If they are not, reorder the map "
                "before, with geocnn.geometry.spheres.healpix_maps.reorder"
            )
        return said
    if seen == "nested":
        raise MapError(
            f"the values of {file} look like nested order; pass nested=True (--nested on the command line)"
        )
    if seen is None and not torch.equal(reorder(maps, to="ring"), maps):
        raise MapError(
            f"{file} does not say in which order its pixels are, and its values do not tell; pass "
            "nested=False or nested=True (--ring or --nested on the command line)"
        )
    return False
