"""Recognise handwritten digits on the sphere, wherever they lie and however they are turned.

The same gauge-equivariant network is trained twice, on upright digits (NR) and on randomly rotated ones (R).
If it is equivariant, the one that never saw a rotated digit recognises them all the same (the column NR/R:
trained on NR, tested on R). The baseline, an ordinary CNN on the latitude-longitude picture of the same maps,
does not.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from geocnn.console import progress
from geocnn.data.spherical_digits import SphericalDigits, digit_features
from geocnn.errors import GeocnnError, MapError
from geocnn.files import replacing
from geocnn.geometry import healpix
from geocnn.geometry.spheres.healpix_maps import check_map
from geocnn.train.files import load_weights
from geocnn.train.loop import (
    Outcome,
    fit,
    fit_each,
    inference_device,
    is_main_process,
    predict_logits,
    try_step,
)
from geocnn.train.recipe import Recipe, Request, Subject
from geocnn.train.recipes.sphere_networks import (
    CLASSES,
    SphereNetwork,
    at_any_nside,
    build_network,
    load_network,
    save_network,
)
from geocnn.train.recipes.sphere_settings import PRESETS, SphericalDigitsSettings, needs
from geocnn.train.results import read_metrics, write_metrics, write_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console


# --------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Training:
    """One of the run's trainings: a network on upright or on rotated digits, from the weights in the folder
    `start` if there is one.
    """

    folder: str
    title: str
    description: dict[str, Any]
    rotated: bool
    start: str | None = None


def trainings(settings: SphericalDigitsSettings) -> list[Training]:
    kind, own = ("harmonic", ("lmax",)) if settings.lmax else ("sphere", ("convs", "stencil"))
    names = ("nside", "widths", "dropout", "rings", "radius", *own)
    sphere = {"kind": kind} | {name: getattr(settings, name) for name in names}
    planned = []
    for folder in ("nr", "r") if settings.rotated else ("nr",):
        rotated = folder == "r"
        if settings.refine:
            coarse = f"{folder}-coarse"
            planned.append(Training(coarse, "geocnn, before refining", sphere, rotated))
            planned.append(Training(folder, "geocnn", sphere | {"oversample": True}, rotated, coarse))
        else:
            planned.append(Training(folder, "geocnn", sphere, rotated))
    if settings.baseline:
        planned.append(
            Training("planar", "planar CNN", {"kind": "planar", "nside": settings.nside}, rotated=False)
        )
    return planned


def rehearse(settings: SphericalDigitsSettings) -> None:
    """One step of each network. Raises GeocnnError where it fails."""
    descriptions = []
    for training in trainings(settings):
        if training.description in descriptions:
            continue
        descriptions.append(training.description)
        try_step(
            build_network(training.description),
            _digits("train", training.rotated, settings, settings.train_size, settings.stretch),
            _digits("val", training.rotated, settings, settings.val_size),
            settings,
        )


def train(settings: SphericalDigitsSettings, folder: Path, console: Console) -> None:
    """Train what is not yet trained, then evaluate; everything lands in `folder` (see the README)."""
    start = time.perf_counter()
    planned = {training.folder: training for training in trainings(settings)}

    def fit_one(name: str) -> Outcome:
        return _train_one(planned[name], settings, folder, console)

    outcomes = fit_each(list(planned), folder, console, fit_one)
    if is_main_process():
        _report(settings, folder, outcomes, start, console)


def _train_one(
    training: Training, settings: SphericalDigitsSettings, folder: Path, console: Console
) -> Outcome:
    digits, home = "rotated" if training.rotated else "upright", folder / training.folder
    console.print(f"training {training.title} on {digits} digits ({training.folder})")
    torch.manual_seed(settings.seed)
    network = build_network(training.description)
    schedule = settings
    if training.start is not None:
        load_weights(network, folder / training.start / "model.safetensors")
        schedule = dataclasses.replace(
            settings, epochs=settings.refine, learning_rate=settings.learning_rate / 2
        )
    return fit(
        network,
        _digits("train", training.rotated, settings, settings.train_size, settings.stretch),
        _digits("val", training.rotated, settings, settings.val_size),
        schedule,
        home,
        console,
        save=lambda trained: save_network(trained, training.description, home),
    )


def _digits(
    split: str, rotated: bool, settings: SphericalDigitsSettings, size: int, stretch: float = 0.0
) -> SphericalDigits:
    return SphericalDigits(split, rotated, settings.nside, settings.seed, size, stretch)


# -------------------------------------------------------------------------------------------------- reporting


def _report(
    settings: SphericalDigitsSettings,
    folder: Path,
    outcomes: dict[str, Outcome],
    start: float,
    console: Console,
) -> None:
    from geocnn import viz

    device = inference_device(settings.devices)
    tests = {name: _digits("test", name == "R", settings, settings.test_size) for name in ("NR", "R")}
    accuracy: dict[str, dict[str, float]] = {}
    networks: dict[str, dict[str, Any]] = {}
    logits: dict[tuple[str, str], Tensor] = {}
    for training in trainings(settings):
        network, description = load_network(folder / training.folder)
        if training.folder == "nr":
            save_network(network, description, folder)
        networks[training.folder] = dataclasses.asdict(outcomes[training.folder]) | {
            "title": training.title,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        }
        for name in ("R",) if training.rotated else ("NR", "R"):
            kind = "rotated" if name == "R" else "upright"
            answer, truth = predict_logits(
                network, tests[name], 4 * settings.batch_size, device, console,
                f"{training.folder}: scoring {kind} test digits",
            )  # fmt: skip
            logits[training.folder, name] = answer
            column = f"{'R' if training.rotated else 'NR'}/{name}"
            accuracy.setdefault(training.title, {})[column] = float(
                (answer.argmax(1) == truth).double().mean()
            )

    rows = {training.folder: read_metrics(folder / training.folder) for training in trainings(settings)}
    write_metrics(rows, folder / "metrics.csv")
    truth = tests["R"].labels
    viz.confusion(
        logits["nr", "R"].argmax(1), truth, CLASSES, "trained on upright, tested on rotated digits"
    ).savefig(folder / "confusion.png", dpi=150)
    viz.curves(rows).savefig(folder / "curves.png", dpi=150)
    _sphere_page(tests["R"], logits["nr", "R"]).savefig(folder / "spheres.png", dpi=150)
    found = {"recipe": RECIPE.name, "accuracy": accuracy, "networks": networks}
    write_results(found, settings, outcomes, start, folder)
    _print_table(accuracy, networks, console)


def _sphere_page(digits: SphericalDigits, logits: Tensor, n: int = 12) -> Figure:
    from geocnn import viz

    assert digits.rotations is not None
    n = min(n, len(digits))
    answer, truth = logits.argmax(1)[:n].tolist(), digits.labels[:n].tolist()
    return viz.sphere_page(
        digits.maps(range(n)),
        [f"{t}, read as {a}" for t, a in zip(truth, answer, strict=True)],
        # R n0 with n0 = +x: where the digit's centre went.
        centres=digits.rotations[:n, :, 0],
        wrong=[t != a for t, a in zip(truth, answer, strict=True)],
        title="Digits turned at random on the sphere, read by a network that only learnt upright ones",
    )


def _print_table(
    accuracy: dict[str, dict[str, float]], networks: dict[str, dict[str, Any]], console: Console
) -> None:
    from rich.table import Table

    columns = ("NR/NR", "R/R", "NR/R")
    table = Table(title="Accuracy (trained on / tested on; NR upright, R rotated digits)")
    table.add_column("network")
    for column in (*columns, "parameters", "training"):
        table.add_column(column, justify="right")
    for title, scores in accuracy.items():
        own = [network for network in networks.values() if network["title"] == title]
        cells = [f"{100 * scores[column]:.2f} %" if column in scores else "-" for column in columns]
        seconds = " + ".join(f"{network['seconds']:.0f}" for network in own)
        table.add_row(title, *cells, f"{own[0]['parameters']:,}", f"{seconds} s")
    console.print(table)


# ------------------------------------------------------------------------------------------------- prediction


@dataclass(frozen=True)
class Prediction:
    """A trained network's answer for a batch of maps."""

    labels: list[str]
    """The label of each map's most probable class."""
    probabilities: Tensor
    """[n, classes], rows sum to 1."""


