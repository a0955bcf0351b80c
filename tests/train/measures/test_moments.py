"""Measures of numbers are scikit-learn's and SciPy's, in the target's own unit."""

import pytest
import torch
from sklearn import metrics as oracle

from geocnn.errors import BadValueError, GeocnnError
from geocnn.train.measures.measured import draw
from geocnn.train.measures.metrics import PointNumbers, SurfaceNumbers
from geocnn.train.measures.moments import mae, moments, pearson, r_squared, rmse
from tests.train.measures.surfaces import numbered, pooled, updated, values


def cells(metric):
    rows = metric.measures(resamples=2).rows
    return {(row, name): cell.value for row, cells in rows.items() for name, cell in cells.items()}


def correlation(x, y, weight):
    covariance = torch.cov(torch.stack([x, y]), aweights=weight)
    return float(covariance[0, 1] / (covariance[0, 0] * covariance[1, 1]).sqrt())


def test_points_agree_with_scikit_learn():
    parts = numbered()
    answer, truth, weight = pooled(parts, known=False)
    metric = updated(PointNumbers(["u", "v"]), parts)
    measured, options = cells(metric), {"sample_weight": weight, "multioutput": "raw_values"}
    columns = {
        "RMSE": oracle.root_mean_squared_error(truth, answer, **options),
        "MAE": oracle.mean_absolute_error(truth, answer, **options),
        "R²": oracle.r2_score(truth, answer, **options),
        "Pearson": [correlation(a, t, weight) for a, t in zip(answer.T, truth.T, strict=True)],
        "Pearson per surface": torch.tensor(
            [[correlation(a[:, k], t[:, k], w) for k in (0, 1)] for a, t, w in parts], dtype=torch.float64
        ).mean(0),
    }
    for name, expected in columns.items():
        assert [measured[row, name] for row in "uv"] == pytest.approx([float(x) for x in expected], rel=1e-12)
    # units differ, so errors have no mean over targets
    assert set(values(metric)) == {"R²", "Pearson", "Pearson per surface"}
    assert values(metric)["R²"] == pytest.approx(
        oracle.r2_score(truth, answer, sample_weight=weight), rel=1e-12
    )


def test_surfaces_agree_with_scikit_learn():
    ((answer, truth, weight),) = numbered(1, 1, 90)
    metric = SurfaceNumbers(headline="MAE")
    metric.update(answer[:20], truth[:20], weight[:20])
    metric.update(answer[20:], truth[20:], weight[20:])
    measured, options = values(metric), {"sample_weight": weight}
    assert float(metric.compute()) == measured["MAE"]
    assert measured["MAE"] == pytest.approx(oracle.mean_absolute_error(truth, answer, **options), rel=1e-12)
    assert measured["RMSE"] == pytest.approx(
        oracle.root_mean_squared_error(truth, answer, **options), rel=1e-12
    )
    assert measured["R²"] == pytest.approx(oracle.r2_score(truth, answer, **options), rel=1e-12)
    assert measured["Pearson"] == pytest.approx(correlation(answer[:, 0], truth[:, 0], weight), rel=1e-12)
    assert "Pearson per surface" not in measured
    flat = updated(SurfaceNumbers(), [(answer[:, 0], truth[:, 0], weight)])
    assert values(flat) == measured


@pytest.mark.parametrize("per_point", [True, False])
def test_a_large_mean_costs_no_digits(per_point):
    parts = numbered(targets=1)
    far = [(a + 1e6, t + 1e6, w) for a, t, w in parts]
    kind = PointNumbers if per_point else SurfaceNumbers
    near, measured = (values(updated(kind(), p)) for p in (parts, far))
    # 7 of 16 digits go with the offset itself
    assert measured == pytest.approx(near, rel=1e-8)


def test_units_scale_errors_alone():
    parts = numbered(targets=1)
    scaled = [(1000 * a, 1000 * t, w) for a, t, w in parts]
    one, other = (values(updated(PointNumbers(), p)) for p in (parts, scaled))
    for name, factor in {"RMSE": 1000, "MAE": 1000, "R²": 1, "Pearson": 1}.items():
        assert other[name] == pytest.approx(factor * one[name], rel=1e-9)


