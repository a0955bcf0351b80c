"""The projective plane and one-sided meshes: what their covers say, and how they flip."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry import Mesh, OneSidedMesh, healpix, mesh, projective_plane
from geocnn.geometry.cache import cached_hierarchy
from geocnn.geometry.meshes.descriptors import shape_features
from geocnn.geometry.meshes.double_cover import double_cover
from geocnn.groups import FieldType
from geocnn.nn import GaugeConv, SurfaceEncoder
from tests.laws import operator, random_gauge
from tests.nn.gauge import act, assert_gauge_equivariant
from tests.shapes import Shape, beside, figure_eight, jittered_sphere, twisted

# ------------------------------------------------------------------------------------------ projective plane


def test_straight_on_for_pi_leads_home_mirrored_across_the_way():
    s = projective_plane(8)
    p = torch.arange(s.n_points)
    direction = torch.rand(len(p), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 6
    v = torch.stack([direction.cos(), direction.sin()], 1) * math.pi
    e = s.exp(p, v)
    torch.testing.assert_close(e.points, s.points, rtol=0, atol=1e-12)
    rows, slot = (e.weight > 0.5).nonzero(as_tuple=True)
    assert torch.equal(e.source[rows, slot], p) and e.flip[rows, slot].all()
    # z ↦ e^{iφ} z̄ keeps the way's direction: φ = 2 · direction
    turned = torch.polar(torch.ones_like(direction), e.angle[rows, slot] - 2 * direction)
    torch.testing.assert_close(turned, torch.ones_like(turned), rtol=0, atol=1e-9)


def test_convolution_on_the_projective_plane_is_that_of_even_fields_on_the_sphere():
    below, above = projective_plane(4), healpix(4)
    layer = GaugeConv("O2: 1x0e", "O2: 1x0e + 1x1").double()
    x = torch.randn(below.n_points, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    even = x[below.point]
    for kind in ("exp", "log"):
        y, lifted = (layer(v, s.stencil(0.7, kind=kind)) for v, s in ((x, below), (even, above)))
        lifted = FieldType("O2: 1x0e + 1x1").act(lifted, *_to_chosen(below))
        # of the two points over one, the same is seen from either
        torch.testing.assert_close(y[below.point], lifted, rtol=0, atol=1e-12)


def _to_chosen(s) -> tuple[Tensor, Tensor]:
    """From the gauges of the cover's points to those below; where it flips an element is its own inverse."""
    return torch.where(s.other, s.turn, -s.turn), s.other


def test_the_log_takes_the_nearer_of_the_two():
    s = projective_plane(8)
    g = torch.Generator().manual_seed(0)
    p, q = torch.randint(s.n_points, (2, 500), generator=g)
    cosine = (s.points[p] * s.points[q]).sum(1)
    log = s.log(p, q)
    torch.testing.assert_close(log.vectors.norm(dim=1).cos(), cosine.abs(), rtol=0, atol=1e-12)
    far = cosine.abs() > 1e-9
    assert torch.equal(log.flip[far], cosine[far] < 0) and log.reached.all()


def test_projective_levels():
    h = projective_plane(8).hierarchy(levels=3)
    assert [st.n_target for st in h.stencils] == [384, 96, 24]
    with pytest.raises(GeometryError, match="coarsest"):
        projective_plane(1).coarser()
    with pytest.raises(GeometryError, match="very surface"):
        projective_plane(4).stencil(0.5, targets=healpix(4))
    with pytest.raises(GeometryError, match="power of two"):
        projective_plane(3)


def test_random_gauges_with_flips_change_nothing_on_the_projective_plane():
    s, field_type = projective_plane(4), FieldType("O2: 1x0e + 1x0o + 1x1")
    torch.manual_seed(0)
    layer = GaugeConv(field_type, field_type).double()
    gauge = random_gauge(s.n_points, True)
    x = torch.randn(s.n_points, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for kind in ("exp", "log"):
        before, after = (t.stencil(0.7, kind=kind) for t in (s, s.turn_frames(*gauge)))
        assert_gauge_equivariant(
            layer,
            x,
            field_type,
            field_type,
            lambda v, st=before: layer(v, st),
            lambda v, st=after: layer(v, st),
            gauge,
            gauge,
        )


# -------------------------------------------------------------------------------------------- double cover


def hemi_icosahedron() -> Shape:
    """The projective plane of six vertices and ten faces: the icosahedron, antipodes identified."""
    faces = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 5, 1]]
    faces += [[1, 2, 4], [2, 3, 5], [3, 4, 1], [4, 5, 2], [5, 1, 3]]
    t = torch.arange(6, dtype=torch.float64)
    return torch.stack([t, t**2, t**3], 1) / 6, torch.tensor(faces)


