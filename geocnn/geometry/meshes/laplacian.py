"""The connection Laplacian of a mesh, and the extension of vectors to the whole mesh by its heat flow."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.extras import extra
from geocnn.geometry.core.half_edges import preceding
from geocnn.geometry.meshes.build import check_mesh
from geocnn.geometry.meshes.heat import drawn_axes, heat_solver, parts
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.groups.planar import Element, act, compose, inverse
from geocnn.lasting import one_thread


class ConnectionLaplacian(NamedTuple):
    """The stiffness matrix and the mass of fields x [N, d]: the matrix acts as matrix @ x.flatten(), and −Δ
    is the matrix divided by the mass.

    matrix [N·d, N·d]: torch sparse COO, coalesced, real and symmetric. mass [N·d]: areas of the vertices.
    """

    matrix: Tensor
    mass: Tensor

    def to_scipy(self):
        """Return (matrix, mass) as a SciPy csr_array, which stores entries of 0 too, and a NumPy array."""
        sparse = extra("scipy.sparse", "a SciPy matrix")
        value, index = self.matrix.values().cpu().numpy(), self.matrix.indices().cpu().numpy()
        return sparse.coo_array(
            (value, tuple(index)), shape=self.matrix.shape
        ).tocsr(), self.mass.cpu().numpy()


@one_thread()
def connection_laplacian(mesh: Mesh | OneSidedMesh, frequency: int = 1) -> ConnectionLaplacian:
    """Return the matrix of the Dirichlet energy ½ ∫ |∇x|² of frequency-n fields in the mesh's present frames.

    The energy is ½ Σ w_ij |x_i − ρ_n(g_ij) x_j|², summed over edges (Knöppel et al. 2013): w_ij is half the
    sum of the cotangents opposite the edge, g_ij the transporter j → i along it. Fields have d = 2 real
    components per point; for frequency 0 they have one, and this is the cotangent Laplacian. Every edge has
    entries, even if its cotangents cancel. The matrix is positive semi-definite if no weight is negative, as
    on Delaunay meshes.

    Raises GeometryError for a coarser level, whose points are not joined by edges, and for a frequency that
    is negative or no whole number.

    >>> from geocnn.geometry import mesh
    >>> square = mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> l = connection_laplacian(square); tuple(l.matrix.shape), l.matrix.values().numel()  # 5 edges
    ((8, 8), 56)
    """
    check_mesh(mesh, "connection Laplacians")
    if mesh.n_points < mesh.n_vertices:
        raise GeometryError("the points of a coarser level are not joined by edges; give the finest level")
    if not isinstance(frequency, int) or frequency < 0:
        raise GeometryError(f"frequency must be a whole number, 0 or more, got {frequency}")
    n = mesh.n_points
    i, j, angle, flip = mesh.connection()
    w = edge_weights(mesh)
    d = 1 if frequency == 0 else 2
    block = torch.eye(d, dtype=w.dtype, device=w.device).expand(len(w), d, d)
    if d == 2:
        c, s = torch.cos(frequency * angle), torch.sin(frequency * angle)
        sign = torch.ones_like(c) if flip is None else torch.where(flip, -1.0, 1.0).to(c)
        block = torch.stack([c, -s * sign, s, c * sign], -1).view(-1, 2, 2)
    off = -w[:, None, None] * block
    own = torch.arange(n, device=i.device)
    degree = torch.zeros_like(mesh.areas).index_add_(0, i, w).index_add_(0, j, w)
    diagonal = degree[:, None, None] * torch.eye(d, dtype=w.dtype, device=w.device)
    value = torch.cat([off, off.mT, diagonal])
    row, column = torch.cat([i, j, own]), torch.cat([j, i, own])
    k = torch.arange(d, device=i.device)
    index = torch.stack(
        [
            (d * row[:, None, None] + k[:, None]).expand_as(value),
            (d * column[:, None, None] + k).expand_as(value),
        ]
    )
    matrix = torch.sparse_coo_tensor(
        index.reshape(2, -1), value.reshape(-1), (n * d, n * d), check_invariants=False
    )
    return ConnectionLaplacian(matrix.coalesce(), mesh.areas.repeat_interleave(d))


def edge_weights(mesh: Mesh | OneSidedMesh) -> Float64[Tensor, " e"]:
    """Return half the sum of the cotangents of the corners opposite each edge, in the order of
    `mesh.half_edges()`.
    """
    t = mesh.triangulation
    h = torch.arange(len(t.tail), device=t.faces.device)
    previous = preceding(h)
    corner = -t.side[previous] * t.side.conj()
    half = 0.5 * (corner.real / corner.imag)[previous]
    here, beyond = mesh.half_edges()
    return half[here] + torch.where(beyond < 0, torch.zeros_like(half[here]), half[beyond])


@one_thread()
def extend_vectors(
    mesh: Mesh, base: Int64[Tensor, " k"], vectors: Float[Tensor, "k 2"]
) -> Float64[Tensor, "n 2"]:
    """Extend vectors given at base points to a field on the whole mesh (the vector heat method, Sharp,
    Soliman & Crane 2019).

    The field at a point is the vector of the nearest base, transported along the shortest geodesic; it is
    smooth where the regions of two bases meet. Components are in the present frames, and 0 on mesh components
    without a base. potpourri3d solves the equations on the intrinsic Delaunay triangulation.

    Raises GeometryError if potpourri3d is not installed, for ids out of range or given twice, and for vectors
    of another shape, of length 0 or not finite.

    >>> from geocnn.geometry import mesh
    >>> square = mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> extend_vectors(square, torch.tensor([0]), torch.tensor([[3.0, 4.0]])).norm(dim=1).round(decimals=9)
    tensor([5., 5., 5., 5.], dtype=torch.float64)
    """
    if not isinstance(mesh, Mesh):
        raise GeometryError(f"the vector heat method takes a mesh of two sides, got a {type(mesh).__name__}")
    vectors = _check_vectors(mesh, base, vectors)
    t, vertex = mesh.triangulation, mesh.vertex[base]
    # a component without a base receives no heat and would be NaN
    part = parts(t)
    warm = t.faces[torch.isin(part[t.faces[:, 0]], part[vertex])]
    used, faces = warm.unique(return_inverse=True)
    bare = ~torch.isin(vertex, used)
    if bool(bare.any()):
        raise GeometryError(
            f"points {base[bare][:8].tolist()} have no faces, so nothing leads away from them; leave them out"
        )
    solver = heat_solver(t.vertices[used], faces)
    first = torch.as_tensor(solver.get_tangent_frames()[0]).to(t.vertices)
    to_axis = torch.zeros_like(t.scale)
    to_axis[used] = drawn_axes(t, used, first)
    # from potpourri3d's components to directions from our axis, and on to components in the present frames
    to_frames = compose((mesh.anchor, mesh.flipped), (to_axis[mesh.vertex], None))
    angle, flip = inverse(to_frames)
    sources = _acted((angle[base], None if flip is None else flip[base]), vectors)
    solution = solver.transport_tangent_vectors(torch.searchsorted(used, vertex).tolist(), sources.tolist())
    field = torch.zeros(len(t.vertices), 2, dtype=vectors.dtype, device=vectors.device)
    field[used] = torch.as_tensor(solution).to(field)
    return _acted(to_frames, field[mesh.vertex])


def _check_vectors(mesh: Mesh, base: Tensor, vectors: Tensor) -> Tensor:
    base, vectors = mesh._ids(base, "base"), vectors.to(mesh.points)
    if vectors.shape != (len(base), 2) or not len(base):
        raise GeometryError(
            f"one vector of 2 components per base point is required, and at least one; got "
            f"{list(vectors.shape)} for {len(base)} points"
        )
    ids, count = base.unique(return_counts=True)
    if bool((count > 1).any()):
        raise GeometryError(
            f"points {ids[count > 1][:8].tolist()} are given twice; add or average their vectors"
        )
    length = vectors.norm(dim=1)
    bad = base[~length.isfinite() | (length == 0)]
    if len(bad):
        raise GeometryError(
            f"the vectors at points {bad[:8].tolist()} are zero or not finite; leave them out"
        )
    return vectors


def _acted(g: Element, vectors: Float64[Tensor, "k 2"]) -> Float64[Tensor, "k 2"]:
    """Apply elements [K] to components."""
    return torch.view_as_real(act(g, torch.view_as_complex(vectors.contiguous())))
