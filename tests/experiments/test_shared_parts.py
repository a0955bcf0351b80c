"""A sweep that was interrupted continues, and its rows are what it measured."""

import doctest
import sys

import pytest
import torch

from geocnn.errors import BadValueError, CheckpointError
from tests.example import EXAMPLES, example

shared = example("shared_parts")
Estimate, batches, descend, estimates = shared.Estimate, shared.batches, shared.descend, shared.estimates
share_right, sweep, table = shared.share_right, shared.sweep, shared.table

SETTINGS = [{"kind": "a", "n": n, "seed": seed} for seed in (0, 1) for n in (1, 2)]


class Runs:
    """Counts its calls; stops at the one numbered `stop`."""

    def __init__(self, stop=None):
        self.calls, self.stop = 0, stop

    def __call__(self, kind, n, seed):
        if self.calls == self.stop:
            raise KeyboardInterrupt
        self.calls += 1
        return {"right": n / 10 + seed / 3}


def results(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_an_interrupted_sweep_runs_only_what_is_missing(tmp_path):
    file, first, second = tmp_path / "new" / "rows.csv", Runs(stop=3), Runs()
    with pytest.raises(KeyboardInterrupt):
        sweep(SETTINGS, first, file)
    rows = sweep(SETTINGS, second, file)
    assert (first.calls, second.calls) == (3, 1)
    assert results(rows) == results(sweep(SETTINGS, Runs()))
    assert results(sweep(SETTINGS, Runs(stop=0), file)) == results(rows)


def test_half_a_row_is_run_again(tmp_path):
    file = tmp_path / "rows.csv"
    sweep(SETTINGS, Runs(), file)
    whole = file.read_text()
    file.write_text(whole[:-9])
    again = Runs()
    sweep(SETTINGS, again, file)
    assert again.calls == 1
    assert results(sweep(SETTINGS, Runs(stop=0), file)) == results(sweep(SETTINGS, Runs()))


def test_new_settings_are_added_to_the_file(tmp_path):
    file, more = tmp_path / "rows.csv", Runs()
    sweep(SETTINGS[:2], Runs(), file)
    sweep(SETTINGS, more, file)
    assert more.calls == 2


def test_the_table_of_another_sweep_is_refused(tmp_path):
    file = tmp_path / "rows.csv"
    sweep(SETTINGS, Runs(), file)
    with pytest.raises(CheckpointError, match=r"no column border"):
        sweep([{"border": 0}], lambda border: {"right": 1.0}, file)
    with pytest.raises(CheckpointError, match="wrong, seconds"):
        sweep([{"kind": "b", "n": 1, "seed": 0}], lambda kind, n, seed: {"wrong": 1.0}, file)


def test_estimates_are_means_and_deviations():
    rows = [{"n": n, "seed": s, "right": v} for n, s, v in ((1, 0, 0.1), (1, 1, 0.3), (2, 0, 0.5))]
    found = estimates(rows, "right", ["n"])
    assert found[1,] == pytest.approx((20.0, 200**0.5, 2))
    assert found[2,] == Estimate(50.0, 0.0, 1)
    assert table({("a", 1): found[1,], ("b", 2): found[2,]}).splitlines() == [
        "| | 1 | 2 |",
        "|---|---|---|",
        "| a | 20.0 ± 14.1 |  |",
        "| b |  | 50.0 |",
    ]


def test_a_pass_draws_each_example_once_in_whole_batches():
    x = torch.arange(10)
    draw = batches(x, x + 1, 4)
    for _ in range(3):
        drawn = [draw() for _ in range(2)]
        assert len({k for a, _ in drawn for k in a.tolist()}) == 8
        assert all(torch.equal(b, a + 1) for a, b in drawn)
    assert len(batches(x, x, 64)()[0]) == 10


def test_descending_finds_a_line_between_two_classes():
    torch.manual_seed(0)
    x = torch.randn(64, 2)
    y = (x[:, 0] > 0).long()
    network = descend(torch.nn.Linear(2, 2), batches(x, y, 16), 100, 0.1)
    assert not network.training
    assert share_right(network, x, y) > 0.95


def test_a_first_batch_with_bad_values_is_refused():
    x = torch.randn(8, 2)
    x[3, 1] = -1.6375e30
    with pytest.raises(BadValueError, match=r"batch\[0\].*UNSEEN"):
        descend(torch.nn.Linear(2, 2), batches(x, torch.zeros(8, dtype=torch.long), 8), 3, 0.1)


def test_the_docstrings_examples_hold(monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    import shared_parts

    assert doctest.testmod(shared_parts) == (0, 8)
