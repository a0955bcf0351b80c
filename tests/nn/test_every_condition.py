"""Every layer and network gives one answer under all conditions: {train, eval} x {float64, float32, autocast
to float16 and bfloat16} x {one example, two} x {first used with gradients, without, in inference mode} x
{CPU, a pretend device}. Gradients and running means too are those of float64 on the CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import geocnn.nn
from tests.nn.every_layer import SUBJECTS
from tests.pretend import DEVICE, pretending

CPU = torch.device("cpu")
NO_LAYERS = {"ModuleCost", "Preset", "build_network", "cost", "pointwise_control", "preset"}

# (number format of weights and geometry; what autocast makes of products, and so of what layers are given;
# the largest relative error). Errors are of rounding, a few units in the last place of the coarsest format
# per layer, of up to ten layers in a row.
PRECISIONS = {
    "float64": (torch.float64, None, 1e-11),
    "float32": (torch.float32, None, 1e-4),
    "float16": (torch.float32, torch.float16, 0.02),
    "bfloat16": (torch.float32, torch.bfloat16, 0.15),
}
Found = dict[str, Tensor]


@cache
def module_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    module = SUBJECTS[name].build()
    with torch.no_grad():
        # biases and shifts start at 0, where nobody sees whether they are there
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return module


def copied(name: str, training: bool, device: torch.device, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(module_of(name)).to(device, dtype).train(training)


def call(module: nn.Module, x: Tensor, where: tuple, half: torch.dtype | None) -> Tensor:
    # what dropout draws
    torch.manual_seed(1)
    with torch.autocast(x.device.type, half) if half else nullcontext():
        return module(x, *where)


def found(module: nn.Module, x: Tensor, where: tuple, half: torch.dtype | None = None) -> Found:
    """The answer, its derivatives by input and weights in one vector, and the buffers afterwards."""
    x = x.requires_grad_()
    y = call(module, x, where, half)
    assert y.device == x.device
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (y.to(torch.promote_types(y.dtype, torch.float32)) * weight.to(y.device)).sum().backward()
    derivative = [x.grad, *(parameter.grad for parameter in module.parameters())]
    assert all(part is not None for part in derivative)
    return {"answer": flat([y]), "derivative": flat(derivative), "buffers": flat(module.buffers())}


def flat(parts: Iterable[Tensor]) -> Tensor:
    moved = [t.detach().cpu().double().flatten() for t in parts]
    return torch.cat(moved) if moved else torch.zeros(0)


def examples(name: str, batch: int) -> Tensor:
    g = torch.Generator().manual_seed(3)
    return torch.randn(2, *SUBJECTS[name].shape, generator=g, dtype=torch.float64)[:batch]


@cache
def expected(name: str, training: bool, batch: int) -> Found:
    here = CPU, torch.float64
    return found(copied(name, training, *here), examples(name, batch), SUBJECTS[name].geometry(*here))


def conditions() -> Iterator[object]:
    for name in SUBJECTS:
        for precision in PRECISIONS:
            yield pytest.param(name, precision, CPU, id=f"{name}-{precision}-cpu")
            # maps on an unbounded canvas are a kind of tensor of their own, as a device's are: none is both
            if name != "to_full":
                # where a tensor lies does not depend on its format, but for autocast
                marks = () if precision in ("float64", "bfloat16") else pytest.mark.slow
                yield pytest.param(name, precision, DEVICE, id=f"{name}-{precision}-device", marks=marks)


@pytest.mark.parametrize(("name", "precision", "device"), conditions())
def test_the_answer_is_the_same(name, precision, device):
    dtype, half, bound = PRECISIONS[precision]
    cases = [(training, batch) for training in (True, False) for batch in (1, 2)]
    references = [expected(name, *case) for case in cases]
    with pretending() if device == DEVICE else nullcontext():
        for first in (torch.no_grad, torch.inference_mode):
            where = SUBJECTS[name].geometry(device, dtype)
            module, x = copied(name, True, device, dtype), examples(name, 2).to(device, half or dtype)
            with first():
                call(module, x, where, half)
            for (training, batch), reference in zip(cases, references, strict=True):
                x = examples(name, batch).to(device, half or dtype)
                for what, values in found(copied(name, training, device, dtype), x, where, half).items():
                    error = (values - reference[what]).norm() / reference[what].norm().clamp_min(1e-12)
                    assert error < bound, (what, "train" if training else "eval", batch, first.__name__)


def test_an_example_has_its_answer_in_every_batch():
    for name in SUBJECTS:
        one, two = (expected(name, False, batch)["answer"] for batch in (1, 2))
        torch.testing.assert_close(two[: len(one)], one, rtol=1e-11, atol=1e-11, msg=name)


def test_no_layer_is_left_out():
    tried = {type(part).__name__ for name in SUBJECTS for part in module_of(name).modules()}
    tried |= {name.partition(",")[0] for name in SUBJECTS}
    assert tried >= set(geocnn.nn.__all__) - NO_LAYERS
