"""Sizes of tilings and the work of products, known without making either."""

from __future__ import annotations

import pytest
import torch

from geocnn.geometry import healpix, plane, torus
from geocnn.geometry.core.stencil import Stencil
from geocnn.nn import GaugeConv
from geocnn.ops import kept
from geocnn.ops.adjoint import transposed
from geocnn.ops.blocks import convolve
from geocnn.ops.ledger import Ledger
from geocnn.ops.making import bytes_of_operator
from geocnn.ops.operators import operator, operator_bytes
from geocnn.ops.sizes import runs, tiling_size
from geocnn.ops.tiles import tiling
from geocnn.ops.work import Shape, operations
from tests.measured import peak

SURFACES = {"sphere": healpix(8), "torus": torus((24, 24)), "plane": plane((20, 20))}


@pytest.mark.parametrize("kind", ["log", "exp"])
@pytest.mark.parametrize("name", SURFACES)
def test_the_size_of_a_small_stencil_is_exact(name, kind):
    stencil = SURFACES[name].stencil(kind=kind)
    size, t = tiling_size(stencil, most=10**9), tiling(stencil)
    assert (size.cells, size.slots) == (t.n_cells, len(t.index.slot))
    assert size.in_order == (t.index.place is None)
    before = kept.kept_bytes()
    layer = GaugeConv("2x0 + 1x1", "2x0 + 1x1")
    made = operator(stencil, layer.basis, torch.float32)
    shape = Shape(size, layer._plan, 1, torch.float32, stencil.device)
    assert bytes_of_operator(shape) == operator_bytes(stencil, layer.basis, torch.float32)
    assert kept.kept_bytes() - before == size.bytes + bytes_of_operator(shape)
    assert sum(b.nbytes for b in made.block) == bytes_of_operator(shape)
    # making takes what sorting does, which is known to a fifth
    assert 0.8 < peak(lambda: tiling(stencil)) / size.making < 1.2


@pytest.mark.parametrize("kind", ["log", "exp"])
def test_a_sample_shows_the_size_of_a_stencil(kind):
    """To within a tenth: rows at the edges of the plane are shorter."""
    stencil = plane((60, 70)).stencil(kind=kind)
    sample, whole = tiling_size(stencil, most=512), tiling_size(stencil, most=10**9)
    for name in ("cells", "slots", "targets", "bytes", "making"):
        assert getattr(sample, name) == pytest.approx(getattr(whole, name), rel=0.1), name


def test_runs_are_spread_evenly():
    assert runs(100, 128).tolist() == list(range(100))
    chosen = runs(1000, 128)
    assert len(chosen) == 128 and chosen[0] == 0 and chosen[64] == 448


def test_a_batch_has_the_sizes_of_its_parts():
    parts = [healpix(4).stencil(0.8), healpix(8).stencil(0.8)]
    size = tiling_size(Stencil.cat(parts))
    assert size.cells == sum(tiling_size(part).cells for part in parts)
    assert size.n_target == 192 + 768


@pytest.mark.parametrize("kind", ["log", "exp"])
def test_operations_are_those_of_the_products(kind):
    layer, stencil = GaugeConv("4x0 + 2x1", "3x0 + 5x1"), healpix(4).stencil(kind=kind)
    plan, o = layer._plan, operator(stencil, layer.basis, torch.float32)
    x, g, mix = torch.randn(2, 192, 8), torch.randn(2, 192, 13), plan.matrices(plan.weights(layer.mix()))
    shape = Shape(tiling_size(stencil), plan, 2, torch.float32, stencil.device)
    for weights, cotangent in ((mix, None), (None, g), (mix, g)):
        with torch.no_grad(), Ledger() as ledger:
            convolve(plan.split(x), weights, cotangent, o.block, *o.index, plan.n_out, plan.runs)
        assert ledger.operations == operations(shape, 2 if weights and cotangent is not None else 1)


def test_a_log_stencil_is_known_transposed():
    for stencil in (healpix(8).stencil(kind="log"), plane((20, 24)).hierarchy(levels=2, kind="log").down[0]):
        back = tiling_size(stencil).back
        assert back is not None
        t = tiling(transposed(stencil))
        assert (back.cells, back.slots, len(t.key)) == (t.n_cells, len(t.index.slot), back.keys)
    assert tiling_size(healpix(8).stencil()).back is None
