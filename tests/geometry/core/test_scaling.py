"""A surface in another unit: lengths times a factor, areas times its square, frames and stencils the same."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import OneSidedMesh, healpix, icosphere, mesh
from geocnn.geometry.meshes import surface as mesh_surface
from tests.shapes import jittered_sphere, ring, sheet, twisted

SURFACES = {
    "torus": lambda: mesh(*ring(16, 9, 0.1)),
    "sheet": lambda: mesh(*sheet(7, 6, 0.2)),
    "sphere": lambda: mesh(*jittered_sphere(120)),
    "strip": lambda: mesh(*twisted(18, 4, 0.1)),
    "level": lambda: mesh(*jittered_sphere(200)).coarser(),
    "level of strip": lambda: mesh(*twisted(18, 4, 0.1)).coarser(),
    "healpix": lambda: healpix(4),
    "icosphere": lambda: icosphere(2, radius=3.0),
}
FACTORS = [2.0, 1e-3, 6371.2, 1 / 3]


def turned(s):
    g = torch.Generator().manual_seed(1)
    return s.turn_frames(6 * torch.rand(s.n_points, generator=g, dtype=torch.float64))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", SURFACES)
def test_lengths_and_areas_are_multiplied_and_frames_stay(name, factor):
    s = turned(SURFACES[name]())
    big = s.scaled(factor)
    assert type(big) is type(s) and big.group == s.group
    torch.testing.assert_close(big.points, s.points * factor, rtol=1e-14, atol=0)
    torch.testing.assert_close(big.areas, s.areas * factor**2, rtol=1e-14, atol=0)
    for field in ("frames", "axes", "anchor", "flipped"):
        assert getattr(big, field) is getattr(s, field)
    assert big.spacing == pytest.approx(s.spacing * factor, rel=1e-14)
    assert big.extent == pytest.approx(s.extent * factor, rel=1e-14)


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", SURFACES)
def test_the_stencil_of_a_scaled_radius_is_the_same(name, factor, kind):
    s = turned(SURFACES[name]())
    radius = 2.2 * s.spacing
    st, big = s.stencil(radius, kind=kind), s.scaled(factor).stencil(radius * factor, kind=kind)
    assert big.radius == radius * factor
    torch.testing.assert_close(sums(big, factor), sums(st, 1.0), rtol=0, atol=1e-11)


def sums(st, unit):
    """What the stencil sums from each source, [3, targets, sources]: kernels 1, r and r e^{iθ}, carried back.

    Entries may differ: a sample on an edge may be read in either face, and r = 0 has no direction.
    """
    target = torch.arange(st.n_target).repeat_interleave(st.row_ptr.diff())
    carried = torch.polar(st.weight, st.angle) * (1 if st.flip is None else torch.where(st.flip, 2, 1))
    kernels = torch.stack([carried, carried * st.r / unit, carried * torch.polar(st.r / unit, st.theta)])
    dense = torch.zeros(3, st.n_target, st.n_source, dtype=torch.complex128)
    return dense.index_put_((torch.arange(3)[:, None], target, st.source), kernels, accumulate=True)


@pytest.mark.parametrize("name", SURFACES)
def test_there_and_back_is_the_same_to_the_bit_by_a_power_of_two(name):
    s = SURFACES[name]()
    back = s.scaled(8.0).scaled(0.125)
    assert torch.equal(back.points, s.points) and torch.equal(back.areas, s.areas)
    st, again = s.stencil(kind="log"), s.scaled(8.0).stencil(kind="log")
    assert torch.equal(again.r, 8 * st.r) and torch.equal(again.weight, st.weight)


@pytest.mark.parametrize("name", SURFACES)
def test_a_total_area_is_met(name):
    s = SURFACES[name]().scaled(area=2.5)
    assert float(s.areas.sum()) == pytest.approx(2.5, rel=1e-13)
    if "level" not in name:
        whole = mesh(s.vertices, s.faces) if hasattr(s, "faces") else s
        assert float(whole.areas.sum()) == pytest.approx(2.5, rel=1e-13)


@pytest.mark.parametrize("name", ["torus", "sheet", "strip"])
def test_it_is_the_mesh_of_scaled_vertices(name):
    s = SURFACES[name]()
    big, made = s.scaled(1e-3), mesh(s.vertices * 1e-3, s.faces)
    assert isinstance(big, OneSidedMesh) == (name == "strip")
    for field in fields(big.triangulation):
        ours, theirs = (getattr(x.triangulation, field.name) for x in (big, made))
        if ours.is_floating_point() or ours.is_complex():
            scale = 1e-3 if field.name in ("vertices", "length", "place", "side") else 1.0
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11 * scale)
        else:
            assert torch.equal(ours, theirs)
    torch.testing.assert_close(big.frames, made.frames, rtol=0, atol=1e-9)
    assert big.is_same_as(mesh(big.vertices, big.faces))
    assert s.is_same_as(s.scaled(1.0)) and not s.is_same_as(big)


def test_coarser_levels_of_it_are_scaled_levels():
    s = SURFACES["torus"]()
    big = s.scaled(16.0)
    torch.testing.assert_close(big.coarser().points, s.coarser().scaled(16.0).points)
    h, g = s.hierarchy(levels=2, radius=1.0), big.hierarchy(levels=2, radius=16.0)
    assert all(torch.equal(a.source, b.source) for a, b in zip(h.stencils, g.stencils, strict=True))


def test_known_discs_are_kept(monkeypatch):
    s = SURFACES["torus"]().knowing(1.0)
    expected = s.scaled(3.0).disc(2.9)

    def refuse(*_):
        raise AssertionError("discs were computed anew")

    monkeypatch.setattr(mesh_surface, "point_discs", refuse)
    found = s.scaled(3.0).disc(2.9)
    assert torch.equal(found.source, expected.source)
    monkeypatch.undo()
    anew = SURFACES["torus"]().scaled(3.0).disc(2.9)
    assert torch.equal(found.source, anew.source)
    torch.testing.assert_close(found.log.vectors, anew.log.vectors)


@pytest.mark.parametrize("name", ["torus", "strip", "healpix"])
@pytest.mark.parametrize(
    ("factor", "area", "message"),
    [
        (None, None, "factor of lengths or a total area"),
        (2.0, 3.0, "factor of lengths or a total area"),
        (0.0, None, "factor of lengths must be a positive number, got 0.0"),
        (-1.0, None, "must be a positive number"),
        (math.nan, None, "must be a positive number"),
        ("mm", None, "must be a positive number, got 'mm'"),
        (None, -1.0, "total area must be a positive number"),
        (None, math.inf, "total area must be a positive number"),
        (1e300, None, "no numbers|must be a positive length"),
    ],
)
def test_what_is_no_scale_is_refused(name, factor, area, message):
    with pytest.raises(GeometryError, match=message):
        SURFACES[name]().scaled(factor, area=area)
