"""Pooling carries before it averages; the readout averages each surface alone."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import FieldTypeError, GeometryError, GroupError
from geocnn.geometry import Hierarchy, healpix, icosphere, plane, torus
from geocnn.nn import Pool, surface_mean
from tests.laws import random_gauge
from tests.nn.gauge import act, assert_gauge_equivariant, gauge_of


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("text", ["2x0 + 1x1 + 1x2", "O2: 1x0e + 1x0o + 2x1"])
def test_frames_do_not_matter_down_or_up(text, dtype):
    pool, h = Pool(text), healpix(4).hierarchy(levels=2)
    gauges = [gauge_of(a.shape[0], pool.in_type, seed=i) for i, a in enumerate(h.areas)]
    turned = h.turn_frames(
        [a for a, _ in gauges], [f for _, f in gauges] if gauges[0][1] is not None else None
    )
    for before, after, (source, target) in (
        (h.down[0], turned.down[0], gauges),
        (h.up[0], turned.up[0], gauges[::-1]),
    ):
        x = torch.randn(2, before.n_source, pool.in_type.dim, dtype=torch.float64).to(dtype)
        assert_gauge_equivariant(
            pool,
            x,
            pool.in_type,
            pool.out_type,
            lambda v, st=before: pool(v, st),
            lambda v, st=after: pool(v, st),
            source,
            target,
        )


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("make", [torus, plane])
def test_a_parallel_field_is_left_as_it_is_in_any_frames(make, kind):
    s = make((8, 8))
    h = s.hierarchy(levels=2, radius=2.0, kind=kind)
    pool = Pool("1x0 + 1x1 + 1x2")
    constant = torch.tensor([[2.0, 3.0, -1.0, 0.5, 4.0]], dtype=torch.float64)
    gauges = [random_gauge(n, flips=False, seed=n) for n in (64, 16)]
    turned = h.turn_frames([a for a, _ in gauges])
    fine, coarse = (act(pool.in_type, constant.expand(len(g[0]), 5), g) for g in gauges)
    down, up = pool(fine, turned.down[0]), pool(coarse, turned.up[0])
    torch.testing.assert_close(down, coarse, rtol=0, atol=1e-12)
    torch.testing.assert_close(up, fine, rtol=0, atol=1e-12)


def test_a_constant_scalar_survives_down_and_up_on_the_sphere():
    h = icosphere(2).hierarchy(levels=3)
    pool, x = Pool("1x0"), torch.full((162, 1), 7.0, dtype=torch.float64)
    down = pool(pool(x, h.down[0]), h.down[1])
    up = pool(pool(down, h.up[1]), h.up[0])
    torch.testing.assert_close(down, torch.full((12, 1), 7.0, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(up, x, rtol=0, atol=1e-12)


def test_down_then_up_of_a_smooth_field_converges():
    errors = []
    for level in (2, 3):
        s = icosphere(level)
        h = s.hierarchy(levels=2, radius=1.2 * s.spacing)
        pool = Pool("1x1")
        x = torch.stack([-(1 - s.points[:, 2] ** 2).clamp_min(0).sqrt(), torch.zeros(s.n_points).double()], 1)
        errors.append(float((pool(pool(x, h.down[0]), h.up[0]) - x).norm() / x.norm()))
    # both steps err by (radius)² times curvature
    assert errors[0] < 0.3 and errors[1] < 0.35 * errors[0], errors


def test_surface_mean_is_the_area_mean_of_each_surface():
    parts = [icosphere(1), healpix(2), icosphere(0)]
    h = Hierarchy.cat([s.hierarchy(levels=1, radius=1.0) for s in parts])
    x = torch.randn(2, 5, 42 + 48 + 12, 3, dtype=torch.float64)
    found = surface_mean(x, h, 0)
    pieces = x.split([42, 48, 12], -2)
    expected = [(p * s.areas[:, None]).sum(-2) / s.areas.sum() for p, s in zip(pieces, parts, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected, -2), rtol=1e-13, atol=1e-13)
    alone = surface_mean(pieces[0], parts[0].hierarchy(levels=1), 0)
    torch.testing.assert_close(alone[..., 0, :], found[..., 0, :], rtol=1e-13, atol=1e-13)


def test_misuse_is_a_typed_error():
    h = healpix(2).hierarchy(levels=2)
    with pytest.raises(FieldTypeError, match=r"got \[48, 2\]"):
        Pool("1x0")(torch.zeros(48, 2), h.down[0])
    with pytest.raises(GeometryError, match="from 48 points, x has 12"):
        Pool("1x0")(torch.zeros(12, 1), h.down[0])
    with pytest.raises(GroupError, match=r"live in SO2.*group C4"):
        Pool("C4: 1x1")(torch.zeros(48, 2), h.down[0])
    with pytest.raises(GeometryError, match="level 1 has 12 points, x has 48"):
        surface_mean(torch.zeros(48, 1), h, 1)
