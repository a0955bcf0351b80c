"""Subsampling: what a stride breaks, a blur softens, and a grid chosen by the image keeps exactly."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from geocnn.errors import GeometryError
from geocnn.nn import BlurPool2d, EquivariantSubsample2d, GroupConv, GroupPool, LiftingConv, to_full
from tests.nn.planes import F64, on_canvas, randn, spread


class Stride(nn.Module):
    """Every second pixel, as a stride does."""

    def forward(self, x):
        return x[..., ::2, ::2]


def three_levels(subsample, channels: int = 5) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for c in (1, channels, channels):
        layers += [nn.Conv2d(c, channels, 3), nn.ReLU(), subsample()]
    head = [nn.Conv2d(channels, channels, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *head, nn.Linear(channels, 3)).to(F64)


@pytest.mark.parametrize("shape", [(13, 16), (17, 11)], ids=str)
@pytest.mark.parametrize("background", [0.0, -0.7])
def test_a_network_of_three_levels_is_invariant_to_every_shift(shape, background):
    images = on_canvas(randn(1, 5, 4), shape, background)
    assert len(images) == (shape[0] - 4) * (shape[1] - 3)
    network = to_full(three_levels(EquivariantSubsample2d), background)
    assert spread(network, images) < 1e-13
    assert spread(to_full(three_levels(Stride), background), images) > 5e-4


def test_single_precision_chooses_the_same_grids():
    images = on_canvas(randn(1, 5, 4), (12, 13)).float()
    network = to_full(three_levels(EquivariantSubsample2d)).float()
    assert spread(network, images) < 1e-5  # another grid would change the answer by 1e-3


def test_with_stride_3_and_ties_between_equal_pixels_too():
    network = to_full(three_levels(lambda: EquivariantSubsample2d(3)))
    content = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 1]], dtype=F64)  # as a binary digit has
    assert spread(network, on_canvas(content[None], (11, 13))) < 1e-13


def test_round_a_torus_it_is_invariant_to_all_shifts():
    x = (randn(1, 1, 16, 24) > 0.3).to(F64)  # with ties, and shifts that pass the seam
    images = torch.cat([x.roll(t, (2, 3)) for t in itertools.product(range(16), range(24))])
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for c in (1, 4, 4):
        conv = nn.Conv2d(c, 4, 3, padding="same", padding_mode="circular")
        layers += [conv, nn.ReLU(), EquivariantSubsample2d(2, "circular")]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)).to(F64)
    assert spread(network, images) < 1e-13


def test_the_result_moves_by_whole_coarse_pixels():
    pool, images = EquivariantSubsample2d(3), on_canvas(randn(2, 5, 5), (12, 12))
    base = pool.place(images[:1])[0]
    for k, t in enumerate(itertools.product(range(8), range(8))):
        t = torch.tensor(t)
        assert torch.equal(pool.place(images[k : k + 1])[0], base + t)
        coarse = (base + t) // 3 - base // 3
        expected = pool(images[:1]).roll(tuple(coarse.tolist()), (2, 3))
        assert torch.equal(pool(images[k : k + 1]), expected)


def test_it_keeps_the_pixels_on_its_grid_and_no_others():
    x, pool = randn(3, 2, 7, 9), EquivariantSubsample2d(2)
    for image, (row, column), y in zip(x, pool.place(x).tolist(), pool(x), strict=True):
        kept = image[:, row % 2 :: 2, column % 2 :: 2]
        assert torch.equal(y[:, : kept.shape[1], : kept.shape[2]], kept)
        assert y.abs().sum() == kept.abs().sum()  # the rest lies beyond the border


def test_a_symmetric_image_has_one_place_of_highest_score():
    # weights that fell off alike to the right and downwards would leave two, mirror images of each other
    pool, x = EquivariantSubsample2d(2, "circular"), torch.zeros(1, 1, 8, 8, dtype=F64)
    x[..., 1, 4] = x[..., 4, 1] = 1
    assert torch.equal(x, x.mT)
    shifts = torch.tensor(list(itertools.product(range(8), range(8))))
    images = torch.cat(
        [x.roll(t, (2, 3)) for t in shifts.tolist()]
    )  # past the seam, mirrors change their order
    assert torch.equal(pool.place(images), (pool.place(x) + shifts) % 8)


def test_images_in_a_batch_choose_for_themselves_and_gradients_reach_what_is_kept():
    x, pool = randn(4, 2, 8, 8).requires_grad_(), EquivariantSubsample2d(2)
    torch.testing.assert_close(pool(x), torch.cat([pool(image[None]) for image in x]))
    (gradient,) = torch.autograd.grad(pool(x).sum(), x)
    assert int(gradient.sum()) == 4 * 2 * 16


@pytest.mark.parametrize("subsample", [BlurPool2d(2), EquivariantSubsample2d(2)], ids=repr)
def test_a_batch_may_be_empty(subsample):
    assert subsample(torch.zeros(0, 3, 5, 6)).shape == (0, 3, 3, 3)


def test_regular_fields_are_subsampled_with_one_grid():
    torch.manual_seed(0)
    layers = [LiftingConv("C4", 1, 3, 3), nn.ReLU(), EquivariantSubsample2d(), GroupConv("C4", 3, 3, 3)]
    network = nn.Sequential(*layers, GroupPool(), nn.AdaptiveMaxPool2d(1)).to(F64)
    nn.init.uniform_(network[0].bias)
    assert spread(to_full(network), on_canvas(randn(1, 4, 4), (10, 11))) < 1e-13


# -------------------------------------------------------------------------------------------------- the blur


@pytest.mark.parametrize("order", [0, 2, 4])
def test_the_blur_is_binomial_and_keeps_constants(order):
    impulse = torch.zeros(1, 1, 9, 9, dtype=F64)
    impulse[..., 4, 4] = 1
    y = BlurPool2d(stride=1, order=order, padding_mode="zeros")(impulse)
    row = {0: [1.0], 2: [0.25, 0.5, 0.25], 4: [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16]}[order]
    torch.testing.assert_close(
        y[0, 0, 4, 4 - order // 2 : 5 + order // 2],
        y[0, 0, 4, 4] / row[len(row) // 2] * torch.tensor(row, dtype=F64),
    )
    assert float(y.sum()) == pytest.approx(1, abs=1e-15)
    ones = torch.ones(2, 3, 4, 7, 6, dtype=F64)
    assert torch.equal(BlurPool2d(2, order)(ones), torch.ones(2, 3, 4, 4, 3, dtype=F64))


def test_a_blur_makes_shifts_change_less_and_less():
    images = on_canvas(randn(1, 6, 6), (18, 18))

    def changed(subsample):
        return spread(to_full(nn.Sequential(subsample, nn.ReLU(), nn.AdaptiveAvgPool2d(1))), images)

    errors = [changed(nn.Sequential(Stride())), *(changed(BlurPool2d(2, order)) for order in (2, 4, 8))]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.3
    assert errors[3] < 0.1 * errors[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BlurPool2d(order=3), "order must be even, got 3"),
        (lambda: BlurPool2d(0), "stride must be a whole number of pixels, 1 or more, got 0"),
        (lambda: EquivariantSubsample2d((2, 2)), "stride must be a whole number of pixels"),
        (lambda: BlurPool2d()(torch.zeros(3, 8, 8)), r"takes \[B, ..., rows, columns\]"),
        (lambda: EquivariantSubsample2d()(torch.zeros(3, 8, 8)), r"takes \[B, ..., rows, columns\]"),
        (lambda: BlurPool2d(padding="full"), "continues the image by one value"),
        (lambda: EquivariantSubsample2d(padding_mode="reflect"), "a mirror image does not move"),
        (
            lambda: EquivariantSubsample2d(2, "circular")(torch.zeros(1, 1, 5, 4)),
            "5 x 4 pixels has no subgrid",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(GeometryError, match=message):
        make()
