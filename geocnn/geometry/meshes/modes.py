"""Eigenfunctions of the Laplacian of a triangle mesh, and how heat spreads by them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.extras import extra
from geocnn.geometry.core.half_edges import components

if TYPE_CHECKING:
    from scipy.sparse import csc_array


class Modes(NamedTuple):
    """Eigenfunctions of the Laplacian, −Δφ = λφ, of each component of a mesh.

    values: ascending, in 1/length², infinite if a component has fewer. vectors: orthonormal under `areas`
    within each component, 0 where it has no more. component: the row of `values` to which a vertex belongs.
    """

    values: Float[Tensor, "c k"]
    vectors: Float[Tensor, "n k"]
    component: Int64[Tensor, " n"]
    areas: Float[Tensor, " n"]


def cotangent_laplacian(points: Float64[Tensor, "n 3"], faces: Int64[Tensor, "f 3"]) -> csc_array:
    """Return the matrix L [N, N] of the Dirichlet energy ½ uᵀLu = ½ ∫ |∇u|² of functions linear on each face.

    L_ij = −½ (cot α + cot β) for the angles α, β opposite edge ij (Pinkall and Polthier 1993). L is positive
    semi-definite, and its rows sum to 0. Every edge has an entry, even if its cotangents cancel. −Δ is L
    divided by the vertices' areas.

    Raises GeometryError for shapes or dtypes that do not fit.

    >>> triangle = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    >>> cotangent_laplacian(triangle, torch.tensor([[0, 1, 2]])).toarray().tolist()
    [[1.0, -0.5, -0.5], [-0.5, 0.5, 0.0], [-0.5, 0.0, 0.5]]
    """
    sparse = extra("scipy.sparse", "the Laplacian of a mesh")
    check_mesh_arrays(points, faces)
    _, cotangent, _ = corners(points, faces)
    a, b = faces.roll(-1, 1).flatten(), faces.roll(1, 1).flatten()
    half = cotangent.flatten() / 2
    value = torch.cat([half, half, -half, -half]).cpu().numpy()
    row, column = torch.cat([a, b, a, b]).cpu().numpy(), torch.cat([a, b, b, a]).cpu().numpy()
    # conversion adds entries of one index and stores zeros
    return sparse.coo_array((value, (row, column)), shape=(len(points), len(points))).tocsc()


def laplacian_modes(points: Float64[Tensor, "n 3"], faces: Int64[Tensor, "f 3"], count: int = 128) -> Modes:
    """Return the lowest `count` eigenfunctions of the Laplacian on each component, by shift-invert Lanczos.

    A vertex's area is a third of the faces around it. By Weyl's law the K-th eigenvalue on an area A is about
    4πK/A, so 128 modes reach 1600/A. Equal calls give equal results, but the sign of a vector and the basis
    of an eigenspace have no meaning. Eigenspaces are complete: one that `count` would cut is left out.
    Components are solved separately, and the number of eigenvalues is compared with the inertia of the
    matrix, because Lanczos may miss copies of an eigenvalue.

    Raises GeometryError for shapes or dtypes that do not fit, and for a count below 1.

    >>> triangle = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    >>> laplacian_modes(triangle, torch.tensor([[0, 1, 2]])).values.round()
    tensor([[0., 3., 9.]], dtype=torch.float64)
    """
    from threadpoolctl import threadpool_limits

    if count < 1:
        raise GeometryError(f"at least one mode is needed, got count={count}")
    stiffness, n = cotangent_laplacian(points, faces), len(points)
    areas = sum_at(faces, corners(points, faces)[2] / 3, n)
    root = components(n, faces[:, [0, 1]].flatten(), faces[:, [1, 2]].flatten())
    component = root.unique(return_inverse=True)[1]
    order, sizes = component.argsort(stable=True), component.bincount().tolist()
    sorted_stiffness = stiffness[order.cpu().numpy()][:, order.cpu().numpy()]
    width = min(count, max(sizes))
    values = points.new_full((len(sizes), width), math.inf)
    vectors = points.new_zeros(n, width)
    start = 0
    with threadpool_limits(1, "blas"):  # sums in one order, whatever the number of threads
        for c, ids in enumerate(order.split(sizes)):
            inner = slice(start, start := start + len(ids))
            if areas[ids[0]] > 0:
                block = sorted_stiffness[:, inner][inner]
                eigenvalues, basis = _lowest(block, areas[ids].cpu().numpy(), count)
                values[c, : len(eigenvalues)] = torch.from_numpy(eigenvalues).to(points)
                vectors[ids, : len(eigenvalues)] = torch.from_numpy(basis).to(points)
    return Modes(values, vectors, component, areas)


def heat_kernel_signature(modes: Modes, times: Float[Tensor, " t"]) -> Float[Tensor, "n t"]:
    """Return the share of heat per area that is still at its vertex at the times (length²), in 1/length².

    It is Σ_k e^{−λ_k t} φ_k(x)² (Sun, Ovsjanikov and Guibas 2009, eq. 3). For times t ≫ 1/λ_K, K being the
    number of modes, the modes left out do not matter.

    >>> modes = Modes(torch.zeros(1, 1), torch.ones(2, 1), torch.tensor([0, 0]), torch.full((2,), 0.5))
    >>> heat_kernel_signature(modes, torch.tensor([1.0])).tolist()
    [[1.0], [1.0]]
    """
    left = torch.exp(-modes.values[:, None] * times[:, None])[modes.component]
    return torch.einsum("ntk,nk->nt", left, modes.vectors.square())


def diffuse(field: Float[Tensor, "n c"], modes: Modes, times: Float[Tensor, " t"]) -> Float[Tensor, "n t c"]:
    """Return scalar fields after heat flow has spread them for the times (length²).

    The mean over each component does not change, and is the limit for long times.

    >>> modes = Modes(torch.zeros(1, 1), torch.ones(2, 1), torch.tensor([0, 0]), torch.full((2,), 0.5))
    >>> diffuse(torch.tensor([[0.0], [2.0]]), modes, torch.tensor([1.0])).flatten().tolist()
    [1.0, 1.0]
    """
    product = (modes.vectors * modes.areas[:, None])[..., None] * field[:, None]
    share = sum_at(modes.component, product, len(modes.values))
    left = [share * torch.exp(-modes.values * t)[..., None] for t in times]
    return torch.stack([torch.einsum("nk,nkc->nc", modes.vectors, s[modes.component]) for s in left], 1)


def _lowest(stiffness, areas, count: int):
    """Return eigenvalues [K] and vectors [n, K], orthonormal under areas [n], of one component, in NumPy."""
    from scipy.linalg import eigh
    from scipy.sparse import diags_array

    scale, n = areas**-0.5, len(areas)
    symmetric = diags_array(scale) @ stiffness @ diags_array(scale)
    if n <= 4 * count:  # Lanczos would take longer
        values, vectors = eigh(symmetric.toarray(), subset_by_index=(0, min(count, n - 1)))
    else:
        values, vectors = _by_lanczos(symmetric, 1 / areas.sum(), count + 1)
    if n > count:  # the last may be one of several equal ones, up to rounding; different ones differ by more
        whole = values < values[-1] * (1 - 1e-9)
        values, vectors = values[whole], vectors[:, whole]
    return values.clip(min=0), scale[:, None] * vectors


def _by_lanczos(symmetric, shift: float, count: int):
    """Return the lowest `count` eigenvalues and orthonormal vectors of a semi-definite matrix, in NumPy."""
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, eigsh

    n, random = symmetric.shape[0], np.random.default_rng(0)
    # a shift below 0 makes the matrix definite, so it is factorised without pivots
    solve = _factors(symmetric, -shift).solve
    values, vectors, wanted = np.zeros(0), np.zeros((n, 0)), count
    while True:

        def inverse(x, values=values, vectors=vectors):
            return solve(x) - vectors @ ((vectors.T @ x) / (values + shift))

        # the first vector must be orthogonal to no eigenspace; 1.6 vectors per mode took the least time
        first, size = random.standard_normal(n), wanted + max(20, 6 * wanted // 10)
        operator = LinearOperator((n, n), matvec=inverse, dtype=symmetric.dtype)  # type: ignore
        found = eigsh(symmetric, wanted, sigma=-shift, OPinv=operator, ncv=size, v0=first)
        values, vectors = (np.concatenate(x, -1) for x in zip((values, vectors), found, strict=True))
        order = values.argsort()[:count]
        values, vectors = values[order], vectors[:, order]
        # Lanczos may miss copies of an eigenvalue: what is missing is sought orthogonally to what was found
        gap = np.flatnonzero(np.diff(values) > 1e-6 * values[-1])[-1]
        missing = _number_below(symmetric, float(values[gap : gap + 2].mean())) - int(gap + 1)
        if missing <= 0:
            return values, vectors
        wanted = min(missing + 2, count)


def _number_below(symmetric, value: float) -> int:
    """Return how many eigenvalues lie below a value: the negative pivots (Sylvester's law of inertia)."""
    return int((_factors(symmetric, value).U.diagonal() < 0).sum())


def _factors(symmetric, shift: float):
    """Factorise the matrix minus the shift, in a symmetric order and without pivots."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import splu

    shifted = (symmetric - shift * eye_array(symmetric.shape[0])).tocsc()
    symmetric_order = {"SymmetricMode": True}
    return splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric_order)


def corners(
    points: Float64[Tensor, "n 3"], faces: Int64[Tensor, "f 3"]
) -> tuple[Float64[Tensor, "f 3"], Float64[Tensor, "f 3"], Float64[Tensor, "f 3"]]:
    """Return the angle and cotangent of each corner, and the area of its face."""
    corner = points[faces]
    a, b = corner.roll(-1, 1) - corner, corner.roll(1, 1) - corner
    across, along = torch.linalg.cross(a, b, dim=-1).norm(dim=-1), (a * b).sum(-1)
    return torch.atan2(across, along), along / across, across / 2


def sum_at(index: Tensor, values: Tensor, n: int) -> Tensor:
    """Sum values [*index.shape, ...] with the same index: [n, ...]."""
    rest = values.shape[index.ndim :]
    return values.new_zeros(n, *rest).index_add_(0, index.flatten(), values.reshape(-1, *rest))


def check_mesh_arrays(points: Tensor, faces: Tensor, frames: Tensor | None = None) -> None:
    """Raise GeometryError for arrays of other shapes or dtypes than those of a mesh."""
    n = len(points)
    for name, t, dtype in (("points", points, torch.float64), ("faces", faces, torch.int64)):
        if t.shape != (len(t), 3) or t.dtype != dtype:
            raise GeometryError(f"{name} of a mesh are [n, 3] {dtype}, got {list(t.shape)} {t.dtype}")
    if frames is not None and (frames.shape != (n, 2, 3) or frames.dtype != torch.float64):
        raise GeometryError(
            f"frames of {n} points are [{n}, 2, 3] torch.float64, got {list(frames.shape)} {frames.dtype}"
        )
