"""Mesh: exp, log, transport and stencils of vertices; boundaries, components, vertices without faces, levels.

The laws of every Surface are tested in tests/test_laws.py, tracing and unfolding in test_trace.py and
test_unfold.py.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from geocnn.data.meshes import mesh_file
from geocnn.errors import GeometryError
from geocnn.geometry import Surface, healpix
from geocnn.geometry.core import sampling
from geocnn.geometry.io import load_triangles
from geocnn.geometry.meshes.build import load, mesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.geometry.spheres.surfaces import great_circle_transport
from tests.shapes import Shape, beside, jittered_sphere, ring, sheet, tetrahedron


def components(vectors: Tensor) -> Tensor:
    return torch.view_as_complex(vectors.contiguous())


def with_lone_vertex(shape: Shape) -> Shape:
    vertices, faces = shape
    return torch.cat([vertices, torch.full((1, 3), 0.1, dtype=torch.float64)]), faces


def lifted(shape: Shape, z: float) -> Shape:
    return shape[0] + torch.tensor([0.0, 0.0, z], dtype=torch.float64), shape[1]


def test_a_file_comes_back_vertex_for_vertex():
    vertices, faces = load_triangles(mesh_file("hand"))
    s = load(mesh_file("hand"))
    assert torch.equal(s.points, vertices) and torch.equal(s.faces, faces)
    assert torch.equal(s.vertex, torch.arange(len(vertices)))


def test_what_is_no_surface_is_refused_with_its_faces():
    v, f = tetrahedron()
    with pytest.raises(GeometryError, match="2, 4"):
        mesh(v, torch.cat([f, torch.tensor([[0, 1, 3]])]))


def test_geometry_is_not_differentiated():
    v, f = tetrahedron()
    s = mesh(v.requires_grad_(), f)
    e = s.exp(torch.tensor([0]), torch.tensor([[1.0, 0.0]]))
    assert not any(t.requires_grad for t in (s.points, s.areas, e.points, e.angle))


def test_exp_tells_face_and_barycentric_coordinates():
    s = mesh(*jittered_sphere(200))
    base = torch.arange(200).repeat_interleave(8)
    vectors = 0.3 * torch.randn(1600, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    e = s.exp(base, vectors)
    assert e.face is not None and e.barycentric is not None
    torch.testing.assert_close((e.barycentric[..., None] * s.points[s.faces[e.face]]).sum(1), e.points)
    torch.testing.assert_close(e.barycentric, e.weight, rtol=0, atol=0)
    torch.testing.assert_close(e.source, s.faces[e.face], rtol=0, atol=0)


# -------------------------------------------------------------------------------------------------- transport


def transport_error(n: int) -> tuple[float, float]:
    """Return the root mean square errors of log vectors (relative) and of transport (radians), within 0.6 on
    a sphere mesh, against the closed forms in the mesh's frames.
    """
    s = mesh(*jittered_sphere(n, 0.2))
    p = torch.arange(0, n, max(1, n // 60))
    st = s.stencil(0.6, kind="log", targets=p)
    target, q = p[st.target], st.source
    far = target != q
    target, q, r, theta, angle = (x[far] for x in (target, q, st.r, st.theta, st.angle))
    # mesh frames laid onto the sphere's own tangent planes
    frames = s.frames - (s.frames * s.points[:, None]).sum(-1, keepdim=True) * s.points[:, None]
    frames = frames / frames.norm(dim=-1, keepdim=True)
    x, y = s.points[target], s.points[q]
    ahead = y - (x * y).sum(1, keepdim=True) * x
    arc = torch.atan2(ahead.norm(dim=1), (x * y).sum(1))
    exact = arc * components((frames[target] * ahead[:, None]).sum(-1) / ahead.norm(dim=1, keepdim=True))
    carried = great_circle_transport(y, x, frames[q, 0])
    turn = components((frames[target] * carried[:, None]).sum(-1))
    log = (torch.polar(r, theta) - exact).abs() / arc
    turned = torch.angle(torch.polar(torch.ones_like(angle), angle) * turn.conj())
    return float(log.square().mean().sqrt()), float(turned.square().mean().sqrt())


def test_logs_and_transport_on_sphere_meshes_converge_to_the_spheres():
    """Curvature sits in vertices, and on an irregular mesh chance decides how many of them lie on either side
    of a geodesic. So the error is proportional to the spacing (order 1).
    """
    (log, turn), (finer_log, finer_turn) = transport_error(500), transport_error(4500)
    assert math.log(log / finer_log, 3) > 0.9, (log, finer_log)
    assert math.log(turn / finer_turn, 3) > 0.9, (turn, finer_turn)


# ----------------------------------------------------------------------------------------------- boundaries


def test_at_the_rim_exp_stops_and_says_after_what_length():
    s = mesh(*sheet(6, 4))
    # the axis of the vertex (3, 0) is (1, 0): up and to the right at 45°, straight out, along the rim
    vectors = torch.tensor([[2.0, 2.0], [0.0, 9.0], [0.0, -1.0], [0.5, 0.0]], dtype=torch.float64)
    e = s.exp(torch.full((4,), 3), vectors)
    assert e.inside.tolist() == [True, False, False, True]
    torch.testing.assert_close(e.travelled, torch.tensor([8**0.5, 4, 0, 0.5], dtype=torch.float64))
    expected = torch.tensor([[5.0, 2, 0], [3, 4, 0], [3, 0, 0], [3.5, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(e.points, expected, rtol=0, atol=1e-12)
    assert e.weight.isfinite().all() and e.angle.isfinite().all()
    torch.testing.assert_close(e.weight.sum(1), torch.ones(4, dtype=torch.float64))


def test_samples_beyond_the_rim_weigh_nothing():
    s = mesh(*sheet(6, 4))
    st = s.stencil(1.0, samples=(1, 8), targets=torch.tensor([3, 3 + 7 * 2]))
    rim, middle = (float(st.weight[st.target == k].sum()) for k in (0, 1))
    assert middle == pytest.approx(1, abs=1e-12)
    # of 8 directions 0° to 180° are inside
    assert rim == pytest.approx(5 / 8, abs=1e-12)
    assert s.stencil(1.0, samples=(1, 8), targets=torch.tensor([3]), boundary="normalise").weight.sum() == (
        pytest.approx(1, abs=1e-12)
    )


# ------------------------------------------------------------------- components and vertices without faces


def test_nothing_is_reached_across_components():
    s = mesh(*beside(jittered_sphere(100), jittered_sphere(100, seed=1)))
    log = s.log(torch.tensor([0, 0, 150]), torch.tensor([50, 150, 150]))
    assert log.reached.tolist() == [True, False, True]
    assert log.vectors[1].tolist() == [0, 0] and log.angle[1] == 0
    for kind in ("exp", "log"):
        st = s.stencil(0.8, kind=kind)
        assert torch.equal(st.target >= 100, st.source >= 100)
    first = mesh(*jittered_sphere(100)).stencil(0.8, kind="log")
    here = s.stencil(0.8, kind="log", targets=torch.arange(100))
    torch.testing.assert_close(here.weight, first.weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(here.angle, first.angle, rtol=0, atol=1e-12)


def test_a_vertex_without_faces_has_an_empty_row_and_is_nobodys_source():
    s = mesh(*with_lone_vertex(jittered_sphere(100)))
    assert s.n_points == 101 and s.areas[100] == 0
    log = s.stencil(0.8, kind="log")
    assert log.row_ptr.diff()[100] == 0 and (log.source != 100).all()
    exp = s.stencil(0.8)
    assert (exp.weight[exp.target == 100] == 0).all() and (exp.source[exp.target != 100] != 100).all()
    for st in (log, exp, s.stencil(0.8, boundary="normalise")):
        assert all(x.isfinite().all() for x in (st.weight, st.r, st.theta, st.angle))
    e = s.exp(torch.tensor([100, 100]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert e.inside.tolist() == [True, False]
    torch.testing.assert_close(e.points, s.points[[100, 100]], rtol=0, atol=0)
    there = s.log(torch.tensor([100, 0]), torch.tensor([0, 100]))
    assert not there.reached.any()


def test_a_field_is_read_back_at_every_vertex_the_one_without_faces_included():
    s = mesh(*with_lone_vertex(jittered_sphere(100)))
    read = s.interpolation(s)
    own = read.weight[(read.source == read.target) & (read.weight > 0)]
    torch.testing.assert_close(own, torch.ones(101, dtype=torch.float64), rtol=0, atol=1e-12)


# ----------------------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize(
    "shape",
    [
        jittered_sphere(400),
        with_lone_vertex(beside(jittered_sphere(200), lifted(sheet(9, 9, 0.3), 5.0))),
        load_triangles(mesh_file("hand")),
    ],
    ids=["sphere", "components", "hand"],
)
def test_levels_are_vertices_that_share_out_the_area(shape):
    s: Surface = mesh(*shape)
    levels = [s]
    for _ in range(2):
        levels.append(levels[-1].coarser())
    for fine, coarse in pairwise(levels):
        assert isinstance(coarse, Mesh) and isinstance(fine, Mesh)
        assert coarse.n_points == fine.n_points // 4
        assert torch.isin(coarse.vertex, fine.vertex).all()
        assert float(coarse.areas.sum()) == pytest.approx(float(s.areas.sum()), rel=1e-12)
        assert (coarse.areas > 0).all()
        torch.testing.assert_close(coarse.points, s.points[coarse.vertex], rtol=0, atol=0)
        # farthest points: no point is much nearer to another than the others are
        far = torch.cdist(coarse.points, coarse.points) + 1e9 * torch.eye(coarse.n_points)
        assert far.min() > 0.3 * coarse.spacing


def test_a_constant_is_read_as_itself_on_every_level():
    s = mesh(*jittered_sphere(400))
    for _ in range(2):
        coarse = s.coarser()
        read = coarse.interpolation(s)
        total = torch.zeros(s.n_points, dtype=torch.float64).index_add_(0, read.target, read.weight)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)
        s = coarse


def test_stencils_lead_between_levels_of_one_mesh_only():
    s, other = mesh(*jittered_sphere(100)), mesh(*jittered_sphere(100, seed=1))
    again = mesh(s.points, s.faces)
    assert s.is_same_as(s.coarser()) and s.is_same_as(again)
    assert not s.is_same_as(other) and not s.is_same_as(healpix(2))
    with pytest.raises(GeometryError, match="this very surface"):
        s.stencil(0.5, targets=other)


def test_too_few_points_cannot_be_thinned():
    with pytest.raises(GeometryError, match="3 points"):
        mesh(torch.eye(3), [[0, 1, 2]]).coarser()


def test_the_jacobian_of_a_sphere_mesh_is_sin_r_over_r():
    """Weights of a log stencil times J are areas; r is divided out where circles have shrunk by 5 %."""
    s = mesh(*jittered_sphere(2500, 0.2))
    st = s.stencil(0.6, kind="log", targets=torch.arange(0, 2500, 50))
    jacobian = s.areas[st.source] / (st.weight * math.pi * 0.36)
    exact = torch.sinc(st.r / math.pi)
    ring = st.r > 0.5
    assert (jacobian - exact)[ring].abs().mean() < 0.005
    assert (1 - exact)[ring].mean() > 0.04


def test_frames_mirrored_on_one_level_alone_are_read_across_levels():
    """Then the flips belong to the targets: one per row, not one per entry."""
    fine = mesh(*jittered_sphere(200))
    flip = torch.arange(200) % 3 == 0
    read = fine.coarser().interpolation(fine.turn_frames(torch.zeros(200), flip))
    assert read.flip is not None and read.flip.shape == read.source.shape
    assert torch.equal(read.flip, flip[read.target])


@pytest.mark.parametrize("first", [0, 1, 40])
def test_where_log_says_met_exp_leads_to_the_vertex_whichever_face_is_first(first):
    """The mesh is a hill; many straight geodesics would cross its rim."""
    vertices, faces = sheet(8, 8)
    vertices[:, 2] = 2 * torch.exp(-((vertices[:, :2] - 4) ** 2).sum(1) / 4)
    s = mesh(vertices, faces.roll(-first, 0))
    p, q = torch.arange(81).repeat_interleave(81), torch.arange(81).repeat(81)
    log = s.log(p, q)
    assert log.met is not None and 0.7 < log.met.double().mean() < 1
    missed = (s.exp(p, log.vectors).points - vertices[q]).norm(dim=1)
    # correction ends at 1e-9 of the way, at most 14 here
    assert missed[log.met].max() < 2e-8


def test_every_component_keeps_a_point_and_vertices_without_faces_do_not_count():
    crumbs = [(v + 10.0 * k, f) for k, (v, f) in enumerate([tetrahedron()] * 9, 1)]
    s = mesh(*beside(jittered_sphere(20), *crumbs))
    coarse = s.coarser().coarser()
    assert coarse.n_points == 10 and float(coarse.areas.sum()) == pytest.approx(float(s.areas.sum()))
    vertices, faces = jittered_sphere(100)
    alone, among = mesh(vertices, faces), mesh(torch.cat([vertices, torch.zeros(300, 3)]), faces)
    assert among.spacing == pytest.approx(alone.spacing)
    assert among.coarser().n_points == alone.coarser().n_points == 25


def test_logs_need_one_target_a_base_and_may_be_none_at_all():
    s, none = mesh(*tetrahedron()), torch.empty(0, dtype=torch.int64)
    assert s.log(none, none).vectors.shape == (0, 2)
    with pytest.raises(GeometryError, match="2 bases and 1 target"):
        s.log(torch.tensor([0, 1]), torch.tensor([2]))


def test_what_reads_a_coarser_level_names_no_point_without_weight():
    """It names no point of another component either."""
    v, f = beside(jittered_sphere(300), ring(20, 12, 0.1))
    s = mesh(v, f)
    coarse = s.coarser()
    for st in (
        coarse.interpolation(s),
        coarse.stencil(3 * s.spacing),
        coarse.stencil(3 * s.spacing, targets=s),
    ):
        second = coarse.vertex[st.source] >= 300
        at = (s if st.n_target == s.n_points else coarse).vertex[st.target] >= 300
        assert (st.weight != 0).all() and torch.equal(second, at)
        assert (st.row_ptr.diff() > 0).all()


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("coarse", [False, True])
def test_a_stencil_made_in_blocks_is_the_one_made_at_once(kind, coarse, monkeypatch):
    s = mesh(*jittered_sphere(200))
    s = s.coarser() if coarse else s
    whole = s.stencil(3 * s.spacing, kind=kind)
    monkeypatch.setattr(sampling, "DISCS", 7)
    monkeypatch.setattr(sampling, "MOST_SOURCES", 5000)
    blocks = s.stencil(3 * s.spacing, kind=kind)
    assert blocks.tensors().keys() == whole.tensors().keys() and blocks.metadata() == whole.metadata()
    for name, column in whole.tensors().items():
        # vectorised functions round the last elements of a block differently
        exact = not column.is_floating_point()
        torch.testing.assert_close(blocks.tensors()[name], column, rtol=0, atol=0 if exact else 1e-12)
