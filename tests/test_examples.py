"""Every example runs from an empty folder, headless, and leaves nothing outside it; the long ones are slow
tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples"
# what several examples import is none by itself, and a recipe is run by `geocnn train`
EXAMPLES = sorted(
    set(FOLDER.glob("*.py")) - {FOLDER / name for name in ("shared_parts.py", "moebius_recipe.py")}
)
# ten seconds or more on one core; tests/experiments have most of what they compute at small size
LONG = {
    "data_efficiency", "equivariance_report", "local_is_harmonic", "moebius_digits",
    "one_layer_many_surfaces", "oversampling", "parts_of_a_body", "polarisation", "quadrants",
    "rotated_digits", "sphere_rotation", "winds",
}  # fmt: skip
CASES = [
    pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in LONG else ()) for path in EXAMPLES
]


@pytest.mark.parametrize("example", CASES)
def test_example_runs(example, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg", "GEOCNN_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
