"""What Surface does once for all surfaces: quadrature, samples, strides, typed errors. Laws are in
tests/test_laws.py.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import (
    angle_defects,
    cone,
    face_holonomy,
    fundamental_group,
    healpix,
    icosphere,
    mesh,
    mobius_strip,
    plane,
    torus,
)
from geocnn.geometry.core import results
from geocnn.geometry.core.sampling import radial_quadrature
from geocnn.groups import O2, SO2, TRIVIAL, cyclic, dihedral
from tests.laws import operator, random_gauge
from tests.shapes import beside, jittered_sphere


def test_radial_quadrature_is_exact_to_its_degree_and_not_beyond():
    for rings in range(1, 6):
        t, w = radial_quadrature(rings)
        assert ((t > 0) & (t < 1)).all()
        for degree in range(2 * rings + 2):
            exact = 2 / (degree + 2)  # ∫₀¹ t^degree 2t dt
            error = abs(float((w * t**degree).sum()) - exact)
            assert (error < 1e-14) == (degree <= 2 * rings - 2), (rings, degree, error)


@pytest.mark.parametrize("spacings", [0.8, 1.5, 2.5, 4.0])
def test_default_samples_are_at_most_one_spacing_apart_and_not_wastefully_many(spacings):
    s = healpix(8)
    radius = spacings * s.spacing
    rings, angles = s.default_samples(radius)
    t, _ = radial_quadrature(rings)
    gaps = np.diff(np.concatenate([-t[:1], t.numpy()])) * radius  # the innermost ring's across the centre
    assert gaps.max() <= s.spacing
    assert 2 * math.pi * radius * float(t.max()) / angles <= s.spacing
    fewer, _ = radial_quadrature(max(rings - 1, 1))
    assert rings == 1 or np.diff(np.concatenate([-fewer[:1], fewer.numpy()])).max() * radius > s.spacing


def test_samples_lie_on_the_polar_grid_of_the_axes():
    s = icosphere(1).turn_frames(*random_gauge(42, flips=False))
    st = s.stencil(0.5, samples=(2, 5))
    t, w = radial_quadrature(2)
    assert st.n_entries == 42 * 2 * 5 * 3
    torch.testing.assert_close(st.r.unique(), 0.5 * t, rtol=0, atol=1e-14)
    first = slice(0, 2 * 5 * 3)
    from_anchor = (st.theta[first] - s.anchor[0]).remainder(2 * math.pi)
    turn = torch.arange(5, dtype=torch.float64) * (2 * math.pi / 5)
    expected = turn.repeat(2).repeat_interleave(3)
    # modulo 2π: a rounding error below 0 shows as 2π
    difference = (from_anchor - expected + 1).remainder(2 * math.pi) - 1
    torch.testing.assert_close(difference, torch.zeros(30, dtype=torch.float64), rtol=0, atol=1e-12)
    ring_weight = st.weight[first].view(2, -1).sum(1)
    torch.testing.assert_close(ring_weight, w, rtol=0, atol=1e-13)


def test_log_stencil_meets_exactly_the_points_within_the_radius():
    s, radius = healpix(4), 0.5
    st = s.stencil(radius, kind="log")
    # by chords, not by angles
    within = torch.cdist(s.points, s.points) <= 2 * math.sin(radius / 2)
    dense = torch.zeros(192, 192, dtype=torch.bool)
    dense[st.target, st.source] = True
    assert torch.equal(dense, within)
    assert int(within.sum()) == st.n_entries
    arc = 2 * torch.asin((s.points[st.target] - s.points[st.source]).norm(dim=1) / 2)
    torch.testing.assert_close(st.r, arc, rtol=0, atol=1e-14)
    # area/(J π R²), J = sin r / r
    weight = (4 * math.pi / 192) * torch.where(arc > 0, arc / arc.sin(), 1.0) / (math.pi * radius**2)
    torch.testing.assert_close(st.weight, weight, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("make", [lambda: healpix(4), lambda: torus((8, 8)), lambda: plane((8, 8))])
def test_targets_given_by_ids_are_rows_of_the_whole_stencil(make, kind):
    s = make()
    radius, ids = 2.2 * s.spacing, torch.tensor([5, 0, 17, 17])
    rows, whole = s.stencil(radius, kind=kind, targets=ids), s.stencil(radius, kind=kind)
    assert (rows.n_target, rows.n_source) == (4, s.n_points)
    torch.testing.assert_close(operator(rows), operator(whole)[:, :, ids], rtol=0, atol=1e-15)


def test_targets_given_by_another_surface_lie_at_its_points():
    fine, coarse = healpix(8), icosphere(1)
    st = fine.stencil(0.4, kind="log", targets=coarse)
    arc = torch.acos((coarse.points[st.target] * fine.points[st.source]).sum(1).clamp(-1, 1))
    assert (st.n_source, st.n_target) == (768, 42)
    # the arccosine loses half the digits at small angles
    torch.testing.assert_close(st.r, arc, rtol=0, atol=1e-7)


def test_exp_and_log_stencils_of_a_radial_kernel_converge_to_each_other():
    """Means of a smooth function over a disc, by both quadratures, and in closed form: for z on the sphere
    1/(πR²) ∫ z dv = z₀ · 2(cos R + R sin R − 1)/R².
    """
    radius = 0.4
    exact = 2 * (math.cos(radius) + radius * math.sin(radius) - 1) / radius**2
    errors = {"exp": [], "log": []}
    for nside in (8, 16, 32):
        s = healpix(nside)
        targets = torch.arange(0, s.n_points, s.n_points // 97)
        for kind, found in errors.items():
            st = s.stencil(radius, kind=kind, targets=targets)
            mean = torch.zeros(len(targets), dtype=torch.float64)
            mean.index_add_(0, st.target, st.weight * s.points[st.source, 2])
            found.append(float((mean - exact * s.points[targets, 2]).square().mean().sqrt()))
    # second order from interpolation; the log disc's ragged rim is slower (tests/laws.py)
    assert errors["exp"][0] < 0.01 and errors["exp"][2] < errors["exp"][0] / 10
    assert errors["log"][0] < 0.05 and errors["log"][2] < errors["log"][0] / 2.5


def test_group_is_the_smallest_that_holds_the_frames_turns():
    s = torus((4, 4))
    quarter = torch.arange(16, dtype=torch.float64) * (math.pi / 2)
    flip = torch.arange(16) % 2 == 0
    assert s.group == TRIVIAL
    assert s.turn_frames(quarter).group == cyclic(4)
    assert s.turn_frames(quarter, flip).group == dihedral(4)
    assert s.turn_frames(*random_gauge(16, flips=False)).group == SO2
    assert healpix(2).turn_frames(torch.zeros(48), torch.ones(48, dtype=torch.bool)).group == O2


def test_stencils_between_point_sets_know_the_gauges_of_both():
    fine, coarse = torus((8, 8)), torus((8, 8)).coarser()
    turned = coarse.turn_frames(*random_gauge(16, flips=False))
    assert fine.stencil(2.0, targets=coarse).group == TRIVIAL
    assert fine.stencil(2.0, targets=turned).group == SO2
    assert fine.stencil(2.0, kind="log", targets=turned).group == SO2
    assert turned.interpolation(fine).group == SO2
    assert coarse.interpolation(fine.turn_frames(torch.ones(64))).group == SO2


def test_turning_back_gives_the_surface_again():
    s = icosphere(1)
    alpha, flip = random_gauge(42, flips=True)
    there = s.turn_frames(alpha, flip)
    # undoing z ↦ e^{−iα} z, then z̄: where flipped, the same element again
    back = there.turn_frames(torch.where(flip, alpha, -alpha), flip)
    torch.testing.assert_close(back.frames, s.frames, rtol=0, atol=1e-14)
    torch.testing.assert_close(back.anchor.sin(), torch.zeros(42, dtype=torch.float64), rtol=0, atol=1e-14)
    assert not back.flipped.any()


def test_what_log_does_not_reach_has_no_distance():
    """A sphere's antipodes, what lies behind a cone's apex, another component or no component of a mesh."""
    v, f = beside(jittered_sphere(40), jittered_sphere(40, seed=1))
    meshed = mesh(torch.cat([v, torch.zeros(1, 3).double()]), f)
    for s, base, target, expected in (
        (healpix(1, nested=False), [4, 4], [6, 5], [False, True]),
        (cone(4 * math.pi, 4), [0, 0], [3, 1], [False, True]),
        (meshed, [0, 0, 0, 80, 80], [1, 40, 80, 0, 80], [True, False, False, False, True]),
    ):
        l = s.log(torch.tensor(base), torch.tensor(target))
        assert l.reached.tolist() == expected
        assert torch.equal(l.distance.isnan(), ~l.reached)
        assert torch.equal(l.distance[l.reached], l.vectors[l.reached].norm(dim=1))


ids = torch.tensor([0, 1])
BAD = {
    "radius": (lambda s: s.stencil(0.0), "radius .* positive .* 0.0"),
    "radius nan": (lambda s: s.stencil(math.nan), "radius"),
    "kind": (lambda s: s.stencil(1.0, kind="polar"), "'exp' or 'log', got 'polar'"),
    "boundary": (lambda s: s.stencil(1.0, boundary="reflect"), "'zero' or 'normalise', got 'reflect'"),
    "samples zero": (lambda s: s.stencil(1.0, samples=(0, 5)), r"samples .* \(0, 5\)"),
    "samples number": (lambda s: s.stencil(1.0, samples=7), "samples .* got 7"),
    "samples log": (lambda s: s.stencil(1.0, kind="log", samples=(2, 5)), "samples= belongs to"),
    "targets range": (lambda s: s.stencil(1.0, targets=torch.tensor([0, 48])), r"0..47: \[48\]"),
    "targets dtype": (lambda s: s.stencil(1.0, targets=torch.tensor([0.0])), "int64"),
    "targets surface": (lambda s: s.stencil(1.0, targets=torus((4, 4))), "very surface, a Sphere"),
    "interpolation": (lambda s: s.interpolation(plane((4, 4))), "very surface, a Sphere"),
    "exp ids": (
        lambda s: s.exp(torch.tensor([-1]), torch.zeros(1, 2)),
        r"base has ids outside 0..47: \[-1\]",
    ),
    "exp shape": (lambda s: s.exp(ids, torch.zeros(2, 3)), r"2 components .* \[2, 3\]"),
    "exp nan": (
        lambda s: s.exp(ids, torch.tensor([[0.0, 0.0], [0.0, math.nan]])),
        r"vectors \[1\] have no finite length",
    ),
    "log ids": (lambda s: s.log(ids, torch.tensor([0, 99])), "target has ids"),
    "turn": (lambda s: s.turn_frames(torch.zeros(47)), "48 in all"),
    "turn nan": (lambda s: s.turn_frames([0.0] * 47 + [math.nan]), r"points \[47\] are not finite"),
    "turn text": (lambda s: s.turn_frames("a"), "alpha must be real numbers"),
    "turn flips": (
        lambda s: s.turn_frames(torch.zeros(48), torch.zeros(3, dtype=torch.bool)),
        r"\[3\] flips",
    ),
    "disc radius": (lambda s: s.disc(-1.0), "radius .* positive .* -1.0"),
    "disc radius text": (lambda s: s.disc("a"), "radius .* positive .* 'a'"),
    "disc ids": (lambda s: s.disc(1.0, torch.tensor([48])), r"base has ids outside 0..47: \[48\]"),
    "hierarchy radius": (lambda s: s.hierarchy(levels=1, radius=0.0), "radius"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_typed_error_that_says_what_to_do(name):
    call, message = BAD[name]
    with pytest.raises(GeometryError, match=message):
        call(healpix(2))


def test_no_bases_have_no_neighbours_and_endless_vectors_are_refused():
    none = torch.zeros(0, dtype=torch.int64)
    for s in (
        plane((3, 4)),
        healpix(1),
        cone(2.0, 3),
        mobius_strip((3, 4)),
    ):
        assert len(s.disc(1.0, none).base) == 0
    flat = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    with pytest.raises(GeometryError, match=r"vectors \[0\] are longer than 1e\+06 mean edges"):
        flat.exp(torch.tensor([0]), torch.tensor([[1e17, 0.0]], dtype=torch.float64), at_boundary="reflect")
    for function in (angle_defects, face_holonomy, fundamental_group):
        with pytest.raises(GeometryError, match="a triangle mesh, got a Flat"):
            function(plane((3, 4)))


def test_a_surface_of_float32_is_refused_and_says_which_tensor():
    s = plane((4, 4))
    for name in ("points", "frames", "axes", "areas", "anchor"):
        with pytest.raises(GeometryError, match=rf"float64, but {name} of this Flat are torch\.float32"):
            replace(s, **{name: getattr(s, name).float()})


def test_one_of_a_thing_is_named_in_the_singular():
    one = plane((4, 4)).hierarchy(levels=1)
    assert "16 points, 1 surface, cpu" in repr(one)
    assert "2 surfaces" in repr(one.cat([one, one]))
    with pytest.raises(GeometryError, match="got 1 base and 2 targets"):
        plane((4, 4)).log([0], [1, 2])


@pytest.mark.parametrize("surface", [healpix(4), mobius_strip((8, 6)), mesh(*jittered_sphere(100))], ids=str)
@pytest.mark.parametrize("at_boundary", ["stop", "reflect"])
def test_geodesics_followed_in_blocks_are_those_followed_at_once(monkeypatch, surface, at_boundary):
    random = torch.Generator().manual_seed(0)
    base = torch.arange(surface.n_points)
    vectors = 2 * surface.spacing * torch.randn(len(base), 2, generator=random, dtype=torch.float64)
    whole = surface.exp(base, vectors, at_boundary)
    monkeypatch.setitem(results.GEODESICS, "cpu", 7)
    for a, b in zip(surface.exp(base, vectors, at_boundary), whole, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            # vectorised functions round the last elements of a block differently
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert len(surface.exp(base[:0], vectors[:0]).points) == 0
