"""Only what is named is mended; attributes follow; the maps say what became of everything."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry.diagnosis import diagnose
from geocnn.geometry.doctor.repairs import REPAIRS, repair
from geocnn.geometry.io import RawMesh, raw_mesh
from tests.geometry import broken
from tests.shapes import cube, sheet


def labelled(vertices, faces) -> RawMesh:
    """Every vertex, face and corner carries its own number."""
    raw = raw_mesh(vertices, faces)
    n, m = len(raw.vertices), len(raw.faces)
    raw.vertex_attributes["id"] = np.arange(n, dtype=np.uint16)
    raw.face_attributes["id"] = np.arange(2 * m).reshape(m, 2)
    raw.corner_attributes["vertex"] = raw.faces.numpy()[:, :, None].astype(np.float32)
    return raw


def test_nothing_is_changed_without_being_asked():
    for seed in range(40):
        raw = labelled(*broken.broken(seed))
        same, report = repair(raw, [])
        assert report.changes == []
        assert torch.equal(same.vertices.nan_to_num(), raw.vertices.nan_to_num())
        assert torch.equal(same.faces, raw.faces)


MENDS = {
    "triangulate": {"polygon", "few_corners"},
    "range": {"range"},
    "nan": {"nan"},
    "merge": {"soup", "duplicate_position"},
    "degenerate": {"repeated_corner", "zero_area"},
    "duplicates": {"duplicate_face"},
    "split": {"nonmanifold_edge", "nonmanifold_vertex"},
    "orient": {"winding", "inside_out"},
    "unreferenced": {"unreferenced"},
}


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_mends_its_own_defects(name):
    """On 25 meshes with all sorts of defects; vertices and faces it has no business with keep their place."""
    for seed in range(25):
        raw = labelled(*broken.broken(seed))
        before, (mended, report) = diagnose(raw), repair(raw, [name])
        kinds = {defect.kind for defect in diagnose(mended).defects}
        assert not kinds & MENDS[name]
        mine = [defect for defect in before.defects if defect.kind in MENDS[name]]
        (change,) = report.changes
        if not mine:
            assert change[1] == 0 and torch.equal(mended.faces, raw.faces)
            assert len(mended.vertices) == len(raw.vertices)
        assert mended.vertex_attributes["id"].tolist() == report.vertex_source.tolist()
        kept = (report.face_map >= 0).nonzero()[:, 0]
        assert mended.face_attributes["id"][:, 0].tolist() == (2 * kept).tolist()


def test_corners_keep_their_values_when_faces_flip():
    v, f = cube()
    f[[2, 5]] = f[[2, 5]].flip(1)
    mended, report = repair(labelled(v, f), ["orient"])
    assert report.changes == [("orient", 2, "flipped 2 faces")]
    assert np.array_equal(mended.corner_attributes["vertex"][:, :, 0], mended.faces.numpy())


def test_a_triangle_soup_becomes_a_closed_surface():
    v, f = cube()
    soup = raw_mesh(v[f].reshape(-1, 3), torch.arange(36).view(-1, 3))
    assert diagnose(soup).defect("soup") is not None
    mended, report = repair(soup, ["merge"])
    d = diagnose(mended)
    assert d.usable and d.watertight and (d.n_vertices, d.n_faces) == (8, 12)
    assert report.vertex_map.unique().tolist() == list(range(8))


def test_merging_says_where_attributes_differed():
    v = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [-0.0, 1, 0]]
    raw = raw_mesh(v, [[0, 1, 2]])
    raw.vertex_attributes["uv"] = np.array([[0, 0], [1, 0], [0, 1], [5, 5], [0, 1]])
    mended, report = repair(raw, ["merge"])
    assert report.vertex_map.tolist() == [0, 1, 2, 0, 2]
    assert (
        "merged 2 vertices" in report.changes[0][2] and "of 1 the attributes differed" in report.changes[0][2]
    )
    assert mended.vertex_attributes["uv"].tolist() == [[0, 0], [1, 0], [0, 1]]


def test_fans_are_split_and_the_first_keeps_the_vertex():
    raw = labelled(torch.rand(5, 3), [[0, 1, 2], [0, 3, 4]])
    mended, report = repair(raw, ["split"])
    assert mended.faces.tolist() == [[0, 1, 2], [5, 3, 4]]
    assert report.vertex_map.tolist() == [0, 1, 2, 3, 4] and report.vertex_source.tolist() == [
        0,
        1,
        2,
        3,
        4,
        0,
    ]


def test_a_fin_is_cut_off_its_closed_surface():
    v, f = cube()
    raw = raw_mesh(torch.cat([v, torch.tensor([[2.0, 2, 2]])]), torch.cat([f, torch.tensor([[0, 1, 8]])]))
    mended, _ = repair(raw, ["split"])
    d = diagnose(mended)
    assert d.usable and (d.components, d.boundary_loops, d.genus) == (2, 1, [0, 0])


def test_order_does_not_depend_on_how_they_are_named():
    raw = labelled(*broken.broken(11))
    names = list(REPAIRS)
    one, other = repair(raw, names), repair(raw, [*names[::-1], *names])
    assert torch.equal(one[0].faces, other[0].faces) and one[1].changes == other[1].changes


def test_a_report_is_json():
    _, report = repair(raw_mesh(*sheet(2, 2)), list(REPAIRS))
    said = json.loads(json.dumps(report.to_dict()))
    assert said["vertex_map"] == list(range(9)) and [c["count"] for c in said["changes"]] == [0] * 9


def test_unknown_repairs_are_refused():
    with pytest.raises(GeometryError, match="no repair 'weld'; choose among triangulate, range, nan"):
        repair(raw_mesh(*cube()), ["merge", "weld"])


def test_normals_of_faces_and_corners_turn_with_their_faces():
    vertices, faces = cube()
    faces = faces.clone()
    faces[[0, 5]] = faces[[0, 5]][:, [0, 2, 1]]
    raw = raw_mesh(vertices, faces)
    a, b, c = raw.vertices[raw.faces].unbind(1)
    normal = torch.linalg.cross(b - a, c - a, dim=-1).numpy()
    raw.face_attributes["normal"] = normal.copy()
    raw.corner_attributes["normal"] = normal[:, None].repeat(3, 1)
    mended, _ = repair(raw, ["orient"])
    a, b, c = mended.vertices[mended.faces].unbind(1)
    expected = torch.linalg.cross(b - a, c - a, dim=-1).numpy()
    assert np.array_equal(mended.face_attributes["normal"], expected)
    assert np.array_equal(mended.corner_attributes["normal"], expected[:, None].repeat(3, 1))
    assert np.array_equal(raw.face_attributes["normal"], normal)
