"""Descriptors: numbers per vertex that describe the shape of a triangle mesh.

They are computed from vertices, faces and frames alone, and do not change when the mesh is moved. A
descriptor with a direction has components in the vertex's frame, so it is a field of some frequency n:
turning the frame by alpha multiplies its components by e^{−in·alpha}.

The normal is orthogonal to the frame, on the side from which faces are counter-clockwise: outward on a closed
mesh with outward faces. Turning all faces over changes the sign of the shape operator, the mean curvature and
all normal parts; the Gaussian curvature and the heat kernel do not change.

The descriptors of a vertex without faces are zeros.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from geocnn import safe
from geocnn.errors import GeometryError
from geocnn.geometry.meshes.modes import (
    check_mesh_arrays,
    diffuse,
    heat_kernel_signature,
    laplacian_modes,
    sum_at,
)
from geocnn.groups.field_type import FieldType
from geocnn.lasting import one_thread

if TYPE_CHECKING:
    from geocnn.geometry.meshes.surface import Mesh

HEAT_TIMES = (0.005, 0.02, 0.08, 0.32)
"""Times of `shape_features` over the surface's area: heat spreads by 2√t, 0.14 to 1.13 of the area's root."""

MOST_NEIGHBOURS = 64
"""The shape operator looks at so many neighbours of a neighbour; vertices of real meshes seldom have more."""


@one_thread()
def shape_features(mesh: Mesh) -> tuple[Float64[Tensor, "n 23"], FieldType]:
    """Return features x that describe the shape of a mesh, and their field type, 11x0 + 5x1 + 1x2.

    They do not change when the mesh is moved or scaled: lengths are divided by ℓ, the root of the surface's
    area. Five vectors in space belong to each vertex. The first leads from the surface's centroid to the
    vertex, divided by ℓ. The other four lead from the vertex to the mean place of heat that started there,
    after each time t of HEAT_TIMES, divided by the spread 2√t; to first order they are −√t H times the
    normal.

    Frequency 0: asinh(Hℓ) and asinh(Kℓ²) of the mean curvature H and the Gaussian curvature K = det S, S
    being the shape operator; the logarithm of the heat-kernel signature at HEAT_TIMES, divided by its mean on
    the surface; and the normal parts of the five vectors. Frequency 1: the tangent parts of the five vectors.
    Frequency 2: the traceless part of S, with its length |z| replaced by asinh(|z|ℓ).

    asinh leaves small values and takes the logarithm of large ones: a finger is twenty times as curved as a
    back. If frames are mirrored (group O2) the type is 11x0e + 5x1 + 1x2. The module describes the signs.

    Raises GeometryError for a mesh with only one side, where normals have no sign, and for a coarser level.

    >>> import geocnn.geometry as geometry                                                  # doctest: +SKIP
    >>> x, field_type = shape_features(geometry.load("bunny.ply"))                          # doctest: +SKIP
    """
    from geocnn.geometry.meshes.one_sided import OneSidedMesh

    if isinstance(mesh, OneSidedMesh):
        raise GeometryError(
            "shape features take a mesh of two sides, this one has one; give features of your own"
        )
    points, frames, faces = mesh.points, mesh.frames, mesh.faces
    if len(faces) and int(faces.max()) >= len(points):
        raise GeometryError("shape features are computed for all vertices of a mesh: give its finest level")
    modes = laplacian_modes(points, faces)
    area = modes.areas.sum()
    length, times = area.sqrt(), area * points.new_tensor(HEAT_TIMES)
    operator = shape_operator(points, frames, faces) * length
    curvature = torch.stack([operator.diagonal(dim1=1, dim2=2).mean(1), torch.linalg.det(operator)], 1)
    heat = heat_kernel_signature(modes, times)
    has_faces = (modes.areas > 0)[:, None]
    heat = torch.where(has_faces, heat / (modes.areas @ heat / area), torch.ones_like(heat))
    place = (points - modes.areas @ points / area)[:, None]
    spread = torch.cat([length[None], 2 * times.sqrt()])[:, None]
    offsets = torch.cat([place, diffuse(place[:, 0], modes, times) - place], 1)
    offsets = offsets / spread * has_faces[..., None]
    normal, tangent = split(offsets, frames, vertex_normals(points, frames, faces))
    bend = traceless(operator)
    bend = safe.normalise(bend, dim=1) * torch.asinh(safe.norm(bend, dim=1))[:, None]
    parts = [torch.asinh(curvature), heat.log(), normal, tangent.mT.flatten(1), bend]
    text = "O2: 11x0e + 5x1 + 1x2" if mesh.group.flips else "11x0 + 5x1 + 1x2"
    return torch.cat(parts, 1), FieldType(text)


# ------------------------------------------------------------------------------------------------- directions


def vertex_normals(
    points: Float64[Tensor, "n 3"], frames: Float64[Tensor, "n 2 3"], faces: Int64[Tensor, "f 3"]
) -> Float64[Tensor, "n 3"]:
    """Return unit vectors orthogonal to the frames, on the side from which faces are counter-clockwise.

    At a vertex without faces this is e₁ × e₂. Mirrored frames have the same normals. Raises GeometryError for
    shapes or dtypes that do not fit.

    >>> eye = torch.eye(3, dtype=torch.float64)
    >>> vertex_normals(eye, eye[:2].expand(3, 2, 3), torch.tensor([[2, 1, 0]]))[:, 2]
    tensor([-1., -1., -1.], dtype=torch.float64)
    """
    check_mesh_arrays(points, faces, frames)
    across = torch.linalg.cross(frames[:, 0], frames[:, 1], dim=-1)
    a, b, c = points[faces].unbind(1)
    summed = sum_at(faces, torch.linalg.cross(b - a, c - a, dim=-1)[:, None].expand(-1, 3, -1), len(points))
    turned = (across * summed).sum(-1, keepdim=True) < 0
    return torch.where(turned, -across, across)


def split(
    vectors: Float[Tensor, "n k 3"], frames: Float[Tensor, "n 2 3"], normals: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k 2"]]:
    """Split K vectors per vertex into normal parts, of frequency 0, and tangent parts in the frames, of
    frequency 1.

    >>> split(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.eye(3)[None, :2], torch.eye(3)[None, 2])
    (tensor([[3.]]), tensor([[[1., 2.]]]))
    """
    return (vectors * normals[:, None]).sum(-1), vectors @ frames.mT


# -------------------------------------------------------------------------------------------------- curvature


def shape_operator(
    points: Float64[Tensor, "n 3"], frames: Float64[Tensor, "n 2 3"], faces: Int64[Tensor, "f 3"]
) -> Float64[Tensor, "n 2 2"]:
    """Return the derivative of the unit normal in the vertices' frames, a symmetric matrix, in 1/length.

    Its eigenvalues are the principal curvatures, +1/R on a sphere seen from outside. A quadric z = b·x + ½
    x·Q·x over the frame's plane is fitted by least squares to the vertex and its neighbours' neighbours
    (Cazals and Pouget 2005, degree 2). Of the neighbours of a neighbour that has very many, MOST_NEIGHBOURS
    are taken, evenly spaced around it, so cost is proportional to the number of edges. Nearer points have a
    greater weight, points that face away a smaller one. The result converges on irregular meshes too, with at
    least first order in the edge length; averages over faces (Rusinkiewicz 2004) do not.

    Raises GeometryError for shapes or dtypes that do not fit.

    >>> eye = torch.eye(3, dtype=torch.float64)
    >>> shape_operator(eye, eye[:2].expand(3, 2, 3), torch.tensor([[0, 1, 2]])).shape
    torch.Size([3, 2, 2])
    """
    normal, n = vertex_normals(points, frames, faces), len(points)
    i, j = _two_rings(points, frames, faces)
    offset = points[j] - points[i]
    # cos⁸ of half the angle between normals: almost 0 for points on the other side of a finger
    square, facing = offset.square().sum(-1), ((1 + (normal[i] * normal[j]).sum(-1)) / 2).clamp_min(0) ** 4
    size = _mean(i, square, facing, n).sqrt()
    size = torch.where(size > 0, size, torch.ones_like(size))
    weight = facing * torch.exp(-square / size[i] ** 2)
    height, flat = split((offset / size[i, None])[:, None], frames[i], normal[i])
    x, y = flat[:, 0].unbind(1)
    # Q₁₁, √2 Q₁₂, Q₂₂: their norm does not change when the frame turns
    terms = torch.stack([x, y, x * x / 2, x * y / math.sqrt(2), y * y / 2], 1)
    gram = _mean_products(i, terms, weight, n)
    right = _mean(i, terms * height, weight, n)
    # selects the smallest solution where neighbours are too few for five terms; elsewhere an error of 1e-9
    ridge = 1e-9 * torch.eye(5, dtype=points.dtype, device=points.device)
    fit = torch.linalg.solve(gram + ridge, right)
    slope, mixed = fit[:, :2], fit[:, 3] / math.sqrt(2)
    quadric = torch.stack([fit[:, 2], mixed, mixed, fit[:, 4]], 1).unflatten(1, (2, 2)) / size[:, None, None]
    # S = −g^(−½) Q g^(−½) / √(1 + |b|²) with the metric g = 1 + b bᵀ, seen in the frame tilted onto the fit
    root = (1 + slope.square().sum(1)).sqrt()[:, None, None]
    tilt = torch.eye(2, dtype=points.dtype, device=points.device) - slope[:, :, None] * slope[:, None] / (
        root * (1 + root)
    )
    return -tilt @ quadric @ tilt / root


def traceless(operator: Float[Tensor, "n 2 2"]) -> Float[Tensor, "n 2"]:
    """Return the traceless part of a symmetric S as a field of frequency 2: (S₁₁ − S₂₂)/2 and S₁₂.

    For a shape operator, the field's length is half the difference of the principal curvatures, and half its
    angle is the direction of the larger one.

    >>> traceless(torch.tensor([[[3.0, 2.0], [2.0, 1.0]]])).tolist()
    [[1.0, 2.0]]
    """
    return torch.stack([(operator[:, 0, 0] - operator[:, 1, 1]) / 2, operator[:, 0, 1]], 1)


# ---------------------------------------------------------------------------------------------------- helpers


def _two_rings(
    points: Float64[Tensor, "n 3"], frames: Float64[Tensor, "n 2 3"], faces: Int64[Tensor, "f 3"]
) -> tuple[Int64[Tensor, " p"], Int64[Tensor, " p"]]:
    """Return the pairs (vertex, another vertex one or two edges away), sorted.

    By way of a vertex with many neighbours only MOST_NEIGHBOURS pairs lead on, evenly spaced around it.
    """
    a, b, n = faces.flatten(), faces.roll(-1, 1).flatten(), len(points)
    near = torch.cat([a * n + b, b * n + a]).unique()
    i, j = near // n, near % n
    count = torch.bincount(i, minlength=n)
    first = count.cumsum(0) - count
    x, y = (frames[i] @ (points[j] - points[i])[..., None])[..., 0].unbind(1)
    around = torch.atan2(y, x).argsort(stable=True)
    around = around[i[around].argsort(stable=True)]
    place = torch.empty_like(around)
    place[around] = torch.arange(len(around), device=faces.device)
    # place of i among the neighbours of j
    back = place[torch.searchsorted(near, j * n + i)] - first[j]
    steps = count[j].clamp_max(MOST_NEIGHBOURS)
    via = torch.repeat_interleave(steps)
    at = torch.arange(len(via), device=faces.device) - (steps.cumsum(0) - steps)[via]
    total, steps = count[j][via], steps[via]
    at = (back[via] + (at * total + steps // 2) // steps) % total
    k = j[around[first[j][via] + at]]
    both = torch.cat([near, i[via] * n + k]).unique()
    i, j = both // n, both % n
    return i[i != j], j[i != j]


def _mean(index: Tensor, values: Tensor, weight: Tensor, n: int) -> Tensor:
    """Average values [P, ...] with the same index [P], by weight: [n, ...]; 0 where there is no weight."""
    rest = (1,) * (values.ndim - 1)
    total = sum_at(index, weight, n)
    total = torch.where(total > 0, total, torch.ones_like(total)).view(-1, *rest)
    return sum_at(index, values * weight.view(-1, *rest), n) / total


def _mean_products(index: Tensor, terms: Tensor, weight: Tensor, n: int) -> Tensor:
    """Average the outer products of terms [P, T] with the same index, by weight: [n, T, T]."""
    summed = terms.new_zeros(n, terms.shape[1], terms.shape[1])
    # products take far more memory than anything else here
    for i, x, w in zip(*(y.split(1 << 18) for y in (index, terms, weight)), strict=True):
        summed.index_add_(0, i, x[:, :, None] * x[:, None] * w[:, None, None])
    total = sum_at(index, weight, n)
    return summed / torch.where(total > 0, total, torch.ones_like(total))[:, None, None]
