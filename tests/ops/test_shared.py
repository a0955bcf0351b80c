"""Operators that are shared: among the points of an orbit, and between a stencil and its batches."""

import copy

import pytest
import torch

from geocnn.geometry import Hierarchy, cylinder, healpix, icosphere, mesh, plane, ring_grid, torus
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.groups import SO2
from geocnn.nn import GaugeConv
from geocnn.nn.gauge_conv import gather_reference
from geocnn.ops import joint, kept, operators, pieces
from geocnn.ops.gather import transported_mean
from geocnn.ops.operators import operator
from geocnn.ops.tiles import tiling
from tests.laws_of_stencils import sent

# sums of some hundred products in float64
CLOSE = {"rtol": 1e-10, "atol": 1e-11}

SHIFTED = {
    "torus": torus((24, 16)),
    "oblong torus": torus((6, 40)),
    "cylinder": cylinder((9, 16)),
    "HEALPix": healpix(4),
    "nested HEALPix": healpix(4, nested=True),
    "rings": ring_grid(12),
}


def one_mesh():
    ball = Icosahedron(1)
    return mesh(ball.points, ball.faces[-1])


def layer_of(seed: int = 0) -> GaugeConv:
    torch.manual_seed(seed)
    return GaugeConv("2x0 + 1x1 + 1x2", "1x0 + 2x1").double()


def field(stencil: Stencil, layer: GaugeConv, b: int = 2) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(b, stencil.n_source, layer.in_type.dim, generator=random, dtype=torch.float64)


def assert_is_the_reference(stencil: Stencil, layer: GaugeConv) -> None:
    """The answer and its gradients, against the sum over entries."""
    x = field(stencil, layer).requires_grad_()
    y = layer(x, stencil)
    expected = gather_reference(x, stencil, layer.in_type, layer.out_type, layer.basis, layer.mix())
    torch.testing.assert_close(y, expected, **CLOSE)
    g = torch.randn_like(y)
    inputs = [x, *layer.weight.values()]
    ours = torch.autograd.grad(y, inputs, g, create_graph=True)
    for a, b in zip(ours, torch.autograd.grad(expected, inputs, g), strict=True):
        torch.testing.assert_close(a, b, **CLOSE)
    assert torch.autograd.grad(ours[0].square().sum(), layer.weight["0"])[0].isfinite().all()


# ------------------------------------------------------------------------------ the points of an orbit


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("name", SHIFTED)
def test_what_an_orbit_shares_is_what_each_point_has(name, kind):
    surface = SHIFTED[name]
    stencil = surface.stencil(2.2 * surface.spacing, kind=kind)
    t = tiling(stencil)
    pairs = torch.unique(stencil.target * stencil.n_source + stencil.source)
    assert t.copies > 1 and t.n_cells * t.copies >= len(pairs)
    assert_is_the_reference(stencil, layer_of())
    x = field(stencil, layer_of())
    alone = transported_mean(x, stencil.with_shifts(None), layer_of().in_type)
    torch.testing.assert_close(transported_mean(x, stencil, layer_of().in_type), alone, **CLOSE)


@pytest.mark.parametrize("name", [name for name in SHIFTED if name != "cylinder"])
def test_levels_share_as_well(name):
    surface = SHIFTED[name]
    h = surface.hierarchy(levels=2, radius=1.4 * surface.spacing, kind="log")
    for stencil in (*h.down, *h.up, h.stencils[-1]):
        assert stencil.shifts is not None
        assert_is_the_reference(stencil, layer_of())


@pytest.mark.parametrize("piece", [1, 700, 2**22])
def test_pieces_do_not_change_the_answer(monkeypatch, piece):
    monkeypatch.setitem(pieces.PIECE, "cpu", piece)
    assert_is_the_reference(healpix(4).stencil(0.5, kind="log"), layer_of())


def test_frames_of_ones_own_share_nothing():
    surface, random = healpix(4), torch.Generator().manual_seed(0)
    alpha = 6 * torch.rand(surface.n_points, generator=random, dtype=torch.float64)
    turned = surface.turn_frames(alpha)
    radius = 2.2 * surface.spacing
    assert turned.stencil(radius).shifts is None
    assert surface.stencil(radius).turn_frames(alpha).shifts is None
    assert surface.stencil(radius, targets=torch.arange(5)).shifts is None
    assert_is_the_reference(turned.stencil(radius), layer_of())
    # all frames turned alike still share
    assert surface.turn_frames(torch.ones(surface.n_points)).stencil(radius).shifts is not None


@pytest.mark.parametrize("surface", [plane((8, 8)), icosphere(1), one_mesh()], ids=str)
def test_surfaces_without_shifts_share_nothing(surface):
    assert surface.stencil(2.2 * surface.spacing).shifts is None


def test_a_torus_has_one_block():
    surface = torus((64, 64))
    stencil = surface.stencil(2.5 * surface.spacing, kind="log")
    assert tiling(stencil).copies == 64 * 8 and tiling(stencil).n_cells < 8 * 64
    # one operator of float32 numbers takes less than a thousandth of what all entries would
    layer = GaugeConv("16x0 + 8x1", "16x0 + 8x1")
    assert operators.operator_bytes(stencil, layer.basis, torch.float32) < 4 * 2**20 / 10


