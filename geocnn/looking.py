"""`geocnn view`: a mesh or a map with its fields, as a picture or as a page for a browser."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geocnn.data.fits import FITS_NAME
from geocnn.data.maps import read_map_file
from geocnn.errors import GeocnnError, GeometryError
from geocnn.files import replacing
from geocnn.geometry.core.values import Fill
from geocnn.geometry.io import READERS, RawMesh, read_mesh, read_vertex_values
from geocnn.geometry.io.raw import Attributes
from geocnn.geometry.spheres.healpix_maps import reorder
from geocnn.geometry.spheres.pixels import nside_of
from geocnn.geometry.spheres.surfaces import Sphere, healpix
from geocnn.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.viz import Field
    from geocnn.viz.fields import ReadField

PICTURES = (".png", ".pdf", ".svg", ".jpg")

FINEST = {"picture": 256, "page": 128}
"""The nside that maps are averaged to: a pixel of a picture is as large, and a page is quick to open."""

MOST_VALUES = 4_000_000
"""So many values of maps are on a page, about 20 MB; more maps are averaged further."""

RIGHT_ANTERIOR_SUPERIOR = ".gii"
"""Files of this kind, and FreeSurfer's, count z upwards."""

COLOURS = frozenset(("red", "green", "blue", "alpha", "colour", "color", "rgb", "rgba"))
"""Bytes of these names paint a mesh, and measure nothing."""

Up = Literal["x", "y", "z"]


@dataclass
class Sight:
    """A surface to look at, and what is known on it by name; `first` is shown where none is named."""

    surface: RawMesh | Sphere
    up: Up
    fields: dict[str, Field] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    first: str | None = None


@dataclass(frozen=True)
class Wish:
    """What `geocnn view` was asked for."""

    file: Path
    field: str | None = None
    values: Sequence[Path] = ()
    out: Path | None = None
    html: Path | None = None
    up: Up | None = None
    limits: tuple[float, float] | None = None
    nested: bool | None = None
    fill: Fill = ()


def view_file(wish: Wish, console: Console) -> None:
    """Print the fields of a mesh or of HEALPix maps, one line each, and write a picture or a page of one.

    Without a name the first of the values beside the file is shown, else the first map or attribute, else the
    shape alone. The picture is written beside the file where neither it nor a page is named.

    Raises:
        GeocnnError: a file cannot be read or has nothing to draw, there is no such field, values do not fit
            the mesh, an output has another ending, or matplotlib is missing.
        OSError: an output cannot be written.
    """
    _check_outputs(wish)
    sight = sight_of_maps(wish) if is_map(wish.file) else sight_of_mesh(wish)
    name = _chosen(wish, sight)
    for line in (*_described(sight), *sight.remarks):
        console.print(line, soft_wrap=True)
    if name is not None and wish.limits is not None:
        sight.fields[name] = _limited(sight.fields[name], wish.limits)
    if wish.html is not None:
        _write_page(wish.html, sight, name, wish.file.name)
        console.print(f"wrote {wish.html}, a page for a browser", soft_wrap=True)
    if wish.out is not None or wish.html is None:
        out = wish.out or wish.file.with_name(f"{_stem(wish.file)}-view.png")
        _write_picture(out, sight, name, wish.file.name)
        console.print(f"wrote {out}" + ("" if name is None else f", of {name}"), soft_wrap=True)


def is_map(file: Path) -> bool:
    """Return whether a file's name is that of HEALPix maps.

    >>> is_map(Path("sky.fits.gz")), is_map(Path("scan.ply"))
    (True, False)
    """
    return file.suffix.lower() == ".npy" or FITS_NAME.search(file.name) is not None


