"""The cost of a module before it runs: memory and operations, from shapes alone.

Forward and backward run on fake tensors (`nn.fakes`), which have shapes and no numbers, while a ledger counts
what is alive (`ops.ledger`). What products over stencils and harmonic transforms do inside is counted from
the sizes of their tiles and tables (`ops.work`, `nn.harmonic_work`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from geocnn.errors import GeocnnError
from geocnn.geometry.core.defaults import KIND, Kind
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.harmonics.grid import RingGrid
from geocnn.lasting import shapes_only
from geocnn.nn.fakes import Fakes, prepared
from geocnn.nn.harmonic_work import HarmonicWork
from geocnn.nn.models import SurfaceEncoder, SurfaceUNet
from geocnn.nn.on_surface import OnSurface
from geocnn.ops.ledger import Ledger, Work
from geocnn.ops.making import GatherWork
from geocnn.wording import sized

RESIDENT = 1.3
"""Resident memory of a process per byte of its tensors, on a CPU with glibc: the middle of what
benchmarks/growth.csv measures for operators and layers. The rest lies in gaps between tensors.
"""


@dataclass(frozen=True)
class ModuleCost:
    """What a module needs, in bytes and operations: the result of `cost`.

    weights: bytes of parameters and buffers.
    geometry: bytes of stencils, areas and all else that the module is called with beside x.
    kept: bytes of operators, tilings and tables that the first call without gradients keeps for later ones.
    forward: the most bytes that this call takes, its result and `kept` included.
    step_kept: bytes of those that the first call with gradients and its backward pass keep.
    first_step: the most bytes that these two take, `step_kept` included.
    step: the most bytes that later ones take beside `step_kept`. At their end there are the gradients of
        weights and of x.
    operations, step_operations: floating-point additions and multiplications of one call without gradients
        and of one such step, in matrix products and Fourier transforms, which are nearly all.
    """

    weights: int
    geometry: int
    kept: int
    forward: int
    step_kept: int
    first_step: int
    step: int
    operations: float
    step_operations: float

    @property
    def peak(self) -> int:
        """Return the bytes of all tensors together in training, without an optimiser's."""
        return self.weights + self.geometry + self.first_step

    @property
    def resident(self) -> ModuleCost:
        """Return the same cost with what calls keep and take as resident memory, RESIDENT times as much."""
        calls = ("kept", "forward", "step_kept", "first_step", "step")
        return replace(self, **{name: round(RESIDENT * getattr(self, name)) for name in calls})

    def __str__(self) -> str:
        rows = {
            "weights": sized(self.weights),
            "geometry": sized(self.geometry),
            "kept by the first call": f"{sized(self.kept)}, {sized(self.step_kept)} with backward",
            "first call, at most": sized(self.forward),
            "first forward and backward": sized(self.first_step),
            "later ones, beside what is kept": sized(self.step),
            "all in training, at most": sized(self.peak),
            "a process that trains": f"about {sized(self.resident.peak)}",
            "operations": f"{self.operations:.3g} forward, {self.step_operations:.3g} with backward",
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def cost(
    module: nn.Module,
    *geometry: Any,
    batch: int = 1,
    radius: float | None = None,
    kind: Kind = KIND,
    channels: int | None = None,
    points: int | None = None,
) -> ModuleCost:
    """Return what a module needs, without running it and without making its operators.

    Args:
        module: a layer or a network, in training or evaluation, in any precision.
        geometry: what it is called with after x: a stencil, a hierarchy, grids, ...; nothing for an
            OnSurface, which holds it. In place of a stencil or a hierarchy also the surface that they would
            be made of: then a sample of its points tells what they would be. SurfaceEncoder and SurfaceUNet
            get a hierarchy, other modules a stencil.
        batch: the number of samples: x is [batch, points, channels], in the precision of the parameters, in
            single precision where there are none.
        radius: of the kernels on a surface, in its units, by default 2.5 point spacings.
        kind: of the stencils on a surface.
        channels: of x; by default the dimension of `module.in_type`.
        points: of x; by default those of the geometry. Layers that act at each point, such as Gated, are
            called with x alone and need it.

    Geometry counts in the precision in which it is given: that of a surface is double, and a stencil's or a
    hierarchy's by `.float()` takes about 0.6 times as much.

    Operators and tilings are those of no call before, even if the stencil has some. Where a stencil has more
    than 4,096 unlike targets, their size is estimated from so many. The rest is exact but for what matrix
    products and sorting take inside of PyTorch. A process takes more than its tensors, since its allocator
    cannot use all memory again: `ModuleCost.resident` estimates how much.

    Raises GeocnnError for a module whose shapes depend on numbers or whose parts hold geometry, for channels
    or points that are not known, for a batch or points below 1, for a geometry that the module does not take,
    and whatever other error of geocnn the module raises for such an x and such a geometry.

    >>> import geocnn.geometry as geometry
    >>> from geocnn.nn import Gated, GaugeConv
    >>> needed = cost(GaugeConv("1x0", "16x0 + 8x1"), geometry.healpix(8).stencil(), batch=4)
    >>> needed.weights, needed.forward > needed.kept > 0
    (576, True)
    >>> cost(Gated("16x0 + 8x1"), points=768).forward > 0
    True
    """
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
        FakeTensorMode,
    )

    if batch < 1:
        raise GeocnnError(f"a batch has at least one sample, got batch={batch}")
    if isinstance(module, OnSurface):
        module, geometry = module.module, (*geometry, *module.geometry)
    if any(isinstance(part, OnSurface) for part in module.modules()):
        raise GeocnnError(
            f"parts of this {type(module).__name__} hold geometry (OnSurface); ask for the cost of each part"
        )
    size = batch, _n_points(geometry, points), _channels(module, channels)
    levels = len(module.within) if isinstance(module, SurfaceEncoder | SurfaceUNet) else None
    makers = [prepared(part, levels, radius, kind) for part in geometry]
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, shapes_only():
        fakes = Fakes(mode.from_tensor)
        given = [make(fakes) for make in makers]
        named = [*module.named_parameters(), *module.named_buffers()]
        weights: dict[str, Tensor] = {name: mode.from_tensor(t) for name, t in named}
        # buffers may be double whatever x is
        of_weights = (p.dtype for p in module.parameters() if p.is_floating_point())
        x = torch.empty(size, dtype=next(of_weights, torch.float32))
        known = [*weights.values(), x, *tree_leaves(given)]
        try:
            with Ledger(_Works(fakes, gradients=False)) as first, torch.no_grad():
                first.ignore(known)
                y = functional_call(module, weights, (x, *given))
            del y
            x.requires_grad_()
            with Ledger(_Works(fakes, gradients=True)) as step, torch.enable_grad():
                step.ignore(known)
                _differentiate(functional_call(module, weights, (x, *given)))
        except (DataDependentOutputException, DynamicOutputShapeException) as fault:
            raise GeocnnError(
                f"shapes in this {type(module).__name__} depend on numbers, so its cost is known only "
                f"when it runs ({fault}); ask for the cost of its parts"
            ) from fault
        except (TypeError, AttributeError, RuntimeError) as fault:
            raise GeocnnError(_misfit(module, size, geometry, fault)) from fault
    return ModuleCost(
        weights=sum(t.nbytes for t in weights.values()),
        geometry=round(fakes.bytes),
        kept=first.left,
        forward=first.peak,
        step_kept=step.left,
        first_step=step.peak,
        step=step.later,
        operations=first.operations,
        step_operations=step.operations,
    )


