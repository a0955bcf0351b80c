"""Transport composes along paths, is undone by the way back, and does not depend on the gauge."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import Surface, SurfacePoint, healpix, icosphere, mesh, plane, torus, transport
from geocnn.groups.planar import compose, inverse, product, wrapped
from tests.laws import act, random_gauge, turned
from tests.shapes import beside, cube, jittered_sphere, ring, sheet

SURFACES = {
    "healpix": lambda: healpix(4),
    "icosphere": lambda: icosphere(2),
    "torus": lambda: torus((5, 6)),
    "mesh": lambda: mesh(*jittered_sphere(150, 0.2)),
    "ring": lambda: mesh(*ring(14, 9, 0.1)),
    "level": lambda: mesh(*jittered_sphere(400, 0.2)).coarser(),
}
ONE = torch.tensor(1 + 2j, dtype=torch.complex128)


def walk(s: Surface, length: int, seed: int) -> list[int]:
    """Return a random path along the connection's edges."""
    c, g = s.connection(), torch.Generator().manual_seed(seed)
    ids = [0]
    for _ in range(length):
        near = torch.cat([c.head[c.tail == ids[-1]], c.tail[c.head == ids[-1]]])
        ids.append(int(near[int(torch.randint(len(near), (1,), generator=g))]))
    return ids


def apart(g, h) -> float:
    """Return the difference of two elements, applied to a number of size 1."""
    return float((act(*g, ONE) - act(*h, ONE)).abs().max())


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("name", SURFACES)
def test_paths_compose_and_the_way_back_undoes_them(name, flips):
    s = SURFACES[name]()
    s = s.turn_frames(*random_gauge(s.n_points, flips, seed=2))
    path = torch.tensor(walk(s, 12, seed=3))
    whole = transport(s, path)
    parts = compose(transport(s, path[5:]), transport(s, path[:6]))
    assert apart(whole, parts) < 1e-11
    assert apart(transport(s, path.flip(0)), inverse(whole)) < 1e-11
    assert apart(transport(s, path[:1]), (torch.zeros(()).double(), None)) == 0


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("name", SURFACES)
def test_transport_is_gauge_covariant(name, flips):
    s = SURFACES[name]()
    alpha, flip = random_gauge(s.n_points, flips, seed=4)
    paths = torch.tensor([walk(s, 9, seed=k) for k in range(8)])
    here, there = transport(s, paths), transport(s.turn_frames(alpha, flip), paths)
    z = ONE.expand(8)
    of = lambda ids: (alpha[ids], None if flip is None else flip[ids])  # noqa: E731
    expected = turned(act(*here, z), *of(paths[:, -1]))
    torch.testing.assert_close(act(*there, turned(z, *of(paths[:, 0]))), expected, rtol=0, atol=1e-11)


def test_a_batch_is_its_paths_and_standing_still_is_no_step():
    s = mesh(*jittered_sphere(100)).turn_frames(*random_gauge(100, True))
    a, b = walk(s, 6, seed=0), walk(s, 4, seed=1)
    angle, flip = transport(s, torch.tensor([a, [*b[:2], b[1], *b[2:], b[-1]]]))
    assert flip is not None
    for k, path in enumerate((a, b)):
        alone = transport(s, torch.tensor(path))
        assert alone[1] is not None
        assert wrapped(alone[0] - angle[k]).abs() < 1e-12
        assert alone[1] == flip[k]


def test_one_step_is_the_reading_that_log_and_exp_give():
    s = healpix(4).turn_frames(*random_gauge(192, True))
    p, q = torch.tensor([0, 7, 90]), torch.tensor([50, 100, 3])
    # log takes the target's gauge to the base's
    l = s.log(q, p)
    assert apart(transport(s, torch.stack([p, q], 1)), (l.angle, l.flip)) < 1e-12


def test_on_the_sphere_it_is_the_rotation_of_space_along_each_arc():
    s, path = icosphere(2), torch.tensor([3, 77, 140, 11, 60])
    v = s.frames[3, 0]
    for a, b in itertools.pairwise(path):
        p, q = s.points[a], s.points[b]
        axis, sine = torch.linalg.cross(p, q, dim=-1), torch.linalg.cross(p, q, dim=-1).norm()
        k, c = axis / sine, p @ q
        # Rodrigues
        v = v * c + torch.linalg.cross(k, v, dim=-1) * sine + k * (k @ v) * (1 - c)
    seen = s.frames[60] @ v
    angle, _ = transport(s, path)
    assert wrapped(torch.atan2(seen[1], seen[0]) - angle).abs() < 1e-12


def test_flat_paths_move_no_vector():
    for s in (plane((4, 5)), torus((4, 5))):
        assert transport(s, torch.tensor([0, 1, 6, 19, 3]))[0] == 0


