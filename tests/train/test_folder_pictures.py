"""Pictures of runs on folders and of their answers: they show something, and name what they show."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from geocnn.cli import main
from geocnn.data.folders.card import Card
from geocnn.geometry import icosphere
from geocnn.train.recipes import folder_pictures
from geocnn.train.recipes.folder_examples import load_examples
from tests.data.folders import made

pytest.importorskip("matplotlib")

QUICK = ("--epochs", "1", "--size", "small", "--processes", "1", "--no-baseline", "--check-every", "1000")

FOLDERS = {
    "eggs": (lambda place: made.class_folders(place, each=8), ()),
    "parts": (lambda place: made.labelled_points(place, count=9), ()),
    "cortex": (made.fields_on_one, ()),
    "sky": (made.maps, ("--ring",)),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with runs on `FOLDERS`."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "200")
        for name, (make, options) in FOLDERS.items():
            make(folder / name)
            main_of("train", name, *QUICK, *options)
        yield folder


def main_of(*arguments):
    """Run a command; return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code or 0
    return 0


def colours_in(file):
    """How many colours a picture has; a blank one has one."""
    from matplotlib.image import imread

    pixels = (255 * imread(file)).astype(np.uint8).reshape(-1, 4)
    return len(np.unique(pixels, axis=0))


def texts(figure):
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


@pytest.mark.parametrize(
    ("run", "asked", "picture"),
    [
        ("parts", "s0.ply", "s0.answers.png"),
        ("parts", "", "parts-answers.png"),
        ("eggs", "long/long1.ply", "long1.answers.png"),
        ("eggs", "round", "round-answers.png"),
        ("cortex", "fields.npy", "fields-answers.png"),
        ("sky", "", "sky-answers.png"),
    ],
)
def test_answers_are_drawn(place, tmp_path, capsys, run, asked, picture):
    ring = FOLDERS[run][1]
    assert main_of("predict", f"runs/{run}-1", place / run / asked, *ring, "--out", tmp_path) == 0
    assert f"wrote {tmp_path / picture}" in capsys.readouterr().out
    assert colours_in(tmp_path / picture) > 50
    assert [file.name for file in tmp_path.glob("*.png")] == [picture]


def test_without_matplotlib_a_line_says_what_to_install(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("geocnn.train.recipes.folder_answers.can_draw", lambda: False)
    assert main_of("predict", "runs/eggs-1", place / "eggs/long/long0.ply", "--out", tmp_path) == 0
    assert "no picture is drawn" in (said := capsys.readouterr().out) and "geocnn[plot]" in said
    assert [file.name for file in tmp_path.iterdir()] == ["long0.answers.csv"]


def test_a_sheet_names_samples_and_answers_and_says_how_many_it_leaves_out():
    balls = [icosphere(1)] * 11
    answers = list(torch.eye(2).repeat(6, 1)[:11].split(1))
    names = [f"n{k}" for k in range(11)]
    card = Card(name="a", task="classify", surfaces="meshes", target=("c",), classes=("left", "right"))
    figure = folder_pictures.answers_figure(card, names, balls, [{}] * 11, answers)
    assert texts(figure) == [f"n{k}\n{('left', 'right')[k % 2]} (1.00)" for k in range(8)]
    assert figure.get_suptitle() == "the first 8 of 11"
    card = Card(name="a", task="regress", surfaces="meshes", target=("age", "height", "mass", "power"))
    numbers = [torch.tensor([[1.0, 2.0, 3.0, 4.0]])]
    figure = folder_pictures.answers_figure(card, names[:1], balls[:1], [{}], numbers)
    assert texts(figure) == ["n0\nage 1, height 2, mass 3, …"]


def test_several_numbers_per_point_have_a_row_and_a_colour_bar_each():
    balls = [icosphere(1)] * 6
    card = Card(name="a", task="regress-points", surfaces="meshes", target=("x", "y", "z"))
    answers = [(k + 1) * ball.points for k, ball in enumerate(balls)]
    figure = folder_pictures.answers_figure(card, list("abcdef"), balls, [{}] * 6, answers)
    assert texts(figure) == [f"{name}\n{axis}" for axis in "xyz" for name in "abcd"]
    bars = [axis for axis in figure.axes if axis.get_ylabel()]
    assert [axis.get_ylabel() for axis in bars] == ["x", "y", "z"]
    # one pair of limits for all samples: those of the fourth ball, the largest that is shown
    for k, bar in enumerate(bars):
        largest = 4 * float(icosphere(1).points[:, k].abs().max())
        np.testing.assert_allclose(bar.get_ylim(), (-largest, largest))
    figure = folder_pictures.answers_figure(card, ["a"], balls[:1], [{}], answers[:1])
    assert texts(figure) == ["a\nx", "a\ny", "a\nz"]


CLASSES = {"confusion.png", "calibration.png", "roc.png", "precision-recall.png"}


@pytest.mark.parametrize(
    ("run", "pictures"), [("parts", CLASSES), ("eggs", CLASSES), ("cortex", CLASSES), ("sky", {"tilt.png"})]
)
def test_a_run_is_drawn_and_keeps_its_answers(place, run, pictures):
    folder = place / f"runs/{run}-1"
    assert {file.name for file in folder.glob("*.png")} == pictures | {"curves.png", "examples.png"}
    assert all(colours_in(file) > 30 for file in folder.glob("*.png"))
    rows = (folder / "test-answers.csv").read_text().splitlines()
    results = json.loads((folder / "results.json").read_text())
    assert len(rows) - 1 == results["settings"]["test_size"]
    examples = load_examples(folder)
    assert [example.name for example in examples] == [row.split(",")[0] for row in rows[1:]]
    assert ("vertices" in examples[0].tensors) == (run in ("parts", "eggs"))