def predict(request: Request, console: Console) -> None:
    """Read the digits on a user's maps, or on test maps; a table as CSV and on the console, and a picture.

    Raises:
        MapError: the file holds no maps, or such as `read` refuses.
        GeocnnError: neither or both of a file and a number of examples are given.
        CheckpointError: the folder holds no network of this recipe.
    """
    from geocnn.data.maps import read_maps

    if (request.file is None) == (request.examples == 0):
        raise GeocnnError("give either a MAP or --digits N (the recipe's own test inputs), one of the two")
    if request.file is None:
        maps, truth = examples(request.model, request.examples)
        stem = "digits"
    else:
        maps, truth = read_maps(request.file, request.nested, request.fill), None
        stem = request.file.name.split(".")[0]
    prediction = read(request.model, maps, console)
    request.folder.mkdir(parents=True, exist_ok=True)
    table = request.folder / f"{stem}-predictions.csv"
    _write_predictions(prediction, truth, table)
    _print_predictions(prediction, truth, console)
    console.print(f"wrote {table}", soft_wrap=True)
    if importlib.util.find_spec("matplotlib"):
        drawing = table.with_suffix(".png")
        shown = [
            label if truth is None else f"{truth[k]}, read as {label}"
            for k, label in enumerate(prediction.labels)
        ]
        picture(maps[:16], shown[:16]).savefig(drawing, dpi=150)
        console.print(f"wrote {drawing}", soft_wrap=True)


