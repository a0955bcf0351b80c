"""Metrics weigh by area, exactly."""

import pytest
import torch

from geocnn.train.metrics import Accuracy, SurfaceAccuracy, WorstSurface, share_right

RIGHT, WRONG = [0.0, 1.0], [1.0, 0.0]


def test_surfaces_count_the_same_and_their_parts_by_weight():
    first = torch.tensor([RIGHT, WRONG]), torch.ones(2, dtype=torch.int64), torch.tensor([3.0, 1.0])
    second = torch.tensor([WRONG] * 3 + [RIGHT]), torch.ones(4, dtype=torch.int64), torch.ones(4)
    pooled, mean, worst = Accuracy(), SurfaceAccuracy(), WorstSurface()
    for answer, truth, weight in (first, second):
        pooled.update(answer, truth)
        mean.update(answer, truth, weight)
        worst.update(answer, truth, weight)
    assert float(pooled.compute()) == 2 / 6
    assert float(mean.compute()) == (0.75 + 0.25) / 2 and float(worst.compute()) == 0.25


def test_they_are_as_exact_as_float64():
    answer, truth = torch.tensor([RIGHT, WRONG, WRONG]), torch.ones(3, dtype=torch.int64)
    metric = Accuracy()
    metric.update(answer, truth)
    assert float(metric.compute()) == 1 / 3
    weight = torch.rand(3, generator=torch.Generator().manual_seed(0))
    # one sum of three terms, in another order
    assert float(share_right(answer, truth, weight)) == pytest.approx(
        float(weight[0].double() / weight.double().sum()), rel=1e-15
    )
