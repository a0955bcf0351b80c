"""A picture of a mesh as the doctor sees it: curvature, frames, defects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geocnn.console import legible
from geocnn.geometry import Diagnosis, Mesh, OneSidedMesh, RawMesh, angle_defects, mesh
from geocnn.geometry.doctor.defects import Defect, Examined
from geocnn.viz.colours import FAINT, INK, RIGHT, WRONG
from geocnn.viz.scene import oblique
from geocnn.viz.seeing import look, show
from geocnn.viz.skins import skin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def inspection(raw: RawMesh, diagnosis: Diagnosis, title: str = "") -> Figure:
    """Draw a mesh from two opposite sides: Gaussian curvature, frames (e₁ dark, e₂ light), in green a loop of
    the holonomy group, and in red defects.

    Curvature, frames and the loop where a surface can be made of it; else its faces in grey.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), layout="constrained")
    surface = mesh(raw.vertices, raw.faces) if diagnosis.usable else None
    axes = figure.subplots(1, 2)
    shades = None if surface is None else _curvature_colours(surface, figure)
    for axis, turn in zip(axes, (0.5, 0.5 + math.pi), strict=True):
        axis.axis("off")
        axis.set_aspect("equal")
        view = oblique(turn)
        _draw_faces(axis, raw, view, shades)
        if surface is not None:
            _draw_frames(axis, surface, view)
        if diagnosis.holonomy is not None and diagnosis.holonomy.loops:
            _draw_loop(axis, raw, view, diagnosis.holonomy.loops[0])
        for defect in diagnosis.defects:
            _draw_defect(axis, raw, view, defect)
        axis.autoscale_view()
    lines = [legible(title)]
    if diagnosis.holonomy is not None:
        loop = "; green: a loop that proves it" if diagnosis.holonomy.loops else ""
        lines.append(f"holonomy {diagnosis.holonomy.group}{loop}")
    if diagnosis.defects:
        lines.append(", ".join(f"{defect.kind} ({len(defect.ids)})" for defect in diagnosis.defects))
    figure.suptitle("\n".join(lines), fontsize=10, color=INK, parse_math=False)
    return figure


def _curvature_colours(surface: Mesh | OneSidedMesh, figure: Figure) -> Tensor:
    """Return one colour per face [F, 3], by its inner corners' mean defect over area; draw the scale."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    t = surface.triangulation
    inner = (~t.boundary & (t.vertex_areas > 0)).double()[: surface.n_vertices]
    curvature = inner * angle_defects(surface) / surface.areas.clamp_min(1e-300)
    corners = surface.faces
    of_face = (curvature * inner)[corners].sum(1) / inner[corners].sum(1).clamp_min(1)
    limit = max(float(of_face.abs().quantile(0.95)), 1e-12 / float(t.vertex_areas.sum()))
    scale = ScalarMappable(Normalize(-limit, limit), colormaps["RdBu_r"])
    figure.colorbar(scale, ax=figure.axes, label="Gaussian curvature, 1/length²", shrink=0.6, extend="both")
    return torch.from_numpy(scale.to_rgba(of_face.numpy())[:, :3])


def _draw_faces(axis: Axes, raw: RawMesh, view: Tensor, shades: Tensor | None) -> None:
    """All faces that have three places, from either side."""
    if not len(Examined(raw).measured):
        return
    seen = look(skin(raw, len(raw.faces)), view)
    plain = torch.full((len(raw.faces), 3), 0.82, dtype=torch.float64)
    show(axis, seen, (plain if shades is None else shades)[seen.rows[..., 0].clamp_min(0)])


def _draw_frames(axis: Axes, surface: Mesh | OneSidedMesh, view: Tensor, most: int = 250) -> None:
    """Frames at up to so many of the vertices that are seen."""
    points, frames = surface.points @ view.T, surface.frames @ view.T
    chosen = torch.arange(0, surface.n_points, max(1, surface.n_points // (2 * most)))
    chosen = chosen[(surface.areas[chosen] > 0) & _is_seen(points, frames, surface.spacing)[chosen]]
    size = min(0.6 * surface.spacing * math.sqrt(surface.n_points / (2 * most) + 1), 3 * surface.spacing)
    x, y, _ = points[chosen].unbind(1)
    for k, colour in ((0, INK), (1, FAINT)):
        u, v, _ = (size * frames[chosen, k]).unbind(1)
        axis.quiver(x, y, u, v, color=colour, angles="xy", scale_units="xy", scale=1, width=0.002)


def _is_seen(points: Tensor, frames: Tensor, spacing: float) -> Tensor:
    """Return whether points turn to the viewer and none lies well before them, by squares of two spacings."""
    cell = ((points[:, :2] - points[:, :2].amin(0)) / (2 * spacing)).long()
    key = (cell[:, 0] * (cell[:, 1].max() + 1) + cell[:, 1]).unique(return_inverse=True)[1]
    front = torch.full_like(points[:, 2], -math.inf).scatter_reduce_(0, key, points[:, 2], "amax")[key]
    facing = torch.linalg.cross(frames[:, 0], frames[:, 1], dim=-1)[:, 2] > 0.15
    return facing & (points[:, 2] > front - 4 * spacing)


def _draw_loop(axis: Axes, raw: RawMesh, view: Tensor, loop: Tensor) -> None:
    """A loop of faces, without the way to it and back; what is behind the surface is faint."""
    from matplotlib.collections import LineCollection

    apart = (loop != loop.roll(-1).flip(0)).nonzero()[:, 0]
    if len(apart):
        loop = loop[max(int(apart[0]) - 1, 0) : len(loop) - int(apart[0]) + 1]
    corners = raw.vertices[raw.faces[loop]] @ view.T
    middle = corners.mean(1)[:, :2]
    segments = torch.stack([middle, middle.roll(-1, 0)], 1)
    side = corners.roll(-1, 1) - corners
    front = torch.linalg.cross(side[:, 0], side[:, 1], dim=-1)[:, 2] > 0
    for some, strength in ((front, 1.0), (~front, 0.25)):
        axis.add_collection(
            LineCollection(list(segments[some].numpy()), colors=RIGHT, linewidths=2.0, alpha=strength)
        )


def _draw_defect(axis: Axes, raw: RawMesh, view: Tensor, defect: Defect) -> None:
    """Vertices as dots, edges as lines, faces outlined; what only informs or is nowhere is not drawn."""
    from matplotlib.collections import LineCollection

    if not defect.about.fatal or not len(defect.ids):
        return
    places = raw.vertices @ view.T
    if defect.about.element == "vertex":
        at = places[defect.ids]
        axis.plot(*at[at.isfinite().all(1), :2].T.numpy(), "o", color=WRONG, markersize=4)
        return
    ids = defect.ids
    if defect.about.element == "face":
        f = raw.faces[ids]
        f = f[((f >= 0) & (f < len(places))).all(1)]
        ids = torch.stack([f, f.roll(-1, 1)], -1).view(-1, 2)
    lines = places[ids]
    lines = lines[lines.isfinite().all(-1).all(-1)]
    axis.add_collection(LineCollection(list(lines[..., :2].numpy()), colors=WRONG, linewidths=1.2))
