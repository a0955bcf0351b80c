"""How time and memory grow with the number of points: stencils, operators, layers, levels and transforms.

Each line of the table is one task on one surface, with kernels of 2.5 point spacings:

    stencil    surface.stencil(radius, kind)
    operator   the operator of the layer below, in float32, from an existing stencil
    layer      forward + backward of GaugeConv from 16x0 + 8x1 to itself, with all gradients, in float32
    levels     surface.hierarchy(kind="log"), with as many levels as it chooses
    analysis, synthesis    one map in float64, on HEALPix up to degree 2 nside (three iterations)

Seconds are CPU seconds of all threads, the least of several runs. Bytes are the peak of resident memory
above what was resident when the task began; they include what the task returns. `predicted` is what
`geocnn.nn.cost` says before anything is made. A slope is log(t₂ / t₁) / log(n₂ / n₁) between two
successive sizes: 1 is linear growth. The fixed costs of a call lower it on small surfaces, and caches
that overflow raise it.

The tasks of one surface, size and kind run in a fresh process, one after another, each from the last
one's result. A process that needs more than LIMIT_S seconds or LIMIT_BYTES is ended; then larger sizes of
that series are not tried, and the table says why.

python benchmarks/growth.py                 measures what benchmarks/growth.csv lacks, and draws docs/growth.png
python benchmarks/growth.py --most 200000   only surfaces of at most so many points
python benchmarks/growth.py --again         measures every row anew
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import gc
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from import_time import cpu_name
from torch import Tensor

from geocnn.geometry import Surface, healpix, mesh, ring_grid, torus
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.harmonics import analysis, equiangular, healpix_grid, random_coefficients, synthesis
from geocnn.nn import GaugeConv
from geocnn.ops.operators import operator

ROOT = Path(__file__).resolve().parents[1]
TABLE, PICTURE = Path(__file__).with_suffix(".csv"), ROOT / "docs" / "growth.png"
SPACINGS, TYPE = 2.5, "16x0 + 8x1"
LIMIT_S, LIMIT_BYTES = 900.0, 10e9
REPEAT_S = 1.0
"""Short tasks are repeated for so long, and the least time counts."""

COLUMNS = "surface size points task seconds bytes predicted time_slope bytes_slope note cpu threads torch"


def bumpy(level: int, dilation: float = 1.0) -> Surface:
    """A sphere mesh with bumps of a tenth of its radius.

    A dilation c moves its points by the conformal map that makes them c times as dense along at one pole,
    and 1/c times at the other.
    """
    solid = Icosahedron(level)
    x, y, z = solid.points.unbind(1)
    moved = ((1 + z) - dilation**2 * (1 - z)) / ((1 + z) + dilation**2 * (1 - z))
    shrink = ((1 - moved**2).clamp_min(0) / (1 - z**2).clamp_min(1e-300)).sqrt()
    p = torch.stack([x * shrink, y * shrink, moved], 1)
    bumps = (3 * p[:, 0]).sin() * (4 * p[:, 1] + 1).sin() * (2 * p[:, 2] + 2).cos()
    return mesh(p * (1 + 0.1 * bumps[:, None]), solid.faces[-1])


SURFACES: dict[str, tuple[list[int], Callable[[int], Surface]]] = {
    "healpix": ([16, 32, 64, 128, 256, 512], healpix),
    "torus": ([64, 128, 256, 512, 1024], lambda n: torus((n, n))),
    "ring grid": ([91, 181, 361, 721], lambda n: ring_grid(n, 2 * (n - 1), "equiangular")),
    "bumpy mesh": ([4, 5, 6, 7, 8], bumpy),
    "uneven mesh": ([4, 5, 6, 7, 8], lambda level: bumpy(level, 1.5)),
}
POINTS = {
    "healpix": lambda n: 12 * n * n,
    "torus": lambda n: n * n,
    "ring grid": lambda n: 2 * n * (n - 1),
    "bumpy mesh": lambda n: 10 * 4**n + 2,
    "uneven mesh": lambda n: 10 * 4**n + 2,
}
CHAINS = {
    "log": ["stencil log", "operator log", "layer log"],
    "exp": ["stencil exp", "operator exp", "layer exp"],
    "levels": ["levels"],
    "transforms": ["analysis", "synthesis"],
}


# -------------------------------------------------------------------------------------- one process


def resident(name: str = "VmRSS") -> int:
    """Bytes of resident memory; VmHWM is their peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def measured(task: Callable[[], Any]) -> tuple[float, int, Any]:
    """CPU seconds, bytes of resident memory that were added at most, and the result of a task."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, start = resident(), time.process_time()
    result = task()
    return time.process_time() - start, resident("VmHWM") - before, result


def least_seconds(seconds: float, task: Callable[[], Any]) -> float:
    """The least CPU seconds of a task that took so long once, over about REPEAT_S."""
    for _ in range(min(10, int(REPEAT_S / max(seconds, 1e-3)))):
        start = time.process_time()
        task()
        seconds = min(seconds, time.process_time() - start)
    return seconds


def local_chain(make: Callable[[], Surface], kind: Any) -> Iterator[tuple[str, float, int]]:
    """Yield (task, seconds, bytes) of a stencil, its operator and a layer."""
    surface = make()
    radius = SPACINGS * surface.spacing
    seconds, size, stencil = measured(lambda: surface.stencil(radius, kind))
    yield f"stencil {kind}", seconds, size
    del surface
    layer, stencil = GaugeConv(TYPE, TYPE), stencil.float()
    seconds, size, _ = measured(lambda: operator(stencil, layer.basis, torch.float32))
    yield f"operator {kind}", seconds, size
    x = torch.randn(stencil.n_source, layer.in_type.dim, requires_grad=True)
    g = torch.randn(stencil.n_target, layer.out_type.dim)

    def step() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x, stencil).backward(g)

    seconds, size, _ = measured(step)
    yield f"layer {kind}", least_seconds(seconds, step), size


def levels_chain(make: Callable[[], Surface]) -> Iterator[tuple[str, float, int]]:
    surface = make()
    seconds, size, _ = measured(lambda: surface.hierarchy(kind="log"))
    yield "levels", seconds, size


def transform_chain(name: str, size: int) -> Iterator[tuple[str, float, int]]:
    grid = healpix_grid(size) if name == "healpix" else equiangular(size, 2 * (size - 1), poles=True)
    lmax = 2 * size if name == "healpix" else size - 2
    alm = random_coefficients(1, lmax, generator=torch.Generator().manual_seed(0))[0]
    seconds, peak, values = measured(lambda: synthesis(alm, grid))
    yield "synthesis", least_seconds(seconds, lambda: synthesis(alm, grid)), peak
    seconds, peak, _ = measured(lambda: analysis(values, grid, lmax))
    yield "analysis", least_seconds(seconds, lambda: analysis(values, grid, lmax)), peak


def chain_of(name: str, size: int, chain: str) -> Iterator[tuple[str, float, int]]:
    make = SURFACES[name][1]
    if chain == "transforms":
        return transform_chain(name, size)
    if chain == "levels":
        return levels_chain(lambda: make(size))
    return local_chain(lambda: make(size), chain)


def work(name: str, size: int, chain: str) -> None:
    """Print a line of JSON per task, once the smallest size has loaded what loads on demand."""
    for _ in chain_of(name, SURFACES[name][0][0], chain):
        pass
    for task, seconds, peak in chain_of(name, size, chain):
        print(json.dumps({"task": task, "seconds": seconds, "bytes": peak}), flush=True)


# -------------------------------------------------------------------------------------- all processes


def watched(name: str, size: int, chain: str) -> tuple[dict[str, dict], str]:
    """Return the results of a fresh process by task, and why it ended early, else nothing."""
    command = [sys.executable, __file__, "--work", name, str(size), chain]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        start, note = time.monotonic(), ""
        while process.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - start > LIMIT_S:
                note = f"over the limit of {LIMIT_S:.0f} s"
            elif memory_of(process.pid) > LIMIT_BYTES:
                note = f"over the limit of {LIMIT_BYTES / 1e9:.0f} GB"
            if note:
                process.kill()
                break
        out, errors = process.communicate()
    if process.returncode and not note:
        note = errors.strip().splitlines()[-1] if errors.strip() else f"ended by signal {-process.returncode}"
    results = [json.loads(line) for line in out.splitlines()]
    return {result["task"]: result for result in results}, note


def memory_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0  # it has just ended
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def rows_of(name: str, size: int, chain: str) -> list[dict[str, Any]]:
    """Return a row per task of a chain; where the process ended early, the rows it lacks have a note."""
    results, note = watched(name, size, chain)
    predicted = predictions(name, size, chain)
    machine = {"cpu": cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    rows = []
    for task in CHAINS[chain]:
        row = {"surface": name, "size": size, "points": POINTS[name](size), "task": task}
        if task in results:
            row |= {"seconds": f"{results[task]['seconds']:.4g}", "bytes": results[task]["bytes"]}
        else:
            row |= {"note": note or "not reached"}
        rows.append(row | {"predicted": predicted.get(task, "")} | machine)
    return rows


def predictions(name: str, size: int, chain: str) -> dict[str, int]:
    return {}


def with_slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort rows by series and size, and give each the slopes from the row before."""
    order = list(SURFACES), [task for chain in CHAINS.values() for task in chain]
    rows = sorted(
        rows, key=lambda r: (order[0].index(r["surface"]), order[1].index(r["task"]), int(r["points"]))
    )
    for before, row in zip([None, *rows], rows, strict=False):
        row |= {"time_slope": "", "bytes_slope": ""}
        same = before and all(before[key] == row[key] for key in ("surface", "task"))
        if same and before["seconds"] and row.get("seconds"):
            step = math.log(int(row["points"]) / int(before["points"]))
            for column, of in (("time_slope", "seconds"), ("bytes_slope", "bytes")):
                ratio = max(float(row[of]), 1e-9) / max(float(before[of]), 1e-9)
                row[column] = f"{math.log(ratio) / step:.2f}"
    return rows


