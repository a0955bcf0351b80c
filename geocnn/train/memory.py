"""The memory that a training will need, estimated from its settings before anything is computed.

The estimate is right within a factor of two. It separates runs that fit from runs that are far too large,
whose process the system would end without a message.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from geocnn.errors import GeocnnError

# Measured on both recipes: peak resident memory of one step, over batch sizes 32 and 128, resolutions, widths
# and radii.
BYTES_PER_ENTRY = 350
"""Bytes per entry of a stencil and of the operators made from it, while they are computed in float64."""
BYTES_PER_KEPT_ENTRY = 40
"""Bytes per entry of a stencil that stays in memory, in float32."""
COPIES = 7
"""Tensors per layer of the size of its output, which wait for the backward pass."""
BYTES_PER_WEIGHT = 24
"""Float32: the weight, its gradient, two moments of AdamW, the best so far, and its place in the kernel."""
BYTES_PER_PROCESS = 600_000_000
"""Python, torch and the other libraries."""


class Layer(NamedTuple):
    """A convolution of a network: real components per point before and after it, and the number of points
    of one surface that it leads to.
    """

    before: int
    after: int
    points: float


class Need(NamedTuple):
    """The memory of each process, in bytes."""

    weights: float
    features: float
    geometry: float


def estimate(
    layers: Sequence[Layer], rings: int, batch_size: int, inputs: float, entries: float = 0, kept: int = 0
) -> Need:
    """Estimate what a training of these layers needs.

    Args:
        batch_size: surfaces in a step of one process.
        inputs: numbers that come with each surface.
        entries: of one surface's stencils.
        kept: how many surfaces keep stencils of their own; 0 where one set serves all.
    """
    weights = sum(rings * layer.before * layer.after for layer in layers)
    numbers = inputs + sum(layer.after * layer.points for layer in layers)
    return Need(
        BYTES_PER_WEIGHT * weights,
        4 * COPIES * batch_size * numbers,
        (BYTES_PER_ENTRY + BYTES_PER_KEPT_ENTRY * kept) * entries,
    )


def check_memory(need: Need, processes: int, gpu: bool) -> None:
    """Raise GeocnnError where the machine has less memory than the run needs."""
    if gpu:
        _check(Need(need.weights, need.features, 0), 0, torch.cuda.mem_get_info()[0], "this GPU")
        need = Need(0, 0, need.geometry)
    base = processes * BYTES_PER_PROCESS
    _check(Need(*(processes * part for part in need)), base, available_memory(), "this machine")


def _check(need: Need, base: float, free: float, where: str) -> None:
    total = base + sum(need)
    if total <= free:
        return
    parts = {name: value for name, value in need._asdict().items() if value > 0.01 * total}
    if base > 0.01 * total:
        parts["programs"] = base
    message = ", ".join(f"{name} {_size(value)}" for name, value in parts.items())
    remedies = {
        "weights": "narrower widths or fewer convs",
        "features": "a smaller batch_size or narrower widths",
        "geometry": "a smaller radius or resolution",
        "programs": "fewer devices",
    }
    largest = max(parts, key=lambda name: parts[name])
    raise GeocnnError(
        f"the run needs about {_size(total)} of memory ({message}), {where} has {_size(free)} free: "
        f"choose {remedies[largest]}"
    )


def available_memory() -> float:
    """Return the bytes that this process may still take, infinite where the system does not say."""
    free = math.inf
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free = 1024 * float(lines["MemAvailable"].split()[0]) if "MemAvailable" in lines else free
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and limit.read_text().strip().isdecimal():
        free = min(free, float(limit.read_text()))
    return free


def _size(n: float) -> str:
    return f"{n / 1e9:,.1f} GB" if n < 1e14 else f"{n / 1e9:.1e} GB"
