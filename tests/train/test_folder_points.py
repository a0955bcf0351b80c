"""Answers for points, written as the fields and the labels came."""

from pathlib import Path

import numpy as np
import pytest
import torch

from geocnn.data import read_map_file, write_map_file
from geocnn.data.folders.card import Card
from geocnn.data.folders.found import Sample, Source
from geocnn.data.folders.reading import Mended, Read
from geocnn.geometry.io import raw_mesh, read_mesh, read_vertex_values
from geocnn.geometry.spheres.healpix_maps import reorder
from geocnn.train.recipes.folder_points import write_points
from tests.data.folders import made

NUMBERS = Card(name="a", task="regress-points", surfaces="meshes", target=("heat", "wind"))
LABELS = {"target": ("label",), "classes": ("leg", "arm"), "labels": (3, 7)}
CLASSES = Card.of(vars(NUMBERS) | LABELS | {"task": "classify-points"})


def of(card, **changes):
    return Card.of(vars(card) | changes)


def answers_of(n, k=2):
    return torch.rand(n, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def mesh_read(name="scan.ply"):
    raw = raw_mesh(*made.egg(0))
    return Read(Sample("scan", Path(name)), raw, {}, None, mended=Mended.of(raw, ()))


def field_read(path, name=None, row=None, sample="s"):
    return Read(Sample(sample, None, (Source(path, name, row),)), None, {}, None)


@pytest.mark.parametrize("suffix", [".txt", ".npy", ".csv", ".npz", ".label.gii", ".annot"])
def test_labels_of_vertices_come_back_in_the_format_of_the_labels(tmp_path, suffix):
    if suffix in (".label.gii", ".annot"):
        pytest.importorskip("nibabel")
    read, answers = mesh_read(), answers_of(60)
    card = of(CLASSES, values_suffix=suffix)
    mesh, labels = write_points([read], [answers], [None], card, tmp_path, None)
    assert mesh.name == "scan.answers.ply" and labels.name == f"scan.answers{suffix}"
    expected = np.array([3, 7])[answers.argmax(1)]
    found = read_vertex_values(labels)
    assert np.array_equal(next(iter(found.values.values())).ravel(), expected)
    assert np.array_equal(read_mesh(mesh).vertex_attributes["answer"], expected)
    if found.names:
        assert {found.names[3], found.names[7]} == {"leg", "arm"}


@pytest.mark.parametrize("extension", [".ply", ".vtp", ".npz"])
def test_numbers_of_faces_are_means_of_their_corners(tmp_path, extension):
    read, answers = mesh_read(f"scan{extension}"), answers_of(60)
    card = of(NUMBERS, per_face=True, values_suffix=".npy")
    mesh, numbers = write_points([read], [answers], [None], card, tmp_path, None)
    assert read.raw is not None and not read.raw.face_attributes  # what was read stays
    raw, expected = read_mesh(mesh), answers[read.raw.faces].mean(1).numpy()
    np.testing.assert_allclose(raw.face_attributes["heat"], expected[:, 0])
    np.testing.assert_allclose(raw.vertex_attributes["wind"], answers[:, 1])
    np.testing.assert_allclose(np.load(numbers), expected)


def test_answers_after_repairs_are_those_of_the_file(tmp_path):
    """A soup of two triangles that are merged, and a vertex of no face, which is dropped."""
    corners = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 9]]
    mended = Mended.of(raw_mesh(corners, [[0, 1, 2], [3, 4, 5]]), ("merge", "unreferenced"))
    read = Read(Sample("scan", Path("scan.ply")), mended.raw, {}, None, mended=mended)
    answers = answers_of(4)
    card = of(CLASSES, values_suffix=".txt")
    _, labels = write_points([read], [answers], [None], card, tmp_path, None)
    best = np.array([3, 7])[answers.argmax(1)]
    assert np.loadtxt(labels).tolist() == [*best[[0, 1, 2, 0, 2, 3]], -1]
    numbers = of(NUMBERS, values_suffix=".npy", per_face=True)
    _, file = write_points([read], [answers], [None], numbers, tmp_path, None)
    np.testing.assert_allclose(np.load(file), [answers[[0, 1, 2]].mean(0), answers[[0, 2, 3]].mean(0)])


