"""A field on a surface in one figure: colours for numbers and labels, arrows for vectors, and their key."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeGuard

import torch
from jaxtyping import Float64, Int64, Shaped
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import normalize

from geocnn.geometry import RawMesh, Surface
from geocnn.geometry.spheres.healpix_maps import check_map
from geocnn.geometry.spheres.surfaces import IcosphereGrid, Sphere, healpix
from geocnn.viz.colours import FAINT, INK, PLAIN
from geocnn.viz.fields import Classes, Field, FieldKind, ReadField, blended, read_field
from geocnn.viz.keys import colour_bar, legend
from geocnn.viz.scene import oblique
from geocnn.viz.seeing import Seen, look, show
from geocnn.viz.skins import Skin, in_memory, skin
from geocnn.viz.sphere_pictures import graticule
from geocnn.viz.whole_sky import EXTENT, projected, see_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Up = Literal["x", "y", "z"]

ARROWS = 26
"""Arrows along the longer side of one view, at most."""


def field(
    surface: Surface | RawMesh,
    values: Field | Tensor | ArrayLike,
    name: str = "",
    unit: str = "",
    limits: tuple[float, float] | None = None,
    kind: FieldKind | None = None,
    classes: Classes | None = None,
    up: Up = "y",
) -> Figure:
    """Draw values on a surface, with a colour bar or a legend of classes.

    HEALPix maps and ring grids are drawn whole, in Mollweide projection, closed meshes and icospheres from
    the front and the back, open meshes from the side on which more of their area looks at the viewer, and
    flat surfaces from above, like images.
    Colours are interpolated between the vertices of a mesh. Where values change sign, the colour map is
    diverging with zero in its middle. Places without a value are grey, and the legend counts them. A hundred
    thousand faces take half a second.

    Args:
        surface: any surface in two or three dimensions, or a mesh read from a file, with all its defects.
        values: one row per point or, on meshes, per face: numbers [N], labels [N], or vectors, [N, 2] in the
            surface's frames or [N, 3] in space. A `Field` holds these and the arguments after `name`.
        name: what the values are, for the title and the colour bar.
        unit: of the values.
        limits: the values at the two ends of the colour bar.
        kind: "scalar", "vector" or "labels"; None decides by shape and type, see `Field`.
        classes: names of labels, from label 0 on or by label.
        up: the axis of space that points up in the picture of a mesh.

    Raises:
        GeometryError: values are no numbers, do not fit the surface or the kind, or nothing can be drawn.

    >>> from geocnn.geometry import icosphere
    >>> sphere = icosphere(3)
    >>> figure = field(sphere, sphere.points[:, 2], "height", "m")
    >>> figure.savefig("height.png")  # doctest: +SKIP
    """
    given = values if isinstance(values, Field) else Field(values, kind, unit, limits, classes)
    surface, read = in_memory(surface), read_field(given, name or "values")
    shown = skin(surface, len(read.levels))
    figure, axes = _views(surface, shown, read, read.arrows(shown), up)
    label = " ".join(part for part in (name, f"({read.unit})" if read.unit else "") if part)
    if read.kind != "labels":
        colour_bar(figure, axes, read, label)
    legend(figure, [read])
    figure.suptitle(name, fontsize=11, color=INK, parse_math=False)
    return figure


def shape(surface: Surface | RawMesh, title: str = "", up: Up = "y") -> Figure:
    """Draw a surface without values, from the sides that `field` draws it from.

    Raises GeometryError where nothing can be drawn.

    >>> from geocnn.geometry import icosphere
    >>> len(shape(icosphere(2)).axes)
    2
    """
    surface = in_memory(surface)
    figure, _ = _views(surface, skin(surface), None, None, up)
    figure.suptitle(title, fontsize=11, color=INK, parse_math=False)
    return figure


def mollweide(values: Shaped[Tensor, " npix"], title: str = "", nested: bool = False) -> Figure:
    """Draw the whole HEALPix map in Mollweide projection, east on the right.

    Raises MapError for values that are no HEALPix map. `field` also draws labels, vectors and gaps.
    """
    return field(healpix(check_map(values), nested=nested), values, title, kind="scalar")


def sides(shown: Skin, up: Up = "y") -> list[Float64[Tensor, "3 3"]]:
    """Return the views a skin is drawn from: right, up and towards the viewer, rows.

    A flat one is seen from above, a closed one from two opposite sides, another from the better of these.
    """
    if shown.flat:
        return [torch.eye(3, dtype=torch.float64)]
    turned = torch.eye(3, dtype=torch.float64).roll({"x": 1, "y": 0, "z": -1}[up], 0)
    views = [oblique(turn) @ turned for turn in (0.5, 0.5 + math.pi)]
    if shown.closed:
        return views
    corners = shown.vertices[shown.faces]
    corners = corners / corners.abs().max().clamp_min(1e-300)
    side = corners.roll(-1, 1) - corners
    outward = torch.linalg.cross(side[:, 0], side[:, 1], dim=-1).sum(0)
    return [max(views, key=lambda view: float(view[2] @ outward))]


def _views(
    surface: Surface | RawMesh,
    shown: Skin,
    read: ReadField | None,
    arrows: Float64[Tensor, "n 3"] | None,
    up: Up,
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    if is_sky(surface):
        figure = Figure(figsize=(8, 4.9), layout="constrained")
        axis = figure.subplots()
        draw_sky(axis, surface, read)
        if arrows is not None:
            _draw_sky_arrows(axis, surface, arrows)
        return figure, [axis]
    views = sides(shown, up)
    pictures = [look(shown, view) for view in views]
    left, right, bottom, top = pictures[0].extent
    aspect = min(max((top - bottom) / (right - left), 0.35), 1.6)
    width = 4.4 if len(views) == 2 else 6.0
    figure = Figure(figsize=(width * len(views) + 0.8, max(width * aspect, 2.2) + 0.6), layout="constrained")
    axes = list(figure.subplots(1, len(views), squeeze=False)[0])
    for axis, seen, view, title in zip(axes, pictures, views, ("front", "back"), strict=False):
        show(axis, seen, view_colours(seen, read))
        if arrows is not None:
            _draw_arrows(axis, shown, arrows, seen, view)
        if len(views) == 2:
            axis.set_title(title, fontsize=9, color=FAINT)
    return figure, axes


def is_sky(surface: Surface | RawMesh) -> TypeGuard[Sphere]:
    """Return whether a surface is drawn whole, in Mollweide projection."""
    return isinstance(surface, Sphere) and not isinstance(surface.grid, IcosphereGrid)


def draw_sky(axis: Axes, sphere: Sphere, read: ReadField | None, size: int = 1400) -> None:
    """Draw values on the whole sphere, `size` pixels wide, with meridians and parallels."""
    seen = see_whole(sphere, size)
    show(axis, seen, view_colours(seen, read))
    _draw_graticule(axis)


def view_colours(seen: Seen, read: ReadField | None) -> Float64[Tensor, "h w 3"]:
    """Return the colours of a view; without a field one colour."""
    from matplotlib.colors import to_rgb

    if read is None:
        return torch.tensor(to_rgb(PLAIN), dtype=torch.float64).expand(*seen.shade.shape, 3)
    return read.colours(blended(read.levels, seen.rows, seen.weights, read.kind))


def _draw_arrows(
    axis: Axes, shown: Skin, arrows: Float64[Tensor, "n 3"], seen: Seen, view: Float64[Tensor, "3 3"]
) -> None:
    """Arrows at places that nothing hides, spread evenly over the picture."""
    at, along = shown.centres @ view.T, arrows @ view.T
    left, right, bottom, top = seen.extent
    height, width = seen.depth.shape
    column = ((at[:, 0] - left) / (right - left) * width).nan_to_num(-1).long().clamp(0, width - 1)
    row = ((top - at[:, 1]) / (top - bottom) * height).nan_to_num(-1).long().clamp(0, height - 1)
    # a place on a slope may lie behind the middle of its pixel
    slack = 0.02 * max(right - left, top - bottom)
    visible = (at[:, 2] > seen.depth[row, column] - slack) & (arrows != 0).any(1)
    _draw_spread(axis, at[:, :2], along[:, :2], visible.nonzero()[:, 0], max(right - left, top - bottom))


def _draw_sky_arrows(axis: Axes, sphere: Sphere, arrows: Float64[Tensor, "n 3"]) -> None:
    """Arrows in the directions that the projection gives them, as long as the vectors are."""
    p, step, size = sphere.directions, 1e-5, arrows.norm(dim=1, keepdim=True)
    at = projected(p)
    ahead = projected(normalize(p + step * normalize(arrows, dim=1), dim=1)) - at
    # where the picture is cut, an arrow would leap across it
    whole = (ahead.norm(dim=1) < 0.1) & (size > 0)[:, 0]
    along = normalize(ahead, dim=1, eps=1e-300) * size
    _draw_spread(axis, at, along, whole.nonzero()[:, 0], EXTENT[1] - EXTENT[0], math.ceil(1.4 * ARROWS))


def _draw_spread(
    axis: Axes,
    at: Float64[Tensor, "n 2"],
    along: Float64[Tensor, "n 2"],
    ids: Int64[Tensor, " k"],
    width: float,
    most: int = ARROWS,
) -> None:
    """Draw the arrow of `ids` that is nearest to the middle of each square of the picture."""
    if not len(ids):
        return
    cell = width / most
    place = at[ids] / cell
    square = place.floor().long()
    key = (square - square.amin(0)) @ torch.tensor([most * 4, 1])
    order = (place - square - 0.5).norm(dim=1).argsort(stable=True)
    group = key[order].unique(return_inverse=True)[1]
    first = torch.full((int(group.max()) + 1,), len(ids)).scatter_reduce_(0, group, order.argsort(), "amin")
    rank = torch.full_like(first, len(ids)).scatter_reduce_(0, group, torch.arange(len(group)), "amin")
    chosen = ids[order[rank]]
    longest = along[chosen].norm(dim=1).max().clamp_min(1e-300)
    x, y = at[chosen].T.numpy()
    u, v = (along[chosen] * (1.3 * cell / longest)).T.numpy()
    axis.quiver(
        x, y, u, v, color=INK, edgecolor="white", linewidth=0.4, angles="xy", scale_units="xy", scale=1,
        width=0.0035, headwidth=4.5,
    )  # fmt: skip


def _draw_graticule(axis: Axes) -> None:
    """Meridians and parallels every 30 degrees, and the edge of the picture."""
    for line in graticule():
        x, y = projected(line.T).T
        x = x.masked_fill(torch.cat([torch.tensor([False]), x.diff().abs() > 1]), math.nan)
        axis.plot(x.numpy(), y.numpy(), color="white", alpha=0.3, linewidth=0.5)
    turn = torch.linspace(0, 2 * math.pi, 361, dtype=torch.float64)
    axis.plot((EXTENT[1] * turn.cos()).numpy(), (EXTENT[3] * turn.sin()).numpy(), color=FAINT, linewidth=0.8)
    axis.set_xlim(1.01 * EXTENT[0], 1.01 * EXTENT[1])
    axis.set_ylim(1.02 * EXTENT[2], 1.02 * EXTENT[3])
