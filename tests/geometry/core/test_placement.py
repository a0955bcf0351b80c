"""Stencils and hierarchies are moved, cast and pinned as tensors are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry import healpix, mobius_strip
from geocnn.geometry.core.placement import Movable, named_tensors

VALUES = {
    "stencil": lambda: healpix(2).stencil(1.0, kind="log"),
    "stencil with flips": lambda: mobius_strip((4, 6)).stencil(1.5, kind="exp"),
    "hierarchy": lambda: healpix(2).hierarchy(2, 1.0, "log"),
    "oversampled hierarchy": lambda: healpix(2).hierarchy(2, 1.0, "log", oversample=True),
}


@pytest.fixture(params=VALUES)
def value(request) -> Movable:
    return VALUES[request.param]()


def tensors(value: Movable) -> dict[str, Tensor]:
    return dict(named_tensors(value))


@pytest.mark.parametrize(
    "cast", [lambda v: v.to(torch.float32), lambda v: v.to(dtype=torch.float32), lambda v: v.float()]
)
def test_casting_casts_what_floats(value, cast):
    before, after = tensors(value), tensors(cast(value))
    assert before.keys() == after.keys()
    for name, t in before.items():
        assert torch.equal(after[name], t.float() if t.is_floating_point() else t)
        assert after[name].dtype == (torch.float32 if t.is_floating_point() else t.dtype)


def test_all_is_moved(value):
    for moved in (value.to("meta"), value.to(torch.device("meta"), non_blocking=True)):
        assert {t.device.type for t in tensors(moved).values()} == {"meta"}
    assert {t.device.type for t in tensors(value.cpu()).values()} == {"cpu"}


def test_what_is_there_already_keeps_its_operators(value):
    stays = value.to("cpu", torch.float64)
    for kind in ("stencils", "down", "up", "readings"):
        for one, other in zip(getattr(value, kind, ()), getattr(stays, kind, ()), strict=True):
            assert one is other
    assert hasattr(value, "stencils") or stays is value


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_geometry_is_not_cast_to_what_does_not_float(value, dtype):
    with pytest.raises(GeometryError, match="floating dtype"):
        value.to(dtype)


def test_all_is_pinned(value, monkeypatch):
    """Without a GPU nothing can be pinned: here a pinned tensor is a marked copy."""
    marked = set()

    def pin(t: Tensor) -> Tensor:
        copy = t.clone()
        marked.add(id(copy))
        return copy

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "is_pinned", lambda t: id(t) in marked)
    assert not value.is_pinned()
    pinned = value.pin_memory()
    assert pinned.is_pinned()
    for name, t in tensors(value).items():
        assert torch.equal(tensors(pinned)[name], t)
