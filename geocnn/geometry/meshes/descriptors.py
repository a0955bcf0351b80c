"""Descriptors: what the shape of a triangle mesh says about each of its vertices.

All are computed from vertices, faces and frames alone, and none changes when the mesh is moved. What has a
direction is given in the vertex's frame, so it is a field of its frequency: turning the frame by alpha
multiplies its components by e^{−in·alpha}.

The normal is the direction across the frame on the side the faces are wound counter-clockwise from: outward
on a closed mesh with outward faces. Turning all faces over changes the sign of the shape operator, the mean
curvature and all normal parts; the Gaussian curvature and the heat kernel stay.

A vertex without faces has zeros for descriptors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from geocnn import safe
from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import components
from geocnn.groups.field_type import FieldType

if TYPE_CHECKING:
    from scipy.sparse import csc_array

    from geocnn.geometry.meshes.surface import Mesh

HEAT_TIMES = (0.005, 0.02, 0.08, 0.32)
"""Times of `shape_features` over the surface's area: heat spreads by 2√t, 0.14 to 1.13 of the area's root."""


class Modes(NamedTuple):
    """Eigenfunctions of the Laplacian, component by component: −Δφ = λφ.

    values [C, K] ascending, in 1/length², infinite where a component has fewer; vectors [N, K], orthonormal
    under `areas` [N] within each component, 0 where there are none; component [N] int64, the row of `values`
    that a vertex belongs to.
    """

    values: Tensor
    vectors: Tensor
    component: Tensor
    areas: Tensor


def shape_features(mesh: Mesh) -> tuple[Tensor, FieldType]:
    """Inputs for learning from the shape of a mesh: x [N, 23] float64 and its type, 11x0 + 5x1 + 1x2.

    They do not change when the mesh is moved or scaled: lengths are over ℓ, the root of the surface's area.

    0: asinh(Hℓ) and asinh(Kℓ²), the mean curvature and K = det S of the shape operator S; the logarithm of
    the heat-kernel signature at HEAT_TIMES over its mean on the surface; the normal parts of five ways.
    1: the tangent parts of the five ways: from the surface's centroid to the vertex, over ℓ; and from there
    to the mean place of the heat put on it, after each of HEAT_TIMES t, over the spread 2√t (to first order
    −√t H normals).
    2: the traceless part of S, its length |z| made asinh(|z|ℓ).

    asinh keeps small values and takes the logarithm of large ones: a finger is twenty times as curved as a
    back. Normals are of one side, so a mesh with only one raises GeometryError. Where frames are mirrored
    (group O2) the type is 11x0e + 5x1 + 1x2. Signs: see the module.

    >>> import geocnn.geometry as geometry                                                  # doctest: +SKIP
    >>> x, field_type = shape_features(geometry.load("bunny.ply"))                          # doctest: +SKIP
    """
    from geocnn.geometry.meshes.one_sided import OneSidedMesh

    if isinstance(mesh, OneSidedMesh):
        raise GeometryError(
            "shape features take a mesh of two sides, this one has one; give it features of its own"
        )
    points, frames, faces = mesh.points, mesh.frames, mesh.faces
    if len(faces) and int(faces.max()) >= len(points):
        raise GeometryError("shape features belong to all of a mesh's vertices: give its finest level")
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
    ways = torch.cat([place, diffuse(place[:, 0], modes, times) - place], 1) / spread * has_faces[..., None]
    normal, tangent = split(ways, frames, vertex_normals(points, frames, faces))
    bend = traceless(operator)
    bend = safe.normalise(bend, dim=1) * torch.asinh(safe.norm(bend, dim=1))[:, None]
    parts = [torch.asinh(curvature), heat.log(), normal, tangent.mT.flatten(1), bend]
    text = "O2: 11x0e + 5x1 + 1x2" if mesh.group.flips else "11x0 + 5x1 + 1x2"
    return torch.cat(parts, 1), FieldType(text)


# ------------------------------------------------------------------------------------------------- directions


def vertex_normals(points: Tensor, frames: Tensor, faces: Tensor) -> Tensor:
    """The unit vectors [N, 3] across the frames [N, 2, 3], on the side from which the faces [F, 3] of points
    [N, 3] are wound counter-clockwise; e₁ × e₂ at a vertex without faces.

    Mirrored frames have the same normals. Raises GeometryError for shapes or dtypes that do not fit.

    >>> eye = torch.eye(3, dtype=torch.float64)
    >>> vertex_normals(eye, eye[:2].expand(3, 2, 3), torch.tensor([[2, 1, 0]]))[:, 2]
    tensor([-1., -1., -1.], dtype=torch.float64)
    """
    _check(points, faces, frames)
    across = torch.linalg.cross(frames[:, 0], frames[:, 1], dim=-1)
    a, b, c = points[faces].unbind(1)
    summed = _sum(faces, torch.linalg.cross(b - a, c - a, dim=-1)[:, None].expand(-1, 3, -1), len(points))
    turned = (across * summed).sum(-1, keepdim=True) < 0
    return torch.where(turned, -across, across)


def split(vectors: Tensor, frames: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [N, K, 3] at the vertices as normal parts [N, K], frequency 0, and tangent parts [N, K, 2] in
    the frames [N, 2, 3], frequency 1.

    >>> split(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.eye(3)[None, :2], torch.eye(3)[None, 2])
    (tensor([[3.]]), tensor([[[1., 2.]]]))
    """
    return (vectors * normals[:, None]).sum(-1), vectors @ frames.mT


