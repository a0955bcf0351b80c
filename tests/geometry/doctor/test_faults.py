"""Every way in which a triangle list is no surface is refused by name; surfaces pass unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.half_edges import components
from geocnn.geometry.doctor.verdict import check_triangles
from geocnn.geometry.spheres.icosahedron import Icosahedron

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def points(n: int) -> Tensor:
    """n points of which no three lie on a line: on the moment curve (t, t², t³)."""
    t = torch.arange(n, dtype=torch.float64) / n
    return torch.stack([t, t**2, t**3], 1)


def strip(n: int, twisted: bool) -> Tensor:
    """A closed band of n quads, halved: vertices 0 … n−1 on one rim, n … 2n−1 on the other. Twisted, a rim
    continues as the other one.
    """
    k = torch.arange(n)
    a, b = k, k + n
    c, d = (k + 1) % n, (k + 1) % n + n
    if twisted:
        c[-1], d[-1] = n, 0
    return torch.cat([torch.stack([a, c, b], 1), torch.stack([c, d, b], 1)])


def refused(vertices, faces) -> str:
    with pytest.raises(GeometryError) as error:
        check_triangles(vertices, faces)
    return str(error.value)


# What is a surface


@pytest.mark.parametrize(
    ("n", "faces"),
    [
        pytest.param(3, [[0, 1, 2]], id="one face"),
        pytest.param(6, TETRAHEDRON + 1, id="isolated vertices first and last"),
        pytest.param(8, torch.cat([TETRAHEDRON, TETRAHEDRON + 4]), id="two components"),
        pytest.param(12, strip(6, twisted=False), id="an annulus"),
        pytest.param(6, [[0, 1, 2], [0, 2, 3], [0, 3, 4]], id="an open fan"),
    ],
)
def test_a_surface_passes_unchanged(n, faces):
    v, f = check_triangles(points(n), faces)
    assert torch.equal(v, points(n))
    assert torch.equal(f, torch.as_tensor(faces))


@pytest.mark.parametrize(
    "turn", [torch.as_tensor, Tensor.tolist, Tensor.numpy], ids=["torch", "list", "numpy"]
)
def test_what_comes_back_is_a_copy_in_double_precision(turn):
    vertices, faces = points(4).float(), TETRAHEDRON.int()
    v, f = check_triangles(turn(vertices), turn(faces))
    assert (v.dtype, f.dtype) == (torch.float64, torch.int64)
    v.zero_()
    f.zero_()
    assert torch.equal(vertices, points(4).float()) and torch.equal(faces, TETRAHEDRON.int())


def test_double_arrays_are_copied_too():
    v, f = points(4).requires_grad_(), TETRAHEDRON.clone()
    checked = check_triangles(v, f)
    assert not checked[0].requires_grad
    assert checked[0].data_ptr() != v.data_ptr() and checked[1].data_ptr() != f.data_ptr()


@pytest.mark.parametrize(
    "turn",
    [
        lambda a: a.astype(">i4"),
        lambda a: a[::-1],
        lambda a: a.astype(np.uint32),
        lambda a: a.astype(np.float32),
        lambda a: np.asfortranarray(a),
    ],
    ids=["big-endian", "reversed view", "unsigned", "whole floats", "column order"],
)
def test_any_array_of_whole_numbers_will_do(turn):
    faces = turn(TETRAHEDRON.numpy())
    assert check_triangles(points(4), faces)[1].tolist() == faces.tolist()


def test_numbering_does_not_matter():
    sphere = Icosahedron(3)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(sphere.points), generator=generator)
    faces = sphere.faces[-1][torch.randperm(len(sphere.faces[-1]), generator=generator)]
    check_triangles(sphere.points[order], order.argsort()[faces])


# What is none


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (points(4)[:, :2], TETRAHEDRON, r"vertices are \[N, 3\].*\[4, 2\]"),
        ([[0, 0, 0], [1, 0]], TETRAHEDRON, "vertices must be .*different lengths"),
        ([["a", "b", "c"]], TETRAHEDRON, "vertices must be .*<U1"),
        (points(4) * 1j, TETRAHEDRON, "vertices must be .*complex"),
        (
            points(4),
            [[0, 1, 2, 3]],
            r'faces are \[F, 3\].*\[1, 4\]; repair\(raw_mesh\(vertices, faces\), \["triangulate"\]\)',
        ),
        (points(4), [[0, 1, 2], [0, 1, 2, 3]], "faces must be .*different lengths"),
        (points(4), [[0, 1, 2], [0, 1, 2.5], [0, 2, np.nan]], "not whole numbers: 1, 2; give integers"),
        (points(4), TETRAHEDRON > 0, "faces must be .*bool"),
        (points(4), (TETRAHEDRON > 0).numpy(), "faces must be .*bool"),
        (points(4), [], "there are no faces"),
        (points(4), TETRAHEDRON[:0], "there are no faces"),
    ],
)
def test_wrong_shapes_and_types_are_refused(vertices, faces, message):
    with pytest.raises(GeometryError, match=message):
        check_triangles(vertices, faces)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vertex_that_is_nowhere_is_refused_though_no_face_uses_it(value):
    v = points(6)
    v[4, 1] = v[5, 2] = value
    assert "NaN or infinite (4, 5); mend it by" in refused(v, TETRAHEDRON)


@pytest.mark.parametrize("missing", [-1, 4, 2**40])
def test_a_face_of_vertices_that_do_not_exist_is_refused(missing):
    faces = TETRAHEDRON.clone()
    faces[2, 1] = missing
    assert refused(points(4), faces).startswith("1 face: ids of vertices that do not exist (2);")


@pytest.mark.parametrize("corners", [[3, 3, 4], [3, 4, 3], [4, 3, 3], [3, 3, 3]])
def test_a_face_that_repeats_a_corner_is_refused(corners):
    assert "one vertex at two corners (1)" in refused(points(5), [[0, 1, 2], corners])


@pytest.mark.parametrize("corners", [[1, 2, 3], [3, 1, 2], [3, 2, 1]])
def test_a_face_that_is_there_twice_is_refused_however_it_is_written(corners):
    message = refused(points(4), torch.cat([TETRAHEDRON, torch.tensor([corners])]))
    assert "2 faces: the same three corners as another face (2, 4);" in message


@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e60])
def test_a_face_without_area_is_refused_at_every_scale(scale):
    def triangle(height):
        return scale * torch.tensor([[0, 0, 0], [3, 0, 0], [1, height, 0]], dtype=torch.float64)

    assert "no area" in refused(triangle(0.0), [[0, 1, 2]])
    assert "no area" in refused(triangle(2e-10), [[2, 0, 1]])
    check_triangles(triangle(4e-10), [[2, 0, 1]])  # the limit is 1e-10 of the longest edge, 3


@pytest.mark.parametrize("scale", [1e-100, 1e-80, 1e80, 1e160])
def test_a_face_whose_area_is_no_number_is_refused(scale):
    assert "another unit of length" in refused(scale * points(4), TETRAHEDRON)


def test_two_vertices_in_one_place_make_a_face_without_area():
    v = points(5)
    v[4] = v[3]
    assert "no area" in refused(v, [[0, 1, 2], [2, 3, 4]])


def test_an_edge_of_three_faces_is_refused_with_its_faces():
    message = refused(points(6), [[3, 4, 5], [0, 1, 2], [1, 0, 3], [0, 1, 4]])
    assert message.startswith("1 edge: more than two faces meet ((0, 1)) (and nonmanifold_vertex);")


def test_neighbours_wound_against_each_other_are_refused_and_the_fewer_faces_named_for_flipping():
    sphere = Icosahedron(2)
    faces = sphere.faces[-1].clone()
    faces[[0, 7, 100]] = faces[[0, 7, 100]].flip(1)
    message = refused(sphere.points, faces)
    assert message.startswith("3 faces: wound against their neighbours (0, 7, 100);")


def test_each_component_is_flipped_for_itself():
    """Flipping most of one component and few of the other: the fewer are named in both."""
    faces = torch.cat([TETRAHEDRON, TETRAHEDRON + 4])
    faces[[1, 4, 5, 7]] = faces[[1, 4, 5, 7]].flip(1)
    assert refused(points(8), faces).startswith("2 faces: wound against their neighbours (1, 6);")


@pytest.mark.parametrize("n", [5, 6])
def test_a_moebius_band_cannot_be_wound_alike_and_passes(n):
    faces = strip(n, twisted=True)
    assert torch.equal(check_triangles(points(2 * n), faces)[1], torch.as_tensor(faces))


def test_beside_a_moebius_band_what_can_be_wound_alike_must_be():
    wrong = TETRAHEDRON.clone()
    wrong[1] = wrong[1].flip(0)
    band = torch.as_tensor(strip(5, twisted=True)) + 4
    check_triangles(points(14), torch.cat([TETRAHEDRON, band]))
    message = refused(points(14), torch.cat([wrong, band]))
    assert message.startswith("1 face: wound against their neighbours (1);")


def test_two_bands_that_touch_in_a_vertex_are_refused():
    band = torch.as_tensor(strip(5, twisted=True))
    other = torch.where(band == 0, 0, band + 9)
    message = refused(points(19), torch.cat([band, other]))
    assert message.startswith("1 vertex: several fans of faces meet that share no edge there (0);")
    assert message.endswith('repair(raw_mesh(vertices, faces), ["split"])')


def test_fans_that_touch_in_a_vertex_are_refused_closed_or_open():
    closed = torch.cat([TETRAHEDRON, torch.where(TETRAHEDRON == 0, 0, TETRAHEDRON + 3)])
    opened = torch.tensor([[0, 1, 2], [0, 3, 4]])
    mixed = torch.cat([TETRAHEDRON, torch.tensor([[3, 4, 5]])])
    for faces, vertex in ((closed, 0), (opened, 0), (mixed, 3)):
        message = refused(points(7), faces)
        assert message.startswith(
            f"1 vertex: several fans of faces meet that share no edge there ({vertex});"
        )


def test_the_first_eight_are_named_and_the_rest_counted():
    message = refused(points(3), torch.full((11, 3), 5))
    assert "11 faces: one vertex" not in message and "(0, 1, 2, 3, 4, 5, 6, 7 and 3 more)" in message


def test_the_most_basic_defect_comes_first():
    """All at once; each time the reported one is taken away the next appears."""
    v = points(12)
    v[11] = v[10]
    v[9, 0] = torch.nan
    faces = [
        [0, 1, 2],
        [0, 3, 4],
        [0, 4, 3],
        [5, 6, 7],
        [5, 6, 8],
        [5, 6, 0],
        [1, 10, 11],
        [2, 2, 3],
        [0, 1, 12],
    ]
    seen = [refused(v, faces)]
    v[9, 0] = 0
    for last in (8, 7):
        seen.append(refused(v, faces))
        del faces[last]
    seen.append(refused(v, faces))
    del faces[2]
    seen.append(refused(v, faces))
    del faces[5]
    seen.append(refused(v, faces))
    del faces[4]
    seen.append(refused(v, faces))
    del faces[3]
    seen.append(refused(v, faces))
    words = [
        "NaN",
        "do not exist",
        "at two corners",
        "same three",
        "no area",
        "more than two",
        "fans",
        "fans",
    ]
    assert [word in message.partition("(")[0] for word, message in zip(words, seen, strict=True)] == [
        True
    ] * 8
    assert "(and winding)" in seen[6] and "(and" not in seen[7]


# Connected components


def test_components_agree_with_scipy():
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        a, b = torch.randint(0, 200, (2, 20 + 10 * seed), generator=generator)
        label = components(200, a, b)
        graph = coo_matrix((np.ones(len(a)), (a.numpy(), b.numpy())), shape=(200, 200))
        count, expected = connected_components(graph, directed=False)
        smallest = torch.full((count,), 200).scatter_reduce_(
            0, torch.from_numpy(expected).long(), torch.arange(200), "amin"
        )
        assert torch.equal(label, smallest[torch.from_numpy(expected).long()])


def test_a_long_path_in_any_order_is_one_component():
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))
    assert not components(10_000, order[:-1], order[1:]).any()
