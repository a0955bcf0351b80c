"""Tell the parts of human bodies, of people and in poses never seen, from the shape of the surface alone.

A SurfaceUNet on triangle meshes of about 3,000 vertices: shape features in, one of eight labels at each
vertex out. Two baselines say what that is worth: how far the areas of a vertex and of its neighbours go (they
give the tessellation away, if anything does), and how far the same network goes when it has only invariant
channels, and so is blind to direction.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geocnn.data.bodies import PARTS, bodies
from geocnn.errors import GeocnnError
from geocnn.geometry import Mesh
from geocnn.groups.field_type import FieldType
from geocnn.groups.rotations import random_rotations
from geocnn.train.loop import (
    Outcome,
    finished,
    fit,
    fit_each,
    inference_device,
    is_main_process,
    try_step,
)
from geocnn.train.memory import Layer, Need, estimate
from geocnn.train.recipe import Recipe, Subject
from geocnn.train.recipes.part_networks import (
    FEATURES,
    PartsNetwork,
    build_network,
    load_network,
    parameters,
    probabilities,
    save_network,
    score,
)
from geocnn.train.recipes.part_predictions import area_right, bodies_page, check_libraries, predict
from geocnn.train.recipes.part_surfaces import (
    AREA,
    Batches,
    batch,
    prepared,
    shares,
    standard_mesh,
    two_sided,
)
from geocnn.train.results import read_metrics, write_metrics, write_results
from geocnn.train.settings import (
    BELOW_ONE,
    POSITIVE,
    LoopSettings,
    Range,
    convs_conflicts,
    setting,
    widths_conflicts,
)

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.data.surface_data import SurfaceData


@dataclass(frozen=True, kw_only=True)
class BodyPartsSettings(LoopSettings):
    """The settings of the recipe."""

    train_size: int = setting(160, "training bodies, at most 160", Range(1, 160))
    val_size: int = setting(20, "validation bodies, at most 20", Range(1, 20))
    test_size: int = setting(40, "test bodies, at most 40", Range(1, 40))
    seeds: int = setting(1, "networks of each kind: with the seeds seed, seed + 1, ...", Range(1, 1000))
    epochs: float = setting(5, "passes over the training set", Range(0, 1_000_000, without_least=True))
    batch_size: int = setting(1, "bodies per step, over all devices together", Range(1))
    learning_rate: float = setting(0.005, "peak learning rate of AdamW", POSITIVE)
    check_every: int = setting(160, "steps between validations; each writes a checkpoint", Range(1))
    max_minutes: float = setting(
        40.0,
        "stop each network's training after this time",
        Range(0, 10_000_000, without_least=True),
        may_change=True,
    )
    widths: tuple[str, ...] = setting(
        ("16x0 + 8x1", "32x0 + 16x1", "48x0 + 24x1", "64x0 + 32x1"),
        "feature types, one a level, each with a quarter of the points",
    )
    convs: tuple[int, ...] = setting(
        (0, 1, 1, 1), "residual blocks of each level, on the way down and up", Range(0, 100)
    )
    dropout: float = setting(0.0, "share of the head's fields dropped in training", BELOW_ONE)
    rings: int = setting(2, "radial functions of a kernel", Range(1, 100))
    radius: float = setting(0.06, f"of the finest kernels, in metres on a body scaled to {AREA} m²", POSITIVE)
    stencil: str = setting(
        "log", "log: sources where they lie; exp: interpolated on a polar grid", ("log", "exp")
    )
    baseline: bool = setting(False, "train also on vertex areas alone, and a network of invariants only")
    processes: int = setting(
        0, "that compute geometry at once; 0: one a core", Range(0, 1000), may_change=True
    )

    def conflicts(self) -> list[str]:
        return widths_conflicts(self.widths) + convs_conflicts(self.widths, self.convs)


PRESETS = {"default": BodyPartsSettings()}


def parts_description(settings: BodyPartsSettings) -> dict[str, Any]:
    names = ("widths", "convs", "dropout", "rings")
    return {"kind": "parts", "blind": False} | {name: getattr(settings, name) for name in names}


def blind_description(settings: BodyPartsSettings) -> dict[str, Any]:
    """The network of `parts_description` with invariant channels only, as many as give it as many weights."""
    seeing = parts_description(settings)
    channels = [sum(n for n, _ in FieldType(width).terms) for width in settings.widths]

    def blind(factor: float) -> dict[str, Any]:
        return seeing | {"blind": True, "widths": tuple(f"{max(1, round(factor * n))}x0" for n in channels)}

    wanted = parameters(build_network(seeing))
    low, high = 0.5, 8.0
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if parameters(build_network(blind(middle))) < wanted else (low, middle)
    return blind(high)


def geometry_options(settings: BodyPartsSettings) -> dict[str, Any]:
    """What the networks' hierarchies are built with: the options of `Surface.hierarchy`."""
    return {"levels": len(settings.widths), "radius": settings.radius, "kind": settings.stencil}


