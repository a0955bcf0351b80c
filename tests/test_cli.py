"""The command line end to end on a handful of digits, and its errors: one red line, exit code 2."""

import csv
import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geocnn.cli import main
from geocnn.data import SphericalDigits

TINY = [
    "--train-size=64", "--val-size=16", "--test-size=24", "--nside=8", "--epochs=1", "--batch-size=32",
    "--devices=cpu", "--radius=3", "--widths=2x0 + 2x1, 4x0 + 2x1, 4x0",
]  # fmt: skip


def run(*arguments):
    """Exit code of the command; typer ends every command by SystemExit."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert run("train", "spherical-digits", "--run", folder, "--baseline", *TINY) == 0
    return folder


def test_recipes_are_listed(capsys):
    assert run("recipes") == 0
    said = capsys.readouterr().out
    assert "spherical-digits" in said and "quick" in said and "long" in said


def test_help_shows_every_setting_with_its_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert run("train", "spherical-digits", "--help") == 0
    said = capsys.readouterr().out
    for option in (
        "--epochs",
        "--max-minutes",
        "--nside",
        "--baseline",
        "--resume",
        "--devices",
        "--precision",
    ):
        assert option in said
    assert "early" not in said and "HEALPix resolution" in said and "16" in said


def test_a_run_folder_holds_everything(finished_run):
    names = {str(path.relative_to(finished_run)) for path in finished_run.rglob("*")}
    assert names >= {
        "results.json", "metrics.csv", "settings.json", "confusion.png", "curves.png", "spheres.png",
        "model.json", "model.safetensors", "nr/last.ckpt", "r/model.safetensors", "planar/model.json",
    }  # fmt: skip
    results = json.loads((finished_run / "results.json").read_text())
    assert results["accuracy"].keys() == {"geocnn", "planar CNN"}
    assert results["accuracy"]["geocnn"].keys() == {"NR/NR", "R/R", "NR/R"}
    assert results["settings"]["nside"] == 8 and results["seed"] == 0
    assert {"python", "torch", "geocnn"} <= results["versions"].keys()
    assert results["machine"]["cpu_count"] >= 1 and results["networks"]["nr"]["steps"] == 2
    with (finished_run / "metrics.csv").open() as stream:
        assert {row["network"] for row in csv.DictReader(stream)} == {"nr", "r", "planar"}


def test_resuming_a_finished_run_trains_nothing_and_says_so(finished_run, capsys):
    before = (finished_run / "nr" / "best.safetensors").stat().st_mtime_ns
    assert run("train", "spherical-digits", "--run", finished_run, "--resume") == 0
    assert "nr: already trained" in capsys.readouterr().out
    assert (finished_run / "nr" / "best.safetensors").stat().st_mtime_ns == before


def test_a_damaged_end_is_written_anew_from_the_checkpoint(finished_run, tmp_path, capsys):
    right = load_file(finished_run / "nr" / "model.safetensors")
    for name, content in (("training.json", b"{}"), ("model.safetensors", b"x"), ("metrics.csv", b"")):
        folder = shutil.copytree(finished_run, tmp_path / name)
        (folder / "nr" / name).write_bytes(content)
        assert run("train", "spherical-digits", "--run", folder, "--resume") == 0
        said = capsys.readouterr().out
        assert name in said and "writing it anew" in said and "r: already trained" in said
        found = load_file(folder / "nr" / "model.safetensors")
        assert all(torch.equal(found[key], right[key]) for key in right)
        assert (folder / "metrics.csv").read_bytes() == (finished_run / "metrics.csv").read_bytes()


def test_a_run_that_was_stopped_is_to_be_resumed(finished_run, tmp_path, capsys):
    folder = tmp_path / "stopped"
    shutil.copytree(finished_run / "nr", folder / "nr")
    shutil.copy(finished_run / "settings.json", folder)
    (folder / "nr" / "model.json").unlink()
    for model in (folder, folder / "nr", folder / "nr" / "last.ckpt"):
        said = refused(capsys, "equivariance", model)
        assert f"geocnn train spherical-digits --run {folder} --resume" in said
    message = refused(capsys, "predict", folder, "--digits", 2)
    assert "not finished" in message and "still running" in message and "interrupted" in message
    assert f"--run {folder} --resume" in message
    assert "--resume" not in refused(capsys, "predict", tmp_path, "--digits", 2)


def test_refining_goes_on_from_the_coarse_networks_weights(tmp_path, capsys):
    folder = tmp_path / "refined"
    # so short that hardly anything moves
    refine = ("--refine=0.5", "--no-rotated", "--learning-rate=1e-9")
    assert run("train", "spherical-digits", "--run", folder, *TINY, *refine) == 0
    results = json.loads((folder / "results.json").read_text())
    assert results["accuracy"].keys() == {"geocnn", "geocnn, before refining"}
    assert [results["networks"][name]["steps"] for name in ("nr-coarse", "nr")] == [2, 1]
    coarse, fine = (load_file(folder / name / "model.safetensors") for name in ("nr-coarse", "nr"))
    for name in coarse:
        if "running" not in name:
            torch.testing.assert_close(fine[name], coarse[name], rtol=1e-5, atol=1e-6)
    described = json.loads((folder / "model.json").read_text())["network"]
    assert (
        described["oversample"]
        and "oversample" not in json.loads((folder / "nr-coarse" / "model.json").read_text())["network"]
    )
    assert run("predict", folder, "--digits", 2, "--out", tmp_path) == 0
    capsys.readouterr()
    assert "refine" in refused(capsys, "train", "spherical-digits", "--refine=-1")
    assert "stretch" in refused(capsys, "train", "spherical-digits", "--stretch=1")
    assert "3 widths, 2 convs" in refused(capsys, "train", "spherical-digits", "--convs", "0,1")


def test_predict_reads_an_array_without_pickle(finished_run, tmp_path, monkeypatch, capsys):
    maps = SphericalDigits("test", True, nside=8, size=3).maps(range(3)).numpy()
    np.save(tmp_path / "maps.npy", maps)
    np.save(tmp_path / "one.npy", maps[1])

    def refuse(*_, **__):
        raise AssertionError("pickle was read")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    assert run("predict", finished_run, tmp_path / "maps.npy") == 0
    assert run("predict", finished_run / "nr", tmp_path / "one.npy", "--out", tmp_path / "new") == 0
    assert "probability" in capsys.readouterr().out
    with (tmp_path / "maps-predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 and (tmp_path / "maps-predictions.png").stat().st_size > 1000
    with (tmp_path / "new" / "one-predictions.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    for known in (rows[1], row):
        shares = [float(value) for name, value in known.items() if name.startswith("p(")]
        # ten numbers rounded to six digits
        assert sum(shares) == pytest.approx(1.0, abs=1e-5)
        assert known["label"] == str(int(np.argmax(shares)))
    assert row["label"] == rows[1]["label"]


def test_predict_tries_the_test_digits(finished_run, tmp_path, capsys):
    assert run("predict", finished_run, "--digits", 4, "--out", tmp_path) == 0
    assert "of 4 right" in capsys.readouterr().out
    assert (tmp_path / "digits-predictions.png").is_file()


def test_an_answer_that_cannot_be_written_is_one_line(finished_run, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file, no folder")
    said = refused(capsys, "predict", finished_run, "--digits", 2, "--out", tmp_path / "taken")
    assert f"cannot read or write {tmp_path / 'taken'}" in said


def test_a_trained_network_breaks_no_symmetry_and_the_planar_one_does(finished_run, tmp_path, capsys):
    page = tmp_path / "report.html"
    assert run("equivariance", finished_run, "--html", page, "--only", "gauge", "--only", "rotation") == 0
    assert "gauge" in capsys.readouterr().out and "down.0.conv" in page.read_text()
    assert run("equivariance", finished_run / "planar", "--json") == 1
    found = {f["symmetry"]: f["model"] for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["rotation"]["verdict"] == "broken"


def test_weights_of_a_checkpoint_are_measured(finished_run, capsys):
    for name in ("nr/last.ckpt", "nr/best.safetensors"):
        assert run("equivariance", finished_run / name, "--only", "gauge", "--refinements", 0) == 0
        assert "exact" in capsys.readouterr().out
    assert "no symmetry 'guage'" in refused(capsys, "equivariance", finished_run, "--only", "guage")
    assert "cannot be loaded" in refused(capsys, "equivariance", finished_run / "results.json")


def refused(capsys, *arguments):
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and "Traceback" not in said and said.count("\n") == 1
    return said


def test_bad_input_is_one_line(finished_run, tmp_path, capsys):
    np.save(tmp_path / "small.npy", np.zeros(48))
    np.save(tmp_path / "hole.npy", np.full(768, np.nan))
    np.save(tmp_path / "bright.npy", np.full(768, 255.0))
    assert "nside 2" in refused(capsys, "predict", finished_run, tmp_path / "small.npy")
    assert "NaN" in refused(capsys, "predict", finished_run, tmp_path / "hole.npy")
    assert "0 to 1" in refused(capsys, "predict", finished_run, tmp_path / "bright.npy")
    np.save(tmp_path / "source.npy", np.eye(1, 768, 5))
    np.save(tmp_path / "fill.npy", np.where(np.arange(768) == 3, -9999, np.eye(1, 768, 5)))
    assert "--ring or --nested" in refused(capsys, "predict", finished_run, tmp_path / "source.npy")
    assert "[3]" in refused(
        capsys, "predict", finished_run, tmp_path / "fill.npy", "--ring", "--fill=-9999", "--fill=7"
    )
    assert "is a folder" in refused(capsys, "predict", finished_run, tmp_path)
    assert "model.json" in refused(capsys, "predict", tmp_path, tmp_path / "small.npy")
    assert "--digits" in refused(capsys, "predict", finished_run)
    train = ("train", "spherical-digits")
    assert "--resume" in refused(capsys, *train, "--run", finished_run)
    assert "epochs = 1, not 3" in refused(capsys, *train, "--run", finished_run, "--resume", "--epochs=3")
    assert "without --resume" in refused(capsys, *train, "--run", tmp_path / "new", "--resume")
    assert "quick, long" in refused(capsys, *train, "--run", tmp_path / "new", "--preset=huge")
    assert "whole numbers" in refused(capsys, *train, "--run", tmp_path / "new", "--convs=3,a")
    assert "not understood" in refused(capsys, *train, "--run", tmp_path / "other", "--devices=tpu")
    assert "CUDA GPUs" in refused(capsys, *train, "--run", tmp_path / "other", "--devices=gpu:99")
    degrees = ("--preset=long", "--lmax=40,20,14,9,5")
    assert "degrees up to 32" in refused(capsys, *train, "--run", tmp_path / "other", *degrees)
    assert not (tmp_path / "other").exists()
    assert "TensorBoard" in refused(capsys, *train, "--run", tmp_path / "caf\udce9")
    assert not (tmp_path / "caf\udce9").exists()


def test_run_folders_are_numbered_and_never_overwritten(tmp_path, monkeypatch):
    from geocnn.train.folders import open_run
    from geocnn.train.recipes import find_recipe

    monkeypatch.chdir(tmp_path)
    recipe = find_recipe("spherical-digits")
    first, _ = open_run(recipe, "quick", {}, None, resume=False)
    second, _ = open_run(recipe, "long", {"seed": 5}, None, resume=False)
    assert (str(first), str(second)) == ("runs/spherical-digits-1", "runs/spherical-digits-2")
    resumed, settings = open_run(recipe, "quick", {}, None, resume=True)
    assert resumed == second and settings.seed == 5


def test_a_warning_is_one_line_without_code():
    code = "import warnings, geocnn.cli as c; c.app = lambda args: warnings.warn('no\\nroom'); c.main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stderr == "Warning: no room\n"
