"""The page on growth agrees with its table, and each task of the benchmark runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geocnn.geometry.diagnosis import diagnose

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import growth  # noqa: E402  # pyright: ignore[reportMissingImports]
import growth_tasks  # noqa: E402  # pyright: ignore[reportMissingImports]


def row(points: int, seconds: float, size: int, note: str = "") -> dict[str, object]:
    known = {"surface": "torus", "size": str(points), "points": points, "task": "levels", "note": note}
    return known | ({} if note else {"seconds": seconds, "bytes": size})


def test_the_page_has_the_numbers_of_the_table():
    assert growth.written(growth.read_table()) in growth.PAGE.read_text(encoding="utf-8")


def test_slopes_are_those_of_a_power_and_steep_ones_are_listed():
    rows = growth.with_slopes([row(400, 8.0, 200), row(100, 1.0, 100), row(1600, 0, 0, "over 900 s")])
    assert [r["time_slope"] for r in rows] == ["", "1.50", ""]
    assert [r["bytes_slope"] for r in rows] == ["", "0.50", ""]
    assert growth.steep(rows) == "- torus, levels, up to 400 points: 1.50 in time"
    assert "| levels | 400 | 8 | 0.0002 | 1.50 | 0.50 | 1,600 points: over 900 s |" in growth.tables(rows)


@pytest.mark.parametrize("task", growth_tasks.TASKS)
def test_each_task_runs(task):
    growth_tasks.TASKS[task]("healpix", 4)()


@pytest.mark.parametrize("kind", ["exp", pytest.param("log", marks=pytest.mark.slow)])
@pytest.mark.parametrize("level", [4, pytest.param(5, marks=pytest.mark.slow)])
def test_the_doctor_predicts_the_peak_of_memory(kind, level):
    """Within 1.3 times: resident memory, in a fresh process, of a stencil on a mesh."""
    command = [sys.executable, BENCHMARKS / "growth_tasks.py", "bumpy mesh", str(level), f"stencil {kind}"]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    surface = growth_tasks.bumpy(level)
    (cost,) = (c for c in diagnose(surface.points, surface.faces).costs if c.kind == kind)
    assert 1 / 1.3 < json.loads(done.stdout)["bytes"] / cost.peak < 1.3
