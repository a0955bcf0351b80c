"""Trains a small network in several ways, in a folder and on devices given on the command line. A file
of its own, because Lightning starts further processes by running the same file.
"""

import sys
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from geocnn.train.loop import fit
from geocnn.train.score import classify
from geocnn.train.settings import LoopSettings

WAYS = {"one": (1, 3), "uneven": (3, 1)}
"""Batch size, and validation examples in batches of 1 a process: at last a process has none at all."""


class Points:
    """Two clouds in the plane; never an empty batch."""

    def __init__(self, n):
        generator = torch.Generator().manual_seed(n)
        self.y = torch.arange(n) % 2
        self.x = torch.randn(n, 2, generator=generator) + self.y.unsqueeze(1)

    def __len__(self):
        return len(self.y)

    def __getitems__(self, index):
        assert len(index) > 0
        return self.x[list(index)], self.y[list(index)]


def trained(folder, devices):
    for name, (batch_size, n) in WAYS.items():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
        settings = LoopSettings(epochs=2, batch_size=batch_size, check_every=4, devices=devices)
        console = Console(quiet=True)
        fit(network, classify, Points(6), Points(n), settings, folder / name, console, validation_batch=1)


if __name__ == "__main__":
    trained(Path(sys.argv[1]), sys.argv[2])
