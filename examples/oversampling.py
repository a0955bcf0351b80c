"""How equivariant is a nonlinearity on the sphere? Measured against oversampling.

Linear layers commute with rotations to rounding. A nonlinearity acts on samples and makes degrees that they
cannot carry, which come back as lower ones. Here bandwidth 16: fields of degrees below 16 are correlated,
written on a grid for degrees below 16 k (and on 6 k samples of the fibre, for frequencies up to 2), put
through the activation and read back below 16. Rotations R are exact in the spectrum.

- layer: |f(R x) - R f(x)| / |f(x)| of correlation with random weights a degree, then activation;
- network: answers that should not change. S2 -> SO(3), activation, SO(3) -> SO(3), activation, mean over
  SO(3), with kernels of 3 rings within 30 degrees; std(f(R x) - f(x)) / std(f(x)) over 8 channels, as in
  Cohen et al. 2018, section 5.1.

Input of mean square 1 and degrees below 16: white, all coefficients alike, the worst there is; or smooth, of
power (1 + l)^-4.

python examples/oversampling.py      prints, saves runs/oversampling.png (half a minute)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import gelu, relu, silu, softplus

from geocnn.groups.field_type import FieldType
from geocnn.groups.rotations import random_rotations
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import RingGrid, field_analysis, field_synthesis, gauss_legendre, healpix_grid
from geocnn.nn import FourierNonlinearity, SO3Correlation, sphere_mean

BANDWIDTH = 16
LMAX = BANDWIDTH - 1
FACTORS = (1, 1.5, 2, 3, 4)
NSIDES = (8, 16)
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": relu,
    "GELU": gelu,
    "SiLU": silu,
    "softplus": softplus,
}
TYPES = {"S2": "4x0", "SO(3)": "4x0 + 4x1 + 4x2"}
HIDDEN = "8x0 + 8x1 + 8x2"
DECAY = {"white": 0, "smooth": 4}


def gauss(factor: float) -> RingGrid:
    """For degrees below `factor` times the bandwidth."""
    rings = round(BANDWIDTH * factor)
    return gauss_legendre(rings, 2 * rings)


def fields(types: str, spectrum: str) -> Tensor:
    """Coefficients of random fields of degrees up to LMAX, each copy of mean square 1."""
    t, grid = FieldType(types), gauss(1)
    noise = torch.randn(grid.n_points, t.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    power = (1.0 + torch.arange(LMAX + 1).double()) ** -DECAY[spectrum]
    alm = field_analysis(noise, t, grid, LMAX) * power.sqrt()[:, None]
    return alm * (4 * math.pi / alm.abs().square().sum((-2, -1), keepdim=True)).sqrt()


def nonlinearity(types: str, activation: Callable, factor: float) -> FourierNonlinearity:
    """With (2n + 2) samples on the fibre times the factor; by default the factor is 2."""
    order = FieldType(types).max_frequency
    return FourierNonlinearity(
        types, activation, math.ceil((2 * order + 2) * factor) if order else 1
    ).double()


def rotations() -> Tensor:
    return random_rotations(5, torch.Generator().manual_seed(2))


@torch.no_grad()
def layer_error(
    types: str,
    activation: Callable | None,
    grid: RingGrid,
    factor: float,
    spectrum: str = "white",
    dtype: torch.dtype = torch.float64,
) -> float:
    """Of correlation and activation; without activation of the linear layer, from samples to samples."""
    torch.manual_seed(0)
    correlation = SO3Correlation(types, types, LMAX, bias=False).to(dtype)
    act = None if activation is None else nonlinearity(types, activation, factor)

    def layer(alm: Tensor) -> Tensor:
        y = correlation(field_synthesis(alm, types, grid).to(dtype), grid).double()
        return field_analysis(y if act is None else act(y), types, grid, LMAX)

    alm = fields(types, spectrum)
    upright = layer(alm)
    errors = [layer(rotate_coefficients(alm, r)) - rotate_coefficients(upright, r) for r in rotations()]
    return float(torch.stack([e.norm() / upright.norm() for e in errors]).mean())


@torch.no_grad()
def network_error(activation: Callable, grid: RingGrid, factor: float, spectrum: str) -> float:
    """How much the network's answers change when its input is rotated, of their spread."""
    torch.manual_seed(0)
    first, second = (
        SO3Correlation(types, HIDDEN, LMAX, rings=3, radius=math.pi / 6, bias=False).double()
        for types in ("1x0", HIDDEN)
    )
    act = nonlinearity(HIDDEN, activation, factor)

    def network(alm: Tensor) -> Tensor:
        y = act(field_synthesis(first.correlate(alm), HIDDEN, grid))
        y = act(field_synthesis(second.correlate(field_analysis(y, HIDDEN, grid, LMAX)), HIDDEN, grid))
        return sphere_mean(y, HIDDEN, grid)

    alm = fields("1x0", spectrum)
    upright = network(alm)
    errors = [(network(rotate_coefficients(alm, r)) - upright).std() / upright.std() for r in rotations()]
    return float(torch.stack(errors).mean())


