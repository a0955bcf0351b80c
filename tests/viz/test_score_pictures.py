"""Pictures of results hold the numbers of the measures, for few and many classes, with long names."""

import io
import math
from itertools import pairwise

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from geocnn import viz
from geocnn.errors import GeocnnError
from geocnn.train.measures.calibration import reliability
from geocnn.train.measures.ranking import average_precision, roc_auc
from geocnn.viz.score_pictures import ranking
from tests.pretend import DEVICE, pretending

torchmetrics = pytest.importorskip("torchmetrics.functional.classification")


def data(n, classes, seed=0, ties=False):
    g = torch.Generator().manual_seed(seed)
    truth = torch.randint(classes, (n,), generator=g)
    scores = torch.randn(n, classes, generator=g) + torch.nn.functional.one_hot(truth, classes)
    return ((4 * scores).round() / 4 if ties else scores), truth, torch.rand(n, generator=g)


def named(figure):
    legend = figure.legends[0] if figure.legends else figure.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()], legend.get_title().get_text()


def drawn(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=50)
    return stream.getbuffer().nbytes > 2000


@pytest.mark.parametrize("ties", [False, True])
def test_areas_and_curves_are_those_of_the_measures_and_of_torchmetrics(ties):
    scores, truth, weight = data(400, 3, ties=ties)
    for k in range(3):
        result = ranking(scores[:, k], truth == k, weight)
        assert result.area == pytest.approx(float(roc_auc(scores[:, k], truth == k, weight)))
        assert result.average_precision == pytest.approx(
            float(average_precision(scores[:, k], truth == k, weight))
        )
        plain = ranking(scores[:, k], truth == k)
        s = scores[:, k].sigmoid().double()
        fpr, tpr, _ = torchmetrics.binary_roc(s, (truth == k).long())
        torch.testing.assert_close(plain.false_alarms, fpr.double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(plain.recall, tpr.double(), rtol=0, atol=1e-6)
        precision, recall, _ = torchmetrics.binary_precision_recall_curve(s, (truth == k).long())
        torch.testing.assert_close(plain.precision[1:], precision[:-1].flip(0).double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(plain.recall, recall.flip(0).double(), rtol=0, atol=1e-6)


def test_a_legend_names_classes_and_areas():
    scores, truth, weight = data(300, 3)
    figure = viz.roc_curves(scores, truth, ["a", "$b$", "x" * 60], "title", weight)
    areas = [float(roc_auc(scores[:, k], truth == k, weight)) for k in range(3)]
    names = ["a", "$b$", "x" * 39 + "…"]
    texts, heading = named(figure)
    assert texts == [f"{name}: area {area:.3f}" for name, area in zip(names, areas, strict=True)]
    assert heading == f"mean area {sum(areas) / 3:.3f}" and figure.axes[0].get_title() == "title"
    means = [float(average_precision(scores[:, k], truth == k)) for k in range(3)]
    texts, _ = named(viz.precision_recall_curves(scores, truth))
    assert texts == [f"{k}: average precision {mean:.3f}" for k, mean in enumerate(means)]
    # a curve of two classes, of one score
    for labels in (truth == 1, (truth == 1).int()):
        texts, heading = named(viz.roc_curves(scores[:, 1], labels, ["no", "yes"]))
        assert texts == [f"yes: area {float(roc_auc(scores[:, 1], truth == 1)):.3f}"] and heading == ""


def test_classes_that_the_truth_lacks_have_no_curve_and_unknown_truths_do_not_count():
    scores, truth, _ = data(200, 4)
    truth[truth == 2] = -1
    texts, _ = named(viz.roc_curves(scores, truth))
    known = truth >= 0
    assert [text.split(":")[0] for text in texts] == ["0", "1", "3"]
    assert texts[0] == f"0: area {float(roc_auc(scores[known, 0], truth[known] == 0)):.3f}"


@pytest.mark.parametrize("classes", [2, 7, 13, 40])
def test_many_classes_with_long_names_are_drawn(classes):
    scores, truth, weight = data(2000, classes)
    names = [f"region {k} of the ${{left}} hemisphere" for k in range(classes)]
    assert drawn(viz.roc_curves(scores, truth, names)) and drawn(
        viz.precision_recall_curves(scores, truth, names)
    )
    for weights in (None, weight):
        figure = viz.confusion(scores.argmax(1), truth, names, "t", weights)
        assert drawn(figure)
        (axis,) = figure.axes
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in axis.texts]
        field = axis.get_window_extent(renderer).width / classes
        assert max(box.width for box in boxes) < 1.02 * field
        inside = figure.bbox
        for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
            box = label.get_window_extent(renderer)
            assert box.x0 >= inside.x0 - 1 and box.y0 >= inside.y0 - 1
        labels = [label.get_window_extent(renderer) for label in axis.get_xticklabels()]
        assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(labels))


