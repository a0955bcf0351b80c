"""May a kernel be carried along any path? Only one that the holonomy between the paths leaves alone.

Two kernels, one of two-fold and one of four-fold symmetry, carried along two paths to the same place: on a
triangulated sphere, where the paths enclose a twentieth of its curvature, and around a corner of a cube, a
quarter turn. On the cube the four-fold kernel arrives as one, on the sphere none but an isotropic one would.

python examples/holonomy.py      prints the groups and differences, saves runs/holonomy.png (5 seconds)
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from geocnn.geometry import SurfacePoint, holonomy_group, invariant_kernels, mesh, transport, transport_kernel
from geocnn.geometry.spheres.icosahedron import Icosahedron

SIDES = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]


def sphere():
    """Directly from the pole to another vertex of the icosahedron, or by way of a third."""
    solid = Icosahedron(3)
    return mesh(solid.points, solid.faces[-1]), torch.tensor([0, 2]), torch.tensor([0, 3, 2])


def cube():
    """Around corner (1, 1, 1), on the left of it or on the right, through the middles of the edges there."""
    corners = [[k % 2, k // 2 % 2, k // 4] for k in range(8)]
    surface = mesh(corners, [[a, b, c] for a, b, c, _ in SIDES] + [[a, c, d] for a, _, c, d in SIDES])
    t = surface.triangulation
    edge = t.fan[t.fan_ptr[7] : t.fan_ptr[8]]
    middle = 0.5 * (torch.eye(3)[edge % 3] + torch.eye(3)[(edge + 1) % 3]).double()
    ahead, n = torch.arange(3), len(edge)
    back = torch.tensor([0, *range(n - 1, 1, -1)])
    return surface, *(SurfacePoint(edge[way] // 3, middle[way]) for way in (ahead, back))


x = torch.linspace(-1, 1, 120, dtype=torch.float64)
disc = torch.stack(torch.meshgrid(x, x.flip(0), indexing="xy"), -1)


def two_fold(v):
    return (1 - v.square().sum(-1)).clamp_min(0) * (v[..., 0] ** 2 - v[..., 1] ** 2)


def four_fold(v):
    z = torch.view_as_complex(v.contiguous())
    return (1 - z.abs().square()).clamp_min(0) * (z**4).real


figure = Figure(figsize=(9.0, 4.8), layout="constrained")
for row, make in zip(figure.subplots(2, 4), (sphere, cube), strict=True):
    surface, one, other = make()
    group = holonomy_group(surface).group
    left = invariant_kernels(group, rings=1, max_frequency=8).angular.frequency.unique().tolist()
    print(f"{make.__name__}: holonomy {group}, which of frequencies 0 to 8 leaves {left}")
    for axes, kernel in zip((row[:2], row[2:]), (two_fold, four_fold), strict=True):
        carried = [transport_kernel(kernel, transport(surface, path))(disc) for path in (one, other)]
        apart = float((carried[0] - carried[1]).abs().max() / carried[0].abs().max())
        print(f"  {kernel.__name__.replace('_', '-')}: the two paths differ by {100 * apart:.0f} %")
        for axis, values, name in zip(axes, carried, ("one path", "the other"), strict=True):
            limit = float(values.abs().max())
            picture = values.where(disc.norm(dim=-1) < 1, torch.nan)
            axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axis.set_title(f"{make.__name__} ({group}), {name}", fontsize=9)
            axis.set_axis_off()

Path("runs").mkdir(exist_ok=True)
figure.savefig("runs/holonomy.png", dpi=80)
print("saved runs/holonomy.png")
