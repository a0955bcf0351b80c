"""The derivatives of a gather as a gather over the transposed stencil."""

from __future__ import annotations

import pytest
import torch

from geocnn.geometry import Stencil, healpix, icosphere, ring_grid, torus
from geocnn.nn import GaugeConv
from geocnn.ops import pieces, product, terms
from geocnn.ops.adjoint import adjoint, has_fewer_operations, transposed
from geocnn.ops.operators import Operator
from geocnn.ops.product import Product
from tests.laws import random_gauge
from tests.ops.by_hand import random_stencil
from tests.ops.test_gather import GROUPS, layer_of, random_field

# sums of some hundred products of float64 numbers
CLOSE = {"rtol": 1e-11, "atol": 1e-11}


def derivatives(layer: GaugeConv, stencil: Stencil, monkeypatch, through_moments_of_g: bool) -> tuple:
    for module in (product, terms):
        monkeypatch.setattr(module, "has_fewer_operations", lambda *_: through_moments_of_g)
    x = random_field(layer, stencil, 3).requires_grad_()
    y = layer(x, stencil)
    g = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return torch.autograd.grad(y, [x, *layer.parameters()], g)


def assert_both_agree(layer: GaugeConv, stencil: Stencil, monkeypatch) -> None:
    for ours, theirs in zip(
        *(derivatives(layer, stencil, monkeypatch, way) for way in (True, False)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@GROUPS
def test_the_moments_of_g_give_both_derivatives(group, monkeypatch):
    assert_both_agree(layer_of(group), random_stencil(group, 11, 7), monkeypatch)


@pytest.mark.parametrize("surface", [torus((12, 16)), healpix(4), ring_grid(12)], ids=str)
def test_points_of_an_orbit_share_the_transposed_operator_too(surface, monkeypatch):
    layer = layer_of("SO2")
    for targets in (None, surface.coarser()):
        stencil = surface.stencil(2.4 * surface.spacing, kind="log", targets=targets)
        assert transposed(stencil).shifts is not None
        assert_both_agree(layer, stencil, monkeypatch)


@pytest.mark.parametrize("piece", [1, 700, 2**19])
def test_stencils_side_by_side_have_their_parts_transposed_operators(piece, monkeypatch):
    monkeypatch.setitem(pieces.PIECE, "cpu", piece)
    parts = [random_stencil("SO2", n, n + 3, seed=n) for n in (4, 40, 9)]
    whole, layer = Stencil.cat(parts), layer_of("SO2")
    assert_both_agree(layer, whole, monkeypatch)
    assert all(
        any(isinstance(kept, Operator) for kept in transposed(part).operators.values()) for part in parts
    )


@GROUPS
def test_the_adjoint_is_the_transposed_map(group):
    """⟨g, F(x)⟩ = ⟨F'(g), x⟩, and weights return from the adjoint as they went."""
    stencil, layer = random_stencil(group, 9, 13), layer_of(group)
    x = random_field(layer, stencil, 2)
    y = layer(x, stencil)
    g, other = torch.randn(y.shape, dtype=y.dtype), adjoint(layer._plan.name)
    weights = layer._plan.weights(layer.mix())
    theirs = [change.of(weights, other.rings) for change in other.there]
    assert [tuple(w.shape) for w in theirs] == other.plan.shapes
    torch.testing.assert_close(
        (g * y).sum(), (Product(transposed(stencil), other.plan)(g, theirs) * x).sum(), **CLOSE
    )
    for again, weight in zip((change.of(theirs, other.rings) for change in other.back), weights, strict=True):
        assert torch.equal(again, weight)


@pytest.mark.parametrize("group", ["SO2", "O2"])
def test_transposing_twice_gives_the_stencil(group):
    surface = icosphere(1)
    surface = surface.turn_frames(*random_gauge(surface.n_points, flips=group == "O2"))
    stencil = surface.stencil(2.4 * surface.spacing)
    again = transposed(transposed(stencil))

    def sorted_entries(s: Stencil) -> torch.Tensor:
        return torch.argsort(s.target * s.n_source + s.source, stable=True)

    mine, theirs = sorted_entries(stencil), sorted_entries(again)
    assert torch.equal(stencil.row_ptr, again.row_ptr) and torch.equal(
        stencil.source[mine], again.source[theirs]
    )
    for name in ("r", "weight", "theta", "angle"):
        # an angle is turned there and back, which rounds twice
        torch.testing.assert_close(
            getattr(stencil, name)[mine], getattr(again, name)[theirs], rtol=0, atol=1e-13
        )


def test_operations_are_counted():
    """A layer between equal types saves a pass; one to few coarse points from many would mix at them all."""
    surface = healpix(4)
    within = surface.stencil(0.6, kind="log")
    down = surface.stencil(0.6, kind="log", targets=surface.coarser())
    layer = GaugeConv("4x0 + 4x1", "4x0 + 4x1")
    assert has_fewer_operations(within, layer._plan)
    assert not has_fewer_operations(down, layer._plan)
    assert not has_fewer_operations(within, GaugeConv("1x0", "8x0 + 8x1")._plan)


def test_a_step_of_training_keeps_what_it_made(monkeypatch):
    stencil, layer = random_stencil("SO2", 11, 11), layer_of("SO2")
    derivatives(layer, stencil, monkeypatch, True)
    kept = transposed(stencil).operators
    made = next(o for o in kept.values() if isinstance(o, Operator))
    derivatives(layer, stencil, monkeypatch, True)
    assert any(o is made for o in kept.values())
