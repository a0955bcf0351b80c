"""A bell carried along by half a cell: a network that has learnt it on the grid, asked between grid points.

The cell averages of a solution of ∂f/∂t + c ∂f/∂x = 0 change as it moves by half a cell, and no map of
averages knows how: there are waves whose averages all vanish, until they move. Band-limited waves have exact
half-cell shifts; linear layers commute with these, and are as right between grid points as on them.
A nonlinearity does not, and its network is wrong between them by as much as it fails to commute.

python examples/advection.py               one run each, prints, saves runs/advection.png (20 seconds)
python examples/advection.py --seeds 10    the table of docs/advection.md and runs/advection.csv (minutes)
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS, WIDTH, STEP = 33, 0.7, 0.5  # cells around, standard deviation of the bell, cells it moves: c Δt / Δx
PLACES = torch.linspace(0, 1, 21, dtype=torch.float64).tolist()


def averages(k: float | Tensor, place: float | Tensor, n: int = CELLS) -> Tensor:
    """Averages over n cells (x_j = j/n, Δx = 1/n) of sin(2πk (x − place · Δx)), in closed form: [..., n]."""
    k, place = (torch.as_tensor(x, dtype=torch.float64)[..., None] for x in (k, place))
    x = torch.arange(n, dtype=torch.float64)
    return n / (math.pi * k) * torch.sin(2 * math.pi * k * (x - place) / n) * torch.sin(math.pi * k / n)


def unseen(k: int, place: float, n: int = CELLS) -> Tensor:
    """Averages [n] of sin(2πkx) + (k + n)/k · sin(2π(k + n)x) moved by `place` cells: none at first, twice
    those of sin(2πkx) after half a cell."""
    return averages(k, place, n) + (k + n) / k * averages(k + n, place, n)


def shifted(f: Tensor, t: float) -> Tensor:
    """Periodic band-limited signals [..., n], n odd, moved by t cells: exact."""
    spectrum = torch.fft.rfft(f)
    frequency = torch.arange(spectrum.shape[-1], dtype=torch.float64)
    return torch.fft.irfft(spectrum * torch.exp(-2j * math.pi * t / f.shape[-1] * frequency), f.shape[-1])


def bell(place: float = 0.0) -> Tensor:
    """Averages [n] of a Gaussian about x = place · Δx, about 1 high, less the frequencies that n cells do not
    hold."""
    k = torch.arange(1, CELLS // 2 + 1, dtype=torch.float64)
    size = 2 * torch.exp(-0.5 * (2 * math.pi * k * WIDTH / CELLS) ** 2)
    cosines = averages(k, place - CELLS / (4 * k))  # a sine a quarter of a wave ahead
    return (1 + size @ cosines) * (WIDTH * math.sqrt(2 * math.pi) / CELLS)


class Finer(nn.Module):
    """An activation on samples `factor` times as dense, of whose result it keeps what the cells hold."""

    def __init__(self, activation: Callable[[Tensor], Tensor], factor: int):
        super().__init__()
        self.activation, self.factor = activation, factor

    def forward(self, f: Tensor) -> Tensor:
        n = f.shape[-1]
        dense = torch.fft.irfft(torch.fft.rfft(f), self.factor * n) * self.factor
        return torch.fft.irfft(torch.fft.rfft(self.activation(dense))[..., : n // 2 + 1], n) / self.factor


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "ReLU, 4 samples a cell": lambda: Finer(F.relu, 4),
    "GELU, 4 samples a cell": lambda: Finer(F.gelu, 4),
}


def solver(activation: str, width: int = 16) -> nn.Module:
    """Three periodic convolutions of five taps."""

    def conv(a: int, b: int) -> nn.Module:
        return nn.Conv1d(a, b, 5, padding=2, padding_mode="circular")

    make = ACTIVATIONS[activation]
    return nn.Sequential(conv(1, width), make(), conv(width, width), make(), conv(width, 1)).double()


def train(activation: str, seed: int, steps: int = 400) -> nn.Module:
    """A solver of one time step that saw the bell at a grid point, 0.5 to 1.5 high. (Another grid point is
    the same to a convolution.)"""
    torch.manual_seed(seed)
    model, f = solver(activation), bell()
    optimiser = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=steps)
    for _ in range(steps):
        some = (0.5 + torch.rand(16, 1, 1, dtype=torch.float64)) * f
        loss = (model(some) - shifted(some, STEP)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.requires_grad_(False)


class Found(NamedTuple):
    """Errors of one time step, relative to the bell's norm, at places [P] between two grid points."""

    error: Tensor
    """‖N S f − S A f‖: the network on the moved bell, against the solution."""
    commutator: Tensor
    """‖N S f − S N f‖: against its answer, moved."""


