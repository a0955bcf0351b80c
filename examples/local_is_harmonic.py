"""One kernel, two engines: sums over neighbours on a grid, or products of harmonic coefficients.

A GaugeConv and its harmonic twin (`to_harmonic`) have the same weights. Applied to a smooth field they differ
by the stencil's quadrature and interpolation, so less and less as the grid is refined while the kernel's
radius stays. Every pair of frequencies n -> m up to 2 is tried, kernels a (z -> a(r) e^{i(m-n)t} z) and b
(z -> b(r) e^{i(m+n)t} conj z) by themselves, on `log` stencils (grid points) and `exp` ones (polar samples).
The error is relative, at random target points; the twin's answer has no grid, as the input's coefficients are
given.

python examples/local_is_harmonic.py                 saves runs/local_is_harmonic.png (15 seconds)
python examples/local_is_harmonic.py --nside 128 --csv docs/results/local-is-harmonic.csv    (5 GB, 3 minutes)
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry import healpix
from geocnn.geometry.core.stencil import Stencil
from geocnn.harmonics import field_analysis, field_synthesis, gauss_legendre, healpix_grid
from geocnn.nn import GaugeConv

RADIUS, RINGS, DEGREE, TARGETS = 0.4, 2, 8, 300
FREQUENCIES, KINDS = (0, 1, 2), ("log", "exp")


class Kernel(NamedTuple):
    n: int
    m: int
    letter: str

    def __str__(self) -> str:
        return f"{self.n} → {self.m} {self.letter}"


KERNELS = [
    Kernel(n, m, letter) for n in FREQUENCIES for m in FREQUENCIES for letter in ("ab" if n and m else "a")
]


def layer(kernel: Kernel) -> GaugeConv:
    """With random weights of one of the kernels; the other's are zero."""
    torch.manual_seed(0)
    made = GaugeConv(f"1x{kernel.n}", f"1x{kernel.m}", rings=RINGS, bias=False).double()
    if kernel.n and kernel.m:
        moments = [moment.frequency for moment in made.basis.moments]
        other = moments.index(-kernel.m - kernel.n if kernel.letter == "a" else kernel.m - kernel.n)
        with torch.no_grad():
            made.weight[str(kernel.m)][:, other * RINGS : (other + 1) * RINGS] = 0
    return made


def field(frequency: int) -> Tensor:
    """Coefficients of a random field of degrees up to DEGREE."""
    grid, g = gauss_legendre(DEGREE + 1), torch.Generator().manual_seed(1)
    noise = torch.randn(grid.n_points, 2 if frequency else 1, dtype=torch.float64, generator=g)
    return field_analysis(noise, f"1x{frequency}", grid, DEGREE)


@torch.no_grad()
def error(kernel: Kernel, stencil: Stencil, nside: int, targets: Tensor) -> float:
    """Of the local answer, relative to the harmonic one, at the targets."""
    local, grid, alm = layer(kernel), healpix_grid(nside), field(kernel.n)
    found = local(field_synthesis(alm, f"1x{kernel.n}", grid), stencil)
    twin = local.to_harmonic(RADIUS, DEGREE)
    expected = field_synthesis(twin.correlate(alm), f"1x{kernel.m}", grid)[targets]
    return float((found - expected).norm() / expected.norm())


def errors(nside: int, kind: str) -> dict[Kernel, float]:
    surface = healpix(nside)
    targets = torch.randperm(surface.n_points, generator=torch.Generator().manual_seed(0))[:TARGETS]
    stencil = surface.stencil(RADIUS, kind=kind, targets=targets)
    return {kernel: error(kernel, stencil, nside, targets) for kernel in KERNELS}


def order(values: list[float]) -> float:
    """The power of the spacing with which the errors fall: a line through their logarithms."""
    steps = torch.arange(len(values)).double()
    logs = torch.tensor(values, dtype=torch.float64).log2()
    steps, logs = steps - steps.mean(), logs - logs.mean()
    return -float((steps * logs).sum() / steps.square().sum())


def draw(sides: list[int], found: dict[str, dict[Kernel, list[float]]]):
    from matplotlib.figure import Figure

    from geocnn.viz import INK, TRAINING_COLOURS

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots(1, len(KINDS), sharey=True)
    for axis, (kind, curves) in zip(axes, found.items(), strict=True):
        for kernel, values in curves.items():
            style = {"color": TRAINING_COLOURS[kernel.n], "linestyle": "-" if kernel.letter == "a" else "--"}
            axis.loglog(
                sides, values, marker="o^s"[kernel.m], markersize=4, linewidth=1, label=str(kernel), **style
            )
        first = max(values[0] for values in curves.values())
        axis.loglog(sides, [first * (sides[0] / s) ** 2 for s in sides], ":", color=INK, label="order 2")
        axis.set_xticks(sides, [str(s) for s in sides])
        axis.minorticks_off()
        axis.set(xlabel="nside")
        axis.set_title(f"{kind} stencil", fontsize=10, color=INK)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("local − harmonic, relative")
    axes[-1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, default=32, help="the finest grid, a power of two above 16")
    parser.add_argument("--csv", type=Path, help="also writes the errors to this file")
    arguments = parser.parse_args()
    sides = [2**k for k in range(4, round(math.log2(arguments.nside)) + 1)]
    found: dict[str, dict[Kernel, list[float]]] = {}
    for kind in KINDS:
        columns = [errors(nside, kind) for nside in sides]
        found[kind] = {kernel: [column[kernel] for column in columns] for kernel in KERNELS}
        print(f"{kind:10s}" + "".join(f"{f'nside {s}':>11s}" for s in sides) + "   order")
        for kernel, values in found[kind].items():
            print(f"  {kernel!s:8s}" + "".join(f"{v:11.2e}" for v in values) + f"   {order(values):5.2f}")
    Path("runs").mkdir(exist_ok=True)
    draw(sides, found).savefig("runs/local_is_harmonic.png", dpi=100)
    print("saved runs/local_is_harmonic.png")
    if arguments.csv:
        write(arguments.csv, sides, found)


def write(path: Path, sides: list[int], found: dict[str, dict[Kernel, list[float]]]) -> None:
    rows = [
        [kind, *kernel, *(f"{v:.3e}" for v in values), f"{order(values):.2f}"]
        for kind, curves in found.items()
        for kernel, values in curves.items()
    ]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["stencil", "from", "to", "kernel", *(f"nside_{s}" for s in sides), "order"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
