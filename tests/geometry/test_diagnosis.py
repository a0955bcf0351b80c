"""What a diagnosis says of sound meshes agrees with closed forms and with trimesh."""

from __future__ import annotations

import json
import math

import pytest
import torch

import geocnn.geometry as geometry
from geocnn.data.meshes import mesh_file
from geocnn.errors import GeometryError
from geocnn.geometry.core import stencil_costs
from geocnn.geometry.diagnosis import ENTRIES, ENTRY_BYTES, SPACINGS, diagnose
from geocnn.geometry.doctor.repairs import repair
from geocnn.geometry.io import raw_mesh, read_mesh
from tests.geometry import broken
from tests.shapes import beside, cube, jittered_sphere, ring, sheet, tetrahedron, without

SHIPPED = ["bunny", "spot", "sphere", "torus", "hand", "goathead", "skull"]


# Known values


@pytest.mark.parametrize(
    ("shape", "euler", "genus", "loops"),
    [
        (tetrahedron(), 2, [0], 0),
        (ring(8, 5), 0, [1], 0),
        (sheet(3, 4), 1, [0], 1),
        (beside(cube(), ring(8, 5), sheet(1, 1)), 3, [0, 1, 0], 1),
        (without(sheet(6, 6), torch.arange(49) == 24), 0, [0], 2),
        (broken.moebius(5), 0, [1], 1),
    ],
    ids=["tetrahedron", "torus", "sheet", "three", "annulus", "Möbius"],
)
def test_topology(shape, euler, genus, loops):
    d = diagnose(*shape)
    assert (d.euler, d.genus, d.components, d.boundary_loops) == (euler, genus, len(genus), loops)
    assert d.manifold and d.usable


def test_a_one_sided_surface_is_told():
    d = diagnose(*broken.moebius(6))
    assert not d.orientable and not d.consistently_wound and len(d.defect("one_sided").ids) == 12
    # six vertices, the projective plane: half an icosahedron
    k = torch.arange(5)
    plane = torch.cat(
        [
            torch.stack([0 * k, 1 + k, 1 + (k + 1) % 5], 1),
            torch.stack([1 + k, 1 + (k + 1) % 5, 1 + (k + 3) % 5], 1),
        ]
    )
    d = diagnose(torch.rand(6, 3, dtype=torch.float64), plane)
    assert (d.euler, d.genus, d.boundary_loops, d.watertight) == (1, [1], 0, True)


def test_measures_of_a_cube():
    d = diagnose(*cube())
    assert d.area == pytest.approx(6) and d.total_curvature == pytest.approx(4 * math.pi)
    assert d.edge_lengths == pytest.approx((1, 1, 1, math.sqrt(2), math.sqrt(2)))
    assert d.smallest_angles == pytest.approx([45] * 5)
    assert d.spacing == pytest.approx(math.sqrt(6 / 8)) and d.radius == pytest.approx(SPACINGS * d.spacing)


def test_measures_agree_with_the_surface():
    s = geometry.mesh(*jittered_sphere(300))
    d = diagnose(s.points, s.faces)
    assert d.spacing == pytest.approx(s.spacing)
    assert d.total_curvature == pytest.approx(float(s.triangulation.defect.sum()))
    assert d.smallest_angles[0] == pytest.approx(math.degrees(float(s.triangulation.angle.min())))


def test_loops_that_touch_are_followed_from_fan_to_fan():
    """Two holes that share a vertex: given two vertices there, as `split` does, they are one hole."""
    v, f = sheet(6, 6)
    middle = v[f].mean(1)[:, :2]
    gone = ((middle - torch.tensor([2.5, 2.5])).abs().amax(1) < 0.5) | (
        (middle - torch.tensor([3.5, 3.5])).abs().amax(1) < 0.5
    )
    d = diagnose(v, f[~gone])
    assert d.defect("nonmanifold_vertex").ids.tolist() == [24]
    assert d.boundary_loops == diagnose(repair(raw_mesh(v, f[~gone]), ["split"])[0]).boundary_loops == 2
    assert d.genus == [None] and d.total_curvature is None


# Shipped meshes and trimesh


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_meshes_agree_with_trimesh(name):
    trimesh = pytest.importorskip("trimesh")
    raw = read_mesh(mesh_file(name))
    d = diagnose(raw)
    used = raw.faces.unique(return_inverse=True)
    oracle = trimesh.Trimesh(raw.vertices[used[0]].numpy(), used[1].view(-1, 3).numpy(), process=False)
    assert d.usable
    assert (d.euler, d.watertight) == (oracle.euler_number, oracle.is_watertight)
    assert (d.consistently_wound, d.components) == (oracle.is_winding_consistent, oracle.body_count)
    assert d.area == pytest.approx(oracle.area)
    # the angles of thousands of faces are summed
    assert abs(d.residual) < 1e-9


