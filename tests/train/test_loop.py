"""The loop on a toy problem: resuming changes nothing, damage is survived, every way to end is reported."""

import csv
import dataclasses
import io
import shutil
import signal

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

from geocnn.console import progress
from geocnn.errors import BadValueError, CheckpointError, GeocnnError
from geocnn.train.devices import find_devices
from geocnn.train.loop import (
    Outcome,
    finished,
    fit,
    fit_each,
    stretches,
)
from geocnn.train.results import read_metrics, write_metrics
from geocnn.train.score import classify
from geocnn.train.settings import LoopSettings

SETTINGS = LoopSettings(epochs=4, batch_size=8, learning_rate=0.05, check_every=6, devices="cpu", seed=2)
"""Four stretches of six steps on 48 examples."""


class Killed(Exception):
    """Stands for a kill: it leaves the loop wherever it is."""


class Points:
    """Two clouds in the plane; with `kill_after`, fetching ends with Killed after so many batches."""

    def __init__(self, n, kill_after=None, flip_labels=False, scale=1.0):
        generator = torch.Generator().manual_seed(n)
        self.y = torch.arange(n) % 2
        self.x = scale * (torch.randn(n, 2, generator=generator) + 2.0 * self.y.unsqueeze(1))
        self.y = 1 - self.y if flip_labels else self.y
        self.fetched, self.kill_after = 0, kill_after

    def __len__(self):
        return len(self.y)

    def __getitems__(self, index):
        self.fetched += 1
        if self.kill_after is not None and self.fetched > self.kill_after:
            raise Killed
        return self.x[list(index)], self.y[list(index)]


def network():
    # Dropout and batch norm: resuming must restore random draws and running statistics too.
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))


def train(folder, settings=SETTINGS, kill_after=None, validation=None, data=None):
    said = io.StringIO()
    model = network()
    outcome = fit(
        model,
        classify,
        data or Points(48, kill_after),
        validation or Points(20),
        settings,
        folder,
        Console(file=said, width=200),
    )
    return model.state_dict(), outcome, said.getvalue()


