"""How far from the border a network can tell: the known distance, and not at all for full convolutions."""

from __future__ import annotations

import pytest
import torch

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
