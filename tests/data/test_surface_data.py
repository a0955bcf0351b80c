"""Surfaces in PyG's loaders: batches are the surfaces side by side, and the geometry is computed once."""

import functools
import io
import warnings

import numpy as np
import pytest
import torch
from rich.console import Console

import geocnn.geometry as geometry
from geocnn.errors import BadValueError, GeometryError, RadiusWarning
from geocnn.geometry import Hierarchy, cache_room, mesh
from geocnn.geometry.meshes.descriptors import shape_features
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.nn import SurfaceUNet

pytest.importorskip("torch_geometric")

from torch_geometric.data import Batch, InMemoryDataset
from torch_geometric.loader import DataLoader

from geocnn.data import surface_data
from geocnn.data.surface_data import SurfaceData, prepare
from tests.shapes import jittered_sphere

OPTIONS = {"levels": 2, "radius": 0.6, "kind": "log"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))


def eggs():
    """Three different meshes, the last with fewer vertices."""
    return [
        geometry.mesh(ball.points * torch.tensor([1.0, 1.1, stretch]), ball.faces[-1])
        for stretch, ball in ((1.3, Icosahedron(2)), (1.5, Icosahedron(2)), (1.2, Icosahedron(1)))
    ]


def labels(meshes):
    return [(mesh.points[:, 2] > 0).long() for mesh in meshes]


def tensors(hierarchy):
    stencils = [*hierarchy.stencils, *hierarchy.down, *hierarchy.up]
    return [*(t for s in stencils for t in s.tensors().values()), *hierarchy.areas, *hierarchy.ptr]


