"""The examples as namespaces, for tests of what they compute."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name: str) -> SimpleNamespace:
    """What the file examples/{name}.py defines; it is not run as a script."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))