def euler_characteristic(faces: Tensor) -> int:
    edges = torch.stack([faces.flatten(), faces.roll(-1, 1).flatten()], 1).sort(1).values.unique(dim=0)
    return len(faces.unique()) - len(edges) + len(faces)


@pytest.mark.parametrize(
    ("shape", "characteristic"),
    [(twisted(7, 2), 0), (twisted(5, 1), 0), (figure_eight(8, 6), 0), (hemi_icosahedron(), 1)],
    ids=["band", "band of five", "Klein bottle", "projective plane"],
)
def test_the_cover_is_oriented_and_has_twice_of_everything(shape, characteristic):
    vertices, faces = shape
    assert euler_characteristic(faces) == characteristic
    cover, n = double_cover(faces, len(vertices)), len(vertices)
    assert euler_characteristic(cover) == 2 * characteristic
    assert torch.equal(cover[: len(faces)] % n, faces) and len(cover) == 2 * len(faces)
    # as a mesh it passes what oriented meshes do
    assert isinstance(mesh(torch.randn(2 * n, 3, dtype=torch.float64), cover), Mesh)
    # to turn all over swaps the two copies
    over = ((cover + n) % (2 * n)).roll(len(faces), 0)[:, [0, 2, 1]]
    assert torch.equal(over, cover)


def test_the_gauge_at_a_vertex_is_that_of_its_first_face():
    vertices, faces = twisted(9, 2)
    cover = double_cover(faces, len(vertices))[: len(faces)]
    first = torch.full((len(vertices),), 10**6).scatter_reduce_(
        0, faces.flatten(), torch.arange(faces.numel()), "amin"
    )
    assert (cover.flatten()[first] < len(vertices)).all() and (cover >= len(vertices)).any()


# ----------------------------------------------------------------------------------------- one-sided meshes


def test_vertices_keep_their_order_and_faces_theirs():
    vertices, faces = twisted(12, 4, 0.2)
    s = mesh(vertices, faces)
    assert isinstance(s, OneSidedMesh) and str(s.group) == "O2"
    assert torch.equal(s.points, vertices) and torch.equal(s.faces, faces)
    a, b, c = vertices[faces].unbind(1)
    area = 0.5 * torch.linalg.cross(b - a, c - a).norm(dim=1).sum()
    assert float(s.areas.sum()) == pytest.approx(float(area), rel=1e-12)
    assert repr(s.coarser()).startswith("OneSidedMesh(15 points of 60 vertices, 96 faces")


