"""Full against same convolutions: what a digit's place does, and that views of one place match."""

from __future__ import annotations

import pytest
import torch

from tests.example import example

efficiency = example("data_efficiency")
F64 = torch.float64


@pytest.mark.parametrize(("padding", "low", "high"), [("full", 0, 1e-14), ("same", 1e-3, 1)])
def test_only_same_convolutions_notice_where_a_digit_lies(padding, low, high):
    torch.manual_seed(0)
    network = efficiency.network(padding, 1, 10).to(F64).eval()
    x = torch.zeros(2, 1, 30, 30, dtype=F64)
    x[0, 0, :22, :22] = x[1, 0, 8:, 8:] = torch.rand(22, 22, dtype=F64)
    with torch.no_grad():
        a, b = network(x)
    assert low <= float((a - b).abs().max() / a.std()) < high


def test_strewn_digits_are_whole():
    images = torch.rand(5, 22, 22)
    canvases = efficiency.strewn(images)
    torch.testing.assert_close(canvases.sum((1, 2, 3)), images.sum((1, 2)))


def test_matching_counts_the_pairs_whose_nearest_is_their_own():
    views = torch.eye(4).view(4, 1, 2, 2)
    loss, scores = efficiency.match(torch.nn.Flatten(), (views, views[[0, 1, 3, 2]]))
    assert float(scores["accuracy"]) == 0.5
    # own view at 0 and the nearest wrong one at √2, or the other way round
    assert float(loss) == pytest.approx((1 + 2**0.5) / 2, abs=2e-3)


def test_two_views_of_a_place_are_two_and_alike():
    pytest.importorskip("skimage")
    torch.manual_seed(0)
    a, b = (v.flatten(1) for v in efficiency.views("train", 8))
    assert a.shape == (8, 32 * 32)
    assert not torch.equal(a, b)
    assert float(a.mean(1).abs().max()) < 1e-5
