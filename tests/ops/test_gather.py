"""The fast gather against the formula written entry by entry, and the promises a custom operator makes to
PyTorch.
"""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import pytest
import torch
from torch import nn

import geocnn.ops.operators as operators
import geocnn.ops.pieces as pieces
import geocnn.ops.plan as plan_module
import geocnn.ops.product as product
from geocnn.errors import FieldTypeError, GeometryError
from geocnn.geometry import Stencil, healpix, icosphere, plane, torus
from geocnn.groups import FieldType
from geocnn.groups.radial import Cosine, Gaussian
from geocnn.nn import GaugeConv
from geocnn.nn.gauge_conv import gather_reference
from geocnn.ops.gather import gather, transported_mean
from geocnn.ops.moments import MomentBasis
from geocnn.ops.operators import operator
from geocnn.ops.plan import mean_plan, plan_of
from geocnn.ops.product import Product
from tests.laws import random_gauge
from tests.ops.by_hand import random_stencil

# input type, output type (irreps in pieces and out of order too), max_frequency
TYPES = {
    "SO2": ("2x0 + 1x1 + 2x2", "1x1 + 2x0 + 1x3 + 1x1", None),
    "O2": ("O2: 2x0e + 1x0o + 2x1", "O2: 1x0o + 1x2 + 2x0e", None),
    "C4": ("C4: 1x0 + 2x1 + 1x2", "C4: 2x1 + 1x2 + 1x0", 2),
    "C5": ("C5: 1x0 + 1x2", "C5: 1x0 + 2x1 + 1x2", 3),
    "D6": ("D6: 1x0e + 1x0o + 1x1 + 1x3e", "D6: 1x2 + 1x3o + 1x0e + 1x1", 3),
    "trivial": ("trivial: 3x0", "trivial: 2x0", 2),
    "reflection": ("reflection: 2x0e + 1x0o", "reflection: 1x0e + 2x0o", 2),
}
GROUPS = pytest.mark.parametrize("group", TYPES)


def layer_of(group: str, rings: int = 2) -> GaugeConv:
    torch.manual_seed(0)
    source, target, max_frequency = TYPES[group]
    return GaugeConv(source, target, rings, max_frequency, bias=False).double()


def random_field(layer: GaugeConv, stencil: Stencil, *batch: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, stencil.n_source, layer.in_type.dim, generator=g, dtype=torch.float64)


def reference(layer: GaugeConv, x: torch.Tensor, stencil: Stencil) -> torch.Tensor:
    return gather_reference(x, stencil, layer.in_type, layer.out_type, layer.basis, layer.mix())


def fast(layer: GaugeConv, x: torch.Tensor, stencil: Stencil) -> torch.Tensor:
    return gather(x, stencil, layer._plan, layer.mix())


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm())


# sums of some hundred float64 terms in another order
CLOSE = {"rtol": 1e-11, "atol": 1e-11}


# ------------------------------------------------------------------------------------------------ the same
# map


