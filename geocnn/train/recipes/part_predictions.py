"""Pictures and predictions of the recipe body-parts: labels, shares of the area, pages of bodies."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from geocnn.data.bodies import PARTS, Body, bodies
from geocnn.data.store import datasets_folder
from geocnn.errors import GeocnnError, GeometryError
from geocnn.geometry import Mesh
from geocnn.geometry.io import load_triangles, save_ply
from geocnn.train.recipe import Inputs, Request
from geocnn.train.recipes.part_surfaces import (
    AREA,
    Batches,
    batch,
    prepared,
    shares,
    standard_mesh,
    two_sided,
)
from geocnn.train.reporting import per_cent

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from geocnn.data.surface_data import SurfaceData
    from geocnn.train.prediction import Prediction
    from geocnn.train.runs import Run

FEWEST, MOST = 500, 20_000
"""Vertices of a mesh that can be read: kernels hold about 20 of a body's 3,000, and so 3 to 140 of these."""


def inputs(request: Request, model: dict[str, Any], console: Console) -> Inputs:
    """Read a user's mesh, or take test bodies; `shown` is (vertices, faces, surface), or {number: body}.

    Raises:
        GeometryError: the file holds no mesh the network can read; see `check_size` too.
        GeocnnError: an option for maps is given, or a library is missing.
    """
    check_libraries()
    if request.nested is not None or request.fill:
        raise GeocnnError(
            "--nested, --ring and --fill are for maps; a mesh takes none of them: leave them out"
        )
    if request.file is not None:
        vertices, faces = load_triangles(request.file)
        surface = two_sided(vertices, faces)
        if remark := check_size(surface):
            line = f"{request.file.name}: {remark}"
            console.print(line, style="yellow", highlight=False, soft_wrap=True)
        (data,) = prepared([standard_mesh(vertices, faces)], None, model["geometry"], 1, console)
        return Inputs([batch([data])], (vertices, faces, surface))
    every = bodies("test")
    n = min(request.examples or 4, len(every))
    chosen = {k: every[k] for k in torch.linspace(0, len(every) - 1, n).round().long().tolist()}
    meshes = [standard_mesh(body.vertices, body.faces) for body in chosen.values()]
    labels = [body.labels for body in chosen.values()]
    return Inputs([batch([data]) for data in prepared(meshes, labels, model["geometry"], 0, console)], chosen)


def present(prediction: Prediction) -> None:
    """Write the answers as a mesh and a picture; for test bodies, draw a page with truth and answer.

    For `name.ply` (or another mesh) `name.parts.ply` has its vertices and faces as they are, a `label`
    (uchar, place in PARTS) and a colour per vertex; `name.parts.png` shows it from front and back.
    """
    if prediction.request.file is None:
        _present_examples(prediction)
    else:
        _present_mesh(prediction, prediction.request.file)


def check_size(surface: Mesh) -> str:
    """Describe what is odd about the size of a user's mesh, or return "".

    Raises:
        GeometryError: its number of vertices is so far from a body's that kernels hold next to nothing, or a
            good part of the surface.
    """
    n, area = surface.n_points, float(surface.areas.sum())
    if not FEWEST <= n <= MOST:
        raise GeometryError(
            f"the mesh has {n} vertices; the network learnt on about 3,000 and reads {FEWEST} to {MOST}: "
            f"remesh it evenly to about 3,000 ({datasets_folder() / 'body_parts' / 'make.py'} shows how), "
            "and give the result"
        )
    remarks = []
    if not 0.5 < area / AREA < 2:
        remarks.append(
            f"its area is {area:.4g} square units, a person's in metres about {AREA:.2g}: it is read as if a "
            f"unit were {math.sqrt(AREA / area):.3g} m"
        )
    if not 1500 < n < 6000:
        remarks.append(f"it has {n} vertices, the network learnt on about 3,000; expect it to do worse")
    return "; ".join(remarks)


def _present_mesh(prediction: Prediction, file: Path) -> None:
    vertices, faces, surface = prediction.inputs.shown
    (probabilities,) = prediction.outputs
    label = probabilities.argmax(-1)
    answer = prediction.request.folder / f"{file.stem}.parts.ply"
    colours = dict(zip(("red", "green", "blue"), _colours()[label].unbind(1), strict=True))
    save_ply(answer, vertices, faces, label=label.to(torch.uint8), **colours)
    share = torch.bincount(label, surface.areas, len(PARTS)) / surface.areas.sum()
    _print_shares(share, probabilities, surface.areas, prediction.console)
    prediction.wrote(answer)
    if importlib.util.find_spec("matplotlib"):
        from geocnn import viz

        front = upright(standard_mesh(vertices, faces).points)
        back = front * front.new_tensor([-1.0, 1.0, -1.0])
        page = viz.mesh_page([(front, faces), (back, faces)], [label, label], PARTS, ["front", "back"])
        prediction.save(page, answer.with_suffix(".png").name)


