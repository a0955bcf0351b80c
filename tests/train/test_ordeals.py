"""A run killed at any moment of writing goes on to the same end; damaged files are mended or named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("ordeals.py")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["kills", "damage"])
def test_no_run_is_lost(what, tmp_path):
    """GEOCNN_ORDEALS: how many of each; 400 are all the moments of writing and most of the damages."""
    count = os.environ.get("GEOCNN_ORDEALS", "40")
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), what, str(tmp_path), count], stdout=subprocess.PIPE, check=True
    )
    found = json.loads(ended.stdout)
    assert found["cases"] > 0 and found["bad"] == []
