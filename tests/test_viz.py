"""Pictures: the right way round, and drawable for every kind of input."""

import io
import math

import torch
from matplotlib.colors import to_hex

from geocnn import viz
from geocnn.data import SphericalDigits
from geocnn.geometry.spheres.pixels import npix, pixel_to_vector
from geocnn.viz.scene import Lines, arrows, oblique, paint, polyline, subdivided


def drawn(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getbuffer().nbytes


def test_an_upright_digit_reads_as_on_paper_from_outside():
    digits = SphericalDigits("test", rotated=False, nside=32, size=20)
    front = torch.tensor([1.0, 0.0, 0.0])
    for k in range(20):
        picture, points = viz.orthographic(digits.maps([k])[0], front, size=56)
        inside = ~picture.isnan()
        # The image itself at the picture's points: orthographic (y, z) to stereographic (y, z) / (1 + x).
        x, y, z = points[inside].unbind(-1)
        row, column = (13.5 - 14 * z / (1 + x)).round().long(), (13.5 + 14 * y / (1 + x)).round().long()
        image = digits.images[k].double() / 255
        on_paper, mirrored = (
            image[row.clamp(0, 27), column.clamp(0, 27)],
            image[row.clamp(0, 27), 27 - column.clamp(0, 27)],
        )
        seen = picture[inside]
        right_way = float(torch.corrcoef(torch.stack([seen, on_paper]))[0, 1])
        wrong_way = float(torch.corrcoef(torch.stack([seen, mirrored]))[0, 1])
        # two nearest-pixel readings of a blurred stroke agree to a few per cent; a mirrored digit seldom
        # reaches a half
        assert right_way > 0.9 and right_way > wrong_way


def test_every_picture_pixel_shows_the_direction_it_says():
    generator = torch.Generator().manual_seed(0)
    z = pixel_to_vector(64, torch.arange(npix(64)))[:, 2]
    for centre in torch.randn(5, 3, generator=generator):
        picture, points = viz.orthographic(z, centre, size=31)
        inside = ~picture.isnan()
        # a HEALPix pixel of nside 64 reaches at most 1.2 degrees from its centre
        torch.testing.assert_close(picture[inside], points[inside][:, 2], atol=math.radians(1.2), rtol=0)
        middle = torch.nn.functional.normalize(centre.double(), dim=0)
        torch.testing.assert_close(points[15, 15], middle)
        # north is up: z grows towards the top along the middle column, on the visible side of the pole
        assert float(points[10, 15, 2]) > float(points[20, 15, 2]) or abs(float(middle[2])) > 0.9


def test_seen_from_a_pole_the_picture_is_still_defined():
    for sign in (1.0, -1.0):
        picture, points = viz.orthographic(torch.arange(192.0), torch.tensor([0.0, 0.0, sign]), size=21)
        assert float(points[10, 20, 1]) > 0.9 and not bool(picture[10].isnan().any())


def test_pages_are_drawn():
    digits = SphericalDigits("test", rotated=True, nside=4, size=5)
    assert digits.rotations is not None
    maps, centres = digits.maps(range(5)), digits.rotations[:, :, 0]
    page = viz.sphere_page(
        maps, list("72104"), centres, wrong=[True, False, False, True, False], title="Digits"
    )
    titles = [axis.get_title() for axis in page.axes]
    assert titles[0] == "✗ 7" and titles[1] == "✓ 2" and len(titles) == 8
    assert drawn(page) > 10_000
    # a constant map has no range to shade by
    assert drawn(viz.sphere_page(torch.ones(1, 48), ["flat"], torch.tensor([[1.0, 0.0, 0.0]]))) > 1000


def test_the_confusion_matrix_counts():
    truth, answer = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 2, 2, 0])
    figure = viz.confusion(answer, truth, ["a", "b", "c"], "title")
    counts = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in figure.axes[0].texts}
    assert counts == {(0, 0): "1", (0, 1): "1", (1, 1): "1", (2, 2): "2", (2, 0): "1"}
    assert "66.67 % right" in figure.axes[0].get_title()
    assert drawn(figure) > 1000


def test_curves_show_each_training():
    rows = [{"step": 1.0, "train_loss": 2.0}, {"step": 2.0, "val_loss": 1.0, "val_accuracy": 0.5}]
    figure = viz.curves({"nr": rows, "r": []})
    assert [line.get_text() for line in figure.axes[1].get_legend().get_texts()] == ["nr", "r"]  # type: ignore[union-attr]
    assert drawn(figure) > 1000


