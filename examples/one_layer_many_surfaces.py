"""One layer, one set of weights, five surfaces: GaugeConv only ever sees a stencil.

The field is a smooth bump. On the three spheres, one of them a triangle mesh that knows nothing of being
round, the answers agree, though their points have little in common; then all tangent frames are turned at
random, and the scalar output does not notice.

python examples/one_layer_many_surfaces.py      prints the table (15 seconds)
"""

import torch

from geocnn.geometry import healpix, icosphere, mesh, plane, torus
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.nn import Gated, GaugeConv

torch.manual_seed(0)
gate = Gated("4x0 + 4x1")
lift = GaugeConv("1x0", gate.in_type, rings=3).double()
drop = GaugeConv("4x0 + 4x1", "1x0", rings=3).double()


def network(x, stencil):
    return drop(gate(lift(x, stencil)), stencil)


def bump(points, centre, width):
    return torch.exp(-((points - centre) ** 2).sum(-1, keepdim=True) / (2 * width**2))


sphere_centre = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
grid_centre = torch.tensor([15.0, 15.0], dtype=torch.float64)
solid = Icosahedron(4)
surfaces = {
    "HEALPix nside 16": (healpix(16), sphere_centre, 0.4, 0.25),
    "icosphere level 4": (icosphere(4), sphere_centre, 0.4, 0.25),
    "its triangle mesh": (mesh(solid.points, solid.faces[-1]), sphere_centre, 0.4, 0.25),
    "flat torus 32 x 32": (torus((32, 32)), grid_centre, 4.0, 3.0),
    "plane 32 x 32": (plane((32, 32)), grid_centre, 4.0, 3.0),
}

print(f"{'surface':20}{'points':>8}{'area mean of the output':>26}{'change under random frames':>30}")
for name, (surface, centre, width, radius) in surfaces.items():
    x = bump(surface.points, centre, width)
    stencil = surface.stencil(radius, kind="exp")
    y = network(x, stencil)
    turned = network(x, stencil.turn_frames(2 * torch.pi * torch.rand(surface.n_points, dtype=torch.float64)))
    mean = (surface.areas @ y[:, 0] / surface.areas.sum()).item()
    change = ((turned - y).norm() / y.norm()).item()
    print(f"{name:20}{surface.n_points:8d}{mean:26.6f}{change:30.1e}")