def measure(model: nn.Module) -> Found:
    f = torch.linspace(0.5, 1.5, 5, dtype=torch.float64)[:, None, None] * bell()
    moved = torch.stack([shifted(f, t) for t in PLACES])
    found = model(moved.flatten(0, 1)).view_as(moved)
    solution = torch.stack([shifted(f, STEP + t) for t in PLACES])
    expected = torch.stack([shifted(model(f), t) for t in PLACES])
    size = [(found - other).flatten(1).norm(dim=1) / f.norm() for other in (solution, expected)]
    return Found(*size)


def draw(found: dict[str, list[Found]]):
    from matplotlib.figure import Figure

    from geocnn.viz import INK, RIGHT, TRAINING_COLOURS, WRONG

    figure = Figure(figsize=(13, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    at = torch.arange(-4, 5)
    for k, place in enumerate((0.0, 0.5)):
        left.bar(at + 10 * k, bell(place).roll(4)[:9], 0.9, color=TRAINING_COLOURS[0], alpha=0.5)
        x = torch.linspace(-4, 4.5, 200)
        left.plot(x + 10 * k, torch.exp(-0.5 * ((x - place) / WIDTH) ** 2), color=INK, linewidth=1)
        middle.bar(at + 10 * k, unseen(3, place).roll(4)[:9], 0.9, color=TRAINING_COLOURS[1], alpha=0.7)
        x, waves = torch.linspace(-4.5, 4.5, 900), 2 * math.pi / CELLS
        wave = torch.sin(3 * waves * (x - place)) + (3 + CELLS) / 3 * torch.sin(
            (3 + CELLS) * waves * (x - place)
        )
        middle.plot(x + 10 * k, wave, color=INK, linewidth=0.4, zorder=0)
    left.set_title("a bell, and its averages over cells", fontsize=10, color=INK)
    middle.set_title("a wave whose averages vanish, until it moves", fontsize=10, color=INK)
    for axis in (left, middle):
        axis.set_xticks([0, 10], ["on the grid", "half a cell farther"])
        axis.set(yticks=[])
    colours = (TRAINING_COLOURS[2], WRONG, TRAINING_COLOURS[1], TRAINING_COLOURS[0], RIGHT)
    for (name, runs), colour in zip(found.items(), colours, strict=True):
        errors = torch.stack([run.error for run in runs])
        right.plot(PLACES, errors.mean(0), label=name, color=colour)
        right.fill_between(PLACES, errors.amin(0), errors.amax(0), color=colour, alpha=0.15, linewidth=0)
    right.set(xlabel="place of the bell, cells from a grid point", ylim=(0, None))
    right.set_title("error of a time step, relative", fontsize=10, color=INK)
    right.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1)
    seeds = parser.parse_args().seeds
    for place in (0.0, 0.5):
        f, largest = averages(1, place, 4).round(decimals=4).tolist(), float(unseen(3, place).abs().max())
        print(f"four cells of sin 2πx, moved by {place}: {f}; the unseen wave: {largest:.3f}")
    print(f"\nerror of a time step, relative, {seeds} runs: mean and standard deviation")
    print(f"{'':24}{'on the grid':>17}{'between, at most':>19}{'does not commute by':>21}")
    rows, found = [], {}
    for name in ACTIVATIONS:
        found[name] = [measure(train(name, seed)) for seed in range(seeds)]
        rows += [
            (name, k, float(f.error[0]), float(f.error.max()), float(f.commutator.max()))
            for k, f in enumerate(found[name])
        ]
        columns = torch.tensor([row[2:] for row in rows if row[0] == name], dtype=torch.float64)
        spread = columns.std(0, correction=0)
        said = [f"{m:.4f} ± {s:.4f}" for m, s in zip(columns[:, :2].mean(0), spread, strict=False)]
        print(f"{name:24}{said[0]:>17}{said[1]:>19}{float(columns[:, 2].mean()):>21.1e}")
    Path("runs").mkdir(exist_ok=True)
    with open("runs/advection.csv", "w", newline="") as file:
        head = "activation", "seed", "on_grid", "between_at_most", "commutator_at_most"
        csv.writer(file).writerows([head, *[(n, k, *(f"{x:.6g}" for x in row)) for n, k, *row in rows]])
    draw(found).savefig("runs/advection.png", dpi=100)
    print("saved runs/advection.csv and runs/advection.png")


if __name__ == "__main__":
    main()