def test_mollweide_has_east_on_the_right():
    for nested in (False, True):
        east = pixel_to_vector(8, torch.arange(npix(8)), nested=nested)[:, 1]
        figure = viz.mollweide(east, "east", nested)
        shown = figure.axes[0].images[0].get_array()
        assert shown is not None
        # blue is low, red is high
        row = shown[len(shown) // 2]
        assert row[580, 0] > 2 * row[580, 2] and row[220, 2] > 2 * row[220, 0]
        assert drawn(figure) > 1000


def test_a_weighted_confusion_counts_weight():
    predicted, truth = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    figure = viz.confusion(predicted, truth, ["a", "b"], "t", torch.tensor([3.0, 1.0, 4.0]))
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["75.0", "25.0", "100.0"]
    assert "87.50 % right" in axis.get_title()


def test_a_mesh_is_drawn_from_the_front_its_near_faces_hide_the_far():
    # two triangles that look at the viewer, the nearer one first in the list
    vertices = torch.tensor([[0, 0, 2], [1, 0, 2], [0, 1, 2], [0, 0, 1], [2, 0, 1], [0, 2, 1]]).double()
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    labels = torch.tensor([1, 1, 1, 2, 2, 2])
    figure = viz.mesh_page([(vertices, faces)], [labels], ["a", "b", "c", "d"], ["one"])
    (axis,) = figure.axes
    image = axis.images[0].get_array()
    assert image is not None

    def colour(x, y):
        left, right, bottom, top = axis.images[0].get_extent()
        height, width = image.shape[:2]
        row, column = (top - y) / (top - bottom) * height, (x - left) / (right - left) * width
        return to_hex(image[int(row), int(column), :3])

    assert [colour(0.2, 0.2), colour(0.9, 0.9)] == [viz.LABEL_COLOURS[k] for k in (1, 2)]
    assert image[3, -3, 3] == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c", "d"]


def test_a_scene_is_painted_from_back_to_front_without_lines_that_face_away():
    from matplotlib.figure import Figure

    straight = torch.eye(3, dtype=torch.float64)
    near = torch.tensor([[0, 0, 2], [1, 0, 2], [0, 1, 2]]).double()
    corners, colours = (
        torch.stack([near, near - 2 * straight[2]]),
        torch.tensor([[1, 0, 0], [0, 1, 0]]).double(),
    )
    ends = torch.tensor([[0.2, 0.2, 0], [0.4, 0.2, 0]]).double()
    on_far = Lines(torch.stack([ends, ends]), torch.stack([straight[2], -straight[2]]), "#0000ff")
    axis = Figure().subplots()
    paint(axis, straight, corners, colours, [on_far])
    (collection,) = axis.collections
    # the far face, the line on it that faces the viewer, the near face
    assert [to_hex(c) for c in collection.get_facecolor()] == ["#00ff00", "#0000ff", "#ff0000"]


def test_a_view_is_right_up_and_towards_the_viewer():
    for turn in (0.0, 0.5, 4.0):
        view = oblique(turn)
        torch.testing.assert_close(view @ view.T, torch.eye(3, dtype=torch.float64))
        assert torch.linalg.det(view) > 0 and view[1, 1] > 0 and view[2, 1] > 0


def test_faces_are_cut_into_parts_that_cover_them():
    g = torch.Generator().manual_seed(0)
    corners = torch.rand(5, 3, 3, generator=g, dtype=torch.float64)
    # a linear function's mean over a part is its value in the part's middle
    parts, values = subdivided(corners, corners[..., 0] + 1j * corners[..., 1], 4)
    torch.testing.assert_close(values, torch.complex(parts.mean(1)[:, 0], parts.mean(1)[:, 1]))

    def area(faces):
        return torch.linalg.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0], dim=1)

    torch.testing.assert_close(area(parts).view(5, 16, 3), area(corners)[:, None].expand(5, 16, 3) / 16)


def test_an_arrow_is_a_shaft_and_two_barbs_at_its_tip_and_a_polyline_joins_what_follows():
    point, along, up = torch.eye(3, dtype=torch.float64).unbind(0)
    drawn_arrow = arrows(point[None], 2 * along[None], up[None], "k")
    tip = point + 2 * along
    assert (drawn_arrow.ends[:, 0] == tip).all() and (drawn_arrow.ends[0, 1] == point).all()
    assert (drawn_arrow.ends @ up == 0).all() and len(drawn_arrow.normals) == 3
    left, right = drawn_arrow.ends[1:, 1] - tip
    torch.testing.assert_close(left @ along, right @ along)
    torch.testing.assert_close(left @ point, -right @ point)
    points = torch.arange(24.0).view(2, 4, 3)
    line = polyline(points, points, "k")
    assert line.ends.shape == (6, 2, 3) and (line.ends[2, 1] == points[0, 3]).all()
