"""PyG's data of meshes, transformed: what its data sets save, load and batch is what was given."""

import warnings

import pytest
import torch

import geocnn.geometry as geometry
from geocnn.errors import GeometryError
from tests.data.folders import made

pytest.importorskip("torch_geometric")

from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.loader import DataLoader

from geocnn.data import SurfaceData, ToSurface
from geocnn.data.surface_data import prepare
from geocnn.nn import SurfaceEncoder

TO_SURFACE = ToSurface(radius=0.9, levels=2)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))


def eggs(count=4, per_vertex=False):
    """Meshes as PyG's data sets hold them, with a label each or per vertex."""
    for k in range(count):
        v, f = made.egg(k, n=60 + k)
        y = (v[:, 2] > 0).long() if per_vertex else torch.tensor([k % 2])
        yield Data(pos=v.float(), face=f.T, y=y, normal=v.float(), name=f"egg {k}")


def tensors(hierarchy):
    stencils = [*hierarchy.stencils, *hierarchy.down, *hierarchy.up]
    return [*(t for s in stencils for t in s.tensors().values()), *hierarchy.areas, *hierarchy.ptr]


def same(a, b):
    return all(torch.equal(s, t) for s, t in zip(tensors(a), tensors(b), strict=True))


def eggs_set(root, per_vertex=False, pre_transform=TO_SURFACE):
    class Eggs(InMemoryDataset):
        """A data set as PyG's users write it."""

        def __init__(self):
            super().__init__(root, pre_transform=pre_transform)
            self.load(self.processed_paths[0])

        @property
        def processed_file_names(self):
            return ["eggs.pt"]

        def process(self):
            made_of = eggs(per_vertex=per_vertex)
            self.save([self.pre_transform(one) for one in made_of], self.processed_paths[0])

    with warnings.catch_warnings():
        # PyG warns where it must unpickle what torch does not allow
        warnings.simplefilter("error")
        return Eggs()


@pytest.mark.parametrize("per_vertex", [False, True])
def test_a_data_set_of_pyg_gives_back_what_it_saved(tmp_path, per_vertex):
    first = eggs_set(tmp_path, per_vertex)
    again = eggs_set(tmp_path, per_vertex)  # read from its file
    for one, other, given in zip(first, again, eggs(per_vertex=per_vertex), strict=True):
        expected = TO_SURFACE(given)
        for found in (one, other):
            assert isinstance(found, SurfaceData) and found.name == given.name
            assert torch.equal(found.x, expected.x) and torch.equal(found.y, given.y)
            assert torch.equal(found.pos, given.pos) and torch.equal(found.face, given.face)
            assert same(found.hierarchy, expected.hierarchy) and torch.equal(found.areas, expected.areas)
    batch = next(iter(DataLoader(again, batch_size=4)))
    n = sum(60 + k for k in range(4))
    assert batch.y.shape == ((n,) if per_vertex else (4,)) and batch.x.shape == (n, 23)
    alone = next(iter(DataLoader([TO_SURFACE(one) for one in eggs(per_vertex=per_vertex)], batch_size=4)))
    assert same(batch.hierarchy, alone.hierarchy) and batch.hierarchy.n_surfaces == 4
    assert int(batch.face.max()) == n - 1


def test_a_network_reads_batches_of_such_a_data_set(tmp_path):
    data = eggs_set(tmp_path)
    network = SurfaceEncoder(data[0].in_type, ["4x0 + 2x1", "4x0"], 2).eval()
    batch = next(iter(DataLoader(data, batch_size=2)))
    whole = network(batch.x, batch.hierarchy)
    single = torch.cat([network(data[k].x, data[k].hierarchy) for k in range(2)])
    assert whole.shape == (2, 2)
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5)  # other orders of sums


def test_it_is_what_prepare_gives():
    given = next(eggs())
    (expected,) = prepare([geometry.mesh(given)], radius=0.9, levels=2, kind="log")
    found = TO_SURFACE(given)
    assert torch.equal(found.x, expected.x) and same(found.hierarchy, expected.hierarchy)
    assert "hierarchy" not in given and given.pos.dtype == torch.float32  # what was given stays


def test_fields_come_in_after_shape_features():
    given = next(eggs())
    given.x = given.pos[:, :2]
    every = ToSurface(radius=0.9, levels=1, vectors=("normal",))(given)
    assert every.in_type == "11x0 + 5x1 + 1x2 + 3x0 + 1x1"
    assert torch.equal(every.x[:, 23:25], given.x)
    torch.testing.assert_close(every.x[:, 25:].norm(dim=-1), given.normal.norm(dim=-1))
    fields = ToSurface(radius=0.9, levels=1, shape=False)(given)
    assert fields.in_type == "2x0" and torch.equal(fields.x, given.x)


def test_every_mesh_may_get_unit_area():
    given = next(eggs())
    larger = given.clone()
    larger.pos = given.pos * 8  # a power of two: no rounding
    each = ToSurface(radius=0.3, levels=1, scale="each")
    one, other = each(given), each(larger)
    assert float(one.areas.sum()) == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(one.areas, other.areas)
    assert torch.equal(one.hierarchy.stencils[0].source, other.hierarchy.stencils[0].source)
    in_units = ToSurface(radius=0.9, levels=1, unit=8.0)(larger)
    assert torch.equal(in_units.areas, ToSurface(radius=0.9, levels=1)(given).areas)


def test_its_options_tell_data_sets_apart():
    """PyG compares what a data set was made with by this text."""
    assert repr(ToSurface(radius=0.9)) == repr(ToSurface(radius=0.9)) != repr(ToSurface(radius=0.8))
    assert "radius=0.9, levels=3" in repr(ToSurface(radius=0.9))


def test_what_is_no_surface_is_told():
    given = next(eggs())
    with pytest.raises(GeometryError, match="faces are missing"):
        TO_SURFACE(Data(pos=given.pos))
    given.x = torch.zeros(7, 2)
    with pytest.raises(GeometryError, match=r"the field 'x' is \[60\] or \[60, channels\], got \[7, 2\]"):
        TO_SURFACE(given)
    del given.x
    with pytest.raises(GeometryError, match="nothing comes in"):
        ToSurface(radius=0.9, shape=False)(given)
    given.y = torch.zeros(given.face.shape[1])
    with pytest.raises(GeometryError, match="60 points, but y has 116 rows"):
        TO_SURFACE(given)
