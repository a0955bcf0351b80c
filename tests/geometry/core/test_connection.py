"""Connections are what log says of neighbours, in every gauge, and their graph hangs together."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.geometry import (
    Surface,
    cone,
    healpix,
    icosphere,
    klein_bottle,
    mesh,
    mobius_strip,
    plane,
    projective_plane,
    ring_grid,
    torus,
)
from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.half_edges import components
from geocnn.groups.planar import compose, wrapped
from tests.laws import act, random_gauge, turned
from tests.shapes import beside, cube, figure_eight, jittered_sphere, ring, sheet, tetrahedron, twisted

SURFACES = {
    "healpix": lambda: healpix(4),
    "healpix nested": lambda: healpix(2, nested=True),
    "icosphere": lambda: icosphere(2),
    "rings": lambda: ring_grid(4),
    "plane": lambda: plane((5, 7)),
    "coarser plane": lambda: plane((8, 6)).coarser(),
    "torus": lambda: torus((5, 6)),
    "mesh": lambda: mesh(*jittered_sphere(150)),
    "sheet": lambda: mesh(*sheet(7, 5, 0.3)),
    "level": lambda: mesh(*jittered_sphere(400, 0.2)).coarser(),
    "level of a ring": lambda: mesh(*ring(30, 16, 0.1)).coarser(),
    "strip": lambda: mobius_strip((5, 7)),
    "bottle": lambda: klein_bottle((5, 6)),
    "cone": lambda: cone(2.0, 5),
    "wide cone": lambda: cone(9.0, 4),
    "projective plane": lambda: projective_plane(4),
    "band": lambda: mesh(*twisted(20, 6, 0.2)),
    "level of a band": lambda: mesh(*twisted(40, 12, 0.2)).coarser(),
    "figure of eight": lambda: mesh(*figure_eight(24, 18, 0.1)),
}
ONE = torch.tensor(1 + 2j, dtype=torch.complex128)


@pytest.mark.parametrize("name", SURFACES)
def test_the_graph_of_a_surface_is_connected_and_has_each_edge_once(name):
    s = SURFACES[name]()
    c = s.connection()
    assert int(components(s.n_points, c.tail, c.head).max()) == 0
    low, high = torch.minimum(c.tail, c.head), torch.maximum(c.tail, c.head)
    assert len(torch.unique(low * s.n_points + high)) == len(low)
    assert bool((low < high).all())


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("flips", [False, True])
def test_it_is_gauge_covariant_and_agrees_with_log(name, flips):
    s = SURFACES[name]()
    alpha, flip = random_gauge(s.n_points, flips, seed=1)
    here, other = s.connection(), s.turn_frames(alpha, flip)
    there = other.connection()
    assert torch.equal(here.tail, there.tail)
    assert torch.equal(here.head, there.head)
    z = ONE.expand(len(here.tail))
    of = lambda ids: (alpha[ids], None if flip is None else flip[ids])  # noqa: E731
    torch.testing.assert_close(
        act(there.angle, there.flip, turned(z, *of(here.head))),
        turned(act(here.angle, here.flip, z), *of(here.tail)),
        rtol=0,
        atol=1e-11,
    )
    l = other.log(there.tail, there.head)
    # between vertices a shorter way may lead across faces: past a corner more obtuse than a right angle
    straight = (s.points[here.tail] - s.points[here.head]).norm(dim=1) - l.vectors.norm(dim=1) < 1e-9
    same = l.reached & straight if name in ("mesh", "sheet") else l.reached
    assert same.double().mean() > 0.9
    torch.testing.assert_close(
        act(there.angle, there.flip, z)[same], act(l.angle, l.flip, z)[same], rtol=0, atol=1e-9
    )


def test_a_pixel_has_four_edges_and_a_cell_up_to_four():
    for s in (healpix(1), healpix(8), torus((3, 4))):
        c = s.connection()
        assert torch.bincount(torch.cat([c.tail, c.head]), minlength=s.n_points).unique().tolist() == [4]
    c = plane((3, 4)).connection()
    assert torch.bincount(torch.cat([c.tail, c.head])).view(3, 4).tolist() == [
        [2, 3, 3, 2],
        [3, 4, 4, 3],
        [2, 3, 3, 2],
    ]


def test_on_a_small_torus_two_points_are_neighbours_both_ways():
    c = torus((1, 2)).turn_frames(*random_gauge(2, True)).connection()
    # right from 0 and from 1; below each lies the same cell again
    assert sorted(zip(c.tail.tolist(), c.head.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_along_edges_directions_keep_their_angle_to_the_edge():
    s = mesh(*jittered_sphere(200))
    c = s.connection()
    length = (s.points[c.tail] - s.points[c.head]).norm(dim=1)
    e = s.exp(c.tail, s.log(c.tail, c.head).vectors)
    assert (e.travelled - length).abs().median() < 1e-9
    t = s.triangulation
    tail, head, angle, _ = c
    h = torch.arange(len(t.tail))
    onto = {
        (int(a), int(b)): k
        for k, (a, b) in enumerate(zip(t.tail, t.tail[h - h % 3 + (h + 1) % 3], strict=True))
    }
    there = torch.tensor([onto[a, b] for a, b in zip(tail.tolist(), head.tolist(), strict=True)])
    back = torch.tensor([onto[b, a] for a, b in zip(tail.tolist(), head.tolist(), strict=True)])
    expected = t.polar[there] - t.polar[back] - math.pi
    assert wrapped(angle - expected).abs().max() < 1e-12


@pytest.mark.parametrize("shape", [tetrahedron(), cube(), sheet(4, 3), ring(9, 7)])
def test_faces_are_joined_across_inner_edges(shape):
    s = mesh(*shape)
    t, c = s.triangulation, s.face_connection()
    assert len(c.tail) == int((t.twin >= 0).sum()) // 2
    # the common edge is one vector, seen from either plane
    shared = [
        set(a) & set(b) for a, b in zip(t.faces[c.tail].tolist(), t.faces[c.head].tolist(), strict=True)
    ]
    edge = torch.tensor([sorted(x) for x in shared])
    of = lambda face: _in_plane(t, face, edge)  # noqa: E731
    torch.testing.assert_close(act(c.angle, None, of(c.head)), of(c.tail), rtol=0, atol=1e-12)


def _in_plane(t, face, edge):
    corner = lambda k: (t.faces[face] == edge[:, k : k + 1]).long().argmax(1)  # noqa: E731
    return t.place[3 * face + corner(1)] - t.place[3 * face + corner(0)]


def test_the_connection_a_surface_has_without_a_grid_of_its_own_is_that_of_near_points():
    c = Surface.connection(healpix(4))
    assert int(components(192, c.tail, c.head).max()) == 0
    l = healpix(4).log(c.tail, c.head)
    assert l.vectors.norm(dim=1).max() <= 1.6 * healpix(4).spacing
    torch.testing.assert_close(l.angle, c.angle, rtol=0, atol=0)


def test_edges_are_found_both_ways_and_missing_ones_are_not():
    c = Connection(torch.tensor([0, 3, 0]), torch.tensor([1, 1, 1]), torch.tensor([0.1, 0.2, 0.3]))
    edge, forward = c.between(torch.tensor([1, 0, 3, 0, 7]), torch.tensor([0, 1, 1, 3, 0]))
    assert edge.tolist() == [0, 0, 1, -1, -1]
    assert forward[:3].tolist() == [False, True, True]
    there, back = (c.along(edge[:3], f)[0] for f in (forward[:3], ~forward[:3]))
    torch.testing.assert_close(compose((there, None), (back, None))[0], torch.zeros(3), rtol=0, atol=0)
    torch.testing.assert_close(c.along(edge[1:2], forward[1:2])[0], torch.tensor([-0.1]))
    empty = Connection(*(torch.zeros(0, dtype=torch.int64),) * 2, torch.zeros(0))
    assert empty.between(torch.tensor([0]), torch.tensor([1]))[0].tolist() == [-1]


def test_components_are_not_joined():
    s = mesh(*beside(jittered_sphere(60), tetrahedron()))
    for x in (s, s.coarser()):
        c = x.connection()
        part = (x.vertex >= 60).long()
        assert torch.equal(part[c.tail], part[c.head])