# -------------------------------------------------------------------------------------------------- curvature


def shape_operator(points: Tensor, frames: Tensor, faces: Tensor) -> Tensor:
    """The derivative of the unit normal in the vertices' frames, symmetric [N, 2, 2], in 1/length.

    Its eigenvalues are the principal curvatures, +1/R on a sphere seen from outside. From a least-squares
    quadric z = b·x + ½ x·Q·x over the frame's plane through the vertex and its neighbours' neighbours,
    nearer ones weighing more and those that face away less (Cazals and Pouget 2005, degree 2). It
    converges on irregular meshes too, by at least first order in the edges' length, which averages over
    faces (Rusinkiewicz 2004) do not.

    Raises GeometryError for shapes or dtypes that do not fit.

    >>> eye = torch.eye(3, dtype=torch.float64)
    >>> shape_operator(eye, eye[:2].expand(3, 2, 3), torch.tensor([[0, 1, 2]])).shape
    torch.Size([3, 2, 2])
    """
    normal, n = vertex_normals(points, frames, faces), len(points)
    i, j = _two_rings(faces, n)
    way = points[j] - points[i]
    # cos⁸ of half the angle between normals: next to nothing for what lies on the other side of a finger
    square, facing = way.square().sum(-1), ((1 + (normal[i] * normal[j]).sum(-1)) / 2).clamp_min(0) ** 4
    size = _mean(i, square, facing, n).sqrt()
    size = torch.where(size > 0, size, torch.ones_like(size))
    weight = facing * torch.exp(-square / size[i] ** 2)
    height, flat = split((way / size[i, None])[:, None], frames[i], normal[i])
    x, y = flat[:, 0].unbind(1)
    # Q₁₁, √2 Q₁₂, Q₂₂: their norm does not change when the frame turns
    terms = torch.stack([x, y, x * x / 2, x * y / math.sqrt(2), y * y / 2], 1)
    gram = _mean(i, terms[:, :, None] * terms[:, None], weight, n)
    right = _mean(i, terms * height, weight, n)
    # where neighbours are too few for five terms, the smallest solution; elsewhere an error of 1e-9
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


def traceless(operator: Tensor) -> Tensor:
    """The traceless part of a symmetric S [N, 2, 2] in the frames as a field of frequency 2: the components
    (S₁₁ − S₂₂)/2 and S₁₂, [N, 2].

    Of a shape operator its length is half the difference of the principal curvatures, and half its angle the
    direction of the larger one.

    >>> traceless(torch.tensor([[[3.0, 2.0], [2.0, 1.0]]])).tolist()
    [[1.0, 2.0]]
    """
    return torch.stack([(operator[:, 0, 0] - operator[:, 1, 1]) / 2, operator[:, 0, 1]], 1)


# ------------------------------------------------------------------------------------------------------- heat


