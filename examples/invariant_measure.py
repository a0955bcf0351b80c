"""A mean over the sphere stays when the field is rotated: which sums over points do?

A smooth bump and a cap with a sharp edge are rotated to random places and summed over HEALPix, the icosphere
and a latitude-longitude grid, with every point counted alike or by its share of the area. Global pooling is
such a sum: counted alike, what lies near the poles of a latitude-longitude grid weighs many times more.

python examples/invariant_measure.py               prints errors, saves runs/invariant_measure.png (seconds)
python examples/invariant_measure.py --finest 6    the table of docs/invariant-measure.md (half a minute)
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.geometry import healpix, icosphere
from geocnn.harmonics import equiangular

CONCENTRATION, RADIUS = 10.0, 0.5


class Sum(NamedTuple):
    """Points [N, 3] of the unit sphere and their weights [N], which sum to one."""

    points: Tensor
    weights: Tensor

    def __call__(self, f: Callable[[Tensor], Tensor], centres: Tensor) -> Tensor:
        """Σ_i w_i f(c · p_i) for zonal functions about centres c [K, 3]: [K]."""
        return torch.cat([f(some @ self.points.T) @ self.weights for some in centres.split(500)])


def bump(z: Tensor) -> Tensor:
    return torch.exp(CONCENTRATION * (z - 1))


def cap(z: Tensor) -> Tensor:
    return (z > math.cos(RADIUS)).double()


MEANS = {
    bump: (1 - math.exp(-2 * CONCENTRATION)) / (2 * CONCENTRATION),
    cap: (1 - math.cos(RADIUS)) / 2,
}


def sums(k: int) -> dict[str, Sum]:
    """Six sums over about 12 · 4^k points."""
    h, ico, grid = healpix(2**k), icosphere(k), equiangular(5 * 2**k // 2)
    theta, phi = grid.angles()
    around = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], 1)
    half = math.pi / (2 * len(grid.theta))
    cells = (theta - half).cos() - (theta + half).cos()
    return {
        "HEALPix": _sum(h.points, h.areas),
        "icosphere, alike": _sum(ico.points, torch.ones_like(ico.areas)),
        "icosphere, areas": _sum(ico.points, ico.areas),
        "lat-lon, alike": _sum(around, torch.ones_like(theta)),
        "lat-lon, areas": _sum(around, cells),
        "lat-lon, quadrature": _sum(around, grid.ring_values(grid.weight)),
    }


def _sum(points: Tensor, weights: Tensor) -> Sum:
    return Sum(points, weights / weights.sum())


def errors(total: Sum, f: Callable[[Tensor], Tensor], n: int = 500) -> Tensor:
    """What the sums of f rotated at random differ by from its mean, relative, [n]."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return total(f, centres / centres.norm(dim=1, keepdim=True)) / MEANS[f] - 1


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def draw(found: dict[Callable[[Tensor], Tensor], dict[int, dict[str, Tensor]]]):
    from matplotlib.figure import Figure

    from geocnn.viz import FAINT, INK, RIGHT, TRAINING_COLOURS, WRONG, orthographic

    figure = Figure(figsize=(12, 3.3), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1.25, 1.25])
    centres = healpix(16).points
    for axis, name, scale in zip(axes[:2], ("lat-lon, alike", "icosphere, alike"), (100, 2), strict=True):
        change = 100 * (sums(3)[name](bump, centres) / MEANS[bump] - 1)
        picture, _ = orthographic(change, torch.tensor([1.0, 0.3, 0.6]), size=300)
        image = axis.imshow(picture, cmap="RdBu_r", vmin=-scale, vmax=scale)
        axis.set_title(f"{name}: error in %\nby the place of the bump", fontsize=10, color=INK)
        axis.axis("off")
        figure.colorbar(image, ax=axis, shrink=0.6)
    lines = {
        "HEALPix": (TRAINING_COLOURS[0], "-"),
        "icosphere, alike": (RIGHT, ":"),
        "icosphere, areas": (RIGHT, "-"),
        "lat-lon, alike": (WRONG, ":"),
        "lat-lon, areas": (WRONG, "-"),
        "lat-lon, quadrature": (FAINT, "-"),
    }
    for axis, (f, levels) in zip(axes[2:], found.items(), strict=True):
        for name, (colour, style) in lines.items():
            sizes = [12 * 4**k for k in levels]
            axis.loglog(sizes, [rms(x[name]) for x in levels.values()], style, color=colour, label=name)
        axis.set(xlabel="points", ylim=(1e-6, 2))
        axis.set_title(f"{f.__name__}: error, 500 rotations", fontsize=10, color=INK)
        axis.spines[["top", "right"]].set_visible(False)
    axes[3].legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--finest", type=int, default=4, help="k of the finest points, about 12 · 4^k")
    levels = range(2, parser.parse_args().finest + 1)
    found = {f: {k: {name: errors(s, f) for name, s in sums(k).items()} for k in levels} for f in MEANS}
    for f, by_level in found.items():
        print(f"{f.__name__}, 500 rotations: root mean square error of the sum (largest)")
        print(f"{'points, about':20}" + "".join(f"{12 * 4**k:>18,}" for k in levels))
        for name in by_level[2]:
            row = [by_level[k][name] for k in levels]
            print(f"{name:20}" + "".join(f"{rms(e):9.1e} ({float(e.abs().max()):.0e})" for e in row))
    Path("runs").mkdir(exist_ok=True)
    draw(found).savefig("runs/invariant_measure.png", dpi=100)
    print("saved runs/invariant_measure.png")


if __name__ == "__main__":
    main()
