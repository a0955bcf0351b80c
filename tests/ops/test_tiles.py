"""Tilings: every entry has its cell, wide tiles stand apart, and what is kept is bounded."""

import gc

import pytest
import torch

from geocnn.geometry import healpix, icosphere
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups import SO2
from geocnn.nn import GaugeConv
from geocnn.nn.gauge_conv import gather_reference
from geocnn.ops import kept, operators, tiles
from geocnn.ops.tiles import class_bounds, tiling

UNLIKE = [[3] * 16 + [40], [0, 5, 0, 9, 1], [30] * 9 + [2] * 70 + [9] * 30]


def stencil_of(widths: list[int], n_source: int, seed: int = 0) -> Stencil:
    """Rows of the given numbers of distinct sources, in random gauges."""
    random = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(n_source, generator=random)[:w] for w in widths]
    r, theta, weight, angle = torch.rand(4, sum(widths), generator=random, dtype=torch.float64)
    row_ptr = torch.tensor([0, *widths]).cumsum(0)
    return Stencil(row_ptr, torch.cat(rows), r, 6 * theta, weight, 6 * angle, None, 1.0, n_source, SO2)


@pytest.mark.parametrize(
    "widths",
    [
        [3] * 17,
        [3] * 16 + [40],
        [0, 5, 0, 9, 1],
        [1],
        [0, 0],
        list(range(1, 39)),
        [30] * 9 + [2] * 70 + [9] * 30,
    ],
    ids=str,
)
def test_every_entry_has_the_cell_of_its_target_and_source(widths):
    stencil = stencil_of(widths, 45)
    t = tiling(stencil)
    target, source, k = stencil.target, stencil.source, t.index.k[0]
    tile = target // k
    slot = torch.searchsorted(t.key, tile * 45 + source) - t.key_ptr[tile]
    found = torch.zeros_like(target)
    place, start = torch.full((stencil.n_target,), -1), 0
    for member, own in zip(t.index.member, t.tile, strict=True):
        local = torch.full((-(-stencil.n_target // k),), -1)
        local[own] = torch.arange(len(own))
        mine = local[tile] >= 0
        assert torch.equal(member[local[tile[mine]], slot[mine]], source[mine])
        found[mine] += 1
        targets = (own[:, None] * k + torch.arange(k)).flatten()
        there = targets < stencil.n_target
        place[targets[there]] = torch.arange(start, start + len(targets))[there]
        start += len(targets)
    assert (found == 1).all()
    assert torch.equal(place, torch.arange(stencil.n_target) if t.index.place is None else t.index.place)


@pytest.mark.parametrize("widths", UNLIKE, ids=str)
@pytest.mark.parametrize("block", [1, 7])
def test_blocks_of_rows_give_the_tiling_and_the_operator_of_all(monkeypatch, widths, block):
    layer = GaugeConv("2x0 + 1x1", "1x0 + 2x1").double()
    whole = stencil_of(widths, 45), stencil_of(widths, 45)
    one = operators.operator(whole[0], layer.basis, torch.float64)
    monkeypatch.setattr(tiles, "BLOCK", block)
    monkeypatch.setattr(operators, "CHUNK", block)
    parted = operators.operator(whole[1], layer.basis, torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(one.index.member, parted.index.member, strict=True))
    for a, b in zip(one.block, parted.block, strict=True):
        # vectorised functions round the last elements of a block differently
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("widths", UNLIKE, ids=str)
def test_classes_give_the_answer_and_the_gradients_of_the_reference(widths):
    stencil = stencil_of(widths, 45)
    assert len(tiling(stencil).index.member) > 1
    torch.manual_seed(0)
    layer = GaugeConv("2x0 + 1x1", "1x0 + 2x1").double()
    x = torch.randn(3, 45, 4, dtype=torch.float64, requires_grad=True)
    y = layer(x, stencil)
    expected = gather_reference(x, stencil, layer.in_type, layer.out_type, layer.basis, layer.mix())
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-11)
    g = torch.randn_like(y)
    ours = torch.autograd.grad(y, [x, *layer.weight.values()], g, create_graph=True)
    theirs = torch.autograd.grad(expected, [x, *layer.weight.values()], g)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert torch.autograd.grad(ours[0].square().sum(), layer.weight["0"])[0].isfinite().all()


def test_one_wide_row_does_not_widen_the_others():
    narrow, wide = ([20] * 400, [20] * 400 + [400])
    cells = [tiling(stencil_of(widths, 450)).n_cells for widths in (narrow, wide)]
    # 400 cells more, and k − 1 empty targets beside it; one array for all would have 400 times as many
    assert cells[1] - cells[0] <= 8 * 400


def test_cells_are_few_where_rows_are_alike():
    for surface in (healpix(16), icosphere(3)):
        stencil = surface.stencil(2.5 * surface.spacing, kind="log")
        assert tiling(stencil).n_cells < 1.7 * stencil.n_entries


def test_bounds_of_many_widths():
    # all widths from 1 to 300 alike often: three classes leave a sixth of the largest class's cells
    bounds = class_bounds(torch.arange(1, 301))
    assert len(bounds) == 3 and bounds[-1] == 300
    upper = torch.tensor(bounds)[torch.bucketize(torch.arange(1, 301), torch.tensor(bounds))]
    # thirds are the best bounds: 100 · (100 + 200 + 300) cells
    assert int(upper.sum()) <= 1.02 * 60_000


# ---------------------------------------------------------------------------------------- what is kept


@pytest.fixture
def nothing_kept():
    kept.forget()
    yield
    kept.forget()


def used(layer, n=1):
    stencils = [healpix(2).stencil(1.0, samples=(2, 7)) for _ in range(n)]
    for stencil in stencils:
        layer(torch.zeros(48, 1), stencil)
    return stencils


def test_what_is_kept_is_counted_and_dropped(nothing_kept):
    stencils = used(GaugeConv("1x0", "1x0"), 2)
    one = kept.kept_bytes()
    assert one >= sum(
        t.nbytes
        for s in stencils
        for o in s.operators.values()
        if isinstance(o, operators.Operator)
        for t in o.block
    )
    kept.forget()
    assert kept.kept_bytes() == 0 and not any(s.operators for s in stencils)


def test_a_stencil_takes_its_own_along(nothing_kept):
    stencils = used(GaugeConv("1x0", "1x0"), 2)
    both = kept.kept_bytes()
    del stencils[0]
    gc.collect()
    assert kept.kept_bytes() == both // 2


def test_beyond_the_bound_the_oldest_go_first(nothing_kept, monkeypatch):
    layer = GaugeConv("1x0", "1x0")
    (first,) = used(layer)
    monkeypatch.setattr(kept, "KEPT_BYTES", int(2.5 * kept.kept_bytes()))
    later = used(layer, 3)
    assert kept.kept_bytes() <= kept.KEPT_BYTES
    assert not first.operators and later[-1].operators
    x = torch.randn(48, 1)
    assert torch.equal(layer(x, first), layer(x, later[-1]))