def cotangent_laplacian(points: Tensor, faces: Tensor) -> csc_array:
    """The matrix L of the Dirichlet energy ½ uᵀLu = ½ ∫ |∇u|² of functions linear on each face: scipy csc
    [N, N], positive semi-definite, rows summing to 0.

    L_ij = −½ (cot α + cot β) for the angles that face edge ij (Pinkall and Polthier 1993). Every edge has an
    entry, also where its cotangents add up to 0. −Δ is L over the vertices' areas.

    Raises GeometryError for shapes or dtypes that do not fit.

    >>> triangle = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    >>> cotangent_laplacian(triangle, torch.tensor([[0, 1, 2]])).toarray().tolist()
    [[1.0, -0.5, -0.5], [-0.5, 0.5, 0.0], [-0.5, 0.0, 0.5]]
    """
    from scipy.sparse import coo_array

    _check(points, faces)
    _, cotangent, _ = _corners(points, faces)
    a, b = faces.roll(-1, 1).flatten(), faces.roll(1, 1).flatten()
    half = cotangent.flatten() / 2
    value = torch.cat([half, half, -half, -half]).cpu().numpy()
    row, column = torch.cat([a, b, a, b]).cpu().numpy(), torch.cat([a, b, b, a]).cpu().numpy()
    # conversion adds equal entries and keeps zeros
    return coo_array((value, (row, column)), shape=(len(points), len(points))).tocsc()


def laplacian_modes(points: Tensor, faces: Tensor, count: int = 128) -> Modes:
    """The lowest `count` eigenfunctions of the Laplacian on each component, by shift-invert Lanczos.

    Areas are thirds of the faces around a vertex. By Weyl's law the K-th eigenvalue of an area A is about
    4πK/A: 128 reach 1600/A. The result is the same at every call; a vector's sign, and the basis of an
    eigenspace, mean nothing. Eigenspaces come whole: one that `count` would cut is left out. Components are
    solved apart, because Lanczos misses copies of an eigenvalue they share.

    Raises GeometryError for shapes or dtypes that do not fit, and for a count below 1.

    >>> triangle = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    >>> laplacian_modes(triangle, torch.tensor([[0, 1, 2]])).values.round()
    tensor([[0., 3., 9.]], dtype=torch.float64)
    """
    if count < 1:
        raise GeometryError(f"at least one mode is needed, got count={count}")
    stiffness, n = cotangent_laplacian(points, faces), len(points)
    areas = _sum(faces, _corners(points, faces)[2] / 3, n)
    root = components(n, faces[:, [0, 1]].flatten(), faces[:, [1, 2]].flatten())
    component = root.unique(return_inverse=True)[1]
    order, sizes = component.argsort(stable=True), component.bincount().tolist()
    sorted_stiffness = stiffness[order.cpu().numpy()][:, order.cpu().numpy()]
    width = min(count, max(sizes))
    values = points.new_full((len(sizes), width), math.inf)
    vectors = points.new_zeros(n, width)
    start = 0
    for c, ids in enumerate(order.split(sizes)):
        inner = slice(start, start := start + len(ids))
        if areas[ids[0]] > 0:
            found, basis = _lowest(sorted_stiffness[:, inner][inner], areas[ids].cpu().numpy(), count)
            values[c, : len(found)] = torch.from_numpy(found).to(points)
            vectors[ids, : len(found)] = torch.from_numpy(basis).to(points)
    return Modes(values, vectors, component, areas)


def heat_kernel_signature(modes: Modes, times: Tensor) -> Tensor:
    """How much of the heat put on a vertex is still there at times [T] (length²): [N, T], in 1/length².

    Σ_k e^{−λ_k t} φ_k(x)² (Sun, Ovsjanikov and Guibas 2009, eq. 3). For times t ≫ 1/λ_K, K the number of
    modes, the others do not matter.

    >>> modes = Modes(torch.zeros(1, 1), torch.ones(2, 1), torch.tensor([0, 0]), torch.full((2,), 0.5))
    >>> heat_kernel_signature(modes, torch.tensor([1.0])).tolist()
    [[1.0], [1.0]]
    """
    left = torch.exp(-modes.values[:, None] * times[:, None])[modes.component]
    return torch.einsum("ntk,nk->nt", left, modes.vectors.square())


