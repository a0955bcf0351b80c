"""Four pixels of a step: move the image by half a pixel, and the edge that a network has found is gone.

The edge filter a₋₁ = 2, a₀ = −2, bias −1 and ReLU answer [0, 0, 1, 1] with [0, 1, 0, 0], and the same step
half a pixel farther, [0, 0, ½, 1], with nothing. Convolutions commute with sub-pixel shifts of band-limited
signals; the nonlinearity makes frequencies that the pixels cannot hold. Smooth ones make fewer, and one that
acts on finer samples, of which only what the pixels hold is kept, makes as few as one likes.

python examples/step_image.py      prints the sweep, saves runs/step_image.png (seconds)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]


def pixels(place: Tensor, n: int = 4) -> Tensor:
    """Averages over n pixels of a step from 0 to 1 at `place` [...]: [..., n]."""
    return (torch.arange(1, n + 1, dtype=place.dtype) - place[..., None]).clamp(0, 1)


def edges(image: Tensor, activation: Activation = torch.relu) -> Tensor:
    """activation(Σ_k a_k f_{j−k} − 1) of images [..., n], with a zero to their right."""
    right = F.pad(image[..., 1:], (0, 1))
    return activation(2 * right - 2 * image - 1)


def shifted(f: Tensor, t: float) -> Tensor:
    """A periodic band-limited signal [n], n odd, moved by t pixels: exact."""
    spectrum = torch.fft.rfft(f)
    frequency = torch.arange(len(spectrum), dtype=f.dtype)
    turn = torch.exp(-2j * torch.pi * frequency * t / f.shape[-1])
    return torch.fft.irfft(spectrum * turn, f.shape[-1])


def finer(f: Tensor, activation: Activation, factor: int) -> Tensor:
    """The activation of f [n], n odd, on samples `factor` times as dense, of which it keeps what n pixels
    hold."""
    n = f.shape[-1]
    dense = torch.fft.irfft(torch.fft.rfft(f), factor * n) * factor
    return torch.fft.irfft(torch.fft.rfft(activation(dense))[: n // 2 + 1], n) / factor


def answer(f: Tensor, activation: Activation, factor: int = 1) -> Tensor:
    """The edge network on a periodic signal."""
    return finer(2 * f.roll(-1) - 2 * f - 1, activation, factor)


def bar(n: int = 33) -> Tensor:
    """A bar of n // 2 pixels, taken as the samples of the band-limited signal through them."""
    return ((torch.arange(n) >= n // 4) & (torch.arange(n) < n // 4 + n // 2)).to(torch.float64)


def shift_error(activation: Activation, factor: int = 1, t: float = 1 / 3) -> float:
    """What the network makes of the moved bar against its moved answer, relative."""
    f = bar()
    expected = shifted(answer(f, activation, factor), t)
    return float((answer(shifted(f, t), activation, factor) - expected).norm() / expected.norm())


ACTIVATIONS: dict[str, Activation] = {
    "linear": lambda x: x,
    "ReLU": torch.relu,
    "softplus": partial(F.softplus, beta=4),
    "GELU": F.gelu,
    "square": torch.square,
}
FACTORS = (1, 2, 4, 8, 16)


def draw():
    from matplotlib.figure import Figure

    from geocnn.viz import INK, RIGHT, TRAINING_COLOURS

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    at = torch.arange(4)
    for k, place in enumerate((2.0, 2.5)):
        image = pixels(torch.tensor(place, dtype=torch.float64))
        left.bar(at + 5 * k, image, 0.9, color="#cfd3da", label="" if k else "image")
        left.bar(at + 5 * k, edges(image), 0.45, color=RIGHT, label="" if k else "answer: the edge")
    left.set(ylim=(0, 1.35))
    left.set_xticks([1.5, 6.5], ["the step", "half a pixel farther"])
    left.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    for (name, f), colour in zip(list(ACTIVATIONS.items())[1:4], TRAINING_COLOURS, strict=False):
        middle.plot(t, edges(pixels(2 + t), f).amax(-1), label=name, color=colour)
        errors = [shift_error(f, factor) for factor in FACTORS]
        right.loglog(FACTORS, errors, "o-", label=name, color=colour, base=2)
    right.loglog(
        FACTORS, [shift_error(torch.square, k) + 1e-17 for k in FACTORS], "o-", label="square", base=2
    )
    right.set(ylim=(1e-5, 1), xlabel="samples a pixel for the nonlinearity", xticks=FACTORS)
    right.set_yscale("log", base=10)
    right.set_xticklabels([str(k) for k in FACTORS])
    right.set_title("a band-limited bar, a third of a pixel: error", fontsize=10, color=INK)
    middle.set(xlabel="sub-pixel shift of the step")
    middle.set_title("largest answer", fontsize=10, color=INK)
    for axis in (middle, right):
        axis.legend(fontsize=8, frameon=False)
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    for place in (2.0, 2.5):
        image = pixels(torch.tensor(place))
        print(f"{image.tolist()} -> {edges(image).tolist()}")
    print("\na band-limited bar moved by a third of a pixel: error by samples a pixel for the nonlinearity")
    print(f"{'':10}" + "".join(f"{k:10d}" for k in FACTORS))
    for name, activation in ACTIVATIONS.items():
        print(f"{name:10}" + "".join(f"{shift_error(activation, k):10.1e}" for k in FACTORS))
    Path("runs").mkdir(exist_ok=True)
    draw().savefig("runs/step_image.png", dpi=100)
    print("saved runs/step_image.png")


if __name__ == "__main__":
    main()
