"""Cross-validation, ensembles, and training that starts from trained weights, on folders of a user's."""

import json
from pathlib import Path

import pytest
import torch

from geocnn.data import SurfaceDataset, open_dataset
from geocnn.data.folders.card import open_folder
from geocnn.errors import CheckpointError, DatasetError, GeocnnError
from geocnn.geometry.io import read_mesh
from geocnn.train import TrainedRun, evaluate, fit
from geocnn.train.recipes.data_folder import FolderSettings
from geocnn.train.recipes.folder_networks import description_in
from geocnn.train.recipes.folder_samples import of_part
from tests.data.folders import made
from tests.train.test_data_folder import QUICK, run, table

SETTINGS = {"epochs": 1, "size": "small", "baseline": False, "processes": 1, "check_every": 1000}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def test_each_sample_tests_once_and_never_teaches_where_it_tests(tmp_path):
    made.class_folders(tmp_path / "eggs", each=5)
    rows = SurfaceDataset.from_folder("eggs", processes=1).folder.rows
    settings = FolderSettings(folds=4)
    tested = []
    for part in range(1, 5):
        train, val, test = (
            {row.name for row in of_part(rows, part, s, settings)} for s in ("train", "val", "test")
        )
        assert train | val | test == {row.name for row in rows}
        assert len(train) + len(val) + len(test) == len(rows) and min(map(len, (train, val, test))) > 0
        tested += test
    assert sorted(tested) == sorted(row.name for row in rows)


def test_cross_validation_measures_all_samples_with_networks_that_have_not_seen_them(tmp_path, capsys):
    made.class_folders(tmp_path / "eggs", each=3)
    assert run("train", "eggs", *QUICK, "--folds", "3") == 0
    assert "6 trainings" in capsys.readouterr().out
    results = json.loads((tmp_path / "runs/eggs-1/results.json").read_text())
    assert all(
        results["measures"][name]["surfaces"] == 6 for name in ("geocnn", "without the surface", "majority")
    )
    assert len(results["networks"]) == 6
    # the measured answer of a sample is that of the one network that it tests
    trained, data = TrainedRun("runs/eggs-1"), open_dataset("runs/eggs-data")
    assert len(trained.network.members) == 3
    right = []
    for part in range(1, 4):
        single = TrainedRun(f"runs/eggs-1/network-fold{part}")
        for row in of_part(data.rows, part, "test", FolderSettings(folds=3)):
            answer = single.predict(data.mesh([r.name for r in data.rows].index(row.name)))
            right.append(trained.classes[int(answer.argmax())] == row.target)
    assert results["measures"]["geocnn"]["values"]["accuracy"]["value"] == pytest.approx(sum(right) / 6)
    with pytest.raises(DatasetError, match="learnt from all samples"):
        evaluate("runs/eggs-1", "runs/eggs-data")


def test_two_folds_are_refused():
    with pytest.raises(GeocnnError, match="folds is 0 or at least 3"):
        FolderSettings(folds=2)


def test_members_answer_with_their_mean_and_spread(tmp_path):
    made.class_folders(tmp_path / "eggs", each=5)
    data = SurfaceDataset.from_folder("eggs", processes=1)
    trained = fit(data, "runs/a", members=2, **SETTINGS)
    mesh = data.mesh(0)
    each = [TrainedRun(f"runs/a/network-{k}").predict(mesh) for k in (0, 1)]
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(trained.predict(mesh), (each[0] + each[1]) / 2, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trained.spread(mesh), torch.stack(each).std(0), rtol=1e-4, atol=1e-6)
    assert "disagreement" in trained.results["measures"]["members"]["values"]
    assert (
        evaluate("runs/a", "eggs-data").values["accuracy"].value
        == (trained.results["measures"]["geocnn"]["values"]["accuracy"]["value"])
    )
    assert run("predict", "runs/a", "eggs/long/long0.ply", "--out", "answers") == 0
    (row,) = table("answers/long0.answers.csv")
    assert float(row["spread of long"]) > 0
    with pytest.raises(CheckpointError, match="holds one network"):
        TrainedRun("runs/a/network-0").spread(mesh)


def test_members_on_points_and_numbers(tmp_path):
    made.labelled_points(tmp_path / "parts")
    assert run("train", "parts", *QUICK, "--no-baseline", "--members", "2") == 0
    assert run("predict", "runs/parts-1", "parts/s0.ply", "--out", "answers") == 0
    assert (read_mesh("answers/s0.answers.ply").vertex_attributes["spread"] > 0).all()
    made.with_table(tmp_path / "lengths", count=9)
    assert run("train", "lengths", *QUICK, "--no-baseline", "--members", "2") == 0
    results = json.loads((tmp_path / "runs/lengths-1/results.json").read_text())
    assert results["measures"]["members"]["values"]["spread-skill"]["value"] > 0


def test_a_run_starts_from_trained_weights(tmp_path):
    """With a learning rate of nearly nothing the network stays what it started from."""
    made.class_folders(tmp_path / "eggs", each=5)
    data = SurfaceDataset.from_folder("eggs", processes=1)
    first = fit(data, "runs/a", **SETTINGS)
    second = fit(data, "runs/b", start="runs/a", learning_rate=1e-12, seed=5, **SETTINGS)
    other = fit(data, "runs/c", learning_rate=1e-12, seed=5, **SETTINGS)
    states = [trained.network.state_dict() for trained in (first, second, other)]
    learnt = [
        name for name, value in states[0].items() if value.is_floating_point() and name.endswith("weight")
    ]
    for name in learnt:
        torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-4, atol=1e-5)
    assert any(not torch.allclose(states[0][name], states[2][name], atol=1e-3) for name in learnt)


def test_another_task_keeps_all_but_the_last_layer(tmp_path):
    made.class_folders(tmp_path / "eggs", each=5)
    fit(SurfaceDataset.from_folder("eggs", processes=1), "runs/a", **SETTINGS)
    made.with_table(tmp_path / "lengths", count=9)
    lengths = SurfaceDataset.from_folder("lengths", processes=1)
    trained = fit(lengths, "runs/b", start="runs/a", learning_rate=1e-12, **SETTINGS)
    states = [TrainedRun(f"runs/{name}").network.state_dict() for name in "ab"]
    same = [name for name in states[0] if states[0][name].shape == states[1][name].shape]
    assert len(same) > len(states[0]) - 3
    assert trained.predict(lengths.mesh(0)).shape == (1, 1)
    with pytest.raises(CheckpointError, match="does not answer per point"):
        description_in(Path("runs/a"), str(lengths.in_type), 1, {"out_type": "2x0"})
    with pytest.raises(CheckpointError, match="takes inputs of type"):
        description_in(Path("runs/a"), "1x0", 1, {"n_out": 2})
    with pytest.raises(CheckpointError):
        fit(open_folder(lengths.folder.path), "runs/d", start="nowhere", **SETTINGS)
