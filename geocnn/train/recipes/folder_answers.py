"""Answers of a data folder's network: to meshes, fields and maps of a user, written as these came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn.data.folders.card import SURFACE, Card, is_data_folder, load_sample
from geocnn.data.folders.contents import contents_of
from geocnn.data.folders.files import is_map_file, is_mesh, is_values
from geocnn.data.folders.found import Found, Sample, Wishes
from geocnn.data.folders.one_surface import is_truth, samples_of
from geocnn.data.folders.reading import Read, Reader
from geocnn.data.folders.samples import in_units, surface_of
from geocnn.data.folders.scaling import UNLIKE_RESOLUTION, factor_of
from geocnn.data.folders.table import write_table
from geocnn.data.folders.tabled import named_samples
from geocnn.errors import DatasetError, GeocnnError
from geocnn.geometry import Surface, healpix
from geocnn.train.measures.ensembles import ensemble
from geocnn.train.recipe import Inputs, Request
from geocnn.train.recipes.folder_batches import FolderBatch, batch, rows_of
from geocnn.train.recipes.folder_networks import Together, member_rows
from geocnn.train.recipes.folder_pictures import NO_PICTURE, answers_figure, can_draw, save_picture
from geocnn.train.recipes.folder_points import write_points
from geocnn.train.score import Answer

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.train.prediction import Prediction

MOST_LINES = 20
"""Of tables of answers on the console; files have all."""

AT_ONCE = 8
"""Fields on one surface that are answered together."""


@dataclass(frozen=True)
class Asked:
    """What was asked: the folder of the files, and what was read of each sample."""

    folder: Path
    reads: list[Read]
    surfaces: list[Surface]


def answer_rows(network: nn.Module, given: FolderBatch) -> Answer:
    """Return [rows, k] as the network gives it, or [rows, k, members]; `present` makes answers of them."""
    if isinstance(network, Together):
        return member_rows(network, given).movedim(0, -1), given.truth, given.share
    return rows_of(network, given), given.truth, given.share


def told_by(rows: Float[Tensor, "rows k *members"], card: Card) -> tuple[Tensor, Tensor | None]:
    """Return answers [rows, k], probabilities or numbers in their own unit, and their spread over members.

    The spread is None where one network answered.
    """
    if rows.ndim == 2:
        return (rows.double().softmax(-1) if card.is_classes else in_units(rows, card)), None
    members = rows.movedim(-1, 0)
    return ensemble(members.double().softmax(-1) if card.is_classes else in_units(members, card))


def card_of(model: dict[str, Any]) -> Card:
    """Return the card in model.json."""
    return Card.of(model["card"])


def inputs(request: Request, model: dict[str, Any], console: Console) -> Inputs:
    """Read a mesh, a field or a map of the user's, or all of a folder.

    Raises GeocnnError where there is none, or it does not fit what the network learnt.
    """
    if request.file is None:
        raise GeocnnError("give a FILE or a FOLDER to answer: this model has no test inputs of its own")
    card = card_of(model)
    from geocnn.data.folders.items import Shared, items_with_meshes

    asked_folder = request.file if request.file.is_dir() else request.file.parent
    template = None
    if card.surfaces == "one mesh":
        template = surface_of(load_sample(request.model / SURFACE), 1 / card.unit)
    samples = _samples(request.file, card, None if template is None else template.n_points)
    chosen = card.columns if card.surfaces == "healpix" else card.fields
    said: Any = card.polarisation or None
    wishes = Wishes(inputs=chosen, nested=request.nested, fill=request.fill, polarisation=said)
    points = 0 if template is None else template.n_points
    found = Found(asked_folder, card.surfaces, card.task, samples, card.target, "", points=points)
    reads = list(Reader(found, wishes, card.fixes))
    if card.surfaces == "meshes":
        factors = [_factor(read, card, console) for read in reads]
        tensors = [_tensors(read) for read in reads]
        items = items_with_meshes(card, tensors, factors, [None] * len(reads), 0, console)
        surfaces: list[Surface] = [surface_of(own, 1.0) for own in tensors]
        return Inputs([batch([item], card) for item in items], Asked(asked_folder, reads, surfaces))
    surface = template if template is not None else healpix(card.nside)
    shared = Shared(surface, card)
    items = [shared.item(_tensors(read), None) for read in reads]
    groups = [items[k : k + AT_ONCE] for k in range(0, len(items), AT_ONCE)]
    return Inputs(
        [batch(group, card) for group in groups], Asked(asked_folder, reads, [surface] * len(reads))
    )


def _samples(file: Path, card: Card, n: int | None) -> list[Sample]:
    """Return the samples in a file or a folder that are of the kind that the network learnt on."""
    wanted = {"meshes": is_mesh, "one mesh": is_values, "healpix": is_map_file}[card.surfaces]
    what = {"meshes": "meshes", "one mesh": f"values of {n} vertices", "healpix": "HEALPix maps"}[
        card.surfaces
    ]
    if not file.exists():
        raise DatasetError(f"there is no file or folder {file}")
    if is_data_folder(file):
        raise DatasetError(f"{file} is a data folder; give the files it was made from, or geocnn evaluate it")
    files = [f for f in _files_of(file) if wanted(f)] if file.is_dir() else [file]
    if not files or not wanted(files[0]):
        raise DatasetError(f"{file} holds no {what}, which this model answers")
    folder = file if file.is_dir() else file.parent
    if card.surfaces == "meshes":
        return named_samples(folder, files)
    return samples_of(folder, files, n)[0]


def _files_of(folder: Path) -> list[Path]:
    """Return the files of a folder but for those that say what is true of the others."""
    contents = contents_of(folder, Wishes())
    values = [f for f in [*contents.values, *contents.maps] if not is_truth(f, folder, Wishes())]
    return [*contents.meshes, *values]


def _tensors(read: Read) -> dict[str, Tensor]:
    tensors = {f"field.{name}": value for name, value in read.fields.items()}
    if read.raw is not None:
        tensors |= {"vertices": read.raw.vertices, "faces": read.raw.faces}
    return tensors


def _factor(read: Read, card: Card, console: Console) -> float:
    """Return what the lengths of a mesh are multiplied by; tell where its resolution is odd."""
    assert read.raw is not None
    factor, spacing = factor_of(read.raw.vertices, read.raw.faces, card.unit, card.scale)
    if not 1 / UNLIKE_RESOLUTION < spacing < UNLIKE_RESOLUTION:
        console.print(
            f"{read.sample.name}: its points lie {spacing:.3g} times as far apart as those the "
            "network learnt on; is its unit of length another one? Expect it to do worse",
            style="yellow", highlight=False, soft_wrap=True,
        )  # fmt: skip
    return factor


# ------------------------------------------------------------------------------------------------- writing


def present(prediction: Prediction) -> None:
    """Write the answers: a table where samples have one each, else files like those that came."""
    card, asked = card_of(prediction.model), prediction.inputs.shown
    assert isinstance(asked, Asked)
    rows = torch.cat(prediction.outputs)
    answers, spread = told_by(rows, card)
    folder = _out(prediction.request)
    folder.mkdir(parents=True, exist_ok=True)
    if not card.per_point:
        _write_rows(prediction, card, asked, answers, spread, folder / f"{prediction.stem}.answers.csv")
        _draw(prediction, card, asked, answers.split(1), folder)
        return
    counts = [surface.n_points for surface in asked.surfaces]
    of_each = answers.split(counts)
    spreads = [None] * len(counts) if spread is None else spread.split(counts)
    for file in write_points(
        asked.reads, of_each, spreads, card, folder, prediction.request.nested, asked.folder
    ):
        prediction.wrote(file)
    _print_points(prediction, card, asked, of_each)
    _draw(prediction, card, asked, of_each, folder)


def _draw(
    prediction: Prediction, card: Card, asked: Asked, answers: Sequence[Float[Tensor, "n k"]], folder: Path
) -> None:
    """Draw the answers, or tell what keeps them from being drawn."""
    if not can_draw():
        prediction.console.print(NO_PICTURE, style="yellow", highlight=False, markup=False, soft_wrap=True)
        return
    names = [_name(read, asked) for read in asked.reads]
    surfaces = [read.raw or surface for read, surface in zip(asked.reads, asked.surfaces, strict=True)]
    fields = [read.fields for read in asked.reads]
    joint = "." if len(names) == 1 else "-"
    file = folder / f"{prediction.stem}{joint}answers.png"
    save_picture(answers_figure(card, names, surfaces, fields, answers), file)
    prediction.wrote(file)


def _out(request: Request) -> Path:
    """Return the folder of the answers: beside a file, and for a folder a new one beside it."""
    assert request.file is not None
    if request.out is not None or request.file.is_file():
        return request.folder
    return request.file.resolve().with_name(f"{request.file.resolve().name}-answers")


def _write_rows(
    prediction: Prediction,
    card: Card,
    asked: Asked,
    answers: Float[Tensor, "samples k"],
    spread: Float[Tensor, "samples k"] | None,
    file: Path,
) -> None:
    from rich.table import Table

    names = [_name(read, asked) for read in asked.reads]
    given = card.classes if card.is_classes else card.target
    columns = ["file", *(["class"] if card.is_classes else []), *given]
    columns += [] if spread is None else [f"spread of {name}" for name in given]
    rows: list[list[object]] = []
    table = Table("file", *(["class", "probability"] if card.is_classes else card.target))
    numbers = answers if spread is None else torch.cat([answers, spread], 1)
    for name, own, every in zip(names, answers, numbers, strict=True):
        best = [card.classes[int(own.argmax())]] if card.is_classes else []
        rows.append([name, *best, *(f"{value:.6g}" for value in every.tolist())])
        shown = [*best, f"{float(own.max()):.3f}"] if best else [f"{value:.5g}" for value in own.tolist()]
        if len(rows) <= MOST_LINES:
            table.add_row(name, *shown)
    write_table(file, columns, rows)
    prediction.console.print(table)
    _tell_others(prediction, len(rows))
    prediction.wrote(file)


def _name(read: Read, asked: Asked) -> str:
    """Return the name of a sample: of its file in the folder that was asked about, or its own."""
    surface = read.sample.surface
    return read.sample.name if surface is None else surface.relative_to(asked.folder).as_posix()


def _print_points(
    prediction: Prediction, card: Card, asked: Asked, answers: Sequence[Float[Tensor, "n k"]]
) -> None:
    """Print the share of the area of each class, or the mean of each number, per sample."""
    from rich.table import Table

    shown = card.classes if card.is_classes else card.target
    table = Table("file", *shown[:8], title="share of the area" if card.is_classes else "mean over the area")
    for read, surface, own in list(zip(asked.reads, asked.surfaces, answers, strict=True))[:MOST_LINES]:
        weight = (surface.areas / surface.areas.sum()).double()
        value = torch.nn.functional.one_hot(own.argmax(-1), own.shape[1]).double() if card.is_classes else own
        mean = (weight[:, None] * value).sum(0).tolist()
        cells = [f"{100 * v:.1f} %" if card.is_classes else f"{v:.5g}" for v in mean[:8]]
        table.add_row(_name(read, asked), *cells)
    prediction.console.print(table)
    _tell_others(prediction, len(answers))


def _tell_others(prediction: Prediction, count: int) -> None:
    if count > MOST_LINES:
        prediction.console.print(f"and {count - MOST_LINES:,} more, in the files", highlight=False)
