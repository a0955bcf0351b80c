"""From equivariance to weight sharing: all linear maps that commute with a symmetry, by solving for them.

Of all linear maps of images those that commute with shifts are the convolutions, and no others; with quarter
turns too, on scalars, those with symmetric kernels; to a fibre that quarter turns permute, any kernel again.
Pooling over the image makes what commutes invariant. Pooled too early, it loses the arrangement of parts.
Parts that no window sees together move independently of each other: a pair of patterns shows at which
distance their answers stop to mix.

python examples/weight_sharing.py      prints the counts, saves runs/weight_sharing.png (seconds)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from shared_parts import dress
from torch import Tensor, nn

from geocnn.groups import generated, grid_symmetries, intertwiners, permutation_matrices
from geocnn.nn import to_full

F64 = torch.float64


def on_fibre(generators: Tensor) -> Tensor:
    """The generators of a group of permutations on its own elements, h ↦ g h: [G, |group|]."""
    elements = generated(generators)
    number = {tuple(h.tolist()): k for k, h in enumerate(elements)}
    return torch.tensor([[number[tuple(g[h].tolist())] for h in elements] for g in generators])


def commuting(side: int, group: str, fibre: bool = False) -> Tensor:
    """A basis [K, m, n] of the linear maps that commute with shifts and a group, from images on a cyclic grid
    of side² places to images or, with `fibre`, to regular fields.
    """
    generators = grid_symmetries((side, side), group)
    outputs = on_fibre(generators) if fibre else generators
    return intertwiners(permutation_matrices(generators), permutation_matrices(outputs))


def counts(side: int = 3) -> dict[str, int]:
    n = side**2
    shifts = permutation_matrices(grid_symmetries((side, side)))
    return {
        "linear maps of images": n * n,
        "that commute with shifts": len(commuting(side, "trivial")),
        "and with quarter turns": len(commuting(side, "C4")),
        "and with mirrors": len(commuting(side, "D4")),
        "to a fibre of C4": len(commuting(side, "C4", fibre=True)),
        "constants to add (biases) that commute with shifts": len(intertwiners(torch.ones(2, 1, 1), shifts)),
    }


def some(basis: Tensor, seed: int) -> Tensor:
    """A map [m, n] drawn from a span."""
    return torch.einsum(
        "k,kij->ij",
        torch.randn(len(basis), dtype=F64, generator=torch.Generator().manual_seed(seed)),
        basis,
    )


def face(apart: bool) -> Tensor:
    """[1, 1, 12, 12]: two eyes and a mouth, or both eyes on one cheek."""
    image = torch.zeros(1, 1, 12, 12, dtype=F64)
    image[..., 9, 4:8] = 1
    for row, column in [(3, 2), (3, 8)] if apart else [(3, 2), (6, 2)]:
        image[..., row, column : column + 2] = 1
    return image


def faces_differ(late: bool) -> float:
    """How far the answers to both faces lie apart, relative, of an untrained network that pools after a layer
    that sees eyes and mouths or, `late`, after another that sees how they lie.
    """
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3), nn.ReLU()] + [nn.Conv2d(8, 8, 9), nn.ReLU()] * late
    network = to_full(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)).to(F64))
    with torch.no_grad():
        a, b = network(face(True)), network(face(False))
    return float((a - b).norm() / a.norm())


# conv: kernel 3; pool: the largest of 2 x 2; each network in the order of its layers
NETWORKS = {
    "three convolutions": "conv conv conv",
    "two pools between them": "conv pool conv pool conv",
    "the first two strided": "strided strided conv",
}
WINDOWS = {"conv": (3, 1), "strided": (3, 2), "pool": (2, 2)}  # size, stride


def receptive_field(name: str) -> tuple[int, int]:
    """How many pixels along a side one answer sees, and how many lie between two answers."""
    sees, step = 1, 1
    for layer in NETWORKS[name].split():
        size, stride = WINDOWS[layer]
        sees, step = sees + (size - 1) * step, step * stride
    return sees, step


def untrained(name: str, norm: bool = False) -> nn.Module:
    """A network of random weights; with `norm` it first normalises each image by its own statistics."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 1
    for layer in NETWORKS[name].split():
        size, stride = WINDOWS[layer]
        windows = nn.MaxPool2d(size) if layer == "pool" else nn.Conv2d(channels, 8, size, stride, padding=1)
        layers += [windows] if layer == "pool" else [windows, nn.SiLU()]
        channels = 8
    return to_full(nn.Sequential(*[nn.InstanceNorm2d(1)] * norm, *layers).to(F64))


