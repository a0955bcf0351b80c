"""Test samples that show what a network does: which are chosen, what is told of them, and what is kept."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.data.folders.card import Card
from geocnn.errors import CheckpointError
from geocnn.geometry import icosphere
from geocnn.train.recipes.folder_examples import (
    EXAMPLES,
    Example,
    caption_of,
    chosen,
    error_of,
    examples_figure,
    fewer,
    load_examples,
    save_examples,
    stored,
    title_of,
    write_answers,
)

KNOWN = {"name": "a", "surfaces": "meshes", "target": ("c",)}
CLASSES = Card(task="classify", classes=("left", "right"), **KNOWN)
NUMBERS = Card(task="regress", mean=(5.0,), std=(2.0,), **KNOWN)
POINTS = Card(task="classify-points", classes=("left", "right"), **KNOWN)
FIELDS = Card(task="regress-points", mean=(5.0,), std=(2.0,), **KNOWN)


def one(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_the_error_of_a_sample():
    ones = torch.ones(1)
    assert error_of(one(0.2, 0.8), torch.tensor([0]), ones, CLASSES) == pytest.approx(0.8)
    assert error_of(one(9.0), one(6.0), ones, NUMBERS) == pytest.approx(1.5)
    # the second point is wrong, the third unknown; areas 1, 3 and 9
    answer = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    share = torch.tensor([1.0, 3.0, 9.0])
    assert error_of(answer, torch.tensor([0, 1, -1]), share, POINTS) == pytest.approx(0.75)
    assert math.isnan(error_of(answer, torch.tensor([-1, -1, -1]), share, POINTS))
    numbers = torch.tensor([[5.0], [7.0]])
    error = error_of(numbers, torch.tensor([[5.0], [5.0]]), share[:2], FIELDS)
    assert error == pytest.approx(math.sqrt(3 / 4))


def test_the_worst_and_those_around_the_median_are_chosen():
    errors = torch.arange(100).double()
    errors[17] = math.nan
    worst, median = chosen(errors)
    assert worst == [99, 98, 97, 96] and all(44 < k < 55 for k in median) and len(median) == 4
    assert chosen(torch.tensor([1.0, 3.0, 2.0]).double()) == ([1, 2, 0], [])
    worst, median = chosen(torch.arange(9).double())
    assert not set(worst) & set(median) and len(worst) == len(median) == 4


def test_captions_say_truth_and_answer_or_how_good_points_are():
    assert caption_of(one(0.2, 0.8), torch.tensor([0]), 0.8, CLASSES) == "true: left\nanswer: right (0.80)"
    assert caption_of(one(9.0), one(6.0), 1.5, NUMBERS) == "true: c 6\nanswer: c 9"
    assert caption_of(one(0.2, 0.8), torch.tensor([0]), 0.25, POINTS) == "75.00 % of the area right"
    assert caption_of(one(0.2, 0.8), torch.tensor([-1]), math.nan, POINTS) == "nothing known"
    assert caption_of(one(9.0), one(6.0), 1.5, FIELDS) == "error 1.5 standard deviations"


def examples_of(card, count=8):
    ball = icosphere(1)
    sample = {
        "vertices": 1e6 + ball.points,
        "faces": ball.grid.solid.faces[-1],
        "field.heat": ball.points[:, :1],
    }
    n = ball.n_points if card.per_point else 1
    answer = torch.full((n, 1), 6.0) if not card.is_classes else torch.tensor([[0.3, 0.7]]).expand(n, 2)
    truth = torch.full((n, 1), 4.0) if not card.is_classes else torch.arange(n) % 2
    ranks = ["worst" if k < count / 2 else "median" for k in range(count)]
    return [
        Example(f"s{k}", rank, "fair", stored(answer, truth, sample, card)) for k, rank in enumerate(ranks)
    ]


@pytest.mark.parametrize("card", [CLASSES, NUMBERS, POINTS, FIELDS], ids=lambda card: card.task)
def test_examples_come_back_from_their_file(tmp_path, card):
    given = examples_of(card)
    save_examples(given, tmp_path)
    back = load_examples(tmp_path)
    assert [(e.name, e.rank, e.caption) for e in back] == [(e.name, e.rank, e.caption) for e in given]
    for a, b in zip(given, back, strict=True):
        assert set(a.tensors) == set(b.tensors)
        assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    # coordinates far from the origin keep their shape in single precision
    points = icosphere(1).points
    torch.testing.assert_close(
        back[0].tensors["vertices"].double(), points - points.mean(0), rtol=0, atol=1e-6
    )
    damaged = (tmp_path / EXAMPLES).read_bytes()[:-9]
    (tmp_path / EXAMPLES).write_bytes(damaged)
    with pytest.raises(CheckpointError, match="--resume writes it anew"):
        load_examples(tmp_path)
    (tmp_path / EXAMPLES).unlink()
    with pytest.raises(CheckpointError, match=EXAMPLES):
        load_examples(tmp_path)


def test_a_sheet_has_truth_above_and_answer_below():
    pytest.importorskip("matplotlib")
    figure = examples_figure(POINTS, examples_of(POINTS), 31, None)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [f"s{k}\ntrue" for k in (0, 1, 4, 5)] + ["answer\nfair"] * 4
    assert figure.get_suptitle() == (
        "truth above, answer below: the 2 worst of 31 test samples, then 2 around the median"
    )
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["left", "right"]
    figure = examples_figure(CLASSES, examples_of(CLASSES), 31, None)
    assert [axis.get_title() for axis in figure.axes if axis.images] == [f"s{k}\nfair" for k in range(8)]
    assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()] == ["heat"]
    figure = examples_figure(FIELDS, examples_of(FIELDS, 1), 1, None)
    assert [axis.get_title() for axis in figure.axes if axis.images] == ["s0\ntrue", "answer\nfair"]


def test_titles_say_which_samples_are_shown():
    some = examples_of(CLASSES)
    assert title_of(some, 31) == "the 4 worst of 31 test samples, then 4 around the median"
    assert title_of(some[:4], 31) == "the 4 worst of 31 test samples"
    assert (
        title_of(some, 8) == "all 8 test samples, the worst first"
        and title_of(some[:1], 1) == "the test sample"
    )
    assert [e.name for e in fewer(some, 4)] == ["s0", "s1", "s4", "s5"]
    assert [e.name for e in fewer(some[:3], 4)] == ["s0", "s1", "s2"]


def test_the_table_of_answers_has_the_worst_first(tmp_path):
    file = tmp_path / "answers.csv"
    answers, truths = [one(0.9, 0.1), one(0.3, 0.7)], [torch.tensor([0]), torch.tensor([0])]
    write_answers(["a", "b"], answers, truths, [0.1, 0.7], CLASSES, file)
    assert file.read_text().splitlines() == [
        "file,truth,answer,probability of left,probability of right,error",
        "b,left,right,0.3,0.7,0.7",
        "a,left,left,0.9,0.1,0.1",
    ]
    write_answers(["a", "b"], [one(6.0), one(1.0)], [one(5.0), one(5.0)], [0.5, 2.0], NUMBERS, file)
    assert file.read_text().splitlines() == ["file,true c,c,error", "b,5,1,2", "a,5,6,0.5"]
    write_answers(["a", "b"], answers, truths, [math.nan, 0.5], POINTS, file)
    assert file.read_text().splitlines() == ["file,points,error", "b,1,0.5", "a,1,nan"]
