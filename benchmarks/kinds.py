"""The two kinds of stencil side by side: rotation error, size and time, where both have the same radius.

Three random layers without nonlinearity map a random field of harmonic degree up to 8 on spheres of
different points, some of them irregular triangle meshes. They pass through vectors alone (0 -> 1 -> 1 -> 0)
or through scalars and vectors (8x0 + 4x1). The error compares the answer to a rotated field with the rotated
answer, whose harmonic coefficients up to degree 16 are fitted to the points by least squares; it is relative
in L2, the mean of 8 Haar rotations. `exp` stencils have their default samples. A pair is a target and a
source that one or more entries join.

The time to build a stencil is the least of 3; that of one layer of 16x0 + 8x1 in float32 is the least of 9,
on one thread. The machine was busy with other work, so times are only indicative.

python benchmarks/kinds.py      prints, and writes benchmarks/kinds.csv (about 3 minutes of CPU, 1 GB)
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from gather import fibonacci_sphere
from import_time import cpu_name
from torch import Tensor

from geocnn.equivariance.errors import relative
from geocnn.geometry import healpix, icosphere, mesh
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.groups.rotations import random_rotations
from geocnn.nn import GaugeConv

ROOT = Path(__file__).resolve().parents[1]
DEGREE, ROTATIONS = 8, 8
NETWORKS = {"vectors": ["1x0", "4x1", "4x1", "1x0"], "mixed": ["1x0", "8x0 + 4x1", "8x0 + 4x1", "1x0"]}
SPACINGS = 2.5, 3.5
COLUMNS = [
    *"surface points spacings kind error_vectors error_mixed".split(),
    *"entries_per_target pairs_per_target build_s layer_ms cpu threads torch".split(),
]


def irregular_mesh(n: int) -> Surface:
    """The convex hull of evenly distributed points on the sphere that are moved by about 0.2 spacings."""
    from scipy.spatial import ConvexHull

    moved = fibonacci_sphere(n) + 0.2 * (4 * torch.pi / n) ** 0.5 * torch.randn(n, 3, dtype=torch.float64)
    p = moved / moved.norm(dim=1, keepdim=True)
    f = torch.from_numpy(ConvexHull(p.numpy()).simplices.astype("int64"))
    a, b, c = p[f].unbind(1)
    inward = (torch.linalg.cross(b - a, c - a) * a).sum(1) < 0
    return mesh(p, torch.where(inward[:, None], f.flip(1), f))


def harmonics(points: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics up to a degree at unit vectors [n, 3]: [n, (degree + 1)²]."""
    from scipy.special import sph_harm_y_all

    theta, phi = points[:, 2].clamp(-1, 1).acos(), torch.atan2(points[:, 1], points[:, 0])
    y = torch.from_numpy(sph_harm_y_all(degree, degree, theta.numpy(), phi.numpy()))
    rows = [y[l, m].imag if m < 0 else y[l, m].real for l in range(degree + 1) for m in range(-l, l + 1)]
    return torch.stack(rows, -1)


def rotation_error(types: list[str], surface: Surface, stencil: Stencil) -> float:
    """Relative L2 error of random layers between these types, mean of random rotations."""
    torch.manual_seed(0)
    layers = [GaugeConv(a, b).double() for a, b in pairwise(types)]
    rotated = [surface.points @ r for r in random_rotations(ROTATIONS, torch.Generator().manual_seed(0))]
    coefficients = torch.randn((DEGREE + 1) ** 2, 1, dtype=torch.float64)
    x = torch.stack([harmonics(p, DEGREE) @ coefficients for p in (surface.points, *rotated)])
    with torch.no_grad():
        for layer in layers:
            x = layer(x, stencil)
    answer = torch.linalg.lstsq(harmonics(surface.points, 2 * DEGREE), x[0]).solution
    pairs = zip(x[1:], rotated, strict=True)
    return float(torch.stack([relative(y, harmonics(p, 2 * DEGREE) @ answer) for y, p in pairs]).mean())


def seconds(task: Callable[[], object], repeats: int) -> float:
    """The least time of several."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.no_grad()
def layer_seconds(stencil: Stencil) -> float:
    """The time of one layer in float32, once its operators exist."""
    layer, single = GaugeConv("16x0 + 8x1", "16x0 + 8x1"), stencil.float()
    x = torch.randn(stencil.n_source, layer.in_type.dim)
    layer(x, single)
    return seconds(lambda: layer(x, single), 9)


def measure(name: str, surface: Surface, spacings: float, kind: Literal["exp", "log"]) -> dict[str, object]:
    """One row of the table."""
    radius = spacings * surface.spacing
    stencil = surface.stencil(radius, kind)
    pairs = torch.unique(stencil.target * stencil.n_source + stencil.source)
    errors = {f"error_{n}": f"{rotation_error(t, surface, stencil):.2e}" for n, t in NETWORKS.items()}
    return {
        "surface": name, "points": surface.n_points, "spacings": spacings, "kind": kind, **errors,
        "entries_per_target": round(stencil.n_entries / stencil.n_target, 1),
        "pairs_per_target": round(len(pairs) / stencil.n_target, 1),
        "build_s": f"{seconds(lambda: surface.stencil(radius, kind), 3):.3f}",
        "layer_ms": f"{1000 * layer_seconds(stencil):.2f}",
        "cpu": cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    surfaces: dict[str, Surface] = {f"healpix({n})": healpix(n) for n in (8, 16, 32)}
    surfaces |= {f"icosphere({n})": icosphere(n) for n in (3, 4)}
    surfaces |= {f"irregular mesh of {n}": irregular_mesh(n) for n in (642, 2562)}
    rows = []
    print("surface                 spacings  kind   vectors     mixed  entries   pairs   build_s  layer_ms")
    for spacings in SPACINGS:
        for name, surface in surfaces.items():
            for kind in ("exp", "log"):
                row = measure(name, surface, spacings, kind)
                rows.append(row)
                print(
                    f"{name:23} {spacings:8}  {kind:4}  {row['error_vectors']:>8}  {row['error_mixed']:>8}"
                    f"  {row['entries_per_target']:7}  {row['pairs_per_target']:6}  {row['build_s']:>8}"
                    f"  {row['layer_ms']:>8}",
                    flush=True,
                )
    with (ROOT / "benchmarks" / "kinds.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
