"""Packed files, and files and objects of other libraries, are read as they were meant."""

from __future__ import annotations

import gzip
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest

from geocnn.errors import GeometryError
from geocnn.geometry import load, mesh, read_mesh, read_vertex_values
from geocnn.geometry.io import libraries, raw_mesh, write_mesh
from tests.geometry.io.test_files_of_tools import SIDES, TETRAHEDRON
from tests.geometry.io.test_io import write

# Packed


@pytest.mark.parametrize("extension", [".ply", ".obj", ".off", ".vtp", ".gii", ".npz"])
def test_packed_files_are_read(tmp_path, extension):
    write_mesh(tmp_path / f"a{extension}", raw_mesh(TETRAHEDRON, SIDES))
    content = gzip.compress((tmp_path / f"a{extension}").read_bytes())
    raw = read_mesh(write(tmp_path, f"b{extension}.gz", content))
    assert raw.vertices.tolist() == TETRAHEDRON.tolist() and raw.faces.tolist() == SIDES.tolist()
    write_mesh(tmp_path / f"d{extension}.gz", raw)
    assert gzip.decompress((tmp_path / f"d{extension}.gz").read_bytes()) == gzip.decompress(content)
    for broken in (content[:-3], content[:20], b"", b"plain"):
        with pytest.raises(GeometryError, match=r"gz.*write the file again"):
            read_mesh(write(tmp_path, f"c{extension}.gz", broken))


def test_a_packed_file_that_grows_out_of_bounds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(libraries, "PACKED", (10_000, 200))
    write(tmp_path, "a.obj.gz", gzip.compress(b"#" * 1_000_000))
    with pytest.raises(GeometryError, match="unpack it first"):
        read_mesh(tmp_path / "a.obj.gz")


# Libraries


@pytest.mark.parametrize("module", ["nibabel", "trimesh", "collada"])
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, module):
    def missing(name: str) -> None:
        raise ImportError(name=name)

    monkeypatch.setattr(libraries, "import_module", missing)
    name, extra = {"nibabel": ("a.gii", "neuro"), "trimesh": ("a.glb", "mesh"), "collada": ("a.dae", "mesh")}[
        module
    ]
    with pytest.raises(GeometryError, match=rf"{name}.*takes {module}.*pip install 'geocnn\[{extra}\]'"):
        read_mesh(write(tmp_path, name, b"<GIFTI/>"))


