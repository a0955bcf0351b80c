"""Handwritten digits on a Möbius strip, read wherever they sit and whichever way they face.

The strip has no place to start and no right side: slide a digit once around and it is its own mirror image,
twice around and it is back. Features of group "reflection" do not notice. Both networks here learn from
digits at one place, all facing one way, and are tested all along the way twice around. The other network is
an ordinary CNN on the strip cut open.

python examples/moebius_digits.py                  runs in seconds, and has learnt next to nothing
python examples/moebius_digits.py --steps 600      prints accuracies, saves runs/moebius_digits.png (minutes)
"""

import argparse
import math
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from moebius_recipe import LEARNT, CutOpen, H, Moebius, W, on_strip
from torch import nn
from torch.nn.functional import cross_entropy

from geocnn.data.spherical_digits import SphericalDigits
from geocnn.viz import FAINT, INK, TRAINING_COLOURS

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=10, help="training steps, of 32 digits each")
steps = parser.parse_args().steps


def train(network, digits):
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=max(steps, 2))
    here = torch.full((32,), LEARNT)
    for _ in range(steps):
        some = torch.randint(len(digits), (32,))
        loss = cross_entropy(network(on_strip(digits.images[some] / 255, here)), digits.labels[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def right(network, digits, place):
    """The share of digits read right, in per cent, that begin at `place`: one for all, or [n]."""
    place = torch.as_tensor(place).expand(len(digits))
    pairs = zip(digits.images.split(64), place.split(64), strict=True)
    found = torch.cat([network(on_strip(images / 255, at)).argmax(1) for images, at in pairs])
    return 100 * float((found == digits.labels).float().mean())


torch.manual_seed(0)
learnt = SphericalDigits("train", rotated=False)
tested = SphericalDigits("test", rotated=False, size=min(2000, 10 * steps))
some = SphericalDigits("test", rotated=False, size=min(500, 2 * steps))
anywhere, way = torch.randint(2 * W, (len(tested),)), range(0, 2 * W + 1, 5)

figure = Figure(figsize=(9.0, 6.8), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1, 1.15))
space, along = below.add_subplot(1, 2, 1, projection="3d"), below.add_subplot(1, 2, 2)
heads = f"right of {len(tested)} digits, %", "where learnt", "once around", "anywhere", "CPU s"
print("{:28}{:>14}{:>13}{:>10}{:>7}".format(*heads))
for name, network, colour in (
    ("Möbius network", Moebius(), TRAINING_COLOURS[0]),
    ("CNN on the strip cut open", CutOpen(), TRAINING_COLOURS[1]),
):
    start = time.process_time()
    train(network, learnt)
    seconds = time.process_time() - start
    shares = [right(network, tested, place) for place in (LEARNT, LEARNT + W, anywhere)]
    print("{:28}{:14.1f}{:13.1f}{:10.1f}{:7.0f}".format(name, *shares, seconds))
    along.plot(way, [right(network, some, place) for place in way], color=colour, label=name)
along.axvline(LEARNT, color=FAINT, linewidth=0.8, linestyle=":")
along.set(xlim=(0, 2 * W), ylim=(0, 100), xticks=range(0, 2 * W + 1, 48))
along.set_xlabel("columns along the strip, twice around (dotted: where learnt)", color=INK)
along.set_title(f"right of {len(some)} digits, %", fontsize=10, loc="left", color=INK)
along.legend(frameon=False, loc="lower right")
along.grid(alpha=0.2)
along.spines[["top", "right"]].set_visible(False)

# one digit at three places: before the seam, across it, and past it
strip = on_strip(tested.images[:1].expand(3, -1, -1) / 255, torch.tensor([20, 84, 148])).sum(0).view(H, W)
axis = above.add_subplot(xticks=[0, 24, 48, 72, 95], yticks=[])
axis.set_title("a digit slid 64 columns, and 64 more: the strip cut open", fontsize=10, loc="left", color=INK)
axis.imshow(strip, cmap="gray_r")
u = torch.linspace(0, 2 * math.pi, W + 1)
v = torch.linspace(-0.36, 0.36, H + 1)[:, None]
places = torch.stack(
    [(1 + v * (u / 2).cos()) * u.cos(), (1 + v * (u / 2).cos()) * u.sin(), v * (u / 2).sin()]
)
across, ahead = (d[:, :H, :W] for d in (places.diff(dim=1), places.diff(dim=2)))
normal = nn.functional.normalize(torch.linalg.cross(across, ahead, dim=0), dim=0)
shade = 0.62 + 0.38 * torch.einsum("dij,d->ij", normal, torch.tensor([0.75, 0.1, 0.65])).abs()
paper, ink = torch.tensor([0.99, 0.96, 0.88]), torch.tensor([0.13, 0.15, 0.17])
colours = shade[..., None] * (paper + strip[..., None] * (ink - paper))
space.plot_surface(*places.numpy(), facecolors=colours.numpy(), rstride=1, cstride=1, shade=False)
space.set_axis_off()
space.view_init(48, 20)
space.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-0.36, 0.36))
space.set_box_aspect((1, 1, 0.36), zoom=1.1)
Path("runs").mkdir(exist_ok=True)
figure.savefig("runs/moebius_digits.png", dpi=130)
print("saved runs/moebius_digits.png")
