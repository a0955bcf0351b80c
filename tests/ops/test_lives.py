"""Operators and derivatives are right whatever becomes of the stencil, and whoever asks first."""

import gc

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacrev
from torch.utils.checkpoint import checkpoint

import geocnn.geometry as geometry
from geocnn.errors import GeometryError
from geocnn.geometry import Stencil
from geocnn.nn import GaugeConv
from geocnn.ops import kept

TYPES = "2x0 + 1x1", "3x0 + 2x1"


def torus() -> Stencil:
    return geometry.torus((12, 12)).stencil(kind="log")


def formed_batch() -> Stencil:
    joint = Stencil.cat([torus(), geometry.plane((9, 8)).stencil(kind="log")])
    assert joint.weight.ndim == 1
    return joint


MADE = {
    "torus": torus,
    "exp": lambda: geometry.healpix(2).stencil(1.0),
    "mesh": lambda: geometry.icosphere(2).stencil(0.5, "log"),
    "batch": formed_batch,
}


def gradients(layer: GaugeConv, y: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(y.square().sum(), list(layer.parameters())))


@pytest.mark.parametrize("name", MADE)
def test_gradients_do_not_need_the_stencil(name):
    torch.manual_seed(0)
    layer, stencil = GaugeConv(*TYPES).double(), MADE[name]()
    x = torch.randn(2, stencil.n_source, 4, dtype=torch.float64)
    expected = gradients(layer, layer(x, stencil))
    y = layer(x, MADE[name]())
    gc.collect()
    for a, b in zip(gradients(layer, y), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_entries_may_be_formed_before_the_backward_pass():
    torch.manual_seed(0)
    layer, stencil = GaugeConv(*TYPES).double(), MADE["exp"]()
    x = torch.randn(2, stencil.n_source, 4, dtype=torch.float64)
    expected = gradients(layer, layer(x, stencil))
    y = layer(x, stencil)
    assert stencil.weight.ndim == 1
    assert all(torch.equal(a, b) for a, b in zip(gradients(layer, y), expected, strict=True))


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_give_the_same_gradients(name, reentrant):
    torch.manual_seed(0)
    layer, stencil = GaugeConv(*TYPES).double(), MADE[name]()
    x = torch.randn(2, stencil.n_source, 4, dtype=torch.float64, requires_grad=True)
    found = []
    for run in (layer, lambda *args: checkpoint(layer, *args, use_reentrant=reentrant)):
        layer.zero_grad()
        x.grad = None
        run(x, stencil).square().sum().backward()
        found.append([x.grad, *(p.grad for p in layer.parameters())])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("transform", [grad, jacrev, hessian])
def test_a_transform_may_be_the_first_call(name, transform):
    torch.manual_seed(0)
    layer, stencil = GaugeConv(*TYPES).double(), MADE[name]()
    x = torch.randn(1, stencil.n_source, 4, dtype=torch.float64)
    weights = {key: p.detach() for key, p in layer.named_parameters()}

    def loss(weights):
        return functional_call(layer, weights, (x, stencil)).pow(2).sum()

    first = transform(loss)(weights)
    layer(x, stencil)
    again = transform(loss)(weights)
    a, b = (torch.utils._pytree.tree_leaves(tree) for tree in (first, again))
    assert all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def test_forward_derivatives_beside_weights_that_learn():
    layer, stencil = GaugeConv(*TYPES).double(), MADE["mesh"]()
    x, dx = torch.randn(2, 1, stencil.n_source, 4, dtype=torch.float64)
    with forward_ad.dual_level():
        y = layer(forward_ad.make_dual(x, dx), stencil)
        tangent = forward_ad.unpack_dual(y).tangent
    torch.testing.assert_close(tangent, layer(dx, stencil) - layer(torch.zeros_like(dx), stencil))


def test_no_samples_have_no_answers_and_no_gradients():
    for stencil in (make() for make in MADE.values()):
        layer = GaugeConv(*TYPES)
        x = torch.zeros(0, stencil.n_source, 4, requires_grad=True)
        y = layer(x, stencil.float())
        assert y.shape == (0, stencil.n_target, 7)
        y.sum().backward()
        assert x.grad.shape == x.shape and all(not p.grad.any() for p in layer.parameters())


def test_entries_changed_in_place_are_seen():
    torch.manual_seed(0)
    layer, stencil = GaugeConv(*TYPES).double(), MADE["mesh"]()
    x = torch.randn(1, stencil.n_source, 4, dtype=torch.float64)
    before = layer(x, stencil)
    stencil.theta.add_(0.3)
    after = layer(x, stencil)
    entries = (t if t is None else t.clone() for t in stencil.places[:7])
    torch.testing.assert_close(
        after, layer(x, Stencil(*entries, stencil.radius, stencil.n_source, stencil.group))
    )
    assert not torch.allclose(before, after)


def test_the_same_entries_among_more_sources():
    layer, a = GaugeConv(*TYPES).double(), MADE["mesh"]()
    b = Stencil(*a.places[:7], a.radius, a.n_source + 8, a.group)
    layer(torch.randn(1, a.n_source, 4, dtype=torch.float64), a)
    x = torch.randn(1, b.n_source, 4, dtype=torch.float64, requires_grad=True)
    layer(x, b).sum().backward()
    assert x.grad.shape == x.shape and not x.grad[:, a.n_source :].any()


def test_what_is_dropped_at_once_still_serves_its_call(monkeypatch):
    """Other threads may drop at any moment what is kept."""
    monkeypatch.setattr(kept, "keep", lambda stencil, key, value: None)
    torch.manual_seed(0)
    for make in MADE.values():
        layer, stencil = GaugeConv(*TYPES).double(), make()
        x = torch.randn(1, stencil.n_source, 4, dtype=torch.float64)
        found = gradients(layer, layer(x, stencil))
        monkeypatch.undo()
        torch.testing.assert_close(found, gradients(layer, layer(x, stencil)))
        monkeypatch.setattr(kept, "keep", lambda stencil, key, value: None)


def test_only_stencils_are_concatenated():
    with pytest.raises(GeometryError, match="got a NoneType"):
        Stencil.cat([MADE["torus"](), None])
