"""`geocnn view RUN`: what a finished run learnt, and its test samples with their answers, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geocnn.data.folders.card import SURFACE, Card, load_sample
from geocnn.data.folders.samples import surface_of
from geocnn.errors import GeocnnError
from geocnn.files import replacing
from geocnn.geometry import Surface, healpix
from geocnn.train.files import MODEL, read_description, read_json
from geocnn.train.model_recipes import recipe_of_model
from geocnn.train.recipes.folder_answers import card_of
from geocnn.train.recipes.folder_examples import (
    EXAMPLES,
    Example,
    examples_figure,
    load_examples,
    pair_of_fields,
)

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.viz import Field

PLAIN: Any = {"highlight": False, "markup": False, "soft_wrap": True}


def is_run(path: Path) -> bool:
    """Return whether a path is a folder; files are meshes or maps."""
    return path.is_dir()


def view_run(run: Path, sample: str | None, out: Path | None, html: Path | None, console: Console) -> None:
    """Print what a run learnt and how well, and which pictures it left; show one of its test samples.

    Args:
        run: a finished run folder.
        sample: the name of a test sample that the run keeps; None: the worst.
        out: where a picture of that sample is written; None: in the run, where a sample and no page is named.
        html: where a page is written with its fields: truth, answer, what came in.

    Raises:
        GeocnnError: the run is not finished, it keeps no test samples and a picture of one was asked for, or
            it keeps none of that name.
        OSError: an output cannot be written.
    """
    recipe_of_model(run, None)
    model = read_description(run / MODEL, check_files=False)
    for line in _summary(run, model):
        console.print(line, **PLAIN)
    if not (run / EXAMPLES).is_file():
        if sample is not None or out is not None or html is not None:
            raise GeocnnError(f"{run} keeps no test samples to show; look at its pictures")
        return
    card, examples = card_of(model), load_examples(run)
    for example in examples:
        caption = ", ".join(example.caption.splitlines())
        rank = "" if all(one.rank == "worst" for one in examples) else f" ({example.rank})"
        console.print(f"test sample {example.name}{rank}: {caption}", **PLAIN)
    shown = _chosen(run, examples, sample)
    if sample is not None and out is None and html is None:
        out = run / f"{sample.replace('/', '-')}-view.png"
    shared = shared_by(run, card)
    if out is not None:
        figure = examples_figure(card, [shown], 1, shared)
        with replacing(out) as new:
            figure.savefig(new, format=out.suffix[1:].lower(), dpi=150)
        console.print(f"wrote {out}, of {shown.name}", **PLAIN)
    if html is not None:
        from geocnn import viz

        title = f"{shown.name}: {', '.join(shown.caption.splitlines())}"
        viz.page(html, shown.surface(shared), fields_of_example(shown, card), title)
        console.print(f"wrote {html}, a page for a browser, of {shown.name}", **PLAIN)


def _summary(run: Path, model: dict[str, Any]) -> list[str]:
    """Return lines on what was learnt, the headline of each network, and pictures."""
    results = read_json(run / "results.json")
    lines = [f"a run of the recipe '{model.get('recipe')}'"]
    if "card" in model:
        card = card_of(model)
        learnt = ", ".join(card.classes if card.is_classes else card.target)
        lines = [f"{card.name}, {card.task}: {learnt}"]
    for title, own in results.get("measures", {}).items():
        value = own.get("values", {}).get(own.get("headline"), {})
        if value.get("value") is not None:
            interval = "" if value.get("low") is None else f" ({value['low']:.4g} to {value['high']:.4g})"
            lines.append(f"{title}: {own['headline']} {value['value']:.4g}{interval}")
    pictures = sorted(path.name for path in run.glob("*.png"))
    return [*lines, f"pictures in {run}: {', '.join(pictures)}"] if pictures else lines


def _chosen(run: Path, examples: Sequence[Example], name: str | None) -> Example:
    known = {example.name: example for example in examples}
    if name is not None and name not in known:
        raise GeocnnError(f"{run} keeps no test sample '{name}'; it has {', '.join(known)}")
    return examples[0] if name is None else known[name]


def shared_by(run: Path, card: Card) -> Surface | None:
    """Return the surface that all samples of a run share, or None where each has its own."""
    if card.surfaces == "meshes":
        return None
    if card.surfaces == "healpix":
        return healpix(card.nside)
    return surface_of(load_sample(run / SURFACE), 1 / card.unit)


def fields_of_example(example: Example, card: Card) -> dict[str, Field]:
    """Return what a page shows of a sample: truth, answer and probability of points, and what came in."""
    from geocnn.viz import Field

    fields: dict[str, Field] = {}
    if card.per_point:
        for k, name in enumerate([""] if card.is_classes else card.target):
            of = f" {name}" if name else ""
            fields[f"truth{of}"], fields[f"answer{of}"] = pair_of_fields(example, card, k)
        if card.is_classes:
            fields["probability"] = Field(example.tensors["probability"], "scalar")
    for name, value in example.fields.items():
        if value.shape[1] == 3 and card.surfaces != "healpix":
            fields[name] = Field(value, "vector")
            continue
        for k in range(value.shape[1]):
            fields[name if value.shape[1] == 1 else f"{name} {k}"] = Field(value[:, k], "scalar")
    return fields
