"""A room imports only from the floors below it (ARCHITECTURE.md): mathematical order is import order."""

from __future__ import annotations

import ast
import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "geocnn"

FLOORS = {
    "safe": -1,
    "errors": -1,
    "files": -1,
    "lasting": -1,
    "console": -1,
    "groups": 0,
    "geometry": 1,
    "harmonics": 2,
    "ops": 2,
    "nn": 3,
    "equivariance": 4,
    "data": 4,
    "train": 5,
    "viz": 5,
    "doctor": 5,
    "cli": 6,
    "__main__": 7,
    "__init__": 7,
}

# The floors of the rooms inside `geometry`; its own files, like the cache, stand above all of them.
GEOMETRY = {"core": 0, "io": 1, "flat": 2, "spheres": 3, "doctor": 4, "meshes": 5, "loops": 6}

# Rooms that show results rather than make them; a function may call for them from their own floor or above.
SHOWN_ON_DEMAND = {"viz", "cli"}

# Optional or slow libraries, and the rooms that may import them at module level; others only in functions.
# data and train subclass what PyG and Lightning give, which no import inside a function allows.
HEAVY: dict[str, set[str]] = {
    "torch_geometric": {"data"},
    "lightning": {"train"},
    "typer": {"cli"},
    "rich": {"cli", "train"},
    "healpy": set(),
    "trimesh": set(),
    "nibabel": set(),
    "potpourri3d": set(),
    "matplotlib": set(),
    "pyvista": set(),
    "scipy": set(),
}


@dataclass(frozen=True)
class Import:
    """A module imported, or a name reached through `geocnn.`; lazy means inside a function."""

    module: str
    line: int
    lazy: bool
    typing_only: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """`geocnn.groups.planar` lies in `groups`; `geocnn` itself in `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    package = module if is_package else module.rpartition(".")[0]
    return _imports(ast.parse(source), package, lazy=False, typing_only=False)


def _imports(node: ast.AST, package: str, lazy: bool, typing_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, lazy, typing_only)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
        # `from geocnn import nn` imports geocnn.nn, so names count as modules in these packages
        for alias in node.names:
            name = f"{base}.{alias.name}" if base in ("geocnn", "torch", "torch.nn") else base
            yield Import(name, node.lineno, lazy, typing_only)
    elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
        if node.args and isinstance(node.args[0], ast.Constant):
            yield Import(str(node.args[0].value), node.lineno, lazy, typing_only)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "geocnn":
        yield Import(f"geocnn.{node.attr}", node.lineno, lazy, typing_only)
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for child in node.body:
            yield from _imports(child, package, lazy, True)
        for child in node.orelse:
            yield from _imports(child, package, lazy, typing_only)
        return
    lazy = lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, lazy, typing_only)


def is_modules(module: str) -> bool:
    """Whether it is torch.nn; torch.nn.functional is functions of tensors and no part of that."""
    return module.startswith("torch.nn") and not module.startswith("torch.nn.functional")


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def offences(source: str, module: str, is_package: bool = False) -> list[str]:
    """What the imports of a file break, one sentence each."""
    room = room_of(module)
    found = []
    for i in imports(source, module, is_package):
        top = i.module.split(".")[0]
        where = f"{module}, line {i.line}"
        if i.module in ("geocnn", "geocnn.__version__"):
            continue  # the package itself loads nothing
        if top == "geocnn":
            fault = _floor_fault(room, room_of(i.module), i.lazy) or _inner_fault(module, i)
            if fault:
                found.append(f"{where}: {fault}")
        elif top in HEAVY and not i.lazy and not i.typing_only and room not in HEAVY[top]:
            found.append(
                f"{where}: {top} is optional or slow to load; import it inside the function that needs it"
            )
        elif room == "groups" and is_modules(i.module):
            found.append(f"{where}: groups is mathematics of tensors and must not know torch.nn")
    return found


def _floor_fault(room: str, target: str, lazy: bool) -> str | None:
    if target not in FLOORS:
        return f"imports {target}, which is no room; import from the room, not through geocnn's lazy names"
    here, there = FLOORS[room], FLOORS[target]
    if target == room or there < here or (target in SHOWN_ON_DEMAND and lazy and there <= here):
        return None
    return f"{room} (floor {here}) imports {target} (floor {there}), which is not below it"


def _inner_fault(module: str, i: Import) -> str | None:
    """What an import from room to room inside `geometry` breaks; types may name what lies above."""
    if not (module.startswith("geocnn.geometry.") and i.module.startswith("geocnn.geometry")):
        return None
    here, there = (_inner_room(name) for name in (module, i.module))
    if here == there or i.typing_only or GEOMETRY.get(there, math.inf) < GEOMETRY.get(here, math.inf):
        return None
    return f"geometry.{here or 'its own files'} imports geometry.{there}, which is not below it"


def _inner_room(module: str) -> str:
    """`core` for geocnn.geometry.core.stencil; empty for what lies in no room."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[2] in GEOMETRY else ""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_name)
def test_a_file_imports_only_from_floors_below(path):
    found = offences(path.read_text(encoding="utf-8"), module_name(path), path.name == "__init__.py")
    assert not found, "\n".join(found)


