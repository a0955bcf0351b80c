"""Weights are shared because nothing else commutes: the counts, two faces, and parts that move one by one."""

from __future__ import annotations

import pytest
import torch

from tests.example import example

sharing = example("weight_sharing")
SIZES = {  # the receptive field, and the pixels between two answers
    "three convolutions": (7, 1),
    "two pools between them": (18, 4),
    "the first two strided": (15, 4),
}


def test_of_all_linear_maps_so_many_are_left():
    assert list(sharing.counts().values()) == [81, 9, 3, 3, 9, 1]


def test_a_map_drawn_from_the_span_is_one_kernel_at_every_place():
    w = sharing.some(sharing.commuting(4, "trivial"), 0).view(4, 4, 4, 4)
    at = torch.cartesian_prod(torch.arange(4), torch.arange(4)).tolist()
    for i, j in at:
        torch.testing.assert_close(w[i, j].roll((-i, -j), (0, 1)), w[0, 0], rtol=0, atol=1e-13)
    assert w[0, 0].flatten().diff().abs().min() > 1e-3  # no two taps alike


def test_pooled_too_early_a_face_and_its_parts_are_one():
    assert not torch.equal(sharing.face(True), sharing.face(False))
    assert sharing.faces_differ(late=False) < 1e-14
    assert sharing.faces_differ(late=True) > 0.01


@pytest.mark.parametrize(("name", "sees", "step"), [(name, *size) for name, size in SIZES.items()])
def test_two_patterns_answer_one_by_one_once_no_window_sees_both(name, sees, step):
    assert sharing.receptive_field(name) == (sees, step)
    network = sharing.untrained(name)
    assert sharing.mixed(network, sees - 2, step) > 1e-4
    assert max(sharing.mixed(network, gap, step) for gap in (sees - 1, sees, 2 * sees)) < 1e-14


@pytest.mark.parametrize(("name", "sees", "step"), [(name, *size) for name, size in SIZES.items()])
def test_so_far_apart_each_pattern_moves_by_itself(name, sees, step):
    network = sharing.untrained(name)
    gap = sees - 1 + (1 - sees) % step
    both, left, right, none = network(sharing.pair(gap))
    moved, _, there, _ = network(sharing.pair(gap + 2 * step))  # the right one by two of the answer's pixels
    torch.testing.assert_close(there[..., 2:] - none[..., 2:], (right - none)[..., :-2], rtol=0, atol=1e-14)
    torch.testing.assert_close(moved - none, left + there - 2 * none, rtol=0, atol=1e-14)
    # so that a mean over all places forgets the distance
    torch.testing.assert_close(moved.mean((1, 2)), both.mean((1, 2)), rtol=0, atol=1e-14)


def test_a_norm_of_the_image_s_own_statistics_mixes_at_any_distance():
    network = sharing.untrained("three convolutions", norm=True)
    assert min(sharing.mixed(network, gap, 1) for gap in (6, 20, 40)) > 0.1
