"""Painted meshes have the colours of the pictures, where other programs look for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geocnn import viz
from geocnn.errors import GeometryError
from geocnn.geometry import mesh, raw_mesh, write_mesh
from geocnn.viz import LABEL_COLOURS, Field, painted
from tests.shapes import cube

matplotlib = pytest.importorskip("matplotlib")


def rgb(attributes):
    assert all(attributes[name].dtype == np.uint8 for name in ("red", "green", "blue"))
    return np.stack([attributes[name] for name in ("red", "green", "blue")], 1)


def test_labels_have_the_label_colours():
    labels = np.array([0, 1, 2, 3, 39, 40, -1, 0])
    raw = painted(mesh(*cube()), labels)
    expected = [matplotlib.colors.to_rgb(LABEL_COLOURS[k % 40]) for k in labels]
    expected[6] = matplotlib.colors.to_rgb(viz.colours.MISSING)
    assert np.array_equal(rgb(raw.vertex_attributes), (255 * np.array(expected)).round())
    assert "quality" not in raw.vertex_attributes


def test_numbers_have_the_colour_map_s():
    values = torch.linspace(-1, 3, 8, dtype=torch.float64)
    raw = painted(mesh(*cube()), values)
    shares = matplotlib.colormaps["RdBu_r"]((values.numpy() + 3) / 6)[:, :3]
    assert np.array_equal(rgb(raw.vertex_attributes), (255 * shares).round())
    assert raw.vertex_attributes["quality"].tolist() == values.float().tolist()
    clipped = painted(mesh(*cube()), Field(values, limits=(0, 1)))
    shares = matplotlib.colormaps["viridis"](values.numpy().clip(0, 1))[:, :3]
    assert np.array_equal(rgb(clipped.vertex_attributes), (255 * shares).round())


def test_attributes_are_painted_by_name_on_vertices_and_faces():
    raw = raw_mesh(*cube()).with_attributes(
        {"wind": np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]] * 2}, {"part": np.arange(12) % 5}
    )
    assert np.allclose(painted(raw, "wind").vertex_attributes["quality"], 2)
    on_faces = painted(raw, "part")
    assert rgb(on_faces.face_attributes).shape == (12, 3) and list(on_faces.vertex_attributes) == ["wind"]
    assert list(raw.face_attributes) == ["part"]
    with pytest.raises(GeometryError, match="the mesh has no 'heat'; it has part, wind"):
        painted(raw, "heat")
    with pytest.raises(GeometryError, match=r"values has 5 rows; one per vertex \(8\) or per face \(12\)"):
        painted(raw, torch.zeros(5))


def test_vtk_shows_the_colours_of_a_painted_ply(tmp_path):
    pyvista = pytest.importorskip("pyvista")
    raw = painted(mesh(*cube()), torch.linspace(0, 1, 8))
    write_mesh(tmp_path / "a.ply", raw)
    seen = pyvista.read(tmp_path / "a.ply")
    assert np.array_equal(seen.point_data["RGB"], rgb(raw.vertex_attributes))
    raw = painted(mesh(*cube()), np.arange(12))
    write_mesh(tmp_path / "b.ply", raw)
    assert np.array_equal(pyvista.read(tmp_path / "b.ply").cell_data["RGB"], rgb(raw.face_attributes))
