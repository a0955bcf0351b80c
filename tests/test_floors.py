"""How the package is built: a room imports only from the floors below it (ARCHITECTURE.md), so mathematical
order is import order; no modules import one another in a circle; files are short; nothing is written twice.
"""

from __future__ import annotations

import importlib
import math

import pytest

from tests.structure import (
    PACKAGE,
    Import,
    circle,
    defined_twice,
    imports,
    module_name,
    needed,
    room_of,
    sources,
    written_twice,
)

FLOORS = {
    "safe": -1,
    "errors": -1,
    "files": -1,
    "lasting": -1,
    "console": -1,
    "wording": -1,
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
    "looking": 6,
    "cli": 7,
    "__main__": 8,
    "__init__": 8,
}

# The floors of the rooms inside `geometry`; its own files, like the cache, stand above all of them.
GEOMETRY = {"core": 0, "io": 1, "flat": 2, "spheres": 3, "doctor": 4, "meshes": 5, "loops": 6}

# Rooms that show results rather than make them; a function may call for them from their own floor or above.
SHOWN_ON_DEMAND = {"viz", "cli"}

# Optional or slow libraries, and the rooms that may import them at module level; others only in functions.
# data and train subclass what PyG, Lightning and typer give, which no import inside a function allows.
HEAVY: dict[str, set[str]] = {
    "torch_geometric": {"data"},
    "lightning": {"train"},
    "typer": {"cli", "train"},
    "rich": {"cli", "train"},
    "healpy": set(),
    "trimesh": set(),
    "nibabel": set(),
    "potpourri3d": set(),
    "matplotlib": set(),
    "pyvista": set(),
    "scipy": set(),
}


MOST_LINES = 400
"""Of a file; what is longer holds more than one concept."""

LONG_FILES: dict[str, str] = {}
"""Paths of files that may be longer, each with its reason."""

DOORS = {
    ("geocnn.nn.gauge_conv", "geocnn.nn.twins"): "GaugeConv.to_harmonic is a method that opens the function",
    (
        "geocnn.nn.so3_correlation",
        "geocnn.nn.twins",
    ): "SO3Correlation.to_local does likewise",
}
"""Imports inside functions that may close a circle, each with its reason."""

WINDOW = 6
"""So many equal lines one after another count as one thing written twice."""

TWICE: dict[tuple[str, str], str] = {}
"""Pairs of files that may share more lines, each with its reason."""


def is_modules(module: str) -> bool:
    """Whether it is torch.nn; torch.nn.functional is functions of tensors and no part of that."""
    return module.startswith("torch.nn") and not module.startswith("torch.nn.functional")


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
            fault = _floor_fault(room, room_of(i.module), i.lazy or i.typing_only) or _inner_fault(module, i)
            if fault:
                found.append(f"{where}: {fault}")
        elif top in HEAVY and not i.lazy and not i.typing_only and room not in HEAVY[top]:
            found.append(
                f"{where}: {top} is optional or slow to load; import it inside the function that needs it"
            )
        elif room == "groups" and is_modules(i.module):
            found.append(f"{where}: groups is mathematics of tensors and must not know torch.nn")
    return found


def _floor_fault(room: str, target: str, on_demand: bool) -> str | None:
    """What an import of a room breaks; types may be named of what a function calls for."""
    if target not in FLOORS:
        return f"imports {target}, which is no room; import from the room, not through geocnn's lazy names"
    here, there = FLOORS[room], FLOORS[target]
    if target == room or there < here or (target in SHOWN_ON_DEMAND and on_demand and there <= here):
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


def test_no_modules_import_one_another_in_a_circle():
    files = sources()
    packages = [module for module, path in files.items() if path.name == "__init__.py"]
    found = circle(
        needed({m: path.read_text(encoding="utf-8") for m, path in files.items()}, packages, DOORS)
    )
    assert not found, f"these import one another at run time: {', '.join(found)}"


def test_a_planted_circle_is_found():
    texts = {
        "geocnn.ops.a": "from geocnn.ops.b import x",
        "geocnn.ops.b": "def f():\n    from geocnn.ops.c import y",
        "geocnn.ops.c": "import geocnn.ops.a",
        "geocnn.ops.d": "from geocnn.ops.a import z",
        "geocnn.ops.e": "if TYPE_CHECKING:\n    from geocnn.ops.d import z",
    }
    three = ["geocnn.ops.a", "geocnn.ops.b", "geocnn.ops.c"]
    assert circle(needed(texts, (), ())) == three
    assert circle(needed(texts | {"geocnn.ops.c": "from geocnn.ops import a"}, (), ())) == three
    assert circle(needed(texts, (), {("geocnn.ops.b", "geocnn.ops.c")})) == []
    assert (
        circle(needed(texts | {"geocnn.ops.c": "if TYPE_CHECKING:\n    import geocnn.ops.a"}, (), ())) == []
    )


@pytest.mark.parametrize("folder", ["geocnn", "tests"])
def test_no_file_is_long(folder):
    root = PACKAGE.parent
    paths = [path.relative_to(root).as_posix() for path in (root / folder).rglob("*.py")]
    counts = {path: len((root / path).read_text(encoding="utf-8").splitlines()) for path in paths}
    found = {path: n for path, n in counts.items() if n > MOST_LINES and path not in LONG_FILES}
    assert not found, f"more than {MOST_LINES} lines: {found}; split them by concept"


def test_nothing_is_written_twice():
    found = written_twice({m: path.read_text(encoding="utf-8") for m, path in sources().items()}, WINDOW)
    new = {pair: line for pair, line in found.items() if pair not in TWICE}
    assert not new, f"{WINDOW} equal lines, write them once: {new}"


def test_a_name_means_one_thing():
    """Rooms that run things are left out: each recipe defines the same functions, as its form asks."""
    texts = {m: path.read_text(encoding="utf-8") for m, path in sources().items()}
    texts = {m: text for m, text in texts.items() if room_of(m) not in ("train", "cli")}
    assert not (found := defined_twice(texts)), f"name them apart: {found}"


def test_a_planted_name_is_found():
    texts = {"a": "class A: pass", "b": "def A(): ...\ndef _f(): ...", "c": "def f(): ...\ndef _f(): ..."}
    assert defined_twice(texts) == {"A": ["a", "b"]}


def test_planted_lines_are_found_and_signatures_are_not():
    body = "\n".join(f"    x = f{k}(x)  " for k in range(WINDOW))
    signature = "def g(\n" + "\n".join(f"    a{k}: int," for k in range(9)) + "\n) -> None:\n"
    texts = {"a": f"def f(x):\n{body}", "b": f"def h(y):\n\n{body}\n    return x"}
    assert written_twice(texts, WINDOW) == {("a", "b"): "x = f0(x)"}
    assert written_twice(texts, WINDOW + 1) == {}
    assert written_twice({"a": f"{signature}    return 1", "b": f"{signature}    return 2"}, WINDOW) == {}


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
        ("geocnn.train.loop", "if TYPE_CHECKING:\n    from geocnn.viz import Field"),
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
