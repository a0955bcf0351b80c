"""What a network of parts says of a user's mesh, or of test bodies: labels, shares of the area, pictures."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geocnn.data.bodies import PARTS, Body, bodies
from geocnn.errors import GeocnnError, GeometryError
from geocnn.geometry import Mesh
from geocnn.geometry.io import load_triangles, save_ply
from geocnn.train.recipe import Request
from geocnn.train.recipes.part_networks import load_network, probabilities
from geocnn.train.recipes.part_surfaces import AREA, prepared, standard_mesh, two_sided

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from geocnn.data.surface_data import SurfaceData

FEWEST, MOST = 500, 20_000
"""Vertices of a mesh that can be read: kernels hold about 20 of a body's 3,000, and so 3 to 140 of these."""


def predict(request: Request, console: Console) -> None:
    """Label the vertices of a user's mesh, or of some test bodies where no file is given.

    For `name.ply` (or .obj, .off, .npz) `name.parts.ply` has its vertices and faces as they are, a `label`
    (uchar, place in PARTS) and a colour at each vertex; `name.parts.png` shows it from front and back. For
    test bodies there is a page with truth and answer.

    Raises:
        GeometryError: the file holds no mesh the network can read; see `check_size` too.
        GeocnnError: a file and a number of examples are given, or an option for maps; or a library
            is missing.
        CheckpointError: the folder holds no network of this recipe.
    """
    check_libraries()
    if request.nested is not None or request.fill:
        raise GeocnnError(
            "--nested, --ring and --fill are for maps; a mesh takes none of them: leave them out"
        )
    if request.file is not None and request.examples:
        raise GeocnnError("give either a mesh or --examples N (test bodies), not both")
    network, model = load_network(request.model)
    if request.file is None:
        _predict_examples(network, model, request, console)
    else:
        _predict_file(network, model, request.file, request.folder, console)


def check_size(surface: Mesh) -> str:
    """What is odd about the size of a user's mesh, or "".

    Raises:
        GeometryError: its number of vertices is so far from a body's that kernels hold next to nothing, or a
            good part of the surface.
    """
    n, area = surface.n_points, float(surface.areas.sum())
    if not FEWEST <= n <= MOST:
        raise GeometryError(
            f"the mesh has {n} vertices; the network learnt on about 3,000 and reads {FEWEST} to {MOST}: "
            "remesh it evenly to about 3,000 (datasets/body_parts/make.py shows how), and give the result"
        )
    said = []
    if not 0.5 < area / AREA < 2:
        said.append(
            f"its area is {area:.4g} square units, a person's in metres about {AREA:.2g}: it is read as if a "
            f"unit were {math.sqrt(AREA / area):.3g} m"
        )
    if not 1500 < n < 6000:
        said.append(f"it has {n} vertices, the network learnt on about 3,000; expect it to do worse")
    return "; ".join(said)


def _predict_file(
    network: nn.Module, model: dict[str, Any], file: Path, folder: Path, console: Console
) -> None:
    vertices, faces = load_triangles(file)
    surface = two_sided(vertices, faces)
    odd = check_size(surface)
    if odd:
        console.print(f"{file.name}: {odd}", style="yellow", highlight=False, soft_wrap=True)
    scaled = standard_mesh(vertices, faces)
    (data,) = prepared([scaled], None, model["geometry"], 1, console)
    (found,) = probabilities(network, [data], torch.device("cpu"))
    label = found.argmax(-1)
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / f"{file.stem}.parts.ply"
    colours = dict(zip(("red", "green", "blue"), _colours()[label].unbind(1), strict=True))
    save_ply(answer, vertices, faces, label=label.to(torch.uint8), **colours)
    share = torch.bincount(label, surface.areas, len(PARTS)) / surface.areas.sum()
    _print_shares(share, found, surface.areas, console)
    console.print(f"wrote {answer}", soft_wrap=True)
    if importlib.util.find_spec("matplotlib"):
        from geocnn import viz

        front = upright(scaled.points)
        back = front * front.new_tensor([-1.0, 1.0, -1.0])
        page = viz.mesh_page([(front, faces), (back, faces)], [label, label], PARTS, ["front", "back"])
        page.savefig(answer.with_suffix(".png"), dpi=150)
        console.print(f"wrote {answer.with_suffix('.png')}", soft_wrap=True)


