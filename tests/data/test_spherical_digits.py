"""The projection of digits on the sphere, against a direct computation pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from geocnn.data.spherical_digits import MEAN, STD, SphericalDigits, digit_features, project
from geocnn.errors import DatasetError
from geocnn.geometry.spheres.pixels import npix, pixel_to_vector, vector_to_pixel
from geocnn.groups.rotations import matrix_from_axis_angle


def directly(image: np.ndarray, point: np.ndarray) -> float:
    """The value at a point by trigonometry (distance and direction from +x) and scipy's bilinear reading."""
    if point[0] <= 0:
        return 0.0
    distance = math.acos(min(1.0, point[0]))
    radius = 14 * math.tan(distance / 2)
    direction = math.atan2(point[2], point[1])
    row, column = 13.5 - radius * math.sin(direction), 13.5 + radius * math.cos(direction)
    padded = np.pad(image, 2)
    return float(map_coordinates(padded, [[row + 2], [column + 2]], order=1)[0])


@pytest.mark.parametrize("rotated", [False, True])
def test_maps_equal_a_direct_computation(rotated):
    digits = SphericalDigits("test", rotated, nside=8, size=3)
    points = pixel_to_vector(8, torch.arange(npix(8))).numpy()
    for k, values in enumerate(digits.maps([0, 1, 2]).numpy()):
        turn = np.eye(3) if digits.rotations is None else digits.rotations[k].numpy()
        image = digits.images[k].numpy() / 255.0
        # p^T R = (R^-1 p)^T
        expected = [directly(image, point @ turn) for point in points]
        # float32: 1e-6 image pixels in place, slopes up to one grey level a pixel
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_pixel_lies_where_the_stereographic_projection_puts_it():
    image = torch.zeros(1, 28, 28, dtype=torch.float64)
    image[0, 13:15, 20] = 1.0  # 6.5 pixels east of the centre
    angle = torch.linspace(-math.pi, math.pi, 20001, dtype=torch.float64)
    equator = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
    brightest = float(angle[project(image, equator)[0].argmax()])
    # the step of the angles is 3e-4
    assert brightest == pytest.approx(2 * math.atan(6.5 / 14), abs=4e-4)


def test_east_is_on_the_right_and_north_is_up():
    points = pixel_to_vector(8, torch.arange(npix(8)))
    x, y, z = points.unbind(-1)
    image = torch.zeros(2, 28, 28)
    image[0, :, 14:] = 1.0  # right half
    image[1, :14, :] = 1.0  # upper half
    right, upper = project(image, points)
    # away from the rim and the edge between the halves, where the bilinear reading mixes
    near, margin = x > 0.2, 0.15
    assert bool((right[near & (y > margin)] > 0.99).all()) and bool(
        (right[near & (y < -margin)] < 0.01).all()
    )
    assert bool((upper[near & (z > margin)] > 0.99).all()) and bool(
        (upper[near & (z < -margin)] < 0.01).all()
    )


def test_a_quarter_turn_about_the_axis_only_renames_pixels():
    # The HEALPix grid is carried onto itself, so the rotated map is the upright one with its pixels renamed.
    upright = SphericalDigits("test", rotated=False, size=1)
    turned = SphericalDigits("test", rotated=True, size=1)
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    turned.rotations = matrix_from_axis_angle(axis, torch.tensor(math.pi / 2)).unsqueeze(0)
    points = pixel_to_vector(16, torch.arange(npix(16)))
    came_from = vector_to_pixel(16, points @ turned.rotations[0])
    # float32 rounding of the points moves values by 1e-6 image pixels
    torch.testing.assert_close(turned.maps([0])[0], upright.maps([0])[0][came_from], atol=2e-5, rtol=0)


def test_a_rotated_digit_keeps_its_ink():
    # The mean over the sphere does not change under rotation; the grid of nside 16 integrates it to about a
    # percent.
    upright, turned = (
        SphericalDigits("test", rotated, size=50).maps(range(50)).mean(1) for rotated in (False, True)
    )
    torch.testing.assert_close(upright, turned, rtol=0.03, atol=0)


