"""The trained model that ships answers on the first day, under the name of its recipe."""

import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("torch_geometric")
pytest.importorskip("lightning")

from geocnn.cli import main
from geocnn.data.bodies import bodies
from geocnn.data.store import datasets_folder, describe
from geocnn.geometry.io import read_mesh, save_ply
from geocnn.train.recipes import find_recipe
from geocnn.train.shipped import model_folder, shipped_models

CARD = "body_parts_model"


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code or 0


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_scan_is_labelled_without_any_training(here, capsys):
    """A test body, in millimetres and in another place; the card states the mean over all of them."""
    body = bodies("test")[0]
    save_ply(here / "scan.ply", 1000 * body.vertices + 50, body.faces)
    assert run("predict", "body-parts", "scan.ply") == 0
    label = torch.from_numpy(read_mesh(here / "scan.parts.ply").vertex_attributes["label"]).long()
    assert float((label == body.labels).double().mean()) > 0.9
    assert "torso" in capsys.readouterr().out


def test_the_model_is_small_and_says_how_it_was_made():
    card = describe(CARD)
    assert sum(entry["size"] for entry in card["files"]) < 2_000_000
    generation = card["generation"]
    assert generation["command"].startswith("geocnn train body-parts") and generation["test_accuracy"] > 0.9
    assert {"seed", "training_seconds", "machine", "packages"} <= generation.keys()
    network, model = find_recipe("body-parts").load(model_folder(Path("body-parts")))
    assert model["recipe"] == "body-parts"
    stated = next(w for w in card["description"].split() if w.replace(",", "").isdecimal() and "," in w)
    assert sum(p.numel() for p in network.parameters()) == int(stated.replace(",", ""))


def test_a_folder_of_that_name_wins_and_other_names_stay(here, capsys):
    assert shipped_models() == ["body-parts"]
    for name in ("runs/body-parts-1", "spherical-digits", "body_parts"):
        assert model_folder(Path(name)) == Path(name)
    assert model_folder(Path("body-parts")) == datasets_folder() / CARD
    assert run("predict", "body-part", "scan.ply") == 2
    assert "a model that ships with geocnn: body-parts" in " ".join(capsys.readouterr().err.split())
    (here / "body-parts").mkdir()
    assert model_folder(Path("body-parts")) == Path("body-parts")
    assert run("predict", "body-parts", "scan.ply") == 2


def test_a_damaged_model_is_refused(here, monkeypatch, capsys):
    shutil.copytree(datasets_folder() / CARD, here / "data" / CARD)
    weights = here / "data" / CARD / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setenv("GEOCNN_DATASETS", str(here / "data"))
    assert run("predict", "body-parts", "scan.ply") == 2
    assert "restore it" in " ".join(capsys.readouterr().err.split())
