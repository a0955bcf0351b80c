"""The order of examples and the learning rate are functions of the settings alone."""

from itertools import pairwise

import pytest

from geocnn.train.module import LearningRateFactor, Stretch


def stream(rank=0, world_size=1, seed=5, stretches=4):
    stretch = Stretch(n=23, batch_size=4, steps=3, seed=seed, rank=rank, world_size=world_size)
    batches = []
    for epoch in range(stretches):
        stretch.set_epoch(epoch)
        batches += list(stretch)
    return batches


def test_a_pass_has_every_example_at_most_once_and_whole_batches():
    batches = stream()
    assert [len(batch) for batch in batches] == [4] * 12
    # 23 // 4 = 5 batches make a pass
    for first in (0, 5):
        seen = [k for batch in batches[first : first + 5] for k in batch]
        assert len(set(seen)) == 20 and set(seen) <= set(range(23))
    assert batches[:5] != batches[5:10]


def test_the_stream_depends_on_the_seed_alone():
    assert stream() == stream() and stream() != stream(seed=6)


def test_devices_share_each_batch():
    whole, left, right = stream(), stream(0, 2), stream(1, 2)
    for batch, a, b in zip(whole, left, right, strict=True):
        assert sorted(batch) == sorted(a + b)


def test_a_batch_is_at_most_the_set():
    assert [sorted(batch) for batch in Stretch(n=3, batch_size=64, steps=2, seed=0)] == [[0, 1, 2]] * 2


def test_the_learning_rate_rises_falls_and_ends_at_zero():
    factor = LearningRateFactor(200, 0.1)
    values = [factor(step) for step in range(201)]
    assert max(values) == pytest.approx(1.0) and values.index(max(values)) in (19, 20)
    assert all(a < b for a, b in pairwise(values[:20]))
    assert all(a > b for a, b in pairwise(values[20:]))
    assert values[-1] == pytest.approx(0.0, abs=1e-12)
    # half a cosine is at half height in its middle
    assert factor(110) == pytest.approx(0.5)
    assert LearningRateFactor(10, 0.0)(0) == 1.0
