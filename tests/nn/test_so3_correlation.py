"""Harmonic correlation: equivariant to rounding, what GaugeConv tends to, and what the integral says."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from geocnn.errors import FieldTypeError, GeometryError, MapError
from geocnn.geometry import Stencil, healpix
from geocnn.groups.field_type import FieldType
from geocnn.groups.rotations import random_rotations
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import equiangular, field_analysis, field_synthesis, gauss_legendre, healpix_grid
from geocnn.harmonics.homogeneous import homogeneous_correlation, sphere_space
from geocnn.nn import GaugeConv, SO3Correlation


def random_fields(field_type: str, lmax: int, seed: int = 0) -> torch.Tensor:
    """Coefficients [copies, lmax + 1, 2 lmax + 1] of random fields; scalars among them are real."""
    t, g = FieldType(field_type), torch.Generator().manual_seed(seed)
    copies = sum(t.multiplicity(i) for i in t.irreps)
    alm = torch.randn(copies, lmax + 1, 2 * lmax + 1, dtype=torch.complex128, generator=g)
    # what no field has is left out by the synthesis
    grid = gauss_legendre(lmax + 1, 2 * lmax + 2)
    return field_analysis(field_synthesis(alm, t, grid), t, grid, lmax)


LAYERS = [
    ("2x0", "3x0"),
    ("2x0", "2x0 + 1x1 + 2x2"),
    ("1x0 + 2x1 + 1x2", "2x2 + 2x0 + 1x1 + 1x3"),
]


@pytest.mark.parametrize(("in_type", "out_type"), LAYERS)
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_it_commutes_with_generic_rotations(in_type, out_type, local, dtype, bound):
    lmax, grid = 15, gauss_legendre(16, 32)
    torch.manual_seed(0)
    layer = SO3Correlation(in_type, out_type, lmax, *((3, 0.9) if local else ())).to(dtype)
    nn.init.normal_(layer.bias)
    alm = random_fields(in_type, lmax)
    with torch.no_grad():
        for rotation in random_rotations(3, torch.Generator().manual_seed(1)):
            turned = field_synthesis(rotate_coefficients(alm, rotation), in_type, grid).to(dtype)
            found = layer(turned, grid).double()
            upright = layer(field_synthesis(alm, in_type, grid).to(dtype), grid).double()
            there = rotate_coefficients(field_analysis(upright, out_type, grid, lmax), rotation)
            expected = field_synthesis(there, out_type, grid)
            assert (found - expected).norm() / expected.norm() < bound


def test_another_matrix_does_not_commute():
    """The protocol above can fail: a factor that differs from order to order is no correlation."""
    lmax, grid = 7, gauss_legendre(8, 16)
    alm, rotation = random_fields("1x0", lmax), random_rotations(1, torch.Generator().manual_seed(1))[0]
    factor = 1 + 0.1 * torch.arange(-lmax, lmax + 1).abs()
    error = rotate_coefficients(alm * factor, rotation) - rotate_coefficients(alm, rotation) * factor
    assert error.norm() / alm.norm() > 0.05
    assert grid.n_points == 128


@cache
def made(nside: int, kind: str) -> Stencil:
    return healpix(nside).stencil(0.6, kind=kind)


def stencil(nside: int, kind: str) -> Stencil:
    """Shared geometry; an operator, which can take a gigabyte, goes with its test."""
    return replace(made(nside, kind))


PAIRS = [(n, m) for n in (0, 1, 2) for m in (0, 1, 2)]
TWINS = [(n, m, "log") for n, m in PAIRS] + [
    # ten seconds each, most of them for 11 million entries
    pytest.param(n, m, "exp", marks=() if (n, m) in ((0, 1), (2, 1)) else pytest.mark.slow)
    for n, m in PAIRS
]


@pytest.mark.parametrize(("n", "m", "kind"), TWINS)
def test_gauge_convolution_tends_to_its_harmonic_twin(n, m, kind):
    """Both kernels, a and b, at once: a GaugeConv has both. No constant is left over."""
    torch.manual_seed(0)
    local = GaugeConv(f"1x{n}", f"1x{m}", rings=2, bias=False).double()
    alm, errors = random_fields(f"1x{n}", 6), []
    for nside in (4, 8, 16):
        grid = healpix_grid(nside)
        x = field_synthesis(alm, f"1x{n}", grid)
        with torch.no_grad():
            found = local(x, stencil(nside, kind))
            expected = local.to_harmonic(0.6, 2 * nside)(x, grid)
        errors.append(float((found - expected).norm() / expected.norm()))
    # 2 → 0 is a second derivative, most of which cancels: 5 % on 3,072 points
    assert errors[-1] < (0.06 if abs(n - m) == 2 else 0.04), errors
    assert math.log2(errors[1] / errors[2]) > 1.5, errors


def test_many_copies_and_frequencies_find_their_weights():
    torch.manual_seed(0)
    types = "2x0 + 1x1 + 3x2", "2x1 + 2x0 + 1x2"
    local = GaugeConv(*types, rings=3).double()
    nn.init.normal_(local.bias)
    x = field_synthesis(random_fields(types[0], 6), types[0], healpix_grid(16))
    with torch.no_grad():
        found = local(x, stencil(16, "log"))
        expected = local.to_harmonic(0.6, 32)(x, healpix_grid(16))
    assert (found - expected).norm() / expected.norm() < 0.01


def test_fewer_angular_frequencies_are_fewer_here_too():
    torch.manual_seed(0)
    local = GaugeConv("1x2", "1x2", rings=2, max_frequency=1, bias=False).double()
    x = field_synthesis(random_fields("1x2", 6), "1x2", healpix_grid(16))
    with torch.no_grad():
        found = local(x, stencil(16, "log"))
        expected = local.to_harmonic(0.6, 32)(x, healpix_grid(16))
    assert (found - expected).norm() / expected.norm() < 0.01


def test_the_twin_shares_its_weights_both_ways():
    local = GaugeConv("1x0 + 1x1", "2x0 + 1x1", rings=2)
    twin = local.to_harmonic(0.5, 7)
    again = twin.to_local()
    for a, b, c in zip(local.parameters(), twin.parameters(), again.parameters(), strict=True):
        assert a is b and b is c
    x = torch.randn(3, 128, 3)
    twin(x, gauss_legendre(8, 16)).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in local.parameters())
    with pytest.raises(FieldTypeError, match="free weights"):
        SO3Correlation("1x0", "1x0", 3).to_local()


@pytest.mark.parametrize("twin", ["harmonic", "local"])
def test_the_twin_lies_on_its_layer_s_device(twin):
    local = GaugeConv("1x0 + 1x1", "2x0 + 1x1", rings=2)
    # "meta" is a device that every machine has
    made = (
        local.to("meta").to_harmonic(0.5, 7)
        if twin == "harmonic"
        else local.to_harmonic(0.5, 7).to("meta").to_local()
    )
    assert all(t.device.type == "meta" for t in [*made.parameters(), *made.buffers()])
    assert list(made.buffers())


def test_scalars_are_the_integral_written_out():
    torch.manual_seed(0)
    grid, radius, lmax = gauss_legendre(48, 96), 1.2, 40
    layer = SO3Correlation("1x0", "1x0", lmax, 2, radius, bias=False).double()
    x = field_synthesis(random_fields("1x0", 5), "1x0", grid)
    weight = layer.weight["0"].detach()[0, :, 0]

    def kernel(q):
        from geocnn.groups.radial import Cosine

        r = torch.atan2(q[..., :2].norm(dim=-1), q[..., 2])
        # the layer integrates over the tangent plane, r dr, and this over the sphere, sin r dr
        flat = torch.where(r > 0, r / r.sin().clamp_min(1e-12), 1.0)
        values = Cosine(2)(r / radius, 0) @ weight * flat / (math.pi * radius**2)
        return torch.where(r < radius, values, 0.0)

    at = torch.nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64), dim=1)
    expected = homogeneous_correlation(kernel, x[:, 0], sphere_space(grid), at)
    with torch.no_grad():
        y = field_analysis(layer(x, grid), "1x0", grid, lmax)[0]
    theta, phi = torch.acos(at[:, 2]), torch.atan2(at[:, 1], at[:, 0])
    found = _at(y, theta, phi)
    # the kernel's second derivative jumps at its knots, which a 48-point rule sees to 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * float(expected.abs().max()))


def _at(alm, theta, phi):
    from scipy.special import sph_harm_y

    lmax = alm.shape[0] - 1
    total = torch.zeros(len(theta), dtype=torch.complex128)
    for l in range(lmax + 1):
        for m in range(-l, l + 1):
            total += alm[l, lmax + m] * torch.from_numpy(sph_harm_y(l, m, theta.numpy(), phi.numpy()))
    return total.real


def test_free_weights_keep_the_variance_of_white_fields():
    torch.manual_seed(0)
    types, lmax, grid = "8x0 + 8x1 + 4x2", 12, gauss_legendre(13, 26)
    layer = SO3Correlation(types, types, lmax).double().requires_grad_(False)
    alm = torch.stack([random_fields(types, lmax, seed) for seed in range(10)])
    before, after = (field_synthesis(c, types, grid) for c in (alm, layer.correlate(alm)))
    ratio = float(after.square().mean() / before.square().mean())
    assert 0.7 < ratio < 1.4


def test_the_answer_may_lie_on_another_grid():
    layer = SO3Correlation("1x0", "1x0 + 1x1", lmax=5).double()
    x = field_synthesis(random_fields("1x0", 5), "1x0", equiangular(16, 32))
    fine, coarse = equiangular(16, 32), gauss_legendre(6, 12)
    with torch.no_grad():
        one, other = layer(x, fine), layer(x, fine, coarse)
    assert other.shape == (72, 3)
    one, other = (field_analysis(y, "1x0 + 1x1", g, 5) for y, g in ((one, fine), (other, coarse)))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("in_type", "out_type"), [*LAYERS, ("1x1 + 2x0 + 1x1", "1x2 + 2x0 + 1x1 + 1x2")])
@pytest.mark.parametrize("local", [False, True])
def test_matrix_products_and_transforms_are_one_map(in_type, out_type, local, monkeypatch):
    """On short rings forward takes the dense way; values and all derivatives are those of the other."""
    torch.manual_seed(0)
    layer = SO3Correlation(in_type, out_type, 6, *((2, 0.8) if local else ())).double()
    nn.init.normal_(layer.bias)
    grid, out_grid = gauss_legendre(8, 16), equiangular(9, 17)
    x = torch.randn(2, 3, 128, layer.in_type.dim, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(2, 3, 153, layer.out_type.dim, dtype=torch.float64)

    def answer():
        y = layer(x, grid, out_grid)
        return y, *torch.autograd.grad(y, [x, *layer.parameters()], cotangent)

    dense = answer()
    monkeypatch.setattr("geocnn.nn.so3_correlation.is_dense", lambda *_: False)
    for a, b in zip(dense, answer(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
    torch.testing.assert_close(layer(x[0, 0], grid, out_grid), dense[0][0, 0], rtol=0, atol=1e-12)


def test_gradients():
    grid = gauss_legendre(4, 8)
    layer = SO3Correlation("1x0 + 1x1", "1x0 + 1x1", 3, 2, 1.0).double()
    x = torch.randn(2, 32, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x, grid))

    assert torch.autograd.gradcheck(call, (x, *layer.parameters()))


def test_what_does_not_fit_is_refused():
    with pytest.raises(FieldTypeError, match=r"SO\(2\)"):
        SO3Correlation("O2: 1x0e", "O2: 1x0e", 3)
    with pytest.raises(FieldTypeError, match="lmax ≥ 2"):
        SO3Correlation("1x0", "1x2", 1)
    with pytest.raises(GeometryError, match="both rings and a radius"):
        SO3Correlation("1x0", "1x0", 3, rings=2)
    with pytest.raises(GeometryError, match="between 0 and π"):
        SO3Correlation("1x0", "1x0", 3, rings=2, radius=4.0)
    with pytest.raises(FieldTypeError, match="rings=0"):
        SO3Correlation("1x0", "1x0", 3, rings=0, radius=0.5)
    layer, grid = SO3Correlation("1x0", "1x0", 9), gauss_legendre(8, 16)
    with pytest.raises(GeometryError, match="lmax=9"):
        layer(torch.randn(128, 1), grid)
    with pytest.raises(FieldTypeError, match="points, 1"):
        SO3Correlation("1x0", "1x0", 3)(torch.randn(128, 2), grid)
    with pytest.raises(MapError, match="do not lie on"):
        SO3Correlation("1x0", "1x0", 3)(torch.randn(100, 1), grid)
    with pytest.raises(FieldTypeError, match="int64"):
        SO3Correlation("1x0", "1x0", 3)(torch.ones(128, 1, dtype=torch.int64), grid)


@pytest.mark.parametrize("grid", [gauss_legendre(8, 16), healpix_grid(4)], ids=repr)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_float32(grid, dtype):
    """On both ways, also where a layer before made the features less."""
    layer = SO3Correlation("1x0 + 1x1", "2x0 + 1x1", 5, rings=2, radius=0.5)
    x = torch.randn(2, grid.n_points, 3).to(dtype)
    exact = layer(x.float(), grid)
    with torch.autocast("cpu", dtype):
        y = layer(x, grid)
    assert torch.equal(y, exact)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


@pytest.mark.parametrize("grid", [gauss_legendre(8, 16), healpix_grid(4)], ids=repr)
def test_an_empty_batch_has_an_empty_answer(grid):
    layer = SO3Correlation("1x0 + 1x1", "2x0 + 1x1", 5)
    assert layer(torch.randn(0, grid.n_points, 3), grid).shape == (0, grid.n_points, 4)


def test_a_seed_gives_the_weights_of_a_gauge_conv():
    types = "2x0 + 2x1", "4x0 + 2x1 + 1x2"
    torch.manual_seed(3)
    local = GaugeConv(*types, rings=3)
    torch.manual_seed(3)
    twin = SO3Correlation(*types, lmax=7, rings=3, radius=0.5)
    assert list(twin.state_dict()) == list(local.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), local.parameters(), strict=True))


def test_a_seed_gives_free_weights_drawn_after_those_of_one_ring():
    types = "2x0 + 2x1", "1x0"
    torch.manual_seed(3)
    GaugeConv(*types, rings=1)
    # 2 scalars and 2 vectors reach a scalar by 1 and 2 moments: 6 paths, of variance 1/6 each
    expected = torch.randn(8, 1, 6, 1) / math.sqrt(6)
    torch.manual_seed(3)
    free = SO3Correlation(*types, lmax=7).weight["0"]
    assert torch.equal(free, expected)