# --------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Training:
    """One of the run's trainings."""

    folder: str
    title: str
    description: dict[str, Any]
    seed: int


def trainings(settings: BodyPartsSettings) -> list[Training]:
    kinds = [("parts", "geocnn", parts_description(settings))]
    if settings.baseline:
        kinds.append(("area", "vertex areas alone", {"kind": "area"}))
        kinds.append(("blind", "frame-blind", blind_description(settings)))
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [Training(f"{name}-{seed}", title, what, seed) for name, title, what in kinds for seed in seeds]


def needs(settings: BodyPartsSettings) -> Need:
    """The memory of one process, for bodies of 3,000 vertices."""
    points = [3000 / 4**level for level in range(len(settings.widths))]
    dims = [FieldType(width).dim for width in settings.widths]
    layers = []
    for level, (dim, convs) in enumerate(zip(dims, settings.convs, strict=True)):
        # a residual block has two convolutions; one on the way down and one on the way up
        layers += [Layer(dim, dim, points[level])] * (4 * convs)
        layers.append(Layer(dims[level - 1] if level else FEATURES.dim, 2 * dim, points[level]))
    around = 3000 * math.pi * settings.radius * settings.radius / AREA
    entries = sum(n * min(n, around) for n in points)
    bodies = settings.train_size + settings.val_size + settings.test_size
    batch_size = min(settings.batch_size, settings.train_size)
    return estimate(layers, settings.rings, batch_size, 3000 * FEATURES.dim, entries, bodies)


def rehearse(settings: BodyPartsSettings) -> None:
    """One step of each network, on one body. Raises GeocnnError where it fails."""
    check_libraries()
    body = bodies("train")[0]
    (data,) = prepared(
        [standard_mesh(body.vertices, body.faces)], [body.labels], geometry_options(settings), 1,
        None,
    )  # fmt: skip
    batch_size = min(settings.batch_size, settings.train_size)
    for training in trainings(dataclasses.replace(settings, seeds=1)):
        several = Batches([data] * batch_size)
        try_step(build_network(training.description), several, several, settings, score)


def train(settings: BodyPartsSettings, folder: Path, console: Console) -> None:
    """Train what is not yet trained, then evaluate; everything lands in `folder` (see the README)."""
    check_libraries()
    start = time.perf_counter()
    geometry = geometry_options(settings)
    planned = {training.folder: training for training in trainings(settings)}
    data: dict[str, list[SurfaceData]] = {}
    if not all(finished(folder / name) for name in planned):
        for split, size in (("train", settings.train_size), ("val", settings.val_size)):
            chosen = bodies(split)[:size]
            meshes = [standard_mesh(body.vertices, body.faces) for body in chosen]
            labels = [body.labels for body in chosen]
            data[split] = prepared(meshes, labels, geometry, settings.processes, console)
    outcomes = fit_each(
        list(planned),
        folder,
        console,
        lambda name: _train_one(planned[name], settings, data, folder, console),
    )
    if is_main_process():
        _report(settings, folder, outcomes, start, console)


def _train_one(
    training: Training,
    settings: BodyPartsSettings,
    data: dict[str, list[SurfaceData]],
    folder: Path,
    console: Console,
) -> Outcome:
    home = folder / training.folder
    console.print(f"training {training.title}, seed {training.seed} ({training.folder})", highlight=False)
    torch.manual_seed(training.seed)
    network = build_network(training.description)
    return fit(
        network,
        Batches(data["train"]),
        Batches(data["val"]),
        dataclasses.replace(settings, seed=training.seed),
        home,
        console,
        score,
        validation_batch=settings.batch_size,
        save=lambda trained: save_network(trained, training.description, geometry_options(settings), home),
    )


# -------------------------------------------------------------------------------------------------- reporting


