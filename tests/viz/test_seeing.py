"""Pictures of triangles show the right face, at the right place, with the right weights."""

import math

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import (
    cone,
    healpix,
    icosphere,
    mesh,
    plane,
    projective_plane,
    raw_mesh,
    ring_grid,
    torus,
)
from geocnn.geometry.spheres.pixels import vector_to_pixel
from geocnn.viz import seeing
from geocnn.viz.fields import blended
from geocnn.viz.scene import oblique
from geocnn.viz.seeing import look
from geocnn.viz.skins import skin
from geocnn.viz.whole_sky import projected, see_whole, unprojected
from tests.shapes import tetrahedron

STRAIGHT = torch.eye(3, dtype=torch.float64)


def middles(seen):
    """The places of the pixels' middles in the units of the view."""
    height, width = seen.shade.shape
    left, right, bottom, top = seen.extent
    x = left + (torch.arange(width) + 0.5) * (right - left) / width
    y = top - (torch.arange(height) + 0.5) * (top - bottom) / height
    return torch.meshgrid(x.double(), y.double(), indexing="xy")


def test_faces_that_tile_a_square_cover_each_pixel_once():
    g = torch.Generator().manual_seed(0)
    n = 12
    x, y = torch.meshgrid(torch.arange(n + 1.0), torch.arange(n + 1.0), indexing="ij")
    inner = (x > 0) & (x < n) & (y > 0) & (y < n)
    moved = torch.stack([x, y], -1) + inner[..., None] * 0.6 * (
        torch.rand(n + 1, n + 1, 2, generator=g) - 0.5
    )
    v = torch.cat([moved.view(-1, 2), torch.zeros((n + 1) ** 2, 1)], 1).double()
    a = (torch.arange(n)[:, None] * (n + 1) + torch.arange(n)).flatten()
    f = torch.cat([torch.stack([a, a + n + 1, a + 1], 1), torch.stack([a + 1, a + n + 1, a + n + 2], 1)])
    at = 97 / n * v[:, :2][f]
    row, face, first, count = seeing._spans(at, 97, 97)
    column = torch.cat([torch.arange(s, s + k) for s, k in zip(first.tolist(), count.tolist(), strict=True)])
    pixel = row.repeat_interleave(count) * 97 + column
    assert len(pixel) == 97 * 97 and len(pixel.unique()) == 97 * 97
    areas = torch.zeros(len(f), dtype=torch.int64).index_add_(0, face, count)
    exact = seeing._doubled_areas(at).abs() / 2
    # a face has its area in pixels, up to what a pixel per row of its border adds
    assert ((areas - exact).abs() < 2 * (at.amax(1) - at.amin(1)).amax(1) + 2).all()


def test_an_affine_field_is_drawn_exactly():
    g = torch.Generator().manual_seed(1)
    v = torch.rand(30, 3, generator=g, dtype=torch.float64)
    f = torch.randint(30, (40, 3), generator=g)
    view = oblique(0.7)
    seen = look(skin(raw_mesh(v, f)), view, 200)
    x, y = middles(seen)
    right, up, towards = (v @ view.T).unbind(1)
    inside = seen.rows[..., 0] >= 0
    assert 0.3 < inside.double().mean() < 0.95
    for values, expected in ((right, x), (up, y), (towards, seen.depth)):
        drawn = blended(values, seen.rows, seen.weights, "scalar")
        torch.testing.assert_close(drawn[inside], expected[inside])
    assert (seen.depth[~inside] == -math.inf).all()


def test_the_nearest_of_faces_that_pass_through_one_another_is_seen():
    # two squares, tilted against each other, that meet in x = 0
    def square(slope):
        return torch.tensor([[-1, -1, -slope], [1, -1, slope], [1, 1, slope], [-1, 1, -slope]]).double()

    quad = torch.tensor([[0, 1, 2], [0, 2, 3]])
    raw = raw_mesh(torch.cat([square(0.5), square(-0.5)]), torch.cat([quad, quad + 4]))
    seen = look(skin(raw, 4), STRAIGHT, 101)
    x, _ = middles(seen)
    face = seen.rows[..., 0]
    sure = (face >= 0) & (x.abs() > 0.02)
    assert ((face < 2) == (x > 0))[sure].all()


def test_work_in_parts_and_at_once_is_the_same(monkeypatch):
    raw = raw_mesh(
        torch.rand(60, 3, generator=torch.Generator().manual_seed(2)), torch.arange(60).view(20, 3)
    )
    whole = look(skin(raw), oblique(0.1), 120)
    monkeypatch.setattr(seeing, "MOST_AT_ONCE", 50)
    for a, b in zip(whole[:4], look(skin(raw), oblique(0.1), 120)[:4], strict=True):
        assert torch.equal(a, b)
    monkeypatch.setattr(seeing, "MOST_PIXELS", 2000)
    coarser = look(skin(raw), oblique(0.1), 400)
    assert max(coarser.shade.shape) < 150


