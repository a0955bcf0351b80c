"""Files of a run are whole or refused, and what was written together is read together."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from geocnn.errors import CheckpointError
from geocnn.files import replacing
from geocnn.train.files import (
    file_checksum,
    load_model,
    load_weights,
    read_record,
    save_model,
    save_weights,
    write_record,
)

KIND = "a kind of model"


def build(description):
    return nn.Linear(description["n"], 2)


def saved(folder, seed=0, n=3):
    torch.manual_seed(seed)
    network = build({"n": n})
    save_model(network, {"format": KIND, "network": {"n": n}}, folder)
    return network


@pytest.fixture
def folder(tmp_path):
    saved(tmp_path)
    return tmp_path


def test_a_model_comes_back(tmp_path):
    network = saved(tmp_path)
    loaded, description = load_model(tmp_path, KIND, build)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), loaded.parameters(), strict=True))
    assert not loaded.training and description == {"format": KIND, "network": {"n": 3}}
    # as sha256sum prints it
    stored = json.loads((tmp_path / "model.json").read_text())["files"]
    assert stored == {"model.safetensors": file_checksum(tmp_path / "model.safetensors")}


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_no_bit_of_a_model_may_change(folder, name):
    content = (folder / name).read_bytes()
    layout = 0
    for at in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[at] ^= 1 << (at % 8)
        (folder / name).write_bytes(flipped)
        try:
            _, description = load_model(folder, KIND, build)
        except CheckpointError:
            continue
        # a space of the JSON's layout became another
        layout += 1
        assert name == "model.json" and description["network"] == {"n": 3}
    assert layout < 5


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"{", b"[" * 100_000, b"\xff\xfe", b"3"])
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_what_is_no_model_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        load_model(folder, KIND, build)


def test_a_description_of_something_else_is_refused(folder):
    for network in (None, [], {}, {"n": None}, {"n": "3"}, {"n": -1}, "x"):
        write_record({"format": KIND, "network": network}, folder / "model.json")
        with pytest.raises(CheckpointError):
            load_model(folder, KIND, build)


def test_a_kill_between_weights_and_description_leaves_no_mixture(folder, monkeypatch):
    replace = os.replace

    def killed(part, file):
        if str(file).endswith("model.json"):
            raise KeyboardInterrupt
        replace(part, file)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        saved(folder, seed=1)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged, or not the file"):
        load_model(folder, KIND, build)
    saved(folder, seed=1)
    load_model(folder, KIND, build)


def test_weights_alone_carry_a_checksum_and_foreign_ones_need_none(tmp_path):
    network, file = nn.Linear(3, 2), tmp_path / "best.safetensors"
    save_weights(network, file)
    load_weights(network, file)
    content = bytearray(file.read_bytes())
    content[-3] ^= 4
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        load_weights(network, file)
    save_file({name: tensor.clone() for name, tensor in network.state_dict().items()}, file)
    load_weights(network, file)


def test_a_checkpoint_with_a_flipped_bit_is_refused(tmp_path):
    network, file = nn.Linear(300, 2), tmp_path / "last.ckpt"
    torch.save({"state_dict": {f"network.{k}": v for k, v in network.state_dict().items()}}, file)
    load_weights(network, file)
    content = file.read_bytes()
    # amid the weights, where torch itself sees nothing wrong
    flipped = bytearray(content)
    flipped[content.index(network.weight.detach().numpy().tobytes()) + 1000] ^= 1
    file.write_bytes(flipped)
    torch.load(file, weights_only=True)
    with pytest.raises(CheckpointError, match="damaged"):
        load_weights(network, file)
    torch.save([1], file)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_weights(network, file)


def test_a_record_is_refused_without_a_file_it_names(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n")
    write_record({"steps": 3}, tmp_path / "record.json", [tmp_path / "table.csv"])
    assert read_record(tmp_path / "record.json") == {"steps": 3}
    (tmp_path / "table.csv").unlink()
    assert read_record(tmp_path / "record.json", check_files=False) == {"steps": 3}
    with pytest.raises(CheckpointError, match=r"table.csv is missing"):
        read_record(tmp_path / "record.json")


def test_a_file_that_was_not_written_to_its_end_keeps_its_old_content(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(file) as part:
        part.write_text("ne")
        raise KeyboardInterrupt
    assert file.read_text() == "old"


def test_a_full_disc_is_an_error_of_the_system(tmp_path, monkeypatch):
    """Whatever safetensors raises, callers and the command know OSError."""
    import safetensors.torch

    def refuse(*_):
        raise safetensors.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", refuse)
    with pytest.raises(OSError, match=r"w.safetensors cannot be written.*No space"):
        save_weights(torch.nn.Linear(1, 1), tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []
