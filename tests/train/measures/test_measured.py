"""Intervals over surfaces hold what they promise; differences are paired; what is missing says why."""

import json
import math

import pytest
import torch
from rich.console import Console
from scipy import stats

from geocnn.errors import GeocnnError
from geocnn.train.measures.measured import Measured, draw
from geocnn.train.measures.metrics import (
    PointClasses,
    PointNumbers,
    SurfaceClasses,
    SurfaceNumbers,
    difference,
)
from geocnn.train.measures.tally import mean_over, median_over
from tests.train.measures.surfaces import labelled, numbered, updated


def test_resamples_draw_as_many_surfaces_and_repeat_with_the_seed():
    counts = draw(40, 500, seed=1)
    assert (counts.sum(1) == 40).all() and torch.equal(counts, draw(40, 500, seed=1))
    assert not torch.equal(counts, draw(40, 500, seed=2))
    # the mean of drawn values varies by the standard error, √(σ²/n)
    x = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = float((x.var(correction=0) / 40).sqrt())
    assert float(mean_over(x, counts).std()) == pytest.approx(expected, rel=0.1)


def test_mean_and_median_over_drawn_surfaces():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(9, generator=g, dtype=torch.float64)
    x[4] = torch.nan
    counts = draw(9, 50)
    for k, row in enumerate(counts.long()):
        drawn = torch.repeat_interleave(x, row)
        drawn = drawn[~drawn.isnan()].numpy()
        assert float(mean_over(x, counts)[k]) == pytest.approx(drawn.mean(), rel=1e-12)
        assert float(median_over(x, counts)[k]) == pytest.approx(float(stats.scoreatpercentile(drawn, 50)))
    only = counts.new_zeros(1, 9)
    only[0, 4] = 9
    assert mean_over(x, only).isnan() and median_over(x, only).isnan()
    assert median_over(x[4:5], counts[:, :1]).isnan().all()


def test_an_interval_of_a_mean_is_that_of_scipy():
    parts = [(a.flatten(), t.flatten()) for a, t, _ in numbered(1, 1, 200)]
    measured = updated(SurfaceNumbers(headline="MAE"), parts).measures(resamples=4000).first
    error = (parts[0][0] - parts[0][1]).abs().numpy()
    theirs = stats.bootstrap((error,), lambda x, axis: x.mean(axis), method="percentile", rng=0)
    assert measured.value == pytest.approx(error.mean())
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert measured.low == pytest.approx(theirs.confidence_interval.low, abs=0.1 * width)
    assert measured.high == pytest.approx(theirs.confidence_interval.high, abs=0.1 * width)


def test_intervals_hold_the_value_of_all_surfaces_about_as_often_as_they_say():
    """60 test sets of 40 surfaces, right with probability 0.8 each; 95 % would be 57, binomial noise ± 4."""
    g = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(60):
        right = (torch.rand(40, generator=g) < 0.8).long()
        metric = SurfaceClasses(2)
        metric.update(torch.eye(2).repeat(20, 1), torch.arange(40).remainder(2) ^ (1 - right))
        first = metric.measures(400).first
        held += first.low <= 0.8 <= first.high
    assert 52 <= held <= 60


def test_points_of_one_surface_are_not_drawn_by_themselves():
    """Many points per surface narrow nothing where whole surfaces differ."""

    def width(points):
        metric = PointClasses(2)
        for k in range(10):
            metric.update(torch.eye(2)[:1].expand(points, -1), torch.full((points,), k % 2))
        first = metric.measures().first
        return first.high - first.low

    assert width(1) == pytest.approx(width(1000)) and width(1) > 0.5


def test_order_of_surfaces_changes_the_value_not_at_all():
    parts = labelled(8, 2)
    one, other = (updated(PointClasses(2), p).measures() for p in (parts, parts[::-1]))
    assert {n: v.value for n, v in other.values.items()} == pytest.approx(
        {n: v.value for n, v in one.values.items()}, rel=1e-12
    )


@pytest.mark.parametrize("kind", ["points", "surfaces", "numbers", "many numbers"])
def test_what_json_gets_has_no_nan_and_says_why(kind):
    if kind == "points":
        metric = updated(PointClasses(3), [(torch.eye(3), torch.tensor([0, 0, 0]))])
    elif kind == "surfaces":
        metric = updated(SurfaceClasses(3), [(torch.eye(3) + 1, torch.tensor([0, 0, 0]))])
    else:
        targets = 1 if kind == "numbers" else 3
        metric = updated(PointNumbers(targets), [(torch.zeros(4, targets), torch.zeros(4, targets))] * 3)
    measures = metric.measures()
    text = json.loads(json.dumps(measures.to_dict(), allow_nan=False))
    assert text["headline"] == measures.headline and set(text["rows"]) == set(metric.rows)
    every = [*text["values"].values(), *(cell for row in text["rows"].values() for cell in row.values())]
    assert any(cell["value"] is None for cell in every)
    for cell in every:
        assert (cell["value"] is not None and cell["low"] is not None) or cell["reason"]


def test_resamples_that_all_agree_are_no_interval():
    metric = updated(SurfaceClasses(2), [(torch.eye(2)[[0, 1] * 150], torch.tensor([0, 1] * 150))])
    first = metric.measures().first
    assert first.value == 1 and first.low is None and "all resamples agree" in first.reason


