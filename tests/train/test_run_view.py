"""`geocnn view RUN`: what a run learnt, and its test samples on a page or a picture."""

import shutil

import numpy as np
import pytest

from geocnn.cli import main
from tests.data.folders import made
from tests.train.test_data_folder import QUICK

MADE = {
    "parts": made.labelled_points,
    "eggs": lambda folder: made.class_folders(folder, each=5),
    "cortex": made.fields_on_one,
    "sky": made.maps,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of these folders, each in a folder of its own."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, make in MADE.items():
            make(place / name)
            given = [name, *QUICK, "--no-baseline", *(["--ring"] if name == "sky" else [])]
            with pytest.raises(SystemExit) as ended:
                main(["train", *given])
            assert ended.value.code in (0, None)
    return place / "runs"


def view(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["view", *map(str, arguments)])
    return ended.value.code or 0


@pytest.mark.parametrize("name", MADE)
def test_a_run_tells_what_it_learnt_and_shows_a_sample(runs, name, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert view(runs / f"{name}-1", "--html", tmp_path / "a.html", "--out", tmp_path / "a.png") == 0
    said = capsys.readouterr().out
    assert (
        said.startswith(f"{name}, ")
        and ({"sky": "geocnn: RMSE"}.get(name, "geocnn: accuracy")) in said
        and "examples.png" in said
    )
    assert "test sample " in said
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    wanted = {"parts": "probability", "eggs": "true: ", "cortex": "field", "sky": "field"}[name]
    assert wanted in page and ("truth" in page) == (name == "parts")
    from matplotlib.image import imread

    assert np.ptp(imread(tmp_path / "a.png")[..., :3]) > 0.5


def test_samples_are_chosen_by_name(runs, tmp_path, capsys):
    assert view(runs / "parts-1", "--field", "s9", "--html", tmp_path / "a.html") == 2
    assert "keeps no test sample 's9'; it has s" in capsys.readouterr().err


def test_runs_without_samples_and_without_a_model(runs, tmp_path, capsys):
    run = shutil.copytree(runs / "parts-1", tmp_path / "run")
    (run / "examples.safetensors").unlink()
    assert view(run) == 0
    assert view(run, "--html", tmp_path / "a.html") == 2
    assert "keeps no test samples" in capsys.readouterr().err
    (run / "model.json").unlink()
    assert view(run) == 2
    assert "the run is not finished" in capsys.readouterr().err
    assert view(tmp_path) == 2
    assert "there is no model.json" in capsys.readouterr().err