@pytest.mark.parametrize("nested", [False, True])
def test_pixels_of_the_sphere_are_drawn_where_they_are(nested):
    sphere = healpix(8, nested=nested, radius=2.0)
    shown = skin(sphere)
    assert len(shown.vertices) == sphere.n_points + 2 and shown.closed
    seen = look(shown, STRAIGHT, 300)
    x, y = middles(seen)
    inside = seen.rows[..., 0] >= 0
    direction = torch.stack([x, y, seen.depth], -1)[inside]
    exact = vector_to_pixel(8, direction, nested=nested)
    # straight sides in place of curved ones give a few pixels to a neighbour
    assert (seen.rows[..., 0][inside] == exact).double().mean() > 0.97
    healpy = pytest.importorskip("healpy")
    n = sphere.n_points
    quad = torch.cat([shown.faces[:n], shown.faces[n:, 2:]], 1)
    for pixel in range(0, n, 7):
        north_west = torch.from_numpy(healpy.boundaries(8, pixel, nest=nested).T)
        torch.testing.assert_close(
            shown.vertices[quad[pixel]], 2 * north_west[[2, 3, 0, 1]], atol=1e-6, rtol=0
        )


@pytest.mark.parametrize(
    "surface",
    [healpix(4), icosphere(2), ring_grid(7), ring_grid(6, kind="equiangular"), projective_plane(4),
     torus((3, 5)), plane((4, 4)), cone(3.0, 6), mesh(*tetrahedron())],
    ids=lambda s: f"{type(s).__name__}-{s.n_points}",
)  # fmt: skip
def test_every_point_of_a_surface_has_a_place_on_its_skin(surface):
    shown = skin(surface)
    assert torch.equal(shown.shows.unique(), torch.arange(surface.n_points))
    corners = shown.vertices[shown.faces]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    covered = float(normal.norm(dim=1).sum()) / 2
    whole = float(surface.areas.sum()) * (2 if surface.n_points == 96 else 1)
    # flat pieces lie inside a round surface
    assert 0.75 * whole < covered < 1.01 * whole
    if shown.closed:
        assert ((normal * corners.mean(1)).sum(1) > -1e-12).all()
    with pytest.raises(GeometryError, match="values"):
        skin(surface, 3)


def test_a_coarse_level_of_a_mesh_is_drawn_on_the_fine_faces():
    ball = icosphere(3)
    fine = mesh(ball.points, ball.grid.solid.faces[-1])
    coarse = fine.coarser()
    shown = skin(coarse)
    assert shown.faces.shape == fine.faces.shape and int(shown.shows.max()) < coarse.n_points
    # each vertex that is a point shows itself
    corner = (fine.faces[..., None] == coarse.vertex).nonzero()
    assert (shown.shows[corner[:, 0], corner[:, 1]] == corner[:, 2]).double().mean() > 0.95


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(GeometryError, match="4 dimensions"):
        skin(cone(8.0, 3))
    with pytest.raises(GeometryError, match="no face that can be drawn"):
        skin(raw_mesh(torch.full((3, 3), math.nan), [[0, 1, 2]]))


def test_the_whole_sky_lies_where_healpy_draws_it():
    healpy = pytest.importorskip("healpy")
    from healpy.projector import MollweideProj

    for nested in (False, True):
        seen = see_whole(healpix(16, nested=nested), 400)
        x, y = middles(seen)
        inside = seen.rows[..., 0] >= 0
        # healpy's ellipse has the half axes 2 and 1
        expected = torch.from_numpy(
            np.stack(
                MollweideProj(flipconv="geo").xy2vec(*(p[inside].numpy() / math.sqrt(2) for p in (x, y)))
            )
        ).T
        pixel = torch.from_numpy(healpy.vec2pix(16, *expected.T.numpy(), nest=nested))
        assert (seen.rows[..., 0][inside] == pixel).double().mean() > 0.999
        assert abs(float(inside.double().mean()) - math.pi / 4) < 0.01
    assert see_whole(ring_grid(6)).rows.max() == 71


def test_the_projection_of_the_sky_has_its_inverse_and_equal_areas():
    p = torch.nn.functional.normalize(
        torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).double()
    )
    place = projected(p)
    back, inside = unprojected(*place.unbind(1))
    assert inside.all()
    torch.testing.assert_close(back, p, atol=1e-7, rtol=0)
    step = 1e-5 * torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    dx, dy = (unprojected(*(place + s).unbind(1))[0] - back for s in step)
    area = torch.linalg.cross(dx, dy).norm(dim=1)[p[:, 2].abs() < 0.99] / 1e-10
    # the sphere's 4 pi on an ellipse of area 4 pi
    torch.testing.assert_close(area, torch.ones_like(area), atol=0.02, rtol=0)
