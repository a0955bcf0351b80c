"""One kernel tells the upper left corner from the lower right: a convolution that sees the border.

Two images hold the same rook, one in the upper left corner (class 1), one in the lower right (class 2). A
single 5 x 5 kernel, ReLU, global maximum and softmax should be blind to where it stands. With `same` or
`valid` padding training finds the difference, for near a border not every part of the kernel meets the rook;
a full convolution gives both images the same answer, to the bit, and stays at chance.

python examples/rook.py                 two runs each, prints and saves runs/rook.png (seconds)
python examples/rook.py --seeds 20      the table of docs/rook.md (a minute)
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from geocnn.nn import FullConv2d

PADDINGS = ("valid", "same", "full")
ROOK = torch.tensor(
    [
        [int(c) for c in row]
        for row in ("1101011", "1111111", "0111110", "0011100", "0011100", "0111110", "1111111")
    ]
).float()


def in_corners(patch: Tensor, size: int = 16) -> Tensor:
    """Two images [2, 1, size, size]: the patch at the upper left and at the lower right."""
    images = torch.zeros(2, 1, size, size)
    h, w = patch.shape
    images[0, 0, :h, :w] = patch
    images[1, 0, -h:, -w:] = patch
    return images


def lower_right_tap(padding: str, size: int = 8) -> list[float]:
    """The largest answers of a 3 x 3 kernel with a single 1, at the lower right, to one bright pixel in the
    upper left corner and in the lower right."""
    layer = FullConv2d(1, 1, 3, padding=padding, bias=False)
    layer.load_state_dict({"weight": torch.eye(9)[8].view(1, 1, 3, 3)})
    return layer(in_corners(torch.ones(1, 1), size)).amax((1, 2, 3)).tolist()


def network(padding: str) -> nn.Module:
    """One kernel, ReLU, global maximum, two classes."""
    layers = [FullConv2d(1, 1, 5, padding=padding), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1, 2))


def train(padding: str, seed: int, steps: int = 150, starts: int = 12) -> tuple[nn.Module, list[float]]:
    """The network and its losses, from the first start that leaves chance.

    Where both maxima see the same part of the rook no gradient tells the images apart, and where the
    rectifier passes nothing there is none; so training starts anew, up to `starts` times.
    """
    torch.manual_seed(seed)
    for _ in range(starts):
        model, losses = descend(network(padding), steps)
        if losses[-1] < 0.3:
            break
    return model, losses


def descend(model: nn.Module, steps: int) -> tuple[nn.Module, list[float]]:
    images, label = in_corners(ROOK), torch.tensor([0, 1])
    optimiser, losses = torch.optim.Adam(model.parameters(), 0.05), []
    for _ in range(steps):
        loss = cross_entropy(model(images), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return model, losses


def accuracy(model: nn.Module) -> float:
    with torch.no_grad():
        return float((model(in_corners(ROOK)).argmax(1) == torch.tensor([0, 1])).float().mean())


def draw(kernels: dict[str, Tensor], losses: dict[str, list[list[float]]]):
    from matplotlib.figure import Figure

    from geocnn.viz import INK, TRAINING_COLOURS

    figure = Figure(figsize=(10.5, 3), layout="constrained")
    axes = figure.subplots(1, 5, width_ratios=[1, 1, 1, 1, 1.9])
    axes[0].imshow(in_corners(ROOK).amax(0)[0], cmap="Greys")
    axes[0].set_title("class 1, and class 2", fontsize=10, color=INK)
    for axis, (padding, kernel) in zip(axes[1:4], kernels.items(), strict=True):
        size = float(kernel.abs().max())
        axis.imshow(kernel, cmap="RdBu_r", vmin=-size, vmax=size)
        axis.set_title(f"kernel learnt, {padding}", fontsize=10, color=INK)
    for axis in axes[:4]:
        axis.set(xticks=[], yticks=[])
    for (padding, runs), colour in zip(losses.items(), TRAINING_COLOURS, strict=False):
        for k, run in enumerate(runs):
            axes[4].plot(run, color=colour, linewidth=0.9, label="" if k else padding)
    axes[4].axhline(math.log(2), color=INK, linewidth=0.6, linestyle=":")
    axes[4].set(xlabel="training steps", ylim=(0, 1))
    axes[4].set_title("cross-entropy; dotted: chance", fontsize=10, color=INK)
    axes[4].legend(fontsize=8, frameon=False)
    axes[4].spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2)
    seeds = parser.parse_args().seeds
    print("one pixel and one tap: upper left, lower right")
    for padding in PADDINGS:
        print(f"  {padding:6} {lower_right_tap(padding)}")
    print(f"the rook, {seeds} runs: accuracy (mean and standard deviation), cross-entropy (median)")
    kernels, losses = {}, {}
    for padding in PADDINGS:
        runs = [train(padding, seed) for seed in range(seeds)]
        kernels[padding] = runs[0][0][0].weight.detach()[0, 0]
        losses[padding] = [history for _, history in runs]
        hits = torch.tensor([accuracy(model) for model, _ in runs])
        last = torch.tensor([history[-1] for _, history in runs]).median()
        print(f"  {padding:6} {100 * hits.mean():5.1f} ± {100 * hits.std():4.1f} %   {last:.3f}")
    Path("runs").mkdir(exist_ok=True)
    draw(kernels, losses).savefig("runs/rook.png", dpi=100)
    print("saved runs/rook.png")


if __name__ == "__main__":
    main()