class _Works:
    """What happens inside of operators."""

    def __init__(self, fakes: Fakes, gradients: bool):
        self.gather, self.harmonic = GatherWork(fakes.sizes, gradients), HarmonicWork()

    def __call__(self, func: Any, args: tuple, results: Any) -> Work | None:
        return self.gather(func, args, results) or self.harmonic(func, args, results)


def _differentiate(y: Any) -> None:
    """Compute all gradients of the sum of what a module returns."""
    ends = [t for t in tree_leaves(y) if isinstance(t, Tensor) and t.requires_grad]
    torch.autograd.backward(ends, [torch.ones_like(t) for t in ends])


def _misfit(module: nn.Module, size: tuple[int, int, int], geometry: Sequence[Any], fault: Exception) -> str:
    """Say that a module cannot be called with such an x and such a geometry, and what it takes."""
    given = ", ".join(["x", *(type(part).__name__ for part in geometry)])
    takes = ", ".join(signature(module.forward).parameters)
    return (
        f"a {type(module).__name__} takes ({takes}) and was called with ({given}), x of shape {list(size)}: "
        f"{fault}; after the module give what it takes after x, and points= where that is nothing"
    )


def _n_points(geometry: Sequence[Any], points: int | None) -> int:
    """Return the number of points of x."""
    if points is not None:
        if points < 1:
            raise GeocnnError(f"x has at least one point, got points={points}")
        return points
    first = geometry[0] if geometry else None
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if isinstance(first, Stencil):
        return first.n_source
    if isinstance(first, Hierarchy):
        return len(first.areas[0])
    if isinstance(first, Surface | RingGrid):
        return first.n_points
    raise GeocnnError(
        "the number of points is not known: after the module give the stencil, hierarchy, grid or surface "
        f"that it is called with, got {'nothing' if first is None else type(first).__name__}; or, for a "
        "module that is called with x alone, points="
    )


def _channels(module: nn.Module, channels: int | None) -> int:
    """Return the number of channels of x."""
    if channels is not None:
        return channels
    in_type = getattr(module, "in_type", None)
    if in_type is None:
        raise GeocnnError(f"a {type(module).__name__} has no in_type: give the number of channels=")
    return in_type.dim