def test_labels_that_are_a_property_have_no_file_of_their_own(tmp_path):
    (mesh,) = write_points([mesh_read()], [answers_of(60)], [None], CLASSES, tmp_path, None)
    assert mesh.name == "scan.answers.ply"


def test_fields_of_several_samples_come_back_in_one_file(tmp_path):
    np.save(tmp_path / "all.npy", np.zeros((3, 5)))
    np.savez(tmp_path / "all.npz", x=np.zeros((3, 5)))
    answers = [answers_of(5) + k for k in range(3)]
    card = of(NUMBERS, surfaces="one mesh")
    for name, suffix in ((None, ".npy"), ("x", ".npz")):
        reads = [field_read(tmp_path / f"all{suffix}", name, k) for k in range(3)]
        (file,) = write_points(reads, answers, [None] * 3, card, tmp_path, None)
        assert file.name == f"all.answers{suffix}"
        stored = np.load(file)
        found = stored if suffix == ".npy" else np.stack([stored["heat"], stored["wind"]], -1)
        np.testing.assert_allclose(found, torch.stack(answers))
    classes = of(CLASSES, surfaces="one mesh")
    reads = [field_read(tmp_path / "all.npy", None, k) for k in range(3)]
    (file,) = write_points(reads, answers, [None] * 3, classes, tmp_path, None)
    assert np.array_equal(np.load(file), np.array([3, 7])[torch.stack(answers).argmax(-1)])


def test_fields_in_files_of_their_own(tmp_path):
    card, answers = of(CLASSES, surfaces="one mesh"), answers_of(5)
    for name in ("a.txt", "lh.thickness", "b.npy", "c.csv"):
        if name == "lh.thickness":
            pytest.importorskip("nibabel")
        (file,) = write_points([field_read(tmp_path / name)], [answers], [None], card, tmp_path, None)
        stem, _, suffix = name.rpartition(".")
        assert file.name == f"{stem}.answers.{suffix}"
        found = next(iter(read_vertex_values(file).values.values())).ravel()
        assert np.array_equal(found, np.array([3, 7])[answers.argmax(1)])
    columns = [field_read(tmp_path / "d.csv", name) for name in ("first", "second")]
    (file,) = write_points(columns, [answers, 1 - answers], [None] * 2, card, tmp_path, None)
    assert list(read_vertex_values(file).values) == ["first", "second"]


@pytest.mark.parametrize("nested", [False, True])
def test_maps_in_fits(tmp_path, nested):
    pytest.importorskip("astropy")
    write_map_file(tmp_path / "m.fits", np.arange(48.0), nested=nested, coordinates="galactic")
    read, answers = field_read(tmp_path / "m.fits"), answers_of(48)
    card = of(CLASSES, surfaces="healpix", nside=2)
    (file,) = write_points([read], [answers], [answers / 2], card, tmp_path, None)
    found = read_map_file(file)
    assert file.name == "m.answers.fits" and found.coordinates == "galactic"
    assert found.header["ORDERING"] == ("NESTED" if nested else "RING")
    assert found.names == ("answer", "probability", "spread")
    assert np.array_equal(found.values[0], np.array([3, 7])[answers.argmax(1)])
    torch.testing.assert_close(found.values[1], answers.max(1).values, rtol=1e-6, atol=1e-6)
    numbers = of(NUMBERS, surfaces="healpix", nside=2, target=("été", "wind"))
    (file,) = write_points([read], [answers], [None], numbers, tmp_path, None)
    found = read_map_file(file)
    assert found.names == ("_t_", "wind")
    torch.testing.assert_close(found.values.double(), answers.T)


def test_maps_in_arrays_keep_the_order_that_was_said(tmp_path):
    card, answers = of(NUMBERS, surfaces="healpix", nside=2), answers_of(48)
    for nested in (False, True):
        (file,) = write_points([field_read(tmp_path / "m.npy")], [answers], [None], card, tmp_path, nested)
        found = torch.from_numpy(np.load(file))
        assert found.shape == (2, 48)  # a row per map
        assert torch.equal(reorder(found, to="ring") if nested else found, answers.T)
