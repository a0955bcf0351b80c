"""The wind is a tangent field: vorticity, divergence and potentials of it, on four grids and in any frames.

The winds are real, with SPHEREPACK's values to compare with. On their own grids, and on HEALPix, harmonics
of spin 1 give all four fields. On an icosphere, each point with a frame turned at random, so do differences
along edges: the vectors at an edge's ends, each in its own frame, against the logs that lead along it.
Between grids vectors are interpolated with transport; as two scalars they would be wrong next to the poles.

python examples/winds.py                prints the errors, saves runs/winds.png (seconds)
python examples/winds.py --level 6      the table of docs/harmonics.md (20 CPU seconds)
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from geocnn.data.winds import RADIUS, read_winds
from geocnn.geometry import Stencil, Surface, connection_laplacian, healpix, icosphere, mesh
from geocnn.harmonics import (
    analysis,
    divergence,
    evaluate,
    healpix_grid,
    potentials,
    spin_from_wind,
    synthesis,
    vorticity,
)
from geocnn.viz import orthographic

NAMES = {"vorticity": "vrt", "divergence": "div", "stream function": "psi", "velocity potential": "chi"}
LMAX = 71
COLOURS = {"cmap": "RdBu_r", "vmin": -4e-5, "vmax": 4e-5}


def four_fields(field: Tensor) -> dict[str, Tensor]:
    """Coefficients of the four fields of a wind with coefficients `field`, of spin 1."""
    chi, psi = potentials(field, RADIUS)
    found = vorticity(field, RADIUS), divergence(field, RADIUS), psi, chi
    return dict(zip(NAMES, found, strict=True))


def error(found: Tensor, expected: Tensor, area: Tensor) -> float:
    """Root mean square of the difference over that of what is expected."""
    return float(((area @ (found - expected).abs().square()) / (area @ expected.abs().square())).sqrt())


def on_rings(kind: str) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
    """Coefficients of a wind, those of the reference's four fields, and the errors on the grid itself."""
    grid, u, v, values = read_winds(kind)
    field = analysis(spin_from_wind(u, v), grid, LMAX, spin=1)
    area = grid.ring_values(grid.weight)
    errors = {
        name: error(synthesis(alm, grid), values[NAMES[name]], area)
        for name, alm in four_fields(field).items()
    }
    return field, {name: analysis(values[short], grid, LMAX) for name, short in NAMES.items()}, errors


def on_healpix(nside: int, field: Tensor, truth: dict[str, Tensor]) -> dict[str, float]:
    """The wind read at the pixels, in their frames, and analysed anew."""
    grid = healpix_grid(nside)
    again = analysis(synthesis(field, grid, 1), grid, LMAX, 1)
    area = grid.ring_values(grid.weight)
    return {
        name: error(synthesis(alm, grid), synthesis(truth[name], grid), area)
        for name, alm in four_fields(again).items()
    }


def turned(s: Surface, seed: int = 0) -> tuple[Surface, Tensor]:
    """The surface with all frames turned at random, and the factors [N] that turn vectors' components."""
    random = torch.Generator().manual_seed(seed)
    alpha = 2 * math.pi * torch.rand(s.n_points, dtype=torch.float64, generator=random)
    return s.turn_frames(alpha), torch.exp(-1j * alpha)


