"""Coefficients from (r, θ, angle) at every call, beside an operator that is stored.

10,000 points of a Fibonacci sphere, the 32 nearest of each, as in gather.py, with few and with many channels.
"stored" multiplies by an operator that is kept, "formed" forms it at every call, one range of targets after
another, as happens to operators that are too large to keep. Times are CPU milliseconds of the forward pass on
one thread, the least of some.

A GPU's time follows from what a call reads and computes. Bytes: the operator, or the entries of the stencil.
Operations: two per number of the operator and channel, and for forming it ANGLE per sine or cosine and two
per number. The bounds are those of an H200, 4.8 TB/s and 67 TFLOP/s in float32 (NVIDIA, H200 Tensor Core GPU
datasheet, 2024): a kernel that forms coefficients in registers takes at least the larger of the two times.

python benchmarks/on_the_fly.py      prints, and writes benchmarks/on_the_fly.csv (half a minute)
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import torch
from gather import ENTRIES, POINTS, fibonacci_sphere, nearest_stencil
from import_time import cpu_name
from torch import Tensor

import geocnn.ops.operators as operators
from geocnn.geometry.core.stencil import Stencil
from geocnn.nn import GaugeConv
from geocnn.ops.operators import operator

TABLE = Path(__file__).with_suffix(".csv")
CHANNELS = 1, 4, 32
ANGLE = 20
GPU_BYTES, GPU_OPERATIONS = 4.8e12, 67e12
REPEATS = 5
COLUMNS = [
    *("channels", "stored_ms", "formed_ms", "stored_MB", "formed_MB", "stored_GFLOP", "formed_GFLOP"),
    *("gpu_stored_us", "gpu_formed_us"),
]


def least(run: Callable[[], Tensor]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def angles(layer: GaugeConv) -> int:
    """Sines and cosines per entry: a pair per phase ℓθ + n·angle, one per ring of each radial function."""
    phases = {(s, m.frequency) for s in layer.basis.sources for m in layer.basis.of(s)}
    radial = {abs(m.frequency) for m in layer.basis.moments}
    return 2 * len(phases) + layer.basis.rings * len(radial)


def measured(stencil: Stencil, channels: int) -> list[float]:
    kind = f"{channels}x0 + {channels}x1 + {channels}x2"
    layer = GaugeConv(kind, kind, rings=3, bias=False)
    x = torch.randn(POINTS, layer.in_type.dim)
    blocks = operator(stencil, layer.basis, x.dtype).block
    stored = least(lambda: layer(x, stencil))
    stencil.operators.clear()
    most, operators.OPERATOR_BYTES = operators.OPERATOR_BYTES, 0
    formed = least(lambda: layer(x, stencil))
    operators.OPERATOR_BYTES = most
    numbers = sum(b.numel() * (2 if b.is_complex() else 1) for b in blocks)
    # a complex number times a complex one are four products and as many sums
    product = sum(b.numel() * (8 if b.is_complex() else 2) for b in blocks) * channels
    mixing = sum(2 * POINTS * run[1] * run[2] * run[0] ** 2 for run in layer._plan.shapes)
    forming = stencil.n_entries * (ANGLE * angles(layer) + 2 * numbers // (POINTS * ENTRIES))
    entries = stencil.n_entries * (4 * 4 + 8)
    gpu = [
        max(bytes_ / GPU_BYTES, operations / GPU_OPERATIONS)
        for bytes_, operations in ((4 * numbers, product + mixing), (entries, product + mixing + forming))
    ]
    counts = 4 * numbers / 1e6, entries / 1e6, (product + mixing) / 1e9, (product + mixing + forming) / 1e9
    return [channels, stored, formed, *counts, *(1e6 * t for t in gpu)]


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stencil = nearest_stencil(fibonacci_sphere(POINTS), ENTRIES).to(dtype=torch.float32)
    rows = [[f"{value:.3g}" for value in measured(stencil, channels)] for channels in CHANNELS]
    for row in (COLUMNS, *rows):
        print("".join(f"{value:>15}" for value in row))
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "cpu", "threads", "torch"])
        writer.writerows([*row, cpu_name(), 1, torch.__version__] for row in rows)


if __name__ == "__main__":
    main()