def assert_same(a, b):
    for one, other in zip(tensors(a), tensors(b), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def test_without_levels_all_meshes_get_those_of_the_smallest():
    """Levels of 162 and 40 points suit the first two; the third has 42, too few to halve."""
    options = {"radius": 0.6, "kind": "log"}
    for meshes, n in ((eggs()[:2], 2), (eggs(), 1)):
        assert [data.hierarchy.n_levels for data in prepare(meshes, **options)] == [n] * len(meshes)


def test_a_surface_carries_what_was_computed_from_it():
    meshes = eggs()
    for data, own, y in zip(
        prepare(meshes, labels(meshes), dtype=torch.float64, **OPTIONS), meshes, labels(meshes), strict=True
    ):
        assert torch.equal(data.x, shape_features(own)[0])
        assert torch.equal(data.areas, own.areas) and torch.equal(data.y, y)
        assert_same(data.hierarchy, own.hierarchy(**OPTIONS))
        assert data.stencil is data.hierarchy.stencils[0] and data.num_nodes == own.n_points


def test_pyg_loaders_collate_by_cat():
    surfaces = prepare(eggs(), labels(eggs()), **OPTIONS)
    (batch,) = DataLoader(surfaces, batch_size=3)
    assert isinstance(batch, SurfaceData) and batch.num_graphs == 3
    assert_same(batch.hierarchy, Hierarchy.cat([s.hierarchy for s in surfaces]))
    for name in ("x", "y", "areas"):
        assert torch.equal(getattr(batch, name), torch.cat([getattr(s, name) for s in surfaces]))
    assert torch.equal(batch.ptr, batch.hierarchy.ptr[0])
    # operators of a stencil are built once: every call hands out the same
    assert batch.hierarchy is batch.hierarchy


def test_what_workers_send_is_recognised():
    data = prepare(eggs(), levels=2, radius=0.9)
    for batch in DataLoader(data, batch_size=2, num_workers=1):
        known = {id(s) for d in data for s in (*d.hierarchy.stencils, *d.hierarchy.down, *d.hierarchy.up)}
        joint = batch.hierarchy
        assert {id(part) for s in (*joint.stencils, *joint.down) for part in s.parts or (s,)} <= known


def test_shuffled_loaders_and_uneven_batches():
    surfaces = prepare(eggs(), labels(eggs()), **OPTIONS)
    loader = DataLoader(surfaces, batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(0))
    points = 0
    for batch in loader:
        assert batch.stencil.n_target == len(batch.x)
        points += len(batch.x)
    assert points == sum(len(s.x) for s in surfaces)


def test_a_batch_gives_what_its_surfaces_give_alone():
    surfaces = prepare(eggs(), **OPTIONS, dtype=torch.float64)
    torch.manual_seed(0)
    widths = ["4x0 + 2x1 + 1x2", "4x0 + 2x1"]
    network = SurfaceUNet("11x0 + 5x1 + 1x2", widths, "2x0", rings=2).double().eval()
    batch = Batch.from_data_list(surfaces)
    with torch.no_grad():
        together = network(batch.x, batch.hierarchy)
        alone = torch.cat([network(s.x, s.hierarchy) for s in surfaces])
    # sums of about 10 numbers in another order, through 8 layers
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


def test_a_batch_comes_apart_again():
    surfaces = prepare(eggs(), labels(eggs()), **OPTIONS)
    batch = Batch.from_data_list(surfaces)
    assert batch.hierarchy.n_surfaces == 3
    for k, surface in enumerate(surfaces):
        assert torch.equal(batch[k].x, surface.x)
        assert_same(batch[k].hierarchy, surface.hierarchy)


def test_the_geometry_follows_to_the_device():
    surfaces = prepare(eggs(), labels(eggs()), **OPTIONS)
    alone = surfaces[0].clone().to("meta")
    assert alone.x.device.type == alone.areas.device.type == alone.stencil.device.type == "meta"
    assert surfaces[0].stencil.device.type == "cpu"
    batch = Batch.from_data_list(surfaces[1:])
    before = batch.hierarchy.stencils[0]
    assert batch.to("cpu").hierarchy.stencils[0] is before  # and its operators with it
    batch = batch.to("meta")
    assert batch.num_graphs == 2
    assert all(t.device.type == "meta" for t in (batch.x, *batch.hierarchy.areas, batch[1].stencil.r))


def test_rows_that_do_not_fit_the_points_are_refused():
    hierarchy = eggs()[0].hierarchy(**OPTIONS)
    with pytest.raises(GeometryError, match="162 points, but y has 5"):
        SurfaceData(torch.zeros(162, 1), torch.zeros(5), hierarchy.areas[0], hierarchy)
    with pytest.raises(GeometryError, match="3 meshes but labels for 1"):
        prepare(eggs(), labels(eggs())[:1], **OPTIONS)
    with pytest.raises(GeometryError, match=r"mesh 0 has 162 vertices, but labels of shape \[42\]; give one"):
        prepare(eggs(), labels(eggs())[::-1], **OPTIONS)


@pytest.mark.parametrize("bad", [float("nan"), 1e20, -1.6375e30])
def test_fields_of_a_mesh_file_with_bad_values_are_refused_for_learning(tmp_path, bad):
    """The file itself is read as it is: whoever mends it must see it."""
    surface = geometry.icosphere(1)
    height = torch.arange(42.0)
    height[5] = bad
    geometry.io.save_ply(tmp_path / "m.ply", surface.points, Icosahedron(1).faces[-1], height=height)
    found = geometry.io.read_mesh(tmp_path / "m.ply").vertex_attributes["height"]
    field = torch.from_numpy(found).float()[:, None]
    hierarchy = surface.hierarchy(levels=1)
    with pytest.raises(BadValueError, match=r"1 of 42 rows of x are .*, first at \[5\]"):
        SurfaceData(field, areas=hierarchy.areas[0], hierarchy=hierarchy)
    with pytest.raises(BadValueError, match="rows of y"):
        SurfaceData(torch.zeros(42, 1), field, hierarchy.areas[0], hierarchy)


def test_meshes_of_different_radii_cannot_share_a_batch():
    options = OPTIONS | {"radius": None}
    batch = Batch.from_data_list(prepare(eggs(), **options))
    with pytest.raises(GeometryError, match="different radii"):
        batch.hierarchy  # noqa: B018


def test_a_batch_has_one_dtype():
    """Joined, single precision would become double without a word."""
    options = OPTIONS | {"levels": 1}
    single, double = (prepare(eggs()[:1], dtype=dtype, **options) for dtype in (torch.float32, torch.float64))
    with pytest.raises(GeometryError, match=r"float32: \[0\], torch.float64: \[1\].*\.float\(\)"):
        Batch.from_data_list(single + double).hierarchy  # noqa: B018


def test_several_processes_compute_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(surface_data, "PER_PROCESS", 1)
    alone = prepare(eggs(), labels(eggs()), **OPTIONS)
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "other"))
    said = io.StringIO()
    shared = prepare(eggs(), labels(eggs()), processes=2, console=Console(file=said), **OPTIONS)
    assert "geometry of meshes, 2 at a time (once: it is cached): 3" in said.getvalue()
    # the processes use one thread each, this one perhaps several: sums in another order, in float32
    for one, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(one.x, other.x, rtol=1e-5, atol=1e-5)
        for a, b in zip(tensors(one.hierarchy), tensors(other.hierarchy), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    # the second time nothing is computed, nor said
    again = io.StringIO()
    prepare(eggs(), processes=2, console=Console(file=again), **OPTIONS)
    assert again.getvalue() == ""


def test_no_process_is_started_for_what_takes_less_than_its_start(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr(surface_data, "ProcessPoolExecutor", refuse)
    assert len(prepare(eggs(), processes=2, **OPTIONS)) == 3
    with pytest.raises(AssertionError, match="was started"):
        monkeypatch.setattr(surface_data, "PER_PROCESS", 150)
        prepare(eggs(), processes=2, **OPTIONS | {"radius": 0.61})


@pytest.mark.parametrize("room", [0, 30_000])
def test_a_cache_without_room_for_all_costs_no_second_computation(monkeypatch, room):
    """Each is taken as soon as it is computed; later ones may push it out of the cache."""
    monkeypatch.setenv("GEOCNN_CACHE_BYTES", str(room))
    monkeypatch.setattr(cache_room, "IN_USE", 0.0)
    made, compute = [], geometry.Mesh.hierarchy

    @functools.wraps(compute)
    def hierarchy(self, *arguments, **options):
        made.append(len(self))
        return compute(self, *arguments, **options)

    monkeypatch.setattr(geometry.Mesh, "hierarchy", hierarchy)
    data = prepare(eggs(), labels(eggs()), dtype=torch.float64, **OPTIONS)
    assert made == [162, 162, 42]
    for one, own in zip(data, eggs(), strict=True):
        assert_same(one.hierarchy, compute(own, **OPTIONS))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_mesh_that_does_not_work_is_named(processes, monkeypatch):
    monkeypatch.setattr(surface_data, "PER_PROCESS", 1)
    two_faces = geometry.mesh(torch.eye(4)[:, :3], [[0, 1, 2], [0, 2, 3]])
    with pytest.raises(GeometryError, match=r"mesh 2: .*fewer levels"):
        prepare([*eggs()[:2], two_faces], processes=processes, **OPTIONS | {"levels": 3})


def test_one_label_per_mesh_is_one_per_surface_of_a_batch():
    for given in ([3, 1, 2], torch.tensor([3, 1, 2]), [torch.tensor([k]) for k in (3, 1, 2)]):
        batch = next(iter(DataLoader(prepare(eggs(), given, **OPTIONS), batch_size=3)))  # type: ignore[arg-type]
        assert batch.y.tolist() == [3, 1, 2] and batch.hierarchy.n_surfaces == 3


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        ([torch.zeros(162), torch.zeros(41), torch.zeros(42)], {}, r"mesh 1 has 162 vertices, but labels of"),
        (None, {"radius": 60.0}, r"mesh 0: radius 60 is .* point spacing.* about 0\.\d+"),
        (None, {"radius": 0.001}, r"mesh 0: radius 0.001 is .* point spacing.* about 0\.\d+"),
        (None, {"radius": "x"}, "radius must be a positive length"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_geometry(monkeypatch, labels, options, said):
    def computed(*_, **__):
        raise AssertionError("geometry was computed")

    monkeypatch.setattr(geometry.Mesh, "_disc", computed)
    with pytest.raises(GeometryError, match=said):
        prepare(eggs(), labels, **OPTIONS | options)


def test_a_doubtful_radius_is_said_once_for_all_meshes():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepare(eggs()[:2], **OPTIONS | {"radius": 0.25})
    (said,) = [w for w in caught if issubclass(w.category, RadiusWarning)]
    assert (
        str(said.message).startswith("mesh 0 (and 1 other meshes): radius 0.25") and said.filename == __file__
    )


def test_a_data_set_of_pyg_saves_and_loads_them(tmp_path):
    """In its own format, without unpickling what torch does not allow."""
    surfaces = prepare(eggs(), labels(eggs()), **OPTIONS)
    InMemoryDataset.save(surfaces, str(tmp_path / "all.pt"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = InMemoryDataset(root=None)
        found.load(str(tmp_path / "all.pt"))
    for one, other in zip(found, surfaces, strict=True):
        assert isinstance(one, SurfaceData) and torch.equal(one.x, other.x) and torch.equal(one.y, other.y)
        assert_same(one.hierarchy, other.hierarchy)
    batch, expected = (next(iter(DataLoader(s, batch_size=3))) for s in (found, surfaces))
    assert_same(batch.hierarchy, expected.hierarchy)


def test_a_loader_pins_the_geometry_too(monkeypatch):
    """Without a GPU nothing can be pinned: here a pinned tensor is a marked copy."""
    marked = set()

    def pin(t: torch.Tensor) -> torch.Tensor:
        copy = t.clone()
        marked.add(id(copy))
        return copy

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda t: id(t) in marked)
    h = geometry.icosphere(1).hierarchy(levels=2)
    one = SurfaceData(x=torch.zeros(42, 3), areas=h.areas[0], hierarchy=h)
    for data in (one.clone(), next(iter(DataLoader([one, one], batch_size=2)))):
        pinned = data.pin_memory()
        assert pinned.x.is_pinned() and pinned.hierarchy.is_pinned()
        assert not h.is_pinned()


def test_geometry_is_moved_as_tensors_are(monkeypatch):
    """`non_blocking` reaches the geometry too, of one surface and of a batch."""
    moves = []
    move = torch.Tensor.to

    def to(t: torch.Tensor, device=None, dtype=None, non_blocking=False, **options):
        if not t.is_meta:
            moves.append(non_blocking)
        return move(t, device, dtype, non_blocking, **options)

    h = geometry.icosphere(1).hierarchy(levels=2)
    one = SurfaceData(x=torch.zeros(42, 3), areas=h.areas[0], hierarchy=h)
    joined = next(iter(DataLoader([one, one], batch_size=2)))
    assert joined.hierarchy.n_surfaces == 2
    monkeypatch.setattr(torch.Tensor, "to", to)
    for data in (one.clone(), joined):
        moves.clear()
        moved = data.to("meta", non_blocking=True)
        assert all(moves) and len(moves) > 10
        assert moved.x.is_meta and moved.hierarchy.areas[0].is_meta


def test_meshes_come_in_any_iterable_and_not_in_none():
    egg = mesh(*jittered_sphere(60))
    (data,) = prepare(iter([egg]), iter([torch.zeros(60)]), levels=1, radius=1.0, kind="log")
    assert data.x.shape[0] == 60
    for wrong, message in (([], "no meshes"), (egg, r"write \[mesh\]"), (["a.ply"], "item 0 is a str")):
        with pytest.raises(GeometryError, match=message):
            prepare(wrong)
    with pytest.raises(GeometryError, match="labels of mesh 0 must be numbers"):
        prepare([egg], ["a"])


def test_rows_are_tensors_and_a_missing_hierarchy_is_an_attribute_error():
    h = mesh(*jittered_sphere(60)).hierarchy(levels=1, kind="log")
    for wrong in (np.zeros((60, 3)), [0.0] * 60, torch.tensor(1.0)):
        with pytest.raises(GeometryError, match="x must be a tensor of one row per point"):
            SurfaceData(wrong, None, None, h)
    assert not hasattr(SurfaceData(), "hierarchy")