def test_calibration_has_the_error_of_the_measures():
    scores, truth, weight = data(500, 4)
    answer = scores.softmax(1)
    for weights in (None, weight):
        figure = viz.calibration_curve(answer, truth, "title", weights)
        bins = reliability(answer, truth, weights)
        assert figure.axes[0].get_title() == f"title\nexpected calibration error {float(bins.error):.3f}"
        full = bins.share > 0
        curve = torch.from_numpy(figure.axes[0].lines[1].get_xydata())
        torch.testing.assert_close(curve, torch.stack([bins.confidence, bins.accuracy], 1)[full])
        heights = torch.tensor([bar.get_height() for bar in figure.axes[1].patches]).double()
        torch.testing.assert_close(heights, bins.share)
    assert drawn(figure)


def test_a_scatter_tells_fit_and_errors():
    truth = torch.tensor([1.0, 2.0, 3.0, math.nan, 4.0])
    predicted = torch.tensor([1.0, 2.5, 3.0, 1.0, 3.5])
    figure = viz.predicted_against_true(predicted, truth, "age", "$y$", "title")
    assert figure.axes[0].get_title().split("\n") == [
        "title",
        "R² 0.900, mean absolute error 0.25 $y$",
        "root mean square error 0.354 $y$",
        "1 of 5 pairs are not finite and left out",
    ]
    assert figure.axes[0].get_xlabel() == "true age ($y$)"
    assert figure.axes[0].get_xlim() == figure.axes[0].get_ylim()
    assert len(figure.axes[0].collections[0].get_offsets()) == 4 and drawn(figure)
    many = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    assert drawn(viz.predicted_against_true(many + 1, many))
    assert "R² undefined" in viz.predicted_against_true(torch.ones(3), torch.ones(3)).axes[0].get_title()


def test_results_on_a_device_are_drawn():
    scores, truth, weight = data(60, 3)
    with pretending():
        there = [t.to(DEVICE) for t in (scores, truth, weight)]
        for draw in (viz.roc_curves, viz.precision_recall_curves):
            assert named(draw(there[0], there[1], weights=there[2])) == named(
                draw(scores, truth, weights=weight)
            )
        viz.calibration_curve(there[0].softmax(1), there[1], weights=there[2])
        viz.predicted_against_true(there[0][:, 0], there[0][:, 1])
        viz.confusion(there[0].argmax(1), there[1], ["a", "b", "c"])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: viz.roc_curves(torch.rand(4), torch.ones(3)), r"got \[\[4, 2\], \[3\]\]"),
        (lambda: viz.roc_curves(torch.rand(4), torch.ones(4)), "one class only"),
        (lambda: viz.roc_curves(torch.rand(4, 2), torch.arange(4)), "class 3, but scores are of 2"),
        (lambda: viz.roc_curves(torch.tensor([1.0, math.nan]), torch.tensor([0, 1])), "not finite"),
        (lambda: viz.roc_curves(torch.rand(2, 2), torch.tensor([0, 1]), ["a"]), "1 names"),
        (lambda: viz.roc_curves(torch.rand(2, 2), torch.tensor([-1, -1])), "no truth is known"),
        (lambda: viz.calibration_curve(torch.rand(4, 2), torch.ones(4).long()), "softmax"),
        (lambda: viz.predicted_against_true(torch.rand(4), torch.rand(3)), r"got \[4\] and \[3\]"),
        (lambda: viz.predicted_against_true(torch.rand(1) / 0, torch.rand(1)), "no pair"),
    ],
)
def test_what_does_not_fit_is_said(draw, message):
    with pytest.raises(GeocnnError, match=message):
        draw()


def test_curves_of_many_answers_are_drawn_by_what_can_be_seen():
    g = torch.Generator().manual_seed(0)
    truth = torch.randint(2, (50_000,), generator=g)
    scores = truth + torch.randn(50_000, generator=g)
    result = ranking(scores, truth == 1)
    (line,) = [a for a in viz.roc_curves(scores, truth).axes[0].lines if len(a.get_xdata()) > 2]
    x, y = (torch.as_tensor(values) for values in line.get_data())
    assert len(x) < 3000 and float(x[0]) == float(y[0]) == 0 and float(x[-1]) == float(y[-1]) == 1
    # what is drawn is nowhere farther from the curve than a cell of the grid
    place = torch.searchsorted(x.contiguous(), result.false_alarms, right=True).clamp(max=len(x) - 1)
    assert float((y[place] - result.recall).abs().max()) < 0.01
