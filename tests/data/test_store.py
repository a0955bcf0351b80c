"""Data files are handed out only when they are what dataset.toml says."""

import gzip
import hashlib
import shutil
import subprocess
import sys

import pytest
import torch

from geocnn.data import store
from geocnn.data.store import dataset_file, datasets_folder, describe, read_idx
from geocnn.errors import DatasetError

LABELS = "t10k-labels-idx1-ubyte.gz"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A data folder of our own with the small files of MNIST."""
    (tmp_path / "mnist").mkdir()
    for name in ("dataset.toml", LABELS):
        shutil.copy(datasets_folder() / "mnist" / name, tmp_path / "mnist" / name)
    monkeypatch.setenv("GEOCNN_DATASETS", str(tmp_path))
    return tmp_path / "mnist"


@pytest.mark.parametrize(
    "folder", sorted(path.parent.name for path in datasets_folder().glob("*/dataset.toml"))
)
def test_every_listed_file_is_there_and_every_card_is_complete(folder):
    card = describe(folder)
    assert {"name", "source", "licence", "citation", "description", "files"} <= card.keys()
    assert card["name"] == folder
    for entry in card["files"]:
        assert dataset_file(folder, entry["path"]).stat().st_size == entry["size"]


def test_the_unpacked_labels_are_the_original_ones():
    (entry,) = (entry for entry in describe("mnist")["files"] if entry["path"] == LABELS)
    with gzip.open(dataset_file("mnist", LABELS)) as stream:
        assert hashlib.md5(stream.read()).hexdigest() == entry["md5_unpacked"]


def test_a_changed_file_is_refused(copy):
    content = bytearray((copy / LABELS).read_bytes())
    content[100] ^= 1
    (copy / LABELS).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{LABELS}.*SHA-256.*restore"):
        dataset_file("mnist", LABELS)


def test_missing_things_are_named(copy, monkeypatch):
    (copy / LABELS).unlink()
    with pytest.raises(DatasetError, match=rf"{LABELS} is missing.*git checkout"):
        dataset_file("mnist", LABELS)
    with pytest.raises(DatasetError, match=r"'faces'.*mnist"):
        describe("faces")
    with pytest.raises(DatasetError, match=r"'x\.gz' is not a file"):
        dataset_file("mnist", "x.gz")
    monkeypatch.setenv("GEOCNN_DATASETS", str(copy / "nowhere"))
    with pytest.raises(DatasetError, match="let GEOCNN_DATASETS name a folder"):
        describe("mnist")


@pytest.fixture
def installed(copy, monkeypatch):
    """The package as a wheel installs it: beside it lies a folder `datasets` of another package."""
    monkeypatch.delenv("GEOCNN_DATASETS")
    foreign = copy.parent / "site-packages" / "datasets"
    (foreign / "features").mkdir(parents=True)
    monkeypatch.setattr(store, "INSTALLED", copy.parent)
    monkeypatch.setattr(store, "CHECKOUT", foreign)
    return copy


def test_an_installed_package_has_its_data_inside(installed, monkeypatch):
    assert dataset_file("mnist", LABELS) == installed / LABELS
    (installed / LABELS).unlink()
    with pytest.raises(DatasetError, match=rf"{LABELS} is missing.*pip install --force-reinstall"):
        dataset_file("mnist", LABELS)
    monkeypatch.setattr(store, "INSTALLED", installed / "nowhere")
    with pytest.raises(DatasetError, match=r"no data sets in .*site-packages"):
        datasets_folder()


def test_a_wheel_carries_what_the_cards_list(tmp_path):
    """Built as `pip wheel` builds it, without the isolation that needs a network."""
    pytest.importorskip("setuptools")
    root = datasets_folder().parent
    for name in ("datasets", "geocnn"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path)
    (tmp_path / "datasets" / "meshes" / "draft.ply").write_text("listed by no card")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "-b", "built"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    built = tmp_path / "built" / "lib" / "geocnn" / "_datasets"
    found = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    cards = [path.parent.name for path in (root / "datasets").glob("*/dataset.toml")]
    listed = {f"{name}/{entry['path']}" for name in cards for entry in describe(name)["files"]}
    assert found >= listed | {f"{name}/{file}" for name in cards for file in ("dataset.toml", "LICENSE")}
    assert all(path in listed or path.split("/")[1].startswith(("dataset", "make")) for path in found)


def test_a_broken_card_is_refused(copy):
    (copy / "dataset.toml").write_text("name = ")
    with pytest.raises(DatasetError, match="not valid TOML"):
        describe("mnist")


def test_idx_files_are_read_in_their_shape(tmp_path):
    file = tmp_path / "a.gz"
    values = torch.arange(6, dtype=torch.uint8)
    file.write_bytes(
        gzip.compress(b"\x00\x00\x08\x02\x00\x00\x00\x02\x00\x00\x00\x03" + bytes(values.tolist()))
    )
    assert torch.equal(read_idx(file), values.reshape(2, 3))
    file.write_bytes(gzip.compress(b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00"))
    with pytest.raises(DatasetError, match="not a gzipped idx file"):
        read_idx(file)
