"""While tests run, shapes in signatures are checked, and each of several processes computes on one thread."""

import os
import sys
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # several processes that use all cores starve one another; for this one, where torch is loaded already,
    # and for those that tests start
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    import torch

    torch.set_num_threads(1)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.signatures import check_signatures

check_signatures("geocnn")