def last_weights(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "net"
    return folder, *train(folder)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Killed in the middle of the third stretch, with checkpoints after 6 and 12 steps."""
    folder = tmp_path_factory.mktemp("killed") / "net"
    with pytest.raises(Killed):
        train(folder, kill_after=15)
    return folder


def test_a_straight_run_keeps_the_best_weights(straight):
    folder, weights, outcome, said = straight
    assert (outcome.steps, outcome.planned_steps, outcome.stopped_by) == (24, 24, "schedule")
    assert finished(folder) == outcome
    assert_same(weights, load_file(folder / "best.safetensors"))
    rows = [row for row in read_metrics(folder) if "val_loss" in row]
    assert len(rows) == 4
    assert outcome.best_val_loss == pytest.approx(min(row["val_loss"] for row in rows), rel=1e-5)
    assert "step 24 of 24" in said
    assert list(folder.glob("logs/session-0/events.out.tfevents.*"))


def test_a_killed_run_goes_on_exactly_where_it_was(straight, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "net")
    assert finished(folder) is None
    weights, outcome, said = train(folder)
    assert "continuing net from" in said and "step 18 of 24" in said and "step 12 of 24" not in said
    assert_same(last_weights(folder), last_weights(straight[0]))
    assert_same(weights, straight[1])
    assert (outcome.steps, outcome.best_step) == (straight[2].steps, straight[2].best_step)
    # What was redone is logged once, and the curve is the same.
    ours, theirs = ([row for row in read_metrics(f) if "val_loss" in row] for f in (folder, straight[0]))
    assert ours == theirs


@pytest.mark.parametrize("damage", ["half", "empty"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(straight, killed, tmp_path, damage):
    folder = shutil.copytree(killed, tmp_path / "net")
    content = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    weights, _, said = train(folder)
    assert "last.ckpt cannot be read" in said and "previous.ckpt" in said and "step 12 of 24" in said
    assert_same(weights, straight[1])


def test_a_run_killed_between_two_renames_goes_on(straight, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "net")
    (folder / "last.ckpt").unlink()
    (folder / "next.ckpt.part").write_bytes(b"half")
    assert_same(train(folder)[0], straight[1])


def test_a_checkpoint_of_another_network_is_not_used(straight, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "net")
    torch.save({"state_dict": nn.Linear(3, 4).state_dict()}, folder / "last.ckpt")
    weights, _, said = train(folder)
    assert "of another network" in said
    assert_same(weights, straight[1])


def test_nothing_readable_is_an_error(killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "net")
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="delete that folder"):
        train(folder)


def test_early_stopping_keeps_the_weights_before_it_got_worse(tmp_path):
    # Validation labels are the wrong way round: the better the fit, the worse the loss.
    settings = LoopSettings(
        epochs=20, batch_size=8, learning_rate=0.05, check_every=6, patience=2, devices="cpu"
    )
    _, outcome, _ = train(tmp_path / "net", settings, validation=Points(20, flip_labels=True))
    assert outcome.stopped_by == "early stopping" and outcome.steps < outcome.planned_steps
    assert outcome.best_step == outcome.steps - 2 * 6


def test_the_last_weights_are_kept_on_wish_where_the_schedule_ends(tmp_path):
    # Validation labels are the wrong way round: the last weights are not those of the lowest loss.
    wrong = Points(20, flip_labels=True)
    weights, outcome, _ = train(
        tmp_path / "last", dataclasses.replace(SETTINGS, keep="last"), validation=wrong
    )
    other, best, _ = train(tmp_path / "best", SETTINGS, validation=wrong)
    assert outcome.stopped_by == best.stopped_by == "schedule"
    assert outcome.best_step == outcome.steps > best.best_step
    assert outcome.best_val_loss > best.best_val_loss
    assert any(not torch.equal(weights[name], other[name]) for name in weights)
    impatient = dataclasses.replace(SETTINGS, keep="last", patience=1)
    _, stopped, _ = train(tmp_path / "stopped", impatient, validation=wrong)
    assert stopped.stopped_by == "early stopping" and stopped.best_step < stopped.steps


def test_a_training_killed_after_its_end_stays_ended(straight, tmp_path):
    early = LoopSettings(
        epochs=20, batch_size=8, learning_rate=0.05, check_every=6, patience=2, devices="cpu"
    )
    cap = LoopSettings(epochs=4, batch_size=8, check_every=6, max_minutes=1e-6, devices="cpu")
    for name, settings, validation in (("early", early, Points(20, flip_labels=True)), ("cap", cap, None)):
        weights, outcome, _ = train(tmp_path / name, settings, validation=validation)
        (tmp_path / name / "training.json").unlink()
        (tmp_path / name / "best.safetensors").write_bytes(b"half")
        (tmp_path / name / "metrics.csv").unlink()
        again, resumed, _ = train(tmp_path / name, settings, kill_after=0, validation=validation)
        assert_same(again, weights)
        assert dataclasses.replace(resumed, seconds=0) == dataclasses.replace(outcome, seconds=0)
        assert finished(tmp_path / name) == resumed


def test_the_time_cap_ends_after_a_stretch(tmp_path):
    settings = LoopSettings(epochs=4, batch_size=8, check_every=6, max_minutes=1e-6, devices="cpu")
    _, outcome, _ = train(tmp_path / "net", settings)
    assert (outcome.stopped_by, outcome.steps, outcome.planned_steps) == ("time cap", 6, 24)
    assert "time cap" in str(outcome)


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    with pytest.raises(GeocnnError, match="lower learning_rate"):
        train(tmp_path / "net", dataclasses.replace(SETTINGS, learning_rate=1e25))


def test_stretches_cover_the_epochs():
    for n, epochs, every in ((640, 3, 7), (12_000, 2, 100), (48, 4, 5), (5, 1, 100), (13, 50, 9)):
        settings = LoopSettings(epochs=epochs, check_every=every)
        count, steps = stretches(n, settings)
        wanted = int(epochs * max(1, n / settings.batch_size))
        assert wanted <= count * steps < wanted + count


@pytest.mark.parametrize("every", [1, 2, 3, 4, 7, 30])
def test_stretches_are_as_long_as_the_help_says(every):
    """Whatever the number of steps, validations are 0.75 to 1.5 times `check_every` steps apart."""
    for all_steps in range(every, 20 * every):
        _, steps = stretches(all_steps, LoopSettings(epochs=1, batch_size=1, check_every=every))
        assert 0.75 * every <= steps <= 1.5 * every
    _, steps = stretches(every // 2 + 1, LoopSettings(epochs=1, batch_size=1, check_every=every))
    assert steps <= every
    (field,) = (field for field in dataclasses.fields(LoopSettings) if field.name == "check_every")
    assert "0.75 to 1.5 times" in field.metadata["help"]


def test_scoring_shows_how_far_it_is():
    said = io.StringIO()
    with progress(Console(file=said), "scoring digits", 30, pause=0) as advance:
        for _ in range(3):
            advance(10)
    assert said.getvalue().splitlines() == [
        "scoring digits: 30", "scoring digits: 10 of 30", "scoring digits: 20 of 30"
    ]  # fmt: skip
    said = io.StringIO()
    with progress(Console(file=said, force_terminal=True), "[bold] scan", 3) as advance:
        advance(3)
    assert "[bold] scan" in said.getvalue() and "3/3" in said.getvalue()


def test_devices_are_understood_or_refused():
    assert find_devices("cpu") == ("cpu", 1)
    assert find_devices("2")[1] == 2
    for bad in ("0", "gpu", "tpu", "gpu:a", "-1", ""):
        with pytest.raises(GeocnnError, match="not understood"):
            find_devices(bad)
    with pytest.raises(GeocnnError, match="CUDA GPUs"):
        find_devices("gpu:99")


def test_metrics_of_several_trainings_share_a_table(tmp_path):
    write_metrics(
        {"a": [{"step": 1.0, "loss": 2.0}], "b": [{"step": 3.0, "accuracy": 0.5}]}, tmp_path / "m.csv"
    )
    with (tmp_path / "m.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {"network": "a", "step": "1", "accuracy": "", "loss": "2.0"}
    assert rows[1]["network"] == "b" and rows[1]["accuracy"] == "0.5"


def test_an_outcome_reads_as_a_sentence():
    assert str(Outcome(5, 10, 3.2, "time cap", 5, 0.1)).startswith(
        "5 of 10 steps in 3 s, ended by the time cap"
    )


@pytest.mark.parametrize("which", ["data", "validation"])
def test_bad_values_end_a_training_before_a_step_is_taken_on_them(tmp_path, which):
    bad = Points(48)
    bad.x[5, 1] = 1e20  # in whatever batch it comes, and although its loss is finite
    told = r"examples \[.*5.*\] of .* of batch\[0\] .*1e20.*first at \[\[\d+, 1\]\]"
    with pytest.raises(BadValueError, match=told):
        train(tmp_path, **{which: bad})


class Drawn(Points):
    """Draws noise whenever it is fetched, as augmentation does."""

    def __getitems__(self, index):
        x, y = super().__getitems__(index)
        return x + torch.randn(x.shape), y


def test_workers_change_nothing_and_what_they_draw_is_repeated(straight, tmp_path):
    two = dataclasses.replace(SETTINGS, workers=2)
    weights, _, _ = train(tmp_path / "plain", two)
    assert_same(weights, straight[1])
    whole, _, _ = train(tmp_path / "whole", two, data=Drawn(48))
    # ended after two of four stretches, and gone on with
    short = dataclasses.replace(two, max_minutes=1e-6)
    train(tmp_path / "parts", short, data=Drawn(48))
    (tmp_path / "parts" / "training.json").unlink()
    resumed, _, _ = train(tmp_path / "parts", two, data=Drawn(48))
    assert_same(last_weights(tmp_path / "parts"), last_weights(tmp_path / "whole"))
    assert_same(resumed, whole)


def test_an_error_in_a_worker_is_the_same_one_line(tmp_path):
    bad = Points(48)
    bad.x[5, 1] = 1e20
    with pytest.raises(BadValueError) as raised:
        train(tmp_path, dataclasses.replace(SETTINGS, workers=1), data=bad)
    assert "Traceback" not in str(raised.value) and "1e20" in str(raised.value)


def test_a_terminated_training_says_so_and_has_the_exit_code_of_that(tmp_path):
    """Lightning raises a SystemExit without a code, which a shell takes for success."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    class Terminated(Points):
        def __getitems__(self, index):
            raise SIGTERMException

    with pytest.raises(SystemExit) as stop:
        train(tmp_path / "net", data=Terminated(48))
    assert stop.value.code == 143


@pytest.mark.parametrize(("minutes", "trained"), [(0.0, 0), (10.0, 1)])
def test_a_training_that_its_time_cap_ended_goes_on_under_a_higher_one(tmp_path, minutes, trained):
    train(tmp_path / "net", dataclasses.replace(SETTINGS, max_minutes=1e-4))
    again = []

    def fit_one(name):
        again.append(name)
        return train(tmp_path / name)[1]

    outcomes = fit_each(["net"], tmp_path, Console(file=io.StringIO()), fit_one, minutes)
    assert len(again) == trained and outcomes["net"].stopped_by == ("schedule" if trained else "time cap")


def test_a_cap_before_the_first_validation_names_itself(tmp_path):
    with pytest.raises(GeocnnError, match=r"no validation within max_minutes \(1e-12\); raise it"):
        train(tmp_path / "net", dataclasses.replace(SETTINGS, max_minutes=1e-12))


def test_an_interrupted_training_says_so_and_keeps_its_last_checkpoint(tmp_path):
    """Lightning ends an interrupted training with exit code 1 and ignores further interrupts."""

    class Interrupted(Points):
        def __getitems__(self, index):
            self.fetched += 1
            if self.fetched > 14:
                raise KeyboardInterrupt
            return super().__getitems__(index)

    handler, output = signal.getsignal(signal.SIGINT), io.StringIO()
    with pytest.raises(SystemExit) as stop:
        console, folder = Console(file=output), tmp_path / "net"
        fit(network(), classify, Interrupted(48), Points(16), SETTINGS, folder, console)
    assert stop.value.code == 130 and "net was interrupted" in output.getvalue()
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "net" / "last.ckpt").is_file()
    resumed, _, _ = train(tmp_path / "net")
    whole, _, _ = train(tmp_path / "whole")
    assert_same(resumed, whole)
