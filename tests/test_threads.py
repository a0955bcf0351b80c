"""Geometry has the same bits for any number of threads; training for equal numbers, and else to rounding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from geocnn.geometry import healpix, mesh, ring_grid, shape_features, torus
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.meshes import modes
from geocnn.nn import SurfaceUNet
from tests.shapes import jittered_sphere

SHAPE = jittered_sphere(1500, 0.2)
"""Large enough that torch divides the work on its entries among threads."""


MADE: dict[str, Callable[[], Any]] = {
    "log stencil of healpix": lambda: healpix(16).stencil(0.16),
    "exp stencil of healpix": lambda: healpix(16).stencil(0.16, "exp"),
    "log stencil of a torus": lambda: torus((64, 64)).stencil(2.5),
    "exp stencil of a ring grid": lambda: ring_grid(31, 60, "equiangular").stencil(0.26, "exp"),
    "log stencil of a mesh": lambda: mesh(*SHAPE).stencil(0.25),
    "exp stencil of a mesh": lambda: mesh(*SHAPE).stencil(0.25, "exp"),
    "levels of a mesh": lambda: mesh(*SHAPE).hierarchy(kind="log", levels=2),
    "shape features of a mesh": lambda: shape_features(mesh(*SHAPE))[0],
}


def tensors(made: Any) -> list[Tensor | None]:
    if isinstance(made, Tensor):
        return [made]
    stencils = made.stencils if isinstance(made, Hierarchy) else [made]
    return [t for s in stencils for t in (s.row_ptr, *s.columns().values())]


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n, "blas"):
            yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", MADE)
def test_geometry_is_the_same_to_the_bit_for_any_number_of_threads(name):
    made = []
    for n in (1, 2):
        with threads(n):
            made.append(tensors(MADE[name]()))
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*made, strict=True))


class Threads(TorchDispatchMode):
    """Collect the numbers of torch's threads for all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(torch.get_num_threads())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", MADE)
def test_geometry_is_computed_on_one_thread(name):
    """Bits differ by chance; this does not."""
    counted = Threads()
    with threads(2), counted:
        MADE[name]()
    assert counted.seen == {1}


def test_eigenvectors_are_computed_on_one_thread(monkeypatch):
    seen, compute = [], modes._lowest

    def lowest(*args):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return compute(*args)

    monkeypatch.setattr(modes, "_lowest", lowest)
    with threads(2):
        shape_features(mesh(*SHAPE))
    assert set(seen) == {1}


def trained(n: int, hierarchy: Hierarchy) -> list[Tensor]:
    """Return the weights after three steps, and the losses."""
    with threads(n):
        torch.manual_seed(0)
        network = SurfaceUNet("1x0", ["4x0 + 2x1"] * 2, "1x0", dropout=0.1)
        x, answer = torch.randn(2, hierarchy.stencils[0].n_source, 1), torch.randn(2, 1, 1)
        optimizer, losses = torch.optim.AdamW(network.parameters(), 1e-3), []
        for _ in range(3):
            loss = (network(x, hierarchy) - answer).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return [*(p.detach() for p in network.parameters()), *losses]


@pytest.mark.slow  # threads that wait for busy cores take long
def test_training_repeats_to_the_bit_and_agrees_to_rounding_between_numbers_of_threads():
    hierarchy = MADE["levels of a mesh"]().float()
    one, two, again = trained(1, hierarchy), trained(2, hierarchy), trained(2, hierarchy)
    assert all(torch.equal(a, b) for a, b in zip(two, again, strict=True))
    for a, b in zip(one, two, strict=True):
        # a step of AdamW divides a gradient by its own size: where that is rounding, its weight moves by
        # up to the step's 1e-3; most weights agree to float32 rounding
        assert (a - b).abs().max() <= 6e-3 and (a - b).abs().mean() <= 1e-5
