"""Farthest points are the ones that a search one by one chooses, and their cost follows the points."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from geocnn.geometry import Mesh, mesh
from geocnn.geometry.meshes import farthest, levels
from geocnn.geometry.meshes.farthest import farthest_points
from geocnn.geometry.meshes.levels import discs_between
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.unfold import unfold
from tests.shapes import Shape, beside, bricks, jittered_sphere, ring, sheet, twisted


@cache
def one_by_one(name: str, reach: float, n: int) -> list[int]:
    """Choose vertices as `farthest_points` says, each by a look at all of them; return them in this order."""
    surface = mesh(*SHAPES[name])
    assert isinstance(surface, Mesh | OneSidedMesh)
    points, size = surface.vertices, len(surface.vertices)
    near = unfold(surface.triangulation, torch.arange(size), reach)
    geodesic = torch.full((size, size), math.inf, dtype=torch.float64)
    pairs = near.base * size + near.vertex % size
    geodesic.view(-1).scatter_reduce_(0, pairs, near.vector.abs(), "amin")
    beyond = 10 * (points.amax(0) - points.amin(0)).norm()
    chosen = [int(((points - points.mean(0)).norm(dim=-1) + beyond).argmax())]
    along, straight = geodesic[chosen[0]], (points - points[chosen[0]]).norm(dim=-1)
    while len(chosen) < n:
        chosen.append(k := int(torch.where(along.isinf(), straight + beyond, along).argmax()))
        along = torch.minimum(along, geodesic[k])
        straight = torch.minimum(straight, (points - points[k]).norm(dim=-1))
    return chosen


def uneven(n: int) -> Shape:
    """A sphere whose points crowd at both poles, eight times as near to each other there."""
    p, f = jittered_sphere(n, 0.1)
    z = p[:, 2].sign() * (1 - (1 - p[:, 2].abs()) ** 3)
    around = p[:, :2] / p[:, :2].norm(dim=1, keepdim=True)
    return torch.cat([around * (1 - z**2).clamp_min(1e-12).sqrt()[:, None], z[:, None]], 1), f


SHAPES = {
    "irregular": jittered_sphere(200),
    "uneven": uneven(250),
    "equal distances": sheet(14, 10),
    "two components": beside(jittered_sphere(100), ring(16, 7, 0.1)),
    # the two sides are nearer through space than along the surface
    "thin": bricks(torch.ones(8, 8, 1, dtype=torch.bool), *map(torch.arange, (9, 9)), torch.tensor([0, 0.2])),
    "one-sided": twisted(24, 4, 0.1),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("few", "in_turn"),
    [(0, 0), (1e9, 0), (1e9, 1e9)],
    ids=["unfolded in rounds", "unfolded at once", "one by one"],
)
def test_farthest_points_are_those_of_a_search_one_by_one(name, few, in_turn, monkeypatch):
    monkeypatch.setattr(levels, "FEW", few)
    monkeypatch.setattr(farthest, "ONE_BY_ONE", in_turn)
    surface = mesh(*SHAPES[name])
    n, copies = surface.n_points, 1 + isinstance(surface, OneSidedMesh)
    # below half of the reach, rounding decides between equal distances
    most, wide = (n // 4, 2.5) if name == "equal distances" else (3 * n // 4, 5.0)
    for spacings in {2.5, wide}:
        reach = spacings * surface.spacing
        order = one_by_one(name, reach, most)
        discs = discs_between(surface.triangulation, torch.arange(n), reach, copies)
        # what is chosen before does not depend on how discs are computed
        for m in (n // 8, most) if few else (most,):
            assert farthest_points(surface.points, discs, reach, m).tolist() == sorted(order[:m])


def test_a_level_covers_the_surface_and_its_points_keep_their_distance():
    """No vertex is farther from all points than two points are from each other (Gonzalez 1985)."""
    s = mesh(*jittered_sphere(600))
    level = s.coarser()
    near = unfold(s.triangulation, level.vertex, 6 * s.spacing)
    distance = near.vector.abs()
    covered = torch.full((600,), math.inf, dtype=torch.float64)
    covered.scatter_reduce_(0, near.vertex, distance, "amin")
    apart = distance[(level.vertex[near.base] != near.vertex) & torch.isin(near.vertex, level.vertex)]
    assert float(covered.max()) <= float(apart.min())


def test_discs_are_asked_around_chosen_points_only_and_hold_few_pairs_on_an_uneven_mesh(monkeypatch):
    """A crowd of vertices costs what it holds: each vertex is in few discs, whatever its neighbours."""
    monkeypatch.setattr(levels, "FEW", 0)
    v, f = uneven(2000)
    s = mesh(v, f)
    reach, asked = 2.5 * s.spacing, []
    discs = discs_between(s.triangulation, torch.arange(s.n_points), reach)

    def counted(k: Tensor, radius: float):
        near = discs(k, radius)
        asked.append((len(k), len(near[0])))
        return near

    chosen = farthest_points(s.points, counted, reach, s.n_points // 4)
    bases, pairs = (sum(x) for x in zip(*asked, strict=True))
    # the last scale chooses up to 1/STEP² times too many
    assert len(chosen) <= bases <= 1.6 * len(chosen)
    # discs of radius r around points r apart cover a point five times on the plane; there are two scales
    assert pairs <= 10 * s.n_points
