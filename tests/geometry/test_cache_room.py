"""The cache keeps within its limit: what was unused for longest goes first, and nothing that is in use."""

import errno
import os
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

import geocnn.geometry as geometry
from geocnn.errors import GeometryError
from geocnn.geometry import cache, cache_room
from geocnn.geometry.cache import cache_entries, cached_features, clear_cache
from geocnn.geometry.cache_room import MOST_BYTES, cache_limit
from geocnn.geometry.spheres.icosahedron import Icosahedron


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def egg(k):
    ball = Icosahedron(1)
    return geometry.mesh(ball.points * torch.tensor([1.0, 1.2, 1.5 + 0.1 * k]), ball.faces[-1])


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def kept(folder, k):
    """The file of the features of egg k, computed now."""
    before = files(folder)
    cached_features(egg(k))
    (new,) = files(folder) - before
    return new


def aged(file, seconds):
    os.utime(file, (time.time() - seconds,) * 2)
    return file


def limited(monkeypatch, n_bytes):
    monkeypatch.setenv("GEOCNN_CACHE_BYTES", str(n_bytes))
    # as a process that starts now
    cache_room._known.clear()


def test_what_was_unused_for_longest_is_removed_first(folder, monkeypatch):
    a, b, c = (aged(kept(folder, k), 1000 - 100 * k) for k in range(3))
    size = a.stat().st_size
    cached_features(egg(0))  # a read is a use
    assert time.time() - a.stat().st_mtime < 10
    aged(a, 500)
    limited(monkeypatch, 5 * size // 2)
    d = kept(folder, 3)
    assert files(folder) == {a, d} and not b.exists() and not c.exists()


def test_what_is_in_use_stays_though_the_limit_is_passed(folder, monkeypatch):
    first = kept(folder, 0)
    writing = first.with_name(f"{first.name[:64]}.{'0' * 32}.new")
    writing.write_bytes(bytes(100))
    foreign = folder / "00" / "notes.txt"
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(bytes(10**5))
    aged(foreign, 10**6)
    limited(monkeypatch, first.stat().st_size)
    second = kept(folder, 1)
    assert files(folder) == {first, second, writing, foreign}
    aged(first, 100), aged(writing, 2 * cache.PATIENCE)
    cache_room._known.clear()
    third = kept(folder, 2)
    assert files(folder) == {second, third, foreign}


def test_the_files_of_other_processes_count(folder, monkeypatch):
    """This process counts again after it has written a fiftieth of the limit."""
    size = kept(folder, 0).stat().st_size
    limited(monkeypatch, 10 * size)
    kept(folder, 1)
    for k in range(12):  # written by others
        file = folder / "00" / f"{k:064x}-{'0' * 16}.{'0' * 16}.safetensors"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(size))
        aged(file, 1000 + k)
    kept(folder, 2)
    assert sum(path.stat().st_size for path in files(folder)) <= 10 * size
    assert {entry.state for entry in cache_entries()} >= {"whole"}
    assert len([entry for entry in cache_entries() if entry.state == "whole"]) == 3


@pytest.mark.parametrize("limit", [0, 100])
def test_what_alone_is_more_than_the_limit_is_not_kept(folder, monkeypatch, limit):
    limited(monkeypatch, limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, _ = cached_features(egg(0))
    assert x.shape == (42, 23) and files(folder) == set()


def test_a_full_disc_is_a_warning_and_the_result_is_returned(folder, monkeypatch):
    expected, _ = cached_features(egg(0))
    clear_cache()

    def refused(self, *args, **options):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.warns(UserWarning, match="not kept: .*No space left"):
        x, _ = cached_features(egg(0))
    assert torch.equal(x, expected)
    monkeypatch.undo()
    monkeypatch.setenv("GEOCNN_CACHE", str(folder))
    monkeypatch.setattr(cache, "_save_field", lambda value, path: refused(path))
    with pytest.warns(UserWarning, match="GEOCNN_CACHE"):
        x, _ = cached_features(egg(0))
    assert torch.equal(x, expected) and files(folder) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is needed")
def test_a_disc_that_is_really_full_is_recognised(folder, monkeypatch):
    def save(value, path):
        with open("/dev/full", "wb") as stream:
            stream.write(bytes(10**6))

    monkeypatch.setattr(cache, "_save_field", save)
    with pytest.warns(UserWarning, match="No space left"):
        cached_features(egg(0))


def test_several_processes_share_the_room(folder, monkeypatch):
    """Each keeps writing and reading while files of all are removed; none fails and none is read in part."""
    size = kept(folder, 0).stat().st_size
    code = (
        "import sys, torch; from geocnn.geometry import cache_room; cache_room.IN_USE = 0.05\n"
        "from tests.geometry.test_cache_room import egg\n"
        "from geocnn.geometry.cache import cached_features\n"
        "from geocnn.geometry.meshes.descriptors import shape_features\n"
        "for k in [*range(int(sys.argv[1]), 24, 2), *range(12)]:\n"
        "    assert torch.equal(cached_features(egg(k))[0], shape_features(egg(k))[0])\n"
    )
    environment = os.environ | {"GEOCNN_CACHE_BYTES": str(6 * size), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    running = [
        subprocess.Popen([sys.executable, "-W", "error::UserWarning", "-c", code, str(k)], env=environment)
        for k in range(2)
    ]
    assert [one.wait(120) for one in running] == [0, 0]
    # files of the last moments stay
    assert len(files(folder)) < 20


def test_the_limit_is_the_users_or_follows_the_disc(monkeypatch, tmp_path):
    monkeypatch.delenv("GEOCNN_CACHE_BYTES", raising=False)
    usage = type("Usage", (), {"total": 50_000_000_000})
    monkeypatch.setattr(cache_room.shutil, "disk_usage", lambda path: usage)
    assert cache_limit(tmp_path / "not" / "yet") == 5_000_000_000
    usage.total = 10**13
    assert cache_limit(tmp_path) == MOST_BYTES
    for wrong in ("10 GB", "-1", "1e9"):
        monkeypatch.setenv("GEOCNN_CACHE_BYTES", wrong)
        with pytest.raises(GeometryError, match=re.escape(repr(wrong))):
            cache_limit(tmp_path)