def read_table() -> list[dict[str, Any]]:
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def write_table(rows: list[dict[str, Any]]) -> None:
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS.split(), restval="")
        writer.writeheader()
        writer.writerows(with_slopes(rows))


def measure_all(most: int, again: bool, only: list[str]) -> None:
    """Measure the rows that the table lacks, from small to large, and write it after each process."""
    rows = read_table()
    for name, (sizes, _) in SURFACES.items():
        for chain, tasks in CHAINS.items():
            if (only and chain not in only and name not in only) or not applies(name, chain):
                continue
            for size in sizes:
                if POINTS[name](size) > most:
                    break
                old = [
                    r for r in rows if (r["surface"], int(r["size"])) == (name, size) and r["task"] in tasks
                ]
                if again or len(old) < len(tasks):
                    rows = [r for r in rows if r not in old] + (new := rows_of(name, size, chain))
                    write_table(rows)
                    show(new)
                else:
                    new = old
                if any(row.get("note") for row in new):
                    break  # larger ones would need still more


def applies(name: str, chain: str) -> bool:
    return chain != "transforms" or name in ("healpix", "ring grid")


def show(rows: list[dict[str, Any]]) -> None:
    for r in rows:
        slopes = f"slopes {r['time_slope']:>5} {r['bytes_slope']:>5}" if r.get("time_slope") else ""
        if r.get("note"):
            print(f"{r['surface']:12} {r['points']:8} {r['task']:13} {r['note']}", flush=True)
            continue
        predicted = f"predicted {int(r['predicted']) / 1e6:8.1f} MB" if r["predicted"] != "" else ""
        print(
            f"{r['surface']:12} {r['points']:8} {r['task']:13} {float(r['seconds']):9.3f} s "
            f"{int(r['bytes']) / 1e6:8.1f} MB  {predicted}  {slopes}",
            flush=True,
        )


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw seconds and bytes against points, a column per surface; grey lines grow linearly."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(SURFACES), figsize=(16, 7), sharex="col", sharey="row")
    tasks = [task for chain in CHAINS.values() for task in chain]
    colours = dict(zip(tasks, plt.get_cmap("tab10").colors, strict=False))
    for row, (of, label) in enumerate((("seconds", "CPU seconds"), ("bytes", "peak bytes"))):
        for column, name in enumerate(SURFACES):
            ax = axes[row, column]
            for task in tasks:
                mine = [r for r in rows if r["surface"] == name and r["task"] == task and r["seconds"]]
                points, values = [int(r["points"]) for r in mine], [float(r[of]) for r in mine]
                if mine:
                    ax.loglog(points, values, "o-", ms=3, color=colours[task], label=task)
            n = Tensor([1e3, 1e6])
            for start in (1e-9, 1e-7, 1e-5, 1e-3) if of == "seconds" else (1e1, 1e2, 1e3, 1e4, 1e5):
                ax.loglog(n, n * start, color="0.85", lw=0.8, zorder=0)
            ax.set_title(name if row == 0 else "")
            ax.set_xlabel("points" if row else "")
            ax.set_ylabel(label if column == 0 else "")
    axes[0, 0].set_ylim(1e-3, 1e3)
    axes[1, 0].set_ylim(1e5, 1e10)
    handles = {h.get_label(): h for ax in axes.flat for h in ax.get_lines() if h.get_label() in tasks}
    figure.legend(handles.values(), handles, loc="lower center", ncols=len(tasks), frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(PICTURE, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=10**9, help="points of the largest surface")
    parser.add_argument("--again", action="store_true", help="measure rows that exist anew")
    parser.add_argument("--only", nargs="*", default=[], help="names of surfaces or of chains")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        name, size, chain = options.work
        work(name, int(size), chain)
        return
    measure_all(options.most, options.again, options.only)
    draw(read_table())


if __name__ == "__main__":
    main()
