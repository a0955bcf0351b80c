"""Polarisation is a field of frequency 2: what happens to Q and U when the sky is turned.

WMAP's maps of the microwave sky hold I, Q and U in Galactic coordinates. Q and U are the components of a
spin-2 field in the frames (south, east), so in equatorial coordinates, where south lies elsewhere, they are
other numbers, and a network that reads them as two scalars sees another sky. Here E and B are computed, the
sky is turned both ways, and networks with random weights, local and harmonic, are asked whether they commute
with that.

python examples/polarisation.py             prints errors, saves runs/polarisation.png (half a minute)
python examples/polarisation.py --nside 32  the table of docs/harmonics.md (two minutes)
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from geocnn.data.wmap import read_wmap
from geocnn.geometry import Stencil, healpix
from geocnn.geometry.spheres.pixels import nside_of
from geocnn.groups.rotations import matrix_from_zyz
from geocnn.harmonics import (
    RingGrid,
    analysis,
    eb_from_spin,
    field_analysis,
    field_synthesis,
    gauss_legendre,
    healpix_grid,
    power_spectrum,
    rotate_coefficients,
    signed_orders,
    spin_from_polarisation,
    synthesis,
)
from geocnn.nn import Gated, GaugeConv, HarmonicBlock, SO3Correlation

LMAX, DEGREE = 64, 16
SKY = "1x0 + 1x2"  # I, and Q and U as one field
SCALARS = "3x0"  # the same numbers, mistaken for three functions
HIDDEN = "4x0 + 4x1 + 4x2"


def galactic_to_equatorial() -> Tensor:
    """The rotation [3, 3] that takes Galactic coordinates of a direction to equatorial ones (J2000): the pole
    lies at right ascension 192.85948°, declination 27.12825°, the celestial pole at longitude 122.93192°."""
    return matrix_from_zyz(*torch.tensor([192.85948, 90 - 27.12825, 180 - 122.93192]).double().deg2rad())


def sky(band: str, lmax: int) -> tuple[Tensor, Tensor]:
    """Coefficients of I, a real function, and of Q + iU, of spin 2."""
    i, q, u = read_wmap(band).double()
    grid = healpix_grid(32)
    polarisation = analysis(spin_from_polarisation(q, u, "COSMO"), grid, lmax, spin=2)
    return analysis(i, grid, lmax), polarisation


def up_to(lmax: int, alm: Tensor) -> Tensor:
    """The coefficients of degrees up to lmax of those of all orders."""
    zonal = alm.shape[-1] // 2
    return alm[..., : lmax + 1, zonal - lmax : zonal + lmax + 1]


def turned_as_scalars(polarisation: Tensor, rotation: Tensor, grid: RingGrid) -> tuple[Tensor, Tensor]:
    """Q + iU [n_points] of the turned sky, and what comes out if Q and U are turned as two functions."""
    lmax = polarisation.shape[-2] - 1
    right = synthesis(rotate_coefficients(polarisation, rotation), grid, 2)
    z = synthesis(polarisation, grid, 2)
    apart = rotate_coefficients(analysis(torch.stack([z.real, z.imag]), grid, lmax), rotation)
    return right, torch.complex(*synthesis(apart, grid))


# ------------------------------------------------------------------------------------------------- networks


class Local(nn.Module):
    """Two gauge convolutions on HEALPix; x [..., npix, 3] of in_type to the same."""

    def __init__(self, in_type: str, stencil: Stencil):
        super().__init__()
        self.grid, self.stencil = healpix_grid(nside_of(stencil.n_target)), stencil
        self.gate = Gated(HIDDEN)
        self.first = GaugeConv(in_type, self.gate.in_type, rings=2)
        self.last = GaugeConv(HIDDEN, in_type, rings=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.gate(self.first(x, self.stencil)), self.stencil)


class Harmonic(nn.Module):
    """A harmonic block and a correlation on a Gauss-Legendre grid for degrees up to `oversampling` times
    lmax: what SiLU makes of functions of degree lmax has higher ones."""

    def __init__(self, in_type: str, lmax: int, oversampling: int):
        super().__init__()
        self.grid = gauss_legendre(oversampling * (lmax + 1), 2 * oversampling * (lmax + 1))
        self.block = HarmonicBlock(in_type, HIDDEN, lmax, samples=24)
        self.last = SO3Correlation(HIDDEN, in_type, lmax, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.block(x, self.grid), self.grid)


def features(intensity: Tensor, polarisation: Tensor, lmax: int = DEGREE) -> Tensor:
    """Coefficients [2, lmax + 1, 2 lmax + 1] of a field of type SKY with I and Q + iU of unit power."""
    parts = torch.stack([up_to(lmax, signed_orders(intensity)), up_to(lmax, polarisation)])
    power = power_spectrum(parts) @ (2 * torch.arange(lmax + 1).double() + 1) / (4 * math.pi)
    return parts / power.sqrt()[:, None, None]


@torch.no_grad()
def commutation_error(network: nn.Module, alm: Tensor, rotation: Tensor) -> float:
    """‖f(R x) − R f(x)‖ / ‖R f(x)‖, where R turns the sky, components too, exactly, in its coefficients."""
    grid = network.grid
    x = field_synthesis(torch.stack([alm, rotate_coefficients(alm, rotation)]), SKY, grid)
    y, of_turned = network(x)
    # HEALPix recovers degrees above 2 nside badly, but without them more of the answer would be missing
    degrees, iterations = min(grid.lmax, 2 * alm.shape[-2] + 14), 0 if grid.exact else 3
    found = field_analysis(y, SKY, grid, degrees, iterations)
    turned_last = field_synthesis(rotate_coefficients(found, rotation), SKY, grid)
    area = grid.ring_values(grid.weight)[:, None]
    return float(
        ((area * (of_turned - turned_last).square()).sum() / (area * turned_last.square()).sum()).sqrt()
    )


def both(make: Callable[[str], nn.Module], alm: Tensor, rotation: Tensor) -> list[float]:
    """The errors of two networks of random weights in float64: with Q and U a field, and two scalars."""
    found = []
    for in_type in (SKY, SCALARS):
        torch.manual_seed(0)
        found.append(commutation_error(make(in_type).double().eval(), alm, rotation))
    return found


# ------------------------------------------------------------------------------------------------ the picture


def draw(polarisation: Tensor):
    """The polarised sky in both coordinates, and its E and B part, up to DEGREE."""
    from matplotlib.figure import Figure

    smooth = up_to(DEGREE, polarisation)
    rotation, coarse = galactic_to_equatorial(), healpix_grid(8)
    turned, wrong = turned_as_scalars(smooth, rotation, coarse)
    e, b = eb_from_spin(smooth)
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    axes = figure.subplots(2, 2, subplot_kw={"projection": "mollweide"}).ravel()
    strength, signed = {"cmap": "magma_r", "vmin": 0, "vmax": 0.03}, {"cmap": "RdBu_r"}
    grid = gauss_legendre(90, 180)
    for axis, alm in zip(axes, (smooth, rotate_coefficients(smooth, rotation)), strict=False):
        image = paint(axis, grid, synthesis(alm, grid, 2).abs(), strength)
    figure.colorbar(image, ax=axes[1], shrink=0.7, label="mK")
    draw_lines(axes[0], synthesis(smooth, coarse, 2), "black")
    draw_lines(axes[1], wrong, "#12a0b8")
    draw_lines(axes[1], turned, "black")
    for axis, alm in zip(axes[2:], (e, b), strict=True):
        image = paint(axis, grid, synthesis(alm, grid), signed | {"vmin": -0.02, "vmax": 0.02})
    figure.colorbar(image, ax=axes[3], shrink=0.7, label="mK")
    titles = "Galactic coordinates", "equatorial; blue: Q and U turned as scalars", "E", "B"
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
    return figure


def paint(axis, grid: RingGrid, values: Tensor, colours: dict):
    """Values on a product grid, longitude growing to the right, 0 in the middle."""
    theta, phi = (angle.unflatten(0, grid.shape) for angle in grid.angles())
    half = grid.shape[1] // 2
    lon = (phi - math.pi).numpy()
    return axis.pcolormesh(
        lon, (math.pi / 2 - theta).numpy(), values.unflatten(0, grid.shape).roll(half, 1), **colours
    )


def draw_lines(axis, z: Tensor, colour: str, length: float = 0.1) -> None:
    """A stroke along the polarisation at each pixel: it makes half the angle of z with south."""
    from matplotlib.collections import LineCollection

    s = healpix(8)
    along = torch.polar(torch.full_like(z.real, length / 2), z.angle() / 2)
    stroke = torch.einsum("nk,nkd->nd", torch.view_as_real(along), s.frames)
    ends = torch.stack([s.points - stroke, s.points + stroke], 1)
    x, y, up = ends.unbind(-1)
    lines = torch.stack([torch.atan2(y, x), torch.atan2(up, torch.hypot(x, y))], -1)
    # a stroke over the edge of the picture would cross it
    lines = lines[(lines[:, 0, 0] - lines[:, 1, 0]).abs() < 1]
    axis.add_collection(LineCollection(list(lines.numpy()), colors=colour, linewidths=0.8))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, default=16, help="of the finest local network, from 16 on")
    finest = parser.parse_args().nside
    rotation = galactic_to_equatorial()
    intensity, polarisation = sky("V", LMAX)
    e, b = eb_from_spin(polarisation)
    power = [float(power_spectrum(part)[2:9].mean()) for part in (e, b)]
    print(f"power of E and B, degrees 2 to 8: {power[0]:.2e}, {power[1]:.2e} mK^2")
    right, wrong = turned_as_scalars(polarisation, rotation, healpix_grid(32))
    print(f"to equatorial, Q and U turned as scalars: {float((wrong - right).norm() / right.norm()):.2f} off")
    alm = features(intensity, polarisation)
    print(f"error of commuting with that rotation, degree {DEGREE}: Q and U a field, two scalars")
    for oversampling in (1, 2, 4):
        field, scalars = both(lambda in_type, k=oversampling: Harmonic(in_type, DEGREE, k), alm, rotation)
        print(f"  harmonic, oversampling {oversampling}   {field:.1e}  {scalars:.2f}")
    nside = 16
    while nside <= finest:
        stencil = healpix(nside, interpolation="cubic").stencil(math.pi / 16, "exp", (3, 12))
        field, scalars = both(lambda in_type, st=stencil: Local(in_type, st), alm, rotation)
        print(f"  local, nside {nside:3}           {field:.1e}  {scalars:.2f}")
        nside *= 2
    Path("runs").mkdir(exist_ok=True)
    draw(polarisation).savefig("runs/polarisation.png", dpi=90)
    print("saved runs/polarisation.png")


if __name__ == "__main__":
    main()
