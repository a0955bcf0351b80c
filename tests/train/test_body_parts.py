"""The recipe end to end on eggs in place of bodies, and what it says of itself: resumed alike, scale-free."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import geocnn.geometry as geometry
from geocnn.cli import main
from geocnn.data.bodies import PARTS, Body
from geocnn.errors import GeocnnError, GeometryError
from geocnn.geometry.io import load_triangles, save_ply
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.nn import GaugeConv, Pool

pytest.importorskip("torch_geometric")

from geocnn.train.recipe import planned
from geocnn.train.recipes import body_parts, part_predictions
from geocnn.train.recipes.body_parts import RECIPE, BodyPartsSettings
from geocnn.train.recipes.part_networks import (
    answer,
    blind_description,
    build_network,
    control_description,
    parameters,
    parts_description,
    score,
)
from geocnn.train.recipes.part_predictions import check_size, upright
from geocnn.train.recipes.part_surfaces import AREA, Batches, batch, prepared, standard_mesh

TINY = [
    "--train-size=4", "--val-size=2", "--test-size=2", "--epochs=3", "--batch-size=2", "--check-every=2",
    "--devices=cpu", "--widths=4x0 + 2x1, 6x0 + 2x1", "--convs=1, 0", "--radius=0.2", "--processes=1",
]  # fmt: skip


def eggs(split):
    """Dented eggs whose parts are slices across the long axis, different in each split.

    The dents leave no ties between distances, which rounding would break another way after a rotation.
    """
    seed, n = {"train": (0, 4), "val": (1, 2), "test": (2, 2)}[split]
    generator = torch.Generator().manual_seed(seed)
    ball = Icosahedron(2)
    found = []
    for k in range(n):
        stretch = 1 + torch.rand(3, generator=generator, dtype=torch.float64) * torch.tensor([0.2, 2.0, 0.4])
        dents = 1 + 0.03 * torch.randn(len(ball.points), 1, generator=generator, dtype=torch.float64)
        points = ball.points * stretch * dents
        labels = ((ball.points[:, 1] + 1) * 4).long().clamp(max=7)
        found.append(Body(points, ball.faces[-1], labels, k, "rest"))
    return found


@torch.no_grad()
def probabilities(network, data):
    return answer(network.eval(), batch([data]))[0]


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.fixture(scope="module", autouse=True)
def replaced(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOCNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(body_parts, "bodies", eggs)
        patch.setattr(part_predictions, "bodies", eggs)
        patch.setattr(part_predictions, "FEWEST", 20)
        yield


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert run("train", "body-parts", "--run", folder, "--baseline", *TINY) == 0
    return folder


def test_a_run_folder_holds_everything(finished_run):
    names = {str(path.relative_to(finished_run)) for path in finished_run.rglob("*")}
    assert names >= {
        "results.json", "metrics.csv", "settings.json", "confusion.png", "curves.png", "bodies.png",
        "model.json", "model.safetensors", "parts-0/last.ckpt", "area-0/model.json", "blind-0/model.json",
    }  # fmt: skip
    results = json.loads((finished_run / "results.json").read_text())
    assert results["accuracy"].keys() == {
        "geocnn",
        "vertex areas alone",
        "frame-blind",
        "pointwise control",
    }
    assert results["agreement"].keys() == {"rotated", "relabelled", "random frames"}
    assert results["networks"]["parts-0"]["steps"] == 6
    with (finished_run / "metrics.csv").open() as stream:
        assert {row["network"] for row in csv.DictReader(stream)} == {
            "parts-0",
            "area-0",
            "blind-0",
            "control-0",
        }


def test_the_report_finds_no_broken_layer(finished_run, capsys):
    assert run("equivariance", finished_run, "--json") == 0
    found = {f["symmetry"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found.keys() == {"gauge", "relabelling", "rigid motion"}
    # no two distances tie on the dented eggs, so their levels move along
    assert {f["model"]["verdict"] for f in found.values()} == {"exact"}
    assert run("equivariance", finished_run / "area-0") == 2
    assert "takes no field on a surface" in capsys.readouterr().err


def test_the_reported_accuracy_is_the_area_labelled_right(finished_run):
    network, model = RECIPE.load(finished_run)
    right = []
    for body in eggs("test"):
        surface = standard_mesh(body.vertices, body.faces)
        (data,) = prepared([surface], None, model["geometry"], 1, Console(quiet=True))
        labels = probabilities(network, data).argmax(1)
        # areas of the unscaled body: a share does not depend on the scale
        areas = geometry.mesh(body.vertices, body.faces).areas
        right.append(float(areas[labels == body.labels].sum() / areas.sum()))
    results = json.loads((finished_run / "results.json").read_text())
    # the recipe's areas are float32
    assert results["accuracy"]["geocnn"] == [pytest.approx(sum(right) / 2, abs=1e-6)]


def test_the_answer_is_the_same_for_a_body_in_another_guise(finished_run):
    agreement = json.loads((finished_run / "results.json").read_text())["agreement"]
    # rounding to float32 (6e-8), grown a little by five layers
    for figures in agreement.values():
        assert figures["probabilities"] < 1e-5 and figures["labels"] > 0.99


def test_several_seeds_are_several_trainings():
    settings = BodyPartsSettings(seeds=2, seed=5, baseline=True)
    found = [training.folder for training in planned(RECIPE, settings)]
    assert found == [f"{name}-{seed}" for name in ("parts", "area", "blind", "control") for seed in (5, 6)]


def test_the_control_takes_what_the_network_takes_and_has_no_convolution():
    settings = BodyPartsSettings()
    control = build_network(control_description(settings))
    assert not any(isinstance(part, GaugeConv | Pool) for part in control.modules())
    assert 0.5 < parameters(control) / parameters(build_network(parts_description(settings))) < 2


def test_the_blind_network_has_as_many_weights_and_no_direction():
    settings = BodyPartsSettings()
    seeing, blind = (build_network(d(settings)) for d in (parts_description, blind_description))
    assert abs(parameters(blind) / parameters(seeing) - 1) < 0.05
    assert all(set(width.split("x")[1:]) == {"0"} for width in blind_description(settings)["widths"])
    body = eggs("test")[0]
    data = prepared(
        [standard_mesh(body.vertices, body.faces)],
        [body.labels],
        {"levels": 4, "radius": 0.2, "kind": "log"},
        1,
        Console(quiet=True),
    )[0]
    # turned and mirrored directions are nothing to it, and something to the other
    turned = data.clone()
    turned.x[:, 11:] = torch.randn(turned.x[:, 11:].shape, generator=torch.Generator().manual_seed(0))
    for network, same in ((blind, True), (seeing, False)):
        before, after = (probabilities(network, d) for d in (data, turned))
        assert torch.equal(before, after) is same


def test_the_score_weighs_by_area_and_bodies_alike():
    surfaces = []
    for k, part in ((0, slice(0, 100)), (1, slice(0, 20))):
        body = eggs("train")[k]
        (data,) = prepared(
            [standard_mesh(body.vertices, body.faces)],
            [torch.zeros(162, dtype=torch.int64)],
            {"levels": 1, "radius": 0.2, "kind": "log"},
            1,
            Console(quiet=True),
        )
        data.logits = torch.zeros(162, 8)
        data.logits[part, 0] = 2.0
        data.logits[:, 1] = 1.0
        surfaces.append(data)
    loss, figures = score(lambda data: data.logits, batch(surfaces))  # type: ignore[arg-type]
    shares = [
        float(s.areas[part].sum() / s.areas.sum())
        for s, part in zip(surfaces, (slice(0, 100), slice(0, 20)), strict=True)
    ]
    share = sum(shares) / 2
    assert float(figures["accuracy"]) == pytest.approx(share, rel=1e-5)
    right, wrong = (math.log(math.exp(a) + math.e + 6) - a for a in (2.0, 0.0))
    assert float(loss) == pytest.approx(share * right + (1 - share) * wrong, rel=1e-5)


def test_a_killed_run_goes_on_and_ends_the_same(finished_run, tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_body_parts as t;"
        "t.body_parts.bodies = t.part_predictions.bodies = t.eggs; t.main(sys.argv[2:])"
    )
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", script, here, "train", "body-parts", "--run", tmp_path / "run", *TINY]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    first = tmp_path / "run" / "parts-0" / "last.ckpt"
    until = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert first.exists()
    assert run("train", "body-parts", "--run", tmp_path / "run", "--resume") == 0
    ours, theirs = (
        load_file(folder / "parts-0" / "model.safetensors") for folder in (tmp_path / "run", finished_run)
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# ------------------------------------------------------------------------------------------------- prediction


def labels_of(path):
    """The labels and colours a .ply of `predict` has at its vertices."""
    content = path.read_bytes()
    header, body = content.split(b"end_header\n", 1)
    n = int(next(line for line in header.splitlines() if line.startswith(b"element vertex")).split()[-1])
    assert b"property uchar label" in header
    table = torch.frombuffer(bytearray(body[: n * 28]), dtype=torch.uint8).reshape(n, 28)
    return table[:, 24].long(), table[:, 25:]


def test_predict_labels_a_mesh_whatever_its_unit(finished_run, tmp_path, capsys):
    body = eggs("test")[0]
    save_ply(tmp_path / "metres.ply", body.vertices, body.faces)
    save_ply(tmp_path / "mm.ply", 1000 * body.vertices, body.faces)
    lines = [f"v {x} {y} {z}" for x, y, z in body.vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (body.faces + 1).tolist()]
    (tmp_path / "same.obj").write_text("\n".join(lines))
    for name in ("metres.ply", "mm.ply", "same.obj"):
        assert run("predict", finished_run, tmp_path / name) == 0
    said = capsys.readouterr().out
    assert "mm.ply: its area is" in said and "wrote" in said and all(part in said for part in PARTS)
    vertices, faces = load_triangles(tmp_path / "mm.parts.ply")
    assert torch.equal(vertices, 1000 * body.vertices) and torch.equal(faces, body.faces)
    label, colour = labels_of(tmp_path / "metres.parts.ply")
    for name in ("mm", "same"):
        other, _ = labels_of(tmp_path / f"{name}.parts.ply")
        # a thousandth is rounded, which may decide where two parts are equally probable
        assert int((other != label).sum()) <= 1
    assert len({(int(k), *c) for k, c in zip(label, colour.tolist(), strict=True)}) == len(label.unique())
    assert (tmp_path / "metres.parts.png").stat().st_size > 5000


def test_predict_shows_test_bodies_when_it_is_given_no_mesh(finished_run, tmp_path, capsys):
    assert run("predict", finished_run, "--out", tmp_path) == 0
    assert "area labelled right" in capsys.readouterr().out
    assert (tmp_path / "test-bodies.png").stat().st_size > 5000


def refused(capsys, *arguments):
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and "Traceback" not in said and said.count("\n") == 1
    return said


def test_what_does_not_work_is_one_line(finished_run, tmp_path, capsys):
    body = eggs("test")[0]
    save_ply(tmp_path / "good.ply", body.vertices, body.faces)
    save_ply(tmp_path / "few.ply", body.vertices[:3], torch.tensor([[0, 1, 2]]))
    (tmp_path / "cut.ply").write_bytes((tmp_path / "good.ply").read_bytes()[:900])
    (tmp_path / "fan.off").write_text(
        "OFF\n5 3 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n0 -1 0\n3 0 1 2\n3 1 0 3\n3 0 1 4\n"
    )
    assert "3 vertices" in refused(capsys, "predict", finished_run, tmp_path / "few.ply")
    assert "cut.ply" in refused(capsys, "predict", finished_run, tmp_path / "cut.ply")
    assert "edge" in refused(capsys, "predict", finished_run, tmp_path / "fan.off")
    assert "known formats" in refused(capsys, "predict", finished_run, tmp_path / "x.stl")
    assert "--nested" in refused(capsys, "predict", finished_run, tmp_path / "good.ply", "--nested")
    assert "not both" in refused(capsys, "predict", finished_run, tmp_path / "good.ply", "--examples", 2)
    train = ("train", "body-parts", "--run", tmp_path / "new")
    assert "1 to 160" in refused(capsys, *train, "--train-size=161")
    assert "one number per width" in refused(capsys, *train, "--convs=1,1")


def test_odd_sizes_are_remarked_on():
    ball = Icosahedron(4)
    metres = geometry.mesh(ball.points * math.sqrt(AREA / (4 * math.pi)), ball.faces[-1])
    assert check_size(metres) == ""
    assert "0.001 m" in check_size(geometry.mesh(1000 * metres.points, metres.faces))
    small = Icosahedron(2)
    assert "162 vertices" in check_size(geometry.mesh(small.points * 0.37, small.faces[-1]))
    with pytest.raises(GeocnnError, match="40962 vertices"):
        large = Icosahedron(6)
        check_size(geometry.mesh(large.points, large.faces[-1]))


def test_upright_is_a_rotation_that_keeps_up_up():
    body = eggs("train")[0]
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]], dtype=torch.float64)  # y-up to z-up
    for points in (body.vertices, body.vertices @ turn.T):
        found = upright(points)
        extent = found.max(0).values - found.min(0).values
        assert extent[1] > extent[0] > extent[2]
        assert torch.linalg.lstsq(points - points.mean(0), found).solution.det() > 0
        top = int(body.vertices[:, 1].argmax())
        assert found[top, 1] > 0


def test_a_batch_of_no_surfaces_is_refused():
    with pytest.raises(GeometryError, match="name one or more"):
        Batches([]).__getitems__([])
