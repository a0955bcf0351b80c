"""Losses weigh by area within surfaces, as metrics do; what is unknown adds nothing, to gradients neither."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch_geometric.loader import DataLoader

from geocnn.data.surface_data import SurfaceData
from geocnn.errors import GeocnnError
from geocnn.train.losses import (
    AnswerNumbers,
    Standard,
    answer_classes,
    batch_shares,
    class_weights,
    cross_entropy,
    score_classes,
    score_numbers,
    standard,
)
from geocnn.train.measures.metrics import PointClasses, PointNumbers, SurfaceClasses, SurfaceNumbers


class Pointwise(nn.Module):
    """A linear map of each point's features, or of their sum over each surface."""

    def __init__(self, n_out, per_point=True):
        super().__init__()
        self.linear, self.per_point = nn.Linear(3, n_out), per_point

    def forward(self, data):
        x = data.x
        if not self.per_point:
            x = x.new_zeros(int(data.batch[-1]) + 1, 3).index_add_(0, data.batch, x)
        return self.linear(x)


def surfaces(truths, seed=0):
    g = torch.Generator().manual_seed(seed)
    sizes = [len(truth) if len(truth) > 1 else 5 for truth in truths]
    return [
        SurfaceData(x=torch.randn(n, 3, generator=g), y=truth, areas=torch.rand(n, generator=g) + 0.1)
        for n, truth in zip(sizes, truths, strict=True)
    ]


def batched(data):
    return next(iter(DataLoader(data, batch_size=len(data))))


LABELS = [torch.tensor([0, 1, 2, -1, 1]), torch.tensor([2, 2, -1]), torch.tensor([-1, -1])]


def test_weights_of_classes_are_inverse_to_their_counts():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    weights = class_weights(labels.bincount())
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    assert weights.tolist() == pytest.approx(list(balanced))
    assert float(weights[labels].mean()) == pytest.approx(1)
    # shares of area serve as well as counts
    torch.testing.assert_close(class_weights(labels.bincount() / 100), weights)


def test_weights_of_classes_have_a_cap():
    counts = torch.tensor([1_000_000, 500_000, 3, 0])
    weights = class_weights(counts)
    assert (weights / weights[0]).tolist() == pytest.approx([1, 2, 10, 10])
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1)
    assert class_weights(counts, cap=1).tolist() == [1] * 4
    for wrong, match in (((torch.zeros(2),), "some positive"), ((torch.tensor([1, -1]),), "negative")):
        with pytest.raises(GeocnnError, match=match):
            class_weights(*wrong)
    with pytest.raises(GeocnnError, match="cap must be 1"):
        class_weights(counts, cap=0.5)


def test_shares_are_those_of_the_known_part_of_each_surface():
    g = torch.Generator().manual_seed(0)
    areas, surface = torch.rand(30, generator=g), torch.arange(30) // 10
    known = (torch.arange(30) % 3 > 0) & (surface != 1)
    share = batch_shares(areas, surface, known)
    assert torch.equal(share > 0, known)
    assert [float(share[surface == k].sum()) for k in range(3)] == pytest.approx([0.5, 0, 0.5])
    torch.testing.assert_close(batch_shares(areas * (surface + 1), surface, known), share)
    assert not batch_shares(areas, surface, known & False).any()


@pytest.mark.parametrize("per_point", [True, False])
def test_the_loss_of_classes_is_that_of_torch_and_its_accuracy_that_of_the_metric(per_point):
    truths = LABELS if per_point else [torch.tensor([k]) for k in (0, 2, -1, 1)]
    data, network = surfaces(truths), Pointwise(3, per_point)
    weights = torch.tensor([1.0, 2.0, 0.5])
    loss, figures = score_classes(per_point=per_point, weights=weights, smoothing=0.1)(network, batched(data))
    own = []
    for one in data:
        one = batched([one])
        known = one.y >= 0
        if known.any():
            each = nn.functional.cross_entropy(
                network(one)[known], one.y[known], weights, reduction="none", label_smoothing=0.1
            )
            own.append((each * one.areas[known]).sum() / one.areas[known].sum() if per_point else each.sum())
    torch.testing.assert_close(loss, torch.stack(own).mean())
    metric = (PointClasses if per_point else SurfaceClasses)(3)
    for one in data:
        metric.update(*answer_classes(network, batched([one])))
    assert float(figures["accuracy"]) == pytest.approx(float(metric.compute()), rel=1e-6)


