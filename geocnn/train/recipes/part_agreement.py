"""Measure how far the answers of the recipe body-parts stay the same for the same body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from geocnn.geometry import Mesh
from geocnn.groups.rotations import random_rotations
from geocnn.train.devices import inference_device
from geocnn.train.recipes.part_networks import answer
from geocnn.train.recipes.part_surfaces import batch, prepared, two_sided

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.train.runs import Run


@torch.no_grad()
def agreement(run: Run, meshes: Sequence[Mesh], geometry: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Measure how far the answers of the run's model stay the same; also print that as a table.

    A body is turned in space, its vertices and faces are numbered differently, or all its frames are turned
    at random. Everything is computed again from the changed mesh. For each change: "labels", the share of
    the area with the same label (mean over bodies), and "probabilities", the largest difference.
    """
    settings = run.settings
    generator = torch.Generator().manual_seed(settings.seed)
    rotations = random_rotations(len(meshes), generator)
    changed: dict[str, list[Mesh]] = {"rotated": [], "relabelled": [], "random frames": []}
    orders = []
    for surface, rotation in zip(meshes, rotations, strict=True):
        n, f = len(surface.points), len(surface.faces)
        # old[k] is the vertex that is now number k
        old = torch.randperm(n, generator=generator)
        faces = old.argsort()[surface.faces][torch.randperm(f, generator=generator)]
        turned = torch.rand(n, generator=generator, dtype=torch.float64) * 2 * torch.pi
        changed["rotated"].append(two_sided(surface.points @ rotation.mT, surface.faces))
        changed["relabelled"].append(two_sided(surface.points[old], faces.roll(1, 1)))
        changed["random frames"].append(surface.turn_frames(turned))
        orders.append(old)
    device = inference_device(settings.devices)
    network = run.network(run.main).to(device)

    def probabilities(bodies: Sequence[Mesh]) -> list[Tensor]:
        surfaces = prepared(bodies, None, geometry, settings.processes, run.console)
        return [answer(network, batch([surface]).to(str(device)))[0].cpu() for surface in surfaces]

    original = probabilities(meshes)
    result = {}
    for name, bodies in changed.items():
        same, apart = 0.0, 0.0
        for k, new in enumerate(probabilities(bodies)):
            before = original[k][orders[k]] if name == "relabelled" else original[k]
            areas = bodies[k].areas
            same += float(((new.argmax(1) == before.argmax(1)) * areas).sum() / areas.sum()) / len(meshes)
            apart = max(apart, float((new - before).abs().max()))
        result[name] = {"labels": same, "probabilities": apart}
    _print(result, run.console)
    return result


def _print(agreement: dict[str, dict[str, float]], console: Console) -> None:
    from rich.table import Table

    table = Table(title="The same answer for the same body")
    for column in ("change", "area with the same label", "largest change of a probability"):
        table.add_column(column, justify="left" if column == "change" else "right")
    for change, figures in agreement.items():
        table.add_row(change, f"{100 * figures['labels']:.3f} %", f"{figures['probabilities']:.1e}")
    console.print(table)
