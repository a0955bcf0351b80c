"""Each process of a parallel run computes on one thread: several that use all cores starve one another."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # for processes that tests start, and for this one, where torch is loaded already
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    import torch

    torch.set_num_threads(1)