def diffuse(field: Tensor, modes: Modes, times: Tensor) -> Tensor:
    """A scalar field [N, C] after heat has spread it for times [T] (length²): [N, T, C].

    Its mean over each component stays; in the limit it is that mean.

    >>> modes = Modes(torch.zeros(1, 1), torch.ones(2, 1), torch.tensor([0, 0]), torch.full((2,), 0.5))
    >>> diffuse(torch.tensor([[0.0], [2.0]]), modes, torch.tensor([1.0])).flatten().tolist()
    [1.0, 1.0]
    """
    product = (modes.vectors * modes.areas[:, None])[..., None] * field[:, None]
    share = _sum(modes.component, product, len(modes.values))
    left = [share * torch.exp(-modes.values * t)[..., None] for t in times]
    return torch.stack([torch.einsum("nk,nkc->nc", modes.vectors, s[modes.component]) for s in left], 1)


# ---------------------------------------------------------------------------------------------------- helpers


def _lowest(stiffness, areas, count: int):
    """Eigenvalues [K] and vectors [n, K], orthonormal under areas [n], of one component: numpy arrays."""
    import numpy as np
    from scipy.linalg import eigh
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    scale, n = areas**-0.5, len(areas)
    symmetric = diags_array(scale) @ stiffness @ diags_array(scale)
    if n <= 4 * count:  # Lanczos wants 2 · count vectors and would take longer
        values, vectors = eigh(symmetric.toarray(), subset_by_index=(0, min(count, n - 1)))
    else:
        # a shift below 0 makes the matrix definite; the first vector must have a part in every eigenspace
        first = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(symmetric.tocsc(), count + 1, sigma=-1 / areas.sum(), v0=first)
        order = values.argsort()
        values, vectors = values[order], vectors[:, order]
    if n > count:  # the last may be one of several copies; copies differ by rounding, others by more
        whole = values < values[-1] * (1 - 1e-9)
        values, vectors = values[whole], vectors[:, whole]
    return values.clip(min=0), scale[:, None] * vectors


def _corners(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Angle and cotangent of each corner [F, 3], and the area of its face [F, 3]."""
    corner = points[faces]
    a, b = corner.roll(-1, 1) - corner, corner.roll(1, 1) - corner
    across, along = torch.linalg.cross(a, b, dim=-1).norm(dim=-1), (a * b).sum(-1)
    return torch.atan2(across, along), along / across, across / 2


def _two_rings(faces: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """All pairs (vertex [P], another one or two edges away [P]), sorted."""
    a, b = faces.flatten(), faces.roll(-1, 1).flatten()
    near = torch.cat([a * n + b, b * n + a]).unique()
    i, j = near // n, near % n
    count = torch.bincount(i, minlength=n)
    # from each j on to all its neighbours: entry `at` of its run of `near`
    steps = count[j]
    via = torch.repeat_interleave(steps)
    at = torch.arange(len(via), device=faces.device) - (steps.cumsum(0) - steps)[via]
    k = j[(count.cumsum(0) - count)[j][via] + at]
    both = torch.cat([near, i[via] * n + k]).unique()
    i, j = both // n, both % n
    return i[i != j], j[i != j]


def _sum(index: Tensor, values: Tensor, n: int) -> Tensor:
    """Sums [n, ...] of values [*index.shape, ...] with the same index."""
    rest = values.shape[index.ndim :]
    return values.new_zeros(n, *rest).index_add_(0, index.flatten(), values.reshape(-1, *rest))


def _mean(index: Tensor, values: Tensor, weight: Tensor, n: int) -> Tensor:
    """Weighted means [n, ...] of values [P, ...] with the same index [P]; 0 where there is no weight."""
    rest = (1,) * (values.ndim - 1)
    total = _sum(index, weight, n)
    total = torch.where(total > 0, total, torch.ones_like(total)).view(-1, *rest)
    return _sum(index, values * weight.view(-1, *rest), n) / total


def _check(points: Tensor, faces: Tensor, frames: Tensor | None = None) -> None:
    n = len(points)
    for name, t, dtype in (("points", points, torch.float64), ("faces", faces, torch.int64)):
        if t.shape != (len(t), 3) or t.dtype != dtype:
            raise GeometryError(f"{name} of a mesh are [n, 3] {dtype}, got {list(t.shape)} {t.dtype}")
    if frames is not None and (frames.shape != (n, 2, 3) or frames.dtype != torch.float64):
        raise GeometryError(
            f"frames of {n} points are [{n}, 2, 3] torch.float64, got {list(frames.shape)} {frames.dtype}"
        )
