"""Rotation error of anisotropic kernels on HEALPix: three random layers 0 -> 1 -> 1 -> 0, no nonlinearity.

Input of harmonic degree 16, kernels of radius pi/8, mean of 8 Haar rotations (`equivariance.rotation_error`).
The stencil's angles carry a degree-16 field on a circle of that radius far better than interpolation does;
more rings do not help equivariance but average interpolation errors, at proportional cost.

python benchmarks/rotation.py      prints, and writes benchmarks/rotation.csv (about 5 minutes, 5 GB)
"""

from __future__ import annotations

import csv
import math
import time
from itertools import pairwise
from pathlib import Path

import torch
from import_time import cpu_name

from geocnn.equivariance import rotation_error
from geocnn.geometry import healpix
from geocnn.nn import GaugeConv

ROOT = Path(__file__).resolve().parents[1]
DEGREE, RADIUS, SAMPLES = 16, math.pi / 8, (5, 20)
CASES = [(16, "bilinear"), (32, "bilinear"), (64, "bilinear"), (16, "cubic"), (32, "cubic"), (64, "cubic")]
COLUMNS = "nside interpolation samples mean min max order seconds cpu threads torch".split()


def measure(nside: int, interpolation: str) -> dict[str, object]:
    """One row of the table; seconds cover stencil, operators and 1 + 8 inputs through three layers."""
    torch.manual_seed(0)
    types = ["1x0", "4x1", "4x1", "1x0"]
    layers = [GaugeConv(a, b).double() for a, b in pairwise(types)]

    def network(x, stencil):
        for layer in layers:
            x = layer(x, stencil)
        return x

    start = time.perf_counter()
    stencil = healpix(nside, interpolation=interpolation).stencil(RADIUS, "exp", SAMPLES)
    random = torch.Generator().manual_seed(0)
    error = rotation_error(network, stencil, "1x0", "1x0", DEGREE, random)
    return {
        "nside": nside, "interpolation": interpolation, "samples": "x".join(map(str, SAMPLES)),
        "mean": error.mean, "min": float(error.samples.min()), "max": error.max, "order": None,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu": cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def main() -> None:
    rows: list[dict] = []
    print(" nside  interpolation  samples      mean       min       max   order   seconds")
    for nside, interpolation in CASES:
        row = measure(nside, interpolation)
        if rows and rows[-1]["interpolation"] == interpolation:
            row["order"] = round(math.log2(rows[-1]["mean"] / row["mean"]), 2)
        rows.append(row)
        print(
            f"{nside:6d}  {interpolation:>13}  {row['samples']:>7}  {row['mean']:8.2e}  {row['min']:8.2e}"
            f"  {row['max']:8.2e}  {row['order'] or '':>6}  {row['seconds']:8.1f}",
            flush=True,
        )
    with (ROOT / "benchmarks" / "rotation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        shortened = [row | {key: f"{row[key]:.3e}" for key in ("mean", "min", "max")} for row in rows]
        writer.writerows(shortened)


if __name__ == "__main__":
    main()
