"""Faces without area go, and what is closed stays closed: nothing is torn, moved unsaid, or mixed up."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from geocnn.geometry import diagnose, mesh, raw_mesh, repair
from geocnn.geometry.doctor.degenerate import MOST_NUDGES, NUDGE
from geocnn.geometry.io import RawMesh
from tests.geometry import broken
from tests.shapes import beside, cube, jittered_sphere, ring, sheet, tetrahedron


def blunted(shape, seed: int, many: int) -> RawMesh:
    """A closed shape with planted caps and needles, some of them in one another; every vertex is labelled."""
    r = random.Random(seed)
    v, f = (x.tolist() for x in shape)
    for plant in r.choices((broken.cap, broken.needles), k=many):
        plant(r, v, f)
    raw = raw_mesh(v, f)
    raw.vertex_attributes["label"] = np.arange(len(v))
    return raw


def check(raw: RawMesh, largest: float) -> None:
    """The mended mesh is a surface of the same topology and area; no vertex moved farther than is said."""
    before = diagnose(raw)
    assert before.watertight and not before.usable
    mended, report = repair(raw, ["degenerate"])
    after = diagnose(mended)
    assert after.usable and after.watertight
    assert (after.euler, after.genus, after.components) == (before.euler, before.genus, before.components)
    # caps add no area, and no vertex moves by more than 1e-8 of the size
    assert after.area == pytest.approx(before.area, rel=1e-6)
    assert report.moved <= largest
    assert mended.vertex_attributes["label"].tolist() == report.vertex_source.tolist()
    far = (mended.vertices[report.vertex_map] - raw.vertices).norm(dim=1)
    # two ways to compute a length
    assert float(far.max()) <= report.moved * (1 + 1e-15)
    mesh(mended)


SHAPES = {"cube": cube, "torus": lambda: ring(6, 5), "two": lambda: beside(cube(), ring(5, 4))}


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_closed_stays_closed(name):
    for seed in range(15):
        shape = SHAPES[name]()
        if (raw := blunted(shape, seed, 1 + seed % 7)) and not diagnose(raw).usable:
            check(raw, NUDGE * 2**MOST_NUDGES * 3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_surface_like_those_of_molecules_stays_closed(seed):
    """Irregular, in several pieces, with a hundred places without area: as the programs that draw molecules
    write them.
    """
    pieces = [jittered_sphere(3000, seed=seed), jittered_sphere(400, seed=seed + 50), ring(30, 12)]
    check(blunted(beside(*pieces), seed, 100), NUDGE * 2**MOST_NUDGES * 10)


def test_a_cap_s_long_edge_is_flipped():
    """Vertex 4 lies on the edge 0 2, of which face 0 and face 1 have a side each; values come from face 1."""
    v = [[0, 0, 0], [2, -1, 0], [4, 0, 0], [2, 3, 0], [1, 0, 0]]
    raw = raw_mesh(v, [[0, 2, 4], [0, 1, 2], [0, 4, 3], [4, 2, 3]])
    raw.face_attributes["part"] = np.arange(4)
    raw.corner_attributes["vertex"] = raw.faces.numpy()[:, :, None].copy()
    mended, report = repair(raw, ["degenerate"])
    assert mended.faces.tolist() == [[0, 1, 4], [1, 2, 4], [0, 4, 3], [4, 2, 3]]
    assert mended.face_attributes["part"].tolist() == [1, 1, 2, 3]
    assert mended.corner_attributes["vertex"][:, :, 0].tolist() == mended.faces.tolist()
    assert report.moved == 0 and report.face_map.tolist() == [0, 1, 2, 3]
    assert "0 edges collapsed, 1 flipped" in report.changes[0][2]


def test_a_short_edge_is_collapsed_into_the_first_of_its_ends():
    v, f = cube()
    v, f = v.tolist(), f.tolist()
    broken.needles(random.Random(1), v, f)
    v[-1][0] += 1e-12
    raw = raw_mesh(v, f)
    mended, report = repair(raw, ["degenerate"])
    assert (len(mended.vertices), len(mended.faces)) == (8, 12)
    assert torch.equal(mended.vertices, cube()[0]) and report.moved == pytest.approx(1e-12, rel=1e-3)
    assert report.vertex_map[-1] < 8 and report.face_map[-2:].tolist() == [-1, -1]
    assert "1 edge collapsed, 0 flipped" in report.changes[0][2]


def test_where_collapsing_would_change_the_topology_a_corner_is_nudged():
    """A tetrahedron all in one place cannot lose an edge."""
    v, f = beside(cube(), tetrahedron())
    v[8:] = v[8]
    raw = raw_mesh(v, f)
    mended, report = repair(raw, ["degenerate"])
    d = diagnose(mended)
    assert d.usable and d.watertight and d.components == 2 and len(mended.vertices) == 12
    assert 0 < report.moved < 1e-4 and "vertices nudged" in report.changes[0][2]


def test_at_a_boundary_faces_without_area_are_left_out():
    """The first three lie along the rim of a sheet; the last hangs on an inner edge."""
    v, f = sheet(3, 2)
    flat = torch.tensor([[0, 2, 1], [1, 3, 2]])
    raw = raw_mesh(v, torch.cat([f, flat[:1]]))
    mended, report = repair(raw, ["degenerate"])
    assert torch.equal(mended.faces, f) and report.face_map[-1] == -1
    v = torch.cat([v, torch.tensor([[0.5, 0.5, 0.0]], dtype=v.dtype)])
    mended, _ = repair(raw_mesh(v, torch.cat([f, torch.tensor([[0, 5, 12]])])), ["degenerate"])
    assert torch.equal(mended.faces, f) and diagnose(mended).usable


def test_a_row_of_vertices_on_one_edge():
    """A fan of faces without area, which go one after another."""
    n = 12
    row = [[k / n, 0, 0] for k in range(n + 1)]
    below, above = n + 1, n + 2
    faces = [[0, k + 1, k] for k in range(1, n)] + [[0, below, n]] + [[k, k + 1, above] for k in range(n)]
    raw = raw_mesh([*row, [0.5, -1, 0], [0.5, 1, 0]], faces)
    mended, report = repair(raw, ["degenerate"])
    d = diagnose(mended)
    assert d.usable and d.n_faces == 2 * n and d.boundary_edges == 4 and report.moved == 0


@pytest.mark.parametrize("scale", [2.0**-200, 2.0**200])
def test_the_unit_does_not_matter(scale):
    """Powers of two round nothing."""
    raw = blunted((scale * cube()[0], cube()[1]), 3, 4)
    same = blunted(cube(), 3, 4)
    assert torch.equal(repair(raw, ["degenerate"])[0].faces, repair(same, ["degenerate"])[0].faces)
