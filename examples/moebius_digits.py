"""Handwritten digits on a Möbius strip, read wherever they sit and whichever way they face.

The strip has no place to start and no right side: slide a digit once around and it is its own mirror image.
Features of group "reflection" do not notice. Both networks here learn from digits at one place, all facing
one way, and are tested at any place, on digits facing either way. The other one is an ordinary CNN on the
strip cut open.

    python examples/moebius_digits.py                  runs in seconds, and has learnt next to nothing python
    examples/moebius_digits.py --steps 600      prints accuracies, saves runs/moebius_digits.png (minutes)
"""

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn.functional import cross_entropy

from geocnn.data.spherical_digits import SphericalDigits
from geocnn.geometry import mobius_strip
from geocnn.nn import SurfaceEncoder

H, W = 28, 96
parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=10, help="training steps, of 32 digits each")
steps = parser.parse_args().steps


def on_strip(images, place, mirrored):
    """Images [B, H, 28] on the strip [B, H·W]: upside down where mirrored [B], `place` [B] columns along it.

    Rows of what has passed the seam count from the other edge.
    """
    images = torch.where(mirrored[:, None, None], images.flip(1), images)
    strip = torch.cat([images, images.new_zeros(len(images), H, W - 28)], 2)
    column = torch.arange(W) - place[:, None]
    strip = strip.gather(2, (column % W)[:, None].expand(-1, H, -1))
    return torch.where(column[:, None] < 0, strip.flip(1), strip).flatten(1)


# Levels of 28 x 96, 14 x 48 and 7 x 24 cells. A scalar is even (0e) or changes sign when e2 does (0o).
hierarchy = mobius_strip((H, W)).hierarchy(levels=3, radius=2.5, kind="log").to(dtype=torch.float32)


class Moebius(nn.Module):
    def __init__(self):
        super().__init__()
        widths = ["reflection: 8x0e + 8x0o", "reflection: 16x0e + 16x0o", "reflection: 16x0e + 16x0o"]
        self.encoder = SurfaceEncoder("reflection: 1x0e", widths, n_out=10, rings=2, max_frequency=3)

    def forward(self, x):
        return self.encoder(x[..., None], hierarchy)[:, 0]


class CutOpen(nn.Module):
    def __init__(self):
        super().__init__()
        sizes, self.layers = ((1, 16, 2), (16, 32, 1), (32, 32, 2), (32, 32, 1)), nn.Sequential()
        for a, b, stride in sizes:
            self.layers.extend([nn.Conv2d(a, b, 5, stride, 2), nn.BatchNorm2d(b), nn.SiLU()])
        self.head = nn.Sequential(nn.BatchNorm1d(32), nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.head(self.layers(x.view(-1, 1, H, W)).mean((2, 3)))


def train(network, digits):
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=max(steps, 2))
    here = torch.full((32,), 34), torch.zeros(32, dtype=torch.bool)  # in the middle, upright
    for _ in range(steps):
        some = torch.randint(len(digits), (32,))
        loss = cross_entropy(network(on_strip(digits.images[some] / 255, *here)), digits.labels[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def right(network, digits, place, mirrored):
    """Which digits are read right, [n]."""
    found = [
        network(on_strip(images / 255, p, m)).argmax(1)
        for images, p, m in zip(digits.images.split(64), place.split(64), mirrored.split(64), strict=True)
    ]
    return (torch.cat(found) == digits.labels).float()


torch.manual_seed(0)
learnt = SphericalDigits("train", rotated=False)
tested = SphericalDigits("test", rotated=False, size=min(2000, 10 * steps))
n = len(tested)
there, upright = torch.full((n,), 34), torch.zeros(n, dtype=torch.bool)
place, mirrored = torch.randint(W, (n,)), torch.rand(n) < 0.5

figure = Figure(figsize=(9.0, 6.0), layout="constrained")
by_place = figure.add_subplot(
    2, 2, 4, xlabel="column of the digit's left edge", ylabel="right, %", ylim=(0, 100)
)
print(
    f"{'right of ' + str(n) + ' digits, in %':30}{'where learnt':>14}{'mirrored there':>16}{'anywhere':>10}"
)
for name, network in {"Möbius network": Moebius(), "CNN on the strip cut open": CutOpen()}.items():
    train(network, learnt)
    everywhere = right(network, tested, place, mirrored)
    known, turned = (
        right(network, tested, there, upright).mean(),
        right(network, tested, there, ~upright).mean(),
    )
    print(f"{name:30}{100 * known:14.1f}{100 * turned:16.1f}{100 * everywhere.mean():10.1f}")
    cells = [100 * everywhere[place // 12 == k].mean() for k in range(W // 12)]
    by_place.plot(12 * torch.arange(W // 12) + 6, cells, "o-", label=name)
by_place.legend()

# one digit across the seam, on the strip cut open and in space
strip = on_strip(tested.images[:1] / 255, torch.tensor([84]), torch.tensor([False])).view(H, W)
figure.add_subplot(2, 1, 1, title="one digit, on the strip cut open").imshow(strip, cmap="gray_r")
u = torch.linspace(0, 2 * math.pi, W + 1)
v = torch.linspace(-0.5, 0.5, H + 1)[:, None]
space = figure.add_subplot(2, 2, 3, projection="3d", title="and in space")
x, y, z = (1 + v * (u / 2).cos()) * u.cos(), (1 + v * (u / 2).cos()) * u.sin(), v * (u / 2).sin()
colours = (1 - strip[..., None].expand(-1, -1, 3)).numpy()
space.plot_surface(x.numpy(), y.numpy(), z.numpy(), facecolors=colours, rstride=1, cstride=1, shade=False)
space.set_axis_off()
space.view_init(40, 10)
space.set_box_aspect((1, 1, 0.5))
Path("runs").mkdir(exist_ok=True)
figure.savefig("runs/moebius_digits.png", dpi=130)
print("saved runs/moebius_digits.png")
