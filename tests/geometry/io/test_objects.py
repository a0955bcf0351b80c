"""Meshes that other libraries hold become ours, every vertex, face and attribute in its place."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import diagnose, mesh, raw_mesh, read_mesh, write_mesh
from tests.geometry.io.test_files_of_tools import SIDES, TETRAHEDRON

HEAT, WIND, PART = np.arange(4.0), np.arange(12.0).reshape(4, 3), np.arange(4) + 7


def test_polydata_of_pyvista_is_a_mesh():
    pyvista = pytest.importorskip("pyvista")
    shape = pyvista.PolyData.from_regular_faces(TETRAHEDRON, SIDES)
    shape.point_data["heat"], shape.point_data["wind"], shape.cell_data["part"] = HEAT.copy(), WIND, PART
    shape.point_data["word"] = np.array(["a", "b", "c", "d"])
    s, raw = mesh(shape), raw_mesh(shape)
    assert np.array_equal(s.points.numpy(), TETRAHEDRON) and s.faces.tolist() == SIDES.tolist()
    assert np.array_equal(raw.vertices.numpy(), TETRAHEDRON) and raw.faces.tolist() == SIDES.tolist()
    assert {k: v.tolist() for k, v in raw.vertex_attributes.items()} == {
        "heat": HEAT.tolist(), "wind": WIND.tolist()
    }  # fmt: skip
    assert raw.face_attributes["part"].tolist() == PART.tolist() and raw.left_out == ("word, no numbers",)
    assert diagnose(shape).usable
    # ours is a copy
    shape.point_data["heat"][0], shape.points[0] = 99, 99
    assert raw.vertex_attributes["heat"][0] == 0 and float(s.points[0].sum()) == 0


def test_polydata_with_polygons_lines_and_strips():
    pyvista = pytest.importorskip("pyvista")
    corners = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]]
    shape = pyvista.PolyData(np.array(corners, float), faces=[3, 1, 4, 2, 4, 0, 1, 2, 3], lines=[2, 0, 4])
    shape.cell_data["part"] = [1, 2, 3]
    raw = raw_mesh(shape)
    assert raw.faces.tolist() == [[1, 4, 2], [0, 1, 2], [0, 2, 3]] and raw.face_map.tolist() == [0, 1, 1]
    assert raw.face_attributes["part"].tolist() == [2, 3, 3]
    assert raw.left_out == ("1 cells that are points or lines",)
    with pytest.raises(GeometryError, match=r"not three corners: 1; give \.triangulate\(\)"):
        mesh(shape)
    assert len(mesh(shape.triangulate()).faces) == 3
    strip = pyvista.PolyData(np.array(corners, float), strips=[4, 0, 1, 3, 2])
    for make in (mesh, raw_mesh):
        with pytest.raises(GeometryError, match=r"1 strip of triangles; give \.triangulate"):
            make(strip)
    with pytest.raises(GeometryError, match=r"UnstructuredGrid has not.*extract_surface"):
        mesh(shape.cast_to_unstructured_grid())


def test_what_pyvista_reads_from_our_file_is_the_mesh_again(tmp_path):
    pyvista = pytest.importorskip("pyvista")
    raw = raw_mesh(TETRAHEDRON, SIDES).with_attributes({"heat": HEAT, "wind": WIND}, {"part": PART})
    write_mesh(tmp_path / "a.vtp", raw)
    back = raw_mesh(pyvista.read(tmp_path / "a.vtp"))
    assert torch.equal(back.vertices, raw.vertices) and torch.equal(back.faces, raw.faces)
    assert back.vertex_attributes.keys() == raw.vertex_attributes.keys()
    assert np.array_equal(back.face_attributes["part"], PART)


def test_data_of_pyg_is_a_mesh():
    pyg = pytest.importorskip("torch_geometric.data")
    data = pyg.Data(
        pos=torch.tensor(TETRAHEDRON).float(),
        face=torch.tensor(SIDES).T,
        x=torch.tensor(WIND),
        label=torch.arange(4),
        y=torch.tensor([3]),
        edge_index=torch.tensor([[0, 1], [1, 2]]),
        edge_attr=torch.rand(2, 1),
        name="scan",
    )
    s, raw = mesh(data), raw_mesh(data)
    assert np.array_equal(s.points.numpy(), TETRAHEDRON) and s.faces.tolist() == SIDES.tolist()
    assert raw.faces.tolist() == SIDES.tolist() and list(raw.vertex_attributes) == ["x", "label"]
    assert np.array_equal(raw.vertex_attributes["x"], WIND)
    assert {name.partition(",")[0] for name in raw.left_out} == {"y", "edge_index", "edge_attr", "name"}
    for lacking in (pyg.Data(pos=data.pos), pyg.Data(x=data.x), pyg.Data(face=data.face)):
        for make in (mesh, raw_mesh):
            with pytest.raises(GeometryError, match=r"no pos \[N, 3\] and face \[3, F\]"):
                make(lacking)


def test_trimesh_keeps_attributes_and_colours():
    trimesh = pytest.importorskip("trimesh")
    shape = trimesh.Trimesh(TETRAHEDRON, SIDES, process=False)
    shape.vertex_attributes["heat"], shape.face_attributes["part"] = HEAT, PART
    shape.visual.vertex_colors = np.arange(16, dtype=np.uint8).reshape(4, 4)
    raw = raw_mesh(shape)
    assert raw.vertex_attributes["heat"].tolist() == HEAT.tolist()
    assert raw.vertex_attributes["colour"].tolist() == np.arange(16).reshape(4, 4).tolist()
    assert raw.face_attributes["part"].tolist() == PART.tolist()


NUMBERS = {
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a.tolist())),
    "list of arrays": list,
    "list of tensors": lambda a: [torch.tensor(row) for row in a],
    "the other byte order": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "columns first in memory": np.asfortranarray,
    "backwards in memory": lambda a: a[::-1].copy()[::-1],
    "read only": lambda a: np.broadcast_to(a, a.shape),
    "32 bits": lambda a: a.astype(f"{a.dtype.kind}4"),
    "without a sign": lambda a: a.astype(np.uint16) if a.dtype.kind == "i" else a,
    "floats": lambda a: a.astype(np.float32),
    "with a gradient": lambda a: torch.tensor(a, requires_grad=a.dtype.kind == "f"),
    "half precision": lambda a: torch.tensor(a).bfloat16() if a.dtype.kind == "f" else torch.tensor(a).int(),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_any_kind_are_vertices_and_faces(kind):
    """The tetrahedron's coordinates are whole, so every kind holds them exactly."""
    vertices, faces = (NUMBERS[kind](a) for a in (TETRAHEDRON, SIDES))
    for made in (mesh(vertices, faces), raw_mesh(vertices, faces)):
        assert made.vertices.dtype == torch.float64 and made.faces.dtype == torch.int64
        assert made.vertices.tolist() == TETRAHEDRON.tolist() and made.faces.tolist() == SIDES.tolist()
        assert not made.vertices.requires_grad