def once_around(n: int) -> tuple[int, float]:
    """Along the middle line of a band of n vertices: the number of flips, and the angle that a vector which
    set out along it has to it at the end.
    """
    s = mesh(*twisted(n, n // 6))
    middle = (n // 6 + 1) * torch.arange(n) + n // 12
    step = s.log(middle.roll(-1), middle)
    start = torch.view_as_complex(s.log(middle[:1], middle[1:2]).vectors)
    z = start
    for angle, flip in zip(step.angle[:, None], step.flip, strict=True):
        z = torch.polar(torch.ones_like(angle), angle) * (z.conj() if flip else z)
    return int(step.flip.sum()), float(torch.angle(z / start).abs())


def test_once_around_the_band_is_a_flip_across_its_middle_line():
    """There the line's geodesic curvature is ± cos(u/2), its integral 0. An edge is half an edge off it."""
    (flips, coarse), (_, fine) = once_around(24), once_around(48)
    assert flips % 2 == 1 and coarse < 0.3 and fine < 0.55 * coarse


def test_exp_reads_the_face_it_ends_in_as_given():
    vertices, faces = twisted(24, 5, 0.2)
    s = mesh(vertices, faces)
    g = torch.Generator().manual_seed(0)
    p = torch.randint(s.n_points, (500,), generator=g)
    e = s.exp(p, torch.randn(500, 2, generator=g, dtype=torch.float64) * 0.5)
    seen = (vertices[faces[e.face.clamp_min(0)]] * e.barycentric[..., None]).sum(1)
    inner = e.face >= 0
    assert inner.sum() > 400
    torch.testing.assert_close(seen[inner], e.points[inner], rtol=0, atol=1e-12)
    assert torch.equal(e.source[inner].sort(1).values, faces[e.face[inner]].sort(1).values)


@pytest.mark.parametrize("kind", ["exp", "log"])
def test_to_wind_faces_otherwise_changes_the_gauge_alone(kind):
    vertices, faces = figure_eight(20, 12, 0.15)
    turned = faces.clone()
    some = torch.rand(len(faces), generator=torch.Generator().manual_seed(0)) < 0.5
    turned[some] = turned[some].flip(1)
    layer = GaugeConv("O2: 1x0e", "O2: 2x0e", rings=2, max_frequency=2).double()
    twice = (
        GaugeConv("O2: 1x0e", "O2: 2x1", rings=2).double(),
        GaugeConv("O2: 2x1", "O2: 1x0e", rings=2).double(),
    )
    x = torch.randn(len(vertices), 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # rounding may choose another of two paths that are as long
    one, other = (mesh(vertices, f).stencil(0.4, kind=kind, **_samples(kind)) for f in (faces, turned))
    torch.testing.assert_close(layer(x, one), layer(x, other), rtol=0, atol=1e-7)
    deep = [twice[1](twice[0](x, st), st) for st in (one, other)]
    torch.testing.assert_close(*deep, rtol=0, atol=1e-7)


def _samples(kind: str) -> dict:
    return {"samples": (2, 8)} if kind == "exp" else {}


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("shape", [twisted(24, 8, 0.2), figure_eight(18, 12, 0.1)], ids=["band", "bottle"])
def test_random_gauges_with_flips_change_neither_answers_nor_weight_gradients(shape, kind):
    s, field_type = mesh(*shape), FieldType("O2: 1x0e + 1x0o + 1x1")
    coarse = s.coarser()
    torch.manual_seed(0)
    layer = GaugeConv(field_type, field_type, rings=2).double()
    gauge, other = random_gauge(s.n_points, True, seed=1), random_gauge(coarse.n_points, True, seed=2)
    turned, turned_coarse = s.turn_frames(*gauge), coarse.turn_frames(*other)
    x = torch.randn(s.n_points, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    radius = 2.5 * s.spacing
    for before, after, out in (
        (s.stencil(radius, kind=kind), turned.stencil(radius, kind=kind), gauge),
        (
            s.stencil(radius, kind=kind, targets=coarse),
            turned.stencil(radius, kind=kind, targets=turned_coarse),
            other,
        ),
    ):
        assert_gauge_equivariant(
            layer,
            x,
            field_type,
            field_type,
            lambda v, st=before: layer(v, st),
            lambda v, st=after: layer(v, st),
            gauge,
            out,
        )
    up, turned_up = coarse.interpolation(s), turned_coarse.interpolation(turned)
    expected = up.turn_frames(*other, *gauge)
    torch.testing.assert_close(operator(turned_up), operator(expected), rtol=0, atol=1e-9)


def test_a_network_on_a_one_sided_hierarchy_does_not_depend_on_frames(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path))
    s = mesh(*twisted(24, 8, 0.2))
    gauge = random_gauge(s.n_points, True)
    torch.manual_seed(0)
    widths = ["O2: 4x0e + 2x0o + 2x1"] * 2
    model = SurfaceEncoder("O2: 1x0e + 1x0o + 1x1", widths, 3, rings=2).double().eval()
    x = torch.randn(s.n_points, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h, turned = (cached_hierarchy(t, levels=2, kind="log") for t in (s, s.turn_frames(*gauge)))
    y = model(x, h)
    torch.testing.assert_close(model(act(model.in_type, x, gauge), turned), y, rtol=0, atol=1e-10)
    assert torch.equal(model(x, cached_hierarchy(s, levels=2, kind="log")), y)


def test_beside_a_band_a_sphere_is_what_it_is_alone():
    ball, band = jittered_sphere(60, 0.2), twisted(12, 4, 0.2)
    alone, both = mesh(*ball), mesh(*beside(band, ball))
    assert isinstance(both, OneSidedMesh)
    of_ball = torch.arange(60) + 60
    for kind in ("exp", "log"):
        st = both.stencil(0.8, kind=kind, targets=of_ball, **_samples(kind))
        assert st.source.min() >= 60 and not st.flip.any()
        expected = alone.stencil(0.8, kind=kind, **_samples(kind))
        torch.testing.assert_close(operator(st)[:, 0, :, 60:], operator(expected)[:, 0], rtol=0, atol=1e-9)
    log = both.log(of_ball[:5], torch.arange(5))
    assert not log.reached.any() and (log.vectors == 0).all()


def test_isolated_vertices_stay():
    vertices, faces = twisted(8, 3)
    vertices = torch.cat([vertices, torch.full((2, 3), 9.0).double()])
    s = mesh(vertices, faces)
    assert torch.equal(s.points, vertices) and s.areas[-2:].tolist() == [0.0, 0.0]
    h = s.hierarchy(levels=2, kind="log")
    assert h.stencils[0].n_target == 34 and h.stencils[0].weight.isfinite().all()


def test_shape_features_need_two_sides():
    with pytest.raises(GeometryError, match="two sides, this one has one"):
        shape_features(mesh(*twisted(8, 3)))
