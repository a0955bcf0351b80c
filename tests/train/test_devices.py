"""Every example counts once, whatever the number of processes."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geocnn.train.loop import finished
from geocnn.train.results import read_metrics

SCRIPT = Path(__file__).with_name("trained_on.py")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    one, two = (tmp_path_factory.mktemp("devices") for _ in range(2))
    runpy.run_path(str(SCRIPT))["trained"](one, "1")
    subprocess.run([sys.executable, str(SCRIPT), str(two), "2"], check=True, timeout=300)
    return one, two


@pytest.mark.parametrize("name", ["one", "uneven"])
def test_two_processes_train_and_score_as_one_does(folders, name):
    one, two = (folder / name for folder in folders)
    assert finished(one).steps == finished(two).steps > 0
    weights = [load_file(folder / "best.safetensors") for folder in (one, two)]
    for key in weights[0]:
        # sums of float32 in another order
        torch.testing.assert_close(weights[1][key], weights[0][key], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(read_metrics(one), read_metrics(two), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
