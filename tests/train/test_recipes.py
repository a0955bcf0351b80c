"""Recipes outside the package: what one file gives is trained, repeated, resumed, measured and asked."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geocnn.cli import main
from geocnn.errors import GeocnnError, RecipeError
from geocnn.train import recipes
from geocnn.train.files import read_record, write_record
from geocnn.train.recipe import main_training, planned
from geocnn.train.recipes import find_recipe

MOEBIUS = Path(__file__).resolve().parents[2] / "examples" / "moebius_recipe.py"

LINES = """
import sys
import torch
from torch import nn
from geocnn.train.recipe import Recipe, Training
from geocnn.train.settings import RecipeSettings

sys.loaded_recipe = True


class Line(torch.utils.data.Dataset):
    def __init__(self, settings, name):
        n = {"train": settings.train_size, "val": settings.val_size, "test": settings.test_size}[name]
        self.x = torch.linspace(-1, 1, n)[:, None]

    def __len__(self):
        return len(self.x)

    def __getitems__(self, index):
        return self.x[index], 3 * self.x[index]


def score(network, batch):
    loss = (network(batch[0]) - batch[1]).square().mean()
    return loss, {"root": loss.sqrt()}


def trainings(settings):
    kinds = {"line": 1, "constant": 0} if settings.baseline else {"line": 1}
    return [Training(folder=k, title=k, description={"slope": s}) for k, s in kinds.items()]


def metrics():
    from torchmetrics import MeanSquaredError
    return {"squared error": MeanSquaredError()}