@GROUPS
@pytest.mark.parametrize(("n_target", "n_source", "most"), [(11, 7, 9), (9, 4, 12), (3, 30, 3), (1, 1, 4)])
def test_gather_is_the_reference_on_stencils_by_hand(group, n_target, n_source, most):
    stencil, layer = random_stencil(group, n_target, n_source, most, seed=n_target), layer_of(group)
    x = random_field(layer, stencil, 3)
    y = fast(layer, x, stencil)
    torch.testing.assert_close(y, reference(layer, x, stencil), **CLOSE)
    assert y[:, n_target // 2].abs().max() == 0, "a row without entries"


@pytest.mark.parametrize(
    ("surface", "group"),
    [(torus((6, 7)), "trivial"), (torus((5, 5)), "C4"), (healpix(4), "SO2"), (healpix(4), "O2")],
)
@pytest.mark.parametrize("kind", ["exp", "log"])
def test_gather_is_the_reference_on_surfaces(surface, group, kind):
    layer = layer_of(group)
    if layer.in_type.group.contains(random_stencil("SO2").group):
        surface = surface.turn_frames(*random_gauge(surface.n_points, flips=group == "O2"))
    options = {"samples": (2, 9)} if kind == "exp" else {}
    stencil = surface.stencil(2.4 * surface.spacing, kind=kind, **options)
    x = random_field(layer, stencil, 2)
    torch.testing.assert_close(fast(layer, x, stencil), reference(layer, x, stencil), **CLOSE)


def test_strides_gather_to_other_targets():
    surface, layer = healpix(4), layer_of("SO2")
    stencil = surface.stencil(0.6, samples=(2, 13), targets=surface.coarser())
    x = random_field(layer, stencil, 2)
    torch.testing.assert_close(fast(layer, x, stencil), reference(layer, x, stencil), **CLOSE)


@pytest.mark.parametrize("group", ["SO2", "D6"])
def test_gradients_are_the_references(group):
    stencil, layer = random_stencil(group, 13, 6), layer_of(group)
    x = random_field(layer, stencil, 2)
    found = []
    for method in (fast, reference):
        x = x.detach().requires_grad_()
        y = method(layer, x, stencil)
        g = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        found.append(torch.autograd.grad(y, [x, *layer.parameters()], g))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("n", [9, 10, 12, 13, 42])
@pytest.mark.parametrize("piece", [1, 60, 700, 2**19])
def test_neither_pieces_nor_ragged_tiles_change_the_answer(monkeypatch, n, piece):
    """Tiles of several targets that do not divide their number, cut into pieces that do not either."""
    stencil, layer = random_stencil("SO2", n, 4, most=12), layer_of("SO2")
    o = operator(stencil, layer.basis, torch.float64)
    assert o.index.member[0].shape[0] < n, "tiles hold one target each: the test would be empty"
    x = random_field(layer, stencil, 3).requires_grad_()
    expected = torch.autograd.grad(reference(layer, x, stencil).square().sum(), [x, *layer.parameters()])
    monkeypatch.setitem(pieces.PIECE, "cpu", piece)
    y = fast(layer, x, stencil)
    torch.testing.assert_close(y, reference(layer, x, stencil), **CLOSE)
    found = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def in_ranges(monkeypatch, size: int) -> None:
    """Operators of more bytes than `size` are built in ranges of that size, and not kept."""
    monkeypatch.setattr(operators, "OPERATOR_BYTES", size)
    monkeypatch.setitem(operators.RANGE_BYTES, "cpu", size)


def test_an_operator_too_large_to_keep_gives_the_same_answer(monkeypatch):
    stencil, layer = random_stencil("SO2", 23, 9), layer_of("SO2")
    x = random_field(layer, stencil, 2).requires_grad_()
    y = fast(layer, x, stencil)
    expected = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
    stencil.operators.clear()
    in_ranges(monkeypatch, 4096)
    parts = operators.ranges(stencil, layer.basis, torch.float64)
    assert parts is not None and 5 <= len(parts) < 23, "some targets per range"
    ranged = fast(layer, x, stencil)
    assert not any(isinstance(kept, operators.Operator) for kept in stencil.operators.values())
    torch.testing.assert_close(ranged, y, **CLOSE)
    found = torch.autograd.grad(ranged.square().sum(), [x, *layer.parameters()])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def test_a_batch_is_its_samples_one_by_one():
    stencil, layer = icosphere(2).stencil(0.5), layer_of("SO2").float()
    x = random_field(layer, stencil, 5).float()
    together = layer(x, stencil)
    alone = torch.stack([layer(sample, stencil) for sample in x])
    # float32 sums of a few hundred terms, in products of another shape
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-5)
    shaped = layer(x.view(1, 5, *x.shape[1:]), stencil)
    assert shaped.shape == (1, 5, 162, layer.out_type.dim)
    torch.testing.assert_close(shaped[0], together, rtol=0, atol=0)


