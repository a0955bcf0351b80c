"""Importing geocnn is cheap, and its lazy names resolve."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import geocnn

ROOT = Path(__file__).resolve().parents[1]


OPTIONAL = {
    *("torch_geometric", "lightning", "healpy", "trimesh", "potpourri3d", "matplotlib", "pyvista", "scipy"),
    *("nibabel", "lxml", "collada", "typer", "rich", "pooch", "numba"),
}


def newly_loaded(before: str, statements: str) -> set[str]:
    """Top-level modules that the statements load in a fresh interpreter, beyond those `before` has loaded."""
    code = f"import sys\n{before}\nold = set(sys.modules)\n{statements}\nprint(*set(sys.modules) - old)"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    return {name.split(".")[0] for name in run.stdout.split()}


def test_import_geocnn_alone_does_not_even_load_torch():
    assert newly_loaded("", "import geocnn").isdisjoint({"torch", "numpy", *OPTIONAL})


def test_geometry_and_layers_load_no_optional_library():
    loaded = newly_loaded("import torch", "import geocnn, geocnn.groups, geocnn.geometry, geocnn.nn")
    assert "geocnn" in loaded
    assert loaded.isdisjoint(OPTIONAL)


@pytest.mark.parametrize("name", geocnn.__all__)
def test_a_lazy_name_resolves(name):
    value = getattr(geocnn, name)
    assert value.__name__ == name
    assert value.__module__.startswith("geocnn.")
    assert name in dir(geocnn)


def test_an_unknown_name_is_refused_as_an_attribute():
    with pytest.raises(AttributeError, match="'GuageConv'"):
        geocnn.GuageConv  # noqa: B018
    assert not hasattr(geocnn, "__path_of_nothing__")


def test_type_checkers_see_the_names_users_get():
    tree = ast.parse((ROOT / "geocnn" / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {a.name: i.module for i in guarded.body if isinstance(i, ast.ImportFrom) for a in i.names}
    assert sorted(seen) == sorted(geocnn.__all__)
    for name, module in seen.items():
        assert getattr(geocnn, name) is getattr(import_module(module), name)


def test_the_version_is_the_packages():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert geocnn.__version__ == settings["project"]["version"]


def test_ci_runs_the_second_command_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"```sh\n(python3 -m venv .*?)\n```", readme, re.DOTALL)
    assert commands[1].endswith(".venv/bin/pytest -n auto --dist worksteal")
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()
