"""HEALPix pixels against healpy, against closed forms, and by the order at which interpolation converges."""

import math

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry.spheres.pixels import (
    angle_to_pixel,
    bilinear_weights,
    check_nside,
    cubic_weights,
    neighbours,
    nested_to_ring,
    npix,
    nside_of,
    pixel_to_angle,
    pixel_to_vector,
    ring_to_nested,
    rings,
    vector_to_pixel,
)

SMALL = (1, 2, 4, 8, 16, 32)
ORDERS = pytest.mark.parametrize("nested", [False, True], ids=["ring", "nested"])


@pytest.fixture(scope="module")
def healpy():
    return pytest.importorskip("healpy")


def every_pixel(nside):
    return torch.arange(npix(nside), dtype=torch.int64)


def random_directions(count, seed=0):
    """theta, phi uniform on the sphere, with phi from -3 to 3 turns."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(2, count, generator=generator, dtype=torch.float64)
    return torch.acos(2 * u[0] - 1), (6 * u[1] - 3) * 2 * math.pi


def unit_vector(theta, phi):
    return torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)


# ------------------------------------------------------------------------------------------- against healpy


@ORDERS
@pytest.mark.parametrize("nside", SMALL)
def test_pixel_centres_are_healpys(healpy, nside, nested):
    theta, phi = pixel_to_angle(nside, every_pixel(nside), nested=nested)
    vector = pixel_to_vector(nside, every_pixel(nside), nested=nested)
    theta_healpy, phi_healpy = healpy.pix2ang(nside, every_pixel(nside).numpy(), nest=nested)
    vector_healpy = healpy.pix2vec(nside, every_pixel(nside).numpy(), nest=nested)
    # acos and asin of the same number, a few rounding errors each
    torch.testing.assert_close(theta, torch.from_numpy(theta_healpy), rtol=0, atol=1e-14)
    torch.testing.assert_close(phi, torch.from_numpy(phi_healpy), rtol=0, atol=1e-14)
    for ours, theirs in zip(vector.unbind(-1), vector_healpy, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-14)


@ORDERS
@pytest.mark.parametrize("nside", SMALL)
def test_pixel_of_a_direction_is_healpys(healpy, nside, nested):
    theta, phi = random_directions(50_000, seed=nside)
    near_poles = torch.linspace(1e-9, 0.3, 2000, dtype=torch.float64)
    theta = torch.cat([theta, near_poles, math.pi - near_poles])
    phi = torch.cat([phi, torch.linspace(-7, 7, 4000, dtype=torch.float64)])
    # Random directions lie on a boundary, where either pixel is right, with probability 0.
    expected = torch.from_numpy(healpy.ang2pix(nside, theta.numpy(), phi.numpy(), nest=nested))
    assert torch.equal(angle_to_pixel(nside, theta, phi, nested=nested), expected)
    vectors = 3 * unit_vector(theta, phi)
    # The vector is rounded, by 1e-16; none of these directions is as close as that to a boundary.
    assert torch.equal(vector_to_pixel(nside, vectors, nested=nested), expected)


@pytest.mark.parametrize("nside", SMALL)
def test_order_conversions_are_healpys(healpy, nside):
    pixel = every_pixel(nside)
    assert torch.equal(ring_to_nested(nside, pixel), torch.from_numpy(healpy.ring2nest(nside, pixel.numpy())))
    assert torch.equal(nested_to_ring(nside, pixel), torch.from_numpy(healpy.nest2ring(nside, pixel.numpy())))


@ORDERS
@pytest.mark.parametrize("nside", SMALL)
def test_neighbours_are_healpys(healpy, nside, nested):
    expected = torch.from_numpy(healpy.get_all_neighbours(nside, every_pixel(nside).numpy(), nest=nested)).T
    assert torch.equal(neighbours(nside, every_pixel(nside), nested=nested), expected)


@ORDERS
@pytest.mark.parametrize("nside", [1, 2, 8, 64, 1024])
def test_bilinear_weights_are_healpys(healpy, nside, nested):
    theta, phi = random_directions(100_000, seed=nside)
    theta[:4] = torch.tensor([0, math.pi, 1e-12, math.pi - 1e-12], dtype=torch.float64)
    pixel, weight = bilinear_weights(nside, theta, phi, nested=nested)
    pixel_healpy, weight_healpy = map(
        torch.from_numpy, healpy.get_interp_weights(nside, theta.numpy(), phi.numpy(), nest=nested)
    )
    (pixel, order), (pixel_healpy, order_healpy) = pixel.sort(-1), pixel_healpy.T.sort(-1)
    assert torch.equal(pixel, pixel_healpy)
    # a weight is a difference of angles divided by the ring spacing: rounding grows with nside
    expected = weight_healpy.T.gather(-1, order_healpy)
    torch.testing.assert_close(weight.gather(-1, order), expected, rtol=0, atol=1e-14 * (10 + nside))


@pytest.mark.parametrize("nside", SMALL)
def test_rings_are_healpys(healpy, nside):
    found = rings(nside)
    start, count, z, _, shifted = healpy.ringinfo(nside, torch.arange(1, 4 * nside).numpy())
    assert torch.equal(found.start, torch.from_numpy(start))
    assert torch.equal(found.n_phi, torch.from_numpy(count))
    torch.testing.assert_close(found.z, torch.from_numpy(z), rtol=0, atol=1e-15)
    torch.testing.assert_close(found.theta.cos(), found.z, rtol=0, atol=1e-15)
    expected = torch.from_numpy(shifted).double() * math.pi / found.n_phi
    torch.testing.assert_close(found.phi0, expected, rtol=0, atol=1e-15)


# ------------------------------------------------------------------------------------------------- by itself


@ORDERS
@pytest.mark.parametrize("nside", [1, 2, 64, 1024, 8192])
def test_round_trips(nside, nested):
    generator = torch.Generator().manual_seed(nside)
    pixel = torch.randint(0, npix(nside), (200, 50), generator=generator)
    pixel[0, :4] = torch.tensor([0, 1, npix(nside) - 2, npix(nside) - 1])
    assert torch.equal(
        angle_to_pixel(nside, *pixel_to_angle(nside, pixel, nested=nested), nested=nested), pixel
    )
    assert torch.equal(
        vector_to_pixel(nside, pixel_to_vector(nside, pixel, nested=nested), nested=nested), pixel
    )
    assert torch.equal(nested_to_ring(nside, ring_to_nested(nside, pixel)), pixel)


@pytest.mark.parametrize("nside", [2, 16, 512])
def test_nested_pixels_hold_their_four_children(nside):
    """A child's centre lies in its parent: what hierarchies rely on."""
    child = torch.arange(0, npix(2 * nside), max(1, npix(2 * nside) // 5000))
    theta, phi = pixel_to_angle(2 * nside, child, nested=True)
    assert torch.equal(angle_to_pixel(nside, theta, phi, nested=True), child // 4)


@pytest.mark.parametrize("nside", [1, 16, 8192])
def test_directions_on_a_boundary_fall_in_an_adjacent_pixel(nside):
    """Which side wins is not specified, but no corner of a face may throw it to another corner."""
    rounding = torch.tensor([0, 1e-16, -1e-16, 2e-16, -2e-16, 1e-15, -1e-15], dtype=torch.float64)
    theta = torch.acos(torch.tensor([2 / 3, 0, -2 / 3], dtype=torch.float64))[:, None, None] + rounding
    phi = torch.arange(-8, 9, dtype=torch.float64)[:, None, None, None] * math.pi / 4 + rounding[:, None]
    theta, phi = torch.broadcast_tensors(theta, phi)
    centre = pixel_to_vector(nside, angle_to_pixel(nside, theta, phi))
    # No point of a pixel is further than 1 / nside from its centre (half its longer diagonal: 0.9 / nside).
    assert (centre - unit_vector(theta, phi)).norm(dim=-1).max() < 1 / nside


@pytest.mark.parametrize("nested", [False, True])
def test_neighbours_are_mutual_and_seven_for_24_pixels(nested):
    around = neighbours(8, every_pixel(8), nested=nested)
    assert ((around == -1).sum(-1) <= 1).all()
    assert (around == -1).sum() == 24
    back = neighbours(8, around.clamp(min=0), nested=nested)
    is_mutual = (back == every_pixel(8)[:, None, None]).any(-1)
    assert (is_mutual | (around == -1)).all()


def test_longitude_is_periodic_and_inputs_broadcast():
    theta = torch.tensor([0.3, 1.2, 2.9], dtype=torch.float64)[:, None]
    phi = torch.tensor([0.1, 0.1 - 2 * math.pi, 0.1 + 4 * math.pi], dtype=torch.float64)
    pixel = angle_to_pixel(16, theta, phi)
    assert pixel.shape == (3, 3)
    assert (pixel == pixel[:, :1]).all()
    for weights in (bilinear_weights, cubic_weights):
        _, weight = weights(16, theta, phi)
        # 2 pi is known to 2e-16; divided by a spacing of 1 / 16 and amplified by the fit
        torch.testing.assert_close(weight, weight[:, :1].expand_as(weight), rtol=0, atol=1e-11)


def test_float32_and_integer_inputs_give_float64_and_int64():
    theta, phi = pixel_to_angle(4, torch.tensor([3, 5], dtype=torch.int32))
    assert theta.dtype == phi.dtype == torch.float64
    assert angle_to_pixel(4, theta.float(), phi.float()).dtype == torch.int64
    south_pole = torch.tensor(math.pi, dtype=torch.float32)  # rounds to 9e-8 beyond pi
    assert angle_to_pixel(4, south_pole, torch.tensor(0.1)).item() == 188
    assert cubic_weights(4, theta.float(), phi.float())[1].dtype == torch.float64


def test_nothing_depends_on_the_default_dtype_or_device():
    """On the meta device nothing has a value: a tensor made there instead of on the input's device fails."""
    pixel = every_pixel(4)
    theta, phi = random_directions(200)

    def everything():
        yield from pixel_to_angle(4, pixel)
        yield from bilinear_weights(4, theta, phi, nested=True)
        yield from cubic_weights(4, theta, phi, nested=True)
        yield neighbours(4, pixel)
        yield vector_to_pixel(4, pixel_to_vector(4, pixel))

    expected = list(everything())
    torch.set_default_dtype(torch.float16)
    try:
        with torch.device("meta"):
            found = list(everything())
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b)
    assert rings(4, device="meta").theta.device.type == "meta"


def test_inputs_are_left_as_they_were():
    theta, phi = random_directions(100)
    pixel = every_pixel(4)
    copies = [t.clone() for t in (theta, phi, pixel)]
    angle_to_pixel(4, theta, phi), bilinear_weights(4, theta, phi), cubic_weights(4, theta, phi)
    neighbours(4, pixel), pixel_to_angle(4, pixel)
    assert all(torch.equal(a, b) for a, b in zip((theta, phi, pixel), copies, strict=True))


# -------------------------------------------------------------------------------------------- interpolation


@ORDERS
@pytest.mark.parametrize("nside", [2, 4, 64, 8192])
def test_cubic_weights_reproduce_cubics_in_the_tangent_plane(nside, nested):
    theta, phi = random_directions(2000, seed=nside)
    corner = math.acos(2 / 3)
    theta[:6] = torch.tensor([0, math.pi, 1e-9, corner, math.pi - corner, corner], dtype=torch.float64)
    phi[:6] = torch.tensor([0.4, 0.4, 2, 0, math.pi / 2, math.pi], dtype=torch.float64)
    pixel, weight = cubic_weights(nside, theta, phi, nested=nested)
    assert pixel.shape == weight.shape == (2000, 16)
    equator = torch.full_like(theta, math.pi / 2)
    south, east = unit_vector(theta + equator, phi), unit_vector(equator, phi + equator)
    centre = nside * pixel_to_vector(nside, pixel, nested=nested)
    a, b = (centre * south[:, None]).sum(-1), (centre * east[:, None]).sum(-1)
    for i in range(4):
        for j in range(4 - i):
            at_sample = torch.full((2000,), float(i == j == 0), dtype=torch.float64)
            # monomials are of size 10 to 30 on the block, the normal equations lose up to 5 digits
            torch.testing.assert_close((weight * a**i * b**j).sum(-1), at_sample, rtol=0, atol=1e-9)
    assert weight.abs().sum(-1).max() < 2.3  # what the docstring promises
    own = angle_to_pixel(nside, theta, phi, nested=nested)
    assert (pixel == own[:, None]).any(-1).all()


@pytest.mark.parametrize("nside", [2, 4, 16])
def test_cubic_weights_use_no_pixel_twice(nside):
    theta, phi = random_directions(20_000)
    pixel, weight = cubic_weights(nside, theta, phi)
    used = torch.where(weight != 0, pixel, -1 - torch.arange(16)).sort(-1).values
    assert (used[:, 1:] != used[:, :-1]).all()
    assert (weight != 0).sum(-1).min() == 12


def test_cubic_weights_take_the_pixels_value_at_its_centre():
    pixel, weight = cubic_weights(32, *pixel_to_angle(32, every_pixel(32)))
    at_own = torch.where(pixel == every_pixel(32)[:, None], weight, 0.0).sum(-1)
    # the decay of `cubic_weights` is (1e-3)^-2 at 0 and about 1 one pixel away
    assert (at_own - 1).abs().max() < 1e-5


def harmonics(theta, phi, coefficient):
    """A random real function of degree <= 8, by SciPy."""
    sph_harm_y = pytest.importorskip("scipy.special").sph_harm_y
    total = torch.zeros_like(theta)
    for degree in range(9):
        for order in range(degree + 1):
            y = torch.from_numpy(sph_harm_y(degree, order, theta.numpy(), phi.numpy()))
            total += coefficient[0, degree, order] * y.real + coefficient[1, degree, order] * y.imag
    return total


def hard_directions(seed):
    """Directions all over, at and near both poles, on the seams |cos(theta)| = 2/3, at face corners."""
    theta, phi = random_directions(8000, seed)
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(3, 1000, generator=generator, dtype=torch.float64)
    pole = 10 ** (-6 * u[0]) / 2
    pole[0] = 0
    seam = torch.acos(2 / 3 + 0.02 * (2 * u[1] - 1))
    corner_phi = torch.arange(1000) % 4 * (math.pi / 2) + 0.02 * (2 * u[2] - 1)
    theta = torch.cat([theta, pole, math.pi - pole, seam, math.pi - seam, seam])
    return theta, torch.cat([phi, *(2 * math.pi * u), 2 * math.pi * u[0], corner_phi])


def errors_by_nside(weights, theta, phi, seed):
    """Largest error relative to the function's largest value, at nside 8, 16, 32, 64."""
    generator = torch.Generator().manual_seed(seed)
    coefficient = torch.randn(2, 9, 9, generator=generator, dtype=torch.float64)
    exact, errors = harmonics(theta, phi, coefficient), []
    for nside in (8, 16, 32, 64):
        values = harmonics(*pixel_to_angle(nside, every_pixel(nside)), coefficient)
        pixel, weight = weights(nside, theta, phi)
        errors.append(((weight * values[pixel]).sum(-1) - exact).abs().max() / exact.abs().max())
    return torch.stack(errors)


@pytest.mark.parametrize("seed", [0, 1])
def test_cubic_interpolation_is_of_fourth_order_everywhere(seed):
    errors = errors_by_nside(cubic_weights, *hard_directions(seed), seed)
    orders = torch.log2(errors[:-1] / errors[1:])
    # observed over four seeds: 3.65 to 4.05
    assert (orders > 3.5).all(), orders
    assert errors[-1] < 1e-5  # observed 5e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_bilinear_interpolation_is_of_second_order_away_from_the_poles(seed):
    theta, phi = hard_directions(seed)
    away = (theta > 0.5) & (theta < math.pi - 0.5)
    errors = errors_by_nside(bilinear_weights, theta[away], phi[away], seed)
    # observed over four seeds: 1.95 to 2.02
    assert (torch.log2(errors[1] / errors[3]) / 2 - 2).abs() < 0.15, errors


def test_bilinear_interpolation_is_of_first_order_at_the_poles():
    """The reason cubic weights do not interpolate along rings: the function x on a ring of four pixels."""
    _, phi = random_directions(2000)
    errors = []
    for nside in (16, 32, 64):
        theta = rings(nside).theta[0].expand_as(phi)
        pixel, weight = bilinear_weights(nside, theta, phi)
        error = (weight * pixel_to_vector(nside, pixel)[..., 0]).sum(-1) - theta.sin() * phi.cos()
        errors.append(error.abs().max())
    assert 0.9 < math.log2(errors[0] / errors[2]) / 2 < 1.1


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("nside", [1, 2, 64, 8192])
def test_sizes_are_each_others_inverse(nside):
    assert nside_of(npix(check_nside(nside))) == nside


@pytest.mark.parametrize(
    ("nside", "message"),
    [
        (3, "power of two.*got 3, use 2 or 4"),
        (100, "use 64 or 128"),
        (0, "use 1$"),
        (-4, "use 1$"),
        (16384, "use 8192$"),
        (16.0, "must be an integer, got 16.0"),
        ("16", "must be an integer"),
    ],
)
def test_bad_nside_is_refused(nside, message):
    with pytest.raises(GeometryError, match=message):
        check_nside(nside)


def test_pixels_that_do_not_exist_are_refused():
    for function in (pixel_to_angle, pixel_to_vector, neighbours, ring_to_nested, nested_to_ring):
        with pytest.raises(GeometryError, match="run from 0 to 47; 2 do not exist, the first is 48"):
            function(2, torch.tensor([0, 48, -1]))
        with pytest.raises(GeometryError, match="integers"):
            function(2, torch.tensor([0.0]))


def test_directions_that_do_not_exist_are_refused():
    fine = torch.tensor([0.0, 0.0])
    for function in (angle_to_pixel, bilinear_weights, cubic_weights):
        for theta in (-0.1, 3.2, math.nan):
            with pytest.raises(GeometryError, match=r"colatitude in radians.*1 directions"):
                function(4, torch.tensor([0.1, theta]), fine)
        with pytest.raises(GeometryError, match="phi inf"):
            function(4, fine, torch.tensor([0.0, math.inf]))
    with pytest.raises(GeometryError, match=r"vector 1 is zero or not finite \(1 in all\)"):
        vector_to_pixel(4, torch.tensor([[1.0, 0, 0], [0, 0, 0]]))
    with pytest.raises(GeometryError, match=r"shape \[\.\.\., 3\], got \[2\]"):
        vector_to_pixel(4, fine)
    with pytest.raises(GeometryError, match="nside >= 2"):
        cubic_weights(1, fine, fine)