@pytest.mark.parametrize("loss", ["huber", "squared"])
@pytest.mark.parametrize("per_point", [True, False])
@pytest.mark.parametrize("targets", [1, 2])
def test_the_loss_of_numbers_is_in_standard_deviations_and_its_error_in_the_unit(loss, per_point, targets):
    g = torch.Generator().manual_seed(1)
    sizes = (6, 4) if per_point else (1, 1, 1)
    truths = [500 + 100 * torch.randn(n, targets, generator=g) for n in sizes]
    data, network = surfaces(truths), Pointwise(targets, per_point)
    for k, one in enumerate(data):
        one.known = torch.arange(len(one.y)) != 2 if per_point else torch.tensor([k != 1])
    unit = standard([(d.y, d.areas if per_point else None, d.known) for d in data], per_point)
    value, figures = score_numbers(unit, per_point=per_point, loss=loss)(network, batched(data))
    answer = AnswerNumbers(unit)
    metric, own = (PointNumbers if per_point else SurfaceNumbers)(targets), []
    for one in (batched([one]) for one in data):
        metric.update(*answer(network, one))
        error = (network(one) - unit.normalise(one.y))[one.known].double()
        each = (
            error.square()
            if loss == "squared"
            else nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none")
        )
        area = one.areas[one.known] if per_point else torch.ones(len(each))
        own += [(each.mean(1) * area).sum() / area.sum()] * bool(len(each))
    assert float(value.detach()) == pytest.approx(float(torch.stack(own).detach().mean()), rel=1e-5)
    measured = [row["MAE"].value for row in metric.measures(2).rows.values()]
    assert [float(figure) for figure in figures.values()] == pytest.approx(measured, rel=1e-5)
    assert list(figures) == (["mae"] if targets == 1 else ["mae_0", "mae_1"])


def test_what_is_unknown_moves_no_weight():
    network = Pointwise(3)
    gradients = []
    for label in (-1, 2):
        data = batched(surfaces([torch.tensor([0, label]), torch.tensor([-1, -1, 1])]))
        data.known = torch.tensor([True, False, True, True, True])
        network.zero_grad()
        score_classes(per_point=True)(network, data)[0].backward()
        gradients.append(network.linear.weight.grad)
    assert torch.equal(*gradients) and gradients[0].any()
    nothing = batched(surfaces([torch.tensor([-1, -1])]))
    network.zero_grad()
    loss, _ = score_classes(per_point=True, smoothing=0.2)(network, nothing)
    loss.backward()
    assert float(loss.detach()) == 0 and not network.linear.weight.grad.any()


def test_a_huber_loss_bounds_the_pull_of_an_outlier():
    network, unit = Pointwise(1), Standard((0.0,), (1.0,))
    pulls = {}
    for loss in ("huber", "squared"):
        data = batched(surfaces([torch.tensor([[0.0], [1e4]])]))
        network.zero_grad()
        score_numbers(unit, per_point=True, loss=loss)(network, data)[0].backward()
        pulls[loss] = float(network.linear.bias.grad.abs())
    assert pulls["huber"] <= 1 and pulls["squared"] > 1000
    with pytest.raises(GeocnnError, match='"huber" or "squared"'):
        score_numbers(unit, per_point=True, loss="l1")


def test_targets_are_normalised_and_come_back():
    parts = [(101_325 + torch.randn(50, 2, dtype=torch.float64), torch.rand(50), None) for _ in range(3)]
    unit = standard(parts, per_point=True)
    assert Standard(**{k: tuple(v) for k, v in json.loads(json.dumps(asdict(unit))).items()}) == unit
    truth = parts[0][0]
    torch.testing.assert_close(unit.restore(unit.normalise(truth)), truth, rtol=0, atol=1e-6)
    whole = torch.cat([unit.normalise(truth) for truth, _, _ in parts]).double()
    share = torch.cat([area.double() / area.double().sum() for _, area, _ in parts]) / 3
    torch.testing.assert_close(share @ whole, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(share @ whole.square(), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)


def test_targets_that_teach_nothing_are_refused():
    with pytest.raises(GeocnnError, match=r"target 1 is 0\.1 everywhere"):
        standard([(torch.tensor([[1.0, 0.1], [2.0, 0.1]]), None, None)], per_point=False)
    with pytest.raises(GeocnnError, match="no number"):
        standard([(torch.ones(2), torch.zeros(2), None)], per_point=False)


def test_half_precision_logits_give_a_loss_in_single_precision():
    logits = torch.tensor([[60000.0, 0.0]], dtype=torch.float16)
    loss = cross_entropy(logits, torch.tensor([1]), torch.ones(1))
    assert loss.dtype == torch.float32 and float(loss) == 60000
