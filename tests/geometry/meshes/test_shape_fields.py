"""Shape fields by name, heat times as an argument, and the spectrum of a whole shape."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import laplacian_spectrum, mesh, shape_features, shape_fields
from geocnn.geometry.spheres.icosahedron import Icosahedron


def egg(level: int = 3, scale: float = 1.0):
    solid = Icosahedron(level)
    stretch = torch.tensor([1.0, 1.3, 0.8], dtype=torch.float64)
    return mesh(solid.points * stretch * scale, solid.faces[-1])


def sphere(level: int):
    solid = Icosahedron(level)
    return mesh(solid.points, solid.faces[-1])


def test_the_features_are_the_fields_joined():
    x, field_type = shape_features(egg(2))
    fields = shape_fields(egg(2))
    assert torch.equal(fields.x, x) and fields.type == field_type == "11x0 + 5x1 + 1x2"
    assert {name: str(of) for name, of in fields.types.items()} == {
        "mean curvature": "1x0",
        "Gaussian curvature": "1x0",
        "heat kernel": "4x0",
        "normal offsets": "5x0",
        "tangent offsets": "5x1",
        "bending": "1x2",
    }


def test_each_name_holds_what_it_says():
    radius = 2.0
    fields = shape_fields(mesh(radius * sphere(3).points, sphere(3).faces))
    length = radius * math.sqrt(4 * math.pi)
    assert (fields["mean curvature"] - math.asinh(length / radius)).abs().max() < 0.05
    assert (fields["Gaussian curvature"] - math.asinh(length**2 / radius**2)).abs().max() < 0.05
    assert (fields["normal offsets"][:, 0] - radius / length).abs().max() < 0.01
    assert fields["bending"].abs().max() < 0.2


def test_heat_times_are_an_argument():
    all_four, two = shape_fields(egg(2)), shape_fields(egg(2), times=[0.02, 0.32])
    assert two.type == "7x0 + 3x1 + 1x2"
    torch.testing.assert_close(two["heat kernel"], all_four["heat kernel"][:, [1, 3]])
    torch.testing.assert_close(two["normal offsets"], all_four["normal offsets"][:, [0, 2, 4]])
    assert shape_features(egg(2), (0.1,))[1] == "5x0 + 2x1 + 1x2"
    for times in ([], [0.1, -1], [math.nan], [0.0]):
        with pytest.raises(GeometryError, match="one or more positive numbers"):
            shape_fields(egg(1), times)


def test_the_spectrum_of_a_sphere_is_known():
    """λ A = 4π l(l + 1), 2l + 1 times."""
    expected = [4 * math.pi * l * (l + 1) for l in (1, 2, 3) for _ in range(2 * l + 1)]
    found = laplacian_spectrum(sphere(4), 15)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0.02, atol=0)
    coarser = laplacian_spectrum(sphere(3), 15)
    assert (coarser / found - 1).abs().max() < 0.05


def test_only_the_scaled_spectrum_forgets_the_size():
    small, large = egg(2), egg(2, scale=3.0)
    torch.testing.assert_close(laplacian_spectrum(small), laplacian_spectrum(large), rtol=1e-9, atol=0)
    own = laplacian_spectrum(small, scaled=False) / laplacian_spectrum(large, scaled=False)
    torch.testing.assert_close(own, torch.full_like(own, 9.0), rtol=1e-9, atol=0)


def test_two_components_have_one_more_zero():
    one, n = egg(2), 162
    two = mesh(torch.cat([one.points, one.points + 10]), torch.cat([one.faces, one.faces + n]))
    values = laplacian_spectrum(two, 5, scaled=False)
    alone = laplacian_spectrum(one, 2, scaled=False)
    assert values[0].abs() < 1e-8
    torch.testing.assert_close(values[1:], alone.repeat_interleave(2), rtol=1e-8, atol=0)


def test_misuse_is_a_typed_error():
    with pytest.raises(GeometryError, match="at least one eigenvalue"):
        laplacian_spectrum(egg(1), 0)
    with pytest.raises(GeometryError, match="42 vertices has 41"):
        laplacian_spectrum(egg(1), 60)
