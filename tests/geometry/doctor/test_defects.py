"""Every planted defect is found, with exactly its elements; broken.py finds them slowly, to compare."""

from __future__ import annotations

import random

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry.doctor.defects import KINDS, find_defects
from geocnn.geometry.doctor.faults import lengths
from geocnn.geometry.doctor.repairs import REPAIRS, plan, repair
from geocnn.geometry.doctor.verdict import check_triangles
from geocnn.geometry.io import raw_mesh
from tests.geometry import broken
from tests.shapes import Shape, beside, cube, sheet, tetrahedron


def found(raw) -> dict[str, set]:
    return {
        defect.kind: {tuple(i) if isinstance(i, list) else i for i in defect.ids.tolist()}
        for defect in find_defects(raw)
    }


def raw_of(shape: Shape):
    return raw_mesh(*shape)


PLANTED = {
    broken.nan: {"nan"},
    broken.out_of_range: {"range"},
    broken.repeated_corner: {"repeated_corner"},
    broken.duplicate_face: {"duplicate_face"},
    broken.zero_area: {"zero_area"},
    broken.fin: {"nonmanifold_edge"},
    broken.touching: {"nonmanifold_vertex"},
    broken.turned: {"winding"},
    broken.isolated: {"unreferenced"},
    broken.torn: {"duplicate_position"},
    broken.soup: {"soup", "duplicate_position"},
    broken.shrunk: {"scale"},
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_each_defect_alone(plant):
    for seed in range(5):
        v, f = (x.tolist() for x in cube())
        plant(random.Random(seed), v, f)
        kinds = found(raw_mesh(v, f))
        assert PLANTED[plant] <= kinds.keys()
        assert kinds == broken.slow_defects(v, f)


@pytest.mark.parametrize("shape", [tetrahedron, cube, lambda: sheet(3, 2)])
def test_a_sound_mesh_has_none(shape):
    assert find_defects(raw_of(shape())) == []


def test_faces_without_a_shared_edge_are_apart():
    v, f = cube()
    assert "apart" not in found(raw_mesh(v, f[:1]))
    # two triangles of one vertex, a stray one beside a sheet
    assert found(raw_mesh(torch.rand(5, 3), [[0, 1, 2], [2, 3, 4]])).keys() == {"apart", "nonmanifold_vertex"}
    stray = beside(sheet(3, 2), (v[f[0]] + 0.1, torch.tensor([[0, 1, 2]])))
    assert found(raw_mesh(*stray)) == {"apart": {12}}


def test_nothing_is_a_defect():
    assert found(raw_mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))) == {"no_faces": set()}
    assert found(raw_mesh(torch.zeros(1, 3), [])) == {"no_faces": set(), "unreferenced": {0}}


def test_polygons_are_told():
    raw = raw_mesh(torch.rand(5, 3), [[0, 1, 2], [0, 2, 3, 4], [0, 1], []])
    assert found(raw) == {"few_corners": {2, 3}, "polygon": {1}}


def check_one(seed: int) -> None:
    """The diagnosis is the slow doctor's, and `mesh` has the same verdict; what is planned makes a surface
    where one can be made, as all repairs do.
    """
    v, f = broken.broken(seed)
    raw = raw_mesh(v, f)
    kinds = found(raw)
    assert kinds == broken.slow_defects(v, f)
    assert passes(raw) is not any(KINDS[kind].fatal for kind in kinds)
    repairs, left = plan(raw)
    assert passes(repair(raw, repairs)[0]) is not bool(left)
    mended, report = repair(raw, list(REPAIRS))
    for kept in (found(mended).keys(), {defect.kind for defect in left}):
        # of solids that touch, or were cut, the fans lie in one place
        assert kept <= {"one_sided", "scale", "no_faces", "duplicate_position", "apart"}
        assert ("scale" in kept) <= ("scale" in kinds)
    check_maps(raw, mended, report)


def passes(raw) -> bool:
    try:
        check_triangles(raw.vertices, raw.faces)
    except GeometryError:
        return False
    return True


def check_maps(raw, mended, report) -> None:
    """Vertices lie as near as is said, faces keep corners unless they were flipped, nothing is made up."""
    kept = (report.vertex_map >= 0).nonzero()[:, 0]
    far = mended.vertices[report.vertex_map[kept]] - raw.vertices[kept]
    # of numbers as large as 1e90 the last bits
    assert bool((lengths(far) <= report.moved * (1 + 1e-15)).all())
    assert bool((lengths(mended.vertices - raw.vertices[report.vertex_source]) <= report.moved).all())
    faces = (report.face_map >= 0).nonzero()[:, 0]
    assert report.face_map[faces].tolist() == list(range(len(mended.faces)))
    if dict((name, count) for name, count, _ in report.changes)["degenerate"] == 0:
        assert report.moved == 0
        for old, new in zip(raw.faces[faces].tolist(), mended.faces.tolist(), strict=True):
            assert sorted(raw.vertices[old].tolist()) == sorted(mended.vertices[new].tolist())


@pytest.mark.parametrize("batch", range(3))
def test_random_defects_in_combination(batch):
    for seed in range(60 * batch, 60 * (batch + 1)):
        check_one(seed)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(10))
def test_ten_thousand_random_meshes(batch):
    for seed in range(1000 * (batch + 1), 1000 * (batch + 2)):
        check_one(seed)
