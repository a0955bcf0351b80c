"""Joined windows: far from a base, paths are nearly the exact ones, and their cost follows the vertices."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geocnn.geometry.meshes import unfold as unfolding
from geocnn.geometry.meshes.triangulation import Triangulation, triangulate
from geocnn.geometry.meshes.unfold import Unfolded, unfold
from geocnn.groups.planar import wrapped
from tests.shapes import beside, jittered_sphere, sheet


def bumpy(n: int) -> Triangulation:
    p, f = jittered_sphere(n, 0.1)
    bumps = (3 * p[:, 0]).sin() * (4 * p[:, 1] + 1).sin() * (2 * p[:, 2] + 2).cos()
    return triangulate(p * (1 + 0.1 * bumps[:, None]), f)


def some(t: Triangulation, count: int) -> Tensor:
    return torch.linspace(0, len(t.vertices) - 1, count).long()


def by_pair(t: Triangulation, paths: Unfolded, other: Unfolded, radius: float) -> tuple[Tensor, Tensor]:
    """Return the rows of the pairs that both have; they have the same ones but for those at the radius."""
    keys = [x.base * len(t.vertices) + x.vertex for x in (paths, other)]
    both = torch.isin(keys[0], keys[1]), torch.isin(keys[1], keys[0])
    for x, shared in zip((paths, other), both, strict=True):
        assert (x.vector.abs()[~shared] > (1 - 1e-3) * radius).all()
    return both[0].nonzero()[:, 0], both[1].nonzero()[:, 0]


def windows_per_pair(t: Triangulation, base: Tensor, radius: float, exact: bool, monkeypatch) -> float:
    advance, counts = unfolding._advance, []

    def counted(t: Triangulation, w, reach: Tensor):
        counts.append(len(w.source))
        return advance(t, w, reach)

    with monkeypatch.context() as patch:
        patch.setattr(unfolding, "_advance", counted)
        found = unfold(t, base, radius, exact)
    return sum(counts) / len(found.base)


def test_on_a_smooth_surface_joined_paths_are_nearly_the_exact_ones(monkeypatch):
    """ERROR allows a thousandth of an edge per joint, on paths of 25 edges with three joints. Lengths are
    measured to 2e-4 at most, angles to 8e-4 in the median and 1e-2 at 99 %.
    """
    monkeypatch.setattr(unfolding, "EXACT", 16)
    t = bumpy(4000)
    radius, base = 25 * float(t.length.mean()), some(t, 12)
    exact, joined = unfold(t, base, radius), unfold(t, base, radius, exact=False)
    i, j = by_pair(t, exact, joined, radius)
    assert not joined.met[j].all()
    ours, theirs = joined.vector[j], exact.vector[i]
    torch.testing.assert_close(ours.abs(), theirs.abs(), rtol=5e-4, atol=0)
    turn = torch.angle(ours * theirs.conj()).abs()
    carried = joined.arrival[j] - torch.angle(ours) - exact.arrival[i] + torch.angle(theirs)
    for error in (turn, wrapped(carried).abs()):
        assert error.median() < 2e-3
        assert error.quantile(0.99) < 2e-2


def test_on_a_flat_sheet_joined_paths_are_exact(monkeypatch):
    """There every image of a base is the base itself, so a joined source is again the base, up to rounding,
    which 25 edges amplify.
    """
    monkeypatch.setattr(unfolding, "EXACT", 16)
    t = triangulate(*sheet(40, 40, 0.3, seed=1))
    base = torch.tensor([20 + 41 * 20, 3 + 41 * 8])
    found = unfold(t, base, 25.0, exact=False)
    assert (found.vector.abs() > 15).any() and not found.met.all()
    there = torch.view_as_real(found.vector)[:, :, None] * t.frames()[base[found.base]]
    straight = t.vertices[found.vertex] - t.vertices[base[found.base]]
    torch.testing.assert_close(there.sum(1), straight, rtol=0, atol=1e-9)
    reached = (t.vertices[base][:, None] - t.vertices).norm(dim=-1) <= 25 - 1e-9
    assert len(found.base) == int(reached.sum())


def test_windows_follow_the_vertices_of_a_disc_where_they_are_joined(monkeypatch):
    """A disc of twice the radius takes eight times the windows by itself, twice as many per vertex. Joined
    windows per vertex approach a number, which near paths do not reach yet.
    """
    monkeypatch.setattr(unfolding, "EXACT", 16)
    t = bumpy(10_000)
    base, edge = some(t, 4), float(t.length.mean())
    exact = [windows_per_pair(t, base, k * edge, True, monkeypatch) for k in (20, 40)]
    joined = [windows_per_pair(t, base, k * edge, False, monkeypatch) for k in (20, 40)]
    assert exact[1] > 1.8 * exact[0]
    assert joined[1] < 1.5 * joined[0]
    assert joined[1] < 0.4 * exact[1]


@pytest.mark.parametrize("rings", [3, 8])
def test_near_paths_are_the_same_to_the_last_bit_whether_windows_may_be_joined_or_not(rings):
    t = bumpy(1000)
    radius = rings * float(t.length.mean())
    for ours, theirs in zip(
        unfold(t, some(t, 100), radius, exact=False), unfold(t, some(t, 100), radius), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_where_fronts_meet_windows_are_not_joined(monkeypatch):
    """Around a thin limb a front meets itself from the other side, and behind the antipode of a sphere rays
    have crossed. Distances stay those of the nearer side.
    """
    monkeypatch.setattr(unfolding, "EXACT", 16)
    p, f = jittered_sphere(1500, 0.2)
    limb = triangulate(p * torch.tensor([0.15, 0.15, 1.0], dtype=torch.float64), f)
    two = triangulate(*beside(jittered_sphere(800), jittered_sphere(300, seed=1)))
    for t, radius in ((limb, 2.0), (two, 4.0)):
        base = some(t, 6)
        exact, joined = unfold(t, base, radius), unfold(t, base, radius, exact=False)
        i, j = by_pair(t, exact, joined, radius)
        assert len(i) == len(exact.base) or radius < math.pi
        torch.testing.assert_close(joined.vector[j].abs(), exact.vector[i].abs(), rtol=2e-3, atol=0)
