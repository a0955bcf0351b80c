"""Plane, strip, sphere, mesh: which kernels can be the same everywhere? Those that no loop changes.

Nine kernels, cos ℓθ and sin ℓθ up to ℓ = 4, are carried around the loops that generate a surface's holonomy
group. In the plane all come back as they went; around a Möbius strip mirrored, so that the even ones survive;
around the corner of a cube turned by a quarter, so that three survive; on a sphere, and on most meshes, the
isotropic one alone.

python examples/surviving_kernels.py      prints the table, saves runs/surviving_kernels.png (ten seconds)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from geocnn.data.meshes import mesh_file
from geocnn.geometry import (
    Mesh,
    Surface,
    healpix,
    holonomy_group,
    load,
    mesh,
    mobius_strip,
    plane,
    transport,
    transport_coefficients,
)
from geocnn.geometry.loops.cycles import fundamental_cycles
from geocnn.geometry.loops.kernels import Kernel
from geocnn.geometry.spheres.icosahedron import Icosahedron

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BUNNY = mesh_file("bunny")
LARGEST = 4
NAMES = ("1", "cos θ", "sin θ", "cos 2θ", "sin 2θ", "cos 3θ", "sin 3θ", "cos 4θ", "sin 4θ")


def coefficients() -> Tensor:
    """The nine kernels Σ_ℓ Re c_ℓ(r) e^{iℓθ}: their c at any r [9, 5]."""
    c = torch.zeros(len(NAMES), LARGEST + 1, dtype=torch.complex128)
    for k in range(len(NAMES)):
        c[k, (k + 1) // 2] = 1 if k % 2 or k == 0 else -1j
    return c


def kernel(c: Tensor) -> Kernel:
    """The kernel with coefficients c [L + 1], times r^ℓ (1 − r²)."""

    def at(vectors: Tensor) -> Tensor:
        z = torch.view_as_complex(vectors.contiguous())
        angular = (c * z[..., None] ** torch.arange(len(c))).real.sum(-1)
        return (1 - z.abs() ** 2).clamp_min(0) * angular

    return at


def changes(surface: Surface) -> Tensor:
    """By how much transport around a surface's loops changes each of the nine kernels, [9]: the largest
    ‖Γk − k‖ / ‖k‖, at most 2.

    A tree spans the points (of a mesh the faces); every other edge closes a loop, and these make all others.
    """
    by_faces = isinstance(surface, Mesh)
    cycles = fundamental_cycles(surface.face_connection() if by_faces else surface.connection())
    flip = None if cycles.flip is None else cycles.flip[:, None]
    carried = transport_coefficients(coefficients(), (cycles.angle[:, None], flip))
    return (carried - coefficients()).abs().amax((0, 2))


def sheet(corners: Tensor) -> Tensor:
    """Two triangles [2F, 3, ...] for each of F squares [F, 4, ...]."""
    return torch.cat([corners[:, :3], corners[:, [0, 2, 3]]])


def cube(n: int = 8) -> Surface:
    """The cube [0, 1]³, every side n × n squares, each cut in two."""
    i, j = (x.flatten() for x in torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij"))
    u, v = torch.stack([i, i + 1, i + 1, i], 1), torch.stack([j, j, j + 1, j + 1], 1)
    sides = []
    for axis in range(3):
        for level in (0, n):
            square = torch.stack([torch.full_like(u, level), u, v], -1).roll(axis, -1)
            sides.append(square if level else square.flip(1))
    points, corner = torch.unique(torch.cat(sides).view(-1, 3), dim=0, return_inverse=True)
    return mesh(points.double() / n, sheet(corner.view(-1, 4)))


class Scene(NamedTuple):
    """A surface, as triangles [F, 3, 3] in space, and a loop of its points [L]: where these are [L, 3], how
    their frames lie there [L, 2, 3], and from which side one sees them [L, 3]."""

    surface: Surface
    triangles: Tensor
    loop: Tensor
    places: Tensor
    frames: Tensor
    normals: Tensor
    view: Tensor


def around(surface: Surface, point: int, radius: float) -> Tensor:
    """A loop of 16 points, or less, about `radius` away from one."""
    disc = surface.stencil(1.2 * radius, kind="log", targets=torch.tensor([point]))
    wanted = radius * torch.exp(2j * math.pi * torch.arange(16) / 16)
    nearest = (torch.polar(disc.r, disc.theta) - wanted[:, None]).abs().argmin(1)
    return disc.source[nearest].unique_consecutive()


def in_space(surface: Surface, triangles: Tensor, point: int, radius: float, view: Tensor) -> Scene:
    """A surface that lies in space as it is, and a loop around one of its points, from its nearest on."""
    loop = around(surface, point, radius)
    loop = loop.roll(-int((surface.points[loop] @ view[2]).argmax()))
    frames = surface.frames[loop]
    normals = torch.linalg.cross(*frames.unbind(1), dim=1)
    return Scene(surface, triangles, loop, surface.points[loop], frames, normals, view)


def bent(surface: Surface, loop: Tensor, place: Callable[[Tensor], Tensor], view: Tensor) -> Scene:
    """A flat surface whose point (x, y) is put to place(x, y) in space; it may be seen from either side."""
    at, e = surface.points[loop], 1e-4 * torch.eye(2, dtype=torch.float64)
    frames = torch.stack([place(at + step) - place(at - step) for step in e], 1)
    frames = frames / frames.norm(dim=-1, keepdim=True)
    w, h = surface.points.amax(0).long().tolist()
    x, y = torch.meshgrid(torch.arange(w + surface.glued[0]), torch.arange(h), indexing="ij")
    square = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]])
    corners = torch.stack([x, y], -1).view(-1, 1, 2) + square
    return Scene(
        surface, place(sheet(corners.double())), loop, place(at), frames, view[2].expand(len(loop), 3), view
    )


def scenes() -> dict[str, Scene]:
    from geocnn.viz.scene import oblique

    ball, globe, box, bunny = Icosahedron(4), healpix(16), cube(), load(BUNNY)
    flat, strip, upright = plane((21, 21)), mobius_strip((9, 64)), [0, 2, 1]

    def twisted(point: Tensor) -> Tensor:
        u, v = point[..., 0] * (2 * math.pi / 64), (point[..., 1] - 4) * 0.1
        rho = 1 + v * (u / 2).cos()
        return torch.stack([rho * u.cos(), rho * u.sin(), v * (u / 2).sin()], -1)

    solids = {
        "cube": (box, box.points[box.faces], 0.45, oblique(0.7, 0.6)),
        "sphere": (globe, ball.points[ball.faces[-1]], 0.6, oblique(0.5)),
        "mesh": (bunny, bunny.points[bunny.faces], 0.35, oblique(0.5)),
    }
    middle = 4 * 64 + torch.arange(0, 64, 4)
    found = {
        "plane": bent(flat, around(flat, 220, 7.0), lambda p: pad(p, (0, 1)), oblique(0.3, 0.7)[:, upright]),
        "Möbius strip": bent(strip, middle, twisted, oblique(0.4, 0.85)[:, upright]),
    }
    for name, (surface, triangles, radius, view) in solids.items():
        nearest = int((surface.points @ view[2]).argmax())
        found[name] = in_space(surface, triangles, nearest, radius, view)
    return found


def draw(found: dict[str, Scene], changed: dict[str, Tensor]):
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    from geocnn.viz import FAINT, INK

    figure = Figure(figsize=(11.5, 7.6), layout="constrained")
    rows = figure.subplots(len(found), 1 + len(NAMES), width_ratios=[1.9, *[1] * len(NAMES)])
    x = torch.linspace(-1, 1, 80, dtype=torch.float64)
    disc = torch.stack(torch.meshgrid(x, x.flip(0), indexing="xy"), -1)
    pictures = [kernel(c)(disc).where(disc.norm(dim=-1) < 1, torch.nan) for c in coefficients()]
    for (name, scene), (shown, *discs) in zip(found.items(), rows, strict=True):
        draw_loop(shown, scene)
        group = holonomy_group(scene.surface).group
        shown.set_title(f"{name}: {group}", fontsize=10, color=INK)
        for axis, picture, change in zip(discs, pictures, changed[name], strict=True):
            limit = float(picture.nan_to_num().abs().max())
            axis.add_patch(Circle((0, 0), 1, fill=False, edgecolor=FAINT, linewidth=0.4))
            if change < 1e-8:
                axis.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(-1, 1, -1, 1))
            axis.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
            axis.axis("off")
    for axis, name in zip(rows[0, 1:], NAMES, strict=True):
        axis.set_title(name, fontsize=10, color=INK)
    return figure


def draw_loop(axis: Axes, scene: Scene) -> None:
    """The surface, its loop, and an arrow carried along it: dark at the start, red when it is back."""
    from geocnn.viz import FAINT, INK, WRONG
    from geocnn.viz.scene import arrows, paint, polyline

    loop, n = scene.loop, len(scene.loop)
    way = torch.cat([loop, loop[:1]])
    carried = [transport(scene.surface, way[: k + 1]) for k in range(n + 1)]
    z = torch.tensor([-1j if flip is not None and bool(flip) else 1j for _, flip in carried])
    z = z * torch.polar(torch.ones(n + 1).double(), torch.stack([angle for angle, _ in carried]))
    at = torch.cat([torch.arange(n), torch.zeros(1, dtype=torch.int64)])
    normals = scene.normals[at]
    extent = float((scene.triangles.amax((0, 1)) - scene.triangles.amin((0, 1))).max())
    vectors = 0.16 * extent * (torch.view_as_real(z)[..., None] * scene.frames[at]).sum(1)
    places = scene.places[at]
    lines = [polyline(places, normals, INK, 0.8)]
    for some, colour, width in (
        (slice(1, n, 2), FAINT, 1.0),
        (slice(0, 1), INK, 3.0),
        (slice(n, None), WRONG, 1.6),
    ):
        lines.append(arrows(places[some], vectors[some], normals[some], colour, width))
    grey = torch.full((len(scene.triangles), 3), 0.93, dtype=torch.float64)
    paint(axis, scene.view, scene.triangles, grey, lines)


def main() -> None:
    found = scenes()
    changed = {name: changes(scene.surface) for name, scene in found.items()}
    print("what loops change of each kernel, ‖Γk − k‖ / ‖k‖ at most")
    print(f"{'':13}{'group':>11}" + "".join(f"{name:>7}" for name in NAMES) + "   left")
    for name, change in changed.items():
        group, left = holonomy_group(found[name].surface).group, int((change < 1e-8).sum())
        print(f"{name:13}{group!s:>11}" + "".join(f"{float(c):7.2f}" for c in change) + f"{left:7}")
    Path("runs").mkdir(exist_ok=True)
    draw(found, changed).savefig("runs/surviving_kernels.png", dpi=100)
    print("saved runs/surviving_kernels.png")


if __name__ == "__main__":
    main()
