"""Measures of classes are scikit-learn's with sample weights, over areas of surfaces that count the same."""

import pytest
import torch
from sklearn import metrics as oracle

from geocnn.errors import BadValueError, GeocnnError
from geocnn.train.measures.labels import confusion, f1, iou, mean_of_present, precision, recall
from geocnn.train.measures.metrics import Accuracy, PointClasses, SurfaceClasses
from tests.train.measures.surfaces import labelled, pooled, updated, values


def test_points_agree_with_scikit_learn():
    parts = labelled()
    answer, truth, weight = pooled(parts)
    answered, measured = answer.argmax(1), values(updated(PointClasses(4), parts))
    options = {"y_true": truth, "y_pred": answered, "sample_weight": weight}
    assert measured["accuracy"] == pytest.approx(oracle.accuracy_score(**options), rel=1e-12)
    assert measured["accuracy per point"] == oracle.accuracy_score(truth, answered)
    assert measured["mean IoU"] == pytest.approx(oracle.jaccard_score(**options, average="macro"), rel=1e-12)
    assert measured["macro F1"] == pytest.approx(oracle.f1_score(**options, average="macro"), rel=1e-12)
    assert measured["balanced accuracy"] == pytest.approx(
        oracle.balanced_accuracy_score(**options), rel=1e-12
    )
    own = [
        oracle.accuracy_score(t[t >= 0], a[t >= 0].argmax(1), sample_weight=w[t >= 0]) for a, t, w in parts
    ]
    assert measured["worst surface"] == pytest.approx(min(own), rel=1e-12)
    assert measured["accuracy"] == pytest.approx(sum(own) / len(own), rel=1e-12)
    each = [
        oracle.jaccard_score(t[t >= 0], a[t >= 0].argmax(1), average="macro", sample_weight=w[t >= 0])
        for a, t, w in parts
    ]
    assert measured["mean IoU per surface"] == pytest.approx(sum(each) / len(each), rel=1e-12)


def test_the_table_of_classes_agrees_with_scikit_learn():
    parts = labelled()
    answer, truth, weight = pooled(parts)
    rows = updated(PointClasses(["a", "b", "c", "d"]), parts).measures(resamples=2).rows
    expected = oracle.precision_recall_fscore_support(truth, answer.argmax(1), sample_weight=weight)
    for name, column in zip(("precision", "recall", "F1"), expected, strict=False):
        assert [rows[row][name].value for row in "abcd"] == pytest.approx(list(column), rel=1e-12)
    assert [rows[row]["points"].value for row in "abcd"] == torch.bincount(truth).tolist()
    shares = torch.bincount(truth, weight) / weight.sum()
    assert [rows[row]["share"].value for row in "abcd"] == pytest.approx(shares.tolist(), rel=1e-12)


def test_surfaces_agree_with_scikit_learn():
    (answer, truth, weight), *_ = labelled(1, 5, 90, unknown=0.0)
    metric = SurfaceClasses(5)
    probabilities = answer.softmax(1)
    metric.update(probabilities[:30], truth[:30], weight[:30])
    metric.update(probabilities[30:], truth[30:], weight[30:])
    measured, options = values(metric), {"y_true": truth, "sample_weight": weight}
    answered = answer.argmax(1)
    assert measured["accuracy"] == pytest.approx(oracle.accuracy_score(**options, y_pred=answered), rel=1e-12)
    assert measured["balanced accuracy"] == pytest.approx(
        oracle.balanced_accuracy_score(**options, y_pred=answered), rel=1e-12
    )
    assert measured["macro F1"] == pytest.approx(
        oracle.f1_score(**options, y_pred=answered, average="macro"), rel=1e-12
    )
    each = [oracle.roc_auc_score(truth == k, probabilities[:, k], sample_weight=weight) for k in range(5)]
    assert measured["ROC AUC"] == pytest.approx(sum(each) / 5, rel=1e-12)
    unweighted = values(updated(SurfaceClasses(5), [(probabilities, truth)]))["ROC AUC"]
    assert unweighted == pytest.approx(
        oracle.roc_auc_score(truth, probabilities, multi_class="ovr"), rel=1e-12
    )


def test_logits_of_several_classes_have_no_rank_and_say_so():
    (answer, truth, _), *_ = labelled(1, 3, unknown=0.0)
    auc = updated(SurfaceClasses(3), [(answer, truth)]).measures(resamples=2).values["ROC AUC"]
    assert auc.value is None and "softmax" in auc.reason
    two = [
        updated(SurfaceClasses(2), [(a, truth.clamp(max=1))])
        for a in (answer[:, :2], answer[:, :2].softmax(1))
    ]
    assert values(two[0])["ROC AUC"] == pytest.approx(values(two[1])["ROC AUC"], rel=1e-12)


def test_absent_classes_are_left_out_and_those_only_answered_count_as_wrong():
    truth, answered = torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1])
    matrix = confusion(torch.eye(4)[answered], truth)
    assert recall(matrix)[:2].tolist() == [0.5, 1] and recall(matrix)[2:].isnan().all()
    assert precision(matrix)[:3].tolist() == [1, 1, 0] and precision(matrix)[3].isnan()
    for measure, average in ((f1, oracle.f1_score), (iou, oracle.jaccard_score)):
        assert measure(matrix)[2] == 0 and measure(matrix)[3].isnan()
        assert float(mean_of_present(measure(matrix))) == pytest.approx(
            average(truth, answered, average="macro", zero_division=0.0)
        )
    rows = updated(PointClasses(4), [(torch.eye(4)[answered], truth)]).measures().rows
    assert rows["class 3"]["IoU"].value is None and "neither" in rows["class 3"]["IoU"].reason
    assert "not in the truth" in rows["class 2"]["recall"].reason


