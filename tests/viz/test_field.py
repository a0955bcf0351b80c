"""A field is drawn with its colours, limits, gaps and names."""

import io
import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from geocnn import viz
from geocnn.errors import GeometryError
from geocnn.geometry import (
    healpix,
    icosphere,
    mesh,
    mobius_strip,
    plane,
    projective_plane,
    raw_mesh,
    ring_grid,
)
from geocnn.viz.colours import LABEL_COLOURS, MISSING
from geocnn.viz.field_pictures import sides
from geocnn.viz.fields import read_field
from geocnn.viz.skins import skin
from tests.pretend import DEVICE, pretending
from tests.shapes import tetrahedron, twisted

BALL = icosphere(3)
ROUND = mesh(BALL.points, BALL.grid.solid.faces[-1])


def words(figure):
    """All words of the legends."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def pictures(figure):
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def shows(image, colour, share=0.001):
    """Whether a share of an image has a colour, up to shading."""
    opaque = image[image[..., 3] > 0.99][:, :3]
    size = np.linalg.norm(opaque, axis=1) * np.linalg.norm(to_rgb(colour))
    return ((opaque @ np.array(to_rgb(colour))) / size > 0.9999).mean() > share


def test_a_closed_mesh_is_seen_from_two_opposite_sides():
    figure = viz.field(ROUND, ROUND.points[:, 2], "height", "mm")
    front, back, bar = figure.axes
    assert (front.get_title(), back.get_title()) == ("front", "back")
    assert bar.get_ylabel() == "height (mm)" and figure.get_suptitle() == "height"
    a, b = sides(skin(ROUND))
    torch.testing.assert_close(
        a @ b.T, torch.diag(torch.tensor([-1.0, 1.0, -1.0])).double(), atol=0.7, rtol=0
    )
    assert a[2] @ b[2] < -0.7
    # north is up only if the caller says so
    for up, axis in (("x", 0), ("y", 1), ("z", 2)):
        assert int(sides(skin(ROUND), up)[0][1].argmax()) == axis


def test_colours_tell_values():
    # the left half 1, the right half 3, on a mesh of two faces
    v = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]).double()
    raw = raw_mesh(v, [[0, 1, 2], [0, 2, 3]])
    figure = viz.field(raw, torch.tensor([1.0, 3.0]), limits=(1, 3))
    (image,) = pictures(figure)
    assert shows(image, "#fde725", 0.4) and shows(image, "#440154", 0.4)
    # an open mesh is seen from the side it turns to the viewer
    turned = raw_mesh(v, [[0, 2, 1], [0, 3, 2]])
    assert float(sides(skin(raw))[0][2, 2]) > 0 > float(sides(skin(turned))[0][2, 2])


@pytest.mark.parametrize(
    ("values", "limits", "colours"),
    [
        ([-1.0, 3.0], (-3.0, 3.0), "RdBu_r"),
        ([1.0, 3.0], (1.0, 3.0), "viridis"),
        ([-3.0, -1.0], (-3.0, -1.0), "viridis"),
        ([2.0, 2.0], (2.0, 4.0), "viridis"),
        ([0.0, 0.0], (0.0, 1.0), "viridis"),
        ([math.nan, math.inf], (0.0, 1.0), "viridis"),
    ],
)
def test_limits_are_those_of_the_values_and_zero_is_in_the_middle_of_both_signs(values, limits, colours):
    read = read_field(values)
    assert (read.limits, read.colour_map, read.kind) == (limits, colours, "scalar")


def test_values_beyond_the_limits_are_marked():
    ends = [
        read_field(viz.Field([0.0, 1.0], limits=x)).beyond for x in ((0, 1), (0.5, 2), (-1, 0.5), (0.4, 0.6))
    ]
    assert ends == ["neither", "min", "max", "both"]


def test_kinds_are_seen_in_types_and_shapes():
    assert read_field(torch.tensor([0, 1, 1])).kind == "labels"
    assert read_field(torch.tensor([True, False])).kind == "labels"
    assert read_field(torch.arange(100)).kind == "scalar"
    assert read_field(viz.Field(torch.arange(100), classes=list(map(str, range(100))))).kind == "labels"
    assert read_field(torch.rand(4, 1)).kind == "scalar"
    assert read_field(np.zeros((4, 3), np.float32)).kind == "vector"
    assert read_field(viz.Field([0.0, 2.0], kind="labels")).counts == {0: 1, 2: 1}


def test_gaps_are_grey_and_counted():
    values = ROUND.points[:, 0].clone()
    values[ROUND.points[:, 1] > 0.2] = math.nan
    figure = viz.field(ROUND, values)
    assert words(figure) == [f"no value ({int(values.isnan().sum())} of 642)"]
    assert all(shows(image, MISSING, 0.1) for image in pictures(figure))
    whole = viz.field(healpix(8), torch.full((768,), math.nan))
    assert words(whole) == ["no value (768 of 768)"] and shows(pictures(whole)[0], MISSING, 0.9)


def test_labels_have_the_names_of_their_classes():
    labels = (ROUND.points[:, 1] > 0).long() * 2
    labels[:10] = -1
    figure = viz.field(ROUND, labels, "part", classes={0: "below", 2: "above"})
    assert words(figure) == ["below", "above", "no value (10 of 642)"]
    for image in pictures(figure):
        assert shows(image, LABEL_COLOURS[0], 0.2) and shows(image, LABEL_COLOURS[2], 0.2)
    assert len(figure.axes) == 2
    many = viz.field(plane((10, 10)), torch.arange(100), kind="labels")
    assert words(many)[-1] == "and 60 more" and len(words(many)) == 41


def test_a_vector_field_has_arrows_of_its_direction():
    def drawn(figure):
        return [axis.collections[0] for axis in figure.axes if axis.images]

    flat = plane((10, 20))
    down = torch.tensor([0.0, 2.0]).expand(200, 2)
    (quiver,) = drawn(viz.field(flat, down, "flow"))
    # like the rows of an image, y runs down
    assert (quiver.V < 0).all() and (abs(quiver.U) < 1e-9).all() and len(quiver.U) > 50
    east = torch.tensor([0.0, 1.0]).expand(768, 2)
    (quiver,) = drawn(viz.field(healpix(8), east))
    assert (quiver.U > 0).all() and len(quiver.U) > 200
    turned = healpix(8).turn_frames(torch.full((768,), math.pi / 2))
    (quiver,) = drawn(viz.field(turned, east))
    assert (quiver.V > 0).mean() > 0.95
    # tangent components and vectors in space are one field
    g = torch.Generator().manual_seed(0)
    components = torch.randn(642, 2, generator=g, dtype=torch.float64)
    in_space = torch.einsum("nk,nkd->nd", components, ROUND.frames)
    for a, b in zip(drawn(viz.field(ROUND, components)), drawn(viz.field(ROUND, in_space)), strict=True):
        assert np.allclose(a.U, b.U) and np.allclose(a.V, b.V) and len(a.U) > 50
    with pytest.raises(GeometryError, match="need frames"):
        viz.field(raw_mesh(ROUND.points, ROUND.faces), components)
    with pytest.raises(GeometryError, match="need frames"):
        viz.field(ROUND, torch.zeros(len(ROUND.faces), 2))


def test_arrows_on_the_far_side_are_hidden():
    towards = sides(skin(ROUND))[0][2]
    at = ROUND.points @ towards
    # away from the viewer's side there are arrows only behind
    vectors = torch.where((at < -0.3)[:, None], torch.tensor([1.0, 0.0, 0.0]).double(), 0.0)
    front, back, _ = viz.field(ROUND, vectors).axes
    assert not front.collections and len(back.collections[0].U) > 20


@pytest.mark.parametrize(
    "surface",
    [ring_grid(6), projective_plane(4), mobius_strip((4, 12)), mesh(*twisted(12, 3)), mesh(*tetrahedron()),
     mesh(*tetrahedron()).turn_frames(torch.ones(4))],
    ids=lambda s: type(s).__name__,
)  # fmt: skip
def test_every_surface_is_drawn_with_every_kind(surface):
    n = surface.n_points
    for values in (torch.arange(n) % 3, torch.rand(n), torch.rand(n, 2)):
        stream = io.BytesIO()
        viz.field(surface, values, "a_{1}$ name").savefig(stream, format="png", dpi=50)
        assert stream.getbuffer().nbytes > 2000
    assert len(viz.shape(surface).axes) in (1, 2)


@pytest.mark.parametrize(
    "surface", [healpix(4), ROUND, icosphere(1), plane((3, 3))], ids=lambda s: s.n_points
)
def test_what_lies_on_a_device_is_drawn(surface, tmp_path):
    values = torch.rand(surface.n_points, 2, generator=torch.Generator().manual_seed(0))
    (expected, *_) = pictures(viz.field(surface, values))
    with pretending():
        there = surface.to(DEVICE)
        (drawn, *_) = pictures(viz.field(there, values.to(DEVICE), "v"))
        viz.page(tmp_path / "a.html", there, {"v": values.to(DEVICE)})
        viz.shape(there)
    assert np.array_equal(drawn, expected)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (viz.Field(torch.rand(3)), "642 vertices and 1280 faces"),
        (viz.Field(torch.rand(642, 4)), r"shape \[642, 4\]"),
        (viz.Field(torch.rand(642), kind="vector"), "no vector field"),
        (viz.Field(torch.rand(642, 2), kind="labels"), "no labels field"),
        (viz.Field(torch.rand(642), kind="labels"), "no labels, 0"),
        (viz.Field(torch.rand(642), kind="colour"), "one of scalar, vector, labels"),  # type: ignore[arg-type]
        (viz.Field(torch.rand(642), limits=(2, 1)), "two finite numbers"),
        (viz.Field(torch.full((642,), 7), classes=["a", "b"]), "label 7"),
        (viz.Field(["a"] * 642), "must be numbers"),
        (viz.Field([]), "shape"),
    ],
)
def test_what_does_not_fit_is_named(field, message):
    with pytest.raises(GeometryError, match=message):
        viz.field(ROUND, field, "thickness")


def test_a_broken_mesh_is_drawn_as_far_as_it_can_be():
    v, f = tetrahedron()
    v = torch.cat([v, torch.tensor([[math.nan] * 3, [9.0, 9.0, 9.0]])])
    raw = raw_mesh(v, torch.cat([f, torch.tensor([[0, 1, 77], [0, 0, 1], [0, 1, 4], [0, 1, 2], [0, 1, -3]])]))
    for values in (torch.rand(6), torch.rand(9), torch.rand(6, 3)):
        assert all(image[..., 3].max() == 1 for image in pictures(viz.field(raw, values)))


def test_a_hundred_thousand_faces_take_seconds():
    import time

    ball = icosphere(6)
    raw = raw_mesh(ball.points, ball.grid.solid.faces[-1])
    start = time.process_time()
    viz.field(raw, ball.points[:, 0]).savefig(io.BytesIO(), format="png")
    # half a second on a core of its own
    assert time.process_time() - start < 10


def test_colours_of_labels_differ_for_every_vision():
    """Machado et al. 2009: full deuteranopia and protanopia, as matrices of linear red, green, blue."""
    skimage = pytest.importorskip("skimage.color")
    visions = [
        np.eye(3),
        np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
        np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    ]
    rgb = np.array([to_rgb(colour) for colour in (*LABEL_COLOURS, MISSING)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for vision in visions:
        seen = (linear @ vision.T).clip(0, 1)
        lab = skimage.rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))
        difference = skimage.deltaE_ciede2000(lab[:, None], lab[None]) + 100 * np.eye(len(lab))
        assert difference.min() > 6 and difference[:8, :8].min() > 10
