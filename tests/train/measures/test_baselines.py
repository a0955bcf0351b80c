"""Trivial answers go through the same metrics, and know of the training set only."""

import pytest
import torch

from geocnn.errors import GeocnnError
from geocnn.train.measures.baselines import class_shares, majority, mean, target_means
from geocnn.train.measures.doubt_metrics import ClassCalibration, ClassEnsemble, NumberEnsemble
from geocnn.train.measures.metrics import (
    PointClasses,
    PointNumbers,
    SurfaceClasses,
    SurfaceNumbers,
    difference,
)
from tests.train.measures.surfaces import labelled, numbered, updated


def known(parts):
    return [(truth, weight, None) for _, truth, weight in parts]


def test_the_majority_is_that_of_the_area_of_training():
    # class 0 has most points, class 1 most area; the large surface counts no more than the small one
    train = [
        (torch.tensor([0, 0, 1, -1]), torch.tensor([1.0, 1.0, 4.0, 100.0]), None),
        (torch.tensor([1, 0, 2]), torch.tensor([600.0, 400.0, 9e9]), torch.tensor([True, True, False])),
    ]
    expected = [(1 / 3 + 0.4) / 2, (2 / 3 + 0.6) / 2, 0]
    assert class_shares(PointClasses(3), train).tolist() == pytest.approx(expected)
    test = labelled(5, 3)
    measured = majority(PointClasses(3), train, known(test)).measures()
    always = [(torch.eye(3)[1].expand(len(truth), 3), truth, weight) for _, truth, weight in test]
    assert measured.values == updated(PointClasses(3), always).measures().values


def test_the_majority_ranks_nothing():
    test = labelled(5, 2)
    measured = majority(PointClasses(2), known(test), known(test)).measures().values
    assert measured["ROC AUC"].value == measured["ROC AUC pooled"].value == 0.5
    network = updated(PointClasses(2, "ROC AUC"), test)
    gained = difference(network, majority(PointClasses(2), known(test), known(test))).first
    assert gained.value == pytest.approx(float(network.compute()) - 0.5) and gained.low > 0.3


def test_the_shares_of_training_are_the_best_constant_probabilities():
    truth = torch.tensor([0, 0, 1, 2])
    own = majority(
        ClassCalibration(3, "NLL", is_per_point=False), [(truth, None, None)], [(truth, None, None)]
    )
    entropy = 0.5 * torch.tensor(2.0).log() + 0.5 * torch.tensor(4.0).log()
    assert float(own.compute()) == pytest.approx(float(entropy))


def test_the_mean_explains_nothing():
    parts = numbered(6, 2)
    for kind in (PointNumbers, SurfaceNumbers):
        rows = mean(kind(["a", "b"]), known(parts), known(parts)).measures().rows
        assert [rows[name]["R²"].value for name in "ab"] == pytest.approx([0, 0], abs=1e-12)
    assert target_means(SurfaceNumbers(), [(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0]), None)]) == 2
    flat = [(truth[:, 0], weight, None) for _, truth, weight in parts]
    assert float(mean(PointNumbers(headline="R²"), flat, flat).compute()) == pytest.approx(0, abs=1e-12)


def test_they_answer_for_ensembles_too():
    truth = torch.tensor([0, 1, 1])
    both = [(truth, None, None)]
    answers = majority(ClassEnsemble(2, "accuracy", is_per_point=False), both, both)
    assert float(answers.compute()) == pytest.approx(2 / 3)
    numbers = [(truth.double(), None, None)]
    assert float(mean(NumberEnsemble(is_per_point=False), numbers, numbers).compute()) > 0


def test_nothing_known_in_training_is_refused():
    nothing = [(torch.tensor([-1, -1]), None, None)]
    with pytest.raises(GeocnnError, match="no label of the training set"):
        majority(SurfaceClasses(2), nothing, nothing)
    with pytest.raises(GeocnnError, match="no number of the training set"):
        mean(SurfaceNumbers(), [(torch.ones(1), None, torch.zeros(1, dtype=torch.bool))], [])
