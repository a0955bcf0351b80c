"""near_pairs against all pairs, and its cost by the number of candidates."""

import math

import pytest
import torch

import geocnn.geometry as geometry
from geocnn.geometry.core import near
from geocnn.geometry.core.near import near_pairs


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def all_pairs(base, points, radius):
    return ((base[:, None] - points).square().sum(-1) <= radius**2).nonzero(as_tuple=True)


@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize("radius", [1e-9, 0.1, 0.7, 100.0])
@pytest.mark.parametrize("spread", [1.0, 1e-6, 1e6])
def test_the_pairs_are_those_of_all_in_their_order(d, radius, spread, random):
    points = spread * torch.rand(150, d, generator=random, dtype=torch.float64) - spread / 3
    points[100:] = points[:50]  # doubled, and all others in few cells
    points[60:90] *= 1e-3
    base = torch.cat([points[40:60], spread * 4 * (torch.rand(50, d, generator=random).double() - 0.5)])
    for got, want in zip(
        near_pairs(base, points, spread * radius), all_pairs(base, points, spread * radius), strict=True
    ):
        assert torch.equal(got, want)


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_blocks_of_any_size_give_the_same_pairs(most, random, monkeypatch):
    points = torch.rand(80, 3, generator=random, dtype=torch.float64)
    want = near_pairs(points, points, 0.3)
    monkeypatch.setattr(near, "MOST_CANDIDATES", most)
    for got, expected in zip(near_pairs(points, points, 0.3), want, strict=True):
        assert torch.equal(got, expected)


def test_points_at_one_place_are_all_pairs():
    points = torch.ones(3, 2, dtype=torch.float64)
    assert [len(ids) for ids in near_pairs(points, points, 1e-12)] == [9, 9]


def test_nothing_near_and_nothing_at_all():
    none, one = torch.zeros(0, 3, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    for base, points in ((none, one), (one, none), (one, one + 1)):
        assert [len(ids) for ids in near_pairs(base, points, 0.5)] == [0, 0]


@pytest.mark.parametrize(
    "surface",
    [geometry.healpix(16), geometry.healpix(32), geometry.torus((40, 60)), geometry.ring_grid(24, 48)],
    ids=repr,
)
def test_the_work_is_proportional_to_the_answer(surface):
    # a disc covers π of the 9 squares of its side around it in the plane; a curved surface cuts cells at a
    # slant, and near the poles of a ring grid all cells of a block are full
    radius = 3 * surface.spacing
    looked_at = sum(len(of) for of, _ in near._candidates(surface.points, surface.points, radius))
    assert looked_at < 7 * len(surface.disc(radius).base)


def test_a_torus_of_twice_the_radius_pairs_each_point_once():
    disc = geometry.torus((8, 8)).disc(4.0)
    key = disc.base * 64 + disc.source
    assert len(torch.unique(key)) == len(key)
    # every cell within 4 steps, those at exactly 4 in one of their two directions
    assert len(key) == 64 * sum(
        math.hypot(min(x, 8 - x), min(y, 8 - y)) <= 4 for x in range(8) for y in range(8)
    )
