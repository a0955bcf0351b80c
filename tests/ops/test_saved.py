"""What a gather saves for its backward pass."""

from __future__ import annotations

import torch

import geocnn.ops.product as product
from geocnn.geometry import icosphere
from tests.ops.by_hand import random_stencil
from tests.ops.test_gather import fast, in_ranges, layer_of, random_field


def saved_bytes(call) -> int:
    """Bytes that autograd keeps, each storage once."""
    kept: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = call()
    assert y.requires_grad
    return sum(kept.values())


def test_activation_memory_does_not_grow_with_the_neighbourhood(monkeypatch):
    monkeypatch.setattr(product, "MOMENT_BYTES", 0)
    surface, layer = icosphere(3), layer_of("SO2").float()
    found = []
    for spacings in (2, 4):
        stencil = surface.stencil(spacings * surface.spacing).to(dtype=torch.float32)
        x = torch.randn(4, surface.n_points, layer.in_type.dim, requires_grad=True)
        layer(x, stencil)
        found.append(saved_bytes(lambda x=x, s=stencil: layer(x, s)))
        assert found[-1] <= 2 * x.nbytes + 8 * sum(p.nbytes for p in layer.parameters())
    assert found[0] == found[1]


def test_few_moments_are_kept_and_many_are_formed_again(monkeypatch):
    """Both give the same bits: the same products in the same order."""
    stencil, layer = icosphere(2).stencil(0.5, kind="exp").to(dtype=torch.float32), layer_of("SO2").float()
    x = random_field(layer, stencil, 3).float().requires_grad_()
    size = 4 * 3 * stencil.n_target * layer._plan.n_moments
    found, saved = [], []
    for most in (size, size - 1):
        monkeypatch.setattr(product, "MOMENT_BYTES", most)
        y = layer(x, stencil)
        found.append([y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])])
        saved.append(saved_bytes(lambda: layer(x, stencil)))
    for kept, formed in zip(*found, strict=True):
        assert torch.equal(kept, formed)
    # targets of tiles that stand for none have moments as well
    assert size <= saved[0] - saved[1] < 1.1 * size


def test_what_is_saved_for_the_backward_pass_of_ranges_is_no_operator(monkeypatch):
    stencil, layer = random_stencil("SO2", 40, 9), layer_of("SO2")
    in_ranges(monkeypatch, 4096)
    x = random_field(layer, stencil, 1).requires_grad_()
    assert (
        saved_bytes(lambda: fast(layer, x, stencil))
        <= 2 * x.nbytes + 2 * sum(p.nbytes for p in layer.parameters()) + 8192
    )