def _report(
    settings: BodyPartsSettings, folder: Path, outcomes: dict[str, Outcome], start: float, console: Console
) -> None:
    from geocnn import viz

    device = inference_device(settings.devices)
    geometry = geometry_options(settings)
    chosen = bodies("test")[: settings.test_size]
    meshes = [standard_mesh(body.vertices, body.faces) for body in chosen]
    labels = [body.labels for body in chosen]
    surfaces = prepared(meshes, labels, geometry, settings.processes, console)
    accuracy: dict[str, list[float]] = {}
    networks: dict[str, dict[str, Any]] = {}
    answers: dict[str, list[Tensor]] = {}
    for training in trainings(settings):
        network, _ = load_network(folder / training.folder)
        task = f"{training.folder}: labelling test bodies"
        found = [p.argmax(-1) for p in probabilities(network, surfaces, device, console, task)]
        answers[training.folder] = found
        right = [area_right(*pair) for pair in zip(found, surfaces, strict=True)]
        accuracy.setdefault(training.title, []).append(sum(right) / len(right))
        networks[training.folder] = dataclasses.asdict(outcomes[training.folder]) | {
            "title": training.title,
            "seed": training.seed,
            "parameters": parameters(network),
            "accuracy": accuracy[training.title][-1],
            "accuracy a vertex": float((torch.cat(found) == torch.cat(labels)).double().mean()),
            "worst body": min(right),
        }
    main = trainings(settings)[0]
    network, _ = load_network(folder / main.folder)
    save_network(network, main.description, geometry, folder)
    agreement = invariance(network, meshes[:3], geometry, settings, console)

    rows = {training.folder: read_metrics(folder / training.folder) for training in trainings(settings)}
    write_metrics(rows, folder / "metrics.csv")
    viz.confusion(
        torch.cat(answers[main.folder]),
        torch.cat(labels),
        PARTS,
        "share of each part's area, on unseen people in unseen poses",
        torch.cat([shares(batch([surface])) for surface in surfaces]),
    ).savefig(folder / "confusion.png", dpi=150)
    viz.curves(rows).savefig(folder / "curves.png", dpi=150)
    bodies_page(chosen, answers[main.folder], surfaces).savefig(folder / "bodies.png", dpi=150)
    results = {"recipe": RECIPE.name, "accuracy": accuracy, "agreement": agreement, "networks": networks}
    write_results(results, settings, outcomes, start, folder)
    _print_tables(accuracy, networks, agreement, console)


def invariance(
    network: nn.Module,
    meshes: Sequence[Mesh],
    geometry: dict[str, Any],
    settings: BodyPartsSettings,
    console: Console,
) -> dict[str, dict[str, float]]:
    """How far answers stay the same when a body is turned in space, its vertices and faces are numbered anew,
    or all its frames are turned at random.

    Everything is computed again from the changed mesh. Of each change: "labels", the share of the area with
    the same label (mean over bodies), and "probabilities", the largest difference.
    """
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

    def answers(found: Sequence[Mesh]) -> list[Tensor]:
        surfaces = prepared(found, None, geometry, settings.processes, console)
        return probabilities(network, surfaces, device)

    original = answers(meshes)
    agreement = {}
    for name, found in changed.items():
        same, apart = 0.0, 0.0
        for k, new in enumerate(answers(found)):
            before = original[k][orders[k]] if name == "relabelled" else original[k]
            areas = found[k].areas
            same += float(((new.argmax(1) == before.argmax(1)) * areas).sum() / areas.sum()) / len(meshes)
            apart = max(apart, float((new - before).abs().max()))
        agreement[name] = {"labels": same, "probabilities": apart}
    return agreement


def _print_tables(
    accuracy: dict[str, list[float]],
    networks: dict[str, dict[str, Any]],
    agreement: dict[str, dict[str, float]],
    console: Console,
) -> None:
    from rich.table import Table

    table = Table(title="Share of the area labelled right, on unseen people in unseen poses")
    for column in ("network", "mean", "lowest seed", "highest seed", "parameters", "training"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for title, scores in accuracy.items():
        own = [network for network in networks.values() if network["title"] == title]
        shown = [f"{100 * value:.2f} %" for value in (sum(scores) / len(scores), min(scores), max(scores))]
        seconds = " + ".join(f"{network['seconds']:.0f}" for network in own)
        table.add_row(title, *shown, f"{own[0]['parameters']:,}", f"{seconds} s")
    console.print(table)
    table = Table(title="The same answer for the same body")
    for column in ("change", "area with the same label", "largest change of a probability"):
        table.add_column(column, justify="left" if column == "change" else "right")
    for change, figures in agreement.items():
        table.add_row(change, f"{100 * figures['labels']:.3f} %", f"{figures['probabilities']:.1e}")
    console.print(table)


def subject(folder: Path) -> Subject:
    """The network on the first test body. Finer meshes take minutes and are tried only on request.

    Raises CheckpointError if the folder holds no network of this recipe, GeocnnError if one of areas alone.
    """
    check_libraries()
    network, model = load_network(folder)
    if not isinstance(network, PartsNetwork):
        raise GeocnnError("the network of vertex areas takes no field on a surface: nothing to measure")
    body = bodies("test")[0]
    surface = standard_mesh(body.vertices, body.faces)
    quick = ("gauge", "relabelling", "rigid motion")
    return Subject(
        network.unet, surface, lambda s: s.hierarchy(**model["geometry"]), symmetries=quick, refinements=0
    )


RECIPE = Recipe(
    name="body-parts",
    summary="parts of human bodies on triangle meshes; tested on unseen people in unseen poses",
    presets=PRESETS,
    needs=needs,
    rehearse=rehearse,
    train=train,
    predict=predict,
    subject=subject,
)