def test_what_no_way_joins_is_named():
    s = mesh(*beside(jittered_sphere(30), jittered_sphere(30, seed=1)))
    with pytest.raises(GeometryError, match="step 1 of path 1, 2 to 31"):
        transport(s, torch.tensor([[0, 1, 2], [1, 2, 31]]))
    poles = healpix(1, nested=False)
    with pytest.raises(GeometryError, match="step 0 of path 0, 4 to 6"):
        transport(poles, torch.tensor([4, 6]))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (torch.tensor([0, 99]), r"ids outside 0..11: \[99\]"),
        (torch.tensor([], dtype=torch.int64), "at least one id"),
        (torch.tensor([0.0, 1.0]), "int64"),
        (torch.zeros(1, 1, 2, dtype=torch.int64), r"\[1, 1, 2\]"),
        (SurfacePoint(torch.tensor([0]), torch.ones(1, 3) / 3), "got a Sphere"),
    ],
)
def test_what_is_no_path_is_refused(path, message):
    with pytest.raises(GeometryError, match=message):
        transport(icosphere(0), path)


# ------------------------------------------------------------------------------------------ points in faces


def around_corner() -> SurfacePoint:
    """Return a polyline counter-clockwise around corner 7 of the cube, through the middles of the edges
    there.
    """
    s = mesh(*cube())
    t = s.triangulation
    h = t.fan[t.fan_ptr[7] : t.fan_ptr[8]]
    # in the face of h this is the middle of h, from where the next face counter-clockwise begins
    middle = torch.zeros(len(h), 3, dtype=torch.float64)
    at = torch.arange(len(h))
    middle[at, h % 3] = middle[at, (h + 1) % 3] = 0.5
    return SurfacePoint(h // 3, middle)


def test_a_polyline_around_a_cube_corner_is_turned_by_a_quarter():
    s, loop = mesh(*cube()), around_corner()
    closed = SurfacePoint(
        torch.cat([loop.face, loop.face[:1]]), torch.cat([loop.barycentric, loop.barycentric[:1]])
    )
    assert wrapped(transport(s, closed)[0] - math.pi / 2).abs() < 1e-12
    backwards = SurfacePoint(*(x.flip(0) for x in closed))
    # each point lies on the edge to the previous face, so segments in reverse order end on it too
    assert wrapped(transport(s, backwards)[0] + math.pi / 2).abs() < 1e-12


def test_a_polyline_along_a_traced_geodesic_carries_its_direction():
    s = mesh(*sheet(6, 5, 0.3))
    t = s.triangulation
    # a straight line in the plane, cut by hand at the edges it crosses
    p, q = torch.tensor([1.3, 0.6]).double(), torch.tensor([4.4, 3.7]).double()
    v = t.vertices[:, :2]
    tail, head = t.tail, t.faces.roll(-1, 1).reshape(-1)
    a, d = v[tail], v[head] - v[tail]
    cross = lambda x, y: x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]  # noqa: E731
    denominator = cross(q - p, d)
    along, share = cross(a - p, d) / denominator, cross(a - p, q - p) / denominator
    # leaving a face across h: its inside lies to the left
    hit = ((along > 0) & (along < 1) & (share > 0) & (share < 1) & (cross(d, q - p) < 0)).nonzero()[:, 0]
    hit = hit[along[hit].argsort()]
    weight = torch.zeros(len(hit), 3, dtype=torch.float64)
    at = torch.arange(len(hit))
    weight[at, hit % 3], weight[at, (hit + 1) % 3] = 1 - share[hit], share[hit]
    angle, flip = transport(s, SurfacePoint(hit // 3, weight))
    assert flip is None
    assert len(hit) > 5
    e = (v[t.faces[:, 1]] - v[t.faces[:, 0]])[hit[[0, -1]] // 3]
    direction = torch.atan2(e[:, 1], e[:, 0])
    # a fixed vector of the plane, seen from the first edge of either face
    assert wrapped(angle - (direction[0] - direction[1])).abs() < 1e-12


def test_points_that_share_no_face_and_points_outside_faces_are_named():
    s = mesh(*cube())
    third = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    with pytest.raises(GeometryError, match=r"segments after points \[0\] lie in no single face"):
        transport(s, SurfacePoint(torch.tensor([0, 6]), third))
    with pytest.raises(GeometryError, match=r"faces outside 0..11: \[12\]"):
        transport(s, SurfacePoint(torch.tensor([0, 12]), third))
    with pytest.raises(GeometryError, match=r"points \[1\] lie outside"):
        transport(s, SurfacePoint(torch.tensor([0, 0]), torch.tensor([[0.5, 0.5, 0], [0.5, 0.9, -0.4]])))
    with pytest.raises(GeometryError, match=r"face \[K\] int64"):
        transport(s, SurfacePoint(torch.tensor([0.0]), third[:1]))


def test_product_applies_the_last_first():
    g = torch.Generator().manual_seed(0)
    angle, flip = torch.rand(5, 7, generator=g, dtype=torch.float64), torch.rand(5, 7, generator=g) < 0.5
    expected = angle[:, 0], flip[:, 0]
    for k in range(1, 7):
        expected = compose(expected, (angle[:, k], flip[:, k]))
    assert apart(product((angle, flip)), expected) < 1e-13
    assert torch.equal(product((angle, None))[0], angle.sum(1))
