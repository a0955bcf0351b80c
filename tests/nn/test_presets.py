"""Chosen networks are built from plain values, fit their task, and have a control that convolves nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from geocnn.errors import FieldTypeError, GeocnnError
from geocnn.geometry import healpix, torus
from geocnn.nn import FieldNorm, GaugeConv, Pool, build_network, pointwise_control, preset
from geocnn.nn.presets import Size, Task

SIZES: list[Size] = ["small", "base", "large"]
TASKS: list[Task] = ["classify", "regress", "classify-points", "regress-points"]
FEATURES = "11x0 + 5x1 + 1x2"


def weights(description: dict[str, Any]) -> int:
    return sum(p.numel() for p in build_network(description).parameters())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", SIZES)
def test_a_description_is_json_and_makes_a_network_that_answers(task, size):
    chosen = preset(task, 50, 192, FEATURES, 3, size)
    network = build_network(json.loads(json.dumps(chosen.network)))
    sphere = healpix(4)
    h = sphere.hierarchy(chosen.hierarchy["levels"], 2.5 * sphere.spacing, "log").float()
    y = network(torch.randn(2, 192, 23), h)
    assert y.shape == ((2, 192, 3) if task.endswith("points") else (2, 1, 3))
    y.square().sum().backward()


@pytest.mark.parametrize(
    "of", ["trivial: 1x0", "C2: 1x0", "C4: 1x0", "reflection: 1x0e", "D4: 1x0e", "O2: 1x0e"]
)
@pytest.mark.parametrize("task", ["classify", "classify-points"])
def test_every_group_has_networks(task, of):
    chosen = preset(task, 50, 64, of, 3, "small")
    h = torus((8, 8)).hierarchy(chosen.hierarchy["levels"], 2.5, "log").float()
    assert build_network(chosen.network)(torch.randn(64, 1), h).shape[-1] == 3


@pytest.mark.parametrize("task", TASKS)
def test_a_larger_size_has_more_weights_and_few_samples_are_learnt_for_longer(task):
    counts = [weights(preset(task, 50, 3000, FEATURES, 8, size).network) for size in SIZES]
    assert counts[0] < counts[1] / 1.5 and counts[1] < counts[2] / 1.5
    few, many = (preset(task, n, 3000, FEATURES, 8) for n in (40, 40_000))
    assert weights(few.network) < weights(many.network)
    assert few.network["arguments"]["dropout"] > many.network["arguments"]["dropout"]
    assert few.training["epochs"] > many.training["epochs"]
    assert few.training["weight_decay"] > many.training["weight_decay"]
    assert preset(task, 3, 3000, FEATURES, 8).training["batch_size"] == 1


def test_levels_follow_the_number_of_points():
    levels = [preset("classify-points", 9, n, "1x0", 2).hierarchy["levels"] for n in (100, 750, 3000, 10**6)]
    assert levels == [1, 3, 4, 5]
    sphere = healpix(16)
    found = sphere.hierarchy(radius=2.5 * sphere.spacing, kind="log").n_levels
    assert preset("classify-points", 9, 3072, "1x0", 2).hierarchy["levels"] == found


@pytest.mark.parametrize("task", ["classify", "classify-points"])
def test_the_control_takes_the_same_input_and_convolves_nothing(task):
    chosen = preset(task, 50, 3000, FEATURES, 8)
    assert chosen.control == pointwise_control(chosen.network)
    control, network = build_network(chosen.control), build_network(chosen.network)
    assert type(control) is type(network) and control.in_type == network.in_type
    assert not any(isinstance(part, GaugeConv | Pool) for part in control.modules())
    assert any(isinstance(part, FieldNorm) for part in control.modules())
    assert 0.3 < weights(chosen.control) / weights(chosen.network) < 2


def test_vectors_of_scalars_have_no_pointwise_control():
    assert preset("regress-points", 9, 768, "1x0", "1x1").control is None
    vectors = preset("regress-points", 9, 768, "1x0 + 1x1", "1x1")
    assert vectors.control is not None
    assert build_network(vectors.control).out_type == "1x1"


def test_misuse_is_a_typed_error():
    good: dict[str, Any] = {"task": "classify", "n_samples": 9, "n_points": 99, "in_type": "1x0", "out": 2}
    for change, words in (
        ({"task": "segment"}, "task must be one of 'classify', 'regress'"),
        ({"size": "huge"}, "size must be one of 'small', 'base', 'large', got 'huge'"),
        ({"n_samples": 0}, "n_samples must be a whole number of at least 1, got 0"),
        ({"n_points": 2.5}, "n_points must be a whole number"),
        ({"out": "1x1"}, "out must be a whole number"),
        ({"in_type": "one"}, "cannot read 'one'"),
    ):
        with pytest.raises(FieldTypeError, match=words):
            preset(**good | change)
    with pytest.raises(GeocnnError, match="class is one of SurfaceEncoder, SurfaceUNet, got 'Sequential'"):
        build_network({"class": "Sequential", "arguments": {}})
