"""One task of benchmarks/growth.py, measured in this process: its CPU seconds and its peak of memory.

python benchmarks/growth_tasks.py "torus" 64 "stencil log"      prints one object of JSON
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

import geocnn
from geocnn.geometry import Surface, healpix, mesh, ring_grid, torus
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.stencil_costs import stencil_cost
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.harmonics import analysis, equiangular, healpix_grid, random_coefficients, synthesis
from geocnn.nn import GaugeConv, cost

ROOT = Path(__file__).resolve().parents[1]
SPACINGS, TYPE = 2.5, "16x0 + 8x1"
REPEAT_S, REPEATS = 3.0, 10
"""A task is repeated, from its preparation on, while all runs take less than this together; not oftener."""

Kind = Literal["exp", "log"]
Task = Callable[[], Any]


def bumpy(level: int, dilation: float = 1.0) -> Surface:
    """Make a sphere mesh with bumps of a tenth of its radius.

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


MAKERS: dict[str, Callable[[int], Surface]] = {
    "healpix": healpix,
    "torus": lambda n: torus((n, n)),
    "ring grid": lambda n: ring_grid(n, 2 * (n - 1), "equiangular"),
    "bumpy mesh": bumpy,
    "uneven mesh": lambda level: bumpy(level, 1.5),
}
WARM = {"healpix": 8, "torus": 32, "ring grid": 45, "bumpy mesh": 3, "uneven mesh": 3}
"""The sizes on which each process runs its task once, unmeasured: they load what loads on demand, and their
surface is none of the measured ones.
"""


def stencil_of(name: str, size: int, kind: Kind) -> Stencil:
    surface = MAKERS[name](size)
    return surface.stencil(SPACINGS * surface.spacing, kind)


def stencil(name: str, size: int, kind: Kind) -> Task:
    surface = MAKERS[name](size)
    return lambda: surface.stencil(SPACINGS * surface.spacing, kind)


def operator(name: str, size: int, kind: Kind) -> Task:
    st, layer = stencil_of(name, size, kind).float(), GaugeConv(TYPE, TYPE)
    x = torch.randn(st.n_source, layer.in_type.dim)

    def first_call() -> Any:
        with torch.no_grad():
            return layer(x, st)

    return first_call


def layer(name: str, size: int, kind: Kind) -> Task:
    st, conv = stencil_of(name, size, kind).float(), GaugeConv(TYPE, TYPE)
    x = torch.randn(st.n_source, conv.in_type.dim, requires_grad=True)
    g = torch.randn(st.n_target, conv.out_type.dim)
    with torch.no_grad():
        conv(x, st)
    return lambda: conv(x, st).backward(g)


def levels(name: str, size: int) -> Task:
    surface = MAKERS[name](size)
    return lambda: surface.hierarchy(kind="log")


def transform(name: str, size: int, direction: Literal["analysis", "synthesis"]) -> Task:
    grid = healpix_grid(size) if name == "healpix" else equiangular(size, 2 * (size - 1), poles=True)
    lmax = 2 * size if name == "healpix" else size - 2
    alm = random_coefficients(1, lmax, generator=torch.Generator().manual_seed(0))[0]
    if direction == "synthesis":
        return lambda: synthesis(alm, grid)
    values = synthesis(alm, grid)
    return lambda: analysis(values, grid, lmax)


TASKS: dict[str, Callable[[str, int], Task]] = {
    "stencil log": lambda name, size: stencil(name, size, "log"),
    "operator log": lambda name, size: operator(name, size, "log"),
    "layer log": lambda name, size: layer(name, size, "log"),
    "stencil exp": lambda name, size: stencil(name, size, "exp"),
    "operator exp": lambda name, size: operator(name, size, "exp"),
    "layer exp": lambda name, size: layer(name, size, "exp"),
    "levels": levels,
    "synthesis": lambda name, size: transform(name, size, "synthesis"),
    "analysis": lambda name, size: transform(name, size, "analysis"),
}


def resident(name: str) -> int:
    """Return the bytes of resident memory now ("VmRSS") or at most ("VmHWM")."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def peak(task: Task) -> tuple[float, int, Any]:
    """Return the CPU seconds of a task, the most bytes of resident memory that it added, and its result."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, start = resident("VmRSS"), time.process_time()
    result = task()
    return time.process_time() - start, resident("VmHWM") - before, result


def measured(prepare: Callable[[], Task]) -> dict[str, float]:
    """Return the least CPU seconds of several runs, and the peak of the first."""
    began = time.process_time()
    seconds, size, _ = peak(prepare())
    for _ in range(REPEATS - 1):
        if time.process_time() - began > REPEAT_S:
            break
        task, start = prepare(), time.process_time()
        task()
        seconds = min(seconds, time.process_time() - start)
    return {"seconds": seconds, "bytes": size}


def predicted(name: str, size: int, task: str) -> int | None:
    """Return the peak of a task as geocnn predicts it, None where nothing does."""
    what, _, kind = task.partition(" ")
    if what == "stencil":
        surface = MAKERS[name](size)
        return stencil_cost(surface, SPACINGS * surface.spacing, kind).peak
    if what not in ("operator", "layer"):
        return None
    needed = cost(GaugeConv(TYPE, TYPE), stencil_of(name, size, kind).float()).resident
    # what prepares a layer makes its operator, and the first backward pass what it needs
    return needed.forward if what == "operator" else needed.first_step - needed.kept


def main(name: str, size: int, task: str) -> None:
    if not Path(geocnn.__file__).is_relative_to(ROOT):
        raise SystemExit(f"this would measure {geocnn.__file__}: set PYTHONPATH={ROOT}")
    torch.set_num_threads(1)
    for _ in range(2):
        TASKS[task](name, WARM[name])()
    result = measured(lambda: TASKS[task](name, size))
    print(json.dumps(result | {"predicted": predicted(name, size, task)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
