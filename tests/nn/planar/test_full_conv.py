"""Full convolutions: torch's layers with another padding, and networks of them over an unbounded canvas."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from geocnn.errors import GeometryError
from geocnn.nn import FullConv1d, FullConv2d, FullConv3d, GroupConv, GroupPool, LiftingConv, to_full
from tests.nn.planes import F64, on_canvas, randn, spread

LAYERS = [(FullConv1d, nn.Conv1d, 1), (FullConv2d, nn.Conv2d, 2), (FullConv3d, nn.Conv3d, 3)]


@pytest.mark.parametrize(("full", "plain", "n"), LAYERS, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("dilation", [1, 2])
def test_it_is_torchs_layer_on_the_image_with_zeros_all_around(full, plain, n, dilation):
    ours = full(4, 6, 3, dilation=dilation, groups=2, dtype=F64)
    theirs = plain(4, 6, 3, dilation=dilation, groups=2, dtype=F64)
    theirs.load_state_dict(ours.state_dict())
    x = randn(2, 4, *[5] * n)
    y = ours(x)
    assert y.shape[2:] == (5 + 2 * dilation,) * n
    torch.testing.assert_close(y, theirs(F.pad(x, [2 * dilation] * 2 * n)), rtol=0, atol=1e-13)
    assert isinstance(ours, plain)


def test_in_one_dimension_it_is_the_product_of_polynomials():
    layer = FullConv1d(1, 1, 3, bias=False, dtype=F64)
    layer.load_state_dict({"weight": torch.tensor([[[3.0, 2.0, 1.0]]])})  # a correlation: taps reversed
    # (1 + 2t + 3t²)(4 + 5t) = 4 + 13t + 22t² + 15t³
    assert layer(torch.tensor([[[4.0, 5.0]]], dtype=F64)).tolist() == [[[4.0, 13.0, 22.0, 15.0]]]


@pytest.mark.parametrize(("full", "plain", "n"), LAYERS, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": "same"},
        {"padding": "same", "padding_mode": "circular"},
        {"padding": "same", "padding_mode": "reflect"},
        {"padding": "valid"},
        {"padding": 2, "stride": 2},
    ],
    ids=str,
)
def test_other_paddings_are_torchs(full, plain, n, arguments):
    ours, theirs = full(2, 3, 3, **arguments), plain(2, 3, 3, **arguments)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 2, *[6] * n)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": "most"}, "padding must be one of full, same, valid, got 'most'"),
        ({"padding_mode": "circular"}, "continues the image by one value"),
    ],
)
def test_paddings_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(GeometryError, match=message):
        FullConv2d(1, 1, 3, **arguments)


# ------------------------------------------------------------------------- a network over an unbounded canvas


def two_biased_layers(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = [FullConv2d(1, 8, 3), nn.ReLU(), FullConv2d(8, 8, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1)).to(F64)


def test_two_biased_layers_padded_with_zeros_leak_16_percent():
    # the largest change of the globally pooled answer when 2 x 2 pixels go round an 8 x 8 canvas; torch's
    # initial weights, the mean over 50 networks (their median 15 %)
    leaks, kept = [], []
    for seed in range(50):
        network = two_biased_layers(seed)
        images = on_canvas(randn(1, 2, 2, seed=seed).abs(), (8, 8)).roll(-24, 0)  # the first: in the middle
        leaks.append(spread(network, images))
        kept.append(spread(to_full(network), images))
    assert abs(sum(leaks) / len(leaks) - 0.165) < 0.01  # other random numbers would be off by 0.015
    assert max(kept) < 1e-13


BODIES = {
    "biased layers": lambda: [nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 5), nn.ReLU()],
    "batch norm": lambda: [
        nn.Conv2d(2, 6, 3),
        nn.BatchNorm2d(6),
        nn.SiLU(),
        nn.Conv2d(6, 4, 3),
        nn.Sigmoid(),
    ],
    "dilated, grouped": lambda: [
        nn.Conv2d(2, 6, 3, dilation=2, groups=2),
        nn.GELU(),
        nn.Conv2d(6, 6, (3, 1)),
    ],
    "same and circular": lambda: [
        nn.Conv2d(2, 6, 3, padding="same"),
        nn.ReLU(),
        FullConv2d(6, 6, 3, padding="same", padding_mode="circular"),
        nn.ReLU(),
    ],
    "a group": lambda: [
        LiftingConv("C4", 2, 3, 3),
        nn.ReLU(),
        GroupConv("C4", 3, 3, 3),
        nn.ReLU(),
        GroupPool(),
    ],
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("pool", [nn.AdaptiveMaxPool2d(1), nn.AdaptiveAvgPool2d(1)], ids=["max", "mean"])
@pytest.mark.parametrize("background", [0.0, [0.5, -1.0]], ids=str)
def test_invariant_to_every_shift_that_keeps_the_content_inside(body, pool, background):
    torch.manual_seed(0)
    network = nn.Sequential(*BODIES[body](), pool).to(F64)
    for part in network.modules():
        if isinstance(part, (LiftingConv, GroupConv, nn.BatchNorm2d)):
            nn.init.normal_(part.bias)  # not empty, as after training
    if isinstance(network[1], nn.BatchNorm2d):
        network(randn(4, 2, 9, 9))  # running statistics that are not 0 and 1
    images = on_canvas(randn(2, 3, 4), (7, 8), torch.tensor(background))
    assert spread(to_full(network.eval(), background), images) < 1e-13
    assert spread(network, images) > 1e-3


@pytest.mark.parametrize(("conv", "n"), [(nn.Conv1d, 1), (nn.Conv3d, 3)])
def test_so_it_is_on_a_line_and_in_space(conv, n):
    torch.manual_seed(0)
    network = nn.Sequential(conv(1, 4, 3), nn.ReLU(), conv(4, 4, 3), nn.ReLU()).to(F64)
    x = torch.zeros(1, 1, *[7] * n, dtype=F64)
    x[(..., *[slice(2)] * n)] = randn(*[2] * n)
    axes = tuple(range(2, n + 2))
    for t in range(1, 6):
        expected, found = (to_full(network)(image).sum(axes) for image in (x, x.roll((t,) * n, axes)))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)  # sums of up to 1,331 pixels
    alone = nn.Sequential(*(to_full(part) if isinstance(part, conv) else part for part in network))
    a, b = (alone(image).sum(axes) for image in (x, x.roll((3,) * n, axes)))
    assert (a - b).abs().max() > 1e-5  # each layer by itself, with zeros beyond


def test_in_training_shifts_keep_the_batchs_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)).to(F64)
    full = to_full(network).train()
    content = torch.stack([torch.zeros(1, 8, 8, dtype=F64)] * 2)
    content[:, :, 2:4, 2:4] = randn(2, 1, 2, 2)
    a, b = full(content), full(content.roll((3, -2), (2, 3)))
    torch.testing.assert_close(a.amax((2, 3)), b.amax((2, 3)), rtol=0, atol=1e-13)
    assert full[1].running_mean.abs().max() > 0


def test_parameters_keep_names_shapes_and_gradients():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 2, 3, bias=False)))
    full = to_full(network)
    assert {k: v.shape for k, v in full.state_dict().items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }
    full.load_state_dict(network.state_dict())
    full(torch.randn(3, 1, 6, 6)).sum().backward()
    assert all(p.grad is not None for p in full.parameters())
    assert network[0].weight.grad is None  # a copy
    x = torch.randn(3, 1, 6, 6)
    assert torch.equal(pickle.loads(pickle.dumps(full))(x), full(x))
    assert full(x).shape == (3, 2, 10, 10)


def test_a_layer_in_two_places_stays_one_layer():
    shared = nn.Conv2d(2, 2, 3)
    full = to_full(nn.Sequential(shared, nn.ReLU(), shared))
    assert full[0] is full[2]
    assert len(list(full.parameters())) == 2


def test_a_single_convolution_is_converted_too():
    conv, x = nn.Conv1d(1, 3, 3, dtype=F64), randn(2, 1, 6)
    expected = F.conv1d(F.pad(x, (2, 2), value=1.5), conv.weight, conv.bias)
    torch.testing.assert_close(to_full(conv, 1.5)(x), expected, rtol=0, atol=1e-14)


def test_local_patterns_move_independently():
    # more than the global symmetry: two parts farther apart than the receptive field answer one by one
    torch.manual_seed(0)
    network = nn.Sequential(FullConv2d(1, 4, 3, bias=False), nn.ReLU(), FullConv2d(4, 2, 3, bias=False)).to(
        F64
    )
    a, b = torch.zeros(2, 1, 1, 16, 16, dtype=F64)
    a[..., 2:4, 2:4], b[..., 8:10, 8:10] = randn(2, 2), randn(2, 2, seed=1)
    shifted, far = b.roll((3, 4), (2, 3)), network(b).roll((3, 4), (2, 3))
    torch.testing.assert_close(network(a + b), network(a) + network(b), rtol=0, atol=1e-14)
    torch.testing.assert_close(network(a + shifted), network(a) + far, rtol=0, atol=1e-14)
    near = b.roll((-4, -4), (2, 3))  # now one receptive field sees both
    assert (network(a + near) - network(a) - network(near)).abs().max() > 1e-2


def face(apart: bool) -> torch.Tensor:
    """12 x 12: two eyes, each two pixels, and a mouth; or both eyes on one cheek."""
    image = torch.zeros(1, 1, 12, 12, dtype=F64)
    image[..., 9, 4:8] = 1  # the mouth
    for row, column in [(3, 2), (3, 8)] if apart else [(3, 2), (6, 2)]:
        image[..., row, column : column + 2] = 1
    return image


def test_pooling_too_early_loses_the_arrangement_of_parts():
    torch.manual_seed(0)
    parts = [nn.Conv2d(1, 8, 3), nn.ReLU()]  # sees eyes and mouths, not where they are
    whole = [nn.Conv2d(8, 8, 9), nn.ReLU()]
    pool = nn.AdaptiveAvgPool2d(1)
    early, late = (to_full(nn.Sequential(*body, pool).to(F64)) for body in (parts, parts + whole))
    proper, cubist = face(True), face(False)
    torch.testing.assert_close(early(proper), early(cubist), rtol=0, atol=1e-14)
    assert (late(proper) - late(cubist)).abs().max() > 1e-5


class Standardised(nn.Conv2d):
    """As some networks have them: the weights lose their mean first."""

    def forward(self, input):
        return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)


def hooked() -> nn.Module:
    conv = nn.Conv2d(1, 1, 3)
    conv.register_forward_hook(lambda module, inputs, output: 2 * output)
    return conv


@pytest.mark.parametrize(
    "part",
    [Standardised(1, 1, 3), hooked(), nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 3))],
    ids=lambda v: type(v).__name__,
)
def test_a_convolution_keeps_what_it_does_besides(part):
    network, x = part.to(F64), randn(2, 1, 7, 7)
    expected = network(F.pad(x, [2] * 4, value=1.5))
    torch.testing.assert_close(to_full(network, 1.5)(x), expected, rtol=0, atol=1e-14)


def test_upsampled_by_repetition_nothing_is_seen_of_the_border():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3), nn.ReLU()]
    network = to_full(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)).to(F64))
    assert spread(network, on_canvas(randn(1, 3, 3), (8, 8))) < 1e-13


def test_images_that_do_not_fit_the_background_are_refused():
    network = to_full(nn.Sequential(nn.Conv2d(2, 1, 3)), [1.0, 2.0, 3.0])
    with pytest.raises(GeometryError, match="background has 3 values, the images 2 channels"):
        network(torch.zeros(1, 2, 5, 5))
    with pytest.raises(GeometryError, match="takes one batch of images"):
        network(torch.zeros(5, 5))
