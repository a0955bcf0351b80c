"""On an unbounded canvas pixels are what they are far inside a huge image, and maps meet pixel by pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from geocnn.errors import GeometryError
from geocnn.nn import BlurPool2d, EquivariantSubsample2d, GroupConv, GroupPool, LiftingConv, to_full
from tests.nn.patterns import OWN_STATISTICS, PATTERNS, Gate
from tests.nn.planes import F64, on_canvas, randn, spread

BACKGROUND = torch.tensor([0.5, -1.0], dtype=F64)


def network_of(layers: list[nn.Module]) -> nn.Sequential:
    """In evaluation mode, with statistics and biases as after training."""
    network = nn.Sequential(*layers).to(F64).eval()
    for k, part in enumerate(network.modules()):
        if isinstance(part, nn.BatchNorm2d):
            n = part.num_features
            part.load_state_dict(
                {
                    **part.state_dict(),
                    "bias": 0.3 * randn(n, seed=k),
                    "running_mean": 0.3 * randn(n, seed=k + 99),
                }
            )
    return network


def map_of(full: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """A converted network's map, and the count of its first pixel along either axis."""
    seen = []
    hook = full.register_forward_hook(lambda module, inputs, y: seen.append(y.start), prepend=True)
    y = full(x)
    hook.remove()
    return y, [a + 1 for a in seen[0]]