def _predict_examples(network: nn.Module, model: dict[str, Any], request: Request, console: Console) -> None:
    from rich.table import Table

    every = bodies("test")
    n = min(request.examples or 4, len(every))
    numbers = torch.linspace(0, len(every) - 1, n).round().long().tolist()
    chosen = [every[k] for k in numbers]
    meshes = [standard_mesh(body.vertices, body.faces) for body in chosen]
    surfaces = prepared(meshes, [body.labels for body in chosen], model["geometry"], 0, console)
    answers = [p.argmax(-1) for p in probabilities(network, surfaces, torch.device("cpu"))]
    table = Table("test body", "person", "pose", "area labelled right")
    for number, body, answer, surface in zip(numbers, chosen, answers, surfaces, strict=True):
        right = f"{100 * area_right(answer, surface):.2f} %"
        table.add_row(str(number), str(body.identity), body.pose, right)
    console.print(table)
    if importlib.util.find_spec("matplotlib"):
        request.folder.mkdir(parents=True, exist_ok=True)
        picture = request.folder / "test-bodies.png"
        bodies_page(chosen, answers, surfaces).savefig(picture, dpi=150)
        console.print(f"wrote {picture}", soft_wrap=True)


def area_right(found: Tensor, surface: SurfaceData) -> float:
    """The share of the surface's area on which found [N] is the surface's own label."""
    areas = surface.areas.double()
    return float(((found == surface.y) * areas).sum() / areas.sum())


def bodies_page(
    chosen: Sequence[Body], answers: Sequence[Tensor], surfaces: Sequence[SurfaceData], columns: int = 6
) -> Figure:
    """One or two whole rows of bodies, spread over all: the truth, and the answer in the row below it."""
    from geocnn import viz

    columns = min(columns, len(chosen))
    shown = 2 * columns if len(chosen) >= 2 * columns else columns
    numbers = torch.linspace(0, len(chosen) - 1, shown).round().long().split(columns)
    meshes, labels, titles = [], [], []
    for row in (part.tolist() for part in numbers):
        meshes += 2 * [(chosen[k].vertices, chosen[k].faces) for k in row]
        labels += [chosen[k].labels for k in row] + [answers[k] for k in row]
        titles += [chosen[k].pose for k in row]
        titles += [f"{100 * area_right(answers[k], surfaces[k]):.1f} % right" for k in row]
    title = "Truth above, answer below: unseen people in unseen poses"
    return viz.mesh_page(meshes, labels, PARTS, titles, title, columns)


def upright(points: Tensor) -> Tensor:
    """The points [N, 3] turned so that their longest axis is +y and their shortest is z, for pictures.

    Which end is up and which side is front is kept as far as the coordinates tell: +y or +z as up.
    """
    centred = points - points.mean(0)
    _, axes = torch.linalg.eigh(centred.mT @ centred)
    up, front = axes[:, 2], axes[:, 0]
    up = up * up[up.abs().argmax()].sign()
    front = front * front[front.abs().argmax()].sign()
    return centred @ torch.stack([torch.linalg.cross(up, front, dim=0), up, front], 1)


def check_libraries() -> None:
    """Raises GeocnnError where a library is missing that meshes need beyond the core."""
    for module in ("torch_geometric", "scipy"):
        if importlib.util.find_spec(module) is None:
            raise GeocnnError(f"body-parts needs {module}: pip install 'geocnn[mesh]'")


def _colours() -> Tensor:
    """[8, 3] uint8, those of the pictures."""
    from geocnn.viz import LABEL_COLOURS

    return torch.tensor([list(bytes.fromhex(colour[1:])) for colour in LABEL_COLOURS], dtype=torch.uint8)


def _print_shares(share: Tensor, found: Tensor, areas: Tensor, console: Console) -> None:
    from rich.table import Table

    table = Table("label", "part", "share of the area", "mean probability there")
    best, label = found.double().max(-1)
    for k, name in enumerate(PARTS):
        weight = areas * (label == k)
        sure = f"{100 * float((best * weight).sum() / weight.sum()):.1f} %" if share[k] > 0 else "-"
        table.add_row(str(k), name, f"{100 * float(share[k]):.1f} %", sure)
    console.print(table)
