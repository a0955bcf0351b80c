"""A fingerprint changes with the code it stands for, and with nothing else."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

import geocnn
from geocnn.geometry import fingerprint as module
from geocnn.geometry.fingerprint import dependencies, fingerprint

SOURCES = {
    "__init__.py": "",
    "a.py": '"""A."""\nimport numpy\nfrom made_up import b\n\ndef f(x):\n    return b.g(x)\n',
    "b.py": "import os\n\ndef g(x):\n    from .c import h\n    return h(x)\n",
    "c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made_up import d\n\nh = abs\n",
    "d.py": "unrelated = 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package on disk, and a way to see its fingerprint after one of its files is changed."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "made_up"
    folder.mkdir()
    for name, text in SOURCES.items():
        (folder / name).write_text(text)

    def after(file, old, new):
        (folder / file).write_text((folder / file).read_text().replace(old, new))
        for name in [name for name in sys.modules if name.partition(".")[0] == "made_up"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        fingerprint.cache_clear()
        return fingerprint("made_up.a")

    yield after
    fingerprint.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("a.py", "b.g(x)", "b.g(x) + 1"),
        ("b.py", "return h(x)", "return h(x + 1)"),
        ("c.py", "abs", "round"),
        ("a.py", "numpy", "torch"),
    ],
)
def test_changed_code_changes_it(package, file, old, new):
    assert package(file, "", "") != package(file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("a.py", '"""A."""', '"""The first module."""  # and a remark'),
        ("b.py", "def g(x):", "def g(x):\n    '''h of x.'''\n"),
        ("d.py", "1", "2"),
    ],
)
def test_words_and_code_that_is_not_imported_do_not(package, file, old, new):
    assert package(file, "", "") == package(file, old, new)


def test_a_new_version_of_a_library_changes_it(package, monkeypatch):
    before = package("a.py", "", "")
    monkeypatch.setattr(module, "version", lambda name: "0.0")
    assert package("a.py", "", "") != before


def test_that_of_the_cache_covers_all_that_computes():
    """Every module that a hierarchy or a shape feature is computed in, found without a list of them."""
    sources, libraries = dependencies("geocnn.geometry.cache")
    geometry = (
        "meshes.surface meshes.one_sided meshes.unfold meshes.trace meshes.levels meshes.triangulation "
        "core.stencil core.hierarchy meshes.descriptors core.surface core.half_edges core.sampling"
    )
    assert {f"geocnn.geometry.{name}" for name in geometry.split()} <= set(sources)
    assert {"geocnn.groups.planar", "geocnn.safe"} <= set(sources)
    assert {"torch", "numpy", "scipy"} <= libraries


def test_a_copy_of_the_package_with_one_number_changed_has_another(tmp_path, monkeypatch):
    """As an upgrade does it: the same files elsewhere, one line of the unfolding changed."""
    root = Path(geocnn.__file__).parent
    copy = tmp_path / "copied"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(tmp_path)
    for file in copy.rglob("*.py"):
        file.write_text(file.read_text().replace("from geocnn", "from copied"))
    whole, _ = dependencies("copied.geometry.cache")
    assert {name.partition(".")[2] for name in whole} == {
        name.partition(".")[2] for name in dependencies("geocnn.geometry.cache")[0]
    }
    unfolding = copy / "geometry" / "meshes" / "unfold.py"
    unfolding.write_text(unfolding.read_text() + "\nLIMIT = 1\n")
    changed, _ = dependencies("copied.geometry.cache")
    assert {name for name in whole if whole[name] != changed[name]} == {"copied.geometry.meshes.unfold"}
