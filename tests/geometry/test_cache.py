"""What the cache hands out is what would be computed; a file that is not whole is never used."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import geocnn.geometry as geometry
from geocnn.errors import GeometryError
from geocnn.geometry import cache
from geocnn.geometry.cache import (
    cache_entries,
    cache_folder,
    cached_features,
    cached_hierarchy,
    clear_cache,
    is_cached,
)
from geocnn.geometry.meshes.descriptors import shape_features
from geocnn.geometry.spheres.icosahedron import Icosahedron

OPTIONS = {"levels": 2, "radius": 0.5, "kind": "log"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def egg():
    ball = Icosahedron(2)
    return geometry.mesh(ball.points * torch.tensor([1.0, 1.2, 1.5]), ball.faces[-1])


@pytest.fixture
def counted(monkeypatch):
    """How often a hierarchy was really computed."""
    calls = []
    compute = geometry.Mesh.hierarchy

    def hierarchy(self, levels=3, radius=None, kind="exp", samples=None, boundary="zero"):
        calls.append(levels)
        return compute(self, levels, radius, kind, samples, boundary)

    monkeypatch.setattr(geometry.Mesh, "hierarchy", hierarchy)
    return calls


def tensors(hierarchy):
    stencils = [*hierarchy.stencils, *hierarchy.down, *hierarchy.up]
    return [*(t for s in stencils for t in s.tensors().values()), *hierarchy.areas, *hierarchy.ptr]


def assert_same(a, b):
    for one, other in zip(tensors(a), tensors(b), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)
    for one, other in zip([*a.stencils, *a.down, *a.up], [*b.stencils, *b.down, *b.up], strict=True):
        assert one.metadata() == other.metadata()


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_second_time_it_is_read_and_the_same_bit_for_bit(folder, egg, counted):
    first = cached_hierarchy(egg, **OPTIONS)
    second = cached_hierarchy(egg, **OPTIONS)
    assert counted == [2] and len(files(folder)) == 1
    assert_same(first, second)
    assert_same(first, egg.hierarchy(**OPTIONS))


def test_features_are_kept_with_their_type(folder, egg):
    assert not is_cached(egg, **OPTIONS)
    x, kind = shape_features(egg)
    for _ in range(2):
        found, found_kind = cached_features(egg)
        assert torch.equal(found, x) and found_kind == kind
    assert not is_cached(egg, **OPTIONS)
    cached_hierarchy(egg, **OPTIONS)
    assert is_cached(egg, **OPTIONS)


def test_whatever_determines_the_answer_is_in_the_key(folder, egg, counted, monkeypatch):
    cached_hierarchy(egg, **OPTIONS)
    moved = egg.points.clone()
    moved[7, 2] += 1e-12
    others = [
        geometry.mesh(moved, egg.faces),
        geometry.mesh(egg.points, egg.faces.roll(1, 0)),
        geometry.mesh(egg.points, egg.faces.roll(1, 1)),
        egg.turn_frames(torch.full((egg.n_points,), 1e-3)),
        egg.turn_frames(torch.zeros(egg.n_points), torch.ones(egg.n_points, dtype=torch.bool)),
        egg.coarser(),
    ]
    for other in others:
        assert_same(cached_hierarchy(other, **OPTIONS), other.hierarchy(**OPTIONS))
    for change in ({"levels": 1}, {"radius": 0.6}, {"kind": "exp"}, {"boundary": "normalise"}):
        cached_hierarchy(egg, **OPTIONS | change)
    monkeypatch.setattr(cache, "fingerprint", lambda module: "0" * 16)
    cached_hierarchy(egg, **OPTIONS)
    assert len(files(folder)) == 1 + len(others) + 4 + 1
    assert len([entry for entry in cache_entries() if entry.state == "stale"]) == 1 + len(others) + 4


@pytest.mark.parametrize("number", [np.float32, np.float64, torch.tensor, np.array])
def test_numbers_of_other_kinds_are_the_same_request(folder, egg, counted, number):
    """A radius that `hierarchy` takes, the cache takes."""
    radius = number(0.5)
    found = cached_hierarchy(egg, **OPTIONS | {"radius": radius, "levels": np.int64(2)})
    assert_same(found, cached_hierarchy(egg, **OPTIONS))
    assert counted == [2]


def test_threads_that_compute_the_same_at_once_do_not_meet(folder, egg):
    with ThreadPoolExecutor(4) as pool:
        hierarchies = list(pool.map(lambda _: cached_hierarchy(egg, **OPTIONS), range(8)))
    for each in hierarchies[1:]:
        assert_same(each, hierarchies[0])
    assert [entry.state for entry in cache_entries()] == ["whole"]


def test_a_file_that_another_process_removes_meanwhile_is_computed_again(folder, egg, counted, monkeypatch):
    cached_hierarchy(egg, **OPTIONS)
    (file,) = files(folder)
    found = cache._files

    def removed(key):
        paths = found(key)
        file.unlink(missing_ok=True)
        return paths

    monkeypatch.setattr(cache, "_files", removed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached_hierarchy(egg, **OPTIONS)
    assert len(counted) == 2


def test_only_meshes_are_kept(folder):
    with pytest.raises(GeometryError, match="meshes, got a Sphere"):
        cached_hierarchy(geometry.healpix(2), levels=1)


def test_defaults_spelt_out_are_the_same_request(folder, egg, counted):
    cached_hierarchy(egg, **OPTIONS)
    cached_hierarchy(egg, **OPTIONS, samples=None, boundary="zero")
    assert len(counted) == 1


@pytest.mark.parametrize("damage", ["cut off", "empty", "one bit", "zeros at the end", "longer"])
def test_a_damaged_file_is_computed_again_and_said(folder, egg, counted, damage):
    whole = cached_hierarchy(egg, **OPTIONS)
    (file,) = files(folder)
    content = bytearray(file.read_bytes())
    if damage == "one bit":
        # within the numbers, where no parser would notice
        content[-100] ^= 1
    changed = {
        "cut off": content[: len(content) // 2],
        "empty": b"",
        "one bit": content,
        "zeros at the end": content[:-500] + bytes(500),
        "longer": content + b"x",
    }
    file.write_bytes(changed[damage])
    with pytest.warns(UserWarning, match="damaged"):
        assert_same(cached_hierarchy(egg, **OPTIONS), whole)
    assert len(counted) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(cached_hierarchy(egg, **OPTIONS), whole)
    assert len(counted) == 2


def test_a_computation_that_ends_early_leaves_no_file(folder, egg, monkeypatch):
    class Killed(Exception):
        pass

    def half(self, path):
        path.write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(geometry.Hierarchy, "save", half)
        cached_hierarchy(egg, **OPTIONS)
    assert files(folder) == [] and not is_cached(egg, **OPTIONS)


def test_the_folder_is_the_users_choice_or_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("GEOCNN_CACHE")
    monkeypatch.setattr(cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "geocnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "geocnn"


def test_a_folder_that_cannot_be_written_is_an_error(egg, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "file"))
    with pytest.raises(GeometryError, match="GEOCNN_CACHE"):
        cached_hierarchy(egg, **OPTIONS)


# Inspected and cleared


def states(folder):
    return {str(entry.path.relative_to(folder)): entry.state for entry in cache_entries()}


def test_what_lies_in_the_folder_is_told_apart(folder, egg):
    assert cache_entries() == [] and clear_cache() == []
    cached_hierarchy(egg, **OPTIONS)
    cached_features(egg)
    whole, cut = sorted(files(folder))
    cut.write_bytes(cut.read_bytes()[:-1])
    key = whole.name[:64]
    part = whole.parent
    stale = part / f"{whole.name[:81]}.{'0' * 16}.safetensors"
    older, oldest = part / f"{whole.name[:81]}.1.safetensors", part / f"{key}-{'0' * 16}.safetensors"
    writing, lost = part / f"{key}.12.new", part / f"{key}.0a1b.new.12.partial"
    foreign = [
        folder / "notes.txt",
        part / "x.safetensors",
        folder / "zz" / "a.new",
        folder / "00" / lost.name,
    ]
    for file in (stale, older, oldest, writing, lost, *foreign):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"123")
    os.utime(lost, (0, 0))
    known = {
        whole: "whole",
        cut: "damaged",
        stale: "stale",
        older: "stale",
        oldest: "stale",
        writing: "being written",
    }
    known |= {lost: "unfinished", folder / "zz": "foreign"}
    known |= {file: "foreign" for file in foreign if file.parent.name != "zz"}
    assert states(folder) == {str(file.relative_to(folder)): state for file, state in known.items()}
    assert sum(entry.size for entry in cache_entries() if entry.state == "stale") == 9
    assert {entry.path for entry in clear_cache()} == {whole, cut, stale, older, oldest, lost}
    assert sorted(files(folder)) == sorted([writing, *foreign])


def test_only_whole_entries_are_read(folder, egg, counted, monkeypatch):
    """A file of other code or of an older kind has the right key and digest, and is not opened."""
    cached_hierarchy(egg, **OPTIONS)
    (file,) = files(folder)
    code = file.name[81:98]
    for ending in (f".{'0' * 16}.safetensors", ".safetensors", ".1.safetensors", f"{code}.safetensors.new"):
        moved = file.with_name(file.name[:81] + ending)
        os.replace(file, moved)
        cached_hierarchy(egg, **OPTIONS)
        moved.unlink()
    assert len(counted) == 5


def test_a_link_in_the_cache_is_not_followed(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{'a' * 64}-{'0' * 16}.safetensors").write_bytes(b"mine")
    folder.mkdir()
    (folder / "aa").symlink_to(outside)
    assert states(folder) == {"aa": "foreign"} and clear_cache() == [] and files(outside)
