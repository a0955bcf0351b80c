"""How far from the border can a network tell where it is? Real images in the upper left or lower right of a
black canvas, with ever more black around.

Three networks of growing receptive field end in a global mean, which should forget places. The zeros with
which their convolutions are padded bring them back, until content and border are too far apart to meet in any
layer: for dilations d₁ … d_L and places of 4 x 4 pixels, from 4 (2 Σd − d₁) pixels on. Weights are trained,
random and frozen, or frozen and read from a local file: there they come from reading digits.

python examples/quadrants.py             a few borders, saves runs/quadrants.png (half a minute)
python examples/quadrants.py --large     docs/results/quadrants.csv, the table of docs/quadrants.md (3 hours)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geocnn.data import SphericalDigits
from geocnn.data.photographs import cut, photographs
from geocnn.nn import to_full
from geocnn.train.files import load_weights, save_weights
from geocnn.train.sweep import Estimate, answers, batches, descend, estimates, share_right, sweep, table

SIDE, PLACE, WIDTH = 28, 4, 16  # pixels of an image and of a place along a side; channels
DILATIONS = {"near": (1, 1), "middle": (1, 2, 4), "far": (1, 2, 4, 8, 16, 32)}
SERIES = (("trained", "same"), ("random", "same"), ("read", "same"), ("trained", "full"))
KINDS = ("digits", "photographs")
BORDERS = (0, 4, 8, 16, 32, 48, 64, 128, 256, 512)
TICKS = (0, 4, 16, 64, 256)
FEW = {"images": 32, "steps": 15, "tested": 50}
MANY = {"images": 128, "steps": 100, "tested": 100}


def reach(name: str) -> int:
    """Black pixels around from which on the answer cannot depend on the quadrant.

    Content reaches Σd places far; the border one layer less, for black pixels before the first one are zeros,
    like its padding.
    """
    first, *_ = dilations = DILATIONS[name]
    return PLACE * (2 * sum(dilations) - first)


def on_canvas(images: Tensor, border: int) -> Tensor:
    """Images [B, 28, 28] in the upper left quadrant and then in the lower right one, `border` black pixels
    around both: [2B, 1, 56 + 2 border, 56 + 2 border]."""
    n, side = len(images), 2 * SIDE + 2 * border
    canvas = images.new_zeros(2, n, side, side)
    near, far = slice(border, border + SIDE), slice(border + SIDE, border + 2 * SIDE)
    canvas[0, :, near, near] = images
    canvas[1, :, far, far] = images
    return canvas.view(2 * n, 1, side, side)


def quadrants(n: int) -> Tensor:
    return torch.arange(2).repeat_interleave(n)


def trunk(name: str) -> nn.Sequential:
    """Images [B, 1, h, w] to features [B, WIDTH], places forgotten: but for the border."""
    layers: list[nn.Module] = [nn.PixelUnshuffle(PLACE)]
    channels = PLACE**2
    for d in DILATIONS[name]:
        conv = nn.Conv2d(channels, WIDTH, 3, padding=d, dilation=d)
        nn.init.kaiming_normal_(conv.weight)
        nn.init.normal_(conv.bias, std=0.1)
        layers += [conv, nn.ReLU()]
        channels = WIDTH
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def classifier(classes: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, classes))


def digit_weights(name: str, folder: Path, steps: int) -> Path:
    """The file of a trunk that has learnt to read digits for `steps`, made if it is not there."""
    file = folder / f"quadrants-{name}-{steps}.safetensors"
    if file.is_file():
        return file
    digits = SphericalDigits("train", rotated=False)
    with torch.random.fork_rng():  # what follows in a run is the same whether the file was there or not
        torch.manual_seed(0)
        network = nn.Sequential(trunk(name), classifier(10))
        descend(network, batches(digits.images[:, None] / 255, digits.labels, 64), steps, 0.01)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(network[0], file)
    return file


def pictures(kind: str, split: str, n: int) -> Tensor:
    """n random images of a split, [n, 28, 28]."""
    if kind == "photographs":
        return cut(photographs(split, shrink=4), n, SIDE)
    images = SphericalDigits(split, rotated=False).images
    return images[torch.randperm(len(images))[:n]] / 255


def features(network: nn.Module, images: Tensor, border: int) -> Tensor:
    """Of images in the one quadrant and then in the other, [2B, WIDTH]."""
    found = [answers(network, on_canvas(part, border)).view(2, -1, WIDTH) for part in images.split(8)]
    return torch.cat(found, 1).flatten(0, 1)


def run(kind, network, weights, padding, border, seed, images, steps, tested) -> dict[str, float]:
    """The share of `tested` images whose quadrant is told right, after learning from `images` others."""
    torch.manual_seed(seed)
    learnt, test = pictures(kind, "train", images), pictures(kind, "test", tested)
    body, head = trunk(network), classifier(2)
    if weights == "read":
        load_weights(body, digit_weights(network, Path("runs"), 5 * steps))
    if padding == "full":
        body = to_full(body)
    if weights == "trained":
        draw = batches(learnt, torch.zeros(len(learnt)), 8)
        descend(nn.Sequential(body, head), lambda: (on_canvas(draw()[0], border), quadrants(8)), steps, 0.01)
    else:
        descend(head, batches(features(body, learnt, border), quadrants(images), 64), 10 * steps, 0.03)
    return {"right": share_right(head, features(body, test, border), quadrants(tested))}


def settings(borders: Sequence[int], seeds: int, size: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """All arguments of `run`, the cheap ones of a seed first."""
    for seed, border, kind, name, (weights, padding) in product(
        range(seeds), borders, KINDS, DILATIONS, SERIES
    ):
        if padding == "full" and border > 16:
            continue  # its two canvases give one answer, and it reaches 2 Σd places beyond them
        setting = {"kind": kind, "network": name, "weights": weights, "padding": padding}
        yield {**setting, "border": border, "seed": seed, **size}


def draw(found: Mapping[tuple, Estimate]):
    from matplotlib.figure import Figure

    from geocnn.viz import FAINT, TRAINING_COLOURS
    from geocnn.viz.estimates import draw_estimates, dress

    figure = Figure(figsize=(12, 3.3), layout="constrained")
    shown, *axes = figure.subplots(1, 4, width_ratios=[0.95, 1, 1, 1])
    torch.manual_seed(2)
    digit, photograph = (on_canvas(pictures(kind, "test", 1), 16) for kind in KINDS)
    line = digit.new_ones(digit.shape[-1], 2)
    shown.imshow(torch.cat([digit[0, 0], line, photograph[1, 0]], 1), cmap="gray")
    shown.set_axis_off()
    dress(shown, "upper left, lower right; border 16")
    for axis, name in zip(axes, DILATIONS, strict=True):
        for (weights, padding), colour in zip(SERIES, TRAINING_COLOURS, strict=True):
            for kind, dash in zip(KINDS, ("-", "--"), strict=True):
                label = f"{weights}, {padding}" if kind == KINDS[0] else None
                key = (kind, name, weights, padding)
                draw_estimates(axis, found, key, linestyle=dash, color=colour, label=label)
        axis.axvline(reach(name), color=FAINT, linestyle=":")
        dress(
            axis, f"{name}: told right, %", xlabel="black border, pixels; dotted: the reach", ylim=(45, 103)
        )
        axis.set_xscale("symlog", base=2, linthresh=4)
        axis.set(xlim=(-1, 700))
        axis.set_xticks(TICKS, TICKS)
    axes[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="all borders; goes on where it was stopped")
    parser.add_argument("--seeds", type=int, help="runs of each setting: 3 if large, otherwise 1")
    chosen = parser.parse_args()
    size, borders, seeds, file = FEW, (0, 16, 64), 1, None
    if chosen.large:
        size, borders, seeds, file = MANY, BORDERS, 3, Path("docs/results/quadrants.csv")
    rows = sweep(settings(borders, chosen.seeds or seeds, size), run, file)
    found = estimates(rows, "right", ("kind", "network", "weights", "padding", "border"))
    print(f"\nthe reach of {', '.join(f'{name}: {reach(name)}' for name in DILATIONS)} pixels")
    print(f"quadrants told right, %, by border\n{table(found)}")
    Path("runs").mkdir(exist_ok=True)
    draw(found).savefig("runs/quadrants.png", dpi=100)
    print("saved runs/quadrants.png")


if __name__ == "__main__":
    main()
