"""The examples as namespaces, for tests of what they compute."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name: str) -> SimpleNamespace:
    """What the file examples/{name}.py defines, not run as a script; it finds its neighbours all the same."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))
