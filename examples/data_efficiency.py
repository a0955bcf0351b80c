"""With few examples, does it help not to see the border? Full against same convolutions, alike but for that.

Digits lie anywhere on a canvas, each at one place while training. Patches of photographs are matched: of two
views of each place, a few pixels apart and with other noise, contrast and brightness, the nearest descriptors
should be of the same place. Padded with zeros, the network learns what it sees together with where; on an
unbounded canvas (`to_full`) it cannot.

python examples/data_efficiency.py           few steps, saves runs/data_efficiency.png (half a minute)
python examples/data_efficiency.py --large   docs/results/data_efficiency.csv, the table of the page (1 hour)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from shared_parts import (
    Estimate,
    batches,
    cut,
    descend,
    draw_estimates,
    dress,
    estimates,
    photographs,
    share_right,
    sweep,
    table,
)
from torch import Tensor, nn

from geocnn.data import SphericalDigits
from geocnn.nn import to_full

DIGIT, CANVAS, PATCH, SHIFT = 22, 30, 32, 6  # pixels along a side; those by which two views differ
TASKS, PADDINGS = ("digits", "matching"), ("same", "full")


def network(padding: str, places: int, out: int) -> nn.Module:
    """Images [B, 1, h, w] to [B, out]: three convolutions, means over places x places parts of the image, a
    linear map."""
    trunk: nn.Module = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(places),
        nn.Flatten(),
    )
    if padding == "full":
        trunk = to_full(trunk)
    features = 32 * places**2
    return nn.Sequential(trunk, nn.BatchNorm1d(features), nn.Linear(features, out))


def strewn(images: Tensor) -> Tensor:
    """Images [B, 22, 22], each at a random place of its canvas: [B, 1, 30, 30]."""
    canvas = images.new_zeros(len(images), 1, CANVAS, CANVAS)
    places = torch.randint(CANVAS - DIGIT + 1, (len(images), 2)).tolist()
    for image, whole, (row, column) in zip(images, canvas, places, strict=True):
        whole[0, row : row + DIGIT, column : column + DIGIT] = image
    return canvas


def digits(split: str, n: int) -> tuple[Tensor, Tensor]:
    """n strewn digits and their labels."""
    shipped = SphericalDigits(split, rotated=False)
    some = torch.randperm(len(shipped))[:n]
    return strewn(shipped.images[some, 3:-3, 3:-3] / 255), shipped.labels[some]


def views(split: str, n: int) -> tuple[Tensor, Tensor]:
    """Two views [n, 1, 32, 32] of n places in photographs."""
    places = cut(photographs(split, shrink=2), n, PATCH + SHIFT)
    return view(places), view(places)


def view(places: Tensor) -> Tensor:
    """Patches [n, 1, 32, 32] out of squares [n, 38, 38]: up to 6 pixels apart, by other light, with noise."""
    patches = torch.stack([cut([place], 1, PATCH) for place in places])
    light, contrast = (torch.rand(2, len(places), 1, 1, 1) - 0.5) * 0.4
    patches = patches * (1 + contrast) + light + 0.05 * torch.randn_like(patches)
    return patches - patches.mean((2, 3), keepdim=True)


def distances(model: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """Between the descriptors, on the unit sphere, of the patches of each: [a, b]."""
    one, other = (nn.functional.normalize(x, dim=1) for x in model(torch.cat([a, b])).split(len(a)))
    return (2 - 2 * one @ other.mT).clamp(min=1e-6).sqrt()


def match(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Each pair nearer than the nearest wrong one by 1 (Mishchuk et al. 2017, eq. 1)."""
    d = distances(model, *batch)
    wrong = d + 10 * torch.eye(len(d))
    loss = torch.relu(1 + d.diagonal() - torch.minimum(wrong.amin(0), wrong.amin(1))).mean()
    return loss, {"accuracy": (d.argmin(1) == torch.arange(len(d))).float().mean()}


def run(task, padding, examples, seed, steps, tested) -> dict[str, float]:
    """The share of test digits read right, or of test patches whose nearest second view is their own."""
    torch.manual_seed(seed)
    if task == "digits":
        learnt, test = digits("train", examples), digits("test", tested)
        model = descend(network(padding, 1, 10), batches(*learnt, 32), steps, 0.01)
        return {"right": share_right(model, *test)}
    learnt, test = views("train", examples), views("test", tested)
    model = descend(network(padding, 4, 32), batches(*learnt, 32), steps, 0.01, match)
    with torch.no_grad():
        _, scores = match(model, test)
    return {"right": float(scores["accuracy"])}


def settings(examples: Sequence[int], seeds: int, size: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """All arguments of `run`."""
    for seed, task, n, padding in product(range(seeds), TASKS, examples, PADDINGS):
        yield {"task": task, "padding": padding, "examples": n, "seed": seed, **size}


def draw(found: Mapping[tuple, Estimate]):
    from matplotlib.figure import Figure

    from geocnn.viz import TRAINING_COLOURS

    figure = Figure(figsize=(11, 3.3), layout="constrained")
    shown, *axes = figure.subplots(1, 3, width_ratios=[0.9, 1, 1])
    torch.manual_seed(3)
    pairs = torch.cat(
        [torch.cat(pair, 3) for pair in zip(*(v.split(1) for v in views("test", 2)), strict=True)], 2
    )
    canvas = nn.functional.interpolate(digits("test", 1)[0], 2 * PATCH)
    shown.imshow(torch.cat([canvas[0, 0] - 0.5, torch.ones(2 * PATCH, 2), pairs[0, 0]], 1), cmap="gray")
    shown.set_axis_off()
    dress(shown, "a digit; two patches, two views each")
    titles = ("digits anywhere: read right, %", "patches: matched right, %")
    for axis, task, title in zip(axes, TASKS, titles, strict=True):
        for padding, colour in zip(PADDINGS, TRAINING_COLOURS, strict=False):
            draw_estimates(axis, found, (task, padding), color=colour, label=padding)
        dress(axis, title, xlabel="examples learnt from", xscale="log")
        axis.set_xticks(ticks := sorted({key[-1] for key in found}), ticks)
        axis.minorticks_off()
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="the page's table; goes on where it was stopped")
    parser.add_argument("--seeds", type=int, help="runs of each setting: 5 if large, otherwise 1")
    chosen = parser.parse_args()
    examples, seeds, size, file = (50, 200), 1, {"steps": 30, "tested": 200}, None
    if chosen.large:
        examples, seeds, size = (50, 100, 200, 500, 1000, 2000), 5, {"steps": 500, "tested": 1000}
        file = Path("docs/results/data_efficiency.csv")
    rows = sweep(settings(examples, chosen.seeds or seeds, size), run, file)
    found = estimates(rows, "right", ("task", "padding", "examples"))
    print(f"\nright, %, by examples learnt from\n{table(found)}")
    Path("runs").mkdir(exist_ok=True)
    draw(found).savefig("runs/data_efficiency.png", dpi=100)
    print("saved runs/data_efficiency.png")


if __name__ == "__main__":
    main()
