"""exp from points inside faces: its values at corners, across edges and in space, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from geocnn.data.meshes import mesh_file
from geocnn.errors import GeometryError
from geocnn.geometry import OneSidedMesh, SurfacePoint, healpix, load, mesh, transport
from geocnn.geometry.meshes.triangulation import Triangulation
from geocnn.groups.planar import compose, inverse, wrapped
from tests.laws import act, random_gauge
from tests.shapes import cube, jittered_sphere, sheet, twisted

# sums over a few faces of numbers near 1 to 10
EXACT = 1e-11


def random(*size: int, seed: int) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inside_faces(n_faces: int, n: int, seed: int = 0) -> SurfacePoint:
    face = torch.randint(n_faces, (n,), generator=torch.Generator().manual_seed(seed))
    weight = random(n, 3, seed=seed + 1) + 0.1
    return SurfacePoint(face, weight / weight.sum(1, keepdim=True))


def random_vectors(n: int, longest: float, seed: int = 5) -> Tensor:
    return longest * (2 * random(n, 2, seed=seed) - 1)


def planes(t: Triangulation, face: Tensor) -> Tensor:
    """Return the frames of faces in space [K, 2, 3]: along the first edge, and to its left."""
    a, b, c = t.vertices[t.faces[face]].unbind(1)
    e1 = torch.nn.functional.normalize(b - a, dim=1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    return torch.stack([e1, torch.linalg.cross(normal, e1)], 1)


def place(t: Triangulation, at: SurfacePoint) -> Tensor:
    return (at.barycentric[..., None] * t.vertices[t.faces[at.face]]).sum(1)


@pytest.mark.parametrize("name", ["bunny", "spot"])
def test_ends_agree_with_potpourri3d(name):
    """The ends differ by less than 1e-6 of the mean edge; measured 1.5e-13."""
    from potpourri3d import GeodesicTracer

    s = load(mesh_file(name))
    t = s.triangulation
    at = inside_faces(len(t.faces), 400)
    vectors = random_vectors(400, 4 * float(t.length.mean()))
    e = s.exp(at, vectors)
    assert e.inside.all()
    there = (vectors[..., None] * planes(t, at.face)).sum(1)
    tracer = GeodesicTracer(t.vertices.numpy(), t.faces.numpy())
    starts = zip(at.face.tolist(), at.barycentric.numpy(), there.numpy(), strict=True)
    theirs = np.stack([tracer.trace_geodesic_from_face(*start)[-1] for start in starts])
    assert (e.points - torch.from_numpy(theirs)).norm(dim=1).max() < 1e-6 * t.length.mean()


def test_on_a_flat_sheet_it_adds_the_vector_and_turns_nothing():
    s = mesh(*sheet(12, 9, 0.3, seed=1))
    s = s.turn_frames(*random_gauge(s.n_points, flips=True, seed=3))
    t = s.triangulation
    at, vectors = inside_faces(len(t.faces), 300), random_vectors(300, 2.0)
    there = (vectors[..., None] * planes(t, at.face)).sum(1)
    e = s.exp(at, vectors)
    expected = place(t, at) + there
    torch.testing.assert_close(e.points[e.inside], expected[e.inside], rtol=0, atol=EXACT)
    assert e.inside.double().mean() > 0.5
    # one vector of the plane, seen from each source and from the start; at the rim polar angles are not
    # those of space
    inner = ~t.boundary[e.source].any(1)
    here = torch.view_as_complex(planes(t, at.face)[:, :, 0].contiguous())[:, None].expand_as(e.angle)
    seen = torch.view_as_complex(s.frames[e.source][..., 0].contiguous())
    torch.testing.assert_close(act(e.angle, e.flip, seen)[inner], here[inner], rtol=0, atol=EXACT)


def test_from_a_corner_it_is_exp_from_the_vertex():
    """Vectors are laid flat around the vertex; the first half of them lies in the face, the rest anywhere."""
    s = mesh(*jittered_sphere(300, 0.2))
    t = s.triangulation
    h = torch.randint(len(t.tail), (400,), generator=torch.Generator().manual_seed(0))
    share, r = random(400, seed=1), 0.3 * random(400, seed=2)
    share[200:] = share[200:] * 2 * math.pi / t.angle[h[200:]]
    # the shorter way round: up to π on either side of the corner's middle
    lean = share * t.angle[h]
    lean = torch.where(lean > math.pi + t.angle[h] / 2, lean - 2 * math.pi, lean)
    z = torch.polar(r, lean + torch.angle(t.side[h]))
    at = SurfacePoint(h // 3, torch.eye(3, dtype=torch.float64)[h % 3])
    e = s.exp(at, torch.view_as_real(z))
    polar = t.polar[h] + lean * t.scale[t.tail[h]]
    v = s.exp(t.tail[h], torch.view_as_real(torch.polar(r, polar)))
    torch.testing.assert_close(e.points, v.points, rtol=0, atol=EXACT)
    assert torch.equal(e.face, v.face)
    # the same transport, but for the direction at the start, seen in either gauge
    turned = wrapped(e.angle - torch.angle(z)[:, None] - v.angle + polar[:, None])
    torch.testing.assert_close(turned, torch.zeros_like(turned), rtol=0, atol=1e-9)


def test_a_point_on_an_edge_belongs_to_both_faces():
    s = mesh(*jittered_sphere(300, 0.2))
    t = s.triangulation
    h = torch.randint(len(t.tail), (300,), generator=torch.Generator().manual_seed(0))
    g, share, eye = t.twin[h], 0.1 + 0.8 * random(300, seed=1)[:, None], torch.eye(3, dtype=torch.float64)
    here = SurfacePoint(h // 3, (1 - share) * eye[h % 3] + share * eye[(h + 1) % 3])
    there = SurfacePoint(g // 3, share * eye[g % 3] + (1 - share) * eye[(g + 1) % 3])
    torch.testing.assert_close(place(t, here), place(t, there), rtol=0, atol=EXACT)
    turn = torch.cat(
        [
            transport(
                s, SurfacePoint(*(torch.stack([a[k], b[k]]) for a, b in zip(here, there, strict=True)))
            )[0].view(1)
            for k in range(300)
        ]
    )
    z = torch.view_as_complex(random_vectors(300, 0.4))
    e = s.exp(here, torch.view_as_real(z))
    f = s.exp(there, torch.view_as_real(act(turn, None, z)))
    torch.testing.assert_close(e.points, f.points, rtol=0, atol=EXACT)
    torch.testing.assert_close(e.travelled, z.abs(), rtol=0, atol=EXACT)
    off = wrapped(f.angle - e.angle - turn[:, None])
    torch.testing.assert_close(off, torch.zeros_like(off), rtol=0, atol=1e-9)


@pytest.mark.parametrize("flips", [False, True])
def test_transporters_are_those_of_transport_along_the_polyline(flips):
    """A step from one face into the next: exp's transporter from the end agrees with `transport` over the
    edge.
    """
    s = mesh(*cube())
    s = s.turn_frames(*random_gauge(8, flips, seed=2))
    start, middle = torch.tensor([[0.5, 0.3, 0.2]]).double(), torch.tensor([[0.6, 0.4, 0.0]]).double()
    t = s.triangulation
    over = t.twin[0]
    beyond = torch.zeros(1, 3, dtype=torch.float64)
    beyond[0, over % 3], beyond[0, (over + 1) % 3] = 0.4, 0.6
    ways = [(w * t.place[:3]).sum() for w in (start[0], middle[0])]
    z = (ways[1] - ways[0]) * 1.4
    e = s.exp(SurfacePoint(torch.tensor([0]), start), torch.view_as_real(z)[None])
    assert e.face is not None and e.barycentric is not None and int(e.face) == int(over) // 3
    end = SurfacePoint(e.face, e.barycentric)
    path = SurfacePoint(
        torch.cat([torch.tensor([0]), over[None] // 3, e.face]), torch.cat([start, beyond, e.barycentric])
    )
    angle, _ = transport(s, path)
    read = s.exp(end, torch.zeros(1, 2))
    expected = compose(inverse((angle.expand_as(read.angle), None)), (read.angle, read.flip))
    z = torch.tensor(1 + 2j, dtype=torch.complex128)
    torch.testing.assert_close(act(e.angle, e.flip, z), act(*expected, z), rtol=0, atol=EXACT)


def test_the_boundary_stops_it_in_its_own_face_and_zero_stays():
    s = mesh(*sheet(2, 2))
    # on the lower edge, down; at the corner (0, 0), out of it; at an inner corner, nowhere
    at = SurfacePoint(torch.tensor([0, 0, 0]), torch.tensor([[0.5, 0.5, 0], [1, 0, 0], [0, 0, 1]]).double())
    e = s.exp(at, torch.tensor([[0.0, -1.0], [-1.0, -1.0], [0.0, 0.0]]))
    assert e.inside.tolist() == [False, False, True]
    assert e.travelled.abs().max() < EXACT
    assert torch.equal(e.face, at.face)
    torch.testing.assert_close(e.barycentric, at.barycentric, rtol=0, atol=EXACT)


def test_a_one_sided_mesh_has_points_in_faces_as_given():
    s = mesh(*twisted(24, 5))
    assert isinstance(s, OneSidedMesh)
    vertices = s.points[s.faces]
    at = inside_faces(len(s.faces), 200)
    back = s.exp(at, torch.zeros(200, 2))
    torch.testing.assert_close(
        back.points, (at.barycentric[..., None] * vertices[at.face]).sum(1), rtol=0, atol=EXACT
    )
    assert torch.equal(back.face, at.face)
    v = random_vectors(200, 0.1)
    e = s.exp(at, v)
    # within the face still, most of them: a step in its plane
    a, b, c = vertices[at.face].unbind(1)
    e1 = torch.nn.functional.normalize(b - a, dim=1)
    e2 = torch.linalg.cross(torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1), e1)
    same = (e.face == at.face) & e.inside
    assert same.sum() > 50
    expected = back.points + v[:, :1] * e1 + v[:, 1:] * e2
    torch.testing.assert_close(e.points[same], expected[same], rtol=0, atol=EXACT)


def test_levels_read_at_their_own_points():
    s = mesh(*jittered_sphere(400, 0.2)).coarser()
    e = s.exp(inside_faces(len(s.faces), 50), random_vectors(50, 0.2))
    assert int(e.source.max()) < s.n_points
    torch.testing.assert_close(e.weight.sum(1), torch.ones(50, dtype=torch.float64), rtol=0, atol=EXACT)


def test_lists_and_arrays_are_points_and_vectors_too():
    s = mesh(*cube())
    a = s.exp(SurfacePoint([0, 3], [[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]), [[0.1, 0.2], [0.3, 0.0]])
    b = s.exp(
        SurfacePoint(torch.tensor([0, 3]), np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])),
        np.array([[0.1, 0.2], [0.3, 0.0]]),
    )
    torch.testing.assert_close(a.points, b.points, rtol=0, atol=1e-7)


third = [[1 / 3, 1 / 3, 1 / 3]]
BAD = {
    "face": (SurfacePoint([12], third), [[0.1, 0.0]], r"faces outside 0..11: \[12\]"),
    "sum": (SurfacePoint([0, 1], [*third, [0.5, 0.6, 0.0]]), [[0.1, 0.0]] * 2, r"points \[1\] lie outside"),
    "negative": (SurfacePoint([0], [[1.2, -0.2, 0.0]]), [[0.1, 0.0]], r"points \[0\] lie outside"),
    "nan": (SurfacePoint([0], [[math.nan, 0.5, 0.5]]), [[0.1, 0.0]], r"points \[0\] lie outside"),
    "shape": (SurfacePoint([0], [[0.5, 0.5]]), [[0.1, 0.0]], r"barycentric \[K, 3\]"),
    "text": (SurfacePoint("a", third), [[0.1, 0.0]], r"face \[K\] and barycentric"),
    "complex place": (SurfacePoint([0], torch.ones(1, 3).cfloat() / 3), [[0.1, 0.0]], "complex64"),
    "endless": (SurfacePoint([0], third), [[1e200, 0.0]], r"vectors \[0\] have no finite length"),
    "vectors": (SurfacePoint([0], third), [[0.1, 0.0]] * 2, r"\[2, 2\] for 1 points"),
    "vector nan": (SurfacePoint([0], third), [[0.1, math.nan]], r"vectors \[0\] have no finite length"),
    "ragged": (SurfacePoint([0], third), [[0.1], [0.1, 0.2]], "vectors must be real numbers"),
    "complex": (SurfacePoint([0], third), torch.zeros(1, 2).cdouble(), "complex128"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_point_or_no_vector_is_refused(name):
    at, vectors, message = BAD[name]
    with pytest.raises(GeometryError, match=message):
        mesh(*cube()).exp(at, vectors)


@pytest.mark.parametrize("boundary", ["stop", "reflect"])
def test_no_points_have_no_ends(boundary):
    none = SurfacePoint(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3))
    assert mesh(*cube()).exp(none, torch.zeros(0, 2), boundary).points.shape == (0, 3)


def test_other_surfaces_have_no_faces():
    with pytest.raises(GeometryError, match="not a Sphere"):
        healpix(1).exp(SurfacePoint([0], third), [[0.1, 0.0]])
