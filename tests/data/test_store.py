"""Data files are handed out only when they are what dataset.toml says."""

import gzip
import hashlib
import shutil

import pytest
import torch

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
    with pytest.raises(DatasetError, match="clone it and set GEOCNN_DATASETS"):
        describe("mnist")


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
    with pytest.raises(DatasetError, match="not an idx file"):
        read_idx(file)
