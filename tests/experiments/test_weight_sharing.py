"""Weights are shared because nothing else commutes: the counts, and two faces."""

from __future__ import annotations

import torch

from tests.example import example

sharing = example("weight_sharing")


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