def test_one_class_only_and_one_point_only():
    alone = updated(PointClasses(2), [(torch.tensor([[2.0, 1.0]]), torch.tensor([0]), torch.tensor([3.0]))])
    measured = alone.measures()
    assert measured.values["accuracy"].value == measured.values["mean IoU"].value == 1
    for name in ("ROC AUC", "ROC AUC median", "ROC AUC pooled", "average precision"):
        assert measured.values[name].value is None and measured.values[name].reason
    assert "one surface" in measured.values["accuracy"].reason


@pytest.mark.parametrize("kind", [PointClasses, SurfaceClasses])
@pytest.mark.parametrize("classes", [2, 4])
def test_unknown_labels_change_nothing_whatever_stands_there(kind, classes):
    parts = [(a.softmax(1), t, w) for a, t, w in labelled(classes=classes)]
    expected = values(updated(kind(classes), parts))
    spoilt = [(a.clone(), t, w.clone()) for a, t, w in parts]
    for answer, truth, weight in spoilt:
        answer[truth < 0], weight[truth < 0] = torch.nan, -torch.inf
    assert values(updated(kind(classes), spoilt)) == expected
    kept = [tuple(part[t >= 0] for part in (a, t, w)) for a, t, w in parts]
    assert values(updated(kind(classes), kept)) == expected
    masked = kind(classes)
    for answer, truth, weight in spoilt:
        # a label under the mask may be no class at all
        masked.update(answer, truth.where(truth >= 0, 99), weight, truth >= 0)
    assert values(masked) == expected
    masked.update(answer, truth, weight, torch.zeros_like(truth, dtype=torch.bool))
    assert values(masked) == expected
    weightless = kind(classes)
    for answer, truth, weight in spoilt:
        weightless.update(answer, truth.clamp(min=0), weight.masked_fill(truth < 0, 0))
    assert values(weightless) == expected


@pytest.mark.parametrize("classes", [2, 4])
def test_order_scale_and_splitting_of_points_change_nothing(classes):
    parts = labelled(classes=classes)
    expected = values(updated(PointClasses(classes), parts))
    g = torch.Generator().manual_seed(1)
    changed = {
        "order": [
            tuple(part[torch.randperm(len(t), generator=g.manual_seed(1))] for part in (a, t, w))
            for a, t, w in parts
        ],
        "unit": [(a, t, w * 10.0**k) for k, (a, t, w) in enumerate(parts)],
        "split": [tuple(torch.cat([x, x]) for x in (a, t, w / 2)) for a, t, w in parts],
    }
    for name, others in changed.items():
        assert values(updated(PointClasses(classes), others)) == pytest.approx(expected, rel=1e-12), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision_is_counted_in_float64(dtype):
    parts = [(a.to(dtype), t, w.to(dtype)) for a, t, w in labelled(classes=2)]
    exact = [(a.double(), t, w.double()) for a, t, w in parts]
    assert values(updated(PointClasses(2), parts)) == values(updated(PointClasses(2), exact))
    metric = updated(PointClasses(2), parts).half()
    assert metric.compute().dtype == torch.float64


def test_what_cannot_be_counted_is_refused_by_name():
    metric, answer, truth = PointClasses(3), torch.eye(3), torch.arange(3)
    with pytest.raises(
        BadValueError, match=r"1 of 9 known values of answer \[3, 3\] are NaN, first at \[\[0, 0"
    ):
        metric.update(
            answer.where(answer * torch.arange(3) == 0, 1).index_put(
                (truth[:1], truth[:1]), torch.tensor(torch.nan)
            ),
            truth,
        )
    with pytest.raises(BadValueError, match=r"weight .* infinite"):
        metric.update(answer, truth, torch.tensor([1.0, 2.0, torch.inf]))
    with pytest.raises(GeocnnError, match="weights must not be negative"):
        metric.update(answer, truth, torch.tensor([1.0, 2.0, -1.0]))
    with pytest.raises(GeocnnError, match=r"between 0 and 2.*such as 3"):
        metric.update(answer, truth + 1)
    with pytest.raises(GeocnnError, match=r"3 classes, but the answer has shape \[3, 2\]"):
        metric.update(answer[:, :2], truth)
    with pytest.raises(GeocnnError, match="one number per class"):
        PointClasses(1)
    with pytest.raises(GeocnnError, match="no measure 'IoU' here; there are: accuracy, "):
        PointClasses(3, "IoU")
    with pytest.raises(GeocnnError, match="'arm' stands for more than one class"):
        PointClasses(["arm", "leg", "arm"])
    with pytest.raises(GeocnnError, match="nothing was measured"):
        metric.compute()


def test_surfaces_count_the_same_and_points_by_area():
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    parts = [
        (torch.tensor([right, wrong]), torch.ones(2, dtype=torch.int64), torch.tensor([3.0, 1.0])),
        (torch.tensor([wrong] * 3 + [right]), torch.ones(4, dtype=torch.int64), torch.ones(4)),
    ]
    measured = values(updated(PointClasses(2), parts))
    assert measured["accuracy"] == (0.75 + 0.25) / 2 and measured["worst surface"] == 0.25
    assert measured["accuracy per point"] == 2 / 6
    pooled = Accuracy()
    for answer, truth, _ in parts:
        pooled.update(answer, truth)
    pooled.update(torch.ones(5, 2), torch.full((5,), -1))
    assert float(pooled.compute()) == 2 / 6
