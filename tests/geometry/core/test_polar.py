"""Entries of `exp` stencils: formed by rows as all at once, and not formed by what reads rows."""

import copy
import gc

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from geocnn.errors import GeometryError
from geocnn.geometry import Hierarchy, cylinder, healpix, mesh, mobius_strip, plane, ring_grid, torus
from geocnn.geometry.core import sampling
from geocnn.geometry.core.recognised import recognised
from geocnn.geometry.core.rows import Rows
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.nn import GaugeConv
from geocnn.ops import operators, tiles
from tests.laws_of_stencils import sent


def ball(level: int = 2):
    solid = Icosahedron(level)
    return mesh(solid.points, solid.faces[-1])


SURFACES = {
    "HEALPix": healpix(4),
    "torus": torus((9, 12)),
    "cylinder": cylinder((7, 12)),
    "rings": ring_grid(9),
    "plane": plane((7, 7)),
    "Möbius": mobius_strip((8, 6)),
    "mesh": ball(),
    "coarse mesh": ball().coarser(),
}


def is_formed(stencil: Stencil) -> bool:
    return stencil.stored is None


@pytest.mark.parametrize("boundary", ["zero", "normalise"])
@pytest.mark.parametrize("name", SURFACES)
def test_rows_formed_by_ranges_are_those_formed_at_once(name, boundary):
    surface = SURFACES[name]
    radius = 2.2 * surface.spacing
    parts, whole = (surface.stencil(radius, boundary=boundary) for _ in range(2))
    assert whole.weight.shape == (whole.n_entries,) and int(whole.row_ptr[-1]) == whole.n_entries
    assert is_formed(whole) and not is_formed(parts)
    every = torch.arange(whole.n_rows)
    for which in [*(slice(int(p[0]), int(p[-1]) + 1) for p in every.split(7)), every[::3], every[:0]]:
        one, other = parts.rows(which), whole.rows(which)
        assert one.n == other.n
        for a, b in zip(one[1:], other[1:], strict=True):
            assert (a is None and b is None) or torch.equal(a, b)
    assert not is_formed(parts)


@pytest.mark.parametrize("name", [name for name in SURFACES if SURFACES[name].stencil(2.0).shifts])
def test_rows_of_an_orbit_are_those_sampled_at_each_target(name):
    surface = SURFACES[name]
    radius, ids = 2.2 * surface.spacing, torch.arange(surface.n_points)
    shared, sampled = surface.stencil(radius), surface.stencil(radius, targets=ids)
    assert shared.shifts is not None and sampled.shifts is None
    assert torch.equal(shared.row_ptr, sampled.row_ptr)
    torch.manual_seed(0)
    layer = GaugeConv("2x0 + 1x1", "1x0 + 2x1").double()
    x = torch.randn(surface.n_points, 4, dtype=torch.float64)
    # a sample on a seam reads other points on either side, with weights of rounding size
    torch.testing.assert_close(layer(x, shared.with_shifts(None)), layer(x, sampled), rtol=0, atol=1e-12)


def test_entries_of_a_sample_lie_around_its_place():
    """Bilinear interpolation gives coordinates exactly: the mean of a sample's sources is its place."""
    surface = plane((9, 9))
    middle = torch.tensor([40])
    s = surface.stencil(2.6, targets=middle)
    place, sample = torch.stack([s.r, s.theta], 1).unique(dim=0, return_inverse=True)
    moved = (surface.points[s.source] - surface.points[middle]) @ surface.frames[40].T
    total = torch.zeros(len(place), 3, dtype=torch.float64)
    total.index_add_(0, sample, torch.cat([moved, torch.ones(len(moved), 1)], 1) * s.weight[:, None])
    r, theta = place.unbind(1)
    expected = torch.stack([r * theta.cos(), r * theta.sin()], 1)
    torch.testing.assert_close(total[:, :2] / total[:, 2:], expected, rtol=0, atol=1e-12)


def test_layers_batches_and_copies_form_no_entries(tmp_path):
    stencil = healpix(4).stencil(0.5)
    stencil.save(tmp_path / "one.safetensors")
    h = healpix(4).hierarchy(levels=2)
    h.save(tmp_path / "h.safetensors")
    others = [
        stencil,
        stencil.to(torch.float32),
        sent(stencil),
        copy.deepcopy(stencil),
        Stencil.load(tmp_path / "one.safetensors"),
        Stencil.cat([stencil, healpix(2).stencil(0.5, samples=(2, 7))]),
        Hierarchy.load(tmp_path / "h.safetensors").stencils[0],
        h.to(torch.float32).stencils[0],
    ]
    layer = GaugeConv("1x0", "1x0")
    for other in others:
        x = torch.randn(other.n_source, 1, requires_grad=True)
        layer(x, other).sum().backward()
        assert not is_formed(other) and str(other).startswith("Stencil(")
        assert other.dtype == other.weight.dtype and other.device == other.weight.device
        assert is_formed(other)
    assert all(t is None or torch.equal(t, getattr(others[4], name)) for name, t in stencil.columns().items())


def test_a_file_holds_one_row_per_orbit(tmp_path):
    stencil = torus((32, 32)).stencil(2.5)
    stencil.save(tmp_path / "s.safetensors")
    # the shifts number all points, twice; entries would take 40 bytes each
    assert (tmp_path / "s.safetensors").stat().st_size < stencil.n_entries


@pytest.mark.parametrize("joint", [False, True])
def test_the_backward_pass_outlives_the_stencil(joint):
    torch.manual_seed(0)
    layer, results = GaugeConv("1x0", "1x0"), []
    for keep in (True, False):
        stencil = healpix(4).stencil(0.5)
        stencil = Stencil.cat([stencil, stencil]) if joint else stencil
        x = torch.ones(stencil.n_source, 1, requires_grad=True)
        y = layer(x, stencil).square().sum()
        if not keep:
            del stencil
            gc.collect()
        y.backward()
        results.append(x.grad)
    assert torch.equal(*results)


def test_a_stencil_without_entries_that_nothing_knows_is_refused():
    row_ptr = Stencil.cat(2 * [healpix(1).stencil(1.2)]).row_ptr.clone()
    with pytest.raises(GeometryError, match="ask for its entries"):
        recognised((*(6 * (row_ptr,)), None), row_ptr, 1.2, lambda *_: None)


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else [out]:
            if isinstance(t, torch.Tensor):
                self.bytes = max(self.bytes, t.nbytes)
        return out


def test_no_tensor_holds_a_number_per_entry(monkeypatch):
    # blocks much smaller than the stencil, as they are where memory matters
    monkeypatch.setattr(sampling, "MOST_SOURCES", 30_000)
    monkeypatch.setattr(tiles, "BLOCK", 2**11)
    monkeypatch.setattr(operators, "CHUNK", 2**11)
    surface, layer = ball(3), GaugeConv("1x0", "1x0")
    with Largest() as largest:
        stencil = surface.stencil(2.5 * surface.spacing)
        # one column of doubles
        assert largest.bytes <= 8 * stencil.n_entries
        largest.bytes = 0
        o = operators.operator(stencil, layer.basis, torch.float32)
    operator = max(t.nbytes for t in o.tensors)
    assert largest.bytes <= max(operator, 2 * stencil.n_entries)
    with Largest() as largest:
        grid = torus((48, 48))
        stencil = grid.stencil(2.5)
        layer(torch.zeros(grid.n_points, 1), stencil)
    assert largest.bytes < stencil.n_entries


def test_rows_are_named_as_the_fields():
    assert {f for f in Rows._fields if f not in ("n", "row")} == set(torus((8, 8)).stencil(2.0).columns())
