"""Files that a run leaves behind: its metrics as a table, its results with all that they depend on."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from geocnn.errors import CheckpointError
from geocnn.train.files import replace_json, replace_text
from geocnn.train.settings import LoopSettings

if TYPE_CHECKING:
    from geocnn.train.loop import Outcome

METRICS = "metrics.csv"


def write_results(
    entries: dict[str, Any],
    settings: LoopSettings,
    outcomes: Mapping[str, Outcome],
    started: float,
    folder: Path,
) -> None:
    """Write results.json: these entries, with settings, seed, times, versions and machine; `started` is when
    this session began, by time.perf_counter. A measure that is NaN, because it is undefined, becomes null.
    """
    seconds = {
        "training": sum(outcome.seconds for outcome in outcomes.values()),
        "this session": round(time.perf_counter() - started, 1),
    }
    run = {"settings": dataclasses.asdict(settings), "seed": settings.seed, "seconds": seconds}
    results = entries | run | {"versions": versions(), "machine": machine()}
    replace_json(without_nan(results), folder / "results.json")


def without_nan(value: Any) -> Any:
    """Return plain values with None for numbers that are NaN or infinite, which JSON lacks.

    >>> without_nan({"accuracy": 0.5, "ROC AUC": [float("nan")]})
    {'accuracy': 0.5, 'ROC AUC': [None]}
    """
    if isinstance(value, Mapping):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the logged rows of a training. Raises CheckpointError if its metrics.csv is damaged."""
    file = folder / METRICS
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); resume the run to write it anew") from error


def write_rows(rows: Sequence[Mapping[str, float]], file: Path) -> None:
    """Write the logged rows of a training as CSV, in one step."""
    _write_table(sorted({name for row in rows for name in row}), rows, file)


def write_metrics(trainings: Mapping[str, Sequence[Mapping[str, float]]], file: Path) -> None:
    """Write one CSV of the rows of several trainings in one step; its first column names the training."""
    columns = sorted(
        {name for rows in trainings.values() for row in rows for name in row} - {"step", "epoch"}
    )
    rows = (
        {"network": network, **row, "step": int(row["step"])}
        for network, rows in trainings.items()
        for row in rows
    )
    _write_table(["network", "step", *columns], rows, file)


def _write_table(columns: list[str], rows: Iterable[Mapping[str, Any]], file: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_text(text.getvalue(), file)


def versions() -> dict[str, str]:
    """Return the versions on which a result depends."""
    import platform
    from importlib.metadata import version

    import lightning

    import geocnn

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "numpy": version("numpy"),
        "geocnn": geocnn.__version__,
    }


def machine() -> dict[str, Any]:
    """Describe the machine, on which times depend."""
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {"cpu_count": os.cpu_count(), "torch_threads": torch.get_num_threads(), "gpus": gpus}