def test_every_room_has_a_floor():
    rooms = {room_of(module_name(p)) for p in PACKAGE.rglob("*.py")}
    assert rooms <= set(FLOORS), f"rooms without a floor: {rooms - set(FLOORS)}"
    assert {"groups", "geometry", "nn"} <= rooms


def test_modules_and_public_names_differ():
    """`import geocnn.geometry.x` must never give a function in place of a module, or the other way round."""
    packages = [p.parent for p in PACKAGE.rglob("__init__.py")]
    public = {
        name
        for package in packages
        for name in getattr(importlib.import_module(module_name(package / "__init__.py")), "__all__", [])
    }
    modules = {p.stem for p in PACKAGE.rglob("*.py")} | {package.name for package in packages}
    assert not public & modules


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("geocnn.geometry.core.surface", "from geocnn.geometry.meshes.trace import trace"),
        ("geocnn.geometry.core.surface", "def f():\n    from geocnn.geometry.meshes.trace import trace"),
        ("geocnn.geometry.doctor.verdict", "from geocnn.geometry.diagnosis import diagnose"),
        ("geocnn.geometry.loops.paths", "from geocnn.geometry import mesh"),
        ("geocnn.groups.planar", "from geocnn.geometry import healpix"),
        ("geocnn.groups.planar", "import geocnn.nn.gauge_conv"),
        ("geocnn.groups.planar", "from geocnn import ops"),
        ("geocnn.groups.planar", "from geocnn import FieldType"),
        ("geocnn.groups.planar", "import geocnn\nt = geocnn.FieldType('1x0')"),
        ("geocnn.groups.planar", "import geocnn\ndef f():\n    return geocnn.nn.GaugeConv"),
        ("geocnn.groups.planar", "from ..geometry import healpix"),
        ("geocnn.groups.planar", "from .. import geometry"),
        ("geocnn.groups.planar", "def f():\n    from geocnn.nn import GaugeConv"),
        ("geocnn.groups.planar", "def f():\n    from geocnn.viz import show"),
        ("geocnn.groups.planar", "from importlib import import_module\nimport_module('geocnn.nn')"),
        ("geocnn.groups.planar", "import torch.nn as nn"),
        ("geocnn.groups.planar", "from torch import Tensor, nn"),
        ("geocnn.groups.planar", "from torch.nn import functional, Module"),
        ("geocnn.groups.planar", "def f():\n    import torch.nn"),
        ("geocnn.safe", "from geocnn.groups import FieldType"),
        ("geocnn.errors", "from geocnn.safe import norm"),
        ("geocnn.ops.gather", "from geocnn.harmonics import sht"),
        ("geocnn.data.maps", "from geocnn.equivariance import report"),
        ("geocnn.train.loop", "from geocnn.viz import show"),
        ("geocnn.train.loop", "from geocnn.cli import main"),
        ("geocnn.train.loop", "def f():\n    from geocnn.cli import main"),
        (
            "geocnn.nn.pool",
            "if True:\n    try:\n        import scipy.sparse\n    except ImportError:\n        pass",
        ),
        ("geocnn.nn.pool", "class A:\n    import healpy"),
        ("geocnn.nn.pool", "from torch_geometric.data import Data"),
        ("geocnn.nn.pool", "import lightning.pytorch as pl"),
        ("geocnn.viz", "import matplotlib.pyplot as plt"),
        ("geocnn.viz", "if not TYPE_CHECKING:\n    import pyvista"),
        ("geocnn.equivariance", "import typer"),
        ("geocnn.data.store", "from rich.progress import track"),
    ],
)
def test_the_checker_finds_a_planted_offence(module, source):
    assert len(offences(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "geocnn.groups.planar",
            "import torch\nfrom torch import Tensor\nfrom geocnn.errors import GroupError",
        ),
        (
            "geocnn.groups.planar",
            "from geocnn.safe import norm\nfrom . import field_type\nfrom .rotations import x",
        ),
        (
            "geocnn.geometry.meshes.surface",
            "from geocnn.groups import SO2\nfrom geocnn.geometry.core.surface import Surface",
        ),
        ("geocnn.geometry.meshes.surface", "def load(path):\n    import trimesh"),
        (
            "geocnn.nn.models",
            "import torch.nn\nfrom geocnn.ops.gather import gather\nfrom geocnn import safe",
        ),
        ("geocnn.nn.models", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import scipy"),
        ("geocnn.train.loop", "def f():\n    from geocnn.viz import show"),
        ("geocnn.train.module", "import lightning\nimport rich\nfrom geocnn import __version__"),
        ("geocnn.data.maps", "from torch_geometric.data import Data"),
        ("geocnn.train.loop", "def f():\n    import geocnn\n    return geocnn.__version__"),
        ("geocnn.groups.wigner", "import torch.nn.functional as F"),
        ("geocnn.cli", "import typer, rich\nfrom geocnn.train import run"),
        ("geocnn.__main__", "from geocnn.cli import main"),
    ],
)
def test_the_checker_lets_good_imports_pass(module, source):
    assert offences(source, module) == []
