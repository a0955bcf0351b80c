"""Harmonic blocks and networks commute with rotations as far as their grids have room."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import FieldTypeError
from geocnn.geometry import healpix
from geocnn.groups.rotations import random_rotations
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import (
    field_analysis,
    field_synthesis,
    gauss_legendre,
    healpix_grid,
    random_coefficients,
    synthesis,
)
from geocnn.nn import GaugeConv, HarmonicBlock, HarmonicEncoder, HarmonicUNet, spectral_pool, sphere_mean
from tests.nn.test_so3_correlation import random_fields

ROTATIONS = random_rotations(3, torch.Generator().manual_seed(1))


def fields(alm, types, grid):
    return field_synthesis(alm, types, grid)


def test_a_block_commutes_the_better_the_more_room_there_is():
    types, lmax, found = "4x0 + 4x1 + 4x2", 7, []
    for room in (1, 2, 3):
        grid = gauss_legendre(8 * room, 16 * room)
        torch.manual_seed(0)
        block = HarmonicBlock(types, types, lmax, samples=5 * room).double().eval()
        alm = random_fields(types, lmax)
        with torch.no_grad():
            upright = field_analysis(block(fields(alm, types, grid), grid), types, grid, lmax)
            errors = []
            for rotation in ROTATIONS:
                turned = block(fields(rotate_coefficients(alm, rotation), types, grid), grid)
                off = field_analysis(turned, types, grid, lmax) - rotate_coefficients(upright, rotation)
                errors.append(float(off.norm() / upright.norm()))
        found.append(max(errors))
    # what a smooth activation adds falls off faster than any power of the degree
    assert found[1] < 0.1 * found[0] and found[2] < 0.25 * found[1], found


def test_an_encoder_s_answer_does_not_turn():
    grids = [gauss_legendre(n, 2 * n) for n in (24, 18, 12)]
    torch.manual_seed(0)
    model = HarmonicEncoder("1x0", ["6x0 + 6x1", "8x0 + 8x1"], [5, 4], n_out=3).double().eval()
    alm = random_coefficients(5, 8, torch.Generator().manual_seed(0))
    with torch.no_grad():
        upright = model(synthesis(alm, grids[0])[..., None], grids)
        for rotation in ROTATIONS:
            turned = model(synthesis(rotate_coefficients(alm, rotation), grids[0])[..., None], grids)
            # the fibre's 8 samples, twice (see FourierNonlinearity), averaged over the sphere
            assert (turned - upright).norm() < 0.01 * (upright - upright.mean(0)).norm()


def test_a_u_net_s_fields_turn_with_its_input():
    """The better the more room its grids and fibres have."""
    out_type, rotation, found = "1x0 + 1x1", ROTATIONS[0], []
    alm = random_fields("2x0", 7)
    for room in (2, 4):
        grids = [gauss_legendre(n * room, 2 * n * room) for n in (8, 4)]
        torch.manual_seed(0)
        model = HarmonicUNet("2x0", ["4x0 + 4x1", "6x0 + 6x1"], [7, 3], out_type, samples=6 * room)
        model = model.double().eval()
        with torch.no_grad():
            upright = field_analysis(model(fields(alm, "2x0", grids[0]), grids), out_type, grids[0], 7)
            turned = model(fields(rotate_coefficients(alm, rotation), "2x0", grids[0]), grids)
        off = field_analysis(turned, out_type, grids[0], 7) - rotate_coefficients(upright, rotation)
        found.append(float(off.norm() / upright.norm()))
    assert found[1] < 0.1 * found[0] < 0.01, found


def test_every_level_of_a_u_net_counts_near_and_far():
    grids, spheres = [healpix_grid(8), healpix_grid(4)], [healpix(8), healpix(4)]
    stencils = [s.stencil(3 * s.spacing, kind="log").to(dtype=torch.float32) for s in spheres]
    model = HarmonicUNet("1x0", ["4x0 + 4x1", "4x0 + 4x1"], [8, 4], "1x0 + 1x1", near=2)
    y = model(torch.randn(2, 768, 1), grids, stencils)
    y.square().sum().backward()
    assert y.shape == (2, 768, 3)
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())


def test_what_comes_back_from_a_coarse_level_has_no_more_degrees_than_its_layers():
    grids, came = [gauss_legendre(12, 24), gauss_legendre(9, 18)], []
    model = HarmonicUNet("1x0", ["3x0 + 3x1", "3x0 + 3x1"], [8, 4], "1x0").double()
    model.up[0].register_forward_pre_hook(lambda _, given: came.append(given[0][..., :9]))
    model(torch.randn(1, 288, 1, dtype=torch.float64), grids)
    alm = field_analysis(came[0], "3x0 + 3x1", grids[0], 8)
    largest = alm.detach().abs().amax((0, 1, 3))
    assert float(largest[5:].max()) < 1e-12 < float(largest[4])


def test_near_and_far_add_up():
    grid, sphere = healpix_grid(8), healpix(8)
    stencil = sphere.stencil(0.5, kind="log")
    torch.manual_seed(0)
    block = HarmonicBlock("2x0", "4x0 + 4x1", lmax=12, near=2).double().eval()
    x = torch.randn(3, 768, 2, dtype=torch.float64)
    assert isinstance(block.near, GaugeConv)
    expected = block.act(block.norm(block.far(x, grid) + block.near(x, stencil)))
    torch.testing.assert_close(block(x, grid, stencil=stencil), expected)
    # from a fine sphere to a coarse one
    down = sphere.stencil(0.5, kind="log", targets=healpix(4))
    assert block(x, grid, healpix_grid(4), down).shape == (3, 192, 12)
    with pytest.raises(FieldTypeError, match="needs a stencil"):
        block(x, grid)


def test_spectral_pooling_keeps_what_the_coarse_grid_carries():
    fine, coarse = gauss_legendre(16, 32), gauss_legendre(6, 12)
    alm = random_fields("1x0 + 1x1", 15)
    found = field_analysis(
        spectral_pool(fields(alm, "1x0 + 1x1", fine), "1x0 + 1x1", fine, coarse), "1x0 + 1x1", coarse, 5
    )
    torch.testing.assert_close(found, alm[:, :6, 10:21], rtol=0, atol=1e-12)


def test_the_mean_over_the_sphere_is_degree_zero():
    alm = random_fields("3x0 + 1x2", 6)
    found = sphere_mean(fields(alm, "3x0 + 1x2", gauss_legendre(8, 16)), "3x0 + 1x2", gauss_legendre(8, 16))
    torch.testing.assert_close(found, alm[:3, 0, 6].real / (4 * torch.pi) ** 0.5)


def test_training_moves_every_weight():
    grids = [gauss_legendre(n, 2 * n) for n in (8, 6, 4)]
    model = HarmonicEncoder("1x0", ["4x0 + 4x1", "4x0 + 4x1"], [5, 3], n_out=2)
    model(torch.randn(4, 128, 1), grids).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())


def test_autocast_reaches_every_network():
    grids = [gauss_legendre(8, 16), gauss_legendre(6, 12)]
    u_net = HarmonicUNet("1x0", ["4x0 + 4x1"] * 2, [5, 3], "1x0").eval()
    encoder = HarmonicEncoder("1x0", ["4x0 + 4x1"], [5], 3, rings=2).eval()
    x = torch.randn(2, 128, 1)
    for model in (u_net, encoder):
        exact = model(x, grids)
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x, grids).float()
        # bfloat16 has 8 bits, and some ten operations add up
        assert float((y - exact).detach().norm() / exact.detach().norm()) < 0.03
        y.sum().backward()


def test_degree_zero_alone_has_kernels_of_the_whole_sphere():
    model = HarmonicEncoder("1x0", ["4x0"], [0], 2, rings=2)
    assert model.blocks[0].far.radius == torch.pi


def test_kernels_reach_as_far_as_asked():
    """`reach` times the smallest distance that the degrees of a block tell apart, at most π."""
    model = HarmonicEncoder("1x0", ["2x0"] * 3, [12, 6, 1], 2, rings=2, reach=1.5)
    radii = [block.far.radius for block in model.blocks]
    assert radii == pytest.approx([1.5 * torch.pi / 12, 1.5 * torch.pi / 6, torch.pi])


def test_what_does_not_fit_is_named():
    with pytest.raises(FieldTypeError, match="at least one width"):
        HarmonicUNet("1x0", [], [], "1x0")
    with pytest.raises(FieldTypeError, match="irreps 2, which the finest width 4x0 \\+ 4x1 lacks"):
        HarmonicUNet("1x0", ["4x0 + 4x1"], [5], "1x0 + 1x2")
    with pytest.raises(FieldTypeError, match="one degree per width: 2, got 1"):
        HarmonicEncoder("1x0", ["1x0", "1x0"], [3], 1)
    with pytest.raises(FieldTypeError, match="per width are needed, 2 in all, got 1 and 2"):
        HarmonicUNet("1x0", ["1x0", "1x0"], [3, 3], "1x0")(torch.randn(1, 32, 1), [gauss_legendre(4, 8)])
    with pytest.raises(FieldTypeError, match="3 grids, got 2"):
        HarmonicEncoder("1x0", ["1x0", "1x0"], [3, 3], 1)(torch.randn(1, 32, 1), [gauss_legendre(4, 8)] * 2)


@pytest.mark.parametrize("made", [gauss_legendre, healpix_grid])
def test_a_compiled_block_answers_alike_at_any_batch_and_grid(made):
    torch.manual_seed(0)
    model = HarmonicBlock("1x0", "2x0 + 2x1", 3).eval()
    # aot_eager traces forward and backward as any backend's graph is traced, and needs no C++ compiler
    compiled = torch.compile(model, backend="aot_eager")
    for batch, n in ((2, 4), (3, 8)):
        grid = made(n)
        x = torch.randn(batch, grid.n_points, 1, requires_grad=True)
        answers = [network(x, grid) for network in (model, compiled)]
        torch.testing.assert_close(answers[1], answers[0])
        torch.testing.assert_close(*(torch.autograd.grad(y.square().sum(), x)[0] for y in answers))
