"""The connection Laplacian is symmetric and covariant, with the eigenvalues of the smooth one; heat
transports vectors.
"""

from __future__ import annotations

import math
import sys

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import connection_laplacian, extend_vectors, mesh
from geocnn.geometry.meshes.laplacian import edge_weights
from geocnn.geometry.meshes.modes import cotangent_laplacian
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.geometry.spheres.surfaces import great_circle_transport as along_arc
from geocnn.groups.field_type import FieldType
from tests.laws import act, in_frames, random_gauge, turned
from tests.shapes import beside, jittered_sphere, ring, sheet, twisted


def random_field(n: int, seed: int = 0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SHAPES = {
    "sphere": jittered_sphere(120),
    "ring": ring(14, 9, 0.1),
    "sheet": sheet(5, 4),
    "band": twisted(16, 4, 0.2),
}


@pytest.mark.parametrize("frequency", [0, 1, 2])
@pytest.mark.parametrize("name", SHAPES)
def test_it_is_symmetric_and_keeps_every_edge(name, frequency):
    s = mesh(*SHAPES[name])
    s = s.turn_frames(*random_gauge(s.n_points, True))
    l = connection_laplacian(s, frequency)
    d = min(frequency, 1) + 1
    dense = l.matrix.to_dense()
    torch.testing.assert_close(dense, dense.T, rtol=0, atol=1e-13)
    edges = len(s.connection().tail)
    assert l.matrix.values().numel() == d * d * (2 * edges + s.n_points)
    torch.testing.assert_close(l.mass, s.areas.repeat_interleave(d))
    assert torch.linalg.eigvalsh(dense).min() > -1e-12 or bool((edge_weights(s) < 0).any())


def test_in_scipy_it_is_the_same_matrix_zeros_and_all():
    s = mesh(*sheet(5, 4))
    # on a grid of squares the diagonals' cotangents vanish
    assert int((edge_weights(s).abs() < 1e-12).sum()) == 20
    l = connection_laplacian(s)
    matrix, mass = l.to_scipy()
    assert matrix.nnz == l.matrix.values().numel()
    assert abs(matrix.toarray() - l.matrix.to_dense().numpy()).max() == 0
    assert (mass == l.mass.numpy()).all()


def test_frequency_0_is_the_cotangent_laplacian():
    for name in SHAPES:
        s = mesh(*SHAPES[name])
        expected = torch.from_numpy(cotangent_laplacian(s.points, s.faces).toarray())
        torch.testing.assert_close(connection_laplacian(s, 0).matrix.to_dense(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("frequency", [1, 2, 3])
def test_energy_is_the_sum_over_edges_written_out(frequency):
    s = mesh(*SHAPES["sphere"]).turn_frames(*random_gauge(120, True, seed=1))
    x, c = random_field(120), s.connection()
    field = FieldType(f"O2: 1x{frequency}")
    off = x[c.tail] - field.act(x[c.head], c.angle, c.flip)
    expected = (edge_weights(s) * off.square().sum(1)).sum()
    found = x.flatten() @ (connection_laplacian(s, frequency).matrix @ x.flatten())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("frequency", [1, 2])
@pytest.mark.parametrize("flips", [False, True])
def test_it_is_gauge_covariant(frequency, flips):
    s = mesh(*SHAPES["ring"])
    alpha, flip = random_gauge(s.n_points, flips)
    x = random_field(s.n_points)
    z = torch.view_as_complex(x)
    change = lambda z: turned(z, frequency * alpha, flip)  # noqa: E731
    act_on = lambda s, z: torch.view_as_complex(  # noqa: E731
        (connection_laplacian(s, frequency).matrix @ torch.view_as_real(z.resolve_conj()).flatten()).view(
            -1, 2
        )
    )
    torch.testing.assert_close(
        act_on(s.turn_frames(alpha, flip), change(z)), change(act_on(s, z)), rtol=0, atol=1e-11
    )


def eigenvalues(s, frequency: int, count: int):
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    matrix, mass = connection_laplacian(s, frequency).to_scipy()
    found, _ = eigsh(matrix.tocsc(), count, diags_array(mass), sigma=-0.1)
    return sorted(found)


@pytest.mark.parametrize("frequency", [1, 2])
def test_on_the_sphere_its_lowest_eigenvalue_is_the_frequency(frequency):
    """Eigenvalues are ℓ(ℓ + 1) − n² for ℓ ≥ n. The lowest is n, for 2(2n + 1) real fields; the next is
    greater by 2 (n + 1).
    """
    errors = []
    for level in (3, 4):
        solid = Icosahedron(level)
        found = eigenvalues(mesh(solid.points, solid.faces[-1]), frequency, 4 * frequency + 4)
        lowest = found[: 4 * frequency + 2]
        errors.append(max(abs(x - frequency) for x in lowest))
        assert found[4 * frequency + 2] > 2 * frequency
    # second order, the rate at which the triangles approach the sphere
    assert errors[1] < 0.3 * errors[0] < 0.3 * 0.05


def test_in_the_plane_constant_fields_have_no_energy():
    s = mesh(*sheet(6, 5, 0.3))
    s = s.turn_frames(*random_gauge(s.n_points, True))
    inner = ~s.triangulation.boundary
    x = in_frames(s, torch.tensor([0.6, 0.8, 0.0]).double().expand_as(s.points))
    of = connection_laplacian(s).matrix @ torch.view_as_real(x).flatten()
    # a constant field on the boundary too: corners are not rescaled there
    assert of.view(-1, 2).abs().max() < 1e-12
    assert inner.any()


def test_levels_and_negative_frequencies_are_refused():
    s = mesh(*SHAPES["sphere"])
    with pytest.raises(GeometryError, match="finest level"):
        connection_laplacian(s.coarser())
    with pytest.raises(GeometryError, match="0 or more, got -1"):
        connection_laplacian(s, -1)


# ------------------------------------------------------------------------------------------------------- heat


def gauges(n: int):
    return [None, random_gauge(n, False, seed=2), random_gauge(n, True, seed=3)]


@pytest.mark.parametrize("kind", range(3))
def test_on_the_sphere_heat_carries_a_vector_along_great_circles(kind):
    points, faces = jittered_sphere(1500, 0.1)
    s = mesh(points, faces)
    gauge = gauges(s.n_points)[kind]
    s = s if gauge is None else s.turn_frames(*gauge)
    base, v = torch.tensor([17]), torch.tensor([[1.2, -0.5]], dtype=torch.float64)
    field = torch.view_as_complex(extend_vectors(s, base, v))
    start = (v[..., None] * s.frames[base]).sum(1)
    expected = in_frames(s, along_arc(points[base], points, start))
    near = points @ points[17] > 0
    off = torch.angle(field * expected.conj())[near].abs()
    # frames of the polyhedron and of the sphere differ by some hundredths, the tilt of an irregular vertex
    assert off.median() < 0.02
    assert off.max() < 0.1
    torch.testing.assert_close(field.abs(), torch.full_like(field.abs(), 1.3), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", range(3))
def test_over_short_ways_it_is_our_transport(kind):
    s = mesh(*jittered_sphere(1500, 0.1))
    gauge = gauges(s.n_points)[kind]
    s = s if gauge is None else s.turn_frames(*gauge)
    base = 400
    near = ((s.points - s.points[base]).norm(dim=1) < 3 * s.spacing).nonzero()[:, 0]
    field = torch.view_as_complex(extend_vectors(s, torch.tensor([base]), torch.tensor([[1.0, 2.0]])))[near]
    l = s.log(near, torch.full_like(near, base))
    ours = act(l.angle, l.flip, torch.full((len(near),), 1 + 2j, dtype=torch.complex128))
    # heat smoothes the curvature that passes between vertices: an angle defect is 4π/1500 = 0.008
    assert torch.angle(field * ours.conj()).abs().max() < 0.03


def test_in_the_plane_it_is_constant_up_to_the_corners():
    s = mesh(*sheet(12, 9, 0.2)).turn_frames(*random_gauge(130, True))
    vector = torch.tensor([0.6, 0.8, 0.0]).double()
    base = torch.tensor([58])
    given = torch.view_as_real(in_frames(s, vector.expand_as(s.points)).resolve_conj())
    field = extend_vectors(s, base, given[base])
    # at the rim potpourri3d rescales the corners to π, which changes results up to two edges away
    inside = (s.points[:, :2] > 2.5).all(1) & (s.points[:, :2] < torch.tensor([9.5, 6.5])).all(1)
    assert (field - given)[inside].norm(dim=1).max() < 0.02


def test_each_component_is_reached_from_its_own_base_only():
    s = mesh(*beside(jittered_sphere(100), jittered_sphere(80)))
    field = extend_vectors(s, torch.tensor([3]), torch.tensor([[2.0, 0.0]]))
    assert (field[100:] == 0).all()
    torch.testing.assert_close(field[:100].norm(dim=1), torch.full((100,), 2.0).double())
    both = extend_vectors(s, torch.tensor([3, 140]), torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    torch.testing.assert_close(both[100:].norm(dim=1), torch.full((80,), 3.0).double())


def test_a_level_is_read_where_its_points_are():
    s = mesh(*jittered_sphere(300, 0.2))
    level = s.coarser()
    fine = extend_vectors(s, level.vertex[5:6], torch.tensor([[1.0, 1.0]]))
    coarse = extend_vectors(level, torch.tensor([5]), torch.tensor([[1.0, 1.0]]))
    torch.testing.assert_close(coarse, fine[level.vertex], rtol=0, atol=1e-12)


def test_what_cannot_be_spread_is_named(monkeypatch):
    v, f = jittered_sphere(30)
    s = mesh(torch.cat([v, torch.zeros(1, 3).double()]), f)
    one = torch.tensor([[1.0, 0.0]])
    for base, vectors, message in (
        ([31], one, r"outside 0..30"),
        ([30], one, r"points \[30\] have no faces"),
        ([1, 1], one.repeat(2, 1), r"points \[1\] are given twice"),
        ([4], 0 * one, r"points \[4\] are zero or not finite"),
        ([4], math.nan * one, r"points \[4\] are zero or not finite"),
        ([4, 5], one, r"\[1, 2\] for 2 points"),
        ([], torch.zeros(0, 2), "at least one"),
    ):
        with pytest.raises(GeometryError, match=message):
            extend_vectors(s, torch.tensor(base, dtype=torch.int64), vectors)
    monkeypatch.setitem(sys.modules, "potpourri3d", None)
    with pytest.raises(GeometryError, match="needs potpourri3d: pip install"):
        extend_vectors(s, torch.tensor([0]), one)
