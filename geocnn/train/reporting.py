"""The report at a run's end: pictures, results.json, the table of its networks, and the model card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from geocnn.train.files import replace_text
from geocnn.train.results import read_metrics, versions, write_metrics, write_results

if TYPE_CHECKING:
    from geocnn.train.recipe import Recipe
    from geocnn.train.runs import Run

CARD = "model-card.md"

Rows = dict[str, dict[str, list[float]]]
"""Title -> column -> the first metric, one value per seed."""


def per_cent(value: float) -> str:
    """Format a share in per cent.

    >>> per_cent(0.98765)
    '98.77 %'
    """
    return f"{100 * value:.2f} %"


def report(run: Run) -> None:
    """Write pictures, metrics.csv, results.json and the model card into the run folder; print the table."""
    from geocnn import viz

    entries = run.recipe.examine(run) if run.recipe.examine else {}
    logged = {training.folder: read_metrics(run.folder / training.folder) for training in run.trainings}
    write_metrics(logged, run.folder / "metrics.csv")
    run.save(viz.curves(logged), "curves.png")
    if run.recipe.draw:
        run.recipe.draw(run)
    rows, networks = headline_rows(run), described_networks(run)
    headline = {
        title: columns[""] if list(columns) == [""] else {name: mean(v) for name, v in columns.items()}
        for title, columns in rows.items()
    }
    results = {"recipe": run.recipe.name, first_metric(run): headline, **entries, "networks": networks}
    write_results(results, run.settings, run.outcomes, run.started, run.folder)
    replace_text(model_card(run, rows, networks), run.folder / CARD)
    print_table(run, rows, networks)


def first_metric(run: Run) -> str:
    return next(iter(run.recipe.metrics()))


def headline_rows(run: Run) -> Rows:
    rows: Rows = {}
    name = first_metric(run)
    for training in run.trainings:
        for column in training.tests:
            value = run.metrics[training.folder, column][name]
            rows.setdefault(training.title, {}).setdefault(column, []).append(value)
    return rows


def described_networks(run: Run) -> dict[str, dict[str, Any]]:
    """Describe how each training ended, with its metrics: numbers, or by column where columns have names."""
    networks = {}
    for training in run.trainings:
        network, by_column = run.network(training), {}
        for column in training.tests:
            for name, value in run.metrics[training.folder, column].items():
                if column:
                    by_column.setdefault(name, {})[column] = value
                else:
                    by_column[name] = value
        networks[training.folder] = dataclasses.asdict(run.outcomes[training.folder]) | {
            "title": training.title,
            "seed": training.seed,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            **by_column,
        }
    return networks


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def mean_and_range(values: Sequence[float], show: Callable[[float], str]) -> str:
    """Format the mean of values, with their range where there are several.

    >>> mean_and_range([0.5, 1.0], str), mean_and_range([0.5], str)
    ('0.75 (0.5 to 1.0)', '0.5')
    """
    if len(values) == 1:
        return show(values[0])
    return f"{show(mean(values))} ({show(min(values))} to {show(max(values))})"


def table_cells(run: Run, rows: Rows, networks: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return the table of a run as text, its head first: one row per title, one column per test set."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [["network", *(column or first_metric(run) for column in columns), "parameters", "training"]]
    for title, row in rows.items():
        own = [network for network in networks.values() if network["title"] == title]
        shown = [mean_and_range(row[c], run.recipe.show) if c in row else "-" for c in columns]
        seconds = " + ".join(f"{network['seconds']:.0f}" for network in own)
        cells.append([title, *shown, f"{own[0]['parameters']:,}", f"{seconds} s"])
    return cells


def print_table(run: Run, rows: Rows, networks: dict[str, dict[str, Any]]) -> None:
    from rich.table import Table

    head, *body = table_cells(run, rows, networks)
    several = any(len(values) > 1 for row in rows.values() for values in row.values())
    many = ", mean (lowest to highest)" if several else ""
    table = Table(title=(run.recipe.headline or first_metric(run)) + many)
    for column in head:
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in body:
        table.add_row(*row)
    run.console.print(table)


def model_card(run: Run, rows: Rows, networks: dict[str, dict[str, Any]]) -> str:
    """Write the model card, in Markdown: what the model is, how it was trained, how well it does, its use."""
    recipe, main = run.recipe, run.main
    cells = table_cells(run, rows, networks)
    cells.insert(1, ["---"] * len(cells[0]))
    lines = [
        f"# {main.title} ({recipe.name})",
        "",
        f"{recipe.summary[:1].upper()}{recipe.summary[1:]}.",
        *(["", recipe.about] if recipe.about else []),
        "",
        *_which(run, networks),
        "",
        f"## {recipe.headline or first_metric(run)}",
        "",
        *("| " + " | ".join(row) + " |" for row in cells),
        "",
        "## Network",
        "",
        *(f"- {name}: {value}" for name, value in main.description.items()),
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in dataclasses.asdict(run.settings).items()),
        "",
        "## Use",
        "",
        *_uses(recipe),
        "FOLDER holds model.json and model.safetensors.",
        "",
        "Trained with " + ", ".join(f"{name} {version}" for name, version in versions().items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def _which(run: Run, networks: dict[str, dict[str, Any]]) -> list[str]:
    """Say which network the model is, or that it is several."""
    several = len(run.members) > 1
    return [
        f"The model is {'these networks, which answer with their mean' if several else 'the network'}:",
        "",
    ] + [
        f"- `{t.folder}`: {networks[t.folder]['parameters']:,} parameters, random seed {t.seed}, "
        f"{run.outcomes[t.folder]}."
        for t in run.members
    ]


def _uses(recipe: Recipe) -> list[str]:
    """Return a line per command that the recipe's models serve."""
    file = "" if recipe.file is None else f" --recipe {recipe.file.name}"
    asked = "FOLDER --examples 8" if recipe.inputs is None else "FOLDER FILE"
    answered = "test inputs of the recipe" if recipe.inputs is None else "a file"
    lines = [f"`geocnn predict {asked}{file}` answers {answered}."]
    if recipe.subject is not None:
        lines.append(f"`geocnn equivariance FOLDER{file}` measures which symmetries the model keeps.")
    return lines
