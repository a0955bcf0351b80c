"""Holonomy is the curvature that a loop encloses; the group of all loops is computed from the connection."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from geocnn.data.meshes import mesh_file
from geocnn.errors import GeometryError
from geocnn.geometry import (
    Connection,
    SurfacePoint,
    angle_defects,
    cone,
    cylinder,
    face_holonomy,
    fundamental_group,
    healpix,
    holonomy,
    holonomy_group,
    icosphere,
    klein_bottle,
    load,
    mesh,
    mobius_strip,
    plane,
    projective_plane,
    torus,
    vertex_holonomy,
)
from geocnn.geometry.loops.cycles import fundamental_cycles
from geocnn.geometry.loops.holonomy_groups import N_MAX, group_of
from geocnn.geometry.spheres.icosahedron import Icosahedron, triangle_areas
from geocnn.groups.planar import O2, SO2, TRIVIAL, compose, cyclic, dihedral, group, inverse, wrapped
from tests.geometry.loops.test_cycles import punctured
from tests.laws import act, random_gauge, turned
from tests.shapes import beside, cube, figure_eight, jittered_sphere, ring, sheet, tetrahedron, twisted

ONE = torch.tensor(1 + 2j, dtype=torch.complex128)


def octahedron():
    e = torch.eye(3, dtype=torch.float64)
    corners = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    return torch.stack([e[0], e[1], e[2], -e[0], -e[1], -e[2]]), torch.tensor(corners)


def icosahedron():
    solid = Icosahedron(0)
    return solid.points, solid.faces[-1]


# ---------------------------------------------------------------------------------------------- known values


@pytest.mark.parametrize("level", [0, 1, 3])
def test_around_a_face_of_the_icosphere_it_is_the_solid_angle(level):
    s = icosphere(level)
    faces = Icosahedron(level).faces[-1]
    angle, _ = holonomy(s, faces)
    torch.testing.assert_close(angle, triangle_areas(s.points, faces), rtol=0, atol=1e-12)


def test_around_a_pixel_corner_of_healpix_it_is_the_area_of_four_great_triangles():
    s = healpix(4)
    g = torch.Generator().manual_seed(0)
    loops = torch.randint(s.n_points, (50, 3), generator=g)
    loops = loops[(s.points[loops] @ s.points[loops].mT).amin((1, 2)) > 0]
    enclosed = triangle_areas(s.points, loops)
    torch.testing.assert_close(wrapped(holonomy(s, loops)[0] - enclosed), 0 * enclosed, rtol=0, atol=1e-12)
    assert len(loops) > 3


MESHES = {
    "tetrahedron": lambda: mesh(*tetrahedron()),
    "cube": lambda: mesh(*cube()),
    "sphere": lambda: mesh(*jittered_sphere(300)),
    "ring": lambda: mesh(*ring(20, 12, 0.15)),
    "sheet": lambda: mesh(*sheet(6, 5, 0.3)),
    "bowl": lambda: mesh(*punctured(jittered_sphere(200), 0, 150)),
    **{name: lambda name=name: load(mesh_file(name)) for name in ("bunny", "spot", "torus", "hand", "skull")},
}


@pytest.mark.parametrize("name", MESHES)
def test_around_a_vertex_it_is_the_angle_defect(name):
    s = MESHES[name]()
    inner = ~s.triangulation.boundary & (s.triangulation.fan_ptr.diff() > 0)
    around = vertex_holonomy(s)
    assert torch.equal(around.isnan(), s.triangulation.boundary)
    # a sum of a few dozen angles; thin faces cost digits
    assert wrapped(around - angle_defects(s))[inner].abs().max() < 1e-9


@pytest.mark.parametrize("name", MESHES)
def test_around_a_face_between_vertices_it_is_the_rescaled_excess_and_all_sum_to_the_curvature(name):
    s = MESHES[name]()
    s = s.turn_frames(*random_gauge(s.n_points, False, seed=3))
    angle, flip = holonomy(s, s.faces)
    assert flip is None
    excess = face_holonomy(s)
    assert wrapped(angle - excess).abs().max() < 1e-9
    if not s.triangulation.boundary.any():
        used = int((s.triangulation.fan_ptr.diff() > 0).sum())
        chi = used - len(s.faces) // 2
        assert abs(float(excess.sum()) - 2 * math.pi * chi) < 1e-9


def test_single_faces_of_a_mesh_differ_from_the_sphere_they_approximate():
    """As the module says: rescaled angles distribute curvature over faces, with errors of up to 9 % here."""
    solid = Icosahedron(3)
    faces = solid.faces[-1]
    off = face_holonomy(mesh(solid.points, faces)) / triangle_areas(solid.points, faces) - 1
    assert 0.05 < off.abs().max() < 0.095


def test_around_many_faces_it_is_the_curvature_of_all_of_them():
    s = mesh(*jittered_sphere(300, 0.2))
    g = torch.Generator().manual_seed(1)
    for centre in torch.randint(300, (5,), generator=g).tolist():
        # the link of a vertex, counter-clockwise
        t = s.triangulation
        h = t.fan[t.fan_ptr[centre] : t.fan_ptr[centre + 1]]
        link = t.tail[h - h % 3 + (h + 1) % 3]
        enclosed = face_holonomy(s)[h // 3].sum()
        assert wrapped(holonomy(s, link)[0] - enclosed).abs() < 1e-11


@pytest.mark.parametrize("flips", [False, True])
def test_holonomy_is_gauge_covariant(flips):
    for s, loops in (
        (icosphere(1), Icosahedron(1).faces[-1]),
        (torus((3, 4)), torch.tensor([[0, 1, 5, 4], [0, 1, 2, 3]])),
        (mesh(*jittered_sphere(60)), mesh(*jittered_sphere(60)).faces),
    ):
        alpha, flip = random_gauge(s.n_points, flips, seed=5)
        before, after = holonomy(s, loops), holonomy(s.turn_frames(alpha, flip), loops)
        start = loops[:, 0]
        gauge = alpha[start], None if flip is None else flip[start]
        z = ONE.expand(len(loops))
        expected = turned(act(*before, z), *gauge)
        torch.testing.assert_close(act(*after, turned(z, *gauge)), expected, rtol=0, atol=1e-11)


def test_a_loop_may_be_closed_or_left_open_and_may_run_through_faces():
    s = icosphere(1)
    assert holonomy(s, torch.tensor([0, 20, 30]))[0] == holonomy(s, torch.tensor([0, 20, 30, 0]))[0]
    cornered = mesh(*tetrahedron())
    t = cornered.triangulation
    h = t.fan[t.fan_ptr[2] : t.fan_ptr[3]]
    middle = torch.zeros(3, 3, dtype=torch.float64)
    middle[range(3), h % 3] = middle[range(3), (h + 1) % 3] = 0.5
    angle, _ = holonomy(cornered, SurfacePoint(h // 3, middle))
    assert abs(abs(float(angle)) - math.pi) < 1e-12


# ----------------------------------------------------------------------------------------- the group of loops

KNOWN = {
    "plane": (lambda: plane((4, 5)), TRIVIAL),
    "torus": (lambda: torus((4, 5)), TRIVIAL),
    "small torus": (lambda: torus((1, 2)), TRIVIAL),
    "flat sheet": (lambda: mesh(*sheet(5, 4, 0.3)), TRIVIAL),
    "tetrahedron": (lambda: mesh(*tetrahedron()), cyclic(2)),
    "octahedron": (lambda: mesh(*octahedron()), cyclic(3)),
    "cube": (lambda: mesh(*cube()), cyclic(4)),
    "icosahedron": (lambda: mesh(*icosahedron()), cyclic(6)),
    "cube and icosahedron": (lambda: mesh(*beside(cube(), icosahedron())), cyclic(12)),
    "icosphere": (lambda: icosphere(2), SO2),
    "healpix": (lambda: healpix(4), SO2),
    "mesh of a sphere": (lambda: mesh(*jittered_sphere(100)), SO2),
    "level of a mesh": (lambda: mesh(*jittered_sphere(200)).coarser(), SO2),
    "bunny": (lambda: load(mesh_file("bunny")), SO2),
    "cylinder": (lambda: cylinder((4, 6)), TRIVIAL),
    "half a turn": (lambda: cone(math.pi, 6), cyclic(2)),
    "three quarters of a turn": (lambda: cone(1.5 * math.pi, 6), cyclic(4)),
    "five quarters": (lambda: cone(2.5 * math.pi, 6), cyclic(4)),
    "one radian": (lambda: cone(1.0, 6), SO2),
}

ONE_SIDED = {
    "strip": (lambda: mobius_strip((4, 6)), group("reflection")),
    "bottle": (lambda: klein_bottle((4, 6)), group("reflection")),
    "paper strip": (lambda: mesh(*twisted(7, 1)), group("reflection")),
    "projective plane": (lambda: projective_plane(2), O2),
    "band": (lambda: mesh(*twisted(20, 6)), O2),
    "figure of eight": (lambda: mesh(*figure_eight(24, 18)), O2),
    "band beside a cube": (lambda: mesh(*beside(twisted(7, 1), cube())), dihedral(4)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_group_of_a_known_surface(name):
    make, expected = KNOWN[name]
    s = make()
    found = holonomy_group(s)
    assert found.group == expected
    assert found.axis is None
    # the loops alone generate the group
    angles, others = found.angle.tolist(), found.angle.abs()
    assert (len(angles) == 0) == (expected == TRIVIAL)
    assert (others > 1e-6).all()
    if expected.rotations is not None:
        assert math.lcm(*(order(a) for a in angles)) == expected.rotations


@pytest.mark.parametrize("name", ONE_SIDED)
@pytest.mark.parametrize("flips", [False, True])
def test_a_one_sided_surface_has_a_group_that_mirrors(name, flips):
    make, expected = ONE_SIDED[name]
    s = make()
    found = holonomy_group(s)
    assert found.group == expected
    assert found.flip is not None and bool(found.flip[0])
    assert (found.axis is None) == (expected == O2)
    turned_round = s.turn_frames(*random_gauge(s.n_points, flips, seed=8))
    assert holonomy_group(turned_round).group == expected


def test_a_flat_strip_keeps_the_direction_of_its_middle_line():
    # the loop starts at point 0, and e₁ runs along the strip
    found = holonomy_group(mobius_strip((4, 6)))
    assert abs(found.axis) < 1e-12
    # back at the start, a vector along the strip is the same, and one across it points the other way
    angle, flip = holonomy(mobius_strip((4, 6)), found.loops[0])
    assert abs(float(angle)) < 1e-12 and bool(flip)


@pytest.mark.parametrize("shape", [twisted(20, 6, 0.2), figure_eight(24, 18, 0.1)], ids=["band", "bottle"])
def test_around_a_vertex_of_a_one_sided_mesh_it_is_the_defect_in_size(shape):
    s = mesh(*shape)
    defects, boundary = angle_defects(s), s.triangulation.boundary[: s.n_vertices]
    torch.testing.assert_close(vertex_holonomy(s)[~boundary], defects[~boundary], rtol=0, atol=1e-12)
    # a loop across the faces around each vertex, in the order in which they are wound
    c = s.face_connection()
    for v in (~boundary).nonzero()[:10, 0].tolist():
        faces = (s.faces == v).any(1).nonzero()[:, 0]
        edges = (torch.isin(c.tail, faces) & torch.isin(c.head, faces)).nonzero()[:, 0]
        edges = [k for k in edges.tolist() if v in s.faces[c.tail[k]] and v in s.faces[c.head[k]]]
        edges = [k for k in edges if _share_an_edge_at(s, v, int(c.tail[k]), int(c.head[k]))]
        loop = fundamental_cycles(c.take(torch.tensor(edges)))
        assert len(loop.angle) == 1
        assert not bool(loop.flip[0]), "around a vertex nothing is mirrored"
        assert abs(abs(float(loop.angle[0])) - abs(float(wrapped(defects[v])))) < 1e-12


def _share_an_edge_at(s, v: int, a: int, b: int) -> bool:
    return len(set(s.faces[a].tolist()) & set(s.faces[b].tolist()) - {v}) == 1


def test_generators_of_one_sided_meshes():
    band, bottle = mesh(*twisted(20, 6)), mesh(*figure_eight(24, 18))
    for s, count in ((band, 1), (bottle, 2)):
        found = fundamental_group(s)
        assert len(found.loops) == count and bool(found.flip.any())
        for k, loop in enumerate(found.loops):
            angle, flip = holonomy(s, loop)
            assert wrapped(angle - found.angle[k]).abs() < 1e-9 and bool(flip) == bool(found.flip[k])


def order(angle: float) -> int:
    return next(n for n in range(1, N_MAX + 1) if abs(math.remainder(n * angle, 2 * math.pi)) < 1e-6)


@pytest.mark.parametrize("name", ["torus", "icosphere", "cube", "mesh of a sphere"])
def test_it_does_not_depend_on_the_gauge(name):
    s = KNOWN[name][0]()
    assert holonomy_group(s.turn_frames(*random_gauge(s.n_points, False, seed=7))).group == KNOWN[name][1]
    # on an orientable surface mirrored frames are undone around every loop
    assert holonomy_group(s.turn_frames(*random_gauge(s.n_points, True, seed=7))).group == KNOWN[name][1]


def test_the_loops_prove_what_they_say():
    s = icosphere(1).turn_frames(*random_gauge(42, False))
    found = holonomy_group(s)
    for k, loop in enumerate(found.loops):
        assert wrapped(holonomy(s, loop)[0] - found.angle[k]).abs() < 1e-12
    boxed = mesh(*cube())
    for k, faces in enumerate(holonomy_group(boxed).loops):
        # every step leads to a neighbour; the defects on the loop's left sum to its angle, counted by hinges
        t = boxed.triangulation
        around = 0.0
        for a, b in pairwise([*faces.tolist(), int(faces[0])]):
            (h,) = [3 * a + i for i in range(3) if int(t.twin[3 * a + i]) // 3 == b]
            around += float(torch.angle(-t.side[t.twin[h]] * t.side[h].conj()))
        assert abs(math.remainder(around - float(holonomy_group(boxed).angle[k]), 2 * math.pi)) < 1e-12


def test_tolerance_forgives_rounded_coordinates_and_no_more():
    vertices, faces = cube()
    g = torch.Generator().manual_seed(0)
    rounded = vertices + 1e-6 * torch.randn(8, 3, generator=g, dtype=torch.float64)
    assert holonomy_group(mesh(rounded, faces)).group == SO2
    assert holonomy_group(mesh(rounded, faces), tolerance=1e-4).group == cyclic(4)
    for wrong in (0.0, -1.0, 0.01, math.nan):
        with pytest.raises(GeometryError, match="tolerance"):
            holonomy_group(plane((2, 2)), tolerance=wrong)


def band(h: int, w: int, flips: bool, cut: float = 0.0) -> Connection:
    """Return a strip of h × w cells whose last column is glued to the first, with a turn `cut`, or upside
    down.
    """
    cell = torch.arange(h * w).view(h, w)
    right = cell.roll(-1, 1).clone()
    if flips:
        right[:, -1] = cell[:, 0].flip(0)
    tail = torch.cat([cell.flatten(), cell[:-1].flatten()])
    head = torch.cat([right.flatten(), cell[1:].flatten()])
    seam = torch.zeros(h, w, dtype=torch.bool)
    seam[:, -1] = True
    seam = torch.cat([seam.flatten(), torch.zeros((h - 1) * w, dtype=torch.bool)])
    return Connection(tail, head, seam.double() * cut, seam if flips else None)


def in_another_gauge(c: Connection, alpha: Tensor, flip: Tensor | None) -> Connection:
    def change(ids: Tensor):
        a, f = alpha[ids], None if flip is None else flip[ids]
        return (-a, None) if f is None else (torch.where(f, a, -a), f)

    angle, flips = compose(change(c.tail), compose((c.angle, c.flip), inverse(change(c.head))))
    return Connection(c.tail, c.head, angle, flips)


@pytest.mark.parametrize("flips", [False, True])
def test_a_moebius_strip_is_told_by_one_flip_and_its_axis(flips):
    c = band(3, 8, flips=True)
    found = group_of(c)
    assert found.group == group("reflection")
    assert found.axis == 0
    assert found.flip is not None
    assert found.flip.tolist() == [True]
    alpha, flip = random_gauge(24, flips, seed=8)
    turned_band = group_of(in_another_gauge(c, alpha, flip))
    assert turned_band.group == group("reflection")
    # the direction along the strip, in the root's turned frame
    expected = turned(torch.ones(1, dtype=torch.complex128), alpha[:1], None if flip is None else flip[:1])
    assert turned_band.axis is not None
    off = (turned_band.axis - float(expected.angle())) % math.pi
    assert min(off, math.pi - off) < 1e-12


def test_flips_and_rotations_make_a_dihedral_group():
    alpha, flip = random_gauge(24, True, seed=9)
    # a cone whose band flips: one loop flips, another one around the apex turns
    for n in (2, 3, 4, 7):
        c = band(3, 8, flips=True)
        turn = torch.zeros_like(c.angle)
        turn[0] = 2 * math.pi / n
        found = group_of(in_another_gauge(c._replace(angle=c.angle + turn), alpha, flip))
        assert found.group == dihedral(n)
        assert found.axis is not None
        assert 0 <= found.axis < math.pi / n
        angle, flips = found.angle, found.flip
        assert flips is not None
        assert bool(flips[0])
        # z ↦ e^{iφ} z̄ keeps the axis
        assert abs(math.remainder(float(angle[0]) - 2 * found.axis, 2 * math.pi / n)) < 1e-12
    c = band(3, 8, flips=True)
    turn = torch.zeros_like(c.angle)
    turn[0] = 1.0
    found = group_of(c._replace(angle=turn))
    assert found.group == O2
    assert found.axis is None


@pytest.mark.parametrize(("k", "n"), [(1, 4), (2, 6), (3, 8), (5, 6), (7, 360), (1, 1)])
def test_a_cone_has_its_angle_s_group(k, n):
    found = group_of(band(2, 9, flips=False, cut=2 * math.pi * k / n))
    assert found.group == cyclic(n // math.gcd(k, n))


def test_parts_make_the_group_that_holds_both():
    a, b = band(2, 5, False, 2 * math.pi / 4), band(3, 6, True)
    moved = Connection(
        torch.cat([a.tail, b.tail + 10]),
        torch.cat([a.head, b.head + 10]),
        torch.cat([a.angle, b.angle]),
        torch.cat([torch.zeros_like(a.tail, dtype=torch.bool), b.flip]),
    )
    found = group_of(moved)
    assert found.group == dihedral(4)
    assert found.axis == 0
    # the reflection's loop comes first, in the part where it is
    assert int(found.loops[0][0]) == 10
