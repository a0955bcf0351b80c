"""Geodesics reflected at boundaries are those of the double: of a rectangle a torus, of a mesh two glued
copies; in a disc they are the billiard's.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry import (
    SurfacePoint,
    cone,
    cylinder,
    icosphere,
    mesh,
    mobius_strip,
    plane,
    projective_plane,
    torus,
)
from geocnn.geometry.meshes.surface import Mesh
from geocnn.groups.planar import compose, inverse
from tests.laws import act, components, random_gauge, turned
from tests.shapes import ring, sheet, twisted, without

EXACT = 1e-10


def random(*size: int, seed: int) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def read(e, field: Tensor) -> Tensor:
    """A field of vectors (complex) at the ends, in the gauge of the bases."""
    flip = None if e.flip is None else e.flip.expand_as(e.source)
    return (e.weight * act(e.angle, flip, field[e.source])).sum(1)


def reached(e) -> Tensor:
    """The points the ends are at, where those are grid points."""
    return e.source.gather(1, e.weight.argmax(1, keepdim=True))[:, 0]


@pytest.mark.parametrize("make", [plane, cylinder], ids=lambda f: f.__name__)
def test_the_double_of_a_rectangle_is_a_torus(make):
    """There fields are continued by their mirror images."""
    h, w = 4, 6
    s, whole = make((h, w)), torus((2 * h, 2 * w if make is plane else w))
    i, j = torch.arange(2 * h), torch.arange(whole.shape[1])
    row, up = torch.where(i < h, i, 2 * h - 1 - i), torch.where(i < h, 1.0, -1.0)
    column, right = torch.where(j < w, j, 2 * w - 1 - j), torch.where(j < w, 1.0, -1.0)
    field = torch.randn(h * w, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)
    alike = field[(row[:, None] * w + column).flatten()]
    continued = torch.complex(
        alike.real * right.repeat(2 * h), alike.imag * up.repeat_interleave(len(j)).double()
    )
    base = torch.arange(h * w).repeat(40)
    v = 20 * (random(len(base), 2, seed=1) - 0.5)
    e = s.exp(base, v, at_boundary="reflect")
    f = whole.exp(base // w * len(j) + base % w, v)
    assert e.inside.all()
    torch.testing.assert_close(e.travelled, v.norm(dim=1), rtol=0, atol=EXACT)
    torch.testing.assert_close(read(e, field), read(f, continued), rtol=0, atol=EXACT)
    folded = torch.stack(
        [
            x if glued else torch.where(x < n - 0.5, x, 2 * n - 1 - x)
            for x, n, glued in zip(f.points.unbind(1), (w, h), s.glued, strict=True)
        ],
        1,
    )
    torch.testing.assert_close(e.points, folded, rtol=0, atol=EXACT)


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("make", [plane, cylinder, mobius_strip], ids=lambda f: f.__name__)
def test_the_way_back_from_a_grid_point_is_the_inverse(make, flips):
    s = make((5, 8))
    s = s.turn_frames(*random_gauge(40, flips, seed=2))
    base = torch.arange(40).repeat(30)
    steps = torch.randint(-12, 13, (len(base), 2), generator=torch.Generator().manual_seed(3)).double()
    v = (s.frames[base] * steps[:, None]).sum(-1)
    e = s.exp(base, v, "reflect")
    q, slot = reached(e), e.weight.argmax(1, keepdim=True)
    assert e.flip is not None
    there = e.angle.gather(1, slot)[:, 0], e.flip.gather(1, slot)[:, 0]
    onward = act(*inverse(there), components(v))
    back = s.exp(q, torch.view_as_real(-onward), "reflect")
    torch.testing.assert_close(back.points, s.points[base], rtol=0, atol=EXACT)
    slot = back.weight.argmax(1, keepdim=True)
    assert back.flip is not None
    again = back.angle.gather(1, slot)[:, 0], back.flip.gather(1, slot)[:, 0]
    z = torch.full_like(onward, 1 + 2j)
    torch.testing.assert_close(act(*compose(there, again), z), z, rtol=0, atol=EXACT)


# ----------------------------------------------------------------------------------------------------- meshes


def wave(x: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """x mirrored at 0 and `size` until it is between, and the sign a step gets."""
    x = x.remainder(2 * size)
    return torch.where(x > size, 2 * size - x, x), torch.where(x > size, -1.0, 1.0).double()


@pytest.mark.parametrize("start", ["vertices", "faces"])
def test_a_flat_mesh_is_a_billiard_table(start):
    """From vertices at the rim and its corners also outwards, where the vector itself is mirrored first."""
    s = mesh(*sheet(6, 4, 0.25, seed=1))
    s = s.turn_frames(*random_gauge(s.n_points, flips=True, seed=2))
    assert isinstance(s, Mesh)
    n = 20 * s.n_points
    step = 18 * (random(n, 2, seed=4) - 0.5)
    ahead = torch.nn.functional.pad(step, (0, 1))
    if start == "vertices":
        base = torch.arange(s.n_points).repeat(20)
        p, frames = s.points[base], s.frames[base]
    else:
        face, weight = torch.arange(n) % len(s.faces), random(n, 3, seed=5)
        base = SurfacePoint(face, weight / weight.sum(1, keepdim=True))
        a, b = s.points[s.faces[face]].unbind(1)[:2]
        e1 = torch.nn.functional.normalize(b - a, dim=1)
        normal = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(e1)
        p = (base.barycentric[..., None] * s.points[s.faces[face]]).sum(1)
        frames = torch.stack([e1, torch.linalg.cross(normal, e1)], 1)
    e = s.exp(base, (frames * ahead[:, None]).sum(-1), at_boundary="reflect")
    (x, right), (y, up) = wave(p[:, 0] + step[:, 0], 6), wave(p[:, 1] + step[:, 1], 4)
    assert e.inside.all()
    torch.testing.assert_close(e.points[:, :2], torch.stack([x, y], 1), rtol=0, atol=1e-9)
    torch.testing.assert_close(e.travelled, step.norm(dim=1), rtol=0, atol=1e-9)
    # e₁ at each source, mirrored as often as the way was, seen in the base's frame
    there = s.frames[e.source][..., 0, :2] * torch.stack([right, up], 1)[:, None]
    seen = components((frames[:, None, :, :2] * there[..., None, :]).sum(-1))
    assert e.flip is not None
    torch.testing.assert_close(act(e.angle, e.flip, torch.ones_like(seen)), seen, rtol=0, atol=1e-8)


def test_on_a_curved_mesh_it_is_the_geodesic_of_two_glued_copies():
    # a tube: a torus less the faces at nine vertices around it
    s = mesh(*without(ring(14, 9, 0.1), torch.arange(14 * 9) < 9))
    t, n = s.triangulation, s.n_points
    # of the second copy only what is not on the rim is new, and it is turned over
    other = torch.where(t.boundary, torch.arange(n), torch.arange(n) + n)
    double = mesh(s.points.repeat(2, 1), torch.cat([s.faces, other[s.faces][:, [0, 2, 1]]]))
    assert not double.triangulation.boundary.any()
    k = 600
    face = torch.randint(len(s.faces), (k,), generator=torch.Generator().manual_seed(0))
    weight = random(k, 3, seed=1) + 0.05
    at, vectors = SurfacePoint(face, weight / weight.sum(1, keepdim=True)), 3 * (random(k, 2, seed=2) - 0.5)
    e, g = s.exp(at, vectors, "reflect"), double.exp(at, vectors)
    assert g.face is not None and e.flip is not None
    mirrored = g.face >= len(s.faces)
    assert 0.1 < mirrored.double().mean() < 0.5
    torch.testing.assert_close(e.points, g.points, rtol=0, atol=1e-9)
    assert torch.equal(e.face, g.face % len(s.faces))
    assert torch.equal(e.flip, mirrored[:, None].expand_as(e.flip))
    stopped = s.exp(at, vectors)
    torch.testing.assert_close(stopped.points[stopped.inside], e.points[stopped.inside], rtol=0, atol=EXACT)
    assert (stopped.inside | mirrored | (e.travelled > stopped.travelled)).all()


def test_reflected_transporters_are_gauge_covariant_on_a_band():
    s = mesh(*twisted(24, 5))
    base = torch.arange(s.n_points).repeat(5)
    v = components(2 * (random(len(base), 2, seed=1) - 0.5))
    field = torch.randn(s.n_points, generator=torch.Generator().manual_seed(2), dtype=torch.complex128)
    alpha, flip = random_gauge(s.n_points, True, seed=3)
    assert flip is not None
    e = s.exp(base, torch.view_as_real(v), "reflect")
    at = alpha[base], flip[base]
    other = s.turn_frames(alpha, flip).exp(base, torch.view_as_real(turned(v, *at)), "reflect")
    assert e.inside.all()
    seen = read(other, turned(field, alpha, flip))
    torch.testing.assert_close(seen, turned(read(e, field), *at), rtol=0, atol=1e-9)


def test_a_ray_into_a_rim_vertex_leaves_it_at_equal_angles():
    """Down onto (2, 0), the middle of a side, from both slopes and straight."""
    s = mesh(*sheet(4, 4))
    base = torch.tensor([5 + 1, 5 + 2, 5 + 3])
    step = torch.tensor([[1.0, -1.0, 0.0], [0.0, -1.0, 0.0], [-1.0, -1.0, 0.0]]).double()
    e = s.exp(base, (s.frames[base] * 2 * step[:, None]).sum(-1), "reflect")
    expected = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).double()
    torch.testing.assert_close(e.points, expected, rtol=0, atol=EXACT)


# ------------------------------------------------------------------------------------------------------ cones


def billiard(p: complex, v: complex, radius: float) -> tuple[complex, complex, int]:
    """(end, image of the direction 1 at the start, reflections) in a disc, one chord after the other."""
    left, u, one, count = abs(v), v / abs(v), 1 + 0j, 0
    while True:
        along = (p.conjugate() * u).real
        ahead = math.sqrt(along**2 + radius**2 - abs(p) ** 2) - along
        if ahead >= left:
            return p + left * u, one, count
        p, left, count = p + ahead * u, left - ahead, count + 1
        n = p / abs(p)
        u, one = -n * n * u.conjugate(), -n * n * one.conjugate()


@pytest.mark.parametrize("parts", [1, 3])
def test_in_a_disc_it_is_the_billiard_and_on_cones_the_billiard_modulo_a_rotation(parts):
    s = cone(2 * math.pi / parts, 6)
    s = s.turn_frames(*random_gauge(s.n_points, True, seed=2))
    base = torch.arange(s.n_points).repeat(20)
    z = 30 * torch.view_as_complex(random(len(base), 2, seed=1) - 0.5)
    unturned = cone(2 * math.pi / parts, 6)
    r = s.points[base].norm(dim=1)
    phi = torch.atan2(s.points[base, 1], s.points[base, 0]).remainder(2 * math.pi) / parts
    at = torch.polar(r, phi)
    v = act(s.anchor[base], None if s.flipped is None else s.flipped[base], z)
    e = s.exp(base, torch.view_as_real(v), "reflect")
    plain = unturned.exp(base, torch.view_as_real(z), "reflect")
    ways = [billiard(p, w, 6.0) for p, w in zip(at.tolist(), z.tolist(), strict=True)]
    end, image = torch.tensor([way[:2] for way in ways], dtype=torch.complex128).unbind(1)
    count = torch.tensor([way[2] for way in ways])
    assert count.max() > 2 and e.inside.all()
    torch.testing.assert_close(e.points.norm(dim=1), end.abs(), rtol=0, atol=1e-9)
    around = torch.atan2(e.points[:, 1], e.points[:, 0]) - parts * torch.angle(end)
    torch.testing.assert_close(around.sin()[end.abs() > 0.1], 0 * around[end.abs() > 0.1], rtol=0, atol=1e-7)
    assert plain.flip is not None and torch.equal(plain.flip[:, 0], count % 2 == 1)
    # what is 1 at the start is `image` at the end, up to the rotation between sheets
    there = act(*inverse((plain.angle[:, 0], plain.flip[:, 0])), torch.ones_like(image))
    turn = torch.angle(there * image.conj()) * parts
    torch.testing.assert_close(turn.cos(), torch.ones_like(turn), rtol=0, atol=1e-9)


def test_through_the_apex_a_reflected_ray_ends_there():
    s = cone(2 * math.pi, 4)
    place = torch.complex(s.points[:, 0], s.points[:, 1])
    base = torch.tensor([10])
    outward = place[base] / place[base].abs()
    e = s.exp(base, torch.view_as_real(9 * outward), "reflect")
    assert not e.inside.any()
    assert e.points.abs().max() < 1e-9
    assert float(e.travelled) == pytest.approx(8 - float(place[base].abs()), abs=1e-9)


def test_without_an_edge_it_is_as_ever_and_other_words_are_refused():
    base, v = torch.tensor([0, 3]), torch.tensor([[4.0, 1.0], [0.2, 0.1]])
    for s in (icosphere(1), projective_plane(2), torus((4, 4))):
        assert all(
            a is None if b is None else torch.equal(a, b)
            for a, b in zip(s.exp(base, v)[:3], s.exp(base, v, "reflect")[:3], strict=True)
        )
        with pytest.raises(GeometryError, match="'stop' or 'reflect', got 'mirror'"):
            s.exp(base, v, "mirror")


def test_next_to_a_corner_rays_stay_there():
    """Rays that start 1e-8 of an edge from a corner pass it from outside the fan; none is carried away."""
    tri = mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    g = torch.Generator().manual_seed(0)
    for share in (1e-6, 1e-8, 1e-10):
        at = share * torch.rand(2000, 2, generator=g, dtype=torch.float64)
        barycentric = torch.cat([at, 1 - at.sum(1, keepdim=True)], 1)
        vectors = 1e-3 * torch.randn(2000, 2, generator=g, dtype=torch.float64)
        e = tri.exp(
            SurfacePoint(torch.zeros(2000, dtype=torch.int64), barycentric), vectors, at_boundary="reflect"
        )
        corner = torch.tensor([0.0, 1, 0], dtype=torch.float64)
        far = (e.points - corner).norm(dim=1) - vectors.norm(dim=1)
        # a start lies up to √2 shares from the corner, twice that after turning round it
        assert float(far.max()) < 3 * max(share, 1e-9), share
