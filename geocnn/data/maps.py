"""HEALPix maps from users' files: NumPy arrays, or FITS (by astropy, the extra `fits`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geocnn.data.fits import FITS_NAME, Column, Table, read_table
from geocnn.errors import BadValueError, MapError
from geocnn.geometry.core.values import Fill, check_values, named_fills, with_gaps
from geocnn.geometry.spheres.healpix_maps import detect_order, reorder
from geocnn.geometry.spheres.pixels import nside_of


@dataclass(frozen=True, eq=False)
class MapFile:
    """The maps of a file and their description; "" or None where the file has none, as a .npy file."""

    values: Float[Tensor, "n npix"]
    """The maps in ring order, float32 or, where the file has more digits, float64."""
    names: tuple[str, ...]
    """Names of the n maps in the file."""
    units: tuple[str, ...]
    """Units of the n maps."""
    coordinates: str | None = None
    """COORDSYS: "galactic", "ecliptic", "equatorial" or another word from the file."""
    convention: str | None = None
    """POLCCONV, the sign of Stokes U: "COSMO" or "IAU", an argument of `harmonics.spin_from_polarisation`."""
    other: Mapping[str, Tensor] = field(default_factory=dict)
    """Columns [npix] in ring order that describe the precision of the maps, for example HITS."""
    header: Mapping[str, Any] = field(default_factory=dict)
    """Every keyword of the FITS extension."""


def read_maps(file: str | Path, nested: bool | None = None, fill: Fill = ()) -> Float[Tensor, "n npix"]:
    """Return the values of `read_map_file`, checked and in ring order, with the same errors.

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
    gaps: bool = False,
) -> MapFile:
    """Read the maps of a file and their description.

    Args:
        file: `.npy` with an array [npix] or [n, npix] (pickled objects are refused), or FITS (`.fits`,
            `.fit`, also `.gz`, `.bz2`, ...), where the columns of the first HEALPix extension are the maps.
        nested: whether the pixels of the file are in nested order. A FITS header with ORDERING takes
            precedence. None means unknown; the smoothness of the maps then decides.
        fill: further numbers that mean "no value", beside the known ones (`geometry.core.values.FILLS`).
        columns: names of the FITS columns to read as maps, by default all except those in `other`.
        gaps: whether values and pixels that are missing become NaN, to be looked at, and are no error.

    Raises:
        MapError: the file is missing or of another format, its values are no numbers, it has a wrong number
            of pixels or no such column, or astropy is missing; or the values do not show the order of pixels,
            or show another than `nested`.
        BadValueError: a value is NaN, infinite, UNSEEN, BAD_DATA or another number that means "no value", or
            the file does not have all pixels; not with `gaps`.

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
        table = read_table(file, gaps)
    else:
        raise MapError(f"{file} is neither .npy nor .fits; save the map with numpy.save or write_map_file")
    selected = table.sky if columns is None else _named(table, columns, file)
    rest = [column for column in table.columns if not any(column is c for c in selected)]
    values = _stacked(selected)
    nside_of(values.shape[1])
    checked = [_checked(row, c, fill, file, gaps) for row, c in zip(values, selected, strict=True)]
    values = torch.stack(checked)
    if table.nested is None:
        # a gap looks like its map's mean: neither order is smooth at its rim
        known = torch.where(values.isnan(), values.nanmean(1, keepdim=True), values).nan_to_num(0)
        nested = is_nested(known, nested, file)
    else:
        nested = table.nested
    in_ring_order = (lambda x: reorder(x, to="ring")) if nested else (lambda x: x)
    return MapFile(
        in_ring_order(values),
        tuple(column.name for column in selected),
        tuple(column.unit for column in selected),
        table.coordinates,
        table.convention,
        {column.name: in_ring_order(_stacked([column])[0]) for column in rest},
        table.header,
    )


def _read_npy(file: Path) -> Table:
    try:
        # pickles can run code, and a map never needs one
        values = np.load(file, allow_pickle=False)
        if not isinstance(values, np.ndarray):
            raise ValueError("it is an archive of several")
    except Exception as error:  # numpy's parser raises many kinds for a damaged header
        raise MapError(
            f"{file} is not a plain NumPy array ({error}); save it with numpy.save, without objects"
        ) from error
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiub":
        raise MapError(
            f"{file} holds {values.dtype} of shape {values.shape}; give numbers [npix] or [n, npix]"
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


def _stacked(columns: Sequence[Column]) -> Float[Tensor, "n npix"]:
    """Stack columns, in float32 where that has all digits of the stored numbers, else in float64."""
    kinds = [column.values.dtype for column in columns]
    dtype = np.float32 if np.result_type(np.float32, *kinds) == np.float32 else np.float64
    return torch.from_numpy(np.stack([column.values.astype(dtype) for column in columns]))


def _checked(values: Tensor, column: Column, fill: Fill, file: Path, gaps: bool) -> Tensor:
    """Return values without missing ones, or with NaN there if they may have gaps."""
    missing = {**column.fill, **named_fills(fill)}
    if gaps:
        return with_gaps(values, missing)
    try:
        check_values(values, fill=missing)
    except BadValueError as error:
        place = f", column {column.name}" if column.name else ""
        raise BadValueError(f"{file}{place}: {error}") from error
    return values


def is_nested(maps: Float[Tensor, "n npix"], nested: bool | None, file: Path) -> bool:
    """Decide the order of pixels that a file does not state, by the user's argument and by the values.

    Raises MapError where the values show no order and none is given, or another than the given one.
    """
    order = detect_order(maps)
    if nested is not None:
        if order is not None and (order == "nested") != nested:
            raise MapError(
                f"the values of {file} look like {order} order, not {'nested' if nested else 'ring'}; pass "
                f"nested={order == 'nested'} (--{order} on the command line). If they have another order, "
                "reorder the map first, with geocnn.geometry.spheres.healpix_maps.reorder"
            )
        return nested
    if order == "nested":
        raise MapError(
            f"the values of {file} look like nested order; pass nested=True (--nested on the command line)"
        )
    if order is None and not torch.equal(reorder(maps, to="ring"), maps):
        raise MapError(
            f"{file} does not state the order of its pixels, and its values do not show it; pass "
            "nested=False or nested=True (--ring or --nested on the command line)"
        )
    return False
