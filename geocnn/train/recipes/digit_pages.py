"""Pictures and predictions of the recipe spherical-digits."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from geocnn.data.spherical_digits import SphericalDigits, digit_features
from geocnn.errors import GeocnnError, MapError
from geocnn.files import replacing
from geocnn.geometry import healpix
from geocnn.geometry.spheres.healpix_maps import check_map
from geocnn.train.recipe import Inputs, Request
from geocnn.train.recipes.sphere_networks import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from geocnn.train.prediction import Prediction
    from geocnn.train.runs import Run


def draw(run: Run) -> None:
    """Draw the confusion of rotated digits by the network of upright ones, and some of these digits."""
    from geocnn import viz

    digits = run.data("test rotated")
    assert isinstance(digits, SphericalDigits)
    answers = torch.cat(run.answers[run.main.folder, "NR/R"]).argmax(1)
    title = "trained on upright, tested on rotated digits"
    run.save(viz.confusion(answers, digits.labels, CLASSES, title), "confusion.png")
    run.save(_sphere_page(digits, answers), "spheres.png")


def _sphere_page(digits: SphericalDigits, answers: Int64[Tensor, " m"], n: int = 12) -> Figure:
    from geocnn import viz

    assert digits.rotations is not None
    n = min(n, len(digits))
    read, truth = answers[:n].tolist(), digits.labels[:n].tolist()
    return viz.sphere_page(
        digits.maps(range(n)),
        [f"{t}, read as {a}" for t, a in zip(truth, read, strict=True)],
        # the digit's centre lies at R n0 with n0 = +x
        centres=digits.rotations[:n, :, 0],
        wrong=[t != a for t, a in zip(truth, read, strict=True)],
        title="Digits turned at random on the sphere, read by a network that only learnt upright ones",
    )


# ------------------------------------------------------------------------------------------------- prediction


def inputs(request: Request, model: dict[str, Any], console: Console) -> Inputs:
    """Read a user's maps, or take rotated test digits of the network's resolution; `shown` is (maps, labels).

    Raises:
        MapError: the file holds no maps, or maps of another nside than the network's, or values that are not
            numbers or do not lie between 0 and 1.
        GeocnnError: neither a file nor a number of examples is given.
    """
    from geocnn.data.maps import read_maps

    nside, truth = model["network"]["nside"], None
    if request.file is not None:
        maps = read_maps(request.file, request.nested, request.fill)
    elif request.examples:
        digits = SphericalDigits("test", rotated=True, nside=nside, size=request.examples)
        maps = digits.maps(range(request.examples))
        truth = [CLASSES[k] for k in digits.labels.tolist()]
    else:
        raise GeocnnError("give either a MAP or --digits N (the recipe's own test inputs), one of the two")
    check_map(maps, nside)
    if maps.min() < 0 or maps.max() > 1:
        raise MapError(
            f"the network was trained on values from 0 to 1, but the map's go from {maps.min():.3g} "
            f"to {maps.max():.3g}; rescale it"
        )
    return Inputs([(digit_features(part), None) for part in maps.split(64)], (maps, truth))


def present(prediction: Prediction) -> None:
    """Write a table of labels and probabilities as CSV, print it, and draw the first maps."""
    maps, truth = prediction.inputs.shown
    probabilities = torch.cat(prediction.outputs).softmax(-1)
    labels = [CLASSES[k] for k in probabilities.argmax(-1).tolist()]
    stem = "digits" if prediction.request.file is None else prediction.stem
    table = prediction.request.folder / f"{stem}-predictions.csv"
    _write_table(labels, probabilities, truth, table)
    _print_table(labels, probabilities, truth, prediction.console)
    prediction.wrote(table)
    if importlib.util.find_spec("matplotlib"):
        pairs = zip(truth or labels, labels, strict=True)
        titles = [f"{t}, read as {label}" if truth else label for t, label in pairs]
        prediction.save(picture(maps[:16], titles[:16]), f"{stem}-predictions.png")


def picture(maps: Float[Tensor, "m npix"], titles: list[str]) -> Figure:
    """Draw each map seen from where its values are, on average (from +x where they balance)."""
    from geocnn import viz

    points = healpix(check_map(maps)).points
    centres = (maps.double() - maps.double().amin(1, keepdim=True)) @ points
    balanced = centres.norm(dim=1, keepdim=True) < 1e-6
    centres = torch.where(balanced, points.new_tensor([1.0, 0.0, 0.0]), centres)
    return viz.sphere_page(maps, titles, centres=centres)


def _write_table(
    labels: list[str], probabilities: Float[Tensor, "m classes"], truth: list[str] | None, file: Path
) -> None:
    with replacing(file) as new, new.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["map", *(["truth"] if truth else []), "label", *(f"p({name})" for name in CLASSES)])
        for k, label in enumerate(labels):
            known = [truth[k]] if truth else []
            writer.writerow([k, *known, label, *(f"{p:.6f}" for p in probabilities[k].tolist())])


def _print_table(
    labels: list[str],
    probabilities: Float[Tensor, "m classes"],
    truth: list[str] | None,
    console: Console,
    at_most: int = 20,
) -> None:
    from rich.table import Table

    table = Table("map", *(["truth"] if truth else []), "label", "probability")
    for k, label in enumerate(labels[:at_most]):
        known = [truth[k]] if truth else []
        table.add_row(str(k), *known, label, f"{100 * float(probabilities[k].max()):.1f} %")
    console.print(table)
    if len(labels) > at_most:
        console.print(f"and {len(labels) - at_most} more")
    if truth:
        right = sum(a == b for a, b in zip(truth, labels, strict=True))
        console.print(f"{right} of {len(truth)} right")