def read(folder: Path, maps: Tensor, console: Console | None = None) -> Prediction:
    """Read digits on maps [n, npix] in ring order, values 0 to 1 as in training; `console` shows progress.

    Raises:
        MapError: the maps have another nside than the network, or values that are not numbers.
        CheckpointError: the folder holds no network of this recipe.
    """
    network, description = load_network(folder)
    check_map(maps, description["nside"])
    if maps.min() < 0 or maps.max() > 1:
        raise MapError(
            f"the network was trained on values from 0 to 1, but the map's go from {maps.min():.3g} "
            f"to {maps.max():.3g}; rescale it"
        )
    found = []
    with torch.no_grad(), progress(console, "reading maps", len(maps)) as advance:
        for part in maps.split(64):
            found.append(network(digit_features(part)).softmax(-1))
            advance(len(part))
    probabilities = torch.cat(found)
    return Prediction([CLASSES[k] for k in probabilities.argmax(-1).tolist()], probabilities)


def examples(folder: Path, n: int) -> tuple[Tensor, list[str]]:
    """n rotated test digits at the network's resolution, and their labels."""
    _, description = load_network(folder)
    digits = SphericalDigits("test", rotated=True, nside=description["nside"], size=n)
    return digits.maps(range(n)), [CLASSES[k] for k in digits.labels.tolist()]


def picture(maps: Tensor, titles: list[str]) -> Figure:
    """Each map seen from where its values are, on average (from +x where they balance)."""
    from geocnn import viz

    points = healpix(check_map(maps)).points
    centres = (maps.double() - maps.double().amin(1, keepdim=True)) @ points
    balanced = centres.norm(dim=1, keepdim=True) < 1e-6
    centres = torch.where(balanced, points.new_tensor([1.0, 0.0, 0.0]), centres)
    return viz.sphere_page(maps, titles, centres=centres)


def _write_predictions(prediction: Prediction, truth: list[str] | None, file: Path) -> None:
    with replacing(file) as new, new.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["map", *(["truth"] if truth else []), "label", *(f"p({name})" for name in CLASSES)])
        for k, label in enumerate(prediction.labels):
            known = [truth[k]] if truth else []
            writer.writerow([k, *known, label, *(f"{p:.6f}" for p in prediction.probabilities[k].tolist())])


def _print_predictions(
    prediction: Prediction, truth: list[str] | None, console: Console, at_most: int = 20
) -> None:
    from rich.table import Table

    table = Table("map", *(["truth"] if truth else []), "label", "probability")
    for k, label in enumerate(prediction.labels[:at_most]):
        known = [truth[k]] if truth else []
        table.add_row(str(k), *known, label, f"{100 * float(prediction.probabilities[k].max()):.1f} %")
    console.print(table)
    if len(prediction.labels) > at_most:
        console.print(f"and {len(prediction.labels) - at_most} more")
    if truth:
        right = sum(a == b for a, b in zip(truth, prediction.labels, strict=True))
        console.print(f"{right} of {len(truth)} right")


# ----------------------------------------------------------------------------------------------- equivariance


def subject(folder: Path) -> Subject:
    """The network on HEALPix at half its resolution and at its own; the harmonic one at its own and twice
    that. It and the baseline take maps, not frames.

    Raises CheckpointError if the folder holds no network of this recipe.
    """
    network, described = load_network(folder)
    nside = described["nside"]
    if not isinstance(network, SphereNetwork):
        coarsest = healpix(nside) if described["kind"] == "harmonic" else healpix(nside).coarser()
        return Subject(at_any_nside(network, described), coarsest, None, "1x0")
    cubic = described.get("oversample", False)
    fine = healpix(nside, nested=True, interpolation="cubic" if cubic else "bilinear")
    radius = described["radius"] * fine.spacing
    options = {"kind": described["stencil"], "oversample": cubic}
    return Subject(
        network.encoder,
        fine.coarser(),
        lambda s: s.hierarchy(len(described["widths"]), radius, **options),
    )


RECIPE = Recipe(
    name="spherical-digits",
    summary="handwritten digits on the HEALPix sphere; trained upright, read in any orientation",
    presets=PRESETS,
    needs=needs,
    rehearse=rehearse,
    train=train,
    predict=predict,
    subject=subject,
)
