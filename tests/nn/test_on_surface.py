"""OnSurface: weights and geometry move, are cast, saved and copied as one module."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from geocnn.geometry import Hierarchy, Stencil, healpix
from geocnn.geometry.core.placement import named_tensors
from geocnn.harmonics import gauss_legendre
from geocnn.nn import ConvBlock, GaugeConv, HarmonicBlock, OnSurface, SurfaceEncoder
from tests.pretend import DEVICE, pretending


def stencil(kind: str = "log") -> Stencil:
    return healpix(2).stencil(1.0, kind=kind)


def hierarchy(oversample: bool = False) -> Hierarchy:
    return healpix(2).hierarchy(levels=2, radius=1.0, kind="log", oversample=oversample)


def encoder(h: Hierarchy) -> OnSurface:
    torch.manual_seed(0)
    return OnSurface(SurfaceEncoder("1x0", ["2x0 + 1x1"] * 2, n_out=3), h).eval()


def field(*size: int) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def all_formats(module: nn.Module) -> set[torch.dtype]:
    found = {t.dtype for t in [*module.parameters(), *module.buffers()] if t.is_floating_point()}
    return found | {t.dtype for _, t in named_tensors(module.geometry) if t.is_floating_point()}


def test_it_calls_the_module_with_the_geometry():
    h = hierarchy()
    model, x = encoder(h), field(2, 48, 1).float()
    assert torch.equal(model(x), model.module(x, h))


def test_geometry_is_cast_with_the_weights():
    model = encoder(hierarchy()).double()
    assert all_formats(model) == {torch.float64}
    assert all_formats(model.float()) == {torch.float32}
    assert model(field(1, 48, 1).float()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_geometry_keeps_single_precision_below_it(dtype):
    st = stencil()
    layer = OnSurface(GaugeConv("1x0", "2x0 + 1x1"), st).to(dtype)
    assert next(layer.module.parameters()).dtype == dtype
    assert torch.equal(layer.geometry[0].theta, st.theta.float())
    x = field(2, 48, 1)
    expected = copy.deepcopy(layer.module).double()(x, st)
    # sums of some 30 rounded products: two units in the last place of the largest
    atol = 2 * torch.finfo(dtype).eps * float(expected.detach().abs().max())
    torch.testing.assert_close(layer(x.to(dtype)).double(), expected, rtol=0, atol=atol)


def test_geometry_follows_to_a_device():
    with pretending():
        model = encoder(hierarchy(oversample=True)).to(DEVICE)
        placed = {t.device for t in [*model.buffers(), *(t for _, t in named_tensors(model.geometry))]}
        assert placed == {DEVICE}
        assert model(field(1, 48, 1).float().to(DEVICE)).device == DEVICE
        assert {t.device.type for _, t in named_tensors(model.cpu().geometry)} == {"cpu"}


def test_operators_are_kept_until_something_changes():
    layer = OnSurface(GaugeConv("1x0", "2x0"), stencil()).double()
    layer(field(48, 1))
    made = layer.geometry[0].operators
    assert made
    layer.double()
    layer(field(48, 1))
    assert layer.geometry[0].operators is made
    layer.float()
    assert not layer.geometry[0].operators


def test_a_stencil_that_occurs_twice_is_moved_once():
    h = hierarchy(oversample=True)
    assert h.down[0] is h.stencils[0]
    for moved in (h.float(), encoder(h).float().geometry[0]):
        assert moved.down[0] is moved.stencils[0]
        assert moved.down[0].r.dtype == torch.float32


def test_a_state_dict_has_weights_and_geometry():
    source, target = encoder(hierarchy()), encoder(healpix(2).turn_frames(field(48)).hierarchy(2, 1.0, "log"))
    with torch.no_grad():
        for p in source.parameters():
            p += 0.1
    x = field(2, 48, 1).float()
    target(x)  # operators of the geometry it had
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    target.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(target(x), source(x))
    assert torch.equal(target.geometry[0].stencils[0].angle, source.geometry[0].stencils[0].angle)


def test_weights_alone_fit_another_surface():
    source = encoder(hierarchy())
    other = encoder(healpix(4).hierarchy(2, 1.0, "log"))
    other.module.load_state_dict(source.module.state_dict())
    assert other(field(1, 192, 1).float()).shape == (1, 1, 3)
    with pytest.raises(RuntimeError, match="size mismatch for geometry_0_stencils_0_source"):
        other.load_state_dict(source.state_dict())


def test_what_the_caller_gave_is_not_written_to():
    st = stencil()
    before = copy.deepcopy(st)
    layer = OnSurface(GaugeConv("1x0", "2x0"), st)
    state = {name: torch.zeros_like(t) for name, t in layer.state_dict().items()}
    layer.load_state_dict(state)
    assert bool((layer.geometry[0].weight == 0).all())
    assert torch.equal(st.weight, before.weight)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent_and_whole(again):
    model, x = encoder(hierarchy(oversample=True)), field(1, 48, 1).float()
    other = again(model)
    assert torch.equal(other(x), model(x))
    held = {t.data_ptr() for _, t in named_tensors(other.geometry)}
    assert held == {t.data_ptr() for name, t in other.named_buffers() if name.startswith("geometry")}
    assert not held & {t.data_ptr() for _, t in named_tensors(model.geometry)}


def test_layers_of_several_stencils_stand_in_a_sequence():
    log, exp = stencil("log"), stencil("exp")
    layers = [GaugeConv("1x0", "2x1"), GaugeConv("2x1", "1x0")]
    both = nn.Sequential(OnSurface(layers[0], log), OnSurface(layers[1], exp))
    x = field(48, 1).float()
    assert torch.equal(both(x), layers[1](layers[0](x, log), exp))


def test_grids_areas_and_nothing_are_held_too():
    grid, st = gauss_legendre(5, 9), stencil()
    block = OnSurface(HarmonicBlock("1x0", "2x0", lmax=4), grid).double()
    assert block.geometry[0] is grid
    assert block(field(45, 1)).shape == (45, 2)
    areas = healpix(2).areas
    conv = ConvBlock("1x0", "2x0")
    held = OnSurface(conv, st, None, areas)
    assert dict(held.named_buffers())["geometry_2"].dtype == torch.float64
    x = field(48, 1)
    assert torch.equal(held.double()(x), conv(x, st, None, areas))
    assert dict(held.float().named_buffers())["geometry_2"].dtype == torch.float32


def test_loaded_geometry_of_other_frames_shares_no_operator_of_the_old_ones():
    straight, turned = stencil(), stencil().turn_frames(torch.linspace(0, 6, 48))
    assert straight.shifts is not None
    layer = GaugeConv("1x0", "2x1")
    loaded = OnSurface(copy.deepcopy(layer), straight).double()
    loaded.load_state_dict(OnSurface(layer, turned).double().state_dict())
    x = field(2, 48, 1)
    torch.testing.assert_close(loaded(x), layer.double()(x, turned))