def far_inside(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Of the network on x with 64 background pixels before it and as many after it as make 144."""
    value, (h, w) = BACKGROUND.view(1, -1, 1, 1), x.shape[-2:]
    return network(F.pad(x - value, [64, 80 - w, 64, 80 - h]) + value)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(9, 12), (6, 7)], ids=str)
def test_every_pixel_is_what_it_is_far_inside_a_huge_image(pattern, shape):
    torch.manual_seed(0)
    network, x = network_of(PATTERNS[pattern]()), randn(2, 2, *shape)
    y, (row, column) = map_of(to_full(network, BACKGROUND.tolist()), x)
    huge = far_inside(network, x)
    scale = round(144 / huge.shape[-2])  # of the grid that the map lies on; 64 is a multiple
    top, left = row + 64 // scale, column + 64 // scale
    height, width = y.shape[-2:]
    assert torch.allclose(huge[..., top : top + height, left : left + width], y, rtol=0, atol=1e-12)
    # and it holds all that varies: around it the huge answer has the value of the background alone
    rest = huge.clone()
    rest[..., top : top + height, left : left + width] = huge[..., 30 // scale, 30 // scale, None, None]
    inside = rest[..., 24 // scale : -24 // scale, 24 // scale : -24 // scale]
    assert (inside - inside[..., :1, :1]).abs().max() < 1e-12


@pytest.mark.parametrize("pattern", [*PATTERNS, *OWN_STATISTICS])
def test_pooled_it_is_invariant_to_shifts_by_its_stride(pattern):
    torch.manual_seed(0)
    layers = (PATTERNS | OWN_STATISTICS)[pattern]()
    network = network_of([*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    images = on_canvas(randn(2, 3, 4), (11, 12), BACKGROUND).unflatten(0, (9, 9))[::4, ::4].flatten(0, 1)
    assert spread(to_full(network, BACKGROUND.tolist()), images) < 1e-12
    try:
        assert spread(network, images) > 1e-4
    except RuntimeError:
        assert pattern.startswith(("U-Net", "places"))  # 11 pixels have no half


def test_gradients_are_those_of_the_huge_image():
    torch.manual_seed(0)
    network, x = network_of(PATTERNS["shortcuts"]()), randn(1, 2, 9, 8)
    full = to_full(network, BACKGROUND.tolist())
    y, (row, column) = map_of(full, x)
    size = y.shape[-2:]
    y.square().sum().backward()
    top, left = row + 16, column + 16  # 64 pixels at stride 4
    far_inside(network, x)[..., top : top + size[0], left : left + size[1]].square().sum().backward()
    for (name, a), b in zip(full.named_parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    "subsample", [lambda: EquivariantSubsample2d(2), lambda: BlurPool2d(1, 4)], ids=["chosen grid", "blur"]
)
def test_a_shortcut_around_layers_of_this_package(subsample):
    class Around(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return x + self.body(x)

    torch.manual_seed(0)
    block = Around(nn.Sequential(GroupConv("C4", 3, 3, 3), nn.Tanh()))
    layers = [LiftingConv("C4", 2, 3, 3), nn.ReLU(), subsample(), block, GroupPool(), nn.AdaptiveMaxPool2d(1)]
    network = nn.Sequential(*layers).to(F64)
    nn.init.normal_(network[0].bias)
    images = on_canvas(randn(2, 3, 4), (8, 9), BACKGROUND)
    assert spread(to_full(network, BACKGROUND.tolist()), images) < 1e-13


@pytest.mark.parametrize(
    "whole",
    [
        lambda x: F.adaptive_avg_pool2d(x, (1, 1)).flatten(1),
        lambda x: x.mean([2, 3]),
        lambda x: x.mean(3).mean(2),
        lambda x: F.avg_pool2d(x, x.size()[2:]).view(x.size(0), -1),
        lambda x: nn.AvgPool2d(x.shape[2:], stride=1)(x).squeeze(-1).squeeze(-1),
        lambda x: x.permute(0, 2, 3, 1).mean((1, 2)),
    ],
)
def test_all_ways_to_write_a_global_mean_are_one(whole):
    class Pooled(nn.Module):
        def forward(self, x):
            return whole(x)

    torch.manual_seed(0)
    conv, x = nn.Conv2d(2, 3, 3, padding=1, dtype=F64), randn(2, 2, 5, 6)
    expected = to_full(conv)(x).mean((2, 3))
    torch.testing.assert_close(to_full(nn.Sequential(conv, Pooled()))(x), expected, rtol=0, atol=1e-14)


def test_in_training_channel_dropout_and_batch_statistics_keep_shifts():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(), nn.Conv2d(4, 4, 3)]
    full = to_full(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)).to(F64)).train()
    x = torch.zeros(2, 1, 8, 8, dtype=F64)
    x[..., 1:3, 1:3] = randn(2, 1, 2, 2)
    answers = []
    for image in (x, x.roll((4, 3), (2, 3))):
        torch.manual_seed(1)
        answers.append(full(image))
    torch.testing.assert_close(*answers, rtol=0, atol=1e-13)


def test_several_answers_are_all_given():
    class Both(nn.Module):
        def forward(self, x):
            return {"map": x, "means": (x.mean((2, 3)), None)}

    x = randn(2, 1, 5, 5)
    found = to_full(nn.Sequential(nn.Conv2d(1, 3, 3, dtype=F64), Both()))(x)
    assert found["map"].shape == (2, 3, 7, 7) and type(found["map"]) is torch.Tensor
    torch.testing.assert_close(found["means"][0], found["map"].mean((2, 3)))


def test_an_empty_batch_and_other_precisions():
    network = nn.Sequential(*PATTERNS["shortcuts"](), nn.AdaptiveAvgPool2d(1))
    assert to_full(network.eval())(torch.zeros(0, 2, 9, 9)).shape == (0, 6, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        y = to_full(network)(torch.randn(2, 2, 9, 9))
    assert bool(y.isfinite().all())


@pytest.mark.slow
def test_compiled_it_answers_alike():
    torch.manual_seed(0)
    full = to_full(nn.Sequential(*PATTERNS["cropped shortcuts"](), nn.AdaptiveAvgPool2d(1)))
    x = torch.randn(2, 2, 9, 9)
    # the backend "eager" traces as any other does, and compiles nothing
    torch.testing.assert_close(torch.compile(full, backend="eager")(x), full(x))


class Calls(nn.Module):
    """A convolution, and a function of its map."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(1, 2, 3, padding=1), function

    def forward(self, x):
        return self.function(self.conv(x))


def enlarged_in_place(x):
    y = x.clone()
    y.add_(F.conv2d(x, torch.ones(2, 2, 3, 3), padding=1))
    return y.relu()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.flatten(1), "flatten, which flattens pixels"),
        (lambda x: x.view(len(x), -1), "view, which flattens pixels"),
        (lambda x: x + torch.ones(2, 9, 9), "add, which brings values that differ from place to place"),
        (lambda x: torch.cat([x, torch.ones(1, 2, 9, 9)], 1), "joins maps with a tensor that is none"),
        (lambda x: torch.cat([x, x], 3), "puts images side by side"),
        (lambda x: x.softmax(-1), "softmax, which mixes pixels"),
        (lambda x: x.flip(3), "flip, which is not known on an unbounded canvas"),
        (lambda x: x @ x.mT, "matmul, which is not known"),
        (lambda x: x[..., 0], "getitem, which picks pixels by their place"),
        (lambda x: x[:, :, -2:], "getitem, which picks pixels by their place or from the far end"),
        (lambda x: x.chunk(2, 2)[0], "chunk, which mixes pixels along an axis or counts them"),
        (lambda x: x.__setitem__(0, 1.0), "setitem, which writes to pixels"),
        (lambda x: F.interpolate(x, size=(5, 5)), "interpolate, which depends on the size"),
        (lambda x: F.layer_norm(x, x.shape[1:]), "layer_norm, which has a weight for every place"),
        (lambda x: x + x.mT, "joins maps whose dimensions are in different orders"),
        (enlarged_in_place, "uses a map after an operation in place that had to enlarge it"),
    ],
)
def test_functions_that_need_a_border_are_refused_by_the_module_that_calls_them(function, message):
    network = to_full(nn.ModuleDict({"a": nn.Sequential(nn.ReLU(), Calls(function))})["a"])
    with pytest.raises(GeometryError, match=message) as raised:
        network(torch.zeros(1, 1, 9, 9))
    assert str(raised.value).startswith("1 (Calls) ")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (nn.ConvTranspose2d(1, 1, 3), r"0.deep \(ConvTranspose2d\) turns an empty image into a pattern"),
        (nn.PixelShuffle(2), r"0.deep \(PixelShuffle\) turns an empty image"),
        (nn.MultiheadAttention(4, 1), r"0.deep \(MultiheadAttention\) weighs every place"),
        (nn.Upsample(4), r"0.deep \(Upsample\) depends on the size"),
        (nn.Unfold(3), r"0.deep \(Unfold\) is not known on an unbounded canvas"),
        (torch.jit.trace(nn.ReLU(), torch.ones(1)), "0.deep .* is compiled"),
        (to_full(nn.Conv2d(1, 1, 3)), "0.deep belongs to a network that to_full has converted"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_modules_that_cannot_be_are_named_before_the_first_call(part, message):
    with pytest.raises(GeometryError, match=message):
        to_full(nn.Sequential(nn.ModuleDict({"deep": part})))


TORCHVISION = """
resnet18 resnext50_32x4d wide_resnet50_2 densenet121 googlenet inception_v3 squeezenet1_1 shufflenet_v2_x0_5
mobilenet_v2 mobilenet_v3_small mnasnet0_5 efficientnet_b0 regnet_x_400mf regnet_y_400mf convnext_tiny
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION.split())
def test_torchvision_s_networks_are_invariant_to_shifts_by_their_stride(name):
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # absent, or built for another torch
        pytest.skip(f"torchvision cannot be imported: {error}")
    torch.manual_seed(0)
    own = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network = network_of([models.get_model(name, weights=None, num_classes=5, **own)])
    images = torch.zeros(2, 3, 96, 96, dtype=F64)
    images[0, :, :64, :64] = images[1, :, 32:, 32:] = randn(3, 64, 64)
    assert spread(to_full(network), images) < 1e-12


def test_a_gate_s_background_differs_from_image_to_image():
    torch.manual_seed(0)
    network = network_of([Gate(2), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1)])
    full, x = to_full(network, BACKGROUND.tolist()), randn(2, 2, 5, 5)
    torch.testing.assert_close(full(x)[1:], full(x[1:]), rtol=0, atol=1e-14)
    assert (full(x)[0, :, 0, 0] - full(x)[1, :, 0, 0]).abs().max() > 1e-3
