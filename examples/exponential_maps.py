"""exp follows geodesics from a point, log finds the geodesic to a point: polar coordinates on a mesh.

python examples/exponential_maps.py      prints how log undoes exp, saves runs/exponential_maps.png (seconds)
"""

import math
from pathlib import Path

import torch
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from torch.nn.functional import normalize

from geocnn.data.meshes import mesh_file
from geocnn.geometry import load
from geocnn.viz import FAINT, INK
from geocnn.viz.scene import arrows, oblique, paint, polyline, subdivided

s = load(mesh_file("bunny"))
RADIUS, view = 9 * s.spacing, oblique(0.5)
right, up, towards = (s.points @ view.T).unbind(1)
centre = int((towards - 5 * ((right - 0.2).abs() + (up + 0.25).abs())).argmax())  # on the flank

# log: the way to every vertex, and back to it
there = torch.arange(s.n_points)
log = s.log(torch.full_like(there, centre), there)
near = log.vectors.norm(dim=1) < RADIUS
found = near & log.met
back = s.exp(torch.full_like(there[found], centre), log.vectors[found])
off = (back.points - s.points[found]).norm(dim=1).max() / s.spacing
print(
    f"vertices within {RADIUS / s.spacing:.0f} spacings: {near.sum()}, met by a geodesic: {found.sum()}, ",
    end="",
)
print(f"where exp leads back to {off:.0e} of a spacing")

# exp: 48 geodesics, sampled every twentieth of a spacing
angle = torch.arange(48, dtype=torch.float64) * (2 * math.pi / 48)
reach = torch.arange(0, RADIUS, s.spacing / 20, dtype=torch.float64)
vectors = torch.stack([angle.cos(), angle.sin()], -1)[:, None] * reach[:, None]
fan = s.exp(torch.full((len(angle) * len(reach),), centre), vectors.flatten(0, 1))
corners = s.points[s.faces]
side = corners.roll(-1, 1) - corners
normal = normalize(torch.linalg.cross(side[:, 0], side[:, 1], dim=1), dim=1)
rays = polyline(*(t.view(len(angle), -1, 3) for t in (fan.points, normal[fan.face])), "#2b5fa8", 1.0)


def colours(z):
    """The angle as a hue, lighter and darker rings a spacing wide, grey beyond the radius: [K] -> [K, 3]."""
    angle, length = z.angle()[:, None], z.abs()[:, None]
    hue = 0.68 + 0.26 * torch.cos(angle - torch.arange(3) * (2 * math.pi / 3))
    ring = hue - 0.09 * ((length / s.spacing).floor() % 2)
    return ring.lerp(torch.full_like(ring, 0.88), ((length - RADIUS) / s.spacing).clamp(0, 1))


figure = Figure(figsize=(12, 4.3), layout="constrained")
axes = figure.subplots(1, 3)
at = s.points[[centre]], torch.linalg.cross(*s.frames[[centre]].unbind(1))
pairs = zip(s.frames[[centre]].unbind(1), (INK, FAINT), strict=True)
frame = [arrows(at[0], 2 * s.spacing * e, at[1], colour, 2.4) for e, colour in pairs]
paint(axes[0], view, corners, torch.full((len(corners), 3), 0.88, dtype=torch.float64), [rays, *frame])
z = torch.view_as_complex(log.vectors)[s.faces]
parts, vector = subdivided(corners, z, 5)
paint(axes[1], view, parts, colours(vector), frame)

# the tangent plane: the faces whose corners are all met, where log lays them
laid = torch.stack([z.real, z.imag, torch.zeros_like(z.real)], -1)[found[s.faces].all(1)]
parts, vector = subdivided(laid, torch.complex(*laid[..., :2].unbind(-1)), 5)
paint(axes[2], torch.eye(3, dtype=torch.float64), parts, colours(vector))
edges = PolyCollection(list(laid[..., :2].numpy()), facecolors="none", edgecolors=INK, linewidths=0.3)
axes[2].add_collection(edges)
for axis, title in zip(
    axes, ("exp: straight on from a vertex", "log: whither and how far", "the tangent plane"), strict=True
):
    axis.set_title(title, fontsize=10, color=INK)

Path("runs").mkdir(exist_ok=True)
figure.savefig("runs/exponential_maps.png", dpi=90)
print("saved runs/exponential_maps.png")