def test_memory_format_is_free():
    stencil, layer = random_stencil("SO2"), layer_of("SO2")
    x = random_field(layer, stencil, 3)
    node_major = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert not node_major.is_contiguous()
    torch.testing.assert_close(fast(layer, node_major, stencil), fast(layer, x, stencil), **CLOSE)


@GROUPS
def test_the_transported_mean_is_the_weighted_mean(group):
    stencil = random_stencil(group)
    field_type = FieldType(TYPES[group][0])
    x = torch.randn(2, 7, field_type.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    carried = field_type.act(x[:, stencil.source], stencil.angle, stencil.flip)
    total = torch.zeros(11, dtype=torch.float64).index_add_(0, stencil.target, stencil.weight)
    total[total == 0] = 1
    expected = torch.zeros(2, 11, field_type.dim, dtype=torch.float64)
    expected.index_add_(1, stencil.target, carried * stencil.weight[:, None])
    torch.testing.assert_close(
        transported_mean(x, stencil, field_type), expected / total[:, None], rtol=1e-10, atol=1e-10
    )


# --------------------------------------------------------------------------------- what PyTorch may ask of it


@pytest.fixture
def small():
    stencil, layer = random_stencil("SO2", 5, 4, most=6), layer_of("SO2", rings=1)
    x = random_field(layer, stencil, 2)
    return stencil, layer, x


def factors(stencil: Stencil, layer: GaugeConv, x: torch.Tensor):
    mix = [w.detach().requires_grad_() for w in layer._plan.weights(layer.mix())]
    return Product(stencil, layer._plan), x.detach().requires_grad_(), mix


def test_opcheck(small):
    stencil, layer, x = small
    p, x, mix = factors(stencil, layer, x)
    g = torch.randn(2, 5, layer.out_type.dim, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.library.opcheck(product.gather_forward, (x, mix, *p.where))
        x, mix = x.detach(), [w.detach() for w in mix]
        torch.library.opcheck(product.gather_transpose, (g, mix, *p.where))
        torch.library.opcheck(product.gather_mix, (x, g, *p.where))


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_derivatives_are_those_of_finite_differences(small, check):
    p, x, mix = factors(*small)
    forward = "check_forward_ad" if check is torch.autograd.gradcheck else "check_fwd_over_rev"
    assert check(lambda x, *mix: p(x, mix), (x, *mix), **{forward: True})


@pytest.mark.parametrize("ranged", [False, True])
def test_compiles_as_one_graph_for_stencils_of_any_size(monkeypatch, ranged):
    layer = layer_of("SO2").float()
    torch.compiler.reset()
    # aot_eager traces forward and backward as any backend's graph is traced, and needs no C++ compiler
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    if ranged:
        in_ranges(monkeypatch, 2**17)
    for number, surface in enumerate((icosphere(1), healpix(2), icosphere(0))):
        stencil = surface.stencil(1.2, samples=(2, 13)).to(dtype=torch.float32)
        x = torch.randn(2, surface.n_points, layer.in_type.dim, requires_grad=True)
        with torch.compiler.set_stance("fail_on_recompile" if number > 1 else "default"):
            y = compiled(x, stencil)
        assert "tiling" in stencil.operators, "the operator was not kept with its stencil"
        expected = layer(x, stencil)
        torch.testing.assert_close(y, expected, rtol=0, atol=0)
        ours, theirs = (
            torch.autograd.grad(z.square().sum(), [x, *layer.parameters()]) for z in (y, expected)
        )
        for a, b in zip(ours, theirs, strict=True):
            # the same operators, of which aot_eager fuses none
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_plan_is_known_by_its_name():
    for group in TYPES:
        plan = layer_of(group)._plan
        assert plan_of(plan.name) == plan
        assert pickle.loads(pickle.dumps(plan)) == plan
    with pytest.raises(FieldTypeError, match="no plan of a layer is called"):
        plan_of("1x0 -> 1x0")
    with pytest.raises(FieldTypeError, match="import elsewhere first"):
        plan_of("1x0 -> 1x0, up to 0, elsewhere.Mine{'rings': 3}")


def test_other_processes_read_the_name_of_a_plan(monkeypatch):
    plans = [layer_of(group)._plan for group in TYPES]
    plans += [GaugeConv("1x0", "2x1", radial=Gaussian(2, width=0.5))._plan, mean_plan(FieldType("O2: 1x0o"))]
    monkeypatch.setattr(plan_module, "_plans", {})
    for plan in plans:
        assert plan_of(plan.name) is not plan and plan_of(plan.name) == plan


class Held(nn.Module):
    """A layer with its stencil."""

    def __init__(self, layer: GaugeConv, stencil: Stencil):
        super().__init__()
        self.layer, self.stencil = layer, stencil

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, self.stencil)


def test_layer_and_stencil_copy_after_use():
    layer, stencil = layer_of("SO2"), icosphere(0).stencil(1.3, samples=(2, 13))
    x = random_field(layer, stencil, 2)
    expected = layer(x, stencil)
    expected.sum().backward()
    other_layer, other_stencil = copy.deepcopy((layer, stencil))
    torch.testing.assert_close(other_layer(x, other_stencil), expected, rtol=0, atol=0)
    held = copy.deepcopy(Held(layer, stencil))
    assert held.stencil is not stencil
    torch.testing.assert_close(held(x), expected, rtol=0, atol=0)


def test_two_runs_agree_bit_for_bit():
    def run():
        layer, stencil = layer_of("SO2").float(), icosphere(2).stencil(0.5).to(dtype=torch.float32)
        x = random_field(layer, stencil, 3).float().requires_grad_()
        y = layer(x, stencil)
        return [y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])]

    for a, b in zip(run(), run(), strict=True):
        assert torch.equal(a, b)