def along_edges(s: Surface, faces: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """div z + i curl z and χ + iψ [N] of vectors z [N], complex in the frames of s, on the unit sphere.

    Along the edge from i to j goes ½ Re(conj(log_i j) z_i − conj(log_j i) z_j), and as imaginary part the
    same of the field turned back by a quarter. Cotangent weights sum these to a divergence, and the Laplacian
    with the same weights is solved for the potentials (Desbrun et al. 2005, discrete exterior calculus).
    """
    from scipy.sparse.linalg import splu

    laplacian = connection_laplacian(mesh(s.points, faces), frequency=0)
    (i, j), weight = laplacian.matrix.indices(), -laplacian.matrix.values()
    i, j, weight = (t[i != j] for t in (i, j, weight))
    there, back = (torch.view_as_complex(s.log(*ends).vectors).conj() for ends in ((i, j), (j, i)))
    flux = torch.zeros_like(z).index_add(0, i, weight * 0.5 * (there * z[i] - back * z[j]))
    # of the points nearer to a point than to others, which is what these weights belong to
    area = torch.zeros_like(s.areas).index_add(0, i, weight * there.abs().square() / 4)
    matrix, _ = laplacian.to_scipy()
    # potentials are up to a constant: point 0 has none until the mean is taken off
    solved = splu(matrix.tocsc()[1:, 1:]).solve(-torch.view_as_real(flux)[1:].numpy())
    potential = torch.zeros_like(z)
    potential[1:] = torch.view_as_complex(torch.from_numpy(solved).contiguous())
    return flux / area, potential - (s.areas * potential).sum() / s.areas.sum()


def on_icosphere(level: int, field: Tensor, truth: dict[str, Tensor]) -> dict[str, float]:
    """The wind read at the points, in frames turned at random, and differentiated along edges."""
    s, factor = turned(icosphere(level))
    derivative, potential = along_edges(s, s.grid.solid.faces[-1], factor * evaluate(field, s.points, 1))
    derivative, potential = derivative / RADIUS, potential * RADIUS
    found = derivative.imag, derivative.real, potential.imag, potential.real
    return {
        name: error(values, evaluate(truth[name], s.points), s.areas)
        for name, values in zip(NAMES, found, strict=True)
    }


def interpolate(stencil: Stencil, z: Tensor, transported: bool = True) -> Tensor:
    """Vectors z [n_source], complex, at the targets: each source's carried to the target's frame first."""
    carried = stencil.weight * z[stencil.source]
    if transported:
        carried = carried * torch.exp(1j * stencil.angle)
    return torch.zeros(stencil.n_target, dtype=z.dtype).index_add(0, stencil.target, carried)


def interpolation_errors(field: Tensor, nside: int, level: int) -> dict[str, tuple[float, float]]:
    """Of vectors read on HEALPix and interpolated to an icosphere, both in frames (south, east): on the whole
    sphere, and within 10 degrees of the poles."""
    s = icosphere(level)
    stencil = healpix(nside).interpolation(s)
    expected, z = evaluate(field, s.points, 1), synthesis(field, healpix_grid(nside), 1)
    polar = s.areas * (s.points[:, 2].abs() > math.cos(math.radians(10)))
    found = {"with transport": interpolate(stencil, z), "as two scalars": interpolate(stencil, z, False)}
    return {name: (error(f, expected, s.areas), error(f, expected, polar)) for name, f in found.items()}


# ------------------------------------------------------------------------------------------------ the picture


def draw(field: Tensor):
    """Vorticity in colours and the wind as arrows, each as computed on its grid: on rings and HEALPix by
    harmonics, on an icosphere in random frames along edges."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 3.9), layout="constrained")
    rings, pixels, points = figure.subplots(1, 3, width_ratios=[1.9, 1, 1])
    image = draw_rings(rings, field)
    view = seen_from(torch.tensor([0.3, -0.55, 0.78], dtype=torch.float64))
    fine, s = healpix_grid(64), icosphere(5)
    again = analysis(synthesis(field, fine, 1), fine, LMAX, 1)
    picture, _ = orthographic(synthesis(vorticity(again, RADIUS), fine), view[2], size=400)
    pixels.imshow(picture, extent=(-1, 1, -1, 1), **COLOURS)
    draw_arrows(pixels, healpix(8), synthesis(again, healpix_grid(8), 1), view)

    s, factor = turned(s)
    z, faces = factor * evaluate(field, s.points, 1), s.grid.solid.faces[-1]
    derivative, _ = along_edges(s, faces, z)
    front = faces[(s.points[faces].mean(1) @ view[2]) > 0]
    x, y = (s.points @ view[:2].T).unbind(1)
    points.tripcolor(x, y, front, derivative.imag / RADIUS, shading="gouraud", **COLOURS)
    draw_arrows(points, s, z, view, every=642)
    figure.colorbar(image, ax=[rings, pixels, points], shrink=0.8, label="vorticity, 1/s")
    pixels.set_title("HEALPix nside 64, harmonics", fontsize=10)
    points.set_title("icosphere level 5, edges", fontsize=10)
    return figure


def draw_rings(axis, field: Tensor):
    grid = read_winds("monthly").grid
    alm = vorticity(field, RADIUS)
    values, z = (part.unflatten(-1, grid.shape) for part in (synthesis(alm, grid), synthesis(field, grid, 1)))
    image = axis.imshow(values, extent=(-1.25, 358.75, -91.25, 91.25), **COLOURS)
    theta, phi = (angle.unflatten(0, grid.shape).rad2deg() for angle in grid.angles())
    few = (slice(2, None, 4), slice(None, None, 5))
    axis.quiver(phi[few], 90 - theta[few], z.imag[few], -z.real[few], scale=600, width=0.0016)
    axis.set(xlabel="longitude", ylabel="latitude", yticks=[-60, 0, 60], xticks=[0, 90, 180, 270])
    axis.set_title("mean wind of January; ring grid 73 × 144, harmonics", fontsize=10)
    return image


def draw_arrows(axis, s: Surface, z: Tensor, view: Tensor, every: int | None = None) -> None:
    """The first vectors z in the frames of s, in space, seen from afar."""
    vectors = torch.einsum("nk,nkd->nd", torch.view_as_real(z), s.frames)[:every]
    at = s.points[:every] @ view.T
    front = at[:, 2] > 0.15
    (x, y, _), (u, v, _) = at[front].unbind(1), (vectors[front] @ view.T).unbind(1)
    axis.quiver(x, y, u, v, scale=350, width=0.004)
    axis.set_axis_off()
    axis.set(aspect="equal", xlim=(-1.04, 1.04), ylim=(-1.04, 1.04))


def seen_from(centre: Tensor) -> Tensor:
    """Right, up and towards the viewer, rows, north up."""
    towards, north = centre / centre.norm(), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    right = torch.linalg.cross(north, towards, dim=0)
    right = right / right.norm()
    return torch.stack([right, torch.linalg.cross(towards, right, dim=0), towards])


def show(title: str, errors: dict[str, float]) -> None:
    print(f"{title:30}" + "".join(f"{errors[name]:>20.1e}" for name in NAMES))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--level", type=int, default=5, help="of the finest icosphere, from 4 on")
    level = parser.parse_args().level
    print(f"{'error, relative':30}" + "".join(f"{name:>20}" for name in NAMES))
    show("regular, 73 x 144", on_rings("regular")[2])
    field, truth, errors = on_rings("gaussian")
    show("Gauss-Legendre, 72 x 144", errors)
    for nside in (32, 64):
        show(f"HEALPix, nside {nside}", on_healpix(nside, field, truth))
    for k in range(4, level + 1):
        show(f"icosphere, level {k}, edges", on_icosphere(k, field, truth))
    print("HEALPix nside 32 interpolated to icosphere level 5: error, within 10 degrees of the poles")
    for name, (whole, polar) in interpolation_errors(field, 32, 5).items():
        print(f"  {name:16} {whole:.1e}  {polar:.1e}")
    grid, u, v, _ = read_winds("monthly")
    Path("runs").mkdir(exist_ok=True)
    january = analysis(spin_from_wind(u[0], v[0]), grid, LMAX, 1)
    draw(january).savefig("runs/winds.png", dpi=100)
    print("saved runs/winds.png")


if __name__ == "__main__":
    main()