def measures() -> dict[str, Callable[[Callable, RingGrid, float], float]]:
    """The rows of the table: error of an activation on a grid, oversampled by a factor."""
    return {
        "layer S2, white": lambda f, grid, k: layer_error(TYPES["S2"], f, grid, k),
        "layer SO(3), white": lambda f, grid, k: layer_error(TYPES["SO(3)"], f, grid, k),
        "network, white": lambda f, grid, k: network_error(f, grid, k, "white"),
        "network, smooth": lambda f, grid, k: network_error(f, grid, k, "smooth"),
    }


def draw(curves: dict[str, dict[str, list[float]]]):
    from matplotlib.figure import Figure

    from geocnn.viz import INK, TRAINING_COLOURS

    figure = Figure(figsize=(10.5, 3.3), layout="constrained")
    axes = figure.subplots(1, len(curves), sharey=True)
    for axis, (title, errors) in zip(axes, curves.items(), strict=True):
        for (name, values), colour in zip(errors.items(), TRAINING_COLOURS, strict=True):
            axis.semilogy(FACTORS, values[: len(FACTORS)], "o-", color=colour, markersize=3, label=name)
            places = [2 * nside / BANDWIDTH for nside in NSIDES]
            axis.semilogy(places, values[len(FACTORS) :], "x", color=colour)
        axis.set_title(title, fontsize=10, color=INK)
        axis.set_xlabel("oversampling")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("error under rotation")
    axes[0].legend(fontsize=8, frameon=False)
    axes[-1].set_title(axes[-1].get_title() + "   × HEALPix", fontsize=10, color=INK)
    return figure


def main() -> None:
    for name, types in TYPES.items():
        single, double = (
            layer_error(types, None, gauss(1), 1, dtype=d) for d in (torch.float32, torch.float64)
        )
        print(f"linear {name:6s} float32 {single:.1e}   float64 {double:.1e}")
    columns = [f"{k:g}x" for k in FACTORS] + [f"nside {n}" for n in NSIDES]
    grids = [(gauss(k), k) for k in FACTORS] + [(healpix_grid(n), 2 * n / BANDWIDTH) for n in NSIDES]
    curves: dict[str, dict[str, list[float]]] = {}
    for title, measure in measures().items():
        print(f"{title:20s}" + "".join(f"{c:>10s}" for c in columns))
        curves[title] = {}
        for name, activation in ACTIVATIONS.items():
            curves[title][name] = [measure(activation, grid, k) for grid, k in grids]
            print(f"  {name:18s}" + "".join(f"{e:10.1e}" for e in curves[title][name]), flush=True)
    Path("runs").mkdir(exist_ok=True)
    draw(curves).savefig("runs/oversampling.png", dpi=100)
    print("saved runs/oversampling.png")


if __name__ == "__main__":
    main()