def test_autocast_computes_in_float32():
    layer, stencil = layer_of("SO2").float(), icosphere(1).stencil(0.9)
    x = random_field(layer, stencil, 2).to(torch.bfloat16)
    exact = layer(x.float(), stencil)
    stencil.operators.clear()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x, stencil)
        mean = transported_mean(x, stencil, layer.in_type)
    assert y.dtype == mean.dtype == torch.float32
    torch.testing.assert_close(y, exact, rtol=0, atol=0)
    made = [o for o in stencil.operators.values() if isinstance(o, operators.Operator)]
    assert {b.dtype for o in made for b in o.block} == {torch.float32, torch.complex64} and len(made) == 2
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


def test_half_precision_models_stay_in_half_precision():
    layer, stencil = layer_of("SO2").bfloat16(), icosphere(1).stencil(0.9)
    assert layer(random_field(layer, stencil).bfloat16(), stencil).dtype == torch.bfloat16


def test_the_stencils_dtype_is_where_geometry_is_rounded():
    """A float64 stencil under a float32 layer errs by float32 rounding of coefficients, not of angles and
    lengths.
    """
    surface, layer = icosphere(2), layer_of("SO2")
    stencil = surface.stencil(0.5)
    x = random_field(layer, stencil)
    exact = layer(x, stencil)
    single = copy.deepcopy(layer).float()
    assert relative(single(x.float(), stencil).double(), exact) < 3e-7
    assert relative(single(x.float(), stencil.to(dtype=torch.float32)).double(), exact) < 3e-6


def test_input_on_another_device_is_a_typed_error():
    layer, stencil = layer_of("SO2"), random_stencil("SO2")
    with pytest.raises(GeometryError, match=r"stencil.to\(x.device\)"):
        layer(torch.zeros(7, layer.in_type.dim, device="meta"), stencil)


def test_a_basis_holds_what_its_types_need():
    basis = MomentBasis.between(FieldType("1x0"), FieldType("1x0 + 1x2"), Cosine(3))
    assert basis.max_frequency == 2
    assert MomentBasis.between(FieldType("1x0"), FieldType("1x0"), Cosine(1)).max_frequency == 0
    assert math.prod(basis.n_rows(s) for s in basis.sources) == 3 * 1 + 3 * 2
    assert plane((4, 4)).stencil(1.0).group == FieldType("trivial: 1x0").group
