"""How far from the border a network can tell: the known distance, and not at all for full convolutions."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import CheckpointError
from geocnn.nn import to_full
from tests.example import example

quadrants = example("quadrants")
F64 = torch.float64


def spread(network, border: int, images: int = 2) -> float:
    """How far apart the features of the two quadrants are, relative to their size."""
    x = torch.rand(images, 28, 28, dtype=F64, generator=torch.Generator().manual_seed(0))
    near, far = quadrants.features(network, x, border).view(2, images, -1)
    return float((near - far).abs().max() / near.abs().max())


@pytest.mark.parametrize(("name", "pixels"), [("near", 12), ("middle", 52), ("far", 500)])
def test_the_reach_is_counted_from_the_dilations(name, pixels):
    assert quadrants.reach(name) == pixels


@pytest.mark.parametrize("name", ["near", "middle"])
def test_a_network_tells_the_quadrants_up_to_its_reach_and_no_farther(name):
    torch.manual_seed(0)
    network = quadrants.trunk(name).to(F64)
    reach = quadrants.reach(name)
    assert spread(network, 0) > 1e-2
    assert spread(network, reach - 4) > 1e-4
    assert spread(network, reach) < 1e-14


@pytest.mark.slow
def test_the_far_one_tells_them_from_496_pixels_and_not_from_500():
    torch.manual_seed(0)
    network = quadrants.trunk("far").to(F64)
    assert spread(network, 496, 1) > 1e-8
    assert spread(network, 500, 1) < 1e-14


@pytest.mark.parametrize("name", ["near", "middle", "far"])
def test_full_convolutions_answer_both_quadrants_alike_at_any_border(name):
    torch.manual_seed(0)
    network = to_full(quadrants.trunk(name).to(F64))
    assert max(spread(network, border) for border in (0, 4, 16)) < 1e-14


def test_the_canvases_hold_the_image_and_nothing_else():
    images = torch.rand(3, 28, 28)
    canvases = quadrants.on_canvas(images, 8)
    assert canvases.shape == (6, 1, 72, 72)
    assert torch.equal(canvases[:3, 0, 8:36, 8:36], images)
    assert torch.equal(canvases[3:, 0, 36:64, 36:64], images)
    torch.testing.assert_close(canvases.sum((1, 2, 3)), images.sum((1, 2)).repeat(2))


@pytest.mark.parametrize("kind", ["digits", "photographs"])
@pytest.mark.parametrize(("padding", "right"), [("same", 1.0), ("full", 0.5)])
def test_training_finds_the_border_or_is_at_chance(kind, padding, right, monkeypatch):
    if kind == "photographs":
        pytest.importorskip("skimage")
    found = quadrants.run(kind, "middle", "trained", padding, 8, seed=0, images=32, steps=25, tested=20)
    assert found["right"] == pytest.approx(right, abs=0.1 if padding == "same" else 0)


def test_frozen_weights_are_read_from_a_file(tmp_path):
    state = torch.get_rng_state()
    file = quadrants.digit_weights("near", tmp_path, steps=2)
    assert torch.equal(torch.get_rng_state(), state)
    written = file.stat().st_mtime_ns
    assert quadrants.digit_weights("near", tmp_path, steps=2) == file
    assert file.stat().st_mtime_ns == written
    network = quadrants.trunk("near")
    before = network[1].weight.clone()
    quadrants.load_weights(network, file)
    assert not torch.equal(network[1].weight, before)


# -------------------------------------------------------------------------------------- published networks

published = example("published_networks")
THIN = {"BagNet-33": 4, "ResNet-18": 4, "DenseNet-121": 2}


def settled(name: str) -> torch.nn.Module:
    """A thin network in float64 with biases and running means as after training."""
    torch.manual_seed(0)
    network = published.PUBLISHED[name](THIN[name]).to(F64).eval()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.bias, std=0.3)
            torch.nn.init.normal_(part.running_mean, std=0.3)
    return network


@pytest.mark.parametrize(("name", "weights", "sees"), [
    ("BagNet-33", 16_261_184, 33), ("ResNet-18", 11_176_512, 435), ("DenseNet-121", 6_953_856, 2071),
])  # fmt: skip
def test_published_networks_have_the_published_sizes(name, weights, sees):
    with torch.device("meta"):
        network = published.PUBLISHED[name]()
    assert sum(p.numel() for p in network.parameters()) == weights
    assert published.receptive_field(network) == sees == quadrants.reach(name) + 1


@pytest.mark.parametrize("name", ["BagNet-33", "ResNet-18", "DenseNet-121"])
def test_published_networks_convert_and_forget_the_border(name):
    network = torch.nn.Sequential(quadrants.Coloured(), settled(name))
    x = torch.rand(1, 32, 32, dtype=F64, generator=torch.Generator().manual_seed(0))

    def apart(network):
        near, far = quadrants.features(network, x, 0)
        return float((near - far).abs().max() / near.abs().max())

    assert apart(network) > 1e-3
    assert apart(to_full(network)) < 1e-12  # up to 121 layers of rounding


@pytest.mark.parametrize(("border", "apart"), [(24, True), (32, False)])
def test_a_bagnet_tells_the_border_as_far_as_one_answer_sees(border, apart):
    network = torch.nn.Sequential(quadrants.Coloured(), settled("BagNet-33"))
    x = torch.rand(1, 32, 32, dtype=F64, generator=torch.Generator().manual_seed(0))
    near, far = quadrants.features(network, x, border)
    difference = float((near - far).abs().max() / near.abs().max())
    assert difference > 1e-5 if apart else difference < 1e-12


@pytest.mark.parametrize("name", ["BagNet-33", "ResNet-18", "DenseNet-121"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_files_of_published_networks_are_read(name, suffix, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    network, file = settled(name).float(), tmp_path / f"weights{suffix}"
    head = {"fc.weight": torch.ones(10, 3), "classifier.bias": torch.ones(10)}
    state = {f"module.{k}".replace("norm1", "norm.1"): v for k, v in (network.state_dict() | head).items()}
    if suffix == ".pth":
        torch.save({"state_dict": state}, file)
    else:
        save_file(state, file)
    found = published.read_published(name, file).eval()
    x = torch.rand(1, 3, 40, 40)
    assert torch.equal(found(x), network(x))
    with pytest.raises(CheckpointError, match="holds no weights of"):
        published.read_published("ResNet-18" if name != "ResNet-18" else "BagNet-33", file)
    with pytest.raises(CheckpointError, match="holds no weights of"):
        published.read_published(name, tmp_path / "absent.pth")
    # and the experiment takes them from where it looks for them
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert not any(s["weights"] == "read" for s in quadrants.published_settings())
    file.rename(quadrants.weights_file(name).with_suffix(suffix))
    assert {s["network"] for s in quadrants.published_settings() if s["weights"] == "read"} == {name}
    row = quadrants.run("digits", name, "read", "same", 0, seed=0, images=4, steps=1, tested=4)
    assert 0 <= row["right"] <= 1