def test_scenes_are_placed_unprocessed_and_parts_named(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    # twelve vertices, of which six are in one place with others: merging would show
    soup = trimesh.Trimesh(TETRAHEDRON[SIDES].reshape(-1, 3), np.arange(12).reshape(4, 3), process=False)
    lone = trimesh.Trimesh([*TETRAHEDRON, [7, 7, 7]], SIDES, process=False)
    scene = trimesh.Scene()
    scene.add_geometry(soup, geom_name="soup", node_name="first")
    move = trimesh.transformations.translation_matrix([5, 0, 0])
    scene.add_geometry(lone, geom_name="lone", node_name="second", transform=move)
    scene.export(str(tmp_path / "a.gltf"))
    for extension in ("glb", "3mf", "gltf"):
        path = tmp_path / f"a.{extension}"
        if extension != "gltf":
            path.write_bytes(scene.export(file_type=extension))
        raw = read_mesh(path)
        expected = np.concatenate([soup.vertices, lone.vertices + np.array([5, 0, 0])])
        assert raw.vertices.tolist() == expected.tolist(), extension
        assert raw.faces.tolist() == [*soup.faces.tolist(), *(SIDES + 12).tolist()]
        assert raw.face_attributes["part"].tolist() == [0] * 4 + [1] * 4
        assert raw.parts == ("first", "second")


def test_collada_keeps_vertices_in_their_places(tmp_path):
    dae = pytest.importorskip("trimesh.exchange.dae")
    trimesh = pytest.importorskip("trimesh")
    shape = trimesh.Trimesh([[7, 7, 7], *TETRAHEDRON, [0, 0, 0]], SIDES + 1, process=False)
    raw = read_mesh(write(tmp_path, "a.dae", dae.export_collada(shape)))
    assert raw.vertices.tolist() == shape.vertices.tolist() and raw.faces.tolist() == (SIDES + 1).tolist()
    assert len(raw.parts) == 1


def test_objects_with_vertices_and_faces_are_meshes():
    trimesh = pytest.importorskip("trimesh")
    shape = trimesh.creation.icosphere(2)
    surface = mesh(shape)
    assert np.array_equal(surface.points.numpy(), shape.vertices) and surface.n_points == 162
    assert raw_mesh(shape).faces.tolist() == shape.faces.tolist()
    assert mesh(raw_mesh(TETRAHEDRON, SIDES)).n_points == 4
    for wrong in (trimesh.Scene(shape), TETRAHEDRON, "a.ply"):
        with pytest.raises(GeometryError, match="faces are missing"):
            mesh(wrong)


def test_nibabels_own_files_are_read():
    """A label table, a time series, encodings under their other names, arrays in a file beside."""
    folder = Path(pytest.importorskip("nibabel").__file__).parent / "gifti" / "tests" / "data"
    if not folder.is_dir():
        pytest.skip("this nibabel comes without its test data")
    for name in ("ascii.gii", "base64bin.gii", "external.gii"):
        assert read_mesh(folder / name).faces.shape[1] == 3
    with pytest.raises(GeometryError, match="read_vertex_values"):
        read_mesh(folder / "task.func.gii")
    assert len(read_vertex_values(folder / "task.func.gii").values) > 1
    assert read_vertex_values(folder / "label.gii").names


@pytest.mark.parametrize(("order", "encoding"), itertools.product("CF", ["B64BIN", "B64GZ", "ASCII"]))
def test_gifti_values_are_read_by_name(tmp_path, order, encoding):
    gifti = pytest.importorskip("nibabel.gifti")
    table = gifti.GiftiLabelTable()
    for key, name in ((0, "none"), (3, "V1")):
        table.labels.append(gifti.GiftiLabel(key=key))
        table.labels[-1].label = name
    values = np.array([3, 0, 3, 3, 0], np.int32)
    arrays = [
        gifti.GiftiDataArray(
            values, "NIFTI_INTENT_LABEL", "NIFTI_TYPE_INT32", f"GIFTI_ENCODING_{encoding}", ordering=order
        )
        for _ in range(2)
    ]
    content = gifti.GiftiImage(labeltable=table, darrays=arrays).to_bytes()
    found = read_vertex_values(write(tmp_path, "a.label.gii", content))
    assert [array.tolist() for array in found.values.values()] == [values.tolist()] * 2
    assert list(found.values) == ["label_0", "label_1"] and found.names == {0: "none", 3: "V1"}
    with pytest.raises(GeometryError):
        read_vertex_values(write(tmp_path, "b.label.gii", content[:-40]))


def test_freesurfer_is_told_by_its_content(tmp_path):
    freesurfer = pytest.importorskip("nibabel.freesurfer")
    freesurfer.write_geometry(str(tmp_path / "lh.pial"), TETRAHEDRON, SIDES, create_stamp="made here")
    assert load(tmp_path / "lh.pial").n_points == 4
    assert read_mesh(tmp_path / "lh.pial").faces.tolist() == SIDES.tolist()
    thickness = np.array([2.5, 3, 1.25, 0], np.float32)
    freesurfer.write_morph_data(str(tmp_path / "lh.thickness"), thickness)
    assert read_vertex_values(tmp_path / "lh.thickness").values["thickness"].tolist() == thickness.tolist()
    colours = np.array([[10, 20, 30, 0, 0], [40, 50, 60, 0, 0]])
    marks = np.array([1, 0, -1, 1])
    freesurfer.write_annot(str(tmp_path / "lh.annot"), marks, colours, ["V1", "V2"], fill_ctab=True)
    found = read_vertex_values(tmp_path / "lh.annot")
    assert found.values["annot"].tolist() == marks.tolist() and found.names == {0: "V1", 1: "V2"}
    with pytest.raises(GeometryError, match="read_vertex_values reads them"):
        read_mesh(tmp_path / "lh.thickness")
    with pytest.raises(GeometryError, match="read_mesh reads it"):
        read_vertex_values(tmp_path / "lh.pial")
    for name in ("lh.pial", "lh.thickness", "lh.annot"):
        content = (tmp_path / name).read_bytes()
        read = read_mesh if name == "lh.pial" else read_vertex_values
        for k in range(len(content) - (len(content) if name == "lh.annot" else 0)):
            with pytest.raises(GeometryError):
                read(write(tmp_path, f"cut.{name[3:]}", content[:k]))


def test_an_annotation_of_regions_without_a_name_is_refused(tmp_path):
    freesurfer = pytest.importorskip("nibabel.freesurfer")
    colours = np.array([[10, 20, 30, 0, 0], [40, 50, 60, 0, 0]])
    freesurfer.write_annot(
        str(tmp_path / "lh.annot"), np.array([1, 0, 1, 1]), colours, ["a", "b"], fill_ctab=True
    )
    content = (tmp_path / "lh.annot").read_bytes()
    changed = content[:8] + struct.pack(">i", 77) + content[12:]
    with pytest.raises(GeometryError, match="1 vertex of regions"):
        read_vertex_values(write(tmp_path, "b.annot", changed))
    # after four vertices, a mark and the version: the number of rows, for which memory is allocated
    huge = content[:44] + struct.pack(">i", 2**30) + content[48:]
    with pytest.raises(GeometryError, match=f"its table declares {2**30} regions"):
        read_vertex_values(write(tmp_path, "c.annot", huge))


def test_gifti_is_written_as_nibabel_reads_it(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    raw = raw_mesh(TETRAHEDRON / 3, SIDES)
    raw.vertex_attributes["label"] = np.arange(4)
    write_mesh(tmp_path / "a.gii", raw)
    image = nibabel.load(tmp_path / "a.gii")
    points, faces, label = (array.data for array in image.darrays)
    assert points.tolist() == raw.vertices.tolist() and points.dtype == np.float64  # thirds are no float32
    assert faces.tolist() == SIDES.tolist() and label.tolist() == [0, 1, 2, 3]
    write_mesh(tmp_path / "b.gii", raw_mesh(TETRAHEDRON, SIDES))
    assert nibabel.load(tmp_path / "b.gii").darrays[0].data.dtype == np.float32
    with pytest.raises(GeometryError, match=r"ids that \.gii files cannot hold"):
        write_mesh(tmp_path / "c.gii", raw_mesh(TETRAHEDRON, [[0, 1, 2**40]]))