def pair(gap: int, at: int = 0) -> Tensor:
    """[4, 1, 12, 60]: two patterns, `gap` empty pixels between them; the left one; the right one; none."""
    left, right = torch.rand(2, 3, 3, dtype=F64, generator=torch.Generator().manual_seed(3))
    images = torch.zeros(4, 1, 12, 60, dtype=F64)
    images[[0, 1], :, 4:7, at : at + 3] = left
    images[[0, 2], :, 4:7, at + 3 + gap : at + 6 + gap] = right
    return images


def mixed(network: nn.Module, gap: int, places: int) -> float:
    """How far the answer to two patterns is from the sum of their own, relative to the left one's. It is the
    most over some places of the pair, for strides and pooling do not treat all alike.
    """
    found = []
    with torch.no_grad():
        for at in range(places):
            both, left, right, none = network(pair(gap, at))
            found.append((both - left - right + none).abs().max() / (left - none).abs().max())
    return float(max(found))


def apart() -> dict[str, list[float]]:
    """The mixing of each network by gap, 0 to 23 pixels."""
    return {
        name: [mixed(untrained(name), gap, receptive_field(name)[1]) for gap in range(24)]
        for name in NETWORKS
    }


def draw(mixing: Mapping[str, Sequence[float]]):
    from matplotlib.figure import Figure

    from geocnn.viz import INK

    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subfigures(2, 1)
    panels = above.subplots(1, 5)
    circle = permutation_matrices(grid_symmetries((9,)))
    shared = some(intertwiners(circle, circle), 0)
    turned = some(commuting(5, "C4"), 2)[0].view(5, 5).roll((2, 2), (0, 1))
    images = [
        (torch.randn(9, 9, generator=torch.Generator().manual_seed(1)), "a linear map, 9 places"),
        (shared, "one that commutes with shifts"),
        (turned, "a kernel, with turns too"),
        (face(True)[0, 0], "a face"),
        (face(False)[0, 0], "and not one"),
    ]
    for panel, (image, title) in zip(panels, images, strict=True):
        size = float(image.abs().max())
        panel.imshow(image, cmap="RdBu_r", vmin=-size, vmax=size)
        panel.set_title(title, fontsize=10, color=INK)
        panel.set(xticks=[], yticks=[])
    early, late = (100 * faces_differ(late) for late in (False, True))
    panels[4].set_xlabel(f"pooled early {early:.0f} % apart, late {late:.1f} %", fontsize=8)
    _draw_apart(below, mixing)
    return figure


def _draw_apart(figure, mixing: Mapping[str, Sequence[float]]) -> None:
    from matplotlib.patches import Rectangle

    from geocnn.viz import FAINT, INK, TRAINING_COLOURS

    shown, curves = figure.subplots(1, 2, width_ratios=[1, 1.6])
    sees, _ = receptive_field("three convolutions")
    shown.imshow(pair(sees - 1, at=4)[0, 0, :, :24], cmap="Greys")
    for left in (2, 6):
        shown.add_patch(Rectangle((left - 0.5, 1.5), sees, sees, fill=False, edgecolor=TRAINING_COLOURS[0]))
    shown.set(xticks=[], yticks=[])
    shown.set_title(f"no window of {sees} pixels sees both patterns", fontsize=10, color=INK)
    for (name, found), colour in zip(mixing.items(), TRAINING_COLOURS, strict=False):
        curves.plot([max(error, 1e-17) for error in found], "o-", markersize=3, color=colour, label=name)
        curves.axvline(receptive_field(name)[0] - 1, color=colour, linestyle=":")
    curves.axhline(1e-15, color=FAINT, linewidth=0.8)
    curves.set_yscale("log")
    axis = "empty pixels between them; dotted: the receptive field less 1; line: rounding"
    dress(curves, "how far two patterns are from answering one by one", xlabel=axis, ylim=(5e-18, 5))
    curves.legend(fontsize=8, frameon=False, loc="center right")


def main() -> None:
    print("on a cyclic grid of 3 x 3 places")
    for name, count in counts().items():
        print(f"{count:4d}  {name}")
    early, late = (faces_differ(late) for late in (False, True))
    print(f"two faces differ by {early:.1e} if pooled early, by {late:.1e} if late")
    mixing = apart()
    for name, found in mixing.items():
        last = max(gap for gap, error in enumerate(found) if error > 1e-14)
        print(f"{name}: sees {receptive_field(name)[0]} pixels, two patterns mix up to {last} apart")
    Path("runs").mkdir(exist_ok=True)
    draw(mixing).savefig("runs/weight_sharing.png", dpi=100)
    print("saved runs/weight_sharing.png")


if __name__ == "__main__":
    main()
