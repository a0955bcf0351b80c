"""Calibration and ensembles: known values, an oracle, and data made so that the answer is known."""

import math

import pytest
import torch
from sklearn import metrics as oracle

from geocnn.errors import GeocnnError
from geocnn.train.measures.calibration import reliability
from geocnn.train.measures.doubt_metrics import ClassCalibration, ClassEnsemble, NumberEnsemble
from geocnn.train.measures.ensembles import ensemble
from tests.train.measures.surfaces import labelled, pooled, updated, values


def test_likelihood_and_brier_score_agree_with_scikit_learn():
    parts = [(a.softmax(1), t, w) for a, t, w in labelled()]
    answer, truth, weight = pooled(parts)
    measured = values(updated(ClassCalibration(4, is_per_point=True), parts))
    assert measured["NLL"] == pytest.approx(oracle.log_loss(truth, answer, sample_weight=weight), rel=1e-12)
    brier = oracle.brier_score_loss(truth, answer, sample_weight=weight, scale_by_half=False)
    assert measured["Brier"] == pytest.approx(brier, rel=1e-12)
    rows = updated(ClassCalibration(4, is_per_point=False), [(answer, truth, weight)])
    assert values(rows) == pytest.approx(measured, rel=1e-12)


def test_calibration_error_by_hand():
    # two bins of 15 hold weight: 0.9 right half of the time by weight, 0.6 always
    answer = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]], dtype=torch.float64)
    bins = reliability(answer, torch.tensor([0, 1, 1]), torch.tensor([1.0, 1.0, 2.0]))
    assert bins.share[[8, 13]].tolist() == [0.5, 0.5] and bins.accuracy[[8, 13]].tolist() == [1, 0.5]
    assert float(bins.error) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    metric = ClassCalibration(2, is_per_point=True)
    metric.update(answer, torch.tensor([0, 1, 1]), torch.tensor([1.0, 1.0, 2.0]))
    rows = metric.measures().rows
    assert rows["0.87 to 0.93"]["accuracy"].value == 0.5 and rows["0.00 to 0.07"]["accuracy"].value is None
    assert rows["0.87 to 0.93"]["confidence"].value == pytest.approx(0.9)
    assert float(metric.compute()) == pytest.approx(0.4)


def test_sure_and_right_is_calibrated_and_sure_and_wrong_is_finite():
    sure = torch.eye(3)
    right, wrong = (
        values(updated(ClassCalibration(3, is_per_point=False), [(sure, truth)]))
        for truth in (torch.arange(3), torch.arange(3).roll(1))
    )
    assert right == {"ECE": 0, "NLL": 0, "Brier": 0}
    assert wrong["ECE"] == 1 and wrong["NLL"] == pytest.approx(-math.log(torch.finfo(torch.float32).eps))


def test_logits_are_no_probabilities():
    with pytest.raises(GeocnnError, match=r"2 of 3 rows .* sum 5 and the least"):
        ClassCalibration(2, is_per_point=True).update(
            torch.tensor([[0.5, 0.5], [2.0, 3.0], [-1.0, 2.0]]), torch.tensor([0, 0, 0])
        )


def test_members_of_classes():
    answers = torch.tensor([[[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.3, 0.7]]], dtype=torch.float64)
    measured = values(updated(ClassEnsemble(2, is_per_point=False), [(answers, torch.tensor([0, 1]))]))
    assert measured["accuracy"] == 1 and measured["accuracy of one member"] == 0.75
    assert measured["disagreement"] == 0.25
    each = [oracle.log_loss([0, 1], answer) for answer in answers]
    assert measured["NLL of one member"] == pytest.approx(sum(each) / 2)
    # the likelihood of a mean is never below the mean of likelihoods (Jensen)
    assert measured["NLL"] == pytest.approx(oracle.log_loss([0, 1], answers.mean(0)))
    assert measured["NLL"] < measured["NLL of one member"]


@pytest.mark.parametrize("per_point", [True, False])
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_members_of_numbers(per_point, factor):
    """Members and truth are drawn alike about a common centre: the spread is right, its half is half."""
    g = torch.Generator().manual_seed(0)
    n, members = 40_000, 5
    scale = torch.rand(n, generator=g) + 0.2
    centre = torch.randn(n, generator=g)
    drawn = centre + scale * torch.randn(members + 1, n, generator=g)
    mean = drawn[:-1].mean(0)
    answers = mean + factor * (drawn[:-1] - mean)
    metric = NumberEnsemble(is_per_point=per_point)
    metric.update(answers[:, : n // 2], drawn[-1, : n // 2])
    metric.update(answers[:, n // 2 :], drawn[-1, n // 2 :])
    measured = values(metric)
    assert measured["spread-skill"] == pytest.approx(factor, rel=0.02)
    assert measured["RMSE"] == pytest.approx(float((mean - drawn[-1]).square().mean().sqrt()), rel=1e-6)
    # five members know the spread only so well: Student's distribution with four degrees of freedom
    expected = {1.0: 0.878, 0.5: 0.617}[factor]
    assert measured["within 95 %"] == pytest.approx(expected, abs=0.01)
    assert 0.2 < measured["spread and error"] < 0.6


def test_members_that_agree_have_no_likelihood():
    metric = NumberEnsemble(["a", "b"], is_per_point=False)
    truth = torch.tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 5.0]])
    metric.update(torch.stack([truth, truth + torch.tensor([0.0, 1.0])]), truth)
    rows = metric.measures().rows
    assert rows["a"]["NLL"].value is None and "agree exactly" in rows["a"]["NLL"].reason
    assert rows["a"]["spread-skill"].value is None and rows["b"]["spread-skill"].value is not None


def test_one_member_is_no_ensemble():
    with pytest.raises(GeocnnError, match="two members at least, got 1 member"):
        ensemble(torch.zeros(1, 3))
    with pytest.raises(GeocnnError, match=r"must be .*members, n, 1"):
        NumberEnsemble(is_per_point=True).update(torch.zeros(3), torch.zeros(3))
