"""How time and memory grow with the number of points: stencils, operators, layers, levels and transforms.

Each row of the table is one task on one surface, with kernels of 2.5 point spacings:

    stencil    surface.stencil(radius, kind)
    operator   the first call of the layer below on a stencil, without gradients: it makes the operator
    layer      a later call, forward + backward: GaugeConv from 16x0 + 8x1 to itself, all gradients, float32
    levels     surface.hierarchy(kind="log"), with as many levels as it chooses
    analysis, synthesis    one map in float64; on HEALPix up to degree 2 nside, analysis with three iterations

Seconds are CPU seconds of one thread, the least of several runs where they are short. Bytes are the peak of
resident memory above what was resident when the task began; they include what the task returns. Predicted
are the bytes that the doctor and `cost` foresee for stencils, operators and layers. A slope is
log(t₂ / t₁) / log(n₂ / n₁) between two successive sizes: 1 is linear growth. The fixed costs of a call lower
it on small surfaces, and processor caches that overflow raise it.

A fresh process measures each row (benchmarks/growth_tasks.py); first it runs the same task on a smaller
surface that is not in the table, so that loading is not measured. A process that needs more than LIMIT_S
seconds or LIMIT_BYTES is ended; then larger sizes of that series are not tried, and the table says why.

python benchmarks/growth.py                 measures what benchmarks/growth.csv lacks; draws docs/growth.png
                                            and writes the tables of docs/growth.md
python benchmarks/growth.py --most 20000    only surfaces of at most so many points
python benchmarks/growth.py --only torus    only one surface, or one task
python benchmarks/growth.py --page          only draws and writes
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from import_time import cpu_name

ROOT = Path(__file__).resolve().parents[1]
TABLE, PICTURE, PAGE = Path(__file__).with_suffix(".csv"), ROOT / "docs/growth.png", ROOT / "docs/growth.md"
LIMIT_S, LIMIT_BYTES = 900.0, 12e9
BEGIN, END = "<!-- written by benchmarks/growth.py -->", "<!-- end -->"

SIZES = {
    "healpix": [16, 32, 64, 128, 256, 512],
    "torus": [64, 128, 256, 512, 1024],
    "ring grid": [91, 181, 361, 721],
    "bumpy mesh": [4, 5, 6, 7, 8],
    "uneven mesh": [4, 5, 6, 7, 8],
}
POINTS = {
    "healpix": lambda nside: 12 * nside**2,
    "torus": lambda n: n**2,
    "ring grid": lambda rings: 2 * rings * (rings - 1),
    "bumpy mesh": lambda level: 10 * 4**level + 2,
    "uneven mesh": lambda level: 10 * 4**level + 2,
}
LOCAL = ["stencil log", "operator log", "layer log", "stencil exp", "operator exp", "layer exp", "levels"]
TRANSFORMS = ["synthesis", "analysis"]
LIMITS = {"time": {task: 1.6 if task in TRANSFORMS else 1.1 for task in LOCAL + TRANSFORMS}, "bytes": 1.1}
"""The slopes that are aimed at."""

COLUMNS = "surface size points task seconds bytes predicted time_slope bytes_slope note cpu threads torch"
Row = dict[str, Any]


def tasks_of(surface: str) -> list[str]:
    return LOCAL + (TRANSFORMS if surface in ("healpix", "ring grid") else [])


# ------------------------------------------------------------------------------------------------ measuring


def watched(surface: str, size: int, task: str) -> dict[str, Any]:
    """Return what a fresh process measures, or a note on why it ended."""
    command = [sys.executable, str(Path(__file__).with_name("growth_tasks.py")), surface, str(size), task]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe, start = subprocess.PIPE, time.monotonic()
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        while process.poll() is None:
            time.sleep(0.1)
            reason = over(time.monotonic() - start, memory_of(process.pid))
            if reason:
                process.kill()
                return {"note": reason}
        out, errors = process.communicate()
    if process.returncode:
        return {"note": (errors.strip().splitlines() or [f"ended by signal {-process.returncode}"])[-1]}
    result = json.loads(out)
    known = {"seconds": f"{result['seconds']:.4g}", "bytes": result["bytes"]}
    return known | {"predicted": result["predicted"] or ""}


def over(seconds: float, size: float) -> str:
    if seconds > LIMIT_S:
        return f"over {LIMIT_S:.0f} s"
    return f"over {LIMIT_BYTES / 1e9:.0f} GB" if size > LIMIT_BYTES else ""


def memory_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0  # it has just ended
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def measure_all(most: int, only: list[str]) -> None:
    """Measure the rows that the table lacks, from small to large, and write it after each."""
    rows = read_table()
    machine = {"cpu": cpu_name(), "threads": 1, "torch": torch.__version__}
    for surface, sizes in SIZES.items():
        for task in tasks_of(surface):
            if only and surface not in only and task not in only:
                continue
            for size in sizes:
                key = {"surface": surface, "size": str(size), "task": task}
                known = [row for row in rows if key.items() <= row.items()]
                if POINTS[surface](size) > most:
                    break
                if not known:
                    row = key | {"points": POINTS[surface](size), "note": ""} | machine
                    rows = with_slopes([*rows, row | watched(surface, size, task)])
                    write_table(rows)
                    known = [row for row in rows if key.items() <= row.items()]
                    show(known[0])
                if known[0]["note"]:
                    break  # larger ones would need still more


def show(row: Row) -> None:
    name = f"{row['surface']:12} {row['points']:8} {row['task']:13}"
    if row["note"]:
        print(f"{name} {row['note']}", flush=True)
        return
    slopes = f"slopes {row['time_slope']} {row['bytes_slope']}" if row["time_slope"] else ""
    print(f"{name} {float(row['seconds']):9.3f} s {int(row['bytes']) / 1e6:8.1f} MB  {slopes}", flush=True)


# ---------------------------------------------------------------------------------------------- the table


def with_slopes(rows: list[Row]) -> list[Row]:
    """Sort rows by series and size, and give each the slopes from the row before."""
    surfaces, tasks = list(SIZES), LOCAL + TRANSFORMS
    rows = sorted(
        rows, key=lambda r: (surfaces.index(r["surface"]), tasks.index(r["task"]), int(r["points"]))
    )
    for before, row in zip([None, *rows], rows, strict=False):
        row |= {"time_slope": "", "bytes_slope": ""}
        same = before and all(before[key] == row[key] for key in ("surface", "task"))
        if same and not row["note"]:
            step = math.log(int(row["points"]) / int(before["points"]))
            for column, of in (("time_slope", "seconds"), ("bytes_slope", "bytes")):
                # a page of memory is the least that is seen
                ratio = max(float(row[of]), 1e-9) / max(float(before[of]), 1e-9)
                row[column] = f"{math.log(ratio) / step:.2f}"
    return rows


def read_table() -> list[Row]:
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def write_table(rows: list[Row]) -> None:
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS.split(), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


# ----------------------------------------------------------------------------------------------- the page


def tables(rows: list[Row]) -> str:
    """Return the tables of the page: what the largest size of each series takes, and its last slopes."""
    parts = []
    for surface, sizes in SIZES.items():
        own = [row for row in rows if row["surface"] == surface]
        if not own:
            continue
        points, largest = [int(row["points"]) for row in own], POINTS[surface](sizes[-1])
        missing = f"; up to {largest:,} not measured yet" if max(points) < largest else ""
        parts += [
            f"**{surface}**, {min(points):,} to {max(points):,} points{missing}",
            "",
            "| task | points | CPU seconds | MB | slope of time | slope of bytes | |",
            "|---|---|---|---|---|---|---|",
        ]
        for task in tasks_of(surface):
            series = [row for row in own if row["task"] == task]
            if series:
                parts.append("| " + " | ".join(line_of(task, series)) + " |")
        parts.append("")
    return "\n".join(parts).strip()


def line_of(task: str, series: list[Row]) -> list[str]:
    """Return the cells of a series: its largest size that was measured, and what was wrong with the next."""
    done = [row for row in series if not row["note"]]
    notes = "; ".join(f"{int(row['points']):,} points: {row['note']}" for row in series if row["note"])
    if not done:
        return [task, "", "", "", "", "", notes]
    last = done[-1]
    return [
        task,
        f"{int(last['points']):,}",
        f"{float(last['seconds']):.3g}",
        f"{int(last['bytes']) / 1e6:.3g}",
        slopes(done, "time_slope"),
        slopes(done, "bytes_slope"),
        notes,
    ]


def slopes(done: list[Row], column: str) -> str:
    return ", ".join(row[column] for row in done if row[column])


def steep(rows: list[Row]) -> str:
    """Return the list of slopes above what is aimed at, for the page."""
    lines = []
    for row in rows:
        for kind, column in (("time", "time_slope"), ("bytes", "bytes_slope")):
            limit = LIMITS["time"][row["task"]] if kind == "time" else LIMITS["bytes"]
            if row[column] and float(row[column]) > limit:
                lines.append(
                    f"- {row['surface']}, {row['task']}, up to {int(row['points']):,} points: "
                    f"{row[column]} in {kind}"
                )
    return "\n".join(lines) or "None."


def written(rows: list[Row]) -> str:
    """Return the part of the page that is written from the table."""
    if not rows:
        return f"{BEGIN}\n{END}"
    head = "Between two successive sizes, these slopes are above 1.1 (transforms: above 1.6 in time):"
    return f"{BEGIN}\n\n{tables(rows)}\n\n{head}\n\n{steep(rows)}\n\n{END}"


def write_page(rows: list[Row]) -> None:
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + written(rows) + rest.split(END)[1], encoding="utf-8")


def draw(rows: list[Row]) -> None:
    """Draw seconds and bytes against points, a column per surface; grey lines grow linearly."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(SIZES), figsize=(16, 7), sharex="col", sharey="row", squeeze=False)
    colours = dict(zip(LOCAL + TRANSFORMS, plt.get_cmap("tab10").colors, strict=False))  # pyright: ignore
    for row, (of, label, low) in enumerate((("seconds", "CPU seconds", 1e-9), ("bytes", "peak bytes", 1e1))):
        for column, name in enumerate(SIZES):
            ax = axes[row, column]
            for power in range(0, 8):
                ax.loglog([1e3, 4e6], [1e3 * low * 10**power, 4e6 * low * 10**power], color="0.88", lw=0.8)
            for task, colour in colours.items():
                mine = [r for r in rows if (r["surface"], r["task"], r["note"]) == (name, task, "")]
                points, values = [int(r["points"]) for r in mine], [float(r[of]) for r in mine]
                ax.loglog(points, values, "o-", ms=3, color=colour, label=task)
            ax.set_title(name if row == 0 else "")
            ax.set_xlabel("points" if row else "")
            ax.set_ylabel(label if column == 0 else "")
    axes[0, 0].set_ylim(1e-3, 1e3)
    axes[1, 0].set_ylim(1e5, 2e10)
    handles = {h.get_label(): h for h in axes[0, 0].get_lines() if h.get_label() in colours}
    figure.legend(handles.values(), handles, loc="lower center", ncols=len(handles), frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(PICTURE, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=10**9, help="points of the largest surface")
    parser.add_argument("--only", nargs="*", default=[], help="names of surfaces or of tasks")
    parser.add_argument("--page", action="store_true", help="only draw, and write the page")
    options = parser.parse_args()
    if not options.page:
        measure_all(options.most, options.only)
    rows = read_table()
    draw(rows)
    write_page(rows)


if __name__ == "__main__":
    main()
