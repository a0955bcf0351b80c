"""A surface and its fields as one page for a browser, which turns it and tells the value under the pointer.

The page is one file without links. Its program is page.html beside this file, 17 kB, which draws by WebGL 2:
plotly's library would add 4.8 MB to every page, and has no labels per vertex with sharp borders.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import normalize

from geocnn.errors import GeometryError
from geocnn.files import replacing
from geocnn.geometry import Mesh, OneSidedMesh, RawMesh, Surface
from geocnn.geometry.spheres.projective import ProjectivePlane
from geocnn.geometry.spheres.surfaces import HealpixGrid, Sphere
from geocnn.viz import scene
from geocnn.viz.colours import DIVERGING, INK, LABEL_COLOURS, MISSING, PLAIN, SEQUENTIAL
from geocnn.viz.field_pictures import Up, sides
from geocnn.viz.fields import Field, ReadField, read_field
from geocnn.viz.skins import Skin, in_memory, skin

MOST_ARROWS = 1500
"""Arrows of a vector field, spread over the surface."""


def page(
    file: str | Path,
    surface: Surface | RawMesh,
    fields: Mapping[str, Field | Tensor | ArrayLike],
    title: str = "",
    up: Up = "y",
) -> None:
    """Write a surface with fields to choose from as one HTML file, whole or not at all.

    The page needs no network. It shows the colour bar with its limits or the classes with their names, and
    the value under the pointer; one turns the surface with the mouse, a finger or the arrow keys. The address
    `FILE.html#field=NAME` opens it at a field. It takes about 25 bytes per face, 80 per pixel of a sphere,
    and 6 per value.

    Args:
        file: the name of the page.
        surface: as in `field`.
        fields: values on the surface by name, as in `field`; none shows the shape alone.
        title: of the page.
        up: the axis of space that points up at first; on spheres it is the north pole.

    Raises:
        GeometryError: a field does not fit the surface (the message names it), or nothing can be drawn.

    >>> import tempfile
    >>> from geocnn.geometry import healpix
    >>> sphere = healpix(4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page(f"{folder}/map.html", sphere, {"height": sphere.points[:, 2]})
    ...     "WebGL" in Path(f"{folder}/map.html").read_text(encoding="utf-8")
    True
    """
    surface = in_memory(surface)
    whole = skin(surface)
    round_ = isinstance(surface, Sphere | ProjectivePlane)
    view = sides(whole, "z" if round_ else up)[0]
    corners = whole.vertices[whole.faces].view(-1, 3)
    scale = corners.abs().max().clamp_min(1e-300)
    low, high = (corners / scale).amin(0), (corners / scale).amax(0)
    centre, radius = (low + high) / 2, float((high - low).norm() / 2) or 1.0

    def placed(points: Float64[Tensor, "*k 3"]) -> Float64[Tensor, "*k 3"]:
        return (points / scale - centre) / radius

    shows: dict[str, str | None] = {
        _element(surface): None if whole.shows is whole.faces else _bytes(whole.shows)
    }
    described = []
    for name, values in fields.items():
        read = read_field(values, name)
        try:
            shown = skin(surface, len(read.levels))
            arrows = read.arrows(shown)
        except GeometryError as error:
            raise GeometryError(f"{name}: {error}") from error
        of = _element(surface)
        if len(read.levels) != len(whole.centres):
            of = "face"
            shows.setdefault(of, _bytes(shown.shows))
        lines = None if arrows is None else _bytes(placed(_arrow_lines(shown, arrows)).float())
        described.append({"name": name, "of": of, "arrows": lines, **_described(read)})
    seen = (placed(corners) @ view.T).abs().amax(0).tolist()
    data = {
        "title": title,
        "vertices": _bytes(placed(whole.vertices).float()),
        "faces": _bytes(whole.faces),
        "shows": shows,
        "fields": described,
        "maps": _colour_maps(),
        "gap": _rgb(MISSING),
        "plain": _rgb(PLAIN),
        "flat": whole.flat,
        "view": view.tolist(),
        # half the width and height of what is seen; a turned solid may be as wide as it is long
        "size": seen[:2] if whole.flat else [max(seen)] * 2,
    }
    # "<" could end the element that holds the data
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    template = files("geocnn.viz").joinpath("page.html").read_text(encoding="utf-8")
    with replacing(file) as new:
        new.write_text(template.replace("@DATA@", text), encoding="utf-8", errors="backslashreplace")


def _element(surface: Surface | RawMesh) -> str:
    """Return what the points of a surface are called."""
    if isinstance(surface, Mesh | OneSidedMesh | RawMesh):
        return "vertex"
    return "pixel" if isinstance(surface, Sphere) and isinstance(surface.grid, HealpixGrid) else "point"


def _described(read: ReadField) -> dict[str, Any]:
    """Return all of a field that the page shows."""
    low, high = read.limits
    levels, single = read.levels, read.levels.float()
    # single precision where it tells the values apart
    close = (single.double() - levels).abs().nan_to_num(0) <= 1e-5 * (high - low)
    kept = single if bool(close.all()) else levels
    counts = read.counts if read.kind == "labels" else {}
    return {
        "kind": read.kind,
        "unit": read.unit,
        "limits": [low, high],
        "beyond": read.beyond,
        "map": read.colour_map,
        "type": "f4" if kept is single else "f8",
        "values": _bytes(kept),
        "missing": read.missing,
        "counts": list(counts.items()),
        "classes": {label: read.class_name(label) for label in counts},
    }


def _arrow_lines(shown: Skin, arrows: Float64[Tensor, "n 3"]) -> Float64[Tensor, "k 2 3"]:
    """Return the lines of arrows, one per cube of space, a bit above the surface; the longest fill a cube."""
    size = arrows.norm(dim=1)
    ids = ((size > 0) & shown.centres.isfinite().all(1)).nonzero()[:, 0]
    if not len(ids):
        return arrows.new_zeros(0, 2, 3)
    at = shown.centres[ids]
    span = float((at.amax(0) - at.amin(0)).max()) or 1.0
    # a surface meets about as many cubes as its sides have squares
    cell = span / (MOST_ARROWS / 3) ** 0.5
    cube = ((at - at.amin(0)) / cell).long()
    key = cube @ torch.tensor([1 << 40, 1 << 20, 1])
    group = key.unique(return_inverse=True)[1]
    n = int(group.max()) + 1
    chosen = ids[torch.full((n,), len(ids)).scatter_reduce_(0, group, torch.arange(len(ids)), "amin")]
    corners = shown.vertices[shown.faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    at_rows = torch.zeros_like(shown.centres).index_add_(
        0, shown.shows.flatten(), normals.repeat_interleave(3, 0)
    )
    normal = normalize(at_rows[chosen], dim=1, eps=1e-300)
    start = shown.centres[chosen] + 0.05 * cell * normal
    return scene.arrows(start, arrows[chosen] * (0.95 * cell / size.max()), normal, INK).ends


def _colour_maps() -> dict[str, str]:
    from matplotlib import colormaps

    tables = {name: colormaps[name](np.arange(256))[:, :3] for name in (SEQUENTIAL, DIVERGING)}
    tables["labels"] = np.array([_rgb(colour) for colour in LABEL_COLOURS])
    return {name: _base64((255 * table).round().astype(np.uint8)) for name, table in tables.items()}


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def _bytes(values: Tensor) -> str:
    """Return ids as uint32, and numbers as they are, in base64."""
    array = values.contiguous().numpy()
    return _base64(array.astype(np.uint32) if array.dtype.kind == "i" else array)


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).decode(
        "ascii"
    )