def test_a_flipped_face_is_seen_by_both():
    trimesh = pytest.importorskip("trimesh")
    v, f = ring(8, 5)
    f[3] = f[3].flip(0)
    d = diagnose(v, f)
    oracle = trimesh.Trimesh(v.numpy(), f.numpy(), process=False)
    assert d.consistently_wound is oracle.is_winding_consistent is False
    assert d.defect("winding").ids.tolist() == [3] and not d.usable


# Costs


@pytest.mark.parametrize(("kind", "within"), [("exp", 0.0), ("log", 0.05)])
def test_a_stencil_is_as_large_as_estimated(kind, within):
    s = geometry.mesh(*jittered_sphere(1000))
    d = diagnose(s.points, s.faces)
    cost = next(cost for cost in d.costs if cost.kind == kind)
    st = s.stencil(d.radius, kind=kind)
    assert cost.entries == pytest.approx(st.n_entries, rel=within + 1e-9)
    held = sum(t.nbytes for t in st.tensors().values())
    assert cost.bytes == pytest.approx(held, rel=within + 1e-9)
    assert cost.seconds > 0 and cost.peak > cost.bytes
    # beside the entries, where each row begins and the radii of samples
    assert held - ENTRY_BYTES[kind] * st.n_entries == pytest.approx(st.row_ptr.nbytes, abs=400)
    assert set(ENTRIES) == {"exp", "log"}


def test_where_vertices_crowd_discs_hold_more_and_some_of_them_show_it(monkeypatch):
    """The mesh narrows towards the south, where its vertices crowd. The mean spacing alone would mislead."""
    v, f = jittered_sphere(2000)
    north = v[:, 2:] + 1
    crowded = v * torch.tensor([1.0, 1.0, 0.0]) * 0.3 * north + torch.tensor([0.0, 0.0, 1.0]) * v
    s = geometry.mesh(crowded, f)
    monkeypatch.setattr(stencil_costs, "MANY", 300)
    d = diagnose(crowded, f)
    cost = next(cost for cost in d.costs if cost.kind == "log")
    st = s.stencil(d.radius, kind="log")
    assert cost.entries == pytest.approx(st.n_entries, rel=0.03)
    assert st.n_entries > 1.3 * ENTRIES["log"] * s.n_points


def test_what_is_no_surface_costs_what_an_even_mesh_costs():
    v, f = jittered_sphere(200)
    d = diagnose(v, torch.cat([f, f[:1]]))
    assert d.surface is None and [c.entries for c in d.costs] == [round(e * 200) for e in ENTRIES.values()]


# What is broken


def test_broken_content_raises_nothing_and_is_json():
    for seed in range(60):
        v, f = broken.broken(seed)
        d = diagnose(v, f)
        # NaN is no JSON; what is not known is null
        json.dumps(d.to_dict(), allow_nan=False)
        assert len(d.genus) == d.components
        if d.manifold and d.residual is not None and d.defect("scale") is None:
            assert abs(d.residual) < 1e-9


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (torch.zeros(0, 3), []),
        (torch.rand(3, 3), []),
        (torch.rand(3, 3), [[0, 1, 7]]),
        ([[0, 0, 1e300]] * 3, [[0, 1, 2]]),
        ([[0, 0, 0], [0, 0, 1e300], [0, 0, -1e300]], [[0, 1, 2]]),
    ],
    ids=["nothing", "points", "only lost faces", "one far point", "a line too long"],
)
def test_hardly_anything(vertices, faces):
    d = diagnose(vertices, faces)
    assert not d.usable
    json.dumps(d.to_dict(), allow_nan=False)


def test_what_is_no_mesh_at_all_is_refused():
    with pytest.raises(GeometryError, match=r"vertices are \[N, 3\]"):
        diagnose(torch.rand(4, 2), [[0, 1, 2]])
    with pytest.raises(GeometryError, match="no whole numbers: 0"):
        diagnose(torch.rand(4, 3), [[0, 1, 2.5]])
    with pytest.raises(GeometryError, match="must be numbers"):
        diagnose(torch.rand(4, 3), [["a", "b", "c"]])
    with pytest.raises(GeometryError, match="faces are missing"):
        diagnose(torch.rand(4, 3))
    with pytest.raises(GeometryError, match="its own faces"):
        diagnose(raw_mesh(torch.rand(3, 3), [[0, 1, 2]]), [[0, 1, 2]])


def test_memory_to_make_a_stencil_counts_what_is_made():
    """Shifts leave one disc per orbit to sample, unless frames differ; rings crowd in blocks at the poles."""
    flat = geometry.torus((64, 64))
    shared = stencil_costs.stencil_cost(flat, 2.5, "exp")
    turned = stencil_costs.stencil_cost(flat.turn_frames(torch.arange(4096.0) / 1000), 2.5, "exp")
    assert shared.entries == turned.entries and 50 * shared.peak < turned.peak
    rings, flat = geometry.ring_grid(160, 320), geometry.torus((160, 320))
    costs = [stencil_costs.stencil_cost(s, 2.5 * s.spacing, "log") for s in (rings, flat)]
    of_rings, of_flat = ((c.peak - 2 * c.bytes) / c.entries for c in costs)
    assert of_rings > 1.2 * of_flat
