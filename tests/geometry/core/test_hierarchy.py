"""Hierarchy: levels of halved resolution, stencils between them, side by side, saved and loaded."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import Hierarchy, Stencil, healpix, icosphere, plane, torus
from geocnn.groups import O2, SO2, TRIVIAL
from tests.laws import operator, random_gauge


def stencils(h: Hierarchy):
    return [*h.stencils, *h.down, *h.up]


@pytest.mark.parametrize(
    "make", [lambda: healpix(4), lambda: icosphere(2), lambda: torus((8, 8)), lambda: plane((8, 12))]
)
def test_levels_fit_together(make):
    s = make()
    h = s.hierarchy(levels=3)
    sizes = [a.shape[0] for a in h.areas]
    assert sizes[0] == s.n_points and h.n_levels == 3 and h.n_surfaces == 1
    assert [(st.n_source, st.n_target) for st in h.stencils] == [(n, n) for n in sizes]
    assert [(st.n_source, st.n_target) for st in h.down] == [(sizes[0], sizes[1]), (sizes[1], sizes[2])]
    assert [(st.n_source, st.n_target) for st in h.up] == [(sizes[1], sizes[0]), (sizes[2], sizes[1])]
    assert [p.tolist() for p in h.ptr] == [[0, n] for n in sizes]
    radius = 2.5 * s.spacing
    for i, (within, down) in enumerate(zip(h.stencils, [*h.down, h.stencils[-1]], strict=True)):
        assert within.radius == down.radius == pytest.approx(radius * 2**i)
    for a in h.areas:
        assert float(a.sum()) == pytest.approx(float(s.areas.sum()), rel=1e-12)


def test_down_gathers_at_the_coarse_points_with_the_fine_levels_stencil():
    fine = healpix(4)
    h = fine.hierarchy(levels=2, radius=0.6, kind="log")
    expected = fine.stencil(0.6, kind="log", targets=fine.coarser())
    torch.testing.assert_close(operator(h.down[0]), operator(expected), rtol=0, atol=0)


def test_up_reads_a_coarse_tangent_field_at_fine_points():
    """The field of z ↦ gradient of z, −sin θ along e₁; linear interpolation errs by (spacing)² / 8 or so."""
    fine = icosphere(3)
    coarse = fine.coarser()
    up = fine.hierarchy(levels=2, radius=0.2).up[0]
    sine = [(1 - s.points[:, 2] ** 2).clamp_min(0).sqrt() for s in (coarse, fine)]
    entries = up.weight * torch.polar(-sine[0][up.source], up.angle)
    read = entries.new_zeros(fine.n_points).index_add_(0, up.target, entries)
    assert (read + sine[1]).abs().max() < coarse.spacing**2 / 4


def test_turning_frames_turns_every_level():
    s = healpix(4)
    levels = [s, s.coarser()]
    gauges = [random_gauge(x.n_points, flips=True, seed=i) for i, x in enumerate(levels)]
    turned = [x.turn_frames(*g) for x, g in zip(levels, gauges, strict=True)]
    h = s.hierarchy(levels=2, radius=0.6).turn_frames([a for a, _ in gauges], [f for _, f in gauges])
    expected = [
        turned[0].stencil(0.6),
        turned[1].stencil(1.2),
        turned[0].stencil(0.6, targets=turned[1]),
        turned[1].interpolation(turned[0]),
    ]
    for found, known in zip(stencils(h), expected, strict=True):
        torch.testing.assert_close(operator(found), operator(known), rtol=0, atol=1e-9)
    assert h.group == O2
    assert s.hierarchy(levels=2).group == SO2 and torus((4, 4)).hierarchy(levels=2).group == TRIVIAL


def test_an_oversampled_level_has_the_points_of_the_level_before():
    s = healpix(4)
    h = s.hierarchy(levels=3, radius=0.6, kind="log", oversample=True)
    plain = s.hierarchy(levels=3, radius=0.6, kind="log")
    assert [len(a) for a in h.areas] == [192, 192, 48] and [len(a) for a in plain.areas] == [192, 48, 12]
    assert [st.radius for st in h.stencils] == [st.radius for st in plain.stencils] == [0.6, 1.2, 2.4]
    assert [(st.n_source, st.n_target) for st in h.stencils] == [(192, 192), (192, 48), (48, 12)]
    assert [(st.n_source, st.n_target) for st in h.down] == [(192, 192), (192, 48)]
    assert [None if r is None else (r.n_source, r.n_target) for r in h.readings] == [
        None,
        (48, 192),
        (12, 48),
    ]
    assert plain.readings == [None, None, None]
    expected = s.coarser().interpolation(s)
    torch.testing.assert_close(operator(h.readings[1]), operator(expected), rtol=0, atol=0)


def test_turning_frames_turns_what_is_read_and_not_what_lies_between():
    s = healpix(4)
    h = s.hierarchy(levels=2, radius=0.6, oversample=True)
    gauges = [random_gauge(192, flips=True, seed=i) for i in range(2)]
    turned = h.turn_frames([a for a, _ in gauges], [f for _, f in gauges])
    before, after = s.turn_frames(*gauges[0]), s.turn_frames(*gauges[1])
    assert turned.readings[1] is not None and turned.group == O2
    expected = after.stencil(1.2, targets=s.coarser()), s.coarser().interpolation(after)
    for found, known in zip((turned.stencils[1], turned.readings[1]), expected, strict=True):
        torch.testing.assert_close(operator(found), operator(known), rtol=0, atol=1e-9)
    down = before.stencil(0.6, targets=after)
    torch.testing.assert_close(operator(turned.down[0]), operator(down), rtol=0, atol=1e-9)


def test_oversampled_hierarchies_are_saved_and_joined_with_their_like(tmp_path):
    h = healpix(4).hierarchy(levels=2, radius=0.6, oversample=True)
    h.save(tmp_path / "h.safetensors")
    loaded = Hierarchy.load(tmp_path / "h.safetensors")
    both = Hierarchy.cat([h, loaded])
    assert loaded.readings[0] is None and both.readings[0] is None
    one, two = h.readings[1], both.readings[1]
    assert one is not None and two is not None and loaded.readings[1] is not None
    assert torch.equal(loaded.readings[1].weight, one.weight)
    assert two.n_entries == 2 * one.n_entries and two.n_target == 2 * one.n_target
    with pytest.raises(GeometryError, match="some of the hierarchies are oversampled"):
        Hierarchy.cat([h, healpix(4).hierarchy(levels=2, radius=0.6)])


def test_cat_is_side_by_side_even_for_spheres_of_different_nside():
    parts = [healpix(n).hierarchy(levels=2, radius=0.9) for n in (4, 2, 2)]
    h = Hierarchy.cat(parts)
    assert h.n_surfaces == 3
    assert [p.tolist() for p in h.ptr] == [[0, 192, 240, 288], [0, 48, 60, 72]]
    assert torch.equal(h.areas[1], torch.cat([p.areas[1] for p in parts]))
    for joined, *single in zip(stencils(h), *map(stencils, parts), strict=True):
        blocks = torch.block_diag(*[operator(st)[3, 0] for st in single])
        torch.testing.assert_close(operator(joined)[3, 0], blocks, rtol=0, atol=0)
    again = Hierarchy.cat([h, parts[0]])
    assert again.ptr[0].tolist() == [0, 192, 240, 288, 480]


def test_a_saved_hierarchy_loads_as_it_was(tmp_path):
    h = Hierarchy.cat([icosphere(1).hierarchy(levels=2, radius=0.9)] * 2)
    h.save(tmp_path / "h.safetensors")
    loaded = Hierarchy.load(tmp_path / "h.safetensors")
    for a, b in zip(stencils(h), stencils(loaded), strict=True):
        assert a.tensors().keys() == b.tensors().keys() and a.metadata() == b.metadata()
        assert all(torch.equal(x, b.tensors()[name]) for name, x in a.tensors().items())
    for a, b in zip([*h.areas, *h.ptr], [*loaded.areas, *loaded.ptr], strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b)
    whole = (tmp_path / "h.safetensors").read_bytes()
    (tmp_path / "h.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GeometryError, match="not a whole safetensors file"):
        Hierarchy.load(tmp_path / "h.safetensors")


def test_to_casts_every_level():
    h = healpix(2).hierarchy(levels=2).to(dtype=torch.float32)
    assert {st.weight.dtype for st in stencils(h)} | {a.dtype for a in h.areas} == {torch.float32}
    assert {p.dtype for p in h.ptr} == {torch.int64}


def test_bad_input_is_a_typed_error():
    h = healpix(2).hierarchy(levels=2)
    with pytest.raises(GeometryError, match="tensor of angles per level is required: 2, got 1"):
        h.turn_frames([torch.zeros(48)])
    with pytest.raises(GeometryError, match="tensor of flips per level"):
        h.turn_frames([torch.zeros(48), torch.zeros(12)], [torch.zeros(48, dtype=torch.bool)])
    with pytest.raises(GeometryError, match=r"\[1, 2\] levels"):
        Hierarchy.cat([h, healpix(2).hierarchy(levels=1)])
    with pytest.raises(GeometryError, match="at least one hierarchy"):
        Hierarchy.cat([])
    with pytest.raises(GeometryError, match="different radii"):
        Hierarchy.cat([h, healpix(4).hierarchy(levels=2)])
    said = r"\(torch.float64: \[0\], torch.float32: \[1, 2\], counted from 0\); convert .* \.float\(\) or"
    with pytest.raises(GeometryError, match=said):
        Hierarchy.cat([h, h.float(), h.float()])
    with pytest.raises(GeometryError, match=r"cpu: \[1\].*; move them by \.to\(device\)"):
        Stencil.cat([h.stencils[0].to("meta"), h.stencils[0]])