def test_rotations_depend_on_seed_split_and_index_alone():
    few, many = (SphericalDigits("test", True, nside=4, seed=3, size=n) for n in (5, 200))
    assert few.rotations is not None and many.rotations is not None
    assert torch.equal(few.rotations, many.rotations[:5])
    one_by_one = torch.cat([few.maps([k]) for k in range(5)])
    # batches of different sizes may take different vector paths in the last float32 bit
    torch.testing.assert_close(many.maps([4, 2, 0])[[2, 1, 0]], one_by_one[[0, 2, 4]], atol=1e-6, rtol=0)
    assert torch.equal(
        few.maps(range(5)), SphericalDigits("test", True, nside=4, seed=3, size=5).maps(range(5))
    )
    for seed, split in ((4, "test"), (3, "val")):
        other = SphericalDigits(split, True, nside=4, seed=seed, size=5).rotations
        assert other is not None and not torch.equal(other, few.rotations)


def test_stretched_digits_are_the_image_read_through_the_stretch():
    g = torch.Generator().manual_seed(0)
    image = torch.rand(2, 28, 28, generator=g)
    points = torch.nn.functional.normalize(torch.randn(50, 3, generator=g), dim=1)
    twice = torch.diag(torch.tensor([2.0, 0.5])).expand(2, 2, 2)
    found = project(image, points, None, twice)
    # a point at (a, b) on the image plane shows what lies at (a / 2, 2 b)
    near = points[:, 0] > 0
    a, b = points[near, 1] / (1 + points[near, 0]) / 2, 2 * points[near, 2] / (1 + points[near, 0])
    x = (1 - a * a - b * b) / (1 + a * a + b * b)
    unstretched = torch.stack([x, a * (1 + x), b * (1 + x)], 1)
    inside = a * a + b * b < 1
    expected = project(image, unstretched[inside])
    torch.testing.assert_close(found[:, near][:, inside], expected, rtol=0, atol=1e-5)
    assert (found[:, ~near] == 0).all()


def test_stretches_are_drawn_anew_and_keep_upright_and_turned_apart():
    torch.manual_seed(0)
    plain, drawn = (SphericalDigits("train", True, nside=8, size=4, stretch=s) for s in (0.0, 0.2))
    one, other = drawn.maps(range(4)), drawn.maps(range(4))
    assert (one - other).abs().max() > 0.1
    s = drawn._stretches(4000)
    assert s is not None
    torch.testing.assert_close(s, s.mT, rtol=0, atol=1e-5)
    assert abs(float(torch.linalg.eigvalsh(s).log().mean())) < 0.01
    assert torch.equal(plain.maps(range(4)), plain.maps(range(4)))


def test_splits_have_their_sizes_and_do_not_overlap():
    train, val, test = (SphericalDigits(split, False, nside=4) for split in ("train", "val", "test"))
    assert [len(train), len(val), len(test)] == [55_000, 5_000, 10_000]
    # first labels of the original files (LeCun's page shows the same digits)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9] and test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    seen = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in seen for image in val.images)


def test_batches_are_features_and_labels():
    x, y = SphericalDigits("train", False, size=2000).__getitems__(range(2000))
    assert x.shape == (2000, 3072, 1) and x.dtype == torch.float32 and y.dtype == torch.int64
    # a sample of 2000 digits is within 2 % of the whole training set
    assert float(x.mean()) == pytest.approx(0.0, abs=0.02) and float(x.std()) == pytest.approx(1.0, abs=0.02)
    single, label = SphericalDigits("train", False, size=3)[2]
    torch.testing.assert_close(single, x[2], atol=1e-5, rtol=0)
    assert int(label) == int(y[2])


def test_normalise_is_affine():
    values = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(digit_features(values)[0, :, 0], torch.tensor([-MEAN / STD, (1 - MEAN) / STD]))


def test_bad_arguments_are_refused():
    with pytest.raises(DatasetError, match=r"'dev'.*train, val, test"):
        SphericalDigits("dev", False)
    with pytest.raises(DatasetError, match="10000 digits; 10001"):
        SphericalDigits("test", False, size=10_001)
