"""Tangent frames are a free choice: the same field has other components in other frames, and is the same.

python examples/frames.py      prints what a random gauge changes, saves runs/frames.png (seconds)
"""

import math
from pathlib import Path

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from geocnn.data.meshes import mesh_file
from geocnn.geometry import healpix, load
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.nn import GaugeConv
from geocnn.viz import FAINT, INK, RIGHT
from geocnn.viz.scene import arrows, oblique, paint

own = load(mesh_file("bunny"))
generator = torch.Generator().manual_seed(0)
turned = own.turn_frames(2 * math.pi * torch.rand(own.n_points, generator=generator, dtype=torch.float64))

# A field that circles the upright axis, as components in either gauge, and what a layer makes of it.
field = torch.linalg.cross(torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), own.points)
layer = GaugeConv("1x1", "1x0 + 1x1", rings=2).double()
seen = []
for surface in (own, turned):
    x = (surface.frames @ field[..., None])[..., 0]
    y = layer(x, surface.stencil(2.5 * own.spacing, kind="log")).detach()
    in_space = (y[:, 1:, None] * surface.frames).sum(1)
    seen.append({"components": x, "a layer's scalar": y[:, :1], "a layer's vector, in space": in_space})
for name, a in seen[0].items():
    print(f"{name:28} {float((seen[1][name] - a).norm() / a.norm()):8.0e} of it changes with the frames")


def drawn(surface, normals, length, width=0.9):
    """The frames as arrows, e₁ dark and e₂ light."""
    pairs = zip(surface.frames.unbind(1), (INK, FAINT), strict=True)
    return [arrows(surface.points, length * e, normals, colour, width) for e, colour in pairs]


def cells(corners):
    """Triangles [F, 3, 3] cut into two [F · 6, 3, 3] at each corner, what is nearest to it or nearly."""
    middle, behind = (corners + corners.roll(-1, 1)) / 2, (corners + corners.roll(1, 1)) / 2
    centre = corners.mean(1, keepdim=True).expand_as(corners)
    return torch.stack([corners, middle, centre, corners, centre, behind], 2).view(-1, 3, 3)


def grey(faces):
    return torch.full((len(faces), 3), 0.92, dtype=torch.float64)


figure = Figure(figsize=(9, 8.4), layout="constrained")
(left, right), below = figure.subplots(2, 2)
ball, sphere, level, view = Icosahedron(4), healpix(4), own.coarser(), oblique(0.5)
faces, normals = own.points[own.faces], torch.linalg.cross(*own.frames.unbind(1), dim=1)
globe = ball.points[ball.faces[-1]]
paint(left, oblique(0.5)[:, [2, 0, 1]], globe, grey(globe), drawn(sphere, sphere.points, 0.15))
paint(right, view, faces, grey(faces), drawn(level, normals[level.vertex], 0.7 * level.spacing))
left.set_title("a sphere: e₁ (dark) south, e₂ east", fontsize=10, color=INK)
right.set_title("a mesh: e₁ along the longest edge", fontsize=10, color=INK)
longest = field.norm(dim=1).max()
flow = arrows(own.points, own.spacing * field / longest, normals, RIGHT, 2.2)
for axis, surface, parts, name in zip(below, (own, turned), seen, ("its own", "random"), strict=True):
    first = (parts["components"][:, 0] / longest)[own.faces].repeat_interleave(2, 1).flatten()
    shades = torch.from_numpy(colormaps["RdBu_r"]((0.7 * first.numpy() + 1) / 2)[:, :3])
    paint(axis, view, cells(faces), shades, [*drawn(surface, normals, 0.45 * own.spacing, 1.4), flow])
    axis.set(xlim=(0.0, 0.55), ylim=(-0.62, -0.17))
    axis.set_title(f"a field (green) in {name} frames; colour: first component", fontsize=10, color=INK)

Path("runs").mkdir(exist_ok=True)
figure.savefig("runs/frames.png", dpi=90)
print("saved runs/frames.png")
