"""Columns of maps become fields: Stokes Q and U are one field of frequency 2, all others are scalars."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

import torch
from jaxtyping import Float64
from torch import Tensor

from geocnn.data.folders.found import Polarisation
from geocnn.errors import DatasetError, GeometryError
from geocnn.geometry import Surface
from geocnn.groups.field_type import FieldType
from geocnn.harmonics import spin_from_polarisation

SCALARS, POLARISED = "field", "polarisation"
"""Names of the two fields of a map."""

Q_WORD = re.compile(r"(?<![A-Za-z])[Qq](?![A-Za-z])")


def pairs_of(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places of Stokes Q and U, by names that differ in these letters alone.

    >>> pairs_of(["I_STOKES", "Q_STOKES", "U_STOKES", "N_OBS"]), pairs_of(["QUALITY"])
    ([(1, 2)], [])
    """
    place = {name: k for k, name in enumerate(names)}
    other = {name: Q_WORD.sub(lambda m: "U" if m[0] == "Q" else "u", name) for name in names}
    return [(place[q], place[u]) for q, u in other.items() if u != q and u in place]


def map_fields(
    values: Float64[Tensor, "n columns"],
    names: Sequence[str],
    header: str | None,
    asked: Polarisation | None,
) -> tuple[dict[str, Float64[Tensor, "n c"]], str]:
    """Return the fields of a map by name, and a line that tells what is what, "" where that is plain.

    Args:
        values: a column per map.
        names: of the columns; "" where a file has none.
        header: the convention that the file states, or None.
        asked: the convention that the user states. With it, the last two of columns without names are Q and
            U; without it, names tell which are, and a file that states nothing has HEALPix's convention.

    The field of scalars is `SCALARS`. That of Q and U, `POLARISED`, has HEALPix's signs in the frames
    (south, east): first every Q, then every U.

    Raises DatasetError where the user and the file state unlike conventions, or there are no Q and U.
    """
    if asked is not None and asked not in get_args(Polarisation):
        raise DatasetError(f"the polarisation is one of {', '.join(get_args(Polarisation))}, got '{asked}'")
    pairs = [] if asked == "none" else pairs_of(names)
    if asked in ("COSMO", "IAU") and not pairs:
        if any(names) or len(names) < 2:
            shown = ", ".join(names) if any(names) else f"{len(names)} without names"
            raise DatasetError(f"there are no Stokes Q and U among the columns, {shown}")
        pairs = [(len(names) - 2, len(names) - 1)]
    if not pairs:
        return {SCALARS: values}, _told(names, [], "") if len(names) > 1 and any(names) else ""
    if asked is not None and header is not None and asked != header:
        raise DatasetError(f"the file states the polarisation convention {header}, not {asked}")
    convention: Any = asked or header or "COSMO"
    q, u = (values[:, list(places)] for places in zip(*pairs, strict=True))
    spin = spin_from_polarisation(q, u, convention)
    polarised = {k for pair in pairs for k in pair}
    scalars = [k for k in range(len(names)) if k not in polarised]
    fields = {SCALARS: values[:, scalars]} if scalars else {}
    source = "as stated" if asked or header else "not stated: HEALPix's is taken"
    return fields | {POLARISED: torch.cat([spin.real, spin.imag], 1)}, _told(
        names, pairs, f", convention {convention} ({source})"
    )


def _told(names: Sequence[str], pairs: Sequence[tuple[int, int]], convention: str) -> str:
    shown = [name or f"column {k + 1}" for k, name in enumerate(names)]
    polarised = {k for pair in pairs for k in pair}
    parts = [f"{shown[q]} and {shown[u]} as one field of frequency 2{convention}" for q, u in pairs]
    scalars = [name for k, name in enumerate(shown) if k not in polarised]
    parts = ([f"{', '.join(scalars)} as scalars"] if scalars else []) + parts
    return f"columns that come in: {'; '.join(parts)}"


def in_frames(
    surface: Surface, values: Float64[Tensor, "n d"], field_type: FieldType
) -> Float64[Tensor, "n d"]:
    """Return a field on the unit sphere, given in the frames (south, east), in the surface's frames.

    >>> from geocnn.geometry import healpix
    >>> sphere, q = healpix(1), torch.tensor([[1.0, 0.0]] * 12, dtype=torch.float64)
    >>> eighth = sphere.turn_frames(torch.full((12,), torch.pi / 4, dtype=torch.float64))
    >>> in_frames(eighth, q, FieldType("1x2"))[0].round().int()
    tensor([ 0, -1], dtype=torch.int32)
    """
    x, y, _ = surface.points.unbind(-1)
    east = torch.nn.functional.normalize(torch.stack([-y, x, torch.zeros_like(x)], -1), dim=-1)
    south = torch.linalg.cross(east, surface.points, dim=-1)
    first, second = surface.frames.unbind(1)
    angle = torch.atan2((first * east).sum(-1), (first * south).sum(-1))
    sense = torch.linalg.cross(first, second, dim=-1)
    if bool(((sense * surface.points).sum(-1) < 0).any()):
        raise GeometryError("frames are mirrored; give a sphere whose frames are turned only")
    return field_type.act(values, -angle)
