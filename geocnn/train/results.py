"""What a run leaves behind: its metrics as a table, its results with all they depend on."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from geocnn.train.files import replace_json
from geocnn.train.loop import Outcome
from geocnn.train.settings import LoopSettings


def write_results(
    found: dict[str, Any],
    settings: LoopSettings,
    outcomes: Mapping[str, Outcome],
    start: float,
    folder: Path,
) -> None:
    """results.json: what was found, with settings, seed, times, versions and machine; `start` is when this
    session began, by time.perf_counter.
    """
    seconds = {
        "training": sum(outcome.seconds for outcome in outcomes.values()),
        "this session": round(time.perf_counter() - start, 1),
    }
    run = {"settings": dataclasses.asdict(settings), "seed": settings.seed, "seconds": seconds}
    replace_json(found | run | {"versions": versions(), "machine": machine()}, folder / "results.json")


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The logged rows of a training over all its sessions; steps redone after a kill count once."""
    rows: list[dict[str, float]] = []
    sessions = sorted(folder.glob("logs/session-*/metrics.csv"), key=lambda file: int(file.parent.name[8:]))
    for file in sessions:
        with file.open(newline="") as stream:
            new = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]
        first = min((row["step"] for row in new), default=math.inf)
        rows = [row for row in rows if row["step"] < first] + new
    return rows


def write_metrics(trainings: dict[str, list[dict[str, float]]], file: Path) -> None:
    """One CSV of the rows of several trainings, the first column naming the training."""
    columns = sorted(
        {name for rows in trainings.values() for row in rows for name in row} - {"step", "epoch"}
    )
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["network", "step", *columns], extrasaction="ignore")
        writer.writeheader()
        for network, rows in trainings.items():
            writer.writerows({"network": network, **row, "step": int(row["step"])} for row in rows)


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
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
    """What a time depends on."""
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {"cpu_count": os.cpu_count(), "torch_threads": torch.get_num_threads(), "gpus": gpus}
