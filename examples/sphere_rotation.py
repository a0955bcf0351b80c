"""Does a convolution with anisotropic kernels commute with rotations of the sphere? Measure it and see it.

A field is turned, then convolved, or convolved, then turned: an equivariant layer gives one result. Here two
layers, scalars -> vectors -> scalars, on HEALPix at two resolutions. What differs is interpolation between
pixels, an error of second order in their spacing.

python examples/sphere_rotation.py      prints the errors, saves runs/sphere_rotation.png (10 seconds)
"""

import math
from pathlib import Path

import torch
from matplotlib.figure import Figure

from geocnn.equivariance import rotation_error
from geocnn.geometry import healpix
from geocnn.groups.rotations import random_rotations
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import analysis, healpix_grid, random_coefficients, synthesis
from geocnn.nn import GaugeConv
from geocnn.viz import orthographic

DEGREE, RADIUS = 10, math.pi / 8
random = torch.manual_seed(0)
lift, project = GaugeConv("1x0", "4x1").double(), GaugeConv("4x1", "1x0").double()
coefficients, rotation = random_coefficients(DEGREE, 1, random), random_rotations(1, random)


def network(x, stencil):
    return project(lift(x, stencil), stencil)


figure = Figure(figsize=(7.6, 5.0), layout="constrained")

for row, nside in zip(figure.subplots(2, 3), (16, 32), strict=True):
    stencil, grid = healpix(nside).stencil(RADIUS, "exp", (3, 12)), healpix_grid(nside)
    error = rotation_error(network, stencil, "1x0", "1x0", DEGREE, random)
    print(f"nside {nside}: {100 * error.mean:.2f} % mean of 8 rotations, {100 * error.max:.2f} % at most")

    turned = synthesis(rotate_coefficients(coefficients, rotation), grid)
    with torch.no_grad():
        turned_first = network(turned.mT, stencil).mT
        spectrum = analysis(network(synthesis(coefficients, grid).mT, stencil).mT, grid, lmax=2 * nside)
    turned_last = synthesis(rotate_coefficients(spectrum, rotation), grid)
    difference = 100 * (turned_first - turned_last) / turned_last.abs().max()

    titles = f"turned input, nside {nside}", "convolved", "difference of the two orders"
    for axis, title, values in zip(row, titles, (turned, turned_first, difference), strict=True):
        picture, _ = orthographic(values[0], torch.tensor([1.0, 0.4, 0.5]), size=300)
        limit = 3 if values is difference else float(values.abs().max())
        image = axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    figure.colorbar(image, ax=row[2], shrink=0.7, label="% of the largest value")

Path("runs").mkdir(exist_ok=True)
figure.savefig("runs/sphere_rotation.png", dpi=130)
print("saved runs/sphere_rotation.png")