def test_a_trimesh_of_any_make_is_a_mesh():
    trimesh = pytest.importorskip("trimesh")
    textured = trimesh.visual.TextureVisuals(uv=np.random.default_rng(0).random((4, 2)))
    for options in ({}, {"process": False}, {"visual": textured, "process": False}):
        shape = trimesh.Trimesh(TETRAHEDRON, SIDES, **options)
        for made in (mesh(shape), raw_mesh(shape)):
            assert made.vertices.tolist() == shape.vertices.tolist()
            assert made.faces.tolist() == shape.faces.tolist()


@pytest.mark.parametrize("names", [("v", "f"), ("vertices", "faces")])
def test_plain_objects_are_meshes(names):
    shape = SimpleNamespace(**dict(zip(names, (TETRAHEDRON.tolist(), SIDES.tolist()), strict=True)))
    for made in (mesh(shape), raw_mesh(shape)):
        assert made.vertices.tolist() == TETRAHEDRON.tolist() and made.faces.tolist() == SIDES.tolist()


def test_our_own_meshes_are_written(tmp_path):
    s = mesh(TETRAHEDRON, SIDES)
    raw = raw_mesh(s)
    assert raw_mesh(raw) is raw
    for extension in (".vtp", ".ply", ".obj"):
        write_mesh(tmp_path / f"a{extension}", s)
        assert read_mesh(tmp_path / f"a{extension}").faces.tolist() == SIDES.tolist()


@pytest.mark.parametrize("wrong", ["scan.ply", TETRAHEDRON, {"v": 1}, None, SimpleNamespace(v=TETRAHEDRON)])
def test_what_holds_no_mesh_is_refused(wrong):
    for make in (mesh, raw_mesh, diagnose):
        with pytest.raises(GeometryError, match=r"faces are missing.*has not \(for a scene.*load\(path\)"):
            make(wrong)


def test_attributes_are_added_and_replaced():
    raw = raw_mesh(TETRAHEDRON, SIDES).with_attributes({"heat": HEAT})
    more = raw.with_attributes({"heat": torch.ones(4), "wind": WIND.tolist()}, {"part": PART})
    assert list(raw.vertex_attributes) == ["heat"] and raw.vertex_attributes["heat"][3] == 3
    assert more.vertex_attributes["heat"].tolist() == [1] * 4
    assert more.vertex_attributes["wind"].tolist() == WIND.tolist()
    assert more.face_attributes["part"].tolist() == PART.tolist() and more.faces is raw.faces
    raw.vertex_attributes["heat"][0] = more.face_attributes["part"][0] = 99
    assert HEAT[0] == 0 and PART[0] == 7
    with pytest.raises(GeometryError, match=r"one row per vertex is required, 4 .*'heat' has shape \[3\]"):
        raw.with_attributes({"heat": [1, 2, 3]})
    with pytest.raises(GeometryError, match=r"one row per triangle is required, 4 .*'part' has shape \[\]"):
        raw.with_attributes(face={"part": 5})
    with pytest.raises(GeometryError, match="'name' must be numbers"):
        raw.with_attributes({"name": ["a"] * 4})
