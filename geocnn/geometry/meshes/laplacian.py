"""The connection Laplacian of a mesh, and vectors carried everywhere by its heat."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import preceding
from geocnn.geometry.meshes.build import check_mesh
from geocnn.geometry.meshes.heat import drawn_axes, heat_solver, parts
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.groups.planar import Element, act, compose, inverse


class ConnectionLaplacian(NamedTuple):
    """matrix [N·d, N·d]: torch sparse COO, coalesced, real and symmetric; mass [N·d]. It acts on a
    field x [N, d] as matrix @ x.flatten(); −Δ is the matrix over the mass.
    """

    matrix: Tensor
    mass: Tensor

    def to_scipy(self):
        """(matrix, mass) as a csr_array, entries that are 0 among them, and a NumPy array."""
        from scipy.sparse import coo_array

        value, index = self.matrix.values().cpu().numpy(), self.matrix.indices().cpu().numpy()
        return coo_array((value, tuple(index)), shape=self.matrix.shape).tocsr(), self.mass.cpu().numpy()


def connection_laplacian(mesh: Mesh | OneSidedMesh, frequency: int = 1) -> ConnectionLaplacian:
    """The matrix of the Dirichlet energy ½ ∫ |∇x|² of frequency-n fields in the mesh's present frames.

    ½ Σ w_ij |x_i − ρ_n(g_ij) x_j|² over edges, w the half sums of cotangents (Knöppel et al. 2013), g_ij the
    transporter j → i along the edge. d = 2 real components a point, one for frequency 0, where it is the
    cotangent Laplacian. Every edge has its entries, also where its cotangents add up to 0. Positive
    semi-definite where no weight is negative, as on Delaunay meshes. The mass is the vertex areas.

    Raises GeometryError for a coarser level, whose points are not joined by edges, and a negative frequency.

    >>> from geocnn.geometry import mesh
    >>> square = mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> l = connection_laplacian(square); tuple(l.matrix.shape), l.matrix.values().numel()  # 5 edges
    ((8, 8), 56)
    """
    check_mesh(mesh, "connection Laplacians")
    if mesh.n_points < mesh.n_vertices:
        raise GeometryError("a coarser level's points are not joined by edges; ask the finest level")
    if not isinstance(frequency, int) or frequency < 0:
        raise GeometryError(f"a frequency is a whole number, 0 or more, got {frequency}")
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


def edge_weights(mesh: Mesh | OneSidedMesh) -> Tensor:
    """Half the sum of the cotangents of the corners that face each edge [E] of `mesh.half_edges()`."""
    t = mesh.triangulation
    h = torch.arange(len(t.tail), device=t.faces.device)
    previous = preceding(h)
    corner = -t.side[previous] * t.side.conj()
    half = 0.5 * (corner.real / corner.imag)[previous]
    here, beyond = mesh.half_edges()
    return half[here] + torch.where(beyond < 0, torch.zeros_like(half[here]), half[beyond])


def extend_vectors(mesh: Mesh, base: Tensor, vectors: Tensor) -> Tensor:
    """The field [N, 2] that carries vectors [K, 2] at points base [K] over the whole mesh: at each point the
    nearest one's, transported along the shortest geodesic, smoothed where they meet (the vector heat method,
    Sharp, Soliman & Crane 2019). Components in the present frames; 0 on components without a base.

    potpourri3d solves it, on the intrinsic Delaunay triangulation. Raises GeometryError where it is not
    installed, for ids out of range or given twice, and vectors that do not fit or are not finite.

    >>> from geocnn.geometry import mesh
    >>> square = mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> extend_vectors(square, torch.tensor([0]), torch.tensor([[3.0, 4.0]])).norm(dim=1).round(decimals=9)
    tensor([5., 5., 5., 5.], dtype=torch.float64)
    """
    if not isinstance(mesh, Mesh):
        raise GeometryError(f"the vector heat method takes a mesh of two sides, got a {type(mesh).__name__}")
    vectors = _check_vectors(mesh, base, vectors)
    t, vertex = mesh.triangulation, mesh.vertex[base]
    # a component without a base has no heat and would be NaN
    part = parts(t)
    kept = t.faces[torch.isin(part[t.faces[:, 0]], part[vertex])]
    used, faces = kept.unique(return_inverse=True)
    bare = ~torch.isin(vertex, used)
    if bool(bare.any()):
        raise GeometryError(f"points {base[bare][:8].tolist()} have no faces: nothing leads away from them")
    solver = heat_solver(t.vertices[used], faces)
    first = torch.as_tensor(solver.get_tangent_frames()[0]).to(t.vertices)
    to_axis = torch.zeros_like(t.scale)
    to_axis[used] = drawn_axes(t, used, first)
    # their components → directions from our axis → components in the present frames
    out = compose((mesh.anchor, mesh.flipped), (to_axis[mesh.vertex], None))
    into, flip = inverse(out)
    given = _acted((into[base], None if flip is None else flip[base]), vectors)
    solved = solver.transport_tangent_vectors(torch.searchsorted(used, vertex).tolist(), given.tolist())
    field = torch.zeros(len(t.vertices), 2, dtype=vectors.dtype, device=vectors.device)
    field[used] = torch.as_tensor(solved).to(field)
    return _acted(out, field[mesh.vertex])


def _check_vectors(mesh: Mesh, base: Tensor, vectors: Tensor) -> Tensor:
    base, vectors = mesh._ids(base, "base"), vectors.to(mesh.points)
    if vectors.shape != (len(base), 2) or not len(base):
        raise GeometryError(
            f"one vector of 2 components a base point is needed, and at least one; got {list(vectors.shape)} "
            f"for {len(base)} points"
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


def _acted(g: Element, vectors: Tensor) -> Tensor:
    """Elements [K] applied to components [K, 2]."""
    return torch.view_as_real(act(g, torch.view_as_complex(vectors.contiguous())))
