"""Triangulated shapes whose geometry is known: vertices [V, 3] float64 and faces [F, 3] int64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Shape = tuple[Tensor, Tensor]


def jittered_sphere(n: int, jitter: float = 0.3, seed: int = 0, among: Tensor | None = None) -> Shape:
    """The hull of Fibonacci points moved by about `jitter` spacings: irregular, angles down to a degree.

    Points `among` them [K, 3] come first, in the place of those nearer than half a spacing.
    """
    from scipy.spatial import ConvexHull

    k, g = torch.arange(n, dtype=torch.float64), torch.Generator().manual_seed(seed)
    z, phi = 1 - (2 * k + 1) / n, (k * math.pi * (3 - 5**0.5)) % (2 * math.pi)
    rho = (1 - z**2).sqrt()
    p = torch.stack([rho * phi.cos(), rho * phi.sin(), z], -1)
    p = p + jitter * math.sqrt(4 * math.pi / n) * torch.randn(n, 3, generator=g, dtype=torch.float64)
    p = p / p.norm(dim=1, keepdim=True)
    if among is not None:
        p = torch.cat([among, p[torch.cdist(p, among).amin(1) > 0.5 * math.sqrt(4 * math.pi / n)]])
    f = torch.from_numpy(ConvexHull(p.numpy()).simplices.astype("int64"))
    inward = torch.linalg.det(p[f]) < 0
    return p, torch.where(inward[:, None], f[:, [0, 2, 1]], f)


def sheet(n: int, m: int, jitter: float = 0.0, seed: int = 0) -> Shape:
    """[0, n] × [0, m] in the plane z = 0, squares of side 1 cut along (1, 1), vertex x + (n + 1) y; inner
    vertices moved by up to `jitter`.
    """
    y, x = torch.meshgrid(torch.arange(m + 1), torch.arange(n + 1), indexing="ij")
    p = torch.stack([x, y, torch.zeros_like(x)], -1).double()
    g = torch.Generator().manual_seed(seed)
    p[1:-1, 1:-1, :2] += jitter * (2 * torch.rand(m - 1, n - 1, 2, generator=g, dtype=torch.float64) - 1)
    a = (x + (n + 1) * y)[:-1, :-1].reshape(-1)
    b, c, d = a + 1, a + n + 2, a + n + 1
    return p.reshape(-1, 3), torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])


def ring(n: int, m: int, jitter: float = 0.0, seed: int = 0) -> Shape:
    """A torus of radii 1 and 0.4 in space, n vertices around the axis and m around the tube."""
    g = torch.Generator().manual_seed(seed)
    i, j = torch.meshgrid(torch.arange(n), torch.arange(m), indexing="ij")
    moved = jitter * torch.randn(2, n, m, generator=g, dtype=torch.float64)
    u, v = (i + moved[0]) * (2 * math.pi / n), (j + moved[1]) * (2 * math.pi / m)
    rho = 1 + 0.4 * v.cos()
    p = torch.stack([rho * u.cos(), rho * u.sin(), 0.4 * v.sin()], -1).reshape(-1, 3)
    a, b = i * m + j, (i + 1) % n * m + j
    c, d = (i + 1) % n * m + (j + 1) % m, i * m + (j + 1) % m
    corners = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)])
    return p, corners.reshape(-1, 3)


def tetrahedron() -> Shape:
    """Regular, of edge 2√2."""
    p = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    return p, torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])


def cube() -> Shape:
    """[0, 1]³, vertex x + 2y + 4z, each side cut along a diagonal."""
    k = torch.arange(8)
    p = torch.stack([k % 2, k // 2 % 2, k // 4], -1).double()
    sides = torch.tensor([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])
    return p, torch.cat([sides[:, [0, 1, 2]], sides[:, [0, 2, 3]]])


def bricks(solid: Tensor, *planes: Tensor, seed: int = 0) -> Shape:
    """The surface of the `solid` [X, Y, Z] cells between planes x [X + 1], y [Y + 1] and z [Z + 1], by
    default the integers: sides in flat rows of rectangles, cut one way or the other, that meet at right
    angles.
    """
    planes = planes or tuple(torch.arange(n + 1) for n in solid.shape)
    number = torch.arange(math.prod(n + 1 for n in solid.shape)).view(*(n + 1 for n in solid.shape))
    padded, quads = torch.nn.functional.pad(solid.int(), [1] * 6), []
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        m, n = solid.shape[one], solid.shape[two]
        # −1 where the rectangle across the axis is the last of the solid, 1 where it is the first
        step = padded.diff(dim=axis).narrow(one, 1, m).narrow(two, 1, n)
        around = [number.narrow(one, i, m).narrow(two, j, n) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
        quad = torch.stack(around, -1)
        quads += [quad[step == -1], quad[step == 1].flip(-1)]
    quad, g = torch.cat(quads), torch.Generator().manual_seed(seed)
    quad = torch.where(torch.randint(2, (len(quad), 1), generator=g).bool(), quad.roll(1, -1), quad)
    used, faces = _halved(*quad.unbind(1)).unique(return_inverse=True)
    return torch.cartesian_prod(*(p.double() for p in planes))[used], faces


def wound(n: int, rings: int, step: float, rise: float = 0.0) -> Shape:
    """A disc around vertex 0 that is cut open and goes on around it, perhaps more than once: n sectors of
    `step` radians, flat but for the rise with each. Vertex 1 + r + rings·k lies at radius r + 1 on ray k.
    """
    k, r = torch.meshgrid(torch.arange(n + 1), torch.arange(rings), indexing="ij")
    angle, radius = k.double() * step, r + 1.0
    p = torch.stack([radius * angle.cos(), radius * angle.sin(), rise * k], -1).reshape(-1, 3)
    number = 1 + r + rings * k
    a, b = number[:-1, :-1], number[:-1, 1:]
    c, d = number[1:, 1:], number[1:, :-1]
    hub = torch.stack([torch.zeros(n, dtype=torch.int64), number[:-1, 0], number[1:, 0]], 1)
    return torch.cat([torch.zeros(1, 3).double(), p]), torch.cat([hub, _halved(a, b, c, d)])


def without(shape: Shape, gone: Tensor) -> Shape:
    """The shape less the faces at some vertices [V] (bool), which stay behind without faces."""
    vertices, faces = shape
    return vertices, faces[~gone[faces].any(1)]


def beside(*shapes: Shape) -> Shape:
    """Shapes as the components of one."""
    starts = torch.tensor([0, *(len(v) for v, _ in shapes)]).cumsum(0)
    faces = [f + start for (_, f), start in zip(shapes, starts, strict=False)]
    return torch.cat([v for v, _ in shapes]), torch.cat(faces)


def twisted(n: int, m: int, jitter: float = 0.0, seed: int = 0) -> Shape:
    """A Möbius band around the unit circle, 1.2 wide: n vertices along it, m + 1 across, wound anyhow."""
    g = torch.Generator().manual_seed(seed)
    i, j = torch.meshgrid(torch.arange(n), torch.arange(m + 1), indexing="ij")
    moved = jitter * (2 * torch.rand(2, n, m + 1, generator=g, dtype=torch.float64) - 1)
    moved[1, :, [0, -1]] = 0
    u, w = (i + moved[0]) * (2 * math.pi / n), ((j + moved[1]) / m - 0.5) * 1.2
    rho = 1 + w * (u / 2).cos()
    p = torch.stack([rho * u.cos(), rho * u.sin(), w * (u / 2).sin()], -1)
    # once around, j is m − j
    following = torch.where(i[:, 1:] + 1 < n, (i[:, 1:] + 1) * (m + 1) + j[:, :-1], m - j[:, :-1])
    beyond = torch.where(i[:, 1:] + 1 < n, following + 1, following - 1)
    return p.reshape(-1, 3), _halved((i * (m + 1) + j)[:, :-1], following, beyond, (i * (m + 1) + j)[:, 1:])


def figure_eight(n: int, m: int, jitter: float = 0.0, seed: int = 0) -> Shape:
    """A Klein bottle that passes through itself: a figure of eight turned over on its way around, n vertices
    around and m along the eight, wound anyhow.
    """
    g = torch.Generator().manual_seed(seed)
    i, j = torch.meshgrid(torch.arange(n), torch.arange(m), indexing="ij")
    moved = jitter * (2 * torch.rand(2, n, m, generator=g, dtype=torch.float64) - 1)
    u, v = (i + moved[0]) * (2 * math.pi / n), (j + moved[1]) * (2 * math.pi / m)
    a, b = 0.5 * v.sin(), 0.3 * (2 * v).sin()
    rho = 1.2 + (u / 2).cos() * a - (u / 2).sin() * b
    p = torch.stack([rho * u.cos(), rho * u.sin(), (u / 2).sin() * a + (u / 2).cos() * b], -1)
    # once around, v is −v
    onward = (j + 1) % m
    following = torch.where(i + 1 < n, (i + 1) * m + j, (-j) % m)
    beyond = torch.where(i + 1 < n, (i + 1) * m + onward, (-onward) % m)
    return p.reshape(-1, 3), _halved(i * m + j, following, beyond, i * m + onward)


def _halved(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Quadrilaterals cut from a to c."""
    return torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)