def test_a_measure_that_most_resamples_lack_has_no_interval():
    metric = PointClasses(2)
    metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    for _ in range(2):
        metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    # two of three resamples hold the first surface, (2/3)³ = 0.3 do not
    assert metric.measures().values["ROC AUC"].value == 1
    rows = (
        updated(SurfaceClasses(3), [(torch.eye(3)[[0] * 40 + [1]], torch.tensor([0] * 41))]).measures().rows
    )
    assert rows["class 1"]["F1"].value == 0 and rows["class 1"]["recall"].value is None
    lonely = SurfaceNumbers()
    lonely.update(torch.arange(2.0), torch.arange(2.0))
    assert lonely.measures().values["Pearson"].low is None  # half of the resamples hold one number only


def test_tables_show_the_headline_first():
    metric = updated(PointClasses(["head", "hand"], "mean IoU"), labelled(5, 2))
    console = Console(width=120)
    with console.capture() as captured:
        console.print(metric.measures())
    lines = captured.get().splitlines()
    shown = [line for line in lines if "mean IoU " in line]
    assert lines.index(shown[0]) < lines.index(next(line for line in lines if "accuracy" in line))
    assert " to " in shown[0] and any("head" in line for line in lines)
    assert "5 surfaces; intervals from 1,000 resamples" in captured.get()
    with console.capture() as captured:
        console.print(updated(PointNumbers(["wind [m/s]"]), numbered(1, 1)).measures())
    assert "one surface" in captured.get() and "wind [m/s]" in captured.get()
    assert str(Measured(0.123456)) == "0.1235" and str(Measured(1.0, 0.5, 2.0)) == "1 (0.5 to 2)"


def test_differences_are_paired():
    """Surfaces differ far more than models do; only the paired difference tells these apart."""
    g = torch.Generator().manual_seed(0)
    network, control = SurfaceNumbers(headline="MAE"), SurfaceNumbers(headline="MAE")
    truth, error = torch.zeros(50), 10 * torch.rand(50, generator=g)
    network.update(error, truth)
    control.update(error + 0.5 + 0.1 * torch.rand(50, generator=g), truth)
    one, other = network.measures().first, control.measures().first
    assert one.high > other.low
    less = difference(network, control)
    assert less.first.value == pytest.approx(one.value - other.value)
    assert -0.6 < less.first.low < less.first.high < -0.5
    opposite = difference(control, network).first
    assert (opposite.low, opposite.high) == pytest.approx((-less.first.high, -less.first.low))
    nothing = difference(network, network).first
    assert nothing.value == 0 and nothing.low is None


def test_differences_of_tables_keep_what_counts_the_test_set():
    parts = labelled(6, 3)
    network, control = PointClasses(3), PointClasses(3)
    updated(network, parts)
    updated(control, [(a.flip(1), t, w) for a, t, w in parts])
    less, rows = difference(network, control).rows, [m.measures().rows for m in (network, control)]
    for name in rows[0]:
        assert less[name]["points"] == rows[0][name]["points"]
        assert less[name]["IoU"].value == pytest.approx(
            rows[0][name]["IoU"].value - rows[1][name]["IoU"].value
        )


def test_differences_need_the_same_surfaces_and_metrics():
    parts = labelled(4, 3)
    metric = updated(PointClasses(3), parts)
    others = {
        "other surfaces|different surfaces": updated(PointClasses(3), labelled(4, 3, seed=1)),
        "another order": updated(PointClasses(3), parts[::-1]),
        "4 surfaces and the other 3": updated(PointClasses(3), parts[:3]),
        "different metrics": updated(SurfaceClasses(3), parts[:1]),
    }
    for message, other in others.items():
        with pytest.raises(GeocnnError, match=message):
            difference(metric, other)


def test_no_mode_of_the_caller_changes_them():
    parts = labelled(4, 2)
    expected = updated(PointClasses(2), parts).measures()
    with torch.device("meta"), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        metric = updated(PointClasses(2), parts)
        assert metric.measures() == expected
        assert difference(metric, metric).first.value == 0
        assert float(metric.compute()) == expected.first.value


def test_torchmetrics_collects_resets_and_joins_them():
    from torchmetrics import MetricCollection

    parts = labelled(4, 2)
    metrics = {name: PointClasses(2, name) for name in ("mean IoU", "ROC AUC pooled")}
    collection = MetricCollection(metrics, compute_groups=False)
    for answer, truth, weight in parts:
        collection.update(answer, truth, weight=weight)
    values = collection.compute()
    for name, value in values.items():
        assert float(value) == metrics[name].measures(2).values[name].value
    # metrics that keep the same may share it
    grouped = MetricCollection({n: PointClasses(2, n) for n in metrics}, compute_groups=True)
    for answer, truth, weight in parts:
        grouped.update(answer, truth, weight=weight)
    assert grouped.compute() == values
    collection.reset()
    with pytest.raises(GeocnnError, match="nothing was measured"), pytest.warns(UserWarning, match="before"):
        metrics["mean IoU"].compute()
    batch = metrics["mean IoU"](*parts[0])
    assert float(batch) == updated(PointClasses(2, "mean IoU"), parts[:1]).measures(2).first.value
    for part in parts[1:]:
        metrics["mean IoU"](*part)
    assert float(metrics["mean IoU"].compute()) == pytest.approx(float(values["mean IoU"]), rel=1e-15)
    assert not math.isnan(float(batch))
