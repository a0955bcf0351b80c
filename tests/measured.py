"""Memory as PyTorch's own allocator counts it: the same at every run, unlike what a process holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak(function: Callable[[], Any]) -> int:
    """Return the most bytes on the CPU that a call had at once beyond those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        result = function()
    del result
    assert profiled.profiler is not None and profiled.profiler.kineto_results is not None
    now = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most