def test_order_scale_and_splitting_of_points_change_nothing():
    parts = numbered()
    expected = cells(updated(PointNumbers(2), parts))
    changed = {
        "order": [tuple(part.flip(0) for part in surface) for surface in parts],
        "unit": [(a, t, w * 10.0**k) for k, (a, t, w) in enumerate(parts)],
        "split": [tuple(torch.cat([x, x]) for x in (a, t, w / 2)) for a, t, w in parts],
    }
    for name, others in changed.items():
        assert cells(updated(PointNumbers(2), others)) == pytest.approx(expected, rel=1e-12), name


def test_known_values():
    m = moments(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 3.0]))
    assert float(rmse(m)) == float(mae(m)) == 1 and float(r_squared(m)) == 0 and float(pearson(m)) == 1


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3])
def test_the_same_truth_everywhere_explains_nothing(constant):
    metric, again = PointNumbers(), SurfaceNumbers()
    for part in range(3):
        truth = torch.full((7,), constant, dtype=torch.float64)
        metric.update(torch.arange(7.0) + part, truth)
        again.update(torch.arange(7.0) + part, truth)
    for measured in (metric.measures().values, again.measures().values):
        assert measured["R²"].value is None and "same everywhere" in measured["R²"].reason
        assert measured["Pearson"].value is None and measured["RMSE"].value is not None
    for answers in (metric, again):
        answers.reset()
        answers.update(torch.full((4,), 0.1, dtype=torch.float64), torch.arange(4.0))
        assert answers.measures().values["Pearson"].value is None


@pytest.mark.parametrize("kind", [PointNumbers, SurfaceNumbers])
def test_a_resample_is_the_test_set_with_surfaces_repeated(kind):
    parts = numbered(5, 2, 20)
    rows = [tuple(x[k : k + 1] for x in parts[0]) for k in range(5)] if kind is SurfaceNumbers else parts
    counts = draw(5, 6, seed=1)
    drawn = [tally.sample(counts) for tally in updated(kind(2), rows).tallies()]
    for k, row in enumerate(counts.long().tolist()):
        again = [part for part, n in zip(rows, row, strict=True) for _ in range(n)]
        for tally, sample in zip(updated(kind(2), again).tallies(), drawn, strict=True):
            for name, column in tally.sample(None).rows.items():
                torch.testing.assert_close(
                    sample.rows[name][k], column[0], rtol=1e-10, atol=0, equal_nan=True
                )


def test_unknown_numbers_are_not_read():
    parts = numbered(targets=1)
    masks = [torch.arange(len(w)) % 3 > 0 for _, _, w in parts]
    kept = [tuple(x[m] for x in part) for part, m in zip(parts, masks, strict=True)]
    expected = values(updated(PointNumbers(), kept))
    metric = PointNumbers()
    for (a, t, w), m in zip(parts, masks, strict=True):
        hidden = (~m).unsqueeze(1)
        metric.update(a.masked_fill(hidden, torch.nan), t.masked_fill(hidden, torch.inf), w, m)
    assert values(metric) == expected


def test_what_is_no_number_is_refused_by_name():
    metric, x = PointNumbers(), torch.arange(3.0)
    with pytest.raises(BadValueError, match=r"1 of 3 known values of truth \[3, 1\] are NaN"):
        metric.update(x, torch.tensor([0.0, 1.0, torch.nan]))
    with pytest.raises(BadValueError, match=r"answer .* are infinite"):
        metric.update(x + torch.inf, x)
    with pytest.raises(BadValueError, match=r"truth .* 1e20.*mask what"):
        metric.update(x, x * 0 + 1e20)
    with pytest.raises(GeocnnError, match=r"1 target, but the truth has shape \[3, 2\]"):
        metric.update(torch.ones(3, 2), torch.ones(3, 2))
    with pytest.raises(GeocnnError, match=r"shape \[3, 1\] and the truth \[3\]|answer \[3, 1\]"):
        metric.update(x[:, None], x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision_is_counted_in_float64(dtype):
    parts = [tuple(x.to(dtype) for x in part) for part in numbered()]
    exact = [tuple(x.double() for x in part) for part in parts]
    assert cells(updated(PointNumbers(2), parts)) == cells(updated(PointNumbers(2), exact))
