"""Digits turned by any angle: plain convolutions, those of C4 and C8, and SO(2) irreps, by number of digits
learnt from.

All four have three layers of 5 x 5 pixels and 13,000 to 19,000 weights. The last three answer a turned digit
as they answer the upright one: exactly for quarter turns, otherwise as well as pixels allow; a plain network
must learn it.

The data are in the manner of MNIST-rot (Larochelle et al. 2007), which is not shipped: all 70,000 digits of
MNIST, shuffled by seed 0; 12,000 to learn from, the next 50,000 to test, each turned once about its centre
by an angle of the same generator and read bilinearly. Fewer are the first of the 12,000.

python examples/rotated_digits.py            few steps, saves runs/rotated_digits.png (half a minute)
python examples/rotated_digits.py --large    docs/results/rotated_digits.csv, the table of the page (3 hours)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from shared_parts import (
    Estimate,
    batches,
    descend,
    draw_estimates,
    dress,
    estimates,
    share_right,
    sweep,
    table,
)
from torch import Tensor, nn
from torch.nn import functional as F

from geocnn.data import SphericalDigits
from geocnn.groups import FieldType
from geocnn.nn import FieldNorm, FourierNonlinearity, GaugeConv, GroupConv, GroupPool, LiftingConv, taps

NETWORKS = ("plain", "C4", "C8", "SO(2)")
LEARNT, TESTED = 12_000, 50_000


@cache
def turned_digits() -> tuple[Tensor, Tensor]:
    """The 62,000 digits of the protocol [n, 1, 28, 28], 0 to 1, and their labels."""
    parts = [SphericalDigits(split, rotated=False) for split in ("train", "val", "test")]
    images, labels = (torch.cat([getattr(p, name) for p in parts]) for name in ("images", "labels"))
    generator = torch.Generator().manual_seed(0)
    some = torch.randperm(len(images), generator=generator)[: LEARNT + TESTED]
    angles = 2 * torch.pi * torch.rand(len(some), generator=generator)
    return turned(images[some, None] / 255, angles), labels[some]


def turned(images: Tensor, angles: Tensor) -> Tensor:
    """Images [n, 1, h, w] turned about their centres by angles [n], zeros beyond."""
    c, s, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    maps = torch.stack([c, s, zero, -s, c, zero], 1).view(-1, 2, 3)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


class Halve(nn.Module):
    """Means over 2 x 2 pixels of [B, ..., h, w]: quarter turns take such squares to such squares."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x.flatten(1, -3), 2).unflatten(1, x.shape[1:-2])


def plain(widths: Sequence[int] = (16, 20, 20)) -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in zip((1, *widths), widths, strict=False):
        layers += [nn.Conv2d(a, b, 5, padding=2), nn.BatchNorm2d(b), nn.ReLU(), Halve()]
    return nn.Sequential(*layers[:-1], *last(widths[-1]))


def regular(group: str, widths: Sequence[int]) -> nn.Module:
    """Images of C4 or C8 by lifting and group convolutions."""
    layers: list[nn.Module] = []
    for a, b in zip((0, *widths), widths, strict=False):
        conv = GroupConv(group, a, b, 5) if a else LiftingConv(group, 1, b, 5)
        layers += [conv, nn.BatchNorm3d(b), nn.ReLU(), Halve()]
    return nn.Sequential(*layers[:-1], GroupPool(), *last(widths[-1]))


class Steerable(nn.Module):
    """GaugeConv, norm and pointwise nonlinearity on the plane's pixels: [B, D, h, w] to [B, D', h, w]."""

    def __init__(self, in_type: str, out_type: str):
        super().__init__()
        self.conv = GaugeConv(in_type, out_type, rings=3, max_frequency=2, bias=False)
        self.norm, self.nonlinearity = FieldNorm(out_type), FourierNonlinearity(out_type, torch.relu)

    def forward(self, x: Tensor) -> Tensor:
        # a kernel of radius 3 vanishes there, so 5 x 5 taps are left
        y = F.conv2d(x, taps(self.conv, 3.0, "log")[..., 1:-1, 1:-1], padding=2)
        return self.nonlinearity(self.norm(y.movedim(1, -1))).movedim(-1, 1)


def irreps(types: Sequence[str]) -> nn.Module:
    """Fields of SO(2) by gauge convolutions."""
    layers: list[nn.Module] = []
    for a, b in zip(("1x0", *types), types, strict=False):
        layers += [Steerable(a, b), Halve()]
    return nn.Sequential(*layers[:-1], *last(FieldType(types[-1]).dim))


def last(width: int) -> list[nn.Module]:
    """The mean over all pixels, and of that the logits."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(width), nn.Linear(width, 10)]


def build(name: str) -> nn.Module:
    """Logits [B, 10] of images [B, 1, 28, 28]."""
    if name == "plain":
        return plain()
    if name == "SO(2)":
        return irreps(["12x0 + 12x1 + 12x2", "12x0 + 12x1 + 12x2", "24x0"])
    return regular(name, {"C4": (8, 10, 10), "C8": (8, 10, 10)}[name])


def run(network, examples, seed, steps, tested) -> dict[str, float]:
    """The share of test digits read wrong, and the number of weights."""
    torch.manual_seed(seed)
    x, y = turned_digits()
    draw = batches(x[:examples], y[:examples], 64)
    model = descend(build(network), draw, steps, 0.01)
    test = slice(LEARNT, LEARNT + tested)
    weights = sum(p.numel() for p in model.parameters())
    return {"wrong": 1 - share_right(model, x[test], y[test]), "weights": weights}


def settings(examples: Sequence[int], seeds: int, size: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """All arguments of `run`."""
    for seed, n, name in product(range(seeds), examples, NETWORKS):
        yield {"network": name, "examples": n, "seed": seed, **size}


def draw(found: Mapping[tuple, Estimate]):
    from matplotlib.figure import Figure

    from geocnn.viz import TRAINING_COLOURS

    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    shown, axis = figure.subplots(1, 2, width_ratios=[0.8, 1])
    digits = turned_digits()[0][:16, 0].unflatten(0, (4, 4))
    shown.imshow(digits.movedim(2, 1).reshape(112, 112), cmap="gray_r")
    shown.set_axis_off()
    dress(shown, "the first of the 12,000")
    for name, colour in zip(NETWORKS, TRAINING_COLOURS, strict=True):
        draw_estimates(axis, found, (name,), color=colour, label=name)
    dress(axis, "wrong, %", xlabel="digits learnt from", xscale="log")
    axis.set_xticks(ticks := sorted({key[-1] for key in found}), ticks)
    axis.minorticks_off()
    axis.legend(fontsize=8, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="the page's table; goes on where it was stopped")
    parser.add_argument("--seeds", type=int, help="runs of each setting: 3 if large, otherwise 1")
    chosen = parser.parse_args()
    examples, seeds, size, file = (100, 500), 1, {"steps": 10, "tested": 300}, None
    if chosen.large:
        examples, seeds, size = (300, 1000, 3000, LEARNT), 3, {"steps": 1000, "tested": TESTED}
        file = Path("docs/results/rotated_digits.csv")
    rows = sweep(settings(examples, chosen.seeds or seeds, size), run, file)
    found = estimates(rows, "wrong", ("network", "examples"))
    print(f"\nwrong, %, by digits learnt from\n{table(found)}")
    Path("runs").mkdir(exist_ok=True)
    draw(found).savefig("runs/rotated_digits.png", dpi=100)
    print("saved runs/rotated_digits.png")


if __name__ == "__main__":
    main()