class Slope(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.map, self.slope = nn.Linear(1, 1), slope

    def forward(self, x):
        return self.map(self.slope * x)


RECIPE = Recipe(
    name="lines", summary="a line", data=Line,
    presets={"default": RecipeSettings(epochs=60, batch_size=8, check_every=18)},
    trainings=trainings, build=lambda d: Slope(**d), score=score, metrics=metrics,
)
"""
SMALL = ("--train-size=24", "--val-size=8", "--test-size=8", "--learning-rate=0.1", "--devices=cpu")


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """(the recipe's file, a finished run of it)."""
    folder = tmp_path_factory.mktemp("lines")
    (folder / "lines.py").write_text(LINES)
    options = ("--baseline", "--seeds=2", "--seed=3", *SMALL)
    assert run("train", folder / "lines.py", "--run", folder / "run", *options) == 0
    return folder / "lines.py", folder / "run"


def test_a_file_that_says_what_is_its_own_gets_all_the_rest(lines, capsys):
    _, folder = lines
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    kinds = ("line-3", "line-4", "constant-3", "constant-4")
    assert names >= {"results.json", "metrics.csv", "curves.png", "model.json", "model-card.md", *kinds}
    results = json.loads((folder / "results.json").read_text())
    errors = results["squared error"]
    assert all(len(errors[name]) == 2 for name in ("line", "constant"))
    # a line is learnt, a constant is off by the variance of 3x, more than 3
    assert max(errors["line"]) < 0.1 and min(errors["constant"]) > 3
    assert errors["line"] == [results["networks"][name]["squared error"] for name in ("line-3", "line-4")]
    # no word of classification
    assert "accuracy" not in (folder / "metrics.csv").read_text()
    assert "val_root" in (folder / "metrics.csv").read_text()


def test_the_table_and_the_card_have_mean_and_range(lines):
    _, folder = lines
    results = json.loads((folder / "results.json").read_text())
    low, high = sorted(results["squared error"]["line"])
    shown = f"{(low + high) / 2:.4g} ({low:.4g} to {high:.4g})"
    card = (folder / "model-card.md").read_text()
    assert card.startswith("# line (lines)") and shown in card and "random seed 3" in card


def test_its_model_answers_and_its_run_is_resumed(lines, tmp_path, capsys):
    file, folder = lines
    assert run("predict", folder, "--recipe", file, "--examples", 5, "--out", tmp_path) == 0
    network, _ = find_recipe(str(file)).load(folder)
    x = torch.linspace(-1, 1, 100)[:5, None]
    np.testing.assert_array_equal(np.load(tmp_path / "examples-predictions.npy"), network(x).detach().numpy())
    part = shutil.copytree(folder, tmp_path / "part")
    shutil.rmtree(part / "line-4")
    assert run("train", file, "--run", part, "--resume") == 0
    assert "line-3: already trained" in capsys.readouterr().out
    ours, theirs = (load_file(path / "line-4" / "model.safetensors") for path in (part, folder))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def refused(capsys, *arguments):
    assert run(*arguments) == 2
    line = capsys.readouterr().err
    assert line.startswith("Error: ") and "Traceback" not in line and line.count("\n") == 1
    return line


def test_a_model_never_says_which_code_is_run(lines, tmp_path, capsys, monkeypatch):
    file, folder = lines
    import sys

    monkeypatch.delattr(sys, "loaded_recipe")
    assert "name the recipe's file with --recipe" in refused(capsys, "predict", folder, "--examples", 2)
    model = read_record(folder / "model.json", check_files=False)
    shutil.copytree(folder, tmp_path / "copy")
    write_record(model | {"recipe": str(file)}, tmp_path / "copy" / "model.json")
    assert "--recipe" in refused(capsys, "equivariance", tmp_path / "copy")
    assert not hasattr(sys, "loaded_recipe")


def test_what_is_no_recipe_is_refused(lines, tmp_path, capsys):
    file, folder = lines
    assert "no recipe file" in refused(capsys, "train", tmp_path / "none.py")
    (tmp_path / "empty.py").write_text("x = 1")
    assert "RECIPE" in refused(capsys, "train", tmp_path / "empty.py", "--epochs=1")
    (tmp_path / "broken.py").write_text("import no_such_module")
    assert "no_such_module" in refused(capsys, "train", tmp_path / "broken.py")
    (tmp_path / "other.py").write_text(LINES.replace('name="lines"', 'name="others"'))
    assert "recipe 'lines', not of 'others'" in refused(
        capsys, "train", tmp_path / "other.py", "--run", folder, "--resume"
    )
    assert "reads no files" in refused(capsys, "predict", folder, file, "--recipe", file)
    assert "on which surface" in refused(capsys, "equivariance", folder, "--recipe", file)


def test_recipes_of_installed_packages_are_found_by_name(lines, capsys, monkeypatch):
    def load():
        raise ImportError("it is broken")

    installed = [
        SimpleNamespace(name="lines", value="a.b:RECIPE", load=lambda: find_recipe(str(lines[0]))),
        SimpleNamespace(name="broken", value="c:RECIPE", load=load),
        SimpleNamespace(name="wrong", value="d:RECIPE", load=lambda: 3),
    ]

    def entry_points(group, name=None):
        assert group == "geocnn.recipes"
        return [point for point in installed if name in (None, point.name)]

    monkeypatch.setattr(recipes, "entry_points", entry_points)
    assert find_recipe("lines").name == "lines"
    assert run("predict", lines[1], "--examples", 2, "--out", lines[1].parent / "out") == 0
    assert run("recipes") == 0 and run("train", "--help") == 0
    shown = capsys.readouterr().out
    assert "a line" in shown and "it is broken" in shown
    with pytest.raises(RecipeError, match="holds no"):
        find_recipe("wrong")
    assert "it is broken" in refused(capsys, "train", "broken")


def test_settings_of_older_versions_are_resumed(lines, tmp_path):
    """They name no recipe, and lack the settings that are new."""
    file, folder = lines
    old = shutil.copytree(folder, tmp_path / "old")
    settings = read_record(old / "settings.json")
    for name in ("recipe", "workers"):
        del settings[name]
    write_record(settings, old / "settings.json")
    assert run("train", file, "--run", old, "--resume") == 0


def test_seeds_are_separate_trainings_and_stages_stay_together():
    recipe = find_recipe("spherical-digits")
    settings = recipe.default.__class__(refine=1.0, rotated=False, seeds=2, seed=5)
    plan = planned(recipe, settings)
    assert [(t.folder, t.start, t.seed) for t in plan] == [
        ("nr-coarse-5", None, 5), ("nr-coarse-6", None, 6),
        ("nr-5", "nr-coarse-5", 5), ("nr-6", "nr-coarse-6", 6),
    ]  # fmt: skip
    assert main_training(plan).folder == "nr-5"
    assert [t.folder for t in planned(recipe, recipe.default)] == ["nr", "r"]


@pytest.mark.slow
def test_the_example_is_short_and_its_run_holds_everything(tmp_path, capsys, monkeypatch):
    assert 60 <= len(MOEBIUS.read_text().splitlines()) <= 100
    folder = tmp_path / "run"
    options = ("--train-size=8", "--val-size=4", "--test-size=4", "--batch-size=4", "--devices=cpu")
    assert run("train", MOEBIUS, "--run", folder, "--baseline", *options) == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["accuracy"].keys() == {"Möbius network", "CNN on the strip cut open"}
    columns = {"where learnt", "once around", "anywhere"}
    assert all(figures.keys() == columns for figures in results["accuracy"].values())
    # once around, a digit is its own mirror image
    same = results["accuracy"]["Möbius network"]
    assert same["where learnt"] == same["once around"]
    assert run("equivariance", folder, "--recipe", MOEBIUS, "--only", "gauge") == 0
    assert run("predict", folder, "--recipe", MOEBIUS, "--examples", 2, "--out", tmp_path) == 0
    assert np.load(tmp_path / "examples-predictions.npy").shape == (2, 10)


def test_a_recipe_error_is_one_of_ours():
    assert issubclass(RecipeError, GeocnnError)


def test_faults_of_a_score_name_their_line(lines, tmp_path, capsys):
    """The one line that a user sees says where in the recipe's file the first step failed."""
    for fault, name in (("batch[2]", "IndexError"), ("GaugeConv('1x0', '1x1')(batch[0], None)", "1x0")):
        text = LINES.replace(
            "    loss = ", f"    from geocnn.nn import GaugeConv\n    {fault}\n    loss = ", 1
        )
        file = tmp_path / "faulty.py"
        file.write_text(text)
        assert run("train", file, "--run", tmp_path / name, *SMALL) == 2
        number = 1 + text[: text.index(f"    {fault}")].count("\n")
        message = capsys.readouterr().err
        assert f"faulty.py, line {number}, in score" in message and "Traceback" not in message


def test_faults_of_a_file_name_their_line(tmp_path, capsys):
    for text in ("\n1 +\n", "\nunknown\n"):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(RecipeError, match=r"bad\.py, line 2"):
            find_recipe(str(tmp_path / "bad.py"))


@pytest.mark.parametrize("value", ["torch.ones(2)", "{1: 2}", "[{3}]"])
def test_a_description_that_json_cannot_hold_is_refused_before_training(tmp_path, capsys, value):
    file = tmp_path / "odd.py"
    file.write_text(LINES.replace('description={"slope": s}', f'description={{"slope": {value}}}'))
    assert run("train", file, "--run", tmp_path / "run", *SMALL) == 2
    message = capsys.readouterr().err
    assert "description of 'line'['slope']" in message and "JSON cannot hold" in message
    assert not (tmp_path / "run" / "line").exists()


def test_the_card_says_how_the_model_is_used(lines):
    card = (lines[1] / "model-card.md").read_text()
    assert "`geocnn predict FOLDER --examples 8 --recipe lines.py`" in card
    assert "geocnn equivariance" not in card


def test_a_measure_that_is_undefined_is_null_in_the_results(tmp_path):
    lines = LINES.replace(
        '    from torchmetrics import MeanSquaredError\n    return {"squared error": MeanSquaredError()}',
        "    from geocnn.train.measures.metrics import SurfaceNumbers\n"
        '    return {name: SurfaceNumbers(headline=name) for name in ("MAE", "Pearson")}',
    )
    file = tmp_path / "lines.py"
    file.write_text(lines)
    # one test sample has no correlation
    options = [option for option in SMALL if not option.startswith("--test")]
    assert run("train", file, "--run", tmp_path / "run", *options, "--test-size=1") == 0
    text = (tmp_path / "run" / "results.json").read_text()
    results = json.loads(text, parse_constant=lambda name: pytest.fail(f"JSON has no {name}"))
    network = results["networks"]["line"]
    assert network["Pearson"] is None and network["MAE"] > 0
