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
from collections.abc import Sequence
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
from geocnn.groups.named_fields import NamedFields
from geocnn.lasting import one_thread

if TYPE_CHECKING:
    from geocnn.geometry.meshes.surface import Mesh

HEAT_TIMES = (0.005, 0.02, 0.08, 0.32)
"""Default times of `shape_fields` over the surface's area: heat spreads by 2√t, 0.14 to 1.13 of its root."""

MOST_NEIGHBOURS = 64
"""The shape operator looks at so many neighbours of a neighbour; vertices of real meshes seldom have more."""


def shape_features(
    mesh: Mesh, times: Sequence[float] = HEAT_TIMES
) -> tuple[Float64[Tensor, "n features"], FieldType]:
    """Return the fields of `shape_fields` as one x and its type; with four times, [N, 23], 11x0 + 5x1 + 1x2.

    Raises GeometryError as that does.

    >>> import geocnn.geometry as geometry                                                  # doctest: +SKIP
    >>> x, field_type = shape_features(geometry.load("bunny.ply"))                          # doctest: +SKIP
    """
    fields = shape_fields(mesh, times)
    return fields.x, fields.type


@one_thread()
def shape_fields(mesh: Mesh, times: Sequence[float] = HEAT_TIMES) -> NamedFields:
    """Return fields that describe the shape of a mesh, by name.

    They do not change when the mesh is moved or scaled: lengths are divided by ℓ, the root of the surface's
    area. `times` are T times of heat flow over the area. 1 + T vectors in space belong to each vertex. The
    first leads from the surface's centroid to the vertex, divided by ℓ. The others lead from the vertex to
    the mean place of heat that started there, after each time t, divided by the spread 2√t; to first order
    they are −√t H times the normal.

    "mean curvature", "Gaussian curvature": 1x0 each, asinh(Hℓ) and asinh(Kℓ²) of H and K = det S, S being the
        shape operator.
    "heat kernel": Tx0, the logarithm of the heat-kernel signature, divided by its mean on the surface.
    "normal offsets", "tangent offsets": (1 + T)x0 and (1 + T)x1, the two parts of the vectors.
    "bending": 1x2, the traceless part of S, with its length |z| replaced by asinh(|z|ℓ).

    asinh leaves small values and takes the logarithm of large ones: a finger is twenty times as curved as a
    back. If frames are mirrored (group O2), scalars are 0e. The module describes the signs.

    Raises GeometryError for a mesh with only one side, where normals have no sign, for a coarser level, and
    for times that are not positive.

    >>> import geocnn.geometry as geometry
    >>> fields = shape_fields(geometry.load("datasets/meshes/bunny_small.ply"), times=[0.01, 0.1])
    >>> print(fields.type); fields.select("mean curvature", "bending").x.shape
    7x0 + 3x1 + 1x2
    torch.Size([1241, 3])
    """
    from geocnn.geometry.meshes.one_sided import OneSidedMesh

    if isinstance(mesh, OneSidedMesh):
        raise GeometryError(
            "shape features take a mesh of two sides, this one has one; give features of your own"
        )
    _check_finest(mesh)
    points, frames, faces = mesh.points, mesh.frames, mesh.faces
    given = points.new_tensor(list(times))
    if given.ndim != 1 or not len(given) or not bool((given > 0).all() & given.isfinite().all()):
        raise GeometryError(
            f"times of heat flow are one or more positive numbers, in units of the area, got {times!r}"
        )
    modes = laplacian_modes(points, faces)
    area = modes.areas.sum()
    length, spans = area.sqrt(), area * given
    operator = shape_operator(points, frames, faces) * length
    curvature = torch.stack([operator.diagonal(dim1=1, dim2=2).mean(1), torch.linalg.det(operator)], 1)
    heat = heat_kernel_signature(modes, spans)
    has_faces = (modes.areas > 0)[:, None]
    heat = torch.where(has_faces, heat / (modes.areas @ heat / area), torch.ones_like(heat))
    place = (points - modes.areas @ points / area)[:, None]
    spread = torch.cat([length[None], 2 * spans.sqrt()])[:, None]
    offsets = torch.cat([place, diffuse(place[:, 0], modes, spans) - place], 1)
    offsets = offsets / spread * has_faces[..., None]
    normal, tangent = split(offsets, frames, vertex_normals(points, frames, faces))
    bend = traceless(operator)
    bend = safe.normalise(bend, dim=1) * torch.asinh(safe.norm(bend, dim=1))[:, None]
    mean, gaussian = torch.asinh(curvature).split(1, 1)
    group, invariant = mesh.group, "0e" if mesh.group.flips else "0"

    def typed(values: Tensor, copies: int, irrep: str) -> tuple[Tensor, FieldType]:
        return values, FieldType(f"{copies}x{irrep}", group)

    n = len(given)
    return NamedFields.join(
        {
            "mean curvature": typed(mean, 1, invariant),
            "Gaussian curvature": typed(gaussian, 1, invariant),
            "heat kernel": typed(heat.log(), n, invariant),
            "normal offsets": typed(normal, 1 + n, invariant),
            "tangent offsets": typed(tangent.mT.flatten(1), 1 + n, "1"),
            "bending": typed(bend, 1, "2"),
        }
    )


@one_thread()
def laplacian_spectrum(mesh: Mesh, count: int = 16, scaled: bool = True) -> Float64[Tensor, " {count}"]:
    """Return the eigenvalues λ₁ ≤ λ₂ ≤ … of the Laplacian on a whole mesh, without the first, which is 0.

    They describe the shape as a whole and do not change when it is bent without stretching (Reuter, Wolter &
    Peinecke 2006). `scaled` multiplies them by the area, so that they do not depend on the size; by Weyl's
    law the k-th is then about 4πk. Otherwise they are in 1/length². A mesh of several components has one
    eigenvalue 0 more per further component.

    Raises GeometryError for a coarser level, and for a count below 1 or more than the mesh can have.

    >>> import geocnn.geometry as geometry
    >>> sphere = geometry.load("datasets/meshes/sphere.obj")                      # 4π l(l + 1), 2l + 1 times
    >>> [round(value) for value in laplacian_spectrum(sphere, 4).tolist()]
    [25, 25, 25, 75]
    """
    if count < 1:
        raise GeometryError(f"at least one eigenvalue is asked for, got count={count}")
    _check_finest(mesh)
    # a cut eigenspace is left out, so more are computed than asked for
    modes = laplacian_modes(mesh.points, mesh.faces, 2 * count + 8)
    values = modes.values[modes.values.isfinite()].sort().values[1 : count + 1]
    if len(values) < count:
        raise GeometryError(
            f"{count} eigenvalues are asked for, the mesh of {mesh.n_points} vertices has {len(values)}"
        )
    return values * modes.areas.sum() if scaled else values


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


def _check_finest(mesh: Mesh) -> None:
    if len(mesh.faces) and int(mesh.faces.max()) >= len(mesh.points):
        raise GeometryError("shape features are computed for all vertices of a mesh: give its finest level")


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
