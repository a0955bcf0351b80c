"""What .vtp files hold is the same in VTK, on which ParaView is built, as in our own reader."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import icosphere, raw_mesh, read_mesh, write_mesh, write_polylines
from geocnn.geometry.io import vtp_writing
from tests.shapes import cube

KINDS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


def attributed():
    raw, g = raw_mesh(*cube()), np.random.default_rng(0)
    n, m = len(raw.vertices), len(raw.faces)
    for kind in KINDS:
        whole = kind[0] != "f"
        limits = np.iinfo(kind) if whole else np.finfo(kind)
        extremes = np.array([limits.min, limits.max], kind)
        rest = g.integers(0, 100, n - 2) if whole else g.standard_normal(n - 2)
        raw.vertex_attributes[f"number {kind}"] = np.concatenate([extremes, rest.astype(kind)])
    raw.vertex_attributes["wind"] = g.standard_normal((n, 3)).astype(np.float32)
    raw.vertex_attributes["uv"] = g.standard_normal((n, 2))
    raw.vertex_attributes['Druck <°C> & "co"'] = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1, 2, 3])
    raw.face_attributes["part"] = np.arange(m) + 2**60
    raw.face_attributes["flow"] = g.standard_normal((m, 3))
    return raw


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("block", [2**15, 64, 192])
def test_every_kind_of_number_is_the_same_in_vtk_and_read_back(tmp_path, monkeypatch, block):
    """Blocks of several sizes: with 64 bytes the last block of 8 doubles is full, with 192 that of points."""
    pyvista = pytest.importorskip("pyvista")
    monkeypatch.setattr(vtp_writing, "BLOCK", block)
    raw = attributed()
    assert write_mesh(tmp_path / "a.vtp", raw) == []
    back, seen = read_mesh(tmp_path / "a.vtp"), pyvista.read(tmp_path / "a.vtp")
    assert same(back.vertices.numpy(), raw.vertices.numpy()) and torch.equal(back.faces, raw.faces)
    assert same(np.asarray(seen.points), raw.vertices.numpy())
    assert seen.regular_faces.tolist() == raw.faces.tolist()
    assert list(back.vertex_attributes) == list(raw.vertex_attributes) == seen.point_data.keys()
    for name, values in raw.vertex_attributes.items():
        assert same(back.vertex_attributes[name], values) and same(np.asarray(seen.point_data[name]), values)
    assert list(back.face_attributes) == list(raw.face_attributes) == seen.cell_data.keys()
    for name, values in raw.face_attributes.items():
        assert same(back.face_attributes[name], values) and same(np.asarray(seen.cell_data[name]), values)
    assert (seen.point_data.active_scalars_name, seen.point_data.active_vectors_name) == ("number i1", "wind")


def test_what_has_no_kind_in_vtk_is_widened_or_left_out(tmp_path):
    raw, n = raw_mesh(*cube()), 8
    raw.vertex_attributes.update(
        mask=np.arange(n) % 2 == 0,
        half=np.arange(n, dtype=np.float16) / 3,
        tensor=np.arange(9.0 * n).reshape(n, 3, 3),
        none=np.empty((n, 0)),
        wave=np.ones(n, np.complex64),
        words=np.array(["a"] * n),
        **{"two\nlines": np.zeros(n)},
    )
    raw.corner_attributes["uv"] = np.zeros((12, 3, 2))
    assert write_mesh(tmp_path / "a.vtp", raw) == ["uv", "none", "wave", "words", "two\nlines"]
    back = read_mesh(tmp_path / "a.vtp").vertex_attributes
    assert list(back) == ["mask", "half", "tensor"]
    assert same(back["mask"], raw.vertex_attributes["mask"].astype(np.uint8))
    assert same(back["half"], raw.vertex_attributes["half"].astype(np.float32))
    assert same(back["tensor"], raw.vertex_attributes["tensor"].reshape(n, 9))


def test_without_points_or_faces_vtk_reads_it_too(tmp_path):
    pyvista = pytest.importorskip("pyvista")
    for n in (0, 3):
        write_mesh(tmp_path / "a.vtp", raw_mesh(np.zeros((n, 3)), np.zeros((0, 3), int)))
        seen = pyvista.read(tmp_path / "a.vtp")
        assert (seen.n_points, seen.n_strips + len(seen.faces)) == (n, 0)


def test_geodesics_are_lines_in_vtk(tmp_path):
    pyvista = pytest.importorskip("pyvista")
    s, lengths = icosphere(3), torch.linspace(0, 1.5, 7, dtype=torch.float64)
    lines, speeds = [], []
    for k, base in enumerate((5, 100, 300)):
        t = lengths[: 7 - k]
        lines.append(s.exp([base] * len(t), torch.stack([t, 0 * t], 1)).points)
        speeds.append(torch.stack([t, t, t], 1).float())
    values = {"length": [lengths, lengths[:6], lengths[:5]], "speed": speeds}
    write_polylines(tmp_path / "a.vtp", lines, values)
    seen = pyvista.read(tmp_path / "a.vtp")
    assert seen.n_lines == 3 and seen.n_cells == 3
    for k, line in enumerate(lines):
        cell = seen.get_cell(k)
        assert same(np.asarray(cell.points), line.numpy())
        assert np.array_equal(seen.point_data["length"][cell.point_ids], values["length"][k].numpy())
        assert same(np.asarray(seen.point_data["speed"])[cell.point_ids], speeds[k].numpy())
    assert seen.length > 0 and seen.point_data.active_scalars_name == "length"


def test_lines_of_a_tensor_and_none_at_all(tmp_path):
    pyvista = pytest.importorskip("pyvista")
    write_polylines(tmp_path / "a.vtp", torch.rand(4, 5, 3), {"t": torch.rand(4, 5)})
    assert pyvista.read(tmp_path / "a.vtp").n_lines == 4
    write_polylines(tmp_path / "b.vtp", [])
    assert pyvista.read(tmp_path / "b.vtp").n_points == 0


@pytest.mark.parametrize(
    ("lines", "values", "message"),
    [
        ([np.zeros((4, 2))], None, r"line 0 is \[4, 2\]"),
        ([np.zeros((4, 3)), np.zeros((1, 3))], None, r"line 1 is \[1, 3\]"),
        ([np.zeros(3)], None, r"line 0 is \[3\]"),
        ([np.zeros((4, 3))], {"t": [np.zeros(3)]}, "'t' .* line 0 has 3 values and 4 points"),
        ([np.zeros((4, 3))], {"t": np.zeros(4)}, "'t' .* 1 lines, 4 with values"),
        ([np.zeros((4, 3))] * 2, {"t": [np.zeros(4), np.zeros((4, 2))]}, "'t' .* alike on all"),
        ([np.zeros((4, 3))], {"t": [["a"] * 4]}, "must be numbers"),
        ([np.zeros((4, 3))], {"t\n": [np.zeros(4)]}, "cannot be written"),
    ],
)
def test_lines_that_do_not_fit_are_refused(tmp_path, lines, values, message):
    with pytest.raises(GeometryError, match=message):
        write_polylines(tmp_path / "a.vtp", lines, values)
    assert not list(tmp_path.iterdir())


def test_lines_are_written_to_vtp_alone(tmp_path):
    for path in (tmp_path / "a.ply", tmp_path / "nowhere" / "a.vtp"):
        with pytest.raises(GeometryError, match=r"name that ends in \.vtp, in a folder that exists"):
            write_polylines(path, [np.zeros((2, 3))])