def _present_examples(prediction: Prediction) -> None:
    from rich.table import Table

    chosen = prediction.inputs.shown
    answers = [probabilities.argmax(-1) for probabilities in prediction.outputs]
    right = [area_right(*pair) for pair in zip(answers, prediction.inputs.batches, strict=True)]
    table = Table("test body", "person", "pose", "area labelled right")
    for (number, body), share in zip(chosen.items(), right, strict=True):
        table.add_row(str(number), str(body.identity), body.pose, per_cent(share))
    prediction.console.print(table)
    if importlib.util.find_spec("matplotlib"):
        prediction.save(_page(list(chosen.values()), answers, right), "test-bodies.png")


def draw(run: Run, chosen: Sequence[Body]) -> None:
    """Draw the confusion of parts by area, and some test bodies with truth and answer."""
    from geocnn import viz

    tests = run.data("test")
    assert isinstance(tests, Batches)
    surfaces = tests.surfaces
    outputs = run.answers[run.main.folder, ""]
    answers = [probabilities.argmax(-1) for probabilities in outputs]
    title = "share of each part's area, on unseen people in unseen poses"
    labels = torch.cat([surface.y for surface in surfaces if surface.y is not None])
    weights = torch.cat([shares(batch([surface])) for surface in surfaces])
    run.save(viz.confusion(torch.cat(answers), labels, PARTS, title, weights), "confusion.png")
    right = [area_right(*pair) for pair in zip(answers, surfaces, strict=True)]
    run.save(_page(chosen, answers, right), "bodies.png")


def area_right(answer: Int64[Tensor, " n"], surface: SurfaceData) -> float:
    """Return the share of the surface's area on which the answer is the surface's own label."""
    areas = surface.areas.double()
    return float(((answer == surface.y) * areas).sum() / areas.sum())


def _page(
    chosen: Sequence[Body], answers: Sequence[Int64[Tensor, " _"]], right: Sequence[float], columns: int = 6
) -> Figure:
    """Draw one or two whole rows of bodies, spread over all: the truth, and below it the answer."""
    from geocnn import viz

    columns = min(columns, len(chosen))
    shown = 2 * columns if len(chosen) >= 2 * columns else columns
    numbers = torch.linspace(0, len(chosen) - 1, shown).round().long().split(columns)
    meshes, labels, titles = [], [], []
    for row in (part.tolist() for part in numbers):
        meshes += 2 * [(chosen[k].vertices, chosen[k].faces) for k in row]
        labels += [chosen[k].labels for k in row] + [answers[k] for k in row]
        titles += [chosen[k].pose for k in row]
        titles += [f"{100 * right[k]:.1f} % right" for k in row]
    title = "Truth above, answer below: unseen people in unseen poses"
    return viz.mesh_page(meshes, labels, PARTS, titles, title, columns)


def upright(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Turn points so that their longest axis is +y and their shortest is z, for pictures.

    Which end is up and which side is front stays as far as the coordinates show it: +y or +z as up.
    """
    centred = points - points.mean(0)
    _, axes = torch.linalg.eigh(centred.mT @ centred)
    up, front = axes[:, 2], axes[:, 0]
    up = up * up[up.abs().argmax()].sign()
    front = front * front[front.abs().argmax()].sign()
    return centred @ torch.stack([torch.linalg.cross(up, front, dim=0), up, front], 1)


def check_libraries() -> None:
    """Raise GeocnnError where a library is missing that meshes need beyond the core."""
    for module in ("torch_geometric", "scipy"):
        if importlib.util.find_spec(module) is None:
            raise GeocnnError(f"body-parts needs {module}: pip install 'geocnn[mesh]'")


def _colours() -> UInt8[Tensor, "parts 3"]:
    """Return the colours of the pictures, one per part."""
    from geocnn.viz import LABEL_COLOURS

    return torch.tensor([list(bytes.fromhex(colour[1:])) for colour in LABEL_COLOURS], dtype=torch.uint8)


def _print_shares(
    share: Float[Tensor, " parts"],
    probabilities: Float[Tensor, "n parts"],
    areas: Float64[Tensor, " n"],
    console: Console,
) -> None:
    from rich.table import Table

    table = Table("label", "part", "share of the area", "mean probability there")
    best, label = probabilities.double().max(-1)
    for k, name in enumerate(PARTS):
        weight = areas * (label == k)
        sure = f"{100 * float((best * weight).sum() / weight.sum()):.1f} %" if share[k] > 0 else "-"
        table.add_row(str(k), name, f"{100 * float(share[k]):.1f} %", sure)
    console.print(table)
