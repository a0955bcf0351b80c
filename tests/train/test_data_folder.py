"""From a folder to a trained model and back, by the commands and in Python, for every form of data."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from geocnn.cli import main
from geocnn.data import SurfaceDataset
from geocnn.data.folders.found import Wishes
from geocnn.data.folders.samples import fields_on
from geocnn.geometry import load
from geocnn.geometry import mesh as make_mesh
from geocnn.geometry.io import read_mesh
from geocnn.nn.presets import build_network
from geocnn.train import TrainedRun, evaluate, fit
from geocnn.train.recipes.data_folder import preset_of
from tests.data.folders import made

QUICK = ["--epochs", "1", "--size", "small", "--processes", "1", "--check-every", "1000"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments):
    """Exit code of the command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code or 0
    return 0


def table(file):
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def test_meshes_with_classes(tmp_path, capsys):
    made.class_folders(tmp_path / "eggs", each=5)
    assert run("train", "eggs", *QUICK) == 0
    said = capsys.readouterr().out
    assert "10 meshes; to learn: a class of each" in said and "without the surface" in said
    assert "majority: accuracy 0.5" in said
    results = json.loads((tmp_path / "runs/eggs-1/results.json").read_text())
    assert set(results["measures"]) == {"geocnn", "without the surface", "majority", "difference"}
    assert (tmp_path / "runs/eggs-1/confusion.png").is_file()
    assert run("predict", "runs/eggs-1", "eggs/long/long0.ply", "--out", "answers") == 0
    (row,) = table("answers/long0.answers.csv")
    assert row["class"] in ("long", "round") and float(row["long"]) + float(row["round"]) == pytest.approx(1)
    assert run("predict", "runs/eggs-1", "eggs/long") == 0
    assert len(table("eggs/long-answers/long.answers.csv")) == 5
    assert run("evaluate", "runs/eggs-1", "runs/eggs-data", "--split", "train", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["surfaces"] == 6


def test_few_given_for_training_are_all_learnt_from_and_the_last_weights_are_kept(tmp_path, capsys):
    made.class_folders(tmp_path / "eggs", each=8)
    for part, numbers in (("train", range(6)), ("test", (6, 7))):
        for c in ("long", "round"):
            (tmp_path / "given" / part / c).mkdir(parents=True)
            for k in numbers:
                (tmp_path / f"eggs/{c}/{c}{k}.ply").rename(tmp_path / f"given/{part}/{c}/{c}{k}.ply")
    assert run("train", "given", *QUICK, "--no-baseline") == 0
    said = capsys.readouterr().out
    assert "12 train, 0 val, 4 test (as given); without a validation set the last weights are kept" in said
    settings = json.loads((tmp_path / "runs/given-1/settings.json").read_text())
    assert (settings["train_size"], settings["val_size"], settings["keep"]) == (12, 2, "last")
    ended = json.loads((tmp_path / "runs/given-1/network-0/training.json").read_text())
    assert ended["best_step"] == ended["steps"]
    assert run("evaluate", "runs/given-1", "runs/given-data", "--json") == 0


def test_the_same_in_python_gives_the_same(tmp_path):
    made.class_folders(tmp_path / "eggs", each=5)
    data = SurfaceDataset.from_folder("eggs", processes=1)
    assert len(data.split("train")) == 6 and data[0].x.shape == (60, 24)
    settings = {"epochs": 1, "size": "small", "baseline": False, "processes": 1, "check_every": 1000}
    first, again = (fit(data, f"runs/{name}", **settings) for name in ("a", "b"))
    mesh = load("eggs/round/round3.ply")
    answer = first.predict(mesh)
    assert answer.shape == (1, 2) and torch.equal(answer, again.predict([mesh])[0])
    assert run("predict", "runs/a", "eggs/round/round3.ply", "--out", "answers") == 0
    (row,) = table("answers/round3.answers.csv")
    assert float(row["round"]) == pytest.approx(float(answer[0, 1]), rel=1e-4)
    measures = evaluate("runs/a", "eggs-data")
    known = first.results["measures"]["geocnn"]["values"]["accuracy"]["value"]
    assert measures.values["accuracy"].value == known
    # sizes tell the classes apart and come in beside the shape: a mesh in another unit is another input
    card = TrainedRun("runs/a").card
    assert card.scale == "each" and card.size
    larger = make_mesh(1000 * mesh.vertices, mesh.faces)
    assert not torch.allclose(first.predict(larger), answer, atol=1e-4)


def test_labels_of_points_come_back_in_the_format_of_the_meshes(tmp_path, capsys):
    made.labelled_points(tmp_path / "parts")
    assert run("train", "parts", *QUICK, "--no-baseline") == 0
    assert "to learn: a class per point" in capsys.readouterr().out
    assert run("predict", "runs/parts-1", "parts/s0.ply", "--out", "answers") == 0
    raw, given = read_mesh("answers/s0.answers.ply"), read_mesh("parts/s0.ply")
    assert torch.equal(raw.vertices, given.vertices) and torch.equal(raw.faces, given.faces)
    assert set(np.unique(raw.vertex_attributes["answer"])) <= {3, 7}
    # and as the labels came, in a file of their own
    assert np.array_equal(np.load("answers/s0.answers.npy"), raw.vertex_attributes["answer"])
    assert "share of the area" in capsys.readouterr().out


def test_numbers_of_meshes_in_their_own_unit(tmp_path, capsys):
    made.with_table(tmp_path / "lengths", count=9)
    assert run("train", "lengths", *QUICK, "--no-baseline") == 0
    assert "mean of the training samples: RMSE" in capsys.readouterr().out
    assert run("predict", "runs/lengths-1", "lengths", "--out", "answers") == 0
    rows = table("answers/lengths.answers.csv")
    assert len(rows) == 9 and all(0 < float(row["length"]) < 4 for row in rows)


@pytest.mark.parametrize("twists", [1, 2])
def test_meshes_with_one_side_learn_from_fields(tmp_path, twists):
    """The same folder with an even number of half twists has two sides, and another group."""
    made.bands(tmp_path / "bands", twists)
    assert run("train", "bands", *QUICK, "--inputs", "heat", "--inputs", "wind") == 0
    one = TrainedRun("runs/bands-1")
    types = ("O2: 1x0e", "O2: 1x0o + 1x1") if twists == 1 else ("1x0", "1x0 + 1x1")
    assert one.card.field_types == types and one.card.task == "classify-points"
    assert run("predict", "runs/bands-1", "bands/b3.ply", "--out", "answers") == 0
    assert set(np.unique(read_mesh("answers/b3.answers.ply").vertex_attributes["answer"])) <= {0, 1}
    assert run("evaluate", "runs/bands-1", "runs/bands-data") == 0


def test_an_answer_on_one_side_does_not_depend_on_the_gauge(tmp_path):
    """Frames are turned and mirrored at random, and the fields are taken in those frames."""
    made.bands(tmp_path / "bands", 1)
    data = SurfaceDataset.from_folder("bands", wishes=Wishes(inputs=("heat", "wind")), processes=1)
    network = build_network(preset_of(data.card, 4, "small").network).double().eval()
    item, surface = data[0], data.mesh(0)
    h = item.hierarchy.to(dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    angle = [torch.rand(len(areas), generator=g, dtype=torch.float64) * 6 for areas in h.areas]
    flip = [torch.rand(len(areas), generator=g) < 0.5 for areas in h.areas]
    turned = h.turn_frames(angle, flip)
    tensors = data.folder.tensors(data.rows[0])
    x = fields_on(surface, tensors, data.card)
    moved = fields_on(surface.turn_frames(angle[0], flip[0]), tensors, data.card)
    assert x is not None and moved is not None and len(x) == item.num_nodes
    torch.testing.assert_close(x.float(), item.x)
    expected = data.in_type.act(x, torch.where(flip[0], angle[0], -angle[0]), flip[0])
    torch.testing.assert_close(moved, expected)
    torch.testing.assert_close(network(moved, turned), network(x, h), rtol=1e-9, atol=1e-9)


def test_shape_features_of_one_side_are_refused(tmp_path, capsys):
    made.bands(tmp_path / "bands", 1)
    assert run("train", "bands", *QUICK) == 2
    assert "'b0' has only one side, where shape features have no sign" in capsys.readouterr().err


def test_meshes_of_several_parts_and_with_boundary(tmp_path):
    made.pairs(tmp_path / "pairs")
    assert run("train", "pairs", *QUICK, "--no-baseline") == 0
    assert run("predict", "runs/pairs-1", "pairs/p1.ply", "--out", "answers") == 0
    raw = read_mesh("answers/p1.answers.ply")
    assert len(raw.vertex_attributes["answer"]) == 156
    assert np.isfinite(raw.vertex_attributes["probability"]).all()


def test_fields_on_one_mesh(tmp_path):
    made.fields_on_one(tmp_path / "cortex")
    assert run("train", "cortex", *QUICK, "--no-baseline") == 0
    np.save("new.npy", np.load("cortex/fields.npy")[:3])
    assert run("predict", "runs/cortex-1", "new.npy") == 0
    rows = table("new.answers.csv")
    assert [row["file"] for row in rows] == ["new-0", "new-1", "new-2"]
    one = TrainedRun("runs/cortex-1").predict(torch.from_numpy(np.load("new.npy")[1]))
    assert float(rows[1]["a"]) == pytest.approx(float(one[0, 0]), rel=1e-4)


def test_maps(tmp_path):
    made.maps(tmp_path / "sky")
    assert run("train", "sky", *QUICK, "--no-baseline", "--ring") == 0
    assert run("predict", "runs/sky-1", "sky/map2.npy", "--ring", "--out", "answers") == 0
    assert len(table("answers/map2.answers.csv")) == 1


def test_maps_learn_maps(tmp_path):
    """In the order of pixels and with the coordinates in which they came."""
    from geocnn.data import read_map_file
    from geocnn.geometry.spheres.healpix_maps import reorder

    made.map_pairs(tmp_path / "sky", nested=True)
    assert run("train", "sky", *QUICK, "--target", "truth", "--no-baseline") == 0
    trained = TrainedRun("runs/sky-1")
    assert trained.card.task == "regress-points" and trained.card.surfaces == "healpix"
    assert run("predict", "runs/sky-1", "sky/sky/m2.fits", "--out", "answers") == 0
    given, answer = (read_map_file(f"{f}.fits") for f in ("sky/sky/m2", "answers/m2.answers"))
    assert answer.header["ORDERING"] == "NESTED" and answer.coordinates == "galactic"
    assert answer.names == ("target",)
    expected = trained.predict(given.values.T)
    torch.testing.assert_close(answer.values[0].double(), expected[:, 0], rtol=1e-5, atol=1e-6)
    # rows of an array come back as rows of an array, in the order that is said
    rows = np.stack([read_map_file(f"sky/sky/m{k}.fits").values[0] for k in range(3)])
    np.save("rows.npy", reorder(torch.from_numpy(rows), to="nested").numpy())
    assert run("predict", "runs/sky-1", "rows.npy", "--nested", "--out", "answers") == 0
    found = reorder(torch.from_numpy(np.load("answers/rows.answers.npy")), to="ring")
    assert found.shape == (3, 48)
    torch.testing.assert_close(found[2], expected[:, 0], rtol=1e-5, atol=1e-6)
    assert run("evaluate", "runs/sky-1", "runs/sky-data") == 0


def test_labels_of_faces_come_back_for_faces(tmp_path):
    """Quadrilaterals in .off files, which hold no values: the mesh comes back as .ply."""
    made.labelled_faces(tmp_path / "parts")
    assert run("train", "parts", *QUICK, "--no-baseline", "--fix", "triangulate") == 0
    card = TrainedRun("runs/parts-1").card
    assert card.per_face and card.values_suffix == ".txt"
    assert run("predict", "runs/parts-1", "parts/q1.off", "--out", "answers") == 0
    raw = read_mesh("answers/q1.answers.ply")
    labels = np.loadtxt("answers/q1.answers.txt", dtype=int)
    assert labels.shape == np.loadtxt("parts/q1.txt").shape == (75,) and set(labels) <= {3, 7}
    assert set(np.unique(raw.vertex_attributes["answer"])) <= {3, 7}
    assert raw.face_attributes["answer"].shape == (150,)


def test_a_dry_run_only_says_what_will_be(tmp_path, capsys):
    made.fields_on_one(tmp_path / "cortex")
    assert run("train", "cortex", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "12 samples of about 80 points" in said and "memory" in said
    assert not list((tmp_path / "runs").glob("cortex-1"))


def test_a_run_goes_on_with_the_same_numbers(tmp_path, capsys):
    made.fields_on_one(tmp_path / "cortex")
    quick = ["--size", "small", "--epochs", "4", "--check-every", "1", "--no-baseline"]
    assert run("train", "cortex", *quick) == 0
    assert run("train", "cortex", *quick, "--run", "runs/b", "--max-minutes", "0.0001") in (0, 2)
    assert run("train", "cortex", "--run", "runs/b", "--resume", "--max-minutes", "60") == 0
    first, second = (TrainedRun(f"runs/{name}").network.state_dict() for name in ("cortex-1", "b"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_cannot_be(tmp_path, capsys):
    made.class_folders(tmp_path / "eggs", each=5)
    assert run("train", "./nothing") == 2
    assert "there is no folder ./nothing" in capsys.readouterr().err
    assert run("train", "eggs", "--scale", "huge") == 2
    assert "--scale is set or each, got 'huge'" in capsys.readouterr().err
    assert run("prepare", "eggs", "eggs-data", "--processes", "1") == 0
    assert run("prepare", "eggs", "eggs-data") == 2
    assert "is a data folder already" in capsys.readouterr().err
    assert run("train", "eggs-data", "--scale", "each") == 2
    assert "eggs-data is prepared already; --scale belongs to geocnn prepare" in capsys.readouterr().err
    assert run("train", "data-folder") == 2
    assert "trains on a folder" in capsys.readouterr().err


def test_a_name_of_nothing(tmp_path, capsys):
    assert run("train", "scnas") == 2
    assert "there is no folder 'scnas' here, and no recipe of that name" in capsys.readouterr().err


def test_answers_lie_as_the_files_that_were_asked_about(tmp_path, capsys):
    """Files of one name in two folders have an answer each."""
    made.labelled_points(tmp_path / "parts")
    assert run("train", "parts", *QUICK, "--no-baseline") == 0
    for place in ("one", "two"):
        (tmp_path / "new" / place).mkdir(parents=True)
        shutil.copy(tmp_path / "parts" / ("s0.ply" if place == "one" else "s1.ply"), f"new/{place}/x.ply")
    assert run("predict", "runs/parts-1", "new") == 0
    for place in ("one", "two"):
        answer = read_mesh(f"new-answers/{place}/x.answers.ply")
        assert torch.equal(answer.vertices, read_mesh(f"new/{place}/x.ply").vertices)
    assert "one/x.ply" in capsys.readouterr().out
    # answers among the files are not asked about
    assert run("predict", "runs/parts-1", "new/one/x.ply") == 0
    assert (tmp_path / "new/one/x.answers.ply").is_file()
    assert run("predict", "runs/parts-1", "new", "--out", "again") == 0
    assert len(list((tmp_path / "again").rglob("*.ply"))) == 2


def test_a_table_of_fields_is_learnt_and_answered(tmp_path):
    folder = made.fields_on_one(tmp_path / "cortex")
    np.savetxt(folder / "fields.csv", np.load(folder / "fields.npy"), delimiter=",")
    (folder / "fields.npy").unlink()
    assert run("train", "cortex", *QUICK, "--no-baseline") == 0
    shutil.copy(folder / "fields.csv", "new.csv")
    assert run("predict", "runs/cortex-1", "new.csv") == 0
    assert len(table("new.answers.csv")) == 12
    assert run("predict", "runs/cortex-1", "cortex") == 0  # its own folder: the table of labels is no field
    assert len(table("cortex-answers/cortex.answers.csv")) == 12


def test_weights_of_nothing(tmp_path, capsys):
    rows = "".join(f"m{k},{k / 3},{int(k % 4 == 0)}\n" for k in range(16))
    made.with_table(tmp_path / "few", "file,length,weight\n" + rows, count=16)
    assert run("train", "few", *QUICK, "--no-baseline", "--batch-size", "1") == 0
    assert "nan" not in capsys.readouterr().out
    made.with_table(tmp_path / "none", "file,length,weight\n" + "".join(f"m{k},{k},0\n" for k in range(6)))
    assert run("train", "none", *QUICK) == 2
    assert "have the weight 0" in capsys.readouterr().err
