"""ROC AUC and average precision are scikit-learn's; bins of a resample are as exact as they say."""

import pytest
import torch
from sklearn import metrics as oracle

from geocnn.errors import BadValueError, GeocnnError
from geocnn.train.measures.inputs import known_labels
from geocnn.train.measures.measured import draw
from geocnn.train.measures.metrics import PointClasses
from geocnn.train.measures.ranking import (
    BINS,
    PointRanks,
    area_under_roc,
    average_precision,
    mean_precision,
    roc_auc,
)
from geocnn.train.measures.tally import once
from tests.train.measures.surfaces import labelled, pooled, updated, values


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.02])
def test_they_agree_with_scikit_learn(ties, share):
    g = torch.Generator().manual_seed(0)
    score, weight = torch.randn(2000, generator=g), torch.rand(2000, generator=g)
    positive = torch.rand(2000, generator=g) < share
    score = (score + positive).mul(3).round() if ties else score + positive
    for own, theirs in ((roc_auc, oracle.roc_auc_score), (average_precision, oracle.average_precision_score)):
        assert float(own(score, positive)) == pytest.approx(theirs(positive, score), rel=1e-12)
        expected = theirs(positive, score, sample_weight=weight)
        assert float(own(score, positive, weight)) == pytest.approx(expected, rel=1e-12)


def test_one_kind_only_has_neither():
    for positive in (torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)):
        assert roc_auc(torch.arange(3), positive).isnan()
        assert average_precision(torch.arange(3), positive).isnan()
    # a surface without one of the classes is left out of the mean and the median, not of what is pooled
    parts = labelled(classes=2, unknown=0.0)
    answer, truth, weight = parts[0]
    alone = (answer, torch.zeros_like(truth), weight)
    both, more = (values(updated(PointClasses(2), p)) for p in (parts, [*parts, alone]))
    for name in ("ROC AUC", "ROC AUC median"):
        assert more[name] == pytest.approx(both[name], rel=1e-12)
    assert more["ROC AUC pooled"] != pytest.approx(both["ROC AUC pooled"], rel=1e-6)


def test_surfaces_and_all_points_together():
    parts = labelled(7, 2, unknown=0.1)
    answer, truth, weight = pooled(parts)
    measured = values(updated(PointClasses(2), parts))
    options = {"y_true": truth, "y_score": answer.softmax(1)[:, 1], "sample_weight": weight}
    assert measured["ROC AUC pooled"] == pytest.approx(oracle.roc_auc_score(**options), rel=1e-12)
    assert measured["average precision"] == pytest.approx(
        oracle.average_precision_score(**options), rel=1e-12
    )
    known = [[x[t >= 0] for x in (t, a[:, 1] - a[:, 0], w)] for a, t, w in parts]
    own = torch.tensor(
        [oracle.roc_auc_score(t, s, sample_weight=w) for t, s, w in known], dtype=torch.float64
    )
    assert measured["ROC AUC"] == pytest.approx(float(own.mean()), rel=1e-12)
    assert measured["ROC AUC median"] == pytest.approx(float(own.median()), rel=1e-12)


def ranks(parts):
    tallies = [PointRanks.of(known_labels(*part)) for part in parts]
    return PointRanks(**{n: torch.cat([getattr(t, n) for t in tallies]) for n in PointRanks.names()})


@pytest.mark.parametrize("ties", [False, True])
def test_bins_are_as_exact_as_they_say(ties):
    parts = labelled(9, 2, 2000)
    if ties:
        parts = [(a.mul(2).round(), t, w) for a, t, w in parts]
    tally = ranks(parts)
    exact = tally.sample(None).values
    for bins in (16, 128, BINS):
        positive, negative = (part.sum(0) for part in tally.binned(bins).unbind(1))
        error = abs(float(area_under_roc(positive, negative) - exact["ROC AUC pooled"][0]))
        within = float((positive * negative).sum() / (positive.sum() * negative.sum()) / 2)
        assert error <= within + 1e-15
        if not ties:
            # every mass of p + n is at most 2/bins and one score; 0.002 here
            assert within <= 0.5 / bins + 0.002 and error <= 0.5 / bins
    assert float(mean_precision(positive, negative)) == pytest.approx(
        float(exact["average precision"][0]), abs=1e-3
    )


def test_a_resample_is_the_test_set_with_surfaces_repeated():
    parts = labelled(5, 2, 300)
    tally, counts = ranks(parts), draw(5, 4, seed=3)
    drawn = tally.sample(counts).values
    for k, row in enumerate(counts.long().tolist()):
        again = ranks([part for part, n in zip(parts, row, strict=True) for _ in range(n)])
        for name, value in again.sample(None).values.items():
            assert float(drawn[name][k]) == pytest.approx(float(value[0]), abs=1e-3), name
    assert float(tally.sample(once(5)).values["ROC AUC"][0]) == float(tally.sample(None).values["ROC AUC"][0])


def test_scores_without_a_rank_are_refused_by_name():
    with pytest.raises(BadValueError, match="NaN"):
        roc_auc(torch.tensor([0.0, torch.nan]), torch.tensor([True, False]))
    with pytest.raises(GeocnnError, match="both answers are infinite at row 1"):
        PointClasses(2).update(torch.tensor([[0.0, 1.0], [-torch.inf, -torch.inf]]), torch.tensor([0, 1]))
