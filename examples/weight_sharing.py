"""From equivariance to weight sharing: all linear maps that commute with a symmetry, by solving for them.

Of all linear maps of images those that commute with shifts are the convolutions, and no others; with quarter
turns too, on scalars, those with symmetric kernels; to a fibre that quarter turns permute, any kernel again.
Pooling over the image makes what commutes invariant. Pooled too early, it loses the arrangement of parts.

python examples/weight_sharing.py      prints the counts, saves runs/weight_sharing.png (seconds)
"""

from __future__ import annotations

from pathlib import Path

import torch
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


def draw():
    from matplotlib.figure import Figure

    from geocnn.viz import INK

    figure = Figure(figsize=(11, 2.9), layout="constrained")
    panels = figure.subplots(1, 5)
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
    return figure


def main() -> None:
    print("on a cyclic grid of 3 x 3 places")
    for name, count in counts().items():
        print(f"{count:4d}  {name}")
    early, late = (faces_differ(late) for late in (False, True))
    print(f"two faces differ by {early:.1e} if pooled early, by {late:.1e} if late")
    Path("runs").mkdir(exist_ok=True)
    draw().savefig("runs/weight_sharing.png", dpi=100)
    print("saved runs/weight_sharing.png")


if __name__ == "__main__":
    main()
