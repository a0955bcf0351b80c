"""Every layer and network is one graph, compiled or exported, and answers in half precision as in single."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import geocnn
from geocnn.geometry import Hierarchy, Stencil
from geocnn.harmonics import healpix_grid, random_coefficients, real_part, signed_orders, synthesis
from tests.nn.every_layer import SUBJECTS

CPU = torch.device("cpu")

# these make or convert a module at every call, which no graph can hold
IN_PARTS = {"GaugeConv, harmonic twin", "to_full", "taps"}


def built(name: str, training: bool = True) -> tuple[nn.Module, tuple[Any, ...]]:
    torch.manual_seed(0)
    module = SUBJECTS[name].build().train(training)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return module, SUBJECTS[name].geometry(CPU, torch.float32)


def answer(module: nn.Module, x: Tensor, where: tuple[Any, ...], call: Any = None) -> list[Tensor]:
    """The result, its derivatives by input and weights, and the buffers afterwards."""
    x = x.clone().requires_grad_()
    # what dropout draws
    torch.manual_seed(1)
    y = (module if call is None else call)(x, *where)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    gradients = torch.autograd.grad((y * weight).sum(), [x, *module.parameters()])
    return [y.detach(), *gradients, *module.buffers()]


def joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.double().flatten() for t in tensors])


def error(found: list[Tensor], expected: list[Tensor]) -> float:
    return float((joined(found) - joined(expected)).norm() / joined(expected).norm())


# one fast look; others take 1 to 30 s each to trace
COMPILED = [
    pytest.param(name, marks=() if name in ("Pool, up", "spectral_pool") else pytest.mark.slow)
    for name in SUBJECTS
    if name not in IN_PARTS
]


@pytest.mark.parametrize("name", COMPILED)
def test_compiles_as_one_graph(name):
    for training in (True, False):
        torch.compiler.reset()
        module, where = built(name, training)
        other = copy.deepcopy(module)
        x = torch.randn(2, *SUBJECTS[name].shape)
        # aot_eager traces forward and backward as any backend's graph is traced, and needs no C++ compiler
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        found = answer(module, x, where, compiled)
        # the same operations in float32, of which aot_eager fuses none
        assert error(found, answer(other, x, where)) < 1e-5, "train" if training else "eval"


@pytest.mark.parametrize("name", ["FieldNorm", pytest.param("SurfaceUNet", marks=pytest.mark.slow)])
def test_runs_twice_before_the_backward_pass(name):
    """The second run changes the running means, which the first one's derivatives must not notice."""
    torch.compiler.reset()
    module, where = built(name)
    other = copy.deepcopy(module)
    x = torch.randn(2, *SUBJECTS[name].shape)

    def twice(module: Any) -> Any:
        return lambda x, *where: module(x, *where) + module(2 * x, *where).square()

    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    found, expected = (answer(m, x, where, twice(f)) for m, f in ((module, compiled), (other, other)))
    # the same operations in float32
    assert error(found, expected) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SurfaceUNet", "HarmonicBlock"])
def test_compiles_by_the_default_backend(name):
    torch.compiler.reset()
    module, where = built(name)
    other = copy.deepcopy(module)
    x = torch.randn(2, *SUBJECTS[name].shape)
    found = answer(module, x, where, torch.compile(module, fullgraph=True))
    # sums of fused kernels have another order; norms of few points divide by what is small
    assert error(found, answer(other, x, where)) < 1e-3


def test_tables_made_in_a_graph_serve_outside():
    """The nested map's are made in the graph, the other's are not, and no other test has their degree."""
    nested, plain, lmax = healpix_grid(8, nested=True), healpix_grid(8), 13
    alm = signed_orders(random_coefficients(lmax, 1, torch.Generator().manual_seed(0)))
    alm[:, 0] = 0
    for spin in (None, 1):
        x = alm if spin else real_part(alm)
        torch.compile(lambda x, s=spin: synthesis(x, nested, s), fullgraph=True, backend="aot_eager")(x)
        found = synthesis(x, nested, spin)[:, nested.pixel]
        # the same operations
        assert torch.equal(found, synthesis(x, plain, spin))


def test_every_operator_is_registered_by_the_imports_that_programs_need():
    files = Path(geocnn.__file__).parent.rglob("*.py")
    written = {name for file in files for name in re.findall(r'"(geocnn::\w+)"', file.read_text())}
    code = "import geocnn.harmonics, geocnn.ops, torch; print(*torch._C._dispatch_get_all_op_names())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert written and written <= set(run.stdout.split())


LOADED = """
import sys
import torch
import geocnn.harmonics, geocnn.ops
from geocnn.geometry import Hierarchy
program = torch.export.load(sys.argv[1] + "/program.pt2").module()
x, y = torch.load(sys.argv[1] + "/answer.pt")
where = eval(sys.argv[2], {"folder": sys.argv[1], "Hierarchy": Hierarchy, **vars(geocnn.harmonics)})
torch.testing.assert_close(program(x, *where), y, rtol=1e-4, atol=1e-4)
assert not any(name.startswith(("geocnn.nn", "geocnn.train")) for name in sys.modules)
"""

GRIDS = "[gauss_legendre(5, 9), gauss_legendre(3, 5)]"
EXPORTED = {
    "OnSurface": "[]",
    "SurfaceUNet": "[Hierarchy.load(folder + '/0')]",
    "SurfaceEncoder, attention": "[Hierarchy.load(folder + '/0')]",
    "HarmonicBlock": GRIDS,
    "HarmonicUNet": f"[{GRIDS}]",
    "SO3Correlation, HEALPix": "[healpix_grid(2)]",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "OnSurface" else pytest.mark.slow) for n in EXPORTED]
)
def test_exported_programs_run_without_the_layers(name, tmp_path):
    """In a fresh process, at another batch size, with stencils, hierarchies and grids as inputs or inside."""
    module, where = built(name, training=False)
    x = torch.randn(3, *SUBJECTS[name].shape)
    sizes = torch.export.ShapesCollection()
    example = x[:2].clone()
    sizes[example] = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(module, (example, *where), dynamic_shapes=sizes, strict=False)
    torch.export.save(program, tmp_path / "program.pt2")
    torch.save((x, module(x, *where).detach()), tmp_path / "answer.pt")
    for number, part in enumerate(where):
        if isinstance(part, (Stencil, Hierarchy)):
            part.save(tmp_path / str(number))
    command = [sys.executable, "-c", LOADED, str(tmp_path), EXPORTED[name]]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


# relative errors of rounding to 8 and 11 bits in up to ten layers, and in sums of their gradients
HALF = {torch.bfloat16: 0.06, torch.float16: 0.006}


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", SUBJECTS)
def test_half_precision_answers_and_learns_as_single(name, dtype):
    module, where = built(name)
    # single precision of the same rounded numbers
    half, single = copy.deepcopy(module).to(dtype), copy.deepcopy(module).to(dtype).float()
    x = torch.randn(2, *SUBJECTS[name].shape).to(dtype)
    found, expected = answer(half, x, where), answer(single, x.float(), where)
    assert found[0].dtype == dtype
    n = 2 + len(list(module.parameters()))
    assert error(found[:1], expected[:1]) < HALF[dtype]
    assert error(found[1:n], expected[1:n]) < HALF[dtype]