def sight_of_mesh(wish: Wish) -> Sight:
    """Read a mesh with its attributes and the values beside it, whatever its defects.

    Raises GeometryError where a file cannot be read, or values have other than one row per vertex or face.
    """
    raw = read_mesh(wish.file)
    ending = [suffix.lower() for suffix in wish.file.suffixes]
    # FreeSurfer's surfaces, as lh.pial, have none of the known endings
    upright = RIGHT_ANTERIOR_SUPERIOR in ending or not _has_known_ending(wish.file)
    sight = Sight(raw, wish.up or ("z" if upright else "y"))
    for path in wish.values:
        beside = read_vertex_values(path)
        rows = len(next(iter(beside.values.values())))
        if rows not in (len(raw.vertices), len(raw.faces)):
            raise GeometryError(
                f"{path} has {counted(rows, 'row')}, but {wish.file} has {_sizes(raw)}; give values of this "
                "mesh, in the order of its vertices"
            )
        _add(sight, beside.values, beside.names)
    _add(sight, raw.vertex_attributes)
    of_parts = {"part": dict(enumerate(raw.parts))} if raw.parts else {}
    for name, array in raw.face_attributes.items():
        _add(sight, {name if name not in sight.fields else f"{name} of faces": array}, of_parts.get(name))
    if raw.corner_attributes:
        sight.remarks.append(f"not shown, values of corners: {', '.join(raw.corner_attributes)}")
    sight.first = next(iter(sight.fields), None)
    return sight


def sight_of_maps(wish: Wish) -> Sight:
    """Read HEALPix maps, and what else is in their file, with gaps where pixels are missing.

    Raises MapError where the file is no map or does not show the order of its pixels.
    """
    from geocnn.viz import Field

    if wish.values:
        raise GeocnnError(f"--values are of the vertices of a mesh, but {wish.file} holds HEALPix maps")
    maps = read_map_file(wish.file, wish.nested, wish.fill, gaps=True)
    sight = Sight(healpix(1), "z")
    many = len(maps.values) > 1
    for k, (name, unit, values) in enumerate(zip(maps.names, maps.units, maps.values, strict=True)):
        name = name or (f"map {k}" if many else "map")
        sight.fields[name if name not in sight.fields else f"{name} {k}"] = Field(values, "scalar", unit)
    for name, values in maps.other.items():
        sight.fields.setdefault(name, Field(values, "scalar"))
    sight.first = next(iter(sight.fields))
    return sight


def averaged(values: Float[Tensor, " npix"], nside: int) -> Float[Tensor, " coarser"]:
    """Return the means of a map in ring order over the pixels of a coarser one, without its gaps.

    >>> averaged(torch.arange(48.0), 1)[:4].tolist()
    [5.5, 7.25, 9.0, 10.75]
    """
    nested = reorder(values, to="nested")
    return reorder(nested.view(12 * nside**2, -1).nanmean(1), to="ring")


def _add(sight: Sight, arrays: Attributes, names: dict[int, str] | None = None) -> None:
    """Add arrays [N, …] as fields: three numbers per row are vectors, other columns stand for themselves."""
    from geocnn.viz import Field

    colours = [name for name, array in arrays.items() if name in COLOURS and array.dtype == np.uint8]
    if colours:
        sight.remarks.append(f"not shown, colours: {', '.join(colours)}")
    for name, array in _vectors_joined(arrays).items():
        if name in colours:
            continue
        if array.dtype.kind not in "iufb" or not array.size:
            sight.remarks.append(f"not shown, no numbers: {name}")
            continue
        columns = array.reshape(len(array), -1)
        if columns.shape[1] == 3 and array.dtype.kind == "f":
            sight.fields[name] = Field(columns, "vector")
            continue
        for k, column in enumerate(columns.T):
            full = name if columns.shape[1] == 1 else f"{name}_{k}"
            classes = None
            if names and array.dtype.kind in "iu":
                classes = {int(label): names.get(int(label), str(label)) for label in np.unique(column)}
            sight.fields[full] = Field(column, classes=classes)


def _vectors_joined(arrays: Attributes) -> Attributes:
    """Join the columns of vectors that a .ply file holds apart: name_0, name_1, name_2, or nx, ny, nz."""
    joined: Attributes = {}
    for name, array in arrays.items():
        whole, columns = name[:-2], [f"{name[:-2]}_{k}" for k in range(4)]
        if name == "nx":
            whole, columns = "normal", ["nx", "ny", "nz", ""]
        of = [arrays[column] for column in columns[:3] if column in arrays]
        plain = len(of) == 3 and all(a.ndim == 1 and a.dtype.kind == "f" for a in of)
        if name in columns[:3] and plain and columns[3] not in arrays and whole not in arrays:
            joined[whole] = np.stack(of, 1)
        elif not (name in ("ny", "nz") and "normal" in joined):
            joined[name] = array
    return joined


def _has_known_ending(file: Path) -> bool:
    return _stem(file) != file.name


