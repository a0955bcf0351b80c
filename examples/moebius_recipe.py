"""A recipe of one's own: handwritten digits on a Möbius strip, learnt at one place and read anywhere.

geocnn train examples/moebius_recipe.py --baseline --seeds 3      two networks, three times each (minutes)
geocnn predict runs/moebius-digits-1 --recipe examples/moebius_recipe.py --examples 8
"""

import torch
from torch import nn

from geocnn.data.spherical_digits import SphericalDigits
from geocnn.geometry import mobius_strip
from geocnn.nn import OnSurface, SurfaceEncoder
from geocnn.train.recipe import Recipe, Subject, Training
from geocnn.train.reporting import per_cent
from geocnn.train.score import accuracy, classify
from geocnn.train.settings import RecipeSettings

H, W, LEARNT = 28, 96, 34  # rows, columns, the column where digits begin in training
STRIP = mobius_strip((H, W))
TITLES = {"moebius": "Möbius network", "cut-open": "CNN on the strip cut open"}


class Digits(torch.utils.data.Dataset):
    """MNIST on the strip, at the column where networks learn, once around from there, or anywhere."""

    def __init__(self, settings, name):
        split, _, where = name.partition(" ")
        size = {"train": settings.train_size, "val": settings.val_size, "test": settings.test_size}[split]
        anywhere = torch.randint(2 * W, (size,), generator=torch.Generator().manual_seed(settings.seed))
        self.place = {"": torch.tensor(LEARNT), "around": torch.tensor(LEARNT + W)}.get(where, anywhere)
        self.digits = SphericalDigits(split, rotated=False, size=size)

    def __len__(self):
        return len(self.digits)

    def __getitems__(self, index):
        place = self.place.expand(len(self))[index]
        return on_strip(self.digits.images[index] / 255, place), self.digits.labels[index]


def on_strip(images, place):
    """Images [B, H, 28] on the strip [B, H·W], from column `place` [B]; the seam turns them upside down."""
    strip = torch.cat([images, images.new_zeros(len(images), H, W - 28)], 2)
    column = torch.arange(W) - place[:, None]
    passed = column.div(W, rounding_mode="floor")
    strip = strip.gather(2, (column % W)[:, None].expand(-1, H, -1))
    return torch.where(passed[:, None] % 2 == 1, strip.flip(1), strip).flatten(1)


def geometry(strip):
    return strip.hierarchy(levels=3, radius=2.5, kind="log")  # 28 x 96, 14 x 48 and 7 x 24 cells


class Moebius(nn.Module):
    def __init__(self):
        super().__init__()
        # a scalar is even (0e), or changes sign where the direction across the strip does (0o)
        widths = ["reflection: 8x0e + 8x0o", "reflection: 16x0e + 16x0o", "reflection: 16x0e + 16x0o"]
        encoder = SurfaceEncoder("reflection: 1x0e", widths, n_out=10, rings=2, max_frequency=3)
        self.encoder = OnSurface(encoder, geometry(STRIP)).float()

    def forward(self, x):
        return self.encoder(x[..., None])[:, 0]


class CutOpen(nn.Module):
    def __init__(self):
        super().__init__()
        sizes, self.layers = ((1, 16, 2), (16, 32, 1), (32, 32, 2), (32, 32, 1)), nn.Sequential()
        for a, b, stride in sizes:
            self.layers.extend([nn.Conv2d(a, b, 5, stride, 2), nn.BatchNorm2d(b), nn.SiLU()])
        self.head = nn.Sequential(nn.BatchNorm1d(32), nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.head(self.layers(x.view(-1, 1, H, W)).mean((2, 3)))


def trainings(settings):
    tests = {"where learnt": "test", "once around": "test around", "anywhere": "test anywhere"}
    kinds = ["moebius", "cut-open"] if settings.baseline else ["moebius"]
    return [Training(folder=k, title=TITLES[k], description={"kind": k}, tests=tests) for k in kinds]


RECIPE = Recipe(
    name="moebius-digits",
    summary="handwritten digits on a Möbius strip, learnt at one place and read anywhere",
    presets={"default": RecipeSettings(train_size=19_200, val_size=1000, test_size=2000, epochs=1)},
    data=Digits,
    trainings=trainings,
    build=lambda description: Moebius() if description["kind"] == "moebius" else CutOpen(),
    score=classify,
    metrics=accuracy,
    headline="Digits read right",
    show=per_cent,
    subject=lambda network, _: Subject(network.encoder.module, STRIP, geometry, refinements=0),
)