def test_shifts_follow_the_stencil(tmp_path):
    stencil = healpix(4).stencil(0.5)
    stencil.save(tmp_path / "s.safetensors")
    h = healpix(4).hierarchy(levels=2)
    h.save(tmp_path / "h.safetensors")
    others = [
        Stencil.load(tmp_path / "s.safetensors"),
        sent(stencil),
        copy.deepcopy(stencil),
        stencil.to(dtype=torch.float32),
        Hierarchy.load(tmp_path / "h.safetensors").stencils[0],
    ]
    for other in others:
        assert other.shifts is not None
        assert torch.equal(other.shifts.target, healpix(4).stencil(0.5).shifts.target)


# --------------------------------------------------------------------------------- stencils side by side


def random_stencil(widths: list[int], n_source: int, seed: int) -> Stencil:
    """Return rows of so many distinct sources, in random gauges."""
    random = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(n_source, generator=random)[:w] for w in widths]
    r, theta, weight, angle = torch.rand(4, sum(widths), generator=random, dtype=torch.float64)
    row_ptr = torch.tensor([0, *widths]).cumsum(0)
    return Stencil(row_ptr, torch.cat(rows), r, 6 * theta, weight, 6 * angle, None, 1.0, n_source, SO2)


def unlike() -> list[Stencil]:
    """Return stencils with several classes, without entries, with wide rows, with shifts, of one target."""
    shifted = torus((8, 8)).stencil(1.0, kind="log")
    return [
        random_stencil([3] * 17 + [40], 45, 0),
        random_stencil([0, 5, 0, 9, 1], 10, 1),
        shifted,
        random_stencil([4] * 30, 31, 2),
        random_stencil([0, 0], 3, 3),
        random_stencil([30] * 9 + [2] * 70 + [9] * 30, 60, 4),
        shifted,
        random_stencil([7], 8, 5),
    ]


@pytest.mark.parametrize("large", [1, 200, 2**13])
def test_side_by_side_is_the_reference(monkeypatch, large):
    monkeypatch.setitem(joint.LARGE, "cpu", large)
    stencils, layer = unlike(), layer_of()
    whole = Stencil.cat(stencils)
    assert_is_the_reference(whole, layer)
    fields = [field(s, layer) for s in stencils]
    alone = torch.cat([layer(x, s) for x, s in zip(fields, stencils, strict=True)], 1)
    torch.testing.assert_close(layer(torch.cat(fields, 1), whole), alone, **CLOSE)
    mean = torch.cat(
        [transported_mean(x, s, layer.in_type) for x, s in zip(fields, stencils, strict=True)], 1
    )
    torch.testing.assert_close(transported_mean(torch.cat(fields, 1), whole, layer.in_type), mean, **CLOSE)


def test_batches_form_no_number_again(monkeypatch):
    formed, form = [], operators._formed
    monkeypatch.setattr(operators, "_formed", lambda *args: formed.append(1) or form(*args))
    stencils, layer = unlike(), layer_of()
    for order in ([0, 1, 2], [2, 0, 1], [0, 2]):
        whole = Stencil.cat([stencils[i] for i in order])
        layer(field(whole, layer), whole)
        transported_mean(field(whole, layer), whole, layer.in_type)
    assert len(formed) == 2 * 3
    # a batch of batches is one of all parts
    twice = Stencil.cat([Stencil.cat(stencils[:2]), stencils[2]])
    assert twice.parts == tuple(stencils[:3])
    assert_is_the_reference(twice, layer)
    assert len(formed) == 2 * 3


def test_a_batch_of_one_is_the_stencil_itself():
    (stencil, *_) = unlike()
    assert Stencil.cat([stencil]) is stencil


def test_large_blocks_are_not_copied(monkeypatch):
    kept.forget()
    monkeypatch.setitem(joint.LARGE, "cpu", 1)
    stencils, layer = unlike()[:4], layer_of()
    for s in stencils:
        operator(s, layer.basis, torch.float64)
    before, whole = kept.kept_bytes(), Stencil.cat(stencils)
    o = operator(whole, layer.basis, torch.float64)
    there = {b.data_ptr() for s in stencils for b in operator(s, layer.basis, torch.float64).block}
    assert {b.data_ptr() for b in o.block} <= there
    # only the numbers of sources and targets are new
    assert kept.kept_bytes() - before < 0.2 * sum(b.nbytes for b in o.block)
    kept.forget()


def test_a_part_too_large_to_keep_is_formed_in_ranges_of_the_whole(monkeypatch):
    stencils, layer = unlike(), layer_of()
    whole = Stencil.cat(stencils)
    monkeypatch.setattr(operators, "OPERATOR_BYTES", 2**14)
    monkeypatch.setitem(operators.RANGE_BYTES, "cpu", 2**13)
    assert operators.ranges(whole, layer.basis, torch.float64) is not None
    assert_is_the_reference(whole, layer)
    shared = healpix(4).stencil(0.5, kind="log")
    assert len(operators.ranges(shared, layer.basis, torch.float64) or []) > 3
    assert_is_the_reference(shared, layer)
