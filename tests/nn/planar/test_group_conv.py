"""Group convolutions: exact where the group maps pixels to pixels, converging where it does not."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from geocnn.errors import GeometryError, GroupError
from geocnn.groups import generated, grid_symmetries, group, intertwiners, permutation_matrices, product_table
from geocnn.nn import GroupConv, GroupPool, IsotropicConv2d, LiftingConv
from geocnn.nn.planar.group_conv import moved, turned_basis
from tests.nn.planes import F64, randn

EXACT = ["C1", "C2", "C4", "D1", "D2", "D4"]


def order(name: str) -> int:
    return len(product_table(group(name)))


def network(name: str, **arguments) -> nn.Module:
    torch.manual_seed(0)
    layers = [LiftingConv(name, 2, 3, 3, **arguments), nn.ReLU(), GroupConv(name, 3, 4, 5, **arguments)]
    made = nn.Sequential(*layers).to(F64)
    nn.init.normal_(made[0].bias)
    nn.init.normal_(made[2].bias)
    return made


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("size", [(9, 9), (8, 8), (9, 12), (11, 8)], ids=str)
@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": "full"},
        {"padding": "valid"},
        {"padding_mode": "zeros"},
        {"padding_mode": "circular"},
        {"padding_mode": "reflect"},
    ],
    ids=lambda a: next(iter(a.values())),
)
def test_layers_commute_with_every_element_at_every_size(name, size, arguments):
    layers, x = network(name, **arguments), randn(2, 2, *size)
    y = layers(x)
    for g in range(order(name)):
        expected = moved(y, name, g, fibre=True)
        torch.testing.assert_close(layers(moved(x, name, g)), expected, rtol=0, atol=1e-13)
    assert (y[:, :, 1:] - y[:, :, :-1]).abs().max() > 0.1 if order(name) > 1 else True  # not invariant alone
    pooled = nn.Sequential(layers, GroupPool(), nn.AdaptiveMaxPool2d(1))
    for g in range(order(name)):
        torch.testing.assert_close(pooled(moved(x, name, g)), pooled(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", EXACT)
def test_elements_move_images_as_they_multiply(name):
    x, field = randn(3, 5, 6), randn(3, order(name), 4, 4)
    table = product_table(group(name))
    for g, h in itertools.product(range(order(name)), repeat=2):
        gh = int(table[g, h])
        assert torch.equal(moved(moved(x, name, h), name, g), moved(x, name, gh))
        twice = moved(moved(field, name, h, fibre=True), name, g, fibre=True)
        assert torch.equal(twice, moved(field, name, gh, fibre=True))


@pytest.mark.parametrize("name", ["C4", "D4"])
def test_exact_kernels_are_one_kernel_rotated_and_flipped(name):
    layer = LiftingConv(name, 2, 3, 5).to(F64)
    taps = layer.taps().unflatten(0, (3, -1))
    kernel = layer.weight.unflatten(-1, (5, 5))
    for g in range(order(name)):
        assert torch.equal(taps[:, g], moved(kernel, name, g))


def test_layers_first_used_without_gradients_train_and_export():
    network = nn.Sequential(LiftingConv("C8", 1, 2, 3), nn.ReLU(), GroupConv("C8", 2, 2, 3))
    x = torch.randn(1, 1, 6, 6)
    with torch.inference_mode():
        network(x)
    network(x).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert torch.equal(torch.export.export(network, (x,)).module()(x), network(x))
    assert set(network.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_lifting_and_group_convolution_are_the_sums_they_say():
    c4, x = "C4", randn(1, 1, 6, 6)
    lift, conv = LiftingConv(c4, 1, 1, 3, bias=False).to(F64), GroupConv(c4, 1, 1, 3, bias=False).to(F64)
    kernel = lift.weight.view(1, 1, 3, 3)
    lifted = torch.stack([F.conv2d(x, kernel.rot90(-g, (2, 3)), padding=1) for g in range(4)], 2)
    torch.testing.assert_close(lift(x), lifted, rtol=0, atol=1e-14)
    kernels = conv.weight.view(4, 1, 1, 3, 3)
    expected = [
        sum(F.conv2d(lifted[:, :, h], kernels[(h - g) % 4].rot90(-g, (2, 3)), padding=1) for h in range(4))
        for g in range(4)
    ]
    torch.testing.assert_close(conv(lifted), torch.stack(expected, 2), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["C4", "D4"])
def test_no_other_linear_maps_commute(name):
    # on a cyclic grid, images to regular fields: as many as kernels with a regular fibre, and these are they
    generators, n = grid_symmetries((3, 3), name), order(name)
    elements = generated(generators)
    number = {tuple(p.tolist()): k for k, p in enumerate(elements)}
    regular = torch.tensor([[number[tuple(g[h].tolist())] for h in elements] for g in generators])
    found = intertwiners(permutation_matrices(generators), permutation_matrices(regular))
    layer = LiftingConv(name, 1, 1, 3, padding_mode="circular", bias=False).to(F64)
    assert len(found) == layer.weight.numel() == 9
    assert len(elements) == 9 * n
    impulses = torch.eye(9, dtype=F64).view(9, 1, 3, 3)
    maps = []
    for tap in range(9):
        layer.weight.data = F.one_hot(torch.tensor(tap), 9).to(F64).view_as(layer.weight)
        maps.append(layer(impulses).flatten(1).T)  # [9 |G|, 9]
    # place p of image g is the element whose inverse shows it what place 0 sees
    seen = torch.stack(maps).argmax(-1).view(3, 3, -1).roll((-1, -1), (0, 1)).flatten(0, 1)
    at = [number[tuple(row)] for row in seen.T.tolist()]
    span = torch.linalg.qr(found[:, at].flatten(1).T).Q
    rows = torch.stack(maps).detach().flatten(1)
    torch.testing.assert_close(rows @ span @ span.T, rows, rtol=0, atol=1e-12)


# --------------------------------------------------------------- rotations that do not map pixels to pixels


def smooth(scale: float, angle: float, size: int = 33) -> torch.Tensor:
    """Three bumps, a pattern `scale` pixels large, turned about the centre: [1, 1, size, size]."""
    axis = (torch.arange(size, dtype=F64) - (size - 1) / 2) / scale
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    image = torch.zeros(size, size, dtype=F64)
    for radius, at, height in [(1.0, 0.3, 1.0), (1.8, 2.0, -0.7), (1.4, 4.1, 0.8)]:
        place = radius * math.cos(at + angle), radius * math.sin(at + angle)
        image += height * torch.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2))
    return image[None, None]


@pytest.mark.parametrize("name", ["C8", "C6", "D6"])
@torch.no_grad()
def test_other_rotations_are_kept_the_better_the_finer_the_pixels(name):
    torch.manual_seed(0)
    layers = nn.Sequential(LiftingConv(name, 1, 4, 5), nn.SiLU(), GroupConv(name, 4, 4, 5)).to(F64)
    table, n = product_table(group(name)), group(name).rotations
    errors = []
    for scale in (4, 8, 16):
        # the fibre over the centre turns by a shift of its elements
        y, turned = (layers(smooth(scale, a))[..., 16, 16] for a in (0.0, 2 * math.pi / n))
        errors.append(float((turned - y[..., table[1].argsort()]).norm() / y.norm()))
    assert errors[1] < 0.05
    assert math.log2(errors[1] / errors[2]) > 1.8  # of second order


@pytest.mark.parametrize("name", ["C8", "D8", "C12"])
def test_the_quarter_turns_and_flips_within_are_exact(name):
    torch.manual_seed(0)
    layers = nn.Sequential(LiftingConv(name, 1, 2, 5), nn.ReLU(), GroupConv(name, 2, 2, 5)).to(F64)
    x, n = randn(1, 1, 8, 9), group(name).rotations
    table = product_table(group(name))
    quarter = layers(x.rot90(1, (3, 2)))
    expected = layers(x)[:, :, table[n // 4].argsort()].rot90(1, (4, 3))
    torch.testing.assert_close(quarter, expected, rtol=0, atol=1e-13)
    if group(name).flips:
        flipped = layers(x)[:, :, table[n].argsort()].flip(3)
        torch.testing.assert_close(layers(x.flip(2)), flipped, rtol=0, atol=1e-13)


def test_disc_functions_are_independent_and_alike_for_every_element():
    for size, count in [(1, 1), (3, 2 + 4), (5, 3 + 8), (7, 4 + 12)]:
        basis = turned_basis(group("C8"), size)
        assert basis.shape == (8, count, size**2)
        assert torch.linalg.matrix_rank(basis[0]) == count
        assert torch.linalg.cond(basis[0]) < 100


@pytest.mark.parametrize("size", [8, 9])
def test_isotropic_correlation_commutes_with_all_symmetries_of_the_grid(size):
    torch.manual_seed(0)
    layer, x = IsotropicConv2d(2, 3, 5).to(F64), randn(2, 2, size, size)
    for g in range(8):
        torch.testing.assert_close(layer(moved(x, "D4", g)), moved(layer(x), "D4", g), rtol=0, atol=1e-13)
    a, b = (layer(smooth(8, angle).repeat(1, 2, 1, 1))[..., 16, 16] for angle in (0.0, 0.77))
    assert float((a - b).detach().norm() / a.detach().norm()) < 2e-3  # any angle


@pytest.mark.parametrize(
    ("make", "fibre"),
    [
        (lambda **a: LiftingConv("C8", 6, 20, 5, **a), []),
        (lambda **a: GroupConv("D4", 6, 20, 3, **a), [8]),
        (lambda **a: IsotropicConv2d(6, 20, 5, **a), []),
    ],
    ids=["lifting", "group", "isotropic"],
)
def test_initial_weights_keep_the_variance(make, fibre):
    torch.manual_seed(0)
    y = make(padding="valid")(torch.randn(20, 6, *fibre, 16, 16))
    assert 0.7 < float(y.detach().var()) < 1.4  # at least 20 · 6 · 3 weights: a scatter of 7 %


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LiftingConv("SO2", 1, 1, 3), GroupError, "needs infinitely many images"),
        (lambda: GroupConv("C4", 1, 1, 4), GeometryError, "kernel_size must be odd, got 4"),
        (
            lambda: GroupConv("C4", 1, 1, 3, padding=1),
            GeometryError,
            "padding must be 'full', 'same' or 'valid'",
        ),
        (
            lambda: GroupConv("C4", 2, 1, 3)(torch.zeros(1, 2, 8, 5, 5)),
            GeometryError,
            r"takes \[B, 2, 4, rows",
        ),
        (lambda: LiftingConv("C4", 2, 1, 3)(torch.zeros(2, 5, 5)), GeometryError, r"takes \[B, 2, rows"),
        (lambda: moved(torch.zeros(3, 3), "C8", 1), GroupError, "element 1 of C8 turns by 45°"),
    ],
)
def test_bad_input_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