def _stem(file: Path) -> str:
    """Return a file's name without the endings of its format, as `scan` for scan.ply.gz; lh.pial stays."""
    name = FITS_NAME.sub("", file.name)
    for ending in (".gz", ".npy", *READERS):
        name = name[: -len(ending)] if name.lower().endswith(ending) and len(name) > len(ending) else name
    return name


def _chosen(wish: Wish, sight: Sight) -> str | None:
    if wish.field is None:
        return sight.first
    if wish.field not in sight.fields:
        known = f"it has {', '.join(sight.fields)}" if sight.fields else "it has none; give some by --values"
        raise GeocnnError(f"{wish.file} has no field '{wish.field}'; {known}")
    return wish.field


def _described(sight: Sight) -> list[str]:
    """Return a line per field: name, kind, range and gaps."""
    from geocnn.viz.fields import read_field

    if isinstance(sight.surface, RawMesh):
        heading = f"{_sizes(sight.surface)}, {counted(len(sight.fields), 'field')}"
    else:
        pixels = len(torch.as_tensor(sight.fields[sight.first or ""].values))
        heading = f"HEALPix, nside {nside_of(pixels)}, {counted(pixels, 'pixel')}"
    fields = sight.fields.items()
    return [heading, *(f"{name}: {_summary(read_field(each, name), each)}" for name, each in fields)]


def _sizes(raw: RawMesh) -> str:
    return f"{counted(len(raw.vertices), 'vertex')} and {counted(len(raw.faces), 'face')}"


def _summary(read: ReadField, given: Field) -> str:
    known = read.levels[~read.levels.isnan()]
    unit = f" {given.unit}" if given.unit else ""
    if not len(known):
        content = "no value anywhere"
    elif read.kind == "labels":
        names = [read.class_name(label) for label in read.counts]
        content = f"{counted(len(names), 'label')}: {', '.join(names[:6])}{', …' if len(names) > 6 else ''}"
    else:
        what = "vectors of size" if read.kind == "vector" else "numbers from"
        content = f"{what} {float(known.min()):.6g} to {float(known.max()):.6g}{unit}"
    return f"{content}; {read.missing:,} of {len(read.levels):,} without a value" if read.missing else content


def _limited(given: Field, limits: tuple[float, float]) -> Field:
    from dataclasses import replace

    return replace(given, limits=limits)


def _at(sight: Sight, use: str) -> tuple[Any, dict[str, Field]]:
    """Return the surface and its fields as fine as they are shown."""
    from dataclasses import replace

    if isinstance(sight.surface, RawMesh):
        return sight.surface, sight.fields
    arrays = {name: torch.as_tensor(each.values) for name, each in sight.fields.items()}
    own = nside_of(len(next(iter(arrays.values()))))
    nside = min(own, FINEST[use])
    while use == "page" and len(arrays) * 12 * nside**2 > MOST_VALUES and nside > 8:
        nside //= 2
    if nside < own:
        arrays = {name: averaged(values, nside) for name, values in arrays.items()}
    return healpix(nside), {name: replace(sight.fields[name], values=v) for name, v in arrays.items()}


def _write_picture(out: Path, sight: Sight, name: str | None, title: str) -> None:
    from geocnn import viz

    surface, fields = _at(sight, "picture")
    if name is None:
        figure = viz.shape(surface, title, sight.up)
    else:
        figure = viz.field(surface, fields[name], name, up=sight.up)
    with replacing(out) as new:
        figure.savefig(new, format=out.suffix[1:].lower(), dpi=150)


def _write_page(html: Path, sight: Sight, name: str | None, title: str) -> None:
    from geocnn import viz

    surface, fields = _at(sight, "page")
    first = {} if name is None else {name: fields[name]}
    viz.page(html, surface, first | fields, title, sight.up)


def _check_outputs(wish: Wish) -> None:
    """Refuse outputs that cannot be written before anything is read."""
    for path, endings in ((wish.out, PICTURES), (wish.html, (".html", ".htm"))):
        if path is not None and (path.suffix.lower() not in endings or not path.parent.is_dir()):
            raise GeocnnError(
                f"cannot write {path}: give a name that ends in {', '.join(endings)}, in a folder that exists"
            )
    if importlib.util.find_spec("matplotlib") is None:
        raise GeocnnError("pictures need matplotlib: pip install 'geocnn[plot]'")
