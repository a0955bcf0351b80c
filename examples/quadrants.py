"""How far from the border can a network tell where it is? Real images in the upper left or lower right of a
black canvas, with ever more black around.

Three networks of growing receptive field end in a global mean, which should forget places. The zeros with
which their convolutions are padded bring them back, until content and border are too far apart to meet in any
layer: for dilations d₁ … d_L and places of 4 x 4 pixels, from 4 (2 Σd − d₁) pixels on. Weights are trained,
random and frozen, or frozen and read from a local file: there they come from reading digits.

Three published networks (`published_networks.py`), made thin, go through the same. Black is not zero in the
range of their images, so that the border shows as long as an answer sees both it and content.

python examples/quadrants.py             a few borders, saves runs/quadrants.png (half a minute)
python examples/quadrants.py --large     docs/results/quadrants.csv, the table of docs/quadrants.md (3 hours)
python examples/quadrants.py --published     the same for the published networks (10 minutes)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from published_networks import PUBLISHED, read_published, receptive_field
from shared_parts import (
    Estimate,
    answers,
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
from geocnn.train.files import load_weights, save_weights

SIDE, PLACE, WIDTH = 28, 4, 16  # pixels of an image and of a place along a side; channels
THIN = {"BagNet-33": 16, "ResNet-18": 16, "DenseNet-121": 8}  # widths, a quarter of the published ones
STRIDE = (
    32  # of the published networks at most, and pixels of their images: no quadrant has a phase of its own
)
DILATIONS = {"near": (1, 1), "middle": (1, 2, 4), "far": (1, 2, 4, 8, 16, 32)}
SERIES = (("trained", "same"), ("random", "same"), ("read", "same"), ("trained", "full"))
KINDS = ("digits", "photographs")
BORDERS = (0, 4, 8, 16, 32, 48, 64, 128, 256, 512)
PUBLISHED_BORDERS = {
    "BagNet-33": (0, 16, 24, 32, 64),
    "ResNet-18": (0, 64, 256, 512),
    "DenseNet-121": (0, 64, 256),
}
TICKS = (0, 4, 16, 64, 256)
FEW = {"images": 32, "steps": 15, "tested": 50}
MANY = {"images": 128, "steps": 100, "tested": 100}
SOME = {"images": 16, "steps": 60, "tested": 16}


def reach(name: str) -> int:
    """Black pixels around from which on the answer cannot depend on the quadrant.

    Content reaches Σd places far; the border one layer less, for black pixels before the first one are zeros,
    like its padding. Of the published networks an answer sees so many pixels, less one.
    """
    if name in PUBLISHED:
        return receptive_field(PUBLISHED[name](8)) - 1
    first, *_ = dilations = DILATIONS[name]
    return PLACE * (2 * sum(dilations) - first)


def on_canvas(images: Tensor, border: int) -> Tensor:
    """Images [B, n, n] in the upper left quadrant and then in the lower right one, `border` black pixels
    around both: [2B, 1, 2 n + 2 border, 2 n + 2 border]."""
    n, own, side = len(images), images.shape[-1], 2 * images.shape[-1] + 2 * border
    canvas = images.new_zeros(2, n, side, side)
    near, far = slice(border, border + own), slice(border + own, border + 2 * own)
    canvas[0, :, near, near] = images
    canvas[1, :, far, far] = images
    return canvas.view(2 * n, 1, side, side)


def quadrants(n: int) -> Tensor:
    return torch.arange(2).repeat_interleave(n)


class Coloured(nn.Module):
    """Grey images [B, 1, h, w] of 0 to 1 to three channels, in the range that published weights expect."""

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = x.new_tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
        return (x - mean) / deviation


def trunk(name: str) -> nn.Sequential:
    """Images [B, 1, h, w] to features [B, channels], places forgotten: but for the border."""
    if name in PUBLISHED:
        return nn.Sequential(Coloured(), PUBLISHED[name](THIN[name]))
    layers: list[nn.Module] = [nn.PixelUnshuffle(PLACE)]
    channels = PLACE**2
    for d in DILATIONS[name]:
        conv = nn.Conv2d(channels, WIDTH, 3, padding=d, dilation=d)
        nn.init.kaiming_normal_(conv.weight)
        nn.init.normal_(conv.bias, std=0.1)
        layers += [conv, nn.ReLU()]
        channels = WIDTH
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def classifier(classes: int, channels: int = WIDTH) -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(channels), nn.Linear(channels, classes))


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


def weights_file(name: str) -> Path:
    """Where a user puts the weights of a published network."""
    kept = Path("runs") / f"quadrants-{name}.safetensors"
    return kept if kept.is_file() else kept.with_suffix(".pth")


def pictures(kind: str, split: str, n: int, side: int = SIDE) -> Tensor:
    """n random images of a split, [n, side, side]; digits have 28 pixels and black ones around."""
    if kind == "photographs":
        return cut(photographs(split, shrink=4), n, side)
    images = SphericalDigits(split, rotated=False).images
    images = images[torch.randperm(len(images))[:n]] / 255
    return nn.functional.pad(images, [(side - SIDE) // 2] * 4)


def features(network: nn.Module, images: Tensor, border: int) -> Tensor:
    """Of images in the one quadrant and then in the other, [2B, channels]."""
    found = [answers(network, on_canvas(part, border)).unflatten(0, (2, -1)) for part in images.split(8)]
    return torch.cat(found, 1).flatten(0, 1)


def run(kind, network, weights, padding, border, seed, images, steps, tested) -> dict[str, float]:
    """The share of `tested` images whose quadrant is told right, after learning from `images` others."""
    torch.manual_seed(seed)
    side = STRIDE if network in PUBLISHED else SIDE
    learnt, test = pictures(kind, "train", images, side), pictures(kind, "test", tested, side)
    body = trunk(network)
    if weights == "read" and network in PUBLISHED:
        body = nn.Sequential(Coloured(), read_published(network, weights_file(network)))
    elif weights == "read":
        load_weights(body, digit_weights(network, Path("runs"), 5 * steps))
    head = classifier(2, getattr(body[-1], "channels", WIDTH))
    if padding == "full":
        body = to_full(body)
    if weights == "trained":
        draw = batches(learnt, torch.zeros(len(learnt)), 8)
        rate = 0.003 if network in PUBLISHED else 0.01
        descend(nn.Sequential(body, head), lambda: (on_canvas(draw()[0], border), quadrants(8)), steps, rate)
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


def published_settings() -> Iterator[dict[str, Any]]:
    """Of the published networks: read where there is a file, trained where there is no border."""
    for (weights, padding), name in product(SERIES, PUBLISHED_BORDERS):
        if weights == "read" and not weights_file(name).is_file():
            continue
        for border, kind in product(PUBLISHED_BORDERS[name], KINDS):
            if weights == "trained" and (border > 0 or kind == "digits"):
                continue
            setting = {"kind": kind, "network": name, "weights": weights, "padding": padding}
            yield {**setting, "border": border, "seed": 0, **SOME}


def draw(found: Mapping[tuple, Estimate], names: Sequence[str]):
    from matplotlib.figure import Figure

    from geocnn.viz import FAINT, TRAINING_COLOURS

    figure = Figure(figsize=(12, 3.3), layout="constrained")
    shown, *axes = figure.subplots(1, 4, width_ratios=[0.95, 1, 1, 1])
    torch.manual_seed(2)
    digit, photograph = (on_canvas(pictures(kind, "test", 1), 16) for kind in KINDS)
    line = digit.new_ones(digit.shape[-1], 2)
    shown.imshow(torch.cat([digit[0, 0], line, photograph[1, 0]], 1), cmap="gray")
    shown.set_axis_off()
    dress(shown, "upper left, lower right; border 16")
    for axis, name in zip(axes, names, strict=True):
        for (weights, padding), colour in zip(SERIES, TRAINING_COLOURS, strict=True):
            keys = [(kind, name, weights, padding) for kind in KINDS]
            drawn = [key for key in keys if any(k[:4] == key for k in found)]
            for key in drawn:
                label = f"{weights}, {padding}" if key == drawn[0] else None
                dash = "-" if key[0] == KINDS[0] else "--"
                draw_estimates(axis, found, key, marker="o", linestyle=dash, color=colour, label=label)
        axis.axvline(reach(name), color=FAINT, linestyle=":")
        dress(
            axis, f"{name}: told right, %", xlabel="black border, pixels; dotted: the reach", ylim=(45, 103)
        )
        axis.set_xscale("symlog", base=2, linthresh=4)
        axis.set(xlim=(-1, 700))
        axis.set_xticks(TICKS, TICKS)
    axes[-1].legend(
        *axes[0].get_legend_handles_labels(),
        fontsize=8,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1, 1),
    )
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="all borders; goes on where it was stopped")
    parser.add_argument(
        "--published", action="store_true", help="BagNet-33, ResNet-18 and DenseNet-121, thin"
    )
    parser.add_argument("--seeds", type=int, help="runs of each setting: 3 if large, otherwise 1")
    chosen = parser.parse_args()
    size, borders, seeds, file = FEW, (0, 16, 64), 1, None
    if chosen.large:
        size, borders, seeds = MANY, BORDERS, 3
    if chosen.large or chosen.published:
        file = Path("docs/results/quadrants.csv")
    names, picture = list(DILATIONS), Path("runs/quadrants.png")
    wanted = settings(borders, chosen.seeds or seeds, size)
    if chosen.published:
        names, picture, wanted = list(PUBLISHED), Path("runs/quadrants_published.png"), published_settings()
    rows = sweep(wanted, run, file)
    found = estimates(rows, "right", ("kind", "network", "weights", "padding", "border"))
    print(f"\nthe reach of {', '.join(f'{name}: {reach(name)}' for name in names)} pixels")
    print(f"quadrants told right, %, by border\n{table(found)}")
    picture.parent.mkdir(exist_ok=True)
    draw(found, names).savefig(picture, dpi=100)
    print(f"saved {picture}")


if __name__ == "__main__":
    main()
